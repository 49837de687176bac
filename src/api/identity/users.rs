//! `/users` and `/groups`.

use super::body::Fields;
use super::options;
use super::views::{self, all, flag, nothing, one, page, paged, text};
use crate::api::call::{Call, Outcome};
use crate::core::identity::change::{GroupInput, UserInput};
use crate::core::identity::query::{WantedGroups, WantedUsers};
use crate::core::identity::{DEFAULT_DOMAIN, Group, Scope, User, denied};
use crate::core::ids::{DomainId, GroupId, ProjectId, UserId};
use crate::core::{Error, Result};
use actix_web::http::StatusCode;

/// Where something new goes that does not say its domain.
pub(super) async fn default_domain(call: &Call) -> Result<DomainId> {
    let token = call.header("x-auth-token").unwrap_or_default();
    let session = call.state.services.identity.session(token).await?;
    Ok(match &session.scope {
        Scope::Domain(domain) => domain.id.clone(),
        Scope::Unscoped | Scope::Project { .. } | Scope::System => DomainId::from(DEFAULT_DOMAIN),
    })
}

/// The user in the path, when he is the caller; the administrator may name anybody.
pub(super) fn own_or_any(call: &Call, rule: &str) -> Result<UserId> {
    let user = UserId::from(call.params.get("user_id"));
    let actor = call.actor()?;
    if actor.is_admin() || actor.user_id == user { Ok(user) } else { Err(denied(rule)) }
}

fn user_input(mut fields: Fields) -> Result<UserInput> {
    let options = options::read(&mut fields, options::OF_USERS)?;
    let mut fields = fields.without_ours();
    Ok(UserInput {
        name: fields.text("name")?,
        domain_id: fields.text("domain_id")?.map(DomainId),
        password: fields.secret("password")?,
        default_project_id: fields.nullable("default_project_id")?.map(|id| id.map(ProjectId)),
        description: fields.nullable("description")?,
        enabled: fields.flag("enabled")?,
        options,
        extra: fields.rest(),
    })
}

fn wanted_users(call: &Call) -> Result<WantedUsers> {
    Ok(WantedUsers {
        name: text(call, "name"),
        domain_id: text(call, "domain_id"),
        enabled: flag(call, "enabled"),
        group: None,
        page: page(call)?,
    })
}

fn list_users(call: &Call, wanted: &WantedUsers, found: &[User]) -> Outcome {
    let items: Vec<_> = found.iter().map(|user| views::user(user, &call.base)).collect();
    paged(call, "users", &items, &wanted.page, found.last().map(|user| user.id.as_str()))
}

pub(super) async fn list(call: Call) -> Outcome {
    let wanted = wanted_users(&call)?;
    let found = call.state.services.identity.users(wanted.clone()).await?;
    list_users(&call, &wanted, &found)
}

pub(super) async fn show(call: Call) -> Outcome {
    let id = own_or_any(&call, "identity:get_user")?;
    let found = call.state.services.identity.user(id).await?;
    one(StatusCode::OK, "user", views::user(&found, &call.base))
}

pub(super) async fn create(mut call: Call) -> Outcome {
    let input = user_input(Fields::read(&mut call, "user").await?)?;
    let domain = default_domain(&call).await?;
    let made = call.state.services.identity.create_user(input, domain).await?;
    one(StatusCode::CREATED, "user", views::user(&made, &call.base))
}

pub(super) async fn update(mut call: Call) -> Outcome {
    let id = UserId::from(call.params.get("user_id"));
    let input = user_input(Fields::changes(&mut call, "user", id.as_str()).await?)?;
    let changed = call.state.services.identity.update_user(id, input).await?;
    one(StatusCode::OK, "user", views::user(&changed, &call.base))
}

pub(super) async fn delete(call: Call) -> Outcome {
    call.state.services.identity.delete_user(call.params.get("user_id").into()).await?;
    Ok(nothing())
}

/// `POST /users/{id}/password`: whoever knows the old one may set a new one; no token is needed.
pub(super) async fn change_password(mut call: Call) -> Outcome {
    let mut fields = Fields::read(&mut call, "user").await?;
    let missing = |name: &str| Error::invalid(format!("'{name}' is a required property"));
    let original =
        fields.secret("original_password")?.flatten().ok_or_else(|| missing("original_password"))?;
    let password = fields.secret("password")?.flatten().ok_or_else(|| missing("password"))?;
    let id = UserId::from(call.params.get("user_id"));
    call.state.services.identity.change_password(id, original, password).await?;
    Ok(nothing())
}

pub(super) async fn projects(call: Call) -> Outcome {
    let id = own_or_any(&call, "identity:list_user_projects")?;
    let found = call.state.services.identity.projects_of(id).await?;
    let items: Vec<_> = found.iter().map(|project| views::project(project, &call.base)).collect();
    all(&call, "projects", &items)
}

pub(super) async fn groups(call: Call) -> Outcome {
    let id = own_or_any(&call, "identity:list_groups_for_user")?;
    let found = call.state.services.identity.groups_of(id, text(&call, "name")).await?;
    let items: Vec<_> = found.iter().map(|group| views::group(group, &call.base)).collect();
    all(&call, "groups", &items)
}

fn group_input(fields: Fields) -> Result<GroupInput> {
    let mut fields = fields.without_ours();
    Ok(GroupInput {
        name: fields.text("name")?,
        domain_id: fields.text("domain_id")?.map(DomainId),
        description: fields.text("description")?,
        extra: fields.rest(),
    })
}

fn group_id(call: &Call) -> GroupId {
    GroupId::from(call.params.get("group_id"))
}

fn group_answer(call: &Call, status: StatusCode, group: &Group) -> Outcome {
    one(status, "group", views::group(group, &call.base))
}

pub(super) async fn list_groups(call: Call) -> Outcome {
    let wanted = WantedGroups {
        name: text(&call, "name"),
        domain_id: text(&call, "domain_id"),
        member: None,
        page: page(&call)?,
    };
    let found = call.state.services.identity.groups(wanted.clone()).await?;
    let items: Vec<_> = found.iter().map(|group| views::group(group, &call.base)).collect();
    paged(&call, "groups", &items, &wanted.page, found.last().map(|group| group.id.as_str()))
}

pub(super) async fn show_group(call: Call) -> Outcome {
    let found = call.state.services.identity.group(group_id(&call)).await?;
    group_answer(&call, StatusCode::OK, &found)
}

pub(super) async fn create_group(mut call: Call) -> Outcome {
    let input = group_input(Fields::read(&mut call, "group").await?)?;
    let domain = default_domain(&call).await?;
    let made = call.state.services.identity.create_group(input, domain).await?;
    group_answer(&call, StatusCode::CREATED, &made)
}

pub(super) async fn update_group(mut call: Call) -> Outcome {
    let id = group_id(&call);
    let input = group_input(Fields::changes(&mut call, "group", id.as_str()).await?)?;
    let changed = call.state.services.identity.update_group(id, input).await?;
    group_answer(&call, StatusCode::OK, &changed)
}

pub(super) async fn delete_group(call: Call) -> Outcome {
    call.state.services.identity.delete_group(group_id(&call)).await?;
    Ok(nothing())
}

pub(super) async fn members(call: Call) -> Outcome {
    let wanted = wanted_users(&call)?;
    let found = call.state.services.identity.members(wanted.clone(), group_id(&call)).await?;
    list_users(&call, &wanted, &found)
}

pub(super) async fn add_member(call: Call) -> Outcome {
    let user = UserId::from(call.params.get("user_id"));
    call.state.services.identity.add_member(group_id(&call), user).await?;
    Ok(nothing())
}

pub(super) async fn check_member(call: Call) -> Outcome {
    let user = UserId::from(call.params.get("user_id"));
    call.state.services.identity.check_member(group_id(&call), user).await?;
    Ok(nothing())
}

pub(super) async fn remove_member(call: Call) -> Outcome {
    let user = UserId::from(call.params.get("user_id"));
    call.state.services.identity.remove_member(group_id(&call), user).await?;
    Ok(nothing())
}
