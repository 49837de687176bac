//! Images, and what compute asks about them. Lists are in [`super::image_list`], sharing and imports in
//! [`super::image_members`].

use super::StoreError;
use super::rows::{self, time, to_json};
use crate::core::ids::{ImageId, ProjectId, ServerId};
use crate::core::image::Image;
use jiff::Timestamp;
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::str::FromStr;

pub(super) const COLUMNS: &str = "id, owner, name, status, visibility, disk_format, container_format, min_disk_gib, \
     min_ram_mib, protected, hidden, size_bytes, virtual_bytes, file_format, md5, sha512, properties, tags, \
     created_at, updated_at, \
     (SELECT json_group_array(project_id) FROM image_member WHERE image_id = image.id) AS members";

pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Image> {
    Ok(Image {
        id: row.get("id")?,
        owner: row.get("owner")?,
        name: row.get("name")?,
        status: word(row, "status")?,
        visibility: word(row, "visibility")?,
        disk_format: maybe_word(row, "disk_format")?,
        container_format: maybe_word(row, "container_format")?,
        min_disk: row.get("min_disk_gib")?,
        min_ram: row.get("min_ram_mib")?,
        protected: row.get("protected")?,
        hidden: row.get("hidden")?,
        size: row.get("size_bytes")?,
        virtual_size: row.get("virtual_bytes")?,
        md5: row.get("md5")?,
        sha512: row.get("sha512")?,
        file_format: row.get("file_format")?,
        properties: rows::json(row, "properties")?,
        tags: rows::json(row, "tags")?,
        members: rows::json(row, "members")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

/// A column that holds one word of a fixed set.
pub(super) fn word<T>(row: &Row<'_>, column: &str) -> rusqlite::Result<T>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    row.get_ref(column)?.as_str()?.parse().map_err(|e| FromSqlError::Other(Box::new(e)).into())
}

fn maybe_word<T>(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<T>>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    row.get_ref(column)?
        .as_str_or_null()?
        .map(|text| text.parse().map_err(|e| FromSqlError::Other(Box::new(e)).into()))
        .transpose()
}

/// Adds an image; false when its id was ever taken, by a deleted image too.
pub fn insert(connection: &Connection, image: &Image) -> Result<bool, StoreError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO image (id, owner, name, status, visibility, disk_format, container_format, min_disk_gib, \
             min_ram_mib, protected, hidden, size_bytes, virtual_bytes, file_format, md5, sha512, properties, tags, \
             created_at, updated_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20) \
         ON CONFLICT (id) DO NOTHING",
    )?;
    let added = statement.execute(params![
        image.id,
        image.owner,
        image.name,
        image.status.as_str(),
        image.visibility.as_str(),
        image.disk_format.map(super::super::core::image::DiskFormat::as_str),
        image.container_format.map(super::super::core::image::ContainerFormat::as_str),
        image.min_disk,
        image.min_ram,
        image.protected,
        image.hidden,
        image.size,
        image.virtual_size,
        image.file_format,
        image.md5,
        image.sha512,
        to_json(&image.properties)?,
        to_json(&image.tags)?,
        image.created_at.as_microsecond(),
        image.updated_at.as_microsecond(),
    ])?;
    Ok(added == 1)
}

/// The image of this id, whoever may see it; `None` for deleted ones.
pub fn get(connection: &Connection, id: ImageId) -> Result<Option<Image>, StoreError> {
    let mut statement = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM image WHERE id = ?1 AND deleted_at IS NULL"))?;
    Ok(statement.query_row([id], from_row).optional()?)
}

/// The smallest root disk (GiB) and the least memory (MiB) of an image, deleted or not.
pub fn minimums(connection: &Connection, id: ImageId) -> Result<Option<(u32, u32)>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT min_disk_gib, min_ram_mib FROM image WHERE id = ?1")?;
    Ok(statement.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// The living backups of one type that were made of a server, newest first.
pub fn backups(connection: &Connection, server: ServerId, kind: &str) -> Result<Vec<Image>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM image WHERE deleted_at IS NULL AND properties ->> '$.image_type' = 'backup' \
           AND properties ->> '$.backup_type' = ?2 AND properties ->> '$.instance_uuid' = ?1 \
         ORDER BY created_at DESC, id DESC"
    ))?;
    let images = statement.query_map(params![server.to_string(), kind], from_row)?;
    Ok(images.collect::<Result<_, _>>()?)
}

/// Writes everything that can change; false when the image is gone.
pub fn update(connection: &Connection, image: &Image) -> Result<bool, StoreError> {
    let mut statement = connection.prepare_cached(
        "UPDATE image SET owner = ?2, name = ?3, status = ?4, visibility = ?5, disk_format = ?6, \
             container_format = ?7, min_disk_gib = ?8, min_ram_mib = ?9, protected = ?10, hidden = ?11, \
             size_bytes = ?12, virtual_bytes = ?13, file_format = ?14, md5 = ?15, sha512 = ?16, properties = ?17, \
             tags = ?18, updated_at = ?19 \
         WHERE id = ?1 AND deleted_at IS NULL",
    )?;
    let changed = statement.execute(params![
        image.id,
        image.owner,
        image.name,
        image.status.as_str(),
        image.visibility.as_str(),
        image.disk_format.map(super::super::core::image::DiskFormat::as_str),
        image.container_format.map(super::super::core::image::ContainerFormat::as_str),
        image.min_disk,
        image.min_ram,
        image.protected,
        image.hidden,
        image.size,
        image.virtual_size,
        image.file_format,
        image.md5,
        image.sha512,
        to_json(&image.properties)?,
        to_json(&image.tags)?,
        image.updated_at.as_microsecond(),
    ])?;
    Ok(changed == 1)
}

/// Deletes an image, whatever its state; false when it is gone already.
pub fn delete(connection: &Connection, id: ImageId, now: Timestamp) -> Result<bool, StoreError> {
    let changed = connection.execute(
        "UPDATE image SET status = 'deleted', file_format = NULL, deleted_at = ?2, updated_at = ?2 \
         WHERE id = ?1 AND deleted_at IS NULL",
        params![id, now.as_microsecond()],
    )?;
    connection.execute("DELETE FROM image_member WHERE image_id = ?1", [id])?;
    Ok(changed == 1)
}

/// Takes back uploads that came to nothing, all of them or that of one image, and returns their ids. Images that an open
/// task is about to fill are its own business.
pub fn reset_interrupted(
    connection: &Connection,
    only: Option<ImageId>,
    now: Timestamp,
) -> Result<Vec<ImageId>, StoreError> {
    let mut statement = connection.prepare_cached(
        "UPDATE image SET status = 'queued', size_bytes = NULL, virtual_bytes = NULL, md5 = NULL, sha512 = NULL, \
             updated_at = ?1 \
         WHERE deleted_at IS NULL AND file_format IS NULL AND status IN ('saving', 'uploading', 'importing') \
           AND (?2 IS NULL OR id = ?2) \
           AND NOT EXISTS (SELECT 1 FROM task WHERE status IN ('pending', 'running', 'unwinding', 'stuck') \
                              AND instr(state, image.id) > 0) \
         RETURNING id",
    )?;
    let ids = statement.query_map(params![now.as_microsecond(), only], |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Whether the image's bytes in the store are wanted: it has some or is getting some, or a task that is not over may read
/// or write them, as that of a server which is being made from it and has no base yet.
pub fn wants_file(connection: &Connection, id: ImageId) -> Result<bool, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM image WHERE id = ?1 AND deleted_at IS NULL \
                           AND (file_format IS NOT NULL OR status IN ('saving', 'uploading', 'importing'))) \
             OR EXISTS (SELECT 1 FROM server WHERE deleted_at IS NULL AND task_state IS NOT NULL \
                           AND (image_id = ?1 OR instr(ifnull(shelved, ''), ?1) > 0)) \
             OR EXISTS (SELECT 1 FROM task WHERE status IN ('pending', 'running', 'unwinding', 'stuck') \
                           AND instr(state, ?1) > 0)",
    )?;
    Ok(statement.query_row([id.to_string()], |row| row.get(0))?)
}

/// Whether the rows say that a server's disks may stand on the image: it was made from it, waits to come back from it, or
/// a task that is not over speaks of it. While there is a rescued server every image counts as used.
pub fn is_base(connection: &Connection, id: ImageId) -> Result<bool, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM server WHERE image_id = ?1 AND deleted_at IS NULL) \
             OR EXISTS (SELECT 1 FROM server WHERE shelved IS NOT NULL AND deleted_at IS NULL AND instr(shelved, ?1) > 0) \
             OR EXISTS (SELECT 1 FROM server WHERE vm_state = 'rescued' AND deleted_at IS NULL) \
             OR EXISTS (SELECT 1 FROM task WHERE status IN ('pending', 'running', 'unwinding', 'stuck') \
                           AND instr(state, ?1) > 0)",
    )?;
    Ok(statement.query_row([id.to_string()], |row| row.get(0))?)
}

/// What a project's images take up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes of all images.
    pub bytes: u64,
    /// Bytes of those that were staged for an import.
    pub staged_bytes: u64,
    pub count: u64,
    /// How many are being uploaded or imported.
    pub uploading: u64,
}

/// What the images of a project take up.
pub fn usage(connection: &Connection, owner: &ProjectId) -> Result<Usage, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT ifnull(sum(size_bytes), 0), \
                ifnull(sum(size_bytes) FILTER (WHERE status IN ('uploading', 'importing')), 0), \
                count(*), \
                count(*) FILTER (WHERE status IN ('saving', 'uploading', 'importing')) \
         FROM image WHERE owner = ?1 AND deleted_at IS NULL AND status <> 'killed'",
    )?;
    Ok(statement.query_row([owner], |row| {
        Ok(Usage {
            bytes: row.get(0)?,
            staged_bytes: row.get(1)?,
            count: row.get(2)?,
            uploading: row.get(3)?,
        })
    })?)
}

/// A project's limit for one of the image resources, where it has one of its own. -1 is without limit.
pub fn limit(
    connection: &Connection,
    project: &ProjectId,
    resource: &str,
) -> Result<Option<i64>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT hard_limit FROM quota WHERE project_id = ?1 AND resource = ?2")?;
    Ok(statement.query_row(params![project, resource], |row| row.get(0)).optional()?)
}

#[cfg(test)]
#[path = "images_tests.rs"]
mod tests;
