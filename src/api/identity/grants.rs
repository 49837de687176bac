//! Roles of users and groups on projects, domains and the system, and the list of all of them.

use super::views::{self, ROOT, all, flag, nothing, text};
use crate::api::call::{Call, Outcome};
use crate::core::identity::query::WantedGrants;
use crate::core::identity::{Domain, Grant, Grantee, Target};
use crate::core::ids::{DomainId, GroupId, ProjectId, RoleId, UserId};
use crate::core::service::identity::{Assignment, AssignmentQuery, Names};
use crate::core::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;

fn target(call: &Call) -> Target {
    let (project, domain) = (call.params.get("project_id"), call.params.get("domain_id"));
    if !project.is_empty() {
        Target::Project(project.into())
    } else if !domain.is_empty() {
        Target::Domain(domain.into())
    } else {
        Target::System
    }
}

fn grantee(call: &Call) -> Grantee {
    match call.params.get("user_id") {
        "" => Grantee::Group(call.params.get("group_id").into()),
        user => Grantee::User(user.into()),
    }
}

fn inherited(call: &Call) -> bool {
    call.path.contains("/OS-INHERIT/")
}

fn grant(call: &Call) -> Grant {
    Grant {
        grantee: grantee(call),
        target: target(call),
        role: call.params.get("role_id").into(),
        inherited: inherited(call),
    }
}

pub(super) async fn give(call: Call) -> Outcome {
    call.state.services.identity.grant(grant(&call)).await?;
    Ok(nothing())
}

pub(super) async fn check(call: Call) -> Outcome {
    call.state.services.identity.check_grant(grant(&call)).await?;
    Ok(nothing())
}

pub(super) async fn take_back(call: Call) -> Outcome {
    call.state.services.identity.take_back(grant(&call)).await?;
    Ok(nothing())
}

pub(super) async fn roles(call: Call) -> Outcome {
    let identity = &call.state.services.identity;
    let found = identity.roles_given(grantee(&call), target(&call), inherited(&call)).await?;
    let items: Vec<_> = found.iter().map(|role| views::role(role, &call.base)).collect();
    all(&call, "roles", &items)
}

#[derive(Serialize)]
struct Named {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<Box<Named>>,
}

impl Named {
    fn bare(id: &str) -> Self {
        Self { id: id.to_owned(), name: None, domain: None }
    }

    fn full(id: &str, name: &str, domain: Option<Self>) -> Self {
        Self { id: id.to_owned(), name: Some(name.to_owned()), domain: domain.map(Box::new) }
    }
}

#[derive(Serialize)]
struct ScopeView {
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<BTreeMap<&'static str, bool>>,
    #[serde(rename = "OS-INHERIT:inherited_to", skip_serializing_if = "Option::is_none")]
    inherited_to: Option<&'static str>,
}

#[derive(Serialize)]
struct AssignmentLinks {
    assignment: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    membership: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prior_role: Option<String>,
}

#[derive(Serialize)]
struct AssignmentView {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<Named>,
    role: Named,
    scope: ScopeView,
    links: AssignmentLinks,
}

fn domain_of(names: &Names, id: &DomainId) -> Named {
    names.domains.get(id).map_or_else(|| Named::bare(id.as_str()), domain_named)
}

fn domain_named(domain: &Domain) -> Named {
    Named::full(domain.id.as_str(), &domain.name, None)
}

fn assignment_view(assignment: &Assignment, names: &Names, base: &str) -> AssignmentView {
    let (mut user, mut group) = (None, None);
    match &assignment.grantee {
        Grantee::User(id) => {
            user = Some(names.users.get(id).map_or_else(
                || Named::bare(id.as_str()),
                |user| Named::full(id.as_str(), &user.name, Some(domain_of(names, &user.domain_id))),
            ));
        }
        Grantee::Group(id) => {
            group = Some(names.groups.get(id).map_or_else(
                || Named::bare(id.as_str()),
                |group| Named::full(id.as_str(), &group.name, Some(domain_of(names, &group.domain_id))),
            ));
        }
    }
    let mut scope = ScopeView { project: None, domain: None, system: None, inherited_to: None };
    match &assignment.target {
        Target::Project(id) => {
            scope.project = Some(names.projects.get(id).map_or_else(
                || Named::bare(id.as_str()),
                |project| Named::full(id.as_str(), &project.name, Some(domain_of(names, &project.domain_id))),
            ));
        }
        Target::Domain(id) => scope.domain = Some(domain_of(names, id)),
        Target::System => scope.system = Some(BTreeMap::from([("all", true)])),
    }
    if assignment.source.inherited && assignment.source.target == assignment.target {
        scope.inherited_to = Some("projects");
    }
    let role = names.roles.get(&assignment.role).map_or_else(
        || Named::bare(assignment.role.as_str()),
        |role| {
            let domain = role.domain_id.as_ref().map(|domain| domain_of(names, domain));
            Named::full(role.id.as_str(), &role.name, domain)
        },
    );
    AssignmentView { user, group, role, scope, links: links(assignment, base) }
}

fn links(assignment: &Assignment, base: &str) -> AssignmentLinks {
    let source = &assignment.source;
    let who = match &source.grantee {
        Grantee::User(id) => format!("users/{id}"),
        Grantee::Group(id) => format!("groups/{id}"),
    };
    let place = match &source.target {
        Target::Project(id) => format!("projects/{id}"),
        Target::Domain(id) => format!("domains/{id}"),
        Target::System => "system".to_owned(),
    };
    let role = &source.role;
    let root = format!("{base}{ROOT}");
    AssignmentLinks {
        assignment: if source.inherited {
            format!("{root}/OS-INHERIT/{place}/{who}/roles/{role}/inherited_to_projects")
        } else {
            format!("{root}/{place}/{who}/roles/{role}")
        },
        membership: match (&source.grantee, &assignment.grantee) {
            (Grantee::Group(group), Grantee::User(user)) => {
                Some(format!("{root}/groups/{group}/users/{user}"))
            }
            (Grantee::Group(_), Grantee::Group(_)) | (Grantee::User(_), _) => None,
        },
        prior_role: assignment
            .prior_role
            .as_ref()
            .map(|prior| format!("{root}/prior_role/{prior}/implies/{}", assignment.role)),
    }
}

fn query(call: &Call) -> Result<AssignmentQuery> {
    // A flag that is there counts, unless it says that it does not.
    let on = |name: &str| flag(call, name) == Some(true);
    let one = |a: Option<String>, b: Option<String>, what: &str| match (a, b) {
        (Some(_), Some(_)) => Err(Error::invalid(format!("Specify only one {what}."))),
        (a, b) => Ok((a, b)),
    };
    let (user, group) = one(text(call, "user.id"), text(call, "group.id"), "of user and group")?;
    let (project, domain) =
        one(text(call, "scope.project.id"), text(call, "scope.domain.id"), "of project and domain")?;
    let system = text(call, "scope.system").is_some();
    if system && (project.is_some() || domain.is_some()) {
        return Err(Error::invalid("Specify only one of project, domain and system."));
    }
    let effective = on("effective");
    if effective && group.is_some() {
        return Err(Error::invalid(
            "Combining effective and group filter will always result in an empty list.",
        ));
    }
    let below = on("include_subtree");
    if below && project.is_none() {
        return Err(Error::invalid(
            "scope.project.id must be specified if include_subtree is also specified",
        ));
    }
    let grantee = user.map(|id| Grantee::User(UserId(id))).or(group.map(|id| Grantee::Group(GroupId(id))));
    let target = project
        .map(|id| Target::Project(ProjectId(id)))
        .or(domain.map(|id| Target::Domain(DomainId(id))))
        .or(system.then_some(Target::System));
    let inherited = match text(call, "scope.OS-INHERIT:inherited_to") {
        None => None,
        Some(to) if to == "projects" => Some(true),
        Some(other) => {
            return Err(Error::invalid(format!("Invalid input for field 'inherited_to': {other}")));
        }
    };
    let role = text(call, "role.id").map(RoleId);
    Ok(AssignmentQuery {
        wanted: WantedGrants { grantee, target, role, inherited },
        effective,
        below,
        names: on("include_names"),
    })
}

/// `GET /role_assignments`: the administrator sees all, others what is theirs.
pub(super) async fn assignments(call: Call) -> Outcome {
    let query = query(&call)?;
    let actor = call.actor()?;
    let own = Grantee::User(actor.user_id.clone());
    if !actor.is_admin() && query.wanted.grantee != Some(own) {
        return Err(crate::core::identity::denied("identity:list_role_assignments").into());
    }
    let (found, names) = call.state.services.identity.assignments(query).await?;
    let items: Vec<_> =
        found.iter().map(|assignment| assignment_view(assignment, &names, &call.base)).collect();
    all(&call, "role_assignments", &items)
}
