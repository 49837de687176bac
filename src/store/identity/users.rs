//! User rows with their password hashes.

use super::filter::Filter;
use super::{Result, extra};
use crate::core::identity::query::WantedUsers;
use crate::core::identity::{Extra, User};
use crate::core::ids::{DomainId, ProjectId, UserId};
use crate::store::rows;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;

const COLUMNS: &str =
    "SELECT u.id, u.domain_id, u.name, u.default_project_id, u.description, u.enabled, u.extra
                       FROM user u";

/// Where the options are among the attributes; the API lets nobody have an attribute of this name.
const OPTIONS: &str = "options";

pub(super) fn user_row(row: &Row<'_>) -> rusqlite::Result<User> {
    let mut extra = extra(row)?;
    let options = match extra.remove(OPTIONS) {
        Some(Value::Object(options)) => options,
        _ => Extra::new(),
    };
    Ok(User {
        id: row.get("id")?,
        domain_id: row.get("domain_id")?,
        name: row.get("name")?,
        default_project_id: row.get("default_project_id")?,
        description: row.get("description")?,
        enabled: row.get("enabled")?,
        options,
        extra,
    })
}

/// The attributes and the options of a user as they are kept.
fn kept(user: &User) -> Result<String> {
    let mut all = user.extra.clone();
    if !user.options.is_empty() {
        all.insert(OPTIONS.to_owned(), Value::Object(user.options.clone()));
    }
    rows::to_json(&all)
}

pub fn get(c: &Connection, id: &UserId) -> Result<Option<User>> {
    Ok(c.prepare_cached(&format!("{COLUMNS} WHERE u.id = ?1"))?.query_row([id], user_row).optional()?)
}

pub fn by_name(c: &Connection, domain: &DomainId, name: &str) -> Result<Option<User>> {
    Ok(c.prepare_cached(&format!("{COLUMNS} WHERE u.domain_id = ?1 AND u.name = ?2"))?
        .query_row(params![domain, name], user_row)
        .optional()?)
}

pub fn list(c: &Connection, wanted: &WantedUsers) -> Result<Vec<User>> {
    let mut filter = Filter::new(&format!("{COLUMNS} WHERE 1"))
        .equal("u.name", wanted.name.as_deref())
        .equal("u.domain_id", wanted.domain_id.as_deref())
        .flag("u.enabled", wanted.enabled);
    if let Some(group) = &wanted.group {
        let members = "u.id IN (SELECT user_id FROM group_member WHERE group_id = ?)";
        filter = filter.condition(members, group.0.clone());
    }
    filter.page("u.id", &wanted.page).rows(c, user_row)
}

/// Adds a user; without a password hash nobody can log in as him by password.
pub fn insert(c: &Connection, user: &User, password_hash: Option<&str>) -> Result<()> {
    c.prepare_cached("INSERT INTO user VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?.execute(params![
        user.id,
        user.domain_id,
        user.name,
        password_hash,
        user.default_project_id,
        user.description,
        user.enabled,
        kept(user)?
    ])?;
    Ok(())
}

pub fn update(c: &Connection, user: &User) -> Result<()> {
    c.prepare_cached(
        "UPDATE user SET name = ?2, default_project_id = ?3, description = ?4, enabled = ?5, extra = ?6
         WHERE id = ?1",
    )?
    .execute(params![
        user.id,
        user.name,
        user.default_project_id,
        user.description,
        user.enabled,
        kept(user)?
    ])?;
    Ok(())
}

pub fn password_hash(c: &Connection, id: &UserId) -> Result<Option<String>> {
    let hash = c
        .prepare_cached("SELECT password_hash FROM user WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    Ok(hash.flatten())
}

pub fn set_password_hash(c: &Connection, id: &UserId, hash: Option<&str>) -> Result<()> {
    c.prepare_cached("UPDATE user SET password_hash = ?2 WHERE id = ?1")?.execute(params![id, hash])?;
    Ok(())
}

pub fn delete(c: &Connection, id: &UserId) -> Result<()> {
    c.prepare_cached("DELETE FROM user WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// Forgets a project as the default of anybody.
pub fn clear_default_project(c: &Connection, project: &ProjectId) -> Result<()> {
    c.prepare_cached("UPDATE user SET default_project_id = NULL WHERE default_project_id = ?1")?
        .execute([project])?;
    Ok(())
}
