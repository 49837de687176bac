//! Limits of projects where the defaults do not hold, and what projects use of them.

use super::StoreError;
use crate::core::ids::ProjectId;
use crate::core::quota::{Limits, Resource, Usage};
use rusqlite::Connection;

/// Whose limits a row is about.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    Project(&'a ProjectId),
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
        .execute(rusqlite::params![scope.key(), resource.name(), limit])?;
    Ok(())
}

/// Puts a project back to the defaults. Its limits of the network API stay, which are in the same table.
pub fn clear(connection: &Connection, project: &ProjectId) -> Result<(), StoreError> {
    let mut statement =
        connection.prepare_cached("DELETE FROM quota WHERE project_id = ?1 AND resource = ?2")?;
    let key = Scope::Project(project).key();
    for resource in Resource::ALL {
        statement.execute([key.as_str(), resource.name()])?;
    }
    Ok(())
}

/// What a project has. All servers that are not deleted count, whatever their state.
pub fn usage(connection: &Connection, project: &ProjectId) -> Result<Usage, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT count(*), ifnull(sum(vcpus), 0), ifnull(sum(ram_mib), 0), \
                 (SELECT count(*) FROM server_group WHERE project_id = ?1) \
             FROM server WHERE project_id = ?1 AND deleted_at IS NULL",
        )?
        .query_row([project], |row| {
            Ok(Usage {
                instances: row.get(0)?,
                cores: row.get(1)?,
                ram_mib: row.get(2)?,
                server_groups: row.get(3)?,
            })
        })?)
}
