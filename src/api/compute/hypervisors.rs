//! `/os-hypervisors`: the one that there is.

use super::changes::{Input, Resource, shape};
use super::links::{self, NextLink};
use super::request;
use super::schema::query::{LIMIT, MARKER, NONE, Parameters, single};
use super::schema::types::{BOOLEAN, STRING};
use super::schema::wire;
use super::services::{IdView, Ids, enabled_or_disabled, up_or_down};
use crate::api::call::{Call, Outcome, Reply};
use crate::api::error::Fault;
use crate::api::version::shape::{Shape, Writer};
use crate::core::Error;
use crate::core::server::Server;
use crate::core::service::node::{Hardware, NodeRows};
use actix_web::http::StatusCode;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::json;
use uuid::Uuid;

static LIST: Parameters = Parameters {
    input: Input::HypervisorsQuery,
    known: &[
        LIMIT,
        MARKER,
        single("hypervisor_hostname_pattern", &[&STRING]),
        single("with_servers", &[&BOOLEAN]),
    ],
    kept_prefix: None,
};

static ONE: Parameters = Parameters {
    input: Input::HypervisorQuery,
    known: &[single("with_servers", &[&BOOLEAN])],
    kept_prefix: None,
};

/// A number of bytes in a GiB.
const GIB: u64 = 1 << 30;

/// What everybody who may look sees of the hypervisor, and as much more as is given.
pub struct HypervisorView<'a> {
    pub rows: &'a NodeRows,
    pub hardware: Option<&'a Hardware>,
    /// Told with its servers.
    pub servers: Option<&'a [Server]>,
    /// The words of `uptime`, where the view has them and the service is not taken for dead.
    pub uptime: Option<&'a str>,
    pub shape: &'static Shape,
}

fn ids(rows: &NodeRows) -> Ids {
    Ids { number: 1, uuid: rows.id_of("hypervisor") }
}

impl Serialize for HypervisorView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let as_uuid = self.shape.newest("id");
        let mut out = Writer::new(serializer.serialize_map(None)?, self.shape);
        out.field("id", &IdView { ids: ids(self.rows), as_uuid })?;
        out.field("hypervisor_hostname", &self.rows.name)?;
        let service = &self.rows.standing.compute;
        out.field("state", up_or_down(service))?;
        out.field("status", enabled_or_disabled(service))?;
        if let Some(servers) =
            self.servers.filter(|servers| !servers.is_empty() || self.shape.newest("servers"))
        {
            out.field("servers", &servers.iter().map(OfServer::new).collect::<Vec<_>>())?;
        }
        if let Some(hardware) = self.hardware {
            self.details(&mut out, hardware)?;
        }
        if self.hardware.is_some() || self.uptime.is_some() {
            out.field("uptime", &self.uptime)?;
        }
        out.end()
    }
}

impl HypervisorView<'_> {
    fn details<M: SerializeMap>(&self, out: &mut Writer<'_, M>, hardware: &Hardware) -> Result<(), M::Error> {
        let facts = &hardware.facts;
        out.field("hypervisor_type", "QEMU")?;
        out.field("hypervisor_version", &facts.hypervisor_version)?;
        // Guests and clients reach this host through its one listener; no address of its own is kept.
        out.field("host_ip", "127.0.0.1")?;
        let service = IdView { ids: Ids::of_compute(self.rows), as_uuid: self.shape.newest("id") };
        let disabled_reason = self.rows.standing.compute.disabled_reason.as_deref();
        out.field("service", &OfService { host: &self.rows.name, id: service, disabled_reason })?;
        let cpu = json!({
            "arch": std::env::consts::ARCH,
            "model": facts.cpu_model,
            "vendor": facts.cpu_vendor,
            "features": [],
            "topology": {
                "sockets": facts.cpu_sockets, "cores": facts.cpu_cores, "threads": facts.cpu_threads,
            },
        });
        if self.shape.newest("cpu_info") {
            out.field("cpu_info", &cpu)?;
        } else {
            out.field("cpu_info", &cpu.to_string())?;
        }
        for (key, figure) in figures(self.rows, hardware) {
            out.field(key, &figure)?;
        }
        Ok(())
    }
}

/// What there is, what is promised to servers, and what is left.
pub fn figures(rows: &NodeRows, hardware: &Hardware) -> [(&'static str, i64); 11] {
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let memory = whole(hardware.facts.memory_mib);
    let disk = whole(hardware.disk_bytes / GIB);
    let disk_used = rows.usage.disk_mib / 1024;
    let busy = rows.servers.iter().filter(|server| server.task_state.is_some()).count();
    [
        ("vcpus", i64::from(hardware.facts.cpus)),
        ("vcpus_used", rows.usage.cores),
        ("memory_mb", memory),
        ("memory_mb_used", rows.usage.ram_mib),
        ("free_ram_mb", memory - rows.usage.ram_mib),
        ("local_gb", disk),
        ("local_gb_used", disk_used),
        ("free_disk_gb", disk - disk_used),
        ("disk_available_least", whole(hardware.free_disk_bytes / GIB)),
        ("running_vms", rows.usage.instances),
        ("current_workload", i64::try_from(busy).unwrap_or(i64::MAX)),
    ]
}

#[derive(serde::Serialize)]
struct OfService<'a> {
    host: &'a str,
    id: IdView,
    disabled_reason: Option<&'a str>,
}

#[derive(serde::Serialize)]
struct OfServer {
    name: String,
    uuid: String,
}

impl OfServer {
    fn new(server: &Server) -> Self {
        Self { name: server.instance_name(), uuid: server.id.to_string() }
    }
}

pub struct Page<'a> {
    pub hypervisors: Vec<HypervisorView<'a>>,
    pub links: Option<[NextLink; 1]>,
    pub shape: &'static Shape,
}

impl Serialize for Page<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = Writer::new(serializer.serialize_map(None)?, self.shape);
        out.field("hypervisors", &self.hypervisors)?;
        out.optional("hypervisors_links", self.links.as_ref())?;
        out.end()
    }
}

#[derive(serde::Serialize)]
struct OneView<'a> {
    hypervisor: HypervisorView<'a>,
}

#[derive(serde::Serialize)]
struct Statistics {
    hypervisor_statistics: serde_json::Map<String, serde_json::Value>,
}

fn no_match(pattern: &str) -> Error {
    Error::not_found(format!("No hypervisor matching '{pattern}' could be found."))
}

/// Whether there is a hypervisor: it goes with the service that runs guests.
fn is_there(rows: &NodeRows) -> bool {
    !rows.standing.compute.removed
}

/// Whether it is to be taken for dead.
fn is_down(rows: &NodeRows) -> bool {
    rows.standing.compute.forced_down
}

fn with_servers(call: &Call) -> bool {
    call.query.get("with_servers").and_then(wire::truth).unwrap_or(false)
}

/// The page, empty when the marker is the one hypervisor that there is.
async fn page(mut call: Call, detailed: bool) -> Outcome {
    request::query(&mut call, &LIST)?;
    request::authorize(&call)?;
    let (limit, marker) = request::page(&call)?;
    let rows = call.state.services.node.rows().await?;
    let own = own_id(&call, &rows);
    if let Some(pattern) = call.query.get("hypervisor_hostname_pattern") {
        if call.query.get("limit").is_some() || marker.is_some() {
            return Err(Error::invalid(
                "Paging over hypervisors with the hypervisor_hostname_pattern query parameter is not supported.",
            )
            .into());
        }
        if !is_there(&rows) || !rows.name.contains(pattern) {
            return Err(no_match(pattern).into());
        }
    }
    if let Some(marker) = marker.as_ref().filter(|marker| **marker != own) {
        return Err(Error::invalid(format!("marker [{marker}] not found")).into());
    }
    let node = &call.state.services.node;
    let hardware = if detailed { Some(node.hardware().await?) } else { None };
    let words = if detailed && !is_down(&rows) { Some(node.uptime()?) } else { None };
    let resource = if detailed { Resource::Hypervisor } else { Resource::HypervisorSummary };
    let mut hypervisors = Vec::new();
    if marker.is_none() && limit > 0 && is_there(&rows) {
        hypervisors.push(HypervisorView {
            rows: &rows,
            hardware: hardware.as_ref(),
            servers: with_servers(&call).then_some(rows.servers.as_slice()),
            uptime: words.as_deref(),
            shape: shape(resource, call.minor),
        });
    }
    let links = links::next(&call, hypervisors.len(), limit, Some(own.as_str()));
    let shape = shape(Resource::HypervisorList, call.minor);
    Ok(Reply::json(StatusCode::OK, &Page { hypervisors, links, shape })?)
}

/// The id by which this version knows the hypervisor.
fn own_id(call: &Call, rows: &NodeRows) -> String {
    let ids = ids(rows);
    if call.minor >= 53 { ids.uuid.to_string() } else { ids.number.to_string() }
}

pub async fn list(call: Call) -> Outcome {
    page(call, false).await
}

pub async fn detail(call: Call) -> Outcome {
    page(call, true).await
}

/// The rows, if the path names the hypervisor.
async fn named(call: &Call) -> Result<NodeRows, Fault> {
    let asked = call.params.get("id");
    if call.minor >= 53 && Uuid::try_parse(asked).is_err() {
        return Err(Error::invalid(format!("Invalid uuid {asked}")).into());
    }
    let rows = call.state.services.node.rows().await?;
    if !is_there(&rows) || asked != own_id(call, &rows) {
        return Err(Error::not_found(format!("Hypervisor with ID '{asked}' could not be found.")).into());
    }
    Ok(rows)
}

pub async fn show(mut call: Call) -> Outcome {
    request::query(&mut call, &ONE)?;
    request::authorize(&call)?;
    let rows = named(&call).await?;
    let hardware = call.state.services.node.hardware().await?;
    let words = if is_down(&rows) { None } else { Some(call.state.services.node.uptime()?) };
    let hypervisor = HypervisorView {
        rows: &rows,
        hardware: Some(&hardware),
        servers: with_servers(&call).then_some(rows.servers.as_slice()),
        uptime: words.as_deref(),
        shape: shape(Resource::Hypervisor, call.minor),
    };
    Ok(Reply::json(StatusCode::OK, &OneView { hypervisor })?)
}

pub async fn uptime(mut call: Call) -> Outcome {
    request::query(&mut call, &NONE)?;
    request::authorize(&call)?;
    let rows = named(&call).await?;
    if is_down(&rows) {
        return Err(
            Error::invalid(format!("Compute service of {} is unavailable at this time.", rows.name)).into()
        );
    }
    let words = call.state.services.node.uptime()?;
    let shape = shape(Resource::HypervisorSummary, call.minor);
    let hypervisor =
        HypervisorView { rows: &rows, hardware: None, servers: None, uptime: Some(&words), shape };
    Ok(Reply::json(StatusCode::OK, &OneView { hypervisor })?)
}

pub async fn statistics(mut call: Call) -> Outcome {
    request::query(&mut call, &NONE)?;
    request::authorize(&call)?;
    let rows = call.state.services.node.rows().await?;
    let hardware = call.state.services.node.hardware().await?;
    // What is off does not count.
    let counts = is_there(&rows) && !rows.standing.compute.disabled;
    let figures = figures(&rows, &hardware).into_iter();
    let mut sums: serde_json::Map<_, _> =
        figures.map(|(key, figure)| (key.to_owned(), if counts { figure } else { 0 }.into())).collect();
    sums.insert("count".to_owned(), i64::from(counts).into());
    Ok(Reply::json(StatusCode::OK, &Statistics { hypervisor_statistics: sums })?)
}

/// `/{pattern}/search` and `/{pattern}/servers`: by a part of the name.
async fn matching(mut call: Call, with_servers: bool) -> Outcome {
    request::query(&mut call, &NONE)?;
    request::authorize(&call)?;
    let pattern = call.params.get("id");
    let rows = call.state.services.node.rows().await?;
    if !is_there(&rows) || !rows.name.contains(pattern) {
        return Err(no_match(pattern).into());
    }
    let view = HypervisorView {
        rows: &rows,
        hardware: None,
        servers: with_servers.then_some(rows.servers.as_slice()),
        uptime: None,
        shape: shape(Resource::HypervisorSummary, call.minor),
    };
    let list = shape(Resource::HypervisorList, call.minor);
    Ok(Reply::json(StatusCode::OK, &Page { hypervisors: vec![view], links: None, shape: list })?)
}

pub async fn search(call: Call) -> Outcome {
    matching(call, false).await
}

pub async fn servers(call: Call) -> Outcome {
    matching(call, true).await
}
