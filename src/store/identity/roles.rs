//! Role rows, and which role implies which.

use super::filter::Filter;
use super::{Result, extra};
use crate::core::identity::Role;
use crate::core::identity::query::{Page, WantedRoles};
use crate::core::ids::{DomainId, RoleId};
use crate::store::rows;
use rusqlite::{Connection, OptionalExtension, Row, params};

pub(super) fn role_row(row: &Row<'_>) -> rusqlite::Result<Role> {
    Ok(Role {
        id: row.get("id")?,
        name: row.get("name")?,
        domain_id: row.get("domain_id")?,
        description: row.get("description")?,
        extra: extra(row)?,
    })
}

pub fn get(c: &Connection, id: &RoleId) -> Result<Option<Role>> {
    Ok(c.prepare_cached("SELECT * FROM role WHERE id = ?1")?.query_row([id], role_row).optional()?)
}

pub fn by_name(c: &Connection, domain: Option<&DomainId>, name: &str) -> Result<Option<Role>> {
    Ok(c.prepare_cached("SELECT * FROM role WHERE name = ?1 AND domain_id IS ?2")?
        .query_row(params![name, domain], role_row)
        .optional()?)
}

/// The roles of a domain, or without one those that belong to none.
pub fn list(c: &Connection, wanted: &WantedRoles) -> Result<Vec<Role>> {
    let filter = match &wanted.domain_id {
        Some(domain) => Filter::new("SELECT * FROM role WHERE 1").condition("domain_id = ?", domain.clone()),
        None => Filter::new("SELECT * FROM role WHERE domain_id IS NULL"),
    };
    filter.equal("name", wanted.name.as_deref()).page("id", &wanted.page).rows(c, role_row)
}

/// Every role there is, of all domains and of none.
pub fn all(c: &Connection) -> Result<Vec<Role>> {
    Filter::new("SELECT * FROM role WHERE 1").page("id", &Page::default()).rows(c, role_row)
}

pub fn insert(c: &Connection, role: &Role) -> Result<()> {
    c.prepare_cached("INSERT INTO role VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
        role.id,
        role.name,
        role.domain_id,
        role.description,
        rows::to_json(&role.extra)?
    ])?;
    Ok(())
}

pub fn update(c: &Connection, role: &Role) -> Result<()> {
    c.prepare_cached("UPDATE role SET name = ?2, description = ?3, extra = ?4 WHERE id = ?1")?
        .execute(params![role.id, role.name, role.description, rows::to_json(&role.extra)?])?;
    Ok(())
}

pub fn delete(c: &Connection, id: &RoleId) -> Result<()> {
    c.prepare_cached("DELETE FROM role WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// Lets one role imply another; doing so again changes nothing.
pub fn insert_implication(c: &Connection, prior: &RoleId, implied: &RoleId) -> Result<()> {
    c.prepare_cached("INSERT OR IGNORE INTO role_implication VALUES (?1, ?2)")?
        .execute(params![prior, implied])?;
    Ok(())
}

/// Says whether there was such an implication.
pub fn delete_implication(c: &Connection, prior: &RoleId, implied: &RoleId) -> Result<bool> {
    let deleted = c
        .prepare_cached("DELETE FROM role_implication WHERE prior_id = ?1 AND implied_id = ?2")?
        .execute(params![prior, implied])?;
    Ok(deleted > 0)
}
