//! Roles given to users and groups on projects, domains and the system.

use super::Result;
use super::filter::Filter;
use crate::core::identity::query::WantedGrants;
use crate::core::identity::{Grant, Grantee, RoleRef, Target, with_implied};
use crate::core::ids::{DomainId, ProjectId, RoleId, UserId};
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::BTreeMap;

pub(super) fn target_columns(target: &Target) -> (&'static str, &str) {
    match target {
        Target::Project(id) => ("project", id.as_str()),
        Target::Domain(id) => ("domain", id.as_str()),
        Target::System => ("system", "all"),
    }
}

pub(super) fn target(kind: &str, id: String) -> rusqlite::Result<Target> {
    match kind {
        "project" => Ok(Target::Project(id.into())),
        "domain" => Ok(Target::Domain(id.into())),
        "system" => Ok(Target::System),
        other => Err(FromSqlError::Other(format!("no kind of target: {other}").into()).into()),
    }
}

fn grantee_columns(grantee: &Grantee) -> (&'static str, &str) {
    match grantee {
        Grantee::User(id) => ("user", id.as_str()),
        Grantee::Group(id) => ("group", id.as_str()),
    }
}

fn grant(row: &Row<'_>) -> rusqlite::Result<Grant> {
    let actor: String = row.get("actor_id")?;
    let kind: String = row.get("target_kind")?;
    Ok(Grant {
        grantee: match row.get_ref("actor_kind")?.as_str()? {
            "user" => Grantee::User(actor.into()),
            _ => Grantee::Group(actor.into()),
        },
        target: target(&kind, row.get("target_id")?)?,
        role: row.get("role_id")?,
        inherited: row.get("inherited")?,
    })
}

/// Gives a role; giving it again changes nothing.
pub fn insert(c: &Connection, grant: &Grant) -> Result<()> {
    let (actor_kind, actor) = grantee_columns(&grant.grantee);
    let (target_kind, target) = target_columns(&grant.target);
    c.prepare_cached("INSERT OR IGNORE INTO role_assignment VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![actor_kind, actor, target_kind, target, grant.role, grant.inherited])?;
    Ok(())
}

pub fn exists(c: &Connection, grant: &Grant) -> Result<bool> {
    let (actor_kind, actor) = grantee_columns(&grant.grantee);
    let (target_kind, target) = target_columns(&grant.target);
    let found = c
        .prepare_cached(
            "SELECT 1 FROM role_assignment WHERE actor_kind = ?1 AND actor_id = ?2 AND target_kind = ?3
             AND target_id = ?4 AND role_id = ?5 AND inherited = ?6",
        )?
        .query_row(params![actor_kind, actor, target_kind, target, grant.role, grant.inherited], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

/// Takes a role back; says whether it had been given.
pub fn delete(c: &Connection, grant: &Grant) -> Result<bool> {
    let (actor_kind, actor) = grantee_columns(&grant.grantee);
    let (target_kind, target) = target_columns(&grant.target);
    let deleted = c
        .prepare_cached(
            "DELETE FROM role_assignment WHERE actor_kind = ?1 AND actor_id = ?2 AND target_kind = ?3
             AND target_id = ?4 AND role_id = ?5 AND inherited = ?6",
        )?
        .execute(params![actor_kind, actor, target_kind, target, grant.role, grant.inherited])?;
    Ok(deleted > 0)
}

/// Forgets all that was given to somebody.
pub fn delete_of_grantee(c: &Connection, grantee: &Grantee) -> Result<()> {
    let (kind, id) = grantee_columns(grantee);
    c.prepare_cached("DELETE FROM role_assignment WHERE actor_kind = ?1 AND actor_id = ?2")?
        .execute(params![kind, id])?;
    Ok(())
}

/// Forgets all that was given on something.
pub fn delete_of_target(c: &Connection, target: &Target) -> Result<()> {
    let (kind, id) = target_columns(target);
    c.prepare_cached("DELETE FROM role_assignment WHERE target_kind = ?1 AND target_id = ?2")?
        .execute(params![kind, id])?;
    Ok(())
}

/// The grants as they were given.
pub fn list(c: &Connection, wanted: &WantedGrants) -> Result<Vec<Grant>> {
    let grantee = wanted.grantee.as_ref().map(grantee_columns);
    let target = wanted.target.as_ref().map(target_columns);
    Filter::new("SELECT * FROM role_assignment WHERE 1")
        .equal("actor_kind", grantee.map(|(kind, _)| kind))
        .equal("actor_id", grantee.map(|(_, id)| id))
        .equal("target_kind", target.map(|(kind, _)| kind))
        .equal("target_id", target.map(|(_, id)| id))
        .equal("role_id", wanted.role.as_ref().map(RoleId::as_str))
        .flag("inherited", wanted.inherited)
        .rows(c, grant)
}

/// Which roles imply which.
pub fn implications(c: &Connection) -> Result<BTreeMap<RoleId, Vec<RoleId>>> {
    let mut statement =
        c.prepare_cached("SELECT prior_id, implied_id FROM role_implication ORDER BY prior_id, implied_id")?;
    let mut rows = statement.query([])?;
    let mut implications = BTreeMap::new();
    while let Some(row) = rows.next()? {
        implications.entry(row.get(0)?).or_insert_with(Vec::new).push(row.get(1)?);
    }
    Ok(implications)
}

/// The roles that a user has on a target: his own and those of his groups, inherited from above, with all they imply.
/// Roles of a domain are left out: they mean something by what they imply alone.
pub fn effective_roles(c: &Connection, user: &UserId, target: &Target) -> Result<Vec<RoleRef>> {
    let (kind, id) = target_columns(target);
    let mut statement = c.prepare_cached(
        "WITH RECURSIVE above (id) AS (
             SELECT parent_id FROM project WHERE id = ?3 AND ?2 = 'project'
             UNION SELECT p.parent_id FROM project p JOIN above ON p.id = above.id)
         SELECT DISTINCT role_id FROM role_assignment
         WHERE ((actor_kind = 'user' AND actor_id = ?1)
                OR (actor_kind = 'group' AND actor_id IN (SELECT group_id FROM group_member WHERE user_id = ?1)))
           AND ((target_kind = ?2 AND target_id = ?3 AND inherited = 0)
                OR (inherited = 1 AND target_id IN (SELECT id FROM above)))",
    )?;
    let given: Vec<RoleId> =
        statement.query_map(params![user, kind, id], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    if given.is_empty() {
        return Ok(Vec::new());
    }
    let all = with_implied(given, &implications(c)?);
    let mut statement =
        c.prepare_cached("SELECT id, name FROM role WHERE domain_id IS NULL ORDER BY name")?;
    let roles = statement
        .query_map([], |row| Ok(RoleRef { id: row.get(0)?, name: row.get(1)? }))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(roles.into_iter().filter(|role| all.contains(&role.id)).collect())
}

/// The projects on which a user has a role, directly, by a group or from above.
pub fn projects_of(c: &Connection, user: &UserId) -> Result<Vec<ProjectId>> {
    let mut statement = c.prepare_cached(
        "WITH RECURSIVE mine (kind, id, inherited) AS (
             SELECT target_kind, target_id, inherited FROM role_assignment
             WHERE (actor_kind = 'user' AND actor_id = ?1)
                OR (actor_kind = 'group' AND actor_id IN (SELECT group_id FROM group_member WHERE user_id = ?1))),
         below (id) AS (
             SELECT p.id FROM project p JOIN mine ON p.parent_id = mine.id WHERE mine.inherited = 1
             UNION SELECT p.id FROM project p JOIN below ON p.parent_id = below.id)
         SELECT id FROM mine WHERE kind = 'project' AND inherited = 0 UNION SELECT id FROM below",
    )?;
    let projects = statement.query_map([user], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(projects)
}

/// The domains on which a user has a role, directly or by a group.
pub fn domains_of(c: &Connection, user: &UserId) -> Result<Vec<DomainId>> {
    let mut statement = c.prepare_cached(
        "SELECT DISTINCT target_id FROM role_assignment
         WHERE target_kind = 'domain' AND inherited = 0
           AND ((actor_kind = 'user' AND actor_id = ?1)
                OR (actor_kind = 'group' AND actor_id IN (SELECT group_id FROM group_member WHERE user_id = ?1)))",
    )?;
    let domains = statement.query_map([user], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(domains)
}
