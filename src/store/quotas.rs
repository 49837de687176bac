//! Limits of projects where the defaults do not hold, of users where those of their projects do not, and what is used of them.

use super::StoreError;
use crate::core::ids::{ProjectId, UserId};
use crate::core::quota::{Limits, Resource, Usage};
use rusqlite::{Connection, OptionalExtension, params};

/// Whose limits a row is about.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    Project(&'a ProjectId),
    /// A user within a project.
    User(&'a ProjectId, &'a UserId),
    /// What holds where a project has nothing of its own, for the class `default`; other classes hold nowhere.
    Class(&'a str),
}

/// The class that all projects are in.
pub const DEFAULT_CLASS: &str = "default";

impl Scope<'_> {
    /// No id of a project has a colon in it.
    fn key(self) -> String {
        match self {
            Self::Project(project) => project.0.clone(),
            Self::User(project, user) => format!("user:{project}:{user}"),
            Self::Class(name) => format!("class:{name}"),
        }
    }
}

/// The limits that hold for a project.
pub fn limits(connection: &Connection, project: &ProjectId) -> Result<Limits, StoreError> {
    let mut limits = class_limits(connection, DEFAULT_CLASS)?;
    overlay(connection, Scope::Project(project), &mut limits)?;
    Ok(limits)
}

/// The limits that hold for a user within a project.
pub fn user_limits(
    connection: &Connection,
    project: &ProjectId,
    user: &UserId,
) -> Result<Limits, StoreError> {
    let mut limits = limits(connection, project)?;
    overlay(connection, Scope::User(project, user), &mut limits)?;
    Ok(limits)
}

/// How much of a resource is set aside for single users of a project. Users without a limit have nothing set aside.
pub fn set_aside(
    connection: &Connection,
    project: &ProjectId,
    resource: Resource,
) -> Result<i64, StoreError> {
    let [first, end] = users_of(project);
    Ok(connection
        .prepare_cached(
            "SELECT ifnull(sum(hard_limit), 0) FROM quota \
             WHERE project_id >= ?1 AND project_id < ?2 AND resource = ?3 AND hard_limit > 0",
        )?
        .query_row([first.as_str(), end.as_str(), resource.name()], |row| row.get(0))?)
}

/// The limit that a user has of his own within a project.
pub fn own_limit(
    connection: &Connection,
    project: &ProjectId,
    user: &UserId,
    resource: Resource,
) -> Result<Option<i64>, StoreError> {
    Ok(connection
        .prepare_cached("SELECT hard_limit FROM quota WHERE project_id = ?1 AND resource = ?2")?
        .query_row([Scope::User(project, user).key().as_str(), resource.name()], |row| row.get(0))
        .optional()?)
}

/// Between which keys those of a project's users are.
fn users_of(project: &ProjectId) -> [String; 2] {
    // A semicolon comes next after a colon.
    [':', ';'].map(|end| format!("user:{project}{end}"))
}

/// The limits of a class.
pub fn class_limits(connection: &Connection, name: &str) -> Result<Limits, StoreError> {
    let mut limits = Limits::default();
    overlay(connection, Scope::Class(name), &mut limits)?;
    Ok(limits)
}

fn overlay(connection: &Connection, scope: Scope<'_>, limits: &mut Limits) -> Result<(), StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT resource, hard_limit FROM quota WHERE project_id = ?")?;
    let mut rows = statement.query([scope.key()])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        if let Some(resource) = Resource::from_name(&name) {
            limits.set(resource, row.get(1)?);
        }
    }
    Ok(())
}

/// Sets one limit.
pub fn set(
    connection: &Connection,
    scope: Scope<'_>,
    resource: Resource,
    limit: i64,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO quota (project_id, resource, hard_limit) VALUES (?1, ?2, ?3) \
             ON CONFLICT (project_id, resource) DO UPDATE SET hard_limit = ?3",
        )?
        .execute(params![scope.key(), resource.name(), limit])?;
    Ok(())
}

/// Puts a project and all its users back to the defaults. Its limits of the network API stay, which are in the same table.
pub fn clear(connection: &Connection, project: &ProjectId) -> Result<(), StoreError> {
    clear_scope(connection, Scope::Project(project))?;
    connection
        .prepare_cached("DELETE FROM quota WHERE project_id >= ?1 AND project_id < ?2")?
        .execute(users_of(project))?;
    Ok(())
}

/// Puts a user within a project back to the project's limits.
pub fn clear_user(connection: &Connection, project: &ProjectId, user: &UserId) -> Result<(), StoreError> {
    clear_scope(connection, Scope::User(project, user))
}

fn clear_scope(connection: &Connection, scope: Scope<'_>) -> Result<(), StoreError> {
    let mut statement =
        connection.prepare_cached("DELETE FROM quota WHERE project_id = ?1 AND resource = ?2")?;
    let key = scope.key();
    for resource in Resource::ALL {
        statement.execute([key.as_str(), resource.name()])?;
    }
    Ok(())
}

/// What a project has, or a user of it. All servers that are not deleted count, whatever their state.
pub fn usage(
    connection: &Connection,
    project: &ProjectId,
    user: Option<&UserId>,
) -> Result<Usage, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT count(*), ifnull(sum(vcpus), 0), ifnull(sum(ram_mib), 0), \
                 (SELECT count(*) FROM server_group WHERE project_id = ?1 AND user_id = ifnull(?2, user_id)) \
             FROM server WHERE project_id = ?1 AND user_id = ifnull(?2, user_id) AND deleted_at IS NULL",
        )?
        .query_row(params![project, user], |row| {
            Ok(Usage {
                instances: row.get(0)?,
                cores: row.get(1)?,
                ram_mib: row.get(2)?,
                server_groups: row.get(3)?,
            })
        })?)
}
