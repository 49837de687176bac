//! Key pairs, each its user's.

use super::StoreError;
use super::rows::time;
use crate::core::ids::UserId;
use crate::core::keypair::{Keypair, KeypairKind, KeypairQuery};
use rusqlite::{Connection, OptionalExtension, Row};

fn keypair(row: &Row<'_>) -> rusqlite::Result<Keypair> {
    let kind: String = row.get("type")?;
    Ok(Keypair {
        number: row.get("number")?,
        user_id: row.get("user_id")?,
        name: row.get("name")?,
        // The table's CHECK knows the same two words.
        kind: KeypairKind::from_name(&kind).unwrap_or(KeypairKind::Ssh),
        public_key: row.get("public_key")?,
        fingerprint: row.get("fingerprint")?,
        created_at: time(row, "created_at")?,
    })
}

const COLUMNS: &str = "number, user_id, name, type, public_key, fingerprint, created_at";

/// One page of a user's key pairs by name; `None` when the marker is not one of them.
pub fn list(connection: &Connection, query: &KeypairQuery) -> Result<Option<Vec<Keypair>>, StoreError> {
    if let Some(marker) = &query.marker
        && get(connection, &query.user_id, marker)?.is_none()
    {
        return Ok(None);
    }
    let rows = connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM keypair WHERE user_id = ?1 AND name > ?2 ORDER BY name LIMIT ?3"
        ))?
        .query_map(
            rusqlite::params![
                query.user_id,
                query.marker.as_deref().unwrap_or_default(),
                i64::try_from(query.limit).unwrap_or(i64::MAX)
            ],
            keypair,
        )?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Some(rows))
}

pub fn get(connection: &Connection, user: &UserId, name: &str) -> Result<Option<Keypair>, StoreError> {
    Ok(connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM keypair WHERE user_id = ?1 AND name = ?2"))?
        .query_row(rusqlite::params![user, name], keypair)
        .optional()?)
}

pub fn count(connection: &Connection, user: &UserId) -> Result<i64, StoreError> {
    Ok(connection
        .prepare_cached("SELECT count(*) FROM keypair WHERE user_id = ?")?
        .query_row([user], |row| row.get(0))?)
}

/// Stores a key pair under a number of its own; whether its name was free.
pub fn insert(connection: &Connection, new: &Keypair) -> Result<bool, StoreError> {
    let changed = connection
        .prepare_cached(
            "INSERT INTO keypair (user_id, name, type, public_key, fingerprint, created_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (user_id, name) DO NOTHING",
        )?
        .execute(rusqlite::params![
            new.user_id,
            new.name,
            new.kind.as_str(),
            new.public_key,
            new.fingerprint,
            new.created_at.as_microsecond()
        ])?;
    Ok(changed > 0)
}

/// Whether there was one to delete.
pub fn delete(connection: &Connection, user: &UserId, name: &str) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached("DELETE FROM keypair WHERE user_id = ?1 AND name = ?2")?
        .execute(rusqlite::params![user, name])?
        > 0)
}
