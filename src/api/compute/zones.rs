//! Availability zones: the node's own for servers, and `internal`, which only administrators see, for the services.

use super::request;
use super::schema::query;
use crate::api::call::{Call, Outcome, Reply};
use crate::api::error::Fault;
use crate::core::Error;
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
    hosts: Option<BTreeMap<&'a str, BTreeMap<&'static str, ServiceState>>>,
}

#[derive(Serialize)]
struct ZoneState {
    available: bool,
}

/// The services are this process: they are there when it answers.
#[derive(Serialize)]
struct ServiceState {
    active: bool,
    available: bool,
    updated_at: Option<()>,
}

#[derive(Serialize)]
struct Zones<'a> {
    #[serde(rename = "availabilityZoneInfo")]
    zones: Vec<Zone<'a>>,
}

fn zone<'a>(name: &'a str, host: Option<(&'a str, &[&'static str])>) -> Zone<'a> {
    let hosts = host.map(|(host, services)| {
        let state = || ServiceState { active: true, available: true, updated_at: None };
        BTreeMap::from([(host, services.iter().map(|service| (*service, state())).collect())])
    });
    Zone { name, state: ZoneState { available: true }, hosts }
}

pub async fn list(mut call: Call) -> Outcome {
    request::query(&mut call, &query::NONE)?;
    request::authorize(&call)?;
    let node = call.state.services.servers.node();
    Ok(Reply::json(StatusCode::OK, &Zones { zones: vec![zone(&node.zone, None)] })?)
}

/// One zone. Only `/v2` ever described this.
pub async fn show(mut call: Call) -> Outcome {
    if !call.legacy {
        return Err(Fault::NoRoute);
    }
    request::query(&mut call, &query::NONE)?;
    request::authorize(&call)?;
    let node = call.state.services.servers.node();
    let name = call.params.get("zone");
    if name != node.zone {
        return Err(
            Error::not_found(format!("The requested availability zone {name} could not be found.")).into()
        );
    }
    Ok(Reply::json(StatusCode::OK, &Zones { zones: vec![zone(&node.zone, None)] })?)
}

pub async fn detail(mut call: Call) -> Outcome {
    request::query(&mut call, &query::NONE)?;
    request::authorize(&call)?;
    let node = call.state.services.servers.node();
    let zones = vec![
        zone("internal", Some((&node.name, &["nova-conductor", "nova-scheduler"]))),
        zone(&node.zone, Some((&node.name, &["nova-compute"]))),
    ];
    Ok(Reply::json(StatusCode::OK, &Zones { zones })?)
}
