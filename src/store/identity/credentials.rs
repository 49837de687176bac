//! The blobs that users keep in the identity service.

use super::filter::Filter;
use super::{Result, extra};
use crate::core::identity::Credential;
use crate::core::ids::UserId;
use crate::store::rows;
use rusqlite::{Connection, OptionalExtension, Row, params};

fn credential_row(row: &Row<'_>) -> rusqlite::Result<Credential> {
    Ok(Credential {
        id: row.get("id")?,
        user_id: row.get("user_id")?,
        project_id: row.get("project_id")?,
        kind: row.get("type")?,
        blob: row.get("blob")?,
        extra: extra(row)?,
    })
}

pub fn get(c: &Connection, id: &str) -> Result<Option<Credential>> {
    Ok(c.prepare_cached("SELECT * FROM credential WHERE id = ?1")?
        .query_row([id], credential_row)
        .optional()?)
}

/// The credentials of a user, or of all; of one type, or of all.
pub fn list(c: &Connection, user: Option<&UserId>, kind: Option<&str>) -> Result<Vec<Credential>> {
    Filter::new("SELECT * FROM credential WHERE 1")
        .equal("user_id", user.map(UserId::as_str))
        .equal("type", kind)
        .rows(c, credential_row)
}

pub fn insert(c: &Connection, credential: &Credential) -> Result<()> {
    c.prepare_cached("INSERT INTO credential VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
        credential.id,
        credential.user_id,
        credential.project_id,
        credential.kind,
        credential.blob,
        rows::to_json(&credential.extra)?
    ])?;
    Ok(())
}

pub fn update(c: &Connection, credential: &Credential) -> Result<()> {
    c.prepare_cached(
        "UPDATE credential SET user_id = ?2, project_id = ?3, type = ?4, blob = ?5, extra = ?6 WHERE id = ?1",
    )?
    .execute(params![
        credential.id,
        credential.user_id,
        credential.project_id,
        credential.kind,
        credential.blob,
        rows::to_json(&credential.extra)?
    ])?;
    Ok(())
}

pub fn delete(c: &Connection, id: &str) -> Result<()> {
    c.prepare_cached("DELETE FROM credential WHERE id = ?1")?.execute([id])?;
    Ok(())
}
