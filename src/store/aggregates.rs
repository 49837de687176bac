//! Host aggregates.

use super::StoreError;
use super::rows::{json, maybe_time, parsed, time, to_json};
use crate::core::aggregate::{Aggregate, ZONE};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::BTreeMap;

const COLUMNS: &str = "number, uuid, name, metadata, hosts, created_at, updated_at";

fn aggregate(row: &Row<'_>) -> rusqlite::Result<Aggregate> {
    Ok(Aggregate {
        number: row.get("number")?,
        uuid: parsed(row, "uuid")?,
        name: row.get("name")?,
        metadata: json(row, "metadata")?,
        hosts: json(row, "hosts")?,
        created_at: time(row, "created_at")?,
        updated_at: maybe_time(row, "updated_at")?,
    })
}

/// All, in the order in which they were made.
pub fn list(c: &Connection) -> Result<Vec<Aggregate>, StoreError> {
    let mut statement = c.prepare_cached(&format!("SELECT {COLUMNS} FROM aggregate ORDER BY number"))?;
    let rows = statement.query_map([], aggregate)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn get(c: &Connection, number: i64) -> Result<Option<Aggregate>, StoreError> {
    let mut statement = c.prepare_cached(&format!("SELECT {COLUMNS} FROM aggregate WHERE number = ?1"))?;
    Ok(statement.query_row([number], aggregate).optional()?)
}

/// The number of the aggregate with this name.
pub fn by_name(c: &Connection, name: &str) -> Result<Option<i64>, StoreError> {
    let mut statement = c.prepare_cached("SELECT number FROM aggregate WHERE name = ?1")?;
    Ok(statement.query_row([name], |row| row.get(0)).optional()?)
}

/// Adds an aggregate, whatever its number, and gives the one that it has from now on.
pub fn insert(c: &Connection, new: &Aggregate) -> Result<i64, StoreError> {
    c.prepare_cached(
        "INSERT INTO aggregate (uuid, name, metadata, hosts, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        new.uuid.to_string(),
        new.name,
        to_json(&new.metadata)?,
        to_json(&new.hosts)?,
        new.created_at.as_microsecond(),
        new.updated_at.map(jiff::Timestamp::as_microsecond),
    ])?;
    Ok(c.last_insert_rowid())
}

/// Writes what can change of an aggregate: name, metadata, hosts, the time of the change.
pub fn update(c: &Connection, changed: &Aggregate) -> Result<(), StoreError> {
    c.prepare_cached(
        "UPDATE aggregate SET name = ?2, metadata = ?3, hosts = ?4, updated_at = ?5 WHERE number = ?1",
    )?
    .execute(params![
        changed.number,
        changed.name,
        to_json(&changed.metadata)?,
        to_json(&changed.hosts)?,
        changed.updated_at.map(jiff::Timestamp::as_microsecond),
    ])?;
    Ok(())
}

pub fn delete(c: &Connection, number: i64) -> Result<(), StoreError> {
    c.prepare_cached("DELETE FROM aggregate WHERE number = ?1")?.execute([number])?;
    Ok(())
}

/// Takes a host out of all aggregates.
pub fn remove_host(c: &Connection, host: &str) -> Result<(), StoreError> {
    for mut aggregate in list(c)?.into_iter().filter(|aggregate| aggregate.has(host)) {
        aggregate.hosts.retain(|other| other != host);
        update(c, &aggregate)?;
    }
    Ok(())
}

/// The zone that the aggregates of a host name; they never name two.
pub fn zone_of(c: &Connection, host: &str) -> Result<Option<String>, StoreError> {
    let mut statement = c.prepare_cached(
        "SELECT metadata FROM aggregate WHERE EXISTS (SELECT 1 FROM json_each(hosts) WHERE value = ?1) ORDER BY number",
    )?;
    let rows = statement.query_map([host], |row| json::<BTreeMap<String, String>>(row, 0))?;
    for metadata in rows {
        if let Some(zone) = metadata?.remove(ZONE) {
            return Ok(Some(zone));
        }
    }
    Ok(None)
}
