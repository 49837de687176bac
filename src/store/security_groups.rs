//! Security groups and their rules.

use super::StoreError;
use super::listing::{Column, Form, Source, column};
use super::rows::{json, maybe_parsed, time, to_json};
use crate::core::Result;
use crate::core::ids::{ProjectId, SecurityGroupId, SecurityGroupRuleId};
use crate::core::listing::Listing;
use crate::core::security_group::{
    self, DEFAULT_GROUP, Direction, Ethertype, Remote, RuleSpec, SecurityGroup, SecurityGroupRule,
};
use jiff::Timestamp;
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use std::collections::HashMap;

const GROUPS: Source = Source {
    select: "SELECT t.* FROM security_group t",
    table: "security_group",
    columns: &[
        column!("id", Text),
        column!("name", Text),
        column!("description", Text),
        column!("project_id", Text),
        column!("tenant_id", "project_id", Text),
        column!("stateful", Bool),
        column!("revision_number", "revision", Int),
        Column { name: "shared", filter: "0 IN (SELECT value FROM {json})", form: Form::Bool, sort: None },
    ],
    tagged: true,
    visible: "t.project_id = ?1",
    unknown: |marker| security_group::group_not_found(marker),
};

const RULES: Source = Source {
    select: "SELECT t.* FROM security_group_rule t",
    table: "security_group_rule",
    columns: &[
        column!("id", Text),
        column!("security_group_id", Text),
        column!("project_id", Text),
        column!("tenant_id", "project_id", Text),
        column!("direction", Text),
        column!("ethertype", Text),
        column!("protocol", Text),
        column!("port_range_min", Int),
        column!("port_range_max", Int),
        column!("remote_ip_prefix", Text),
        column!("remote_group_id", Text),
        column!("description", Text),
        column!("revision_number", "revision", Int),
    ],
    tagged: false,
    visible: "t.project_id = ?1 OR t.security_group_id IN (SELECT g.id FROM security_group g WHERE g.project_id = ?1)",
    unknown: |marker| security_group::rule_not_found(marker),
};

fn group_row(row: &Row<'_>) -> rusqlite::Result<SecurityGroup> {
    Ok(SecurityGroup {
        id: row.get("id")?,
        project_id: row.get("project_id")?,
        name: row.get("name")?,
        description: row.get("description")?,
        stateful: row.get("stateful")?,
        tags: json(row, "tags")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        revision: row.get("revision")?,
    })
}

fn rule_row(row: &Row<'_>) -> rusqlite::Result<SecurityGroupRule> {
    let direction = Direction::parse(row.get_ref("direction")?.as_str()?).ok_or(FromSqlError::InvalidType)?;
    let ethertype = Ethertype::parse(row.get_ref("ethertype")?.as_str()?).ok_or(FromSqlError::InvalidType)?;
    let prefix = maybe_parsed(row, "remote_ip_prefix")?;
    let group = row.get::<_, Option<SecurityGroupId>>("remote_group_id")?;
    let remote = match (prefix, group) {
        (_, Some(group)) => Remote::Group(group),
        (Some(prefix), None) => Remote::Prefix(prefix),
        (None, None) => Remote::Anyone,
    };
    Ok(SecurityGroupRule {
        id: row.get("id")?,
        group_id: row.get("security_group_id")?,
        project_id: row.get("project_id")?,
        description: row.get("description")?,
        spec: RuleSpec {
            direction,
            ethertype,
            protocol: row.get("protocol")?,
            port_min: row.get("port_range_min")?,
            port_max: row.get("port_range_max")?,
            remote,
        },
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        revision: row.get("revision")?,
    })
}

pub fn list(connection: &Connection, listing: &Listing) -> Result<Vec<SecurityGroup>> {
    GROUPS.list(connection, listing, group_row)
}

pub fn list_rules(connection: &Connection, listing: &Listing) -> Result<Vec<SecurityGroupRule>> {
    RULES.list(connection, listing, rule_row)
}

pub fn get(connection: &Connection, id: SecurityGroupId) -> Result<Option<SecurityGroup>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT * FROM security_group WHERE id = ?1")?;
    Ok(statement.query_row([id], group_row).optional()?)
}

/// Those of the groups that there are, by id.
pub fn get_all(connection: &Connection, ids: &[SecurityGroupId]) -> Result<Vec<SecurityGroup>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT * FROM security_group WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY id",
    )?;
    Ok(statement.query_map([to_json(&ids)?], group_row)?.collect::<rusqlite::Result<_>>()?)
}

pub fn get_rule(
    connection: &Connection,
    id: SecurityGroupRuleId,
) -> Result<Option<SecurityGroupRule>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT * FROM security_group_rule WHERE id = ?1")?;
    Ok(statement.query_row([id], rule_row).optional()?)
}

/// The rules of several groups, in one query.
pub fn rules_of(
    connection: &Connection,
    groups: &[SecurityGroupId],
) -> Result<HashMap<SecurityGroupId, Vec<SecurityGroupRule>>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT * FROM security_group_rule WHERE security_group_id IN (SELECT value FROM json_each(?1))
         ORDER BY created_at, id",
    )?;
    let mut rules: HashMap<_, Vec<_>> = HashMap::new();
    for rule in statement.query_map([to_json(&groups)?], rule_row)? {
        let rule = rule?;
        rules.entry(rule.group_id).or_default().push(rule);
    }
    Ok(rules)
}

/// The groups of a project that have this id or name.
pub fn named(
    connection: &Connection,
    project: &ProjectId,
    name_or_id: &str,
) -> Result<Vec<SecurityGroup>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT * FROM security_group WHERE project_id = ?1 AND (name = ?2 OR id = ?2) ORDER BY id = ?2 DESC",
    )?;
    Ok(statement.query_map(params![project, name_or_id], group_row)?.collect::<rusqlite::Result<_>>()?)
}

/// The project's default group, if it was made already.
pub fn default_of(
    connection: &Connection,
    project: &ProjectId,
) -> Result<Option<SecurityGroupId>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT id FROM security_group WHERE project_id = ?1 AND name = ?2")?;
    Ok(statement.query_row(params![project, DEFAULT_GROUP], |row| row.get(0)).optional()?)
}

/// The project's default group, made with its rules if this is the first use.
pub fn ensure_default(
    connection: &Connection,
    project: &ProjectId,
    now: Timestamp,
) -> Result<SecurityGroupId, StoreError> {
    if let Some(id) = default_of(connection, project)? {
        return Ok(id);
    }
    let group = SecurityGroup {
        id: SecurityGroupId::random(),
        project_id: project.clone(),
        name: DEFAULT_GROUP.into(),
        description: "Default security group".into(),
        stateful: true,
        tags: Vec::new(),
        created_at: now,
        updated_at: now,
        revision: 1,
    };
    insert_with_rules(connection, &group)?;
    Ok(group.id)
}

/// Writes a new group with the rules that it starts with.
pub fn insert_with_rules(connection: &Connection, group: &SecurityGroup) -> Result<(), StoreError> {
    put(connection, group)?;
    for spec in security_group::first_rules(group.id, group.name == DEFAULT_GROUP) {
        let rule = SecurityGroupRule {
            id: SecurityGroupRuleId::random(),
            group_id: group.id,
            project_id: group.project_id.clone(),
            description: String::new(),
            spec,
            created_at: group.created_at,
            updated_at: group.created_at,
            revision: 0,
        };
        insert_rule(connection, &rule)?;
    }
    Ok(())
}

/// Writes a group, new or changed.
pub fn put(connection: &Connection, group: &SecurityGroup) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO security_group (id, project_id, name, description, stateful, tags, created_at, updated_at,
                 revision)
             VALUES (:id, :project_id, :name, :description, :stateful, :tags, :created_at, :updated_at, :revision)
             ON CONFLICT (id) DO UPDATE SET name = :name, description = :description, stateful = :stateful,
                 tags = :tags, updated_at = :updated_at, revision = :revision",
        )?
        .execute(named_params! {
            ":id": group.id,
            ":project_id": group.project_id,
            ":name": group.name,
            ":description": group.description,
            ":stateful": group.stateful,
            ":tags": to_json(&group.tags)?,
            ":created_at": group.created_at.as_microsecond(),
            ":updated_at": group.updated_at.as_microsecond(),
            ":revision": group.revision,
        })?;
    Ok(())
}

pub fn insert_rule(connection: &Connection, rule: &SecurityGroupRule) -> Result<(), StoreError> {
    let (prefix, group) = remote_columns(&rule.spec.remote);
    connection
        .prepare_cached(
            "INSERT INTO security_group_rule (id, security_group_id, project_id, direction, ethertype, protocol,
                 port_range_min, port_range_max, remote_ip_prefix, remote_group_id, description, created_at,
                 updated_at, revision)
             VALUES (:id, :group, :project_id, :direction, :ethertype, :protocol, :min, :max, :prefix, :remote_group,
                 :description, :created_at, :updated_at, :revision)",
        )?
        .execute(named_params! {
            ":id": rule.id,
            ":group": rule.group_id,
            ":project_id": rule.project_id,
            ":direction": rule.spec.direction.as_str(),
            ":ethertype": rule.spec.ethertype.as_str(),
            ":protocol": rule.spec.protocol,
            ":min": rule.spec.port_min,
            ":max": rule.spec.port_max,
            ":prefix": prefix,
            ":remote_group": group,
            ":description": rule.description,
            ":created_at": rule.created_at.as_microsecond(),
            ":updated_at": rule.updated_at.as_microsecond(),
            ":revision": rule.revision,
        })?;
    Ok(())
}

fn remote_columns(remote: &Remote) -> (Option<String>, Option<SecurityGroupId>) {
    match remote {
        Remote::Anyone => (None, None),
        Remote::Prefix(prefix) => (Some(prefix.to_string()), None),
        Remote::Group(group) => (None, Some(*group)),
    }
}

/// The rule of the group that lets the same through, if there is one.
pub fn equal_rule(
    connection: &Connection,
    group: SecurityGroupId,
    spec: &RuleSpec,
) -> Result<Option<SecurityGroupRuleId>, StoreError> {
    let rules = rules_of(connection, &[group])?;
    Ok(rules.into_values().flatten().find(|rule| rule.spec == *spec).map(|rule| rule.id))
}

/// Removes a group with its rules, and the rules of others that name it. No port may belong to it.
pub fn delete(connection: &Connection, id: SecurityGroupId) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM security_group WHERE id = ?1")?.execute([id])?;
    Ok(())
}

pub fn delete_rule(connection: &Connection, id: SecurityGroupRuleId) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM security_group_rule WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// Counts a change of a group's rules as a change of the group.
pub fn touch(connection: &Connection, id: SecurityGroupId, now: Timestamp) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE security_group SET updated_at = ?2, revision = revision + 1 WHERE id = ?1")?
        .execute(params![id, now.as_microsecond()])?;
    Ok(())
}
