//! What administrators said of the node and its services.

use super::{Connection, StoreError, aggregates};
use crate::core::server::node::Node;
use crate::core::server::standing::{COMPUTE, ServiceState, Standing};
use rusqlite::{OptionalExtension, params};

/// How the node stands now.
pub fn standing(c: &Connection, node: &Node) -> Result<Standing, StoreError> {
    let zone = aggregates::zone_of(c, &node.name)?.unwrap_or_else(|| node.zone.clone());
    Ok(Standing { zone, compute: service(c, COMPUTE)? })
}

/// What was said of one service.
pub fn service(c: &Connection, binary: &str) -> Result<ServiceState, StoreError> {
    let found = c
        .prepare_cached(
            "SELECT disabled, disabled_reason, forced_down, removed FROM compute_service WHERE binary = ?1",
        )?
        .query_row([binary], |row| {
            Ok(ServiceState {
                disabled: row.get(0)?,
                disabled_reason: row.get(1)?,
                forced_down: row.get(2)?,
                removed: row.get(3)?,
            })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

pub fn set_service(c: &Connection, binary: &str, state: &ServiceState) -> Result<(), StoreError> {
    c.prepare_cached(
        "INSERT OR REPLACE INTO compute_service (binary, disabled, disabled_reason, forced_down, removed) \
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        binary,
        state.disabled,
        state.disabled_reason,
        state.forced_down,
        state.removed
    ])?;
    Ok(())
}

/// Has the services that were removed there again, as new ones.
pub fn register_services(c: &Connection) -> Result<(), StoreError> {
    c.prepare_cached("DELETE FROM compute_service WHERE removed")?.execute([])?;
    Ok(())
}
