//! Server groups, and which servers are in them.

use super::rows::{json, time};
use super::{Connection, StoreError};
use crate::core::ids::{ServerGroupId, ServerId, UserId};
use crate::core::server_group::{Policy, ServerGroup, ServerGroupQuery};
use rusqlite::types::FromSqlError;
use rusqlite::{OptionalExtension, Row, params};

const SELECT: &str = "SELECT g.*, (SELECT json_group_array(m.server_id ORDER BY m.number) \
         FROM server_group_member m JOIN server s ON s.id = m.server_id \
         WHERE m.group_id = g.id AND s.deleted_at IS NULL AND s.vm_state <> 'soft-delete') AS members \
     FROM server_group g";

fn group(row: &Row<'_>) -> rusqlite::Result<ServerGroup> {
    Ok(ServerGroup {
        id: row.get("id")?,
        project_id: row.get("project_id")?,
        user_id: row.get("user_id")?,
        name: row.get("name")?,
        policy: Policy::from_name(row.get_ref("policy")?.as_str()?).ok_or(FromSqlError::InvalidType)?,
        max_server_per_host: row.get("max_server_per_host")?,
        members: json(row, "members")?,
        created_at: time(row, "created_at")?,
    })
}

/// Adds a group. Servers come into it later.
pub fn insert(c: &Connection, new: &ServerGroup) -> Result<(), StoreError> {
    c.prepare_cached(
        "INSERT INTO server_group (id, project_id, user_id, name, policy, max_server_per_host, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        new.id,
        new.project_id,
        new.user_id,
        new.name,
        new.policy.as_str(),
        new.max_server_per_host,
        new.created_at.as_microsecond(),
    ])?;
    Ok(())
}

pub fn get(c: &Connection, id: ServerGroupId) -> Result<Option<ServerGroup>, StoreError> {
    Ok(c.prepare_cached(&format!("{SELECT} WHERE g.id = ?1"))?.query_row([id], group).optional()?)
}

pub fn list(c: &Connection, query: &ServerGroupQuery) -> Result<Vec<ServerGroup>, StoreError> {
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let sql = format!("{SELECT} WHERE ?1 IS NULL OR g.project_id = ?1 ORDER BY g.number LIMIT ?2 OFFSET ?3");
    Ok(c.prepare_cached(&sql)?
        .query_map(params![query.project, number(query.limit), number(query.offset)], group)?
        .collect::<Result<_, _>>()?)
}

/// Removes a group, and nothing of the servers that were in it; whether there was one.
pub fn delete(c: &Connection, id: ServerGroupId) -> Result<bool, StoreError> {
    Ok(c.prepare_cached("DELETE FROM server_group WHERE id = ?1")?.execute([id])? > 0)
}

/// Puts a new server into a group.
pub fn join(c: &Connection, group: ServerGroupId, server: ServerId) -> Result<(), StoreError> {
    c.prepare_cached("INSERT INTO server_group_member (group_id, server_id) VALUES (?1, ?2)")?
        .execute(params![group, server])?;
    Ok(())
}

/// Takes a server out of the group that it is in, if any.
pub fn leave(c: &Connection, server: ServerId) -> Result<(), StoreError> {
    c.prepare_cached("DELETE FROM server_group_member WHERE server_id = ?1")?.execute([server])?;
    Ok(())
}

/// The group that a server is in.
pub fn of_server(c: &Connection, server: ServerId) -> Result<Option<ServerGroup>, StoreError> {
    let sql =
        format!("{SELECT} WHERE g.id = (SELECT group_id FROM server_group_member WHERE server_id = ?1)");
    Ok(c.prepare_cached(&sql)?.query_row([server], group).optional()?)
}

/// How many servers of a group are a user's. Those that could still be restored do not count.
pub fn count_of_user(c: &Connection, group: ServerGroupId, user: &UserId) -> Result<i64, StoreError> {
    Ok(c.prepare_cached(
        "SELECT count(*) FROM server_group_member m JOIN server s ON s.id = m.server_id \
         WHERE m.group_id = ?1 AND s.user_id = ?2 AND s.deleted_at IS NULL AND s.vm_state <> 'soft-delete'",
    )?
    .query_row(params![group, user], |row| row.get(0))?)
}

/// How many servers of a group stand on a host, those that could still be restored among them.
pub fn count_on_host(c: &Connection, group: ServerGroupId, host: &str) -> Result<i64, StoreError> {
    Ok(c.prepare_cached(
        "SELECT count(*) FROM server_group_member m JOIN server s ON s.id = m.server_id \
         WHERE m.group_id = ?1 AND s.host = ?2 AND s.deleted_at IS NULL",
    )?
    .query_row(params![group, host], |row| row.get(0))?)
}
