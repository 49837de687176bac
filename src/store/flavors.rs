//! Flavors, who may use the private ones, and their extra specs.

use super::StoreError;
use super::rows::{json, maybe_time, time, to_json};
use crate::core::flavor::{Flavor, FlavorQuery, FlavorSort, NewFlavor, Visibility};
use crate::core::ids::ProjectId;
use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use std::collections::BTreeMap;

const COLUMNS: &str = "number, id, name, description, vcpus, ram_mib, disk_gib, ephemeral_gib, swap_mib, rxtx_factor, \
                       is_public, disabled, extra_specs, created_at, updated_at";

fn flavor(row: &Row<'_>) -> rusqlite::Result<Flavor> {
    Ok(Flavor {
        number: row.get("number")?,
        id: row.get("id")?,
        name: row.get("name")?,
        description: row.get("description")?,
        vcpus: row.get("vcpus")?,
        ram_mib: row.get("ram_mib")?,
        disk_gib: row.get("disk_gib")?,
        ephemeral_gib: row.get("ephemeral_gib")?,
        swap_mib: row.get("swap_mib")?,
        rxtx_factor: row.get("rxtx_factor")?,
        is_public: row.get("is_public")?,
        disabled: row.get("disabled")?,
        extra_specs: json(row, "extra_specs")?,
        created_at: time(row, "created_at")?,
        updated_at: maybe_time(row, "updated_at")?,
    })
}

fn order(sort: FlavorSort) -> &'static str {
    match sort {
        FlavorSort::CreatedAt => "created_at",
        FlavorSort::Description => "description",
        FlavorSort::Disabled => "disabled",
        FlavorSort::EphemeralGib => "ephemeral_gib",
        FlavorSort::Id => "id",
        FlavorSort::Number => "number",
        FlavorSort::IsPublic => "is_public",
        FlavorSort::RamMib => "ram_mib",
        FlavorSort::Name => "name",
        FlavorSort::DiskGib => "disk_gib",
        FlavorSort::RxtxFactor => "rxtx_factor",
        FlavorSort::SwapMib => "swap_mib",
        FlavorSort::UpdatedAt => "ifnull(updated_at, 0)",
        FlavorSort::Vcpus => "vcpus",
    }
}

/// One page of flavors; `None` when the marker is not in the list.
pub fn list(connection: &Connection, query: &FlavorQuery) -> Result<Option<Vec<Flavor>>, StoreError> {
    let mut conditions = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    let granted = "EXISTS (SELECT 1 FROM flavor_access WHERE flavor_number = number AND project_id = ?)";
    match &query.visibility {
        Visibility::Usable(project) => {
            conditions.push(format!("(is_public = 1 OR {granted}) AND disabled = 0"));
            values.push(Value::Text(project.0.clone()));
        }
        Visibility::Public(Some(project)) => {
            conditions.push(format!("(is_public = 1 OR {granted})"));
            values.push(Value::Text(project.0.clone()));
        }
        Visibility::Public(None) => conditions.push("is_public = 1".into()),
        Visibility::Private => conditions.push("is_public = 0".into()),
        Visibility::All => {}
    }
    for (column, least) in [("ram_mib", query.min_ram_mib), ("disk_gib", query.min_disk_gib)] {
        if let Some(least) = least {
            conditions.push(format!("{column} >= ?"));
            values.push(Value::Integer(least));
        }
    }
    if let Some(pattern) = &query.name {
        conditions.push("name REGEXP ?".into());
        values.push(Value::Text(pattern.clone()));
    }
    let key = order(query.sort);
    let (direction, beyond) = if query.descending { ("DESC", "<") } else { ("ASC", ">") };
    if let Some(marker) = &query.marker {
        let known: bool = connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM flavor WHERE id = ?)")?
            .query_row([marker], |row| row.get(0))?;
        if !known {
            return Ok(None);
        }
        conditions.push(format!(
            "(ifnull({key}, ''), number) {beyond} (SELECT ifnull({key}, ''), number FROM flavor WHERE id = ?)"
        ));
        values.push(Value::Text(marker.clone()));
    }
    let filter =
        if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
    values.push(Value::Integer(i64::try_from(query.limit).unwrap_or(i64::MAX)));
    let sql = format!(
        "SELECT {COLUMNS} FROM flavor {filter} ORDER BY ifnull({key}, '') {direction}, number {direction} LIMIT ?"
    );
    let rows = connection
        .prepare_cached(&sql)?
        .query_map(params_from_iter(values), flavor)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Some(rows))
}

/// The flavor with this id, if the project may see it; `None` for the project sees all.
pub fn get(
    connection: &Connection,
    id: &str,
    seen_by: Option<&ProjectId>,
) -> Result<Option<Flavor>, StoreError> {
    let found = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM flavor WHERE id = ?"))?
        .query_row([id], flavor)
        .optional()?;
    let (Some(found), Some(project)) = (&found, seen_by) else { return Ok(found) };
    if found.is_public || has_access(connection, found.number, project)? {
        return Ok(Some(found.clone()));
    }
    Ok(None)
}

/// Which of a new flavor's two unique keys is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    Name,
    Id,
}

/// Makes a flavor; gives what is taken where it cannot.
pub fn insert(
    connection: &Connection,
    id: &str,
    new: &NewFlavor,
    now: Timestamp,
) -> Result<Result<(), Taken>, StoreError> {
    let exists = |column: &str, value: &str| -> rusqlite::Result<bool> {
        connection
            .prepare_cached(&format!("SELECT EXISTS (SELECT 1 FROM flavor WHERE {column} = ?)"))?
            .query_row([value], |row| row.get(0))
    };
    if exists("id", id)? {
        return Ok(Err(Taken::Id));
    }
    if exists("name", &new.name)? {
        return Ok(Err(Taken::Name));
    }
    connection
        .prepare_cached(
            "INSERT INTO flavor (id, name, description, vcpus, ram_mib, disk_gib, ephemeral_gib, swap_mib, \
             rxtx_factor, is_public, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(rusqlite::params![
            id,
            new.name,
            new.description,
            new.vcpus,
            new.ram_mib,
            new.disk_gib,
            new.ephemeral_gib,
            new.swap_mib,
            new.rxtx_factor,
            new.is_public,
            now.as_microsecond(),
        ])?;
    Ok(Ok(()))
}

/// Whether there was one to delete.
pub fn delete(connection: &Connection, id: &str) -> Result<bool, StoreError> {
    Ok(connection.prepare_cached("DELETE FROM flavor WHERE id = ?")?.execute([id])? > 0)
}

/// Whether there is any flavor at all.
pub fn any(connection: &Connection) -> Result<bool, StoreError> {
    Ok(connection.query_row("SELECT EXISTS (SELECT 1 FROM flavor)", [], |row| row.get(0))?)
}

pub fn set_description(
    connection: &Connection,
    number: i64,
    description: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE flavor SET description = ?2, updated_at = ?3 WHERE number = ?1")?
        .execute(rusqlite::params![number, description, now.as_microsecond()])?;
    Ok(())
}

pub fn set_extra_specs(
    connection: &Connection,
    number: i64,
    specs: &BTreeMap<String, String>,
    now: Timestamp,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE flavor SET extra_specs = ?2, updated_at = ?3 WHERE number = ?1")?
        .execute(rusqlite::params![number, to_json(specs)?, now.as_microsecond()])?;
    Ok(())
}

pub fn has_access(connection: &Connection, number: i64, project: &ProjectId) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM flavor_access WHERE flavor_number = ?1 AND project_id = ?2)",
        )?
        .query_row(rusqlite::params![number, project], |row| row.get(0))?)
}

/// The projects that were given access to a flavor.
pub fn access(connection: &Connection, number: i64) -> Result<Vec<ProjectId>, StoreError> {
    Ok(connection
        .prepare_cached("SELECT project_id FROM flavor_access WHERE flavor_number = ? ORDER BY project_id")?
        .query_map([number], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?)
}

/// Grants access; whether it was not granted before.
pub fn grant(connection: &Connection, number: i64, project: &ProjectId) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached("INSERT INTO flavor_access VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute(rusqlite::params![number, project])?
        > 0)
}

/// Takes access away; whether it was granted.
pub fn revoke(connection: &Connection, number: i64, project: &ProjectId) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached("DELETE FROM flavor_access WHERE flavor_number = ?1 AND project_id = ?2")?
        .execute(rusqlite::params![number, project])?
        > 0)
}
