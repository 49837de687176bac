//! Domain and project rows.

use super::filter::Filter;
use super::{Result, extra};
use crate::core::identity::query::{WantedDomains, WantedProjects};
use crate::core::identity::{Domain, DomainRef, Project, Scope, Target};
use crate::core::ids::{DomainId, ProjectId};
use crate::store::rows;
use rusqlite::{Connection, OptionalExtension, Row, params};

fn domain_row(row: &Row<'_>) -> rusqlite::Result<Domain> {
    Ok(Domain {
        id: row.get("id")?,
        name: row.get("name")?,
        description: row.get("description")?,
        enabled: row.get("enabled")?,
        extra: extra(row)?,
    })
}

fn project_row(row: &Row<'_>) -> rusqlite::Result<Project> {
    Ok(Project {
        id: row.get("id")?,
        domain_id: row.get("domain_id")?,
        parent_id: row.get("parent_id")?,
        name: row.get("name")?,
        description: row.get("description")?,
        enabled: row.get("enabled")?,
        tags: rows::json(row, "tags")?,
        extra: extra(row)?,
    })
}

pub fn domain_ref(domain: Domain) -> DomainRef {
    DomainRef { id: domain.id, name: domain.name }
}

pub fn domain(c: &Connection, id: &DomainId) -> Result<Option<Domain>> {
    Ok(c.prepare_cached("SELECT * FROM domain WHERE id = ?1")?.query_row([id], domain_row).optional()?)
}

pub fn domain_by_name(c: &Connection, name: &str) -> Result<Option<Domain>> {
    Ok(c.prepare_cached("SELECT * FROM domain WHERE name = ?1")?.query_row([name], domain_row).optional()?)
}

pub fn domains(c: &Connection, wanted: &WantedDomains) -> Result<Vec<Domain>> {
    Filter::new("SELECT * FROM domain WHERE 1")
        .equal("name", wanted.name.as_deref())
        .flag("enabled", wanted.enabled)
        .page("id", &wanted.page)
        .rows(c, domain_row)
}

pub fn insert_domain(c: &Connection, domain: &Domain) -> Result<()> {
    c.prepare_cached("INSERT INTO domain VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
        domain.id,
        domain.name,
        domain.description,
        domain.enabled,
        rows::to_json(&domain.extra)?
    ])?;
    Ok(())
}

pub fn update_domain(c: &Connection, domain: &Domain) -> Result<()> {
    c.prepare_cached(
        "UPDATE domain SET name = ?2, description = ?3, enabled = ?4, extra = ?5 WHERE id = ?1",
    )?
    .execute(params![
        domain.id,
        domain.name,
        domain.description,
        domain.enabled,
        rows::to_json(&domain.extra)?
    ])?;
    Ok(())
}

pub fn delete_domain(c: &Connection, id: &DomainId) -> Result<()> {
    c.prepare_cached("DELETE FROM domain WHERE id = ?1")?.execute([id])?;
    Ok(())
}

pub fn get(c: &Connection, id: &ProjectId) -> Result<Option<Project>> {
    Ok(c.prepare_cached("SELECT * FROM project WHERE id = ?1")?.query_row([id], project_row).optional()?)
}

pub fn by_name(c: &Connection, domain: &DomainId, name: &str) -> Result<Option<Project>> {
    Ok(c.prepare_cached("SELECT * FROM project WHERE domain_id = ?1 AND name = ?2")?
        .query_row(params![domain, name], project_row)
        .optional()?)
}

pub fn list(c: &Connection, wanted: &WantedProjects) -> Result<Vec<Project>> {
    const ANY: &str = "EXISTS (SELECT 1 FROM json_each(tags) t JOIN json_each(?) w ON w.value = t.value)";
    const ALL: &str = "NOT EXISTS (SELECT 1 FROM json_each(?) w
                       WHERE w.value NOT IN (SELECT value FROM json_each(tags)))";
    let mut filter = Filter::new("SELECT * FROM project WHERE 1")
        .equal("name", wanted.name.as_deref())
        .equal("domain_id", wanted.domain_id.as_deref())
        .equal("parent_id", wanted.parent_id.as_deref())
        .flag("enabled", wanted.enabled);
    for (tags, condition, negated) in [
        (&wanted.tags, ALL, false),
        (&wanted.tags_any, ANY, false),
        (&wanted.not_tags, ALL, true),
        (&wanted.not_tags_any, ANY, true),
    ] {
        if !tags.is_empty() {
            let sql = if negated { format!("NOT ({condition})") } else { condition.to_owned() };
            filter = filter.condition(&sql, rows::to_json(tags)?);
        }
    }
    filter.page("id", &wanted.page).rows(c, project_row)
}

pub fn insert(c: &Connection, project: &Project) -> Result<()> {
    c.prepare_cached("INSERT INTO project VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?.execute(params![
        project.id,
        project.domain_id,
        project.parent_id,
        project.name,
        project.description,
        project.enabled,
        rows::to_json(&project.tags)?,
        rows::to_json(&project.extra)?
    ])?;
    Ok(())
}

pub fn update(c: &Connection, project: &Project) -> Result<()> {
    c.prepare_cached(
        "UPDATE project SET name = ?2, description = ?3, enabled = ?4, tags = ?5, extra = ?6 WHERE id = ?1",
    )?
    .execute(params![
        project.id,
        project.name,
        project.description,
        project.enabled,
        rows::to_json(&project.tags)?,
        rows::to_json(&project.extra)?
    ])?;
    Ok(())
}

pub fn delete(c: &Connection, id: &ProjectId) -> Result<()> {
    c.prepare_cached("DELETE FROM project WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// Whether a project has others below it.
pub fn has_children(c: &Connection, id: &str) -> Result<bool> {
    let found = c
        .prepare_cached("SELECT 1 FROM project WHERE parent_id = ?1 LIMIT 1")?
        .query_row([id], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

/// The scope with its names; `None` when the target is gone, or it or a domain above it is disabled.
pub fn scope(c: &Connection, target: Option<&Target>) -> Result<Option<Scope>> {
    Ok(match target {
        None => Some(Scope::Unscoped),
        Some(Target::System) => Some(Scope::System),
        Some(Target::Domain(id)) => {
            domain(c, id)?.filter(|domain| domain.enabled).map(|domain| Scope::Domain(domain_ref(domain)))
        }
        Some(Target::Project(id)) => {
            let Some(project) = get(c, id)?.filter(|project| project.enabled) else { return Ok(None) };
            let domain = domain(c, &project.domain_id)?.filter(|domain| domain.enabled);
            domain.map(|domain| Scope::Project {
                id: project.id,
                name: project.name,
                domain: domain_ref(domain),
            })
        }
    })
}

/// The projects with these ids, those that are gone left out.
pub fn by_ids(c: &Connection, ids: &[ProjectId]) -> Result<Vec<Project>> {
    Filter::new("SELECT * FROM project WHERE 1")
        .condition("id IN (SELECT value FROM json_each(?))", rows::to_json(&ids)?)
        .rows(c, project_row)
}

/// The projects below one, at any depth.
pub fn below(c: &Connection, id: &ProjectId) -> Result<Vec<Project>> {
    let below = "id IN (WITH RECURSIVE below (id) AS (
                     SELECT id FROM project WHERE parent_id = ?
                     UNION SELECT p.id FROM project p JOIN below ON p.parent_id = below.id)
                 SELECT id FROM below)";
    Filter::new("SELECT * FROM project WHERE 1").condition(below, id.0.clone()).rows(c, project_row)
}

/// The projects above one, the nearest first. The domain at the top is not among them.
pub fn above(c: &Connection, project: &Project) -> Result<Vec<Project>> {
    let mut above = Vec::new();
    let mut next = get(c, &ProjectId(project.parent_id.clone()))?;
    while let Some(parent) = next {
        next = get(c, &ProjectId(parent.parent_id.clone()))?;
        above.push(parent);
    }
    Ok(above)
}
