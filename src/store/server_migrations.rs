//! Attempts to give servers another size or another host.

use super::{Connection, StoreError};
use crate::core::clock::from_micros;
use crate::core::ids::ServerId;
use crate::core::server::migration::{Migration, MigrationKind, MigrationQuery, MigrationStatus};
use crate::core::server::state::UnknownState;
use jiff::Timestamp;
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{OptionalExtension, Row, params};
use uuid::Uuid;

/// An attempt to be recorded.
#[derive(Debug, Clone, Copy)]
pub struct NewMigration<'a> {
    pub server: ServerId,
    /// Who asks for it.
    pub user_id: &'a str,
    pub project_id: Option<&'a str>,
    pub kind: MigrationKind,
    pub status: MigrationStatus,
    pub source: Option<&'a str>,
    pub destination: Option<&'a str>,
    /// Ids of flavors.
    pub old_flavor: &'a str,
    pub new_flavor: &'a str,
}

/// Records an attempt; gives its number.
pub fn insert(c: &Connection, new: &NewMigration<'_>, now: Timestamp) -> Result<i64, StoreError> {
    c.prepare_cached(
        "INSERT INTO server_migration (uuid, server_id, user_id, project_id, kind, status, source, destination, \
             old_flavor, new_flavor, created_at, updated_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, (SELECT number FROM flavor WHERE id = ?9), \
             (SELECT number FROM flavor WHERE id = ?10), ?11, ?11)",
    )?
    .execute(params![
        Uuid::new_v4().to_string(),
        new.server,
        new.user_id,
        new.project_id,
        new.kind.as_str(),
        new.status.as_str(),
        new.source,
        new.destination,
        new.old_flavor,
        new.new_flavor,
        now.as_microsecond()
    ])?;
    Ok(c.last_insert_rowid())
}

/// Says how far an attempt has come.
pub fn set_status(
    c: &Connection,
    number: i64,
    status: MigrationStatus,
    now: Timestamp,
) -> Result<(), StoreError> {
    c.prepare_cached("UPDATE server_migration SET status = ?2, updated_at = ?3 WHERE number = ?1")?
        .execute(params![number, status.as_str(), now.as_microsecond()])?;
    Ok(())
}

/// Ends what is open of a server that is gone: a new size that was there is confirmed with it, anything else failed.
pub fn close_of_deleted(c: &Connection, server: ServerId, now: Timestamp) -> Result<(), StoreError> {
    c.prepare_cached(
        "UPDATE server_migration SET status = iif(status IN ('finished', 'confirming'), 'confirmed', 'error'), \
             updated_at = ?2 \
         WHERE server_id = ?1 AND status NOT IN ('confirmed', 'reverted', 'error')",
    )?
    .execute(params![server, now.as_microsecond()])?;
    Ok(())
}

const COLUMNS: &str = "number, uuid, server_id, user_id, project_id, kind, status, source, destination, old_flavor, \
                       new_flavor, created_at, updated_at";

fn word<T: std::str::FromStr<Err = UnknownState>>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|e| FromSqlError::Other(Box::new(e)).into())
}

fn migration(row: &Row<'_>) -> rusqlite::Result<Migration> {
    let uuid = row.get_ref("uuid")?.as_str()?;
    Ok(Migration {
        number: row.get("number")?,
        uuid: Uuid::try_parse(uuid)
            .map_err(|e| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, Box::new(e)))?,
        server: row.get("server_id")?,
        user_id: row.get("user_id")?,
        project_id: row.get("project_id")?,
        kind: word(row, "kind")?,
        status: word(row, "status")?,
        source: row.get("source")?,
        destination: row.get("destination")?,
        old_flavor: row.get("old_flavor")?,
        new_flavor: row.get("new_flavor")?,
        created_at: from_micros(row.get("created_at")?),
        updated_at: from_micros(row.get("updated_at")?),
    })
}

/// The attempt of this number, if it concerns the server.
pub fn get(c: &Connection, number: i64, server: ServerId) -> Result<Option<Migration>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM server_migration WHERE number = ?1 AND server_id = ?2");
    Ok(c.prepare_cached(&sql)?.query_row(params![number, server], migration).optional()?)
}

/// One page of attempts; `None` when the marker is unknown.
pub fn list(c: &Connection, query: &MigrationQuery) -> Result<Option<Vec<Migration>>, StoreError> {
    let after: Option<(i64, i64)> = match &query.marker {
        None => None,
        Some(marker) => {
            let found = c
                .prepare_cached("SELECT created_at, number FROM server_migration WHERE uuid = ?1")?
                .query_row([marker], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some(found) = found else { return Ok(None) };
            Some(found)
        }
    };
    let (direction, beyond) = if query.newest_first { ("DESC", "<") } else { ("ASC", ">") };
    let sql = format!(
        "SELECT {COLUMNS} FROM server_migration \
         WHERE (?1 IS NULL OR server_id = ?1) AND (?2 IS NULL OR source = ?2 OR destination = ?2) \
         AND (?3 IS NULL OR source = ?3) AND (?4 IS NULL OR status = ?4) AND (?5 IS NULL OR kind = ?5) \
         AND (?6 IS NULL OR user_id = ?6) AND (?7 IS NULL OR project_id = ?7) \
         AND (?8 IS NULL OR updated_at >= ?8) AND (?9 IS NULL OR updated_at <= ?9) \
         AND (?10 IS NULL OR (created_at, number) {beyond} (?10, ?11)) \
         ORDER BY created_at {direction}, number {direction} LIMIT ?12"
    );
    let page = c
        .prepare_cached(&sql)?
        .query_map(
            params![
                query.server,
                query.host,
                query.source,
                query.status,
                query.kind,
                query.user_id,
                query.project_id,
                query.changes_since.map(Timestamp::as_microsecond),
                query.changes_before.map(Timestamp::as_microsecond),
                after.map(|(at, _)| at),
                after.map(|(_, number)| number),
                i64::try_from(query.limit).unwrap_or(i64::MAX),
            ],
            migration,
        )?
        .collect::<Result<_, _>>()?;
    Ok(Some(page))
}
