//! Tokens that open consoles: rows that live some minutes, and not longer than their server.

use super::{Connection, StoreError};
use crate::core::console::ConsoleKind;
use crate::core::ids::ServerId;
use jiff::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{OptionalExtension, params};

/// SHA-256 of a token.
pub type TokenHash = [u8; 32];

impl ToSql for ConsoleKind {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

impl FromSql for ConsoleKind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map_err(|error: crate::core::Error| FromSqlError::Other(error.into()))
    }
}

/// Keeps a token, and throws away those that have expired: only who adds rows has to clear up.
pub fn insert(
    c: &Connection,
    hash: &TokenHash,
    server: ServerId,
    kind: ConsoleKind,
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    c.prepare_cached("DELETE FROM console_token WHERE expires_at <= ?1")?.execute([now.as_microsecond()])?;
    c.prepare_cached(
        "INSERT INTO console_token (hash, server_id, kind, expires_at) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![hash, server, kind, expires_at.as_microsecond()])?;
    Ok(())
}

/// What a token opens; `None` when it is unknown or expired, or its server deleted.
pub fn find(
    c: &Connection,
    hash: &TokenHash,
    now: Timestamp,
) -> Result<Option<(ServerId, ConsoleKind)>, StoreError> {
    Ok(c.prepare_cached(
        "SELECT token.server_id, token.kind FROM console_token token \
         JOIN server ON server.id = token.server_id AND server.deleted_at IS NULL \
         WHERE token.hash = ?1 AND token.expires_at > ?2",
    )?
    .query_row(params![hash, now.as_microsecond()], |row| Ok((row.get(0)?, row.get(1)?)))
    .optional()?)
}

/// Makes all tokens of a server useless.
pub fn forget(c: &Connection, server: ServerId) -> Result<(), StoreError> {
    c.prepare_cached("DELETE FROM console_token WHERE server_id = ?1")?.execute([server])?;
    Ok(())
}
