//! Limits of projects where the defaults do not hold, and what projects use of them.

use super::StoreError;
use crate::core::ids::ProjectId;
use crate::core::quota::{Limits, Resource, Usage};
use rusqlite::Connection;

/// The limits that hold for a project.
pub fn limits(connection: &Connection, project: &ProjectId) -> Result<Limits, StoreError> {
    let mut limits = Limits::default();
    let mut statement =
        connection.prepare_cached("SELECT resource, hard_limit FROM quota WHERE project_id = ?")?;
    let mut rows = statement.query([project])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        if let Some(resource) = Resource::ALL.into_iter().find(|resource| resource.name() == name) {
            limits.set(resource, row.get(1)?);
        }
    }
    Ok(limits)
}

/// What the servers of a project take: all that are not deleted count, whatever their state.
pub fn usage(connection: &Connection, project: &ProjectId) -> Result<Usage, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT count(*), ifnull(sum(vcpus), 0), ifnull(sum(ram_mib), 0) FROM server \
             WHERE project_id = ? AND deleted_at IS NULL",
        )?
        .query_row([project], |row| {
            // There are no server groups yet that could be counted.
            Ok(Usage { instances: row.get(0)?, cores: row.get(1)?, ram_mib: row.get(2)?, server_groups: 0 })
        })?)
}
