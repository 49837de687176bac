//! `/servers`: servers as such. Their parts have files of their own: metadata, tags, addresses, actions.

pub mod actions;
mod addresses;
mod block_devices;
pub mod consoles;
mod create;
pub mod diagnostics;
pub mod groups;
pub mod history;
mod images;
pub mod interfaces;
pub mod ips;
pub mod metadata;
pub mod moves;
pub mod password;
mod power;
mod query;
mod rebuild;
mod rescue;
mod resize;
pub mod shares;
mod shelve;
mod tables;
pub mod tags;
pub mod topology;
mod update;
pub mod view;

pub use create::create;
pub use update::update;

use super::changes::{Resource, shape};
use super::links::{self, Base, Links, NextLink};
use super::request;
use super::schema::query as parameters;
use crate::api::call::{Call, Outcome, Reply};
use crate::api::error::Fault;
use crate::core::ids::ServerId;
use crate::core::policy::Rule;
use crate::core::server::query::ServerQuery;
use crate::core::server::{ServerDetail, ServerListItem};
use crate::core::service::servers::Among;
use crate::core::{Error, Result};
use actix_web::http::StatusCode;
use serde::Serialize;
use view::{Scene, ServerView};

/// The server that the path names. A text that is no id names none.
fn id(call: &Call) -> Result<ServerId> {
    let text = call.params.get("id");
    text.parse().map_err(|_| Error::not_found(format!("Instance {text} could not be found.")))
}

/// Whether the caller may do this to the server. One that he may not see is unknown to him first.
async fn authorize(call: &Call, id: ServerId) -> Result<(), Fault> {
    let Err(refused) = request::authorize(call) else { return Ok(()) };
    call.state.services.servers.find(call.actor()?, id, Among::All).await?;
    Err(refused)
}

/// What the views of one answer share.
fn scene(call: &Call, resource: Resource) -> Result<Scene> {
    let actor = call.actor()?;
    Ok(Scene {
        base: Base::of(call),
        resource,
        shape: shape(resource, call.minor),
        admin: actor.is_admin(),
        reads_specs: Rule::Reader("os_compute_api:os-flavor-extra-specs:index").allows(actor),
    })
}

#[derive(Serialize)]
struct One<'a> {
    server: ServerView<'a>,
}

/// The full view of one server as an answer.
fn one(call: &Call, resource: Resource, detail: &ServerDetail) -> Outcome {
    let scene = scene(call, resource)?;
    let server = ServerView { detail, scene: &scene, admin_password: None };
    Ok(Reply::json(StatusCode::OK, &One { server })?)
}

#[derive(Serialize)]
struct Page<T> {
    servers: Vec<T>,
    #[serde(rename = "servers_links", skip_serializing_if = "Option::is_none")]
    links: Option<[NextLink; 1]>,
}

#[derive(Serialize)]
struct Item<'a> {
    id: ServerId,
    name: &'a str,
    links: Links<'a>,
}

impl<'a> Item<'a> {
    fn of(item: &'a ServerListItem, base: &'a Base) -> Self {
        Self { id: item.id, name: &item.name, links: Links::to(base, "servers", &item.id) }
    }
}

/// What the list's query asks for; `None` where it is known to find nothing.
fn wanted(call: &mut Call) -> Result<Option<ServerQuery>, Fault> {
    request::query(call, &query::LIST)?;
    request::authorize(call)?;
    Ok(query::read(call)?)
}

pub async fn list(mut call: Call) -> Outcome {
    let Some(query) = wanted(&mut call)? else {
        return Ok(Reply::json(StatusCode::OK, &Page::<()> { servers: Vec::new(), links: None })?);
    };
    let limit = query.limit;
    let found = call.state.services.servers.list(query).await?;
    let base = Base::of(&call);
    let last = found.last().map(|item| item.id.to_string());
    let links = links::next(&call, found.len(), limit, last.as_deref());
    let servers = found.iter().map(|item| Item::of(item, &base)).collect();
    Ok(Reply::json(StatusCode::OK, &Page { servers, links })?)
}

pub async fn detail(mut call: Call) -> Outcome {
    let Some(query) = wanted(&mut call)? else {
        return Ok(Reply::json(StatusCode::OK, &Page::<()> { servers: Vec::new(), links: None })?);
    };
    let limit = query.limit;
    let found = call.state.services.servers.list_detail(query).await?;
    let scene = scene(&call, Resource::ServerDetail)?;
    let last = found.last().map(|detail| detail.server.id.to_string());
    let links = links::next(&call, found.len(), limit, last.as_deref());
    let servers =
        found.iter().map(|detail| ServerView { detail, scene: &scene, admin_password: None }).collect();
    Ok(Reply::json(StatusCode::OK, &Page { servers, links })?)
}

pub async fn show(mut call: Call) -> Outcome {
    request::query(&mut call, &parameters::NONE)?;
    let id = id(&call)?;
    authorize(&call, id).await?;
    let detail = call.state.services.servers.show(call.actor()?, id).await?;
    one(&call, Resource::ServerShow, &detail)
}

pub async fn delete(call: Call) -> Outcome {
    let id = id(&call)?;
    authorize(&call, id).await?;
    call.state.services.servers.delete(call.actor()?, id, false).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}
