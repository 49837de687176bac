//! `/os-hosts`: the node as old clients know it, by its services and by what is taken of it. Gone from 2.43 on.
//!
//! Its power is not switched from here: whoever may use this API is not thereby in charge of the machine.

use super::changes::Input;
use super::hypervisors::figures;
use super::request;
use super::schema::query::{self, Parameters, parameter};
use super::schema::types::STRING;
use super::schema::{Literal, Object, Rule, Schema, Type, property};
use super::zones;
use crate::api::call::{Call, Outcome, Reply};
use crate::api::error::Fault;
use crate::core::ids::ProjectId;
use crate::core::server::Server;
use crate::core::server::standing::{SERVICES, ServiceChange, ServiceStatus};
use crate::core::service::node::NodeRows;
use crate::core::{Error, Kind};
use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

static LIST: Parameters =
    Parameters { input: Input::OtherQuery, known: &[parameter("zone", &[&STRING])], kept_prefix: None };

const SWITCH: Schema = Schema(&[
    Rule::Types(&[Type::Text]),
    Rule::OneOfLiterals(&[
        Literal::Text("enable"),
        Literal::Text("disable"),
        Literal::Text("Enable"),
        Literal::Text("Disable"),
        Literal::Text("ENABLE"),
        Literal::Text("DISABLE"),
    ]),
]);

static UPDATE: Schema = Schema(&[
    Rule::Types(&[Type::Object]),
    Rule::Object(&Object {
        input: None,
        properties: &[property("status", &[&SWITCH]), property("maintenance_mode", &[&SWITCH])],
        required: &[],
        open: false,
    }),
]);

#[derive(Serialize)]
struct List<'a> {
    hosts: Vec<HostOf<'a>>,
}

/// The host of one service.
#[derive(Serialize)]
struct HostOf<'a> {
    host_name: &'a str,
    service: &'a str,
    zone: &'a str,
}

/// The enabled services with their hosts, of one zone if one is asked for.
pub async fn list(mut call: Call) -> Outcome {
    request::query(&mut call, &LIST)?;
    request::authorize(&call)?;
    let rows = call.state.services.node.rows().await?;
    let zone = call.query.get("zone").filter(|zone| !zone.is_empty());
    let hosts = SERVICES
        .iter()
        .zip(&rows.services)
        .filter(|(_, state)| !state.removed && !state.disabled)
        .map(|(binary, _)| HostOf {
            host_name: &rows.name,
            service: binary.trim_start_matches("nova-"),
            zone: zones::of_service(&rows, binary),
        })
        .filter(|host| zone.is_none_or(|zone| zone == host.zone))
        .collect();
    Ok(Reply::json(StatusCode::OK, &List { hosts })?)
}

#[derive(Serialize)]
struct Shown<'a> {
    host: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    resource: Resource<'a>,
}

/// What there is, or is taken, and by whom.
#[derive(Serialize)]
struct Resource<'a> {
    host: &'a str,
    project: &'a str,
    cpu: i64,
    memory_mb: i64,
    disk_gb: i64,
}

/// The sum of what servers of one project, or of all, were promised.
fn sum<'a>(host: &'a str, project: &'a str, servers: &[&Server]) -> Resource<'a> {
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let add = |figure: fn(&Server) -> u64| servers.iter().map(|server| whole(figure(server))).sum();
    Resource {
        host,
        project,
        cpu: add(|server| server.flavor.vcpus.into()),
        memory_mb: add(|server| server.flavor.ram_mib),
        disk_gb: add(|server| server.flavor.disk_gib + server.flavor.ephemeral_gib),
    }
}

/// What there is, what is taken, what servers were promised, and what of that each project was.
pub async fn show(mut call: Call) -> Outcome {
    request::query(&mut call, &query::NONE)?;
    request::authorize(&call)?;
    let name = call.params.get("host");
    let rows = call.state.services.node.rows().await?;
    if name != rows.name || rows.standing.compute.removed {
        return Err(Error::not_found(format!("Compute host {name} could not be found.")).into());
    }
    let hardware = call.state.services.node.hardware().await?;
    let figures: BTreeMap<&str, i64> = figures(&rows, &hardware).into_iter().collect();
    let figure = |name: &str| figures.get(name).copied().unwrap_or_default();
    let mut projects: BTreeMap<&ProjectId, Vec<&Server>> = BTreeMap::new();
    for server in &rows.servers {
        projects.entry(&server.project_id).or_default().push(server);
    }
    let mut resources = vec![
        Resource {
            host: name,
            project: "(total)",
            cpu: figure("vcpus"),
            memory_mb: figure("memory_mb"),
            disk_gb: figure("local_gb"),
        },
        Resource {
            host: name,
            project: "(used_now)",
            cpu: figure("vcpus_used"),
            memory_mb: figure("memory_mb_used"),
            disk_gb: figure("local_gb_used"),
        },
        sum(name, "(used_max)", &rows.servers.iter().collect::<Vec<_>>()),
    ];
    resources.extend(projects.iter().map(|(project, servers)| sum(name, project.as_str(), servers)));
    let host = resources.into_iter().map(|resource| Row { resource }).collect();
    Ok(Reply::json(StatusCode::OK, &Shown { host })?)
}

#[derive(Deserialize)]
struct Update {
    status: Option<String>,
    maintenance_mode: Option<String>,
}

#[derive(Serialize)]
struct Updated<'a> {
    host: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
}

fn unmapped(host: &str) -> Fault {
    Error::not_found(format!("Host '{host}' is not mapped to any cell")).into()
}

/// Whether the name is that of a host with a service that runs guests.
fn check_host(rows: &NodeRows, name: &str) -> Result<(), Fault> {
    if name == rows.name && !rows.standing.compute.removed { Ok(()) } else { Err(unmapped(name)) }
}

fn unsupported() -> Fault {
    Error::new(Kind::NotImplemented, "The requested functionality is not supported.").into()
}

/// Enables or disables the service that runs guests. There is no maintenance: no other host could take the servers.
pub async fn update(mut call: Call) -> Outcome {
    let Update { status, maintenance_mode } = request::body(&mut call, &UPDATE).await?;
    request::authorize(&call)?;
    let name = call.params.get("host");
    let node = &call.state.services.node;
    let enabled = status.map(|word| word.eq_ignore_ascii_case("enable"));
    if enabled.is_some() || maintenance_mode.is_some() {
        check_host(&node.rows().await?, name)?;
    }
    if maintenance_mode.is_some() {
        return Err(unsupported());
    }
    if let Some(enabled) = enabled {
        let status = if enabled { ServiceStatus::Enabled } else { ServiceStatus::Disabled(None) };
        let change = ServiceChange { status: Some(status), forced_down: None };
        node.change_compute(change).await?.ok_or_else(|| unmapped(name))?;
    }
    let status = enabled.map(|enabled| if enabled { "enabled" } else { "disabled" });
    Ok(Reply::json(StatusCode::OK, &Updated { host: name, status })?)
}

/// `startup`, `shutdown` and `reboot`.
pub async fn switch_power(mut call: Call) -> Outcome {
    request::query(&mut call, &query::NONE)?;
    request::authorize(&call)?;
    check_host(&call.state.services.node.rows().await?, call.params.get("host"))?;
    Err(unsupported())
}
