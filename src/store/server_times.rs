//! When servers were there, the deleted ones included.

use super::server_list::ListError;
use super::{Connection, StoreError, rows};
use crate::core::ids::ServerId;
use crate::core::server::usage::{UsageQuery, UsedServer};
use rusqlite::{OptionalExtension, Row, named_params};

/// A page of the servers that were there at any moment of a period, by project and id.
///
/// # Errors
/// For a marker that names no server.
pub fn in_period(c: &Connection, query: &UsageQuery) -> Result<Vec<UsedServer>, ListError> {
    let after = match query.marker {
        Some(marker) => {
            let project = project_of(c, marker)?.ok_or(ListError::UnknownMarker(marker))?;
            Some((project, marker))
        }
        None => None,
    };
    let sql = "SELECT id, name, project_id, flavor_name, vcpus, ram_mib, disk_gib + ephemeral_gib AS all_gib, \
               vm_state, launched_at, terminated_at FROM server \
               WHERE launched_at < :to AND (terminated_at IS NULL OR terminated_at > :from) \
               AND (:project IS NULL OR project_id = :project) \
               AND (:after_project IS NULL OR (project_id, id) > (:after_project, :after)) \
               ORDER BY project_id, id LIMIT :limit";
    let mut statement = c.prepare_cached(sql)?;
    let found = statement.query_map(
        named_params! {
            ":from": query.period.from.as_microsecond(),
            ":to": query.period.to.as_microsecond(),
            ":project": query.project,
            ":after_project": after.as_ref().map(|(project, _)| project),
            ":after": after.as_ref().map(|(_, id)| id),
            ":limit": i64::try_from(query.limit).unwrap_or(i64::MAX),
        },
        read,
    );
    Ok(found?.collect::<Result<_, _>>()?)
}

fn project_of(c: &Connection, id: ServerId) -> Result<Option<String>, StoreError> {
    let mut statement = c.prepare_cached("SELECT project_id FROM server WHERE id = ?1")?;
    Ok(statement.query_row([id], |row| row.get(0)).optional()?)
}

fn read(row: &Row<'_>) -> rusqlite::Result<UsedServer> {
    Ok(UsedServer {
        id: row.get("id")?,
        name: row.get("name")?,
        project_id: row.get("project_id")?,
        flavor_name: row.get("flavor_name")?,
        vcpus: row.get("vcpus")?,
        memory_mib: row.get("ram_mib")?,
        disk_gib: row.get("all_gib")?,
        vm_state: rows::parsed(row, "vm_state")?,
        launched_at: rows::time(row, "launched_at")?,
        terminated_at: rows::maybe_time(row, "terminated_at")?,
    })
}
