//! What a rebuild changes in a server's row, at its beginning and on its way.

use super::rows::to_json;
use super::servers;
use super::{Connection, StoreError};
use crate::core::ids::{ImageId, ServerId};
use crate::core::server::Server;
use crate::core::server::state::VmState;
use jiff::Timestamp;
use rusqlite::params;
use std::collections::BTreeMap;

/// Writes what a rebuild was asked to make of the server.
pub fn begin(c: &Connection, server: &Server, now: Timestamp) -> Result<(), StoreError> {
    servers::update(c, server, now)?;
    set_image(c, server.id, server.image_id, server.image_format.as_deref(), &server.image_properties)?;
    c.prepare_cached(
        "UPDATE server SET key_name = ?2, key_type = ?3, key_public = ?4, user_data = ?5, personality = ?6, \
             trusted_certificates = ?7, min_disk_gib = ?8, min_ram_mib = ?9, progress = 0 \
         WHERE id = ?1",
    )?
    .execute(params![
        server.id,
        server.key.as_ref().map(|key| &key.name),
        server.key.as_ref().map(|key| &key.kind),
        server.key.as_ref().map(|key| &key.public),
        server.user_data,
        to_json(&server.personality)?,
        server.trusted_certificates.as_ref().map(to_json).transpose()?,
        server.min_disk_gib,
        server.min_ram_mib,
    ])?;
    Ok(())
}

/// Writes what the server's disks stand on.
pub fn set_image(
    c: &Connection,
    id: ServerId,
    image: Option<ImageId>,
    format: Option<&str>,
    properties: &BTreeMap<String, String>,
) -> Result<(), StoreError> {
    c.prepare_cached(
        "UPDATE server SET image_id = ?2, image_format = ?3, image_properties = ?4 WHERE id = ?1",
    )?
    .execute(params![id, image, format, to_json(properties)?])?;
    Ok(())
}

/// Shows a new state in the middle of a task.
pub fn set_vm_state(c: &Connection, id: ServerId, state: VmState) -> Result<(), StoreError> {
    c.prepare_cached("UPDATE server SET vm_state = ?2 WHERE id = ?1 AND deleted_at IS NULL")?
        .execute(params![id, state])?;
    Ok(())
}
