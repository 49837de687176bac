//! How identity's things look on the wire, and how they are listed.

use crate::api::call::{Call, Outcome, Reply};
use crate::api::error::Fault;
use crate::api::page::{encode, next_url};
use crate::core::identity::query::Page;
use crate::core::identity::{
    CatalogService, Domain, Endpoint, Extra, Group, Project, Region, Role, Session, User,
};
use crate::core::{Error, Result};
use actix_web::http::StatusCode;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::sync::Arc;

/// Where this API lies below the address that the client used.
pub(super) const ROOT: &str = "/identity/v3";

/// The most members that a page has.
const LONGEST_PAGE: u32 = 1000;

/// `{"self": ...}`.
#[derive(Serialize)]
pub(super) struct Links {
    #[serde(rename = "self")]
    this: String,
}

impl Links {
    pub(super) fn to(base: &str, collection: &str, id: &str) -> Self {
        Self::of(format!("{base}{ROOT}/{collection}/{id}"))
    }

    pub(super) fn of(url: String) -> Self {
        Self { this: url }
    }
}

/// Always empty: nothing but users keeps options.
#[derive(Serialize)]
pub(super) struct Options {}

#[derive(Serialize)]
pub(super) struct DomainView<'a> {
    #[serde(flatten)]
    extra: &'a Extra,
    id: &'a str,
    name: &'a str,
    description: &'a str,
    enabled: bool,
    tags: [&'static str; 0],
    options: Options,
    links: Links,
}

pub(super) fn domain<'a>(domain: &'a Domain, base: &str) -> DomainView<'a> {
    DomainView {
        extra: &domain.extra,
        id: domain.id.as_str(),
        name: &domain.name,
        description: &domain.description,
        enabled: domain.enabled,
        tags: [],
        options: Options {},
        links: Links::to(base, "domains", domain.id.as_str()),
    }
}

#[derive(Serialize)]
pub(super) struct ProjectView<'a> {
    #[serde(flatten)]
    extra: &'a Extra,
    id: &'a str,
    name: &'a str,
    domain_id: Option<&'a str>,
    description: &'a str,
    enabled: bool,
    parent_id: Option<&'a str>,
    is_domain: bool,
    tags: &'a [String],
    options: Options,
    links: Links,
}

pub(super) fn project<'a>(project: &'a Project, base: &str) -> ProjectView<'a> {
    ProjectView {
        extra: &project.extra,
        id: project.id.as_str(),
        name: &project.name,
        domain_id: Some(project.domain_id.as_str()),
        description: &project.description,
        enabled: project.enabled,
        parent_id: Some(&project.parent_id),
        is_domain: false,
        tags: &project.tags,
        options: Options {},
        links: Links::to(base, "projects", project.id.as_str()),
    }
}

/// A domain as the projects API shows it: a project above all of its projects.
pub(super) fn domain_as_project<'a>(domain: &'a Domain, base: &str) -> ProjectView<'a> {
    ProjectView {
        extra: &domain.extra,
        id: domain.id.as_str(),
        name: &domain.name,
        domain_id: None,
        description: &domain.description,
        enabled: domain.enabled,
        parent_id: None,
        is_domain: true,
        tags: &[],
        options: Options {},
        links: Links::to(base, "projects", domain.id.as_str()),
    }
}

#[derive(Serialize)]
pub(super) struct UserView<'a> {
    #[serde(flatten)]
    extra: &'a Extra,
    id: &'a str,
    name: &'a str,
    domain_id: &'a str,
    enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_project_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    password_expires_at: Option<&'static str>,
    options: &'a Extra,
    links: Links,
}

pub(super) fn user<'a>(user: &'a User, base: &str) -> UserView<'a> {
    UserView {
        extra: &user.extra,
        id: user.id.as_str(),
        name: &user.name,
        domain_id: user.domain_id.as_str(),
        enabled: user.enabled,
        default_project_id: user.default_project_id.as_ref().map(crate::core::ids::ProjectId::as_str),
        description: user.description.as_deref(),
        password_expires_at: None,
        options: &user.options,
        links: Links::to(base, "users", user.id.as_str()),
    }
}

#[derive(Serialize)]
pub(super) struct GroupView<'a> {
    #[serde(flatten)]
    extra: &'a Extra,
    id: &'a str,
    name: &'a str,
    domain_id: &'a str,
    description: &'a str,
    links: Links,
}

pub(super) fn group<'a>(group: &'a Group, base: &str) -> GroupView<'a> {
    GroupView {
        extra: &group.extra,
        id: group.id.as_str(),
        name: &group.name,
        domain_id: group.domain_id.as_str(),
        description: &group.description,
        links: Links::to(base, "groups", group.id.as_str()),
    }
}

#[derive(Serialize)]
pub(super) struct RoleView<'a> {
    #[serde(flatten)]
    extra: &'a Extra,
    id: &'a str,
    name: &'a str,
    domain_id: Option<&'a str>,
    description: Option<&'a str>,
    options: Options,
    links: Links,
}

pub(super) fn role<'a>(role: &'a Role, base: &str) -> RoleView<'a> {
    RoleView {
        extra: &role.extra,
        id: role.id.as_str(),
        name: &role.name,
        domain_id: role.domain_id.as_ref().map(crate::core::ids::DomainId::as_str),
        description: role.description.as_deref(),
        options: Options {},
        links: Links::to(base, "roles", role.id.as_str()),
    }
}

#[derive(Serialize)]
pub(super) struct RegionView<'a> {
    #[serde(flatten)]
    extra: &'a Extra,
    id: &'a str,
    description: &'a str,
    parent_region_id: Option<&'a str>,
    links: Links,
}

pub(super) fn region<'a>(region: &'a Region, base: &str) -> RegionView<'a> {
    RegionView {
        extra: &region.extra,
        id: &region.id,
        description: &region.description,
        parent_region_id: region.parent_region_id.as_deref(),
        links: Links::to(base, "regions", &region.id),
    }
}

#[derive(Serialize)]
pub(super) struct ServiceView<'a> {
    #[serde(flatten)]
    extra: &'a Extra,
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    enabled: bool,
    links: Links,
}

pub(super) fn service<'a>(service: &'a CatalogService, base: &str) -> ServiceView<'a> {
    ServiceView {
        extra: &service.extra,
        id: &service.id,
        kind: &service.kind,
        enabled: service.enabled,
        links: Links::to(base, "services", &service.id),
    }
}

#[derive(Serialize)]
pub(super) struct EndpointView<'a> {
    #[serde(flatten)]
    extra: &'a Extra,
    id: &'a str,
    interface: &'a str,
    region: Option<&'a str>,
    region_id: Option<&'a str>,
    service_id: &'a str,
    url: String,
    enabled: bool,
    links: Links,
}

pub(super) fn endpoint<'a>(endpoint: &'a Endpoint, base: &str) -> EndpointView<'a> {
    EndpointView {
        extra: &endpoint.extra,
        id: &endpoint.id,
        interface: &endpoint.interface,
        region: endpoint.region_id.as_deref(),
        region_id: endpoint.region_id.as_deref(),
        service_id: &endpoint.service_id,
        // The project stays a template here; the address of this very cloud does not.
        url: endpoint.url.replace("$(public_base)s", base),
        enabled: endpoint.enabled,
        links: Links::to(base, "endpoints", &endpoint.id),
    }
}

/// `{key: value}`.
struct Wrapped<'a, T>(&'a str, T);

impl<T: Serialize> Serialize for Wrapped<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0, &self.1)?;
        map.end()
    }
}

/// `{key: [...], "links": {...}}`.
struct Listed<'a, T> {
    key: &'a str,
    items: &'a [T],
    links: ListLinks,
}

#[derive(Serialize)]
pub(super) struct ListLinks {
    #[serde(rename = "self")]
    this: String,
    previous: Option<String>,
    next: Option<String>,
}

impl<T: Serialize> Serialize for Listed<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry(self.key, self.items)?;
        map.serialize_entry("links", &self.links)?;
        map.end()
    }
}

/// An answer with one thing in it.
pub(super) fn one<T: Serialize>(status: StatusCode, key: &str, view: T) -> Outcome {
    Ok(Reply::json(status, &Wrapped(key, view))?)
}

/// An answer with a list in it that is not paged.
pub(super) fn all<T: Serialize>(call: &Call, key: &str, items: &[T]) -> Outcome {
    let links = ListLinks { this: url_of(call), previous: None, next: None };
    Ok(Reply::json(StatusCode::OK, &Listed { key, items, links })?)
}

/// An answer with one page of a list; `last` is the id of its last member.
pub(super) fn paged<T: Serialize>(
    call: &Call,
    key: &str,
    items: &[T],
    page: &Page,
    last: Option<&str>,
) -> Outcome {
    let full = page.limit.is_some_and(|limit| u32::try_from(items.len()).is_ok_and(|have| have >= limit));
    let here = format!("{}{}", call.base, call.path);
    let next = last.filter(|_| full).map(|last| next_url(&here, &call.query, last));
    let links = ListLinks { this: url_of(call), previous: None, next };
    Ok(Reply::json(StatusCode::OK, &Listed { key, items, links })?)
}

/// The address of the call, with its query.
pub(super) fn url_of(call: &Call) -> String {
    let mut url = format!("{}{}", call.base, call.path);
    for (index, (key, value)) in call.query.0.iter().enumerate() {
        url.push(if index == 0 { '?' } else { '&' });
        url.push_str(&encode(key));
        url.push('=');
        url.push_str(&encode(value));
    }
    url
}

/// `limit` and `marker` of the query.
pub(super) fn page(call: &Call) -> Result<Page> {
    let limit = match call.query.get("limit") {
        None => None,
        Some(text) => {
            let limit: u32 = text.parse().map_err(|_| {
                Error::invalid(format!("Invalid input for field 'limit': '{text}' is not a number"))
            })?;
            Some(limit.clamp(1, LONGEST_PAGE))
        }
    };
    Ok(Page { limit, marker: call.query.get("marker").map(str::to_owned) })
}

/// A flag of the query: present without a value is true.
pub(super) fn flag(call: &Call, name: &str) -> Option<bool> {
    call.query
        .get(name)
        .map(|value| !matches!(value.to_ascii_lowercase().as_str(), "0" | "false" | "no" | "off"))
}

pub(super) fn text(call: &Call, name: &str) -> Option<String> {
    call.query.get(name).map(str::to_owned)
}

/// Everything that the caller's token says.
pub(super) async fn session(call: &Call) -> std::result::Result<Arc<Session>, Fault> {
    let token = call.header("x-auth-token").unwrap_or_default();
    Ok(call.state.services.identity.session(token).await?)
}

/// 204.
pub(super) fn nothing() -> Reply {
    Reply::empty(StatusCode::NO_CONTENT)
}
