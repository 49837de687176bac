//! Group rows and who belongs to them.

use super::filter::Filter;
use super::{Result, extra};
use crate::core::identity::Group;
use crate::core::identity::query::WantedGroups;
use crate::core::ids::{DomainId, GroupId, UserId};
use crate::store::rows;
use rusqlite::{Connection, OptionalExtension, Row, params};

fn group_row(row: &Row<'_>) -> rusqlite::Result<Group> {
    Ok(Group {
        id: row.get("id")?,
        domain_id: row.get("domain_id")?,
        name: row.get("name")?,
        description: row.get("description")?,
        extra: extra(row)?,
    })
}

pub fn get(c: &Connection, id: &GroupId) -> Result<Option<Group>> {
    Ok(c.prepare_cached("SELECT * FROM user_group WHERE id = ?1")?.query_row([id], group_row).optional()?)
}

pub fn by_name(c: &Connection, domain: &DomainId, name: &str) -> Result<Option<Group>> {
    Ok(c.prepare_cached("SELECT * FROM user_group WHERE domain_id = ?1 AND name = ?2")?
        .query_row(params![domain, name], group_row)
        .optional()?)
}

pub fn list(c: &Connection, wanted: &WantedGroups) -> Result<Vec<Group>> {
    let mut filter = Filter::new("SELECT * FROM user_group WHERE 1")
        .equal("name", wanted.name.as_deref())
        .equal("domain_id", wanted.domain_id.as_deref());
    if let Some(member) = &wanted.member {
        let groups = "id IN (SELECT group_id FROM group_member WHERE user_id = ?)";
        filter = filter.condition(groups, member.0.clone());
    }
    filter.page("id", &wanted.page).rows(c, group_row)
}

pub fn insert(c: &Connection, group: &Group) -> Result<()> {
    c.prepare_cached("INSERT INTO user_group VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
        group.id,
        group.domain_id,
        group.name,
        group.description,
        rows::to_json(&group.extra)?
    ])?;
    Ok(())
}

pub fn update(c: &Connection, group: &Group) -> Result<()> {
    c.prepare_cached("UPDATE user_group SET name = ?2, description = ?3, extra = ?4 WHERE id = ?1")?
        .execute(params![group.id, group.name, group.description, rows::to_json(&group.extra)?])?;
    Ok(())
}

pub fn delete(c: &Connection, id: &GroupId) -> Result<()> {
    c.prepare_cached("DELETE FROM user_group WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// Adds a member; doing so again changes nothing.
pub fn add_member(c: &Connection, group: &GroupId, user: &UserId) -> Result<()> {
    c.prepare_cached("INSERT OR IGNORE INTO group_member VALUES (?1, ?2)")?.execute(params![group, user])?;
    Ok(())
}

/// Says whether the user was a member.
pub fn remove_member(c: &Connection, group: &GroupId, user: &UserId) -> Result<bool> {
    let removed = c
        .prepare_cached("DELETE FROM group_member WHERE group_id = ?1 AND user_id = ?2")?
        .execute(params![group, user])?;
    Ok(removed > 0)
}

pub fn is_member(c: &Connection, group: &GroupId, user: &UserId) -> Result<bool> {
    let found = c
        .prepare_cached("SELECT 1 FROM group_member WHERE group_id = ?1 AND user_id = ?2")?
        .query_row(params![group, user], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

/// The ids of a group's members.
pub fn members(c: &Connection, group: &GroupId) -> Result<Vec<UserId>> {
    let mut statement =
        c.prepare_cached("SELECT user_id FROM group_member WHERE group_id = ?1 ORDER BY user_id")?;
    let members = statement.query_map([group], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(members)
}
