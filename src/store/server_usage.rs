//! What servers take up, by project and by host, and what a project may take up.

use super::{Connection, StoreError};
use crate::core::ids::ProjectId;
use rusqlite::{OptionalExtension, params};

/// What some servers take up together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub instances: i64,
    pub cores: i64,
    pub ram_mib: i64,
    /// Root, ephemeral and swap disks.
    pub disk_mib: i64,
}

/// What the servers of a project take up.
pub fn of_project(c: &Connection, project: &ProjectId) -> Result<Usage, StoreError> {
    usage(c, "project", project.as_str())
}

/// What the servers on a host take up.
pub fn of_host(c: &Connection, host: &str) -> Result<Usage, StoreError> {
    usage(c, "host", host)
}

fn usage(c: &Connection, scope: &str, id: &str) -> Result<Usage, StoreError> {
    let found = c
        .prepare_cached(
            "SELECT instances, cores, ram_mib, disk_mib FROM server_usage WHERE scope = ?1 AND id = ?2",
        )?
        .query_row(params![scope, id], |row| {
            Ok(Usage {
                instances: row.get(0)?,
                cores: row.get(1)?,
                ram_mib: row.get(2)?,
                disk_mib: row.get(3)?,
            })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// A project's limit of a resource, where it has one of its own. -1 is without limit.
pub fn limit(c: &Connection, project: &ProjectId, resource: &str) -> Result<Option<i64>, StoreError> {
    Ok(c.prepare_cached("SELECT hard_limit FROM quota WHERE project_id = ?1 AND resource = ?2")?
        .query_row(params![project, resource], |row| row.get(0))
        .optional()?)
}
