//! `/flavors`: the flavors themselves. Who may use the private ones is in [`access`], extra specs are in [`specs`].

pub mod access;
mod rules;
pub mod specs;
mod tables;
pub mod view;

use super::changes::{Resource, shape};
use super::links::{self, Base, NextLink};
use super::request;
use super::schema::{query, wire};
use crate::api::call::{Call, Outcome, Reply};
use crate::core::Error;
use crate::core::flavor::{Flavor, FlavorQuery, FlavorSort, NewFlavor, Visibility};
use crate::core::ids::ProjectId;
use crate::core::policy::Rule;
use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};
use view::{FlavorSummary, FlavorView};

#[derive(Serialize)]
struct Page<T> {
    flavors: Vec<T>,
    #[serde(rename = "flavors_links", skip_serializing_if = "Option::is_none")]
    links: Option<[NextLink; 1]>,
}

#[derive(Serialize)]
struct One<'a> {
    flavor: FlavorView<'a>,
}

/// Whether extra specs are shown to the caller.
fn may_read_specs(call: &Call) -> Result<bool, Error> {
    Ok(Rule::Reader("os_compute_api:os-flavor-extra-specs:index").allows(call.actor()?))
}

fn one(call: &Call, flavor: &Flavor) -> Outcome {
    let base = Base::of(call);
    let view = FlavorView {
        flavor,
        base: &base,
        shape: shape(Resource::Flavor, call.minor),
        with_specs: may_read_specs(call)?,
    };
    Ok(Reply::json(StatusCode::OK, &One { flavor: view })?)
}

pub async fn list(mut call: Call) -> Outcome {
    let (flavors, limit) = page(&mut call).await?;
    let base = Base::of(&call);
    let shape = shape(Resource::FlavorSummary, call.minor);
    let links = links::next(&call, flavors.len(), limit, flavors.last().map(|flavor| flavor.id.as_str()));
    let flavors = flavors.iter().map(|flavor| FlavorSummary { flavor, base: &base, shape }).collect();
    Ok(Reply::json(StatusCode::OK, &Page { flavors, links })?)
}

pub async fn detail(mut call: Call) -> Outcome {
    let (flavors, limit) = page(&mut call).await?;
    let base = Base::of(&call);
    let shape = shape(Resource::Flavor, call.minor);
    let with_specs = may_read_specs(&call)?;
    let links = links::next(&call, flavors.len(), limit, flavors.last().map(|flavor| flavor.id.as_str()));
    let flavors =
        flavors.iter().map(|flavor| FlavorView { flavor, base: &base, shape, with_specs }).collect();
    Ok(Reply::json(StatusCode::OK, &Page { flavors, links })?)
}

/// The page that a list's query asks for, and its limit.
async fn page(call: &mut Call) -> Result<(Vec<Flavor>, usize), crate::api::error::Fault> {
    request::query(call, &tables::LIST)?;
    request::authorize(call)?;
    let (limit, marker) = request::page(call)?;
    let whole = |name: &str| match call.query.get(name) {
        None => Ok(None),
        Some(text) => text
            .trim()
            .parse::<i64>()
            .map(Some)
            .map_err(|_| Error::invalid(format!("Invalid {name} filter [{text}]"))),
    };
    let query = FlavorQuery {
        visibility: visibility(call)?,
        min_ram_mib: whole("minRam")?,
        min_disk_gib: whole("minDisk")?,
        name: call.query.get("name").map(str::to_owned),
        sort: call.query.get("sort_key").and_then(FlavorSort::from_key).unwrap_or(FlavorSort::Id),
        descending: call.query.get("sort_dir") == Some("desc"),
        limit,
        marker,
    };
    let flavors = call.state.services.flavors.list(query).await?;
    Ok((flavors, limit))
}

/// Administrators choose; others see what they may use.
fn visibility(call: &Call) -> Result<Visibility, Error> {
    let actor = call.actor()?;
    if !actor.is_admin() {
        return Ok(Visibility::Usable(actor.project_id.clone().unwrap_or_else(|| ProjectId::from(""))));
    }
    match call.query.get("is_public") {
        None => Ok(Visibility::Public(actor.project_id.clone())),
        Some(word) if word.eq_ignore_ascii_case("none") => Ok(Visibility::All),
        Some(word) => match wire::truth(word) {
            Some(true) => Ok(Visibility::Public(actor.project_id.clone())),
            Some(false) => Ok(Visibility::Private),
            None => Err(Error::invalid(format!("Invalid is_public filter [{word}]"))),
        },
    }
}

pub async fn show(mut call: Call) -> Outcome {
    request::query(&mut call, &query::NONE)?;
    request::authorize(&call)?;
    let id = call.params.get("id").to_owned();
    let flavor = call.state.services.flavors.get(call.actor()?, id).await?;
    one(&call, &flavor)
}

#[derive(Deserialize)]
struct CreateBody {
    flavor: Create,
}

#[derive(Deserialize)]
struct Create {
    name: String,
    #[serde(default, deserialize_with = "wire::maybe_text")]
    id: Option<String>,
    #[serde(deserialize_with = "wire::number")]
    ram: i64,
    #[serde(deserialize_with = "wire::number")]
    vcpus: i64,
    #[serde(deserialize_with = "wire::number")]
    disk: i64,
    #[serde(default, rename = "OS-FLV-EXT-DATA:ephemeral", deserialize_with = "wire::maybe_number")]
    ephemeral: Option<i64>,
    #[serde(default, deserialize_with = "wire::maybe_number")]
    swap: Option<i64>,
    #[serde(default, deserialize_with = "wire::maybe_fraction")]
    rxtx_factor: Option<f64>,
    #[serde(default, rename = "os-flavor-access:is_public", deserialize_with = "wire::maybe_flag")]
    is_public: Option<bool>,
    description: Option<String>,
}

/// A size that its table has bounded.
fn size(number: i64) -> Result<u64, Error> {
    u64::try_from(number).map_err(|_| Error::invalid("A size cannot be negative."))
}

pub async fn create(mut call: Call) -> Outcome {
    let body: CreateBody = request::body(&mut call, &tables::CREATE).await?;
    request::authorize(&call)?;
    let wanted = body.flavor;
    let new = NewFlavor {
        id: wanted.id.filter(|id| !id.is_empty()),
        name: wanted.name.trim().to_owned(),
        description: wanted.description,
        vcpus: u32::try_from(wanted.vcpus).map_err(|_| Error::invalid("A size cannot be negative."))?,
        ram_mib: size(wanted.ram)?,
        disk_gib: size(wanted.disk)?,
        ephemeral_gib: size(wanted.ephemeral.unwrap_or(0))?,
        swap_mib: size(wanted.swap.unwrap_or(0))?,
        rxtx_factor: wanted.rxtx_factor.unwrap_or(1.0),
        is_public: wanted.is_public.unwrap_or(true),
    };
    let flavor = call.state.services.flavors.create(new).await?;
    one(&call, &flavor)
}

#[derive(Deserialize)]
struct UpdateBody {
    flavor: Update,
}

#[derive(Deserialize)]
struct Update {
    description: Option<String>,
}

pub async fn update(mut call: Call) -> Outcome {
    let body: UpdateBody = request::body(&mut call, &tables::UPDATE).await?;
    request::authorize(&call)?;
    let id = call.params.get("id").to_owned();
    let flavor = call.state.services.flavors.describe(id, body.flavor.description).await?;
    one(&call, &flavor)
}

pub async fn delete(call: Call) -> Outcome {
    request::authorize(&call)?;
    let id = call.params.get("id").to_owned();
    call.state.services.flavors.delete(id).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}
