//! Whom images are shared with, and the imports that were asked for.

use super::StoreError;
use super::images::word;
use super::rows::{self, time, to_json};
use crate::core::ids::{ImageId, ImportId, ProjectId};
use crate::core::image::{Import, Member, MemberStatus};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

fn member(row: &Row<'_>) -> rusqlite::Result<Member> {
    Ok(Member {
        image_id: row.get("image_id")?,
        project_id: row.get("project_id")?,
        status: word(row, "status")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

/// All members of an image, in the order in which they were made members.
pub fn list(connection: &Connection, image: ImageId) -> Result<Vec<Member>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT * FROM image_member WHERE image_id = ?1 ORDER BY created_at, project_id")?;
    let members = statement.query_map([image], member)?;
    Ok(members.collect::<Result<_, _>>()?)
}

pub fn get(
    connection: &Connection,
    image: ImageId,
    project: &ProjectId,
) -> Result<Option<Member>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT * FROM image_member WHERE image_id = ?1 AND project_id = ?2")?;
    Ok(statement.query_row(params![image, project], member).optional()?)
}

/// Adds a member; false when the project is one already.
pub fn insert(connection: &Connection, member: &Member) -> Result<bool, StoreError> {
    let added = connection.execute(
        "INSERT INTO image_member (image_id, project_id, status, created_at, updated_at) \
         VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
        params![
            member.image_id,
            member.project_id,
            member.status.as_str(),
            member.created_at.as_microsecond(),
            member.updated_at.as_microsecond()
        ],
    )?;
    Ok(added == 1)
}

/// Records what a member answered; false when it is no member.
pub fn set_status(
    connection: &Connection,
    image: ImageId,
    project: &ProjectId,
    status: MemberStatus,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let changed = connection.execute(
        "UPDATE image_member SET status = ?3, updated_at = ?4 WHERE image_id = ?1 AND project_id = ?2",
        params![image, project, status.as_str(), now.as_microsecond()],
    )?;
    Ok(changed == 1)
}

/// Removes a member; false when it was none.
pub fn delete(connection: &Connection, image: ImageId, project: &ProjectId) -> Result<bool, StoreError> {
    let changed = connection.execute(
        "DELETE FROM image_member WHERE image_id = ?1 AND project_id = ?2",
        params![image, project],
    )?;
    Ok(changed == 1)
}

pub fn insert_import(connection: &Connection, import: &Import) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO image_import (id, image_id, project_id, user_id, request_id, request, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            import.id,
            import.image_id,
            import.project_id,
            import.user_id,
            import.request_id,
            to_json(&import.request)?,
            import.created_at.as_microsecond()
        ],
    )?;
    Ok(())
}

/// The imports of an image, oldest first.
pub fn imports(connection: &Connection, image: ImageId) -> Result<Vec<Import>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT * FROM image_import WHERE image_id = ?1 ORDER BY created_at, id")?;
    let imports = statement.query_map([image], import)?;
    Ok(imports.collect::<Result<_, _>>()?)
}

/// One import of any image.
pub fn get_import(connection: &Connection, id: ImportId) -> Result<Option<Import>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT * FROM image_import WHERE id = ?1")?;
    Ok(statement.query_row([id], import).optional()?)
}

/// The imports of all images, newest first, from the one after `after` on.
pub fn all_imports(
    connection: &Connection,
    after: Option<&Import>,
    limit: usize,
) -> Result<Vec<Import>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT * FROM image_import WHERE ?1 IS NULL OR (created_at, id) < (?1, ?2) \
         ORDER BY created_at DESC, id DESC LIMIT ?3",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let at = after.map(|import| import.created_at.as_microsecond());
    let imports = statement.query_map(params![at, after.map(|import| import.id), limit], import)?;
    Ok(imports.collect::<Result<_, _>>()?)
}

fn import(row: &Row<'_>) -> rusqlite::Result<Import> {
    Ok(Import {
        id: row.get("id")?,
        image_id: row.get("image_id")?,
        project_id: row.get("project_id")?,
        user_id: row.get("user_id")?,
        request_id: row.get("request_id")?,
        request: rows::json(row, "request")?,
        created_at: time(row, "created_at")?,
    })
}
