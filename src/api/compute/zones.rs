//! Availability zones: the node's own for servers, and `internal`, which only administrators see, for the other services.
//! A zone without an enabled service is there, and not available.

use super::request;
use super::schema::query;
use crate::api::call::{Call, Outcome, Reply};
use crate::api::error::Fault;
use crate::core::Error;
use crate::core::server::standing::{COMPUTE, INTERNAL_ZONE, SERVICES, Standing};
use crate::core::service::node::NodeRows;
use actix_web::http::StatusCode;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
struct Zone<'a> {
    #[serde(rename = "zoneName")]
    name: &'a str,
    #[serde(rename = "zoneState")]
    state: ZoneState,
    /// By host, then by service. Null in the short list.
    hosts: Option<BTreeMap<&'a str, BTreeMap<&'static str, ServiceView>>>,
}

#[derive(Serialize)]
struct ZoneState {
    available: bool,
}

#[derive(Serialize)]
struct ServiceView {
    active: bool,
    available: bool,
    updated_at: Option<()>,
}

#[derive(Serialize)]
struct Zones<'a> {
    #[serde(rename = "availabilityZoneInfo")]
    zones: Vec<Zone<'a>>,
}

/// The zone that a service is in.
pub fn of_service<'a>(rows: &'a NodeRows, binary: &str) -> &'a str {
    if binary == COMPUTE { &rows.standing.zone } else { INTERNAL_ZONE }
}

/// The node's own zone as everybody sees it, if the service is there that runs guests.
fn own(standing: &Standing) -> Option<Zone<'_>> {
    let state = ZoneState { available: !standing.compute.disabled };
    (!standing.compute.removed).then_some(Zone { name: &standing.zone, state, hosts: None })
}

/// A zone with its enabled services, if it has any services.
fn whole<'a>(name: &'a str, rows: &'a NodeRows, wanted: impl Fn(&str) -> bool) -> Option<Zone<'a>> {
    let there: Vec<_> = SERVICES
        .iter()
        .zip(&rows.services)
        .filter(|(binary, state)| wanted(binary) && !state.removed)
        .collect();
    let enabled: BTreeMap<_, _> = there
        .iter()
        .filter(|(_, state)| !state.disabled)
        .map(|(binary, state)| {
            (**binary, ServiceView { active: true, available: !state.forced_down, updated_at: None })
        })
        .collect();
    let available = !enabled.is_empty();
    let hosts = available.then(|| BTreeMap::from([(rows.name.as_str(), enabled)]));
    (!there.is_empty()).then_some(Zone { name, state: ZoneState { available }, hosts })
}

pub async fn list(mut call: Call) -> Outcome {
    request::query(&mut call, &query::NONE)?;
    request::authorize(&call)?;
    let standing = call.state.services.node.standing().await?;
    Ok(Reply::json(StatusCode::OK, &Zones { zones: own(&standing).into_iter().collect() })?)
}

/// One zone. Only `/v2` ever described this.
pub async fn show(mut call: Call) -> Outcome {
    if !call.legacy {
        return Err(Fault::NoRoute);
    }
    request::query(&mut call, &query::NONE)?;
    request::authorize(&call)?;
    let standing = call.state.services.node.standing().await?;
    let name = call.params.get("zone");
    let Some(zone) = own(&standing).filter(|zone| zone.name == name) else {
        return Err(
            Error::not_found(format!("The requested availability zone {name} could not be found.")).into()
        );
    };
    Ok(Reply::json(StatusCode::OK, &Zones { zones: vec![zone] })?)
}

pub async fn detail(mut call: Call) -> Outcome {
    request::query(&mut call, &query::NONE)?;
    request::authorize(&call)?;
    let rows = call.state.services.node.rows().await?;
    let zones = [
        whole(INTERNAL_ZONE, &rows, |binary| binary != COMPUTE),
        whole(&rows.standing.zone, &rows, |binary| binary == COMPUTE),
    ];
    let mut zones: Vec<_> = zones.into_iter().flatten().collect();
    zones.sort_by_key(|zone| !zone.state.available);
    Ok(Reply::json(StatusCode::OK, &Zones { zones })?)
}
