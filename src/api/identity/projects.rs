//! `/domains` and `/projects`.

use super::body::Fields;
use super::options;
use super::users::default_domain;
use super::views::{self, ROOT, flag, nothing, one, page, paged, text};
use crate::api::call::{Call, Outcome, Reply};
use crate::core::identity::change::{DomainInput, ProjectInput};
use crate::core::identity::query::{WantedDomains, WantedProjects};
use crate::core::identity::{Domain, Project, Target, denied, missing};
use crate::core::ids::{DomainId, ProjectId};
use crate::core::{Error, Kind, Result};
use actix_web::http::StatusCode;
use serde_json::{Map, Value, json};

fn domain_input(mut fields: Fields, new: bool) -> Result<DomainInput> {
    options::read(&mut fields, options::OF_OTHERS)?;
    let id = if new { fields.text("explicit_domain_id")?.map(DomainId) } else { None };
    let mut fields = fields.without_ours();
    fields.raw("tags");
    Ok(DomainInput {
        id,
        name: fields.text("name")?,
        description: fields.text("description")?,
        enabled: fields.flag("enabled")?,
        extra: fields.rest(),
    })
}

fn domain_answer(call: &Call, status: StatusCode, domain: &Domain) -> Outcome {
    one(status, "domain", views::domain(domain, &call.base))
}

pub(super) async fn list_domains(call: Call) -> Outcome {
    let wanted =
        WantedDomains { name: text(&call, "name"), enabled: flag(&call, "enabled"), page: page(&call)? };
    let found = call.state.services.identity.domains(wanted.clone()).await?;
    let items: Vec<_> = found.iter().map(|domain| views::domain(domain, &call.base)).collect();
    paged(&call, "domains", &items, &wanted.page, found.last().map(|domain| domain.id.as_str()))
}

/// The administrator sees every domain, others the one that they are in.
pub(super) async fn show_domain(call: Call) -> Outcome {
    let id = DomainId::from(call.params.get("domain_id"));
    let actor = call.actor()?;
    if !actor.is_admin() && actor.user_domain != id {
        return Err(denied("identity:get_domain").into());
    }
    let found = call.state.services.identity.domain(id).await?;
    domain_answer(&call, StatusCode::OK, &found)
}

pub(super) async fn create_domain(mut call: Call) -> Outcome {
    let input = domain_input(Fields::read(&mut call, "domain").await?, true)?;
    let made = call.state.services.identity.create_domain(input).await?;
    domain_answer(&call, StatusCode::CREATED, &made)
}

pub(super) async fn update_domain(mut call: Call) -> Outcome {
    let id = DomainId::from(call.params.get("domain_id"));
    let input = domain_input(Fields::changes(&mut call, "domain", id.as_str()).await?, false)?;
    let changed = call.state.services.identity.update_domain(id, input).await?;
    domain_answer(&call, StatusCode::OK, &changed)
}

pub(super) async fn delete_domain(call: Call) -> Outcome {
    call.state.services.identity.delete_domain(call.params.get("domain_id").into()).await?;
    Ok(nothing())
}

fn project_input(mut fields: Fields) -> Result<ProjectInput> {
    options::read(&mut fields, options::OF_OTHERS)?;
    let mut fields = fields.without_ours();
    Ok(ProjectInput {
        name: fields.text("name")?,
        domain_id: fields.text("domain_id")?.map(DomainId),
        parent_id: fields.text("parent_id")?,
        description: fields.text("description")?,
        enabled: fields.flag("enabled")?,
        tags: fields.texts("tags")?,
        extra: fields.rest(),
    })
}

fn project_id(call: &Call) -> ProjectId {
    ProjectId::from(call.params.get("project_id"))
}

fn project_answer(call: &Call, status: StatusCode, project: &Project) -> Outcome {
    one(status, "project", views::project(project, &call.base))
}

pub(super) async fn list(call: Call) -> Outcome {
    let tags = |name: &str| -> Vec<String> {
        let text = call.query.get(name).unwrap_or_default();
        text.split(',').filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
    };
    let wanted = WantedProjects {
        name: text(&call, "name"),
        domain_id: text(&call, "domain_id"),
        parent_id: text(&call, "parent_id"),
        enabled: flag(&call, "enabled"),
        tags: tags("tags"),
        tags_any: tags("tags-any"),
        not_tags: tags("not-tags"),
        not_tags_any: tags("not-tags-any"),
        page: page(&call)?,
    };
    if flag(&call, "is_domain") == Some(true) {
        return list_domains_as_projects(&call, wanted).await;
    }
    let found = call.state.services.identity.projects(wanted.clone()).await?;
    let items: Vec<_> = found.iter().map(|project| views::project(project, &call.base)).collect();
    paged(&call, "projects", &items, &wanted.page, found.last().map(|project| project.id.as_str()))
}

async fn list_domains_as_projects(call: &Call, wanted: WantedProjects) -> Outcome {
    let wanted = WantedDomains { name: wanted.name, enabled: wanted.enabled, page: wanted.page };
    let found = call.state.services.identity.domains(wanted.clone()).await?;
    let items: Vec<_> = found.iter().map(|domain| views::domain_as_project(domain, &call.base)).collect();
    paged(call, "projects", &items, &wanted.page, found.last().map(|domain| domain.id.as_str()))
}

/// The domain that a path of the projects API names, when no project has that id.
async fn as_domain(call: &Call) -> Result<Option<Domain>> {
    let identity = &call.state.services.identity;
    let Err(error) = identity.project(project_id(call)).await else { return Ok(None) };
    if error.kind() != Kind::NotFound {
        return Err(error);
    }
    match identity.domain(DomainId::from(call.params.get("project_id"))).await {
        Ok(domain) => Ok(Some(domain)),
        // The words that speak of a project.
        Err(missing) if missing.kind() == Kind::NotFound => Err(error),
        Err(other) => Err(other),
    }
}

/// The administrator sees every project, others those on which they have a role.
async fn may_see(call: &Call, id: &ProjectId, rule: &str) -> Result<()> {
    let actor = call.actor()?;
    if actor.is_admin() || actor.owns(id) {
        return Ok(());
    }
    let target = Target::Project(id.clone());
    if call.state.services.identity.has_role_on(actor.user_id.clone(), target).await? {
        return Ok(());
    }
    Err(denied(rule))
}

pub(super) async fn show(call: Call) -> Outcome {
    let id = project_id(&call);
    may_see(&call, &id, "identity:get_project").await?;
    if let Some(domain) = as_domain(&call).await? {
        return one(StatusCode::OK, "project", views::domain_as_project(&domain, &call.base));
    }
    let identity = &call.state.services.identity;
    let found = identity.project(id.clone()).await?;
    let mut view = match serde_json::to_value(views::project(&found, &call.base)).map_err(Error::internal)? {
        Value::Object(view) => view,
        other => Map::from_iter([("project".to_owned(), other)]),
    };
    let asked = |name: &str| call.query.get(name).is_some();
    if asked("parents_as_list") || asked("parents_as_ids") {
        let above = identity.projects_above(id.clone()).await?;
        let value = if asked("parents_as_list") {
            wrapped(&above, &call.base)
        } else {
            above.iter().rev().fold(Value::Null, |below, project| json!({project.id.as_str(): below}))
        };
        view.insert("parents".into(), value);
    }
    if asked("subtree_as_list") || asked("subtree_as_ids") {
        let below = identity.projects_below(id.clone()).await?;
        let value =
            if asked("subtree_as_list") { wrapped(&below, &call.base) } else { nested(&below, id.as_str()) };
        view.insert("subtree".into(), value);
    }
    one(StatusCode::OK, "project", view)
}

fn wrapped(projects: &[Project], base: &str) -> Value {
    projects.iter().map(|project| json!({"project": views::project(project, base)})).collect()
}

/// The ids of the projects below `top`, each with those below it; null where there are none.
fn nested(projects: &[Project], top: &str) -> Value {
    let children: Map<String, Value> = projects
        .iter()
        .filter(|project| project.parent_id == top)
        .map(|project| (project.id.0.clone(), nested(projects, project.id.as_str())))
        .collect();
    if children.is_empty() { Value::Null } else { Value::Object(children) }
}

pub(super) async fn create(mut call: Call) -> Outcome {
    let mut fields = Fields::read(&mut call, "project").await?;
    let is_domain = fields.flag("is_domain")? == Some(true);
    let input = project_input(fields)?;
    let identity = &call.state.services.identity;
    if is_domain {
        if input.parent_id.is_some() || input.domain_id.is_some() {
            return Err(Error::invalid("A domain is in no other domain and below no project.").into());
        }
        let made = identity.create_domain(domain_change(input)).await?;
        return one(StatusCode::CREATED, "project", views::domain_as_project(&made, &call.base));
    }
    let domain = default_domain(&call).await?;
    let made = identity.create_project(input, domain).await?;
    project_answer(&call, StatusCode::CREATED, &made)
}

fn domain_change(input: ProjectInput) -> DomainInput {
    DomainInput {
        id: None,
        name: input.name,
        description: input.description,
        enabled: input.enabled,
        extra: input.extra,
    }
}

pub(super) async fn update(mut call: Call) -> Outcome {
    let id = project_id(&call);
    let mut fields = Fields::changes(&mut call, "project", id.as_str()).await?;
    let is_domain = fields.flag("is_domain")?;
    let input = project_input(fields)?;
    let domain = as_domain(&call).await?;
    if is_domain.is_some_and(|wanted| wanted != domain.is_some()) {
        return Err(Error::invalid("Update of `is_domain` is not allowed.").into());
    }
    let identity = &call.state.services.identity;
    if let Some(domain) = domain {
        let changed = identity.update_domain(domain.id, domain_change(input)).await?;
        return one(StatusCode::OK, "project", views::domain_as_project(&changed, &call.base));
    }
    let changed = identity.update_project(id, input).await?;
    project_answer(&call, StatusCode::OK, &changed)
}

pub(super) async fn delete(call: Call) -> Outcome {
    let identity = &call.state.services.identity;
    match as_domain(&call).await? {
        Some(domain) => identity.delete_domain(domain.id).await?,
        None => identity.delete_project(project_id(&call)).await?,
    }
    Ok(nothing())
}

fn tags_answer(project: &Project) -> Outcome {
    one(StatusCode::OK, "tags", &project.tags)
}

pub(super) async fn tags(call: Call) -> Outcome {
    let id = project_id(&call);
    may_see(&call, &id, "identity:list_project_tags").await?;
    tags_answer(&call.state.services.identity.project(id).await?)
}

pub(super) async fn set_tags(mut call: Call) -> Outcome {
    let wanted = Fields::whole(&mut call).await?.texts("tags")?;
    let wanted = wanted.ok_or_else(|| Error::invalid("'tags' is a required property"))?;
    let edit = move |tags: &mut Vec<String>| {
        *tags = wanted;
        Ok(())
    };
    tags_answer(&call.state.services.identity.edit_tags(project_id(&call), edit).await?)
}

pub(super) async fn clear_tags(call: Call) -> Outcome {
    let edit = |tags: &mut Vec<String>| {
        tags.clear();
        Ok(())
    };
    call.state.services.identity.edit_tags(project_id(&call), edit).await?;
    Ok(nothing())
}

pub(super) async fn check_tag(call: Call) -> Outcome {
    let id = project_id(&call);
    may_see(&call, &id, "identity:get_project_tag").await?;
    let tag = call.params.get("tag").to_owned();
    let project = call.state.services.identity.project(id).await?;
    if project.tags.contains(&tag) { Ok(nothing()) } else { Err(missing("project tag", tag).into()) }
}

pub(super) async fn add_tag(call: Call) -> Outcome {
    let id = project_id(&call);
    let tag = call.params.get("tag").to_owned();
    let link = format!("{}{ROOT}/projects/{id}/tags/{}", call.base, crate::api::page::encode(&tag));
    let edit = move |tags: &mut Vec<String>| {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
        Ok(())
    };
    call.state.services.identity.edit_tags(id, edit).await?;
    Ok(Reply::empty(StatusCode::CREATED).header("location", &link))
}

pub(super) async fn remove_tag(call: Call) -> Outcome {
    let tag = call.params.get("tag").to_owned();
    let edit = move |tags: &mut Vec<String>| {
        let before = tags.len();
        tags.retain(|have| *have != tag);
        if tags.len() < before { Ok(()) } else { Err(missing("project tag", tag)) }
    };
    call.state.services.identity.edit_tags(project_id(&call), edit).await?;
    Ok(nothing())
}
