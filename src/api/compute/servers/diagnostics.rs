//! `GET /servers/{id}/diagnostics`: what a running guest has used. Free keys up to 2.47, a fixed shape from 2.48 on.

use super::{authorize, id};
use crate::api::call::{Call, Outcome, Reply};
use crate::api::compute::request;
use crate::api::compute::schema::query as parameters;
use crate::api::error::Fault;
use crate::core::service::servers::diagnostics::{
    Diagnostics, DiskStatistics, NicDiagnostics, Statistics, Traffic,
};
use actix_web::http::StatusCode;
use serde::Serialize;
use std::collections::BTreeMap;

/// Up to 2.47: a key for each figure, named after the device.
pub async fn show_free(call: Call) -> Outcome {
    Ok(Reply::json(StatusCode::OK, &free(&find(call).await?))?)
}

/// From 2.48 on.
pub async fn show(call: Call) -> Outcome {
    Ok(Reply::json(StatusCode::OK, &View::of(&find(call).await?))?)
}

async fn find(mut call: Call) -> Result<Diagnostics, Fault> {
    request::query(&mut call, &parameters::NONE)?;
    let id = id(&call)?;
    authorize(&call, id).await?;
    Ok(call.state.services.servers.diagnostics(call.actor()?, id).await?)
}

/// A figure that the old form shows; what is unknown is -1 there.
fn or_unknown(figure: Option<u64>) -> i64 {
    figure.and_then(|figure| i64::try_from(figure).ok()).unwrap_or(-1)
}

fn free(found: &Diagnostics) -> BTreeMap<String, i64> {
    let figures = &found.statistics;
    let mut all = BTreeMap::new();
    for (number, time) in &figures.vcpu_time_ns {
        all.insert(format!("cpu{number}_time"), or_unknown(Some(*time)));
    }
    for disk in &figures.disks {
        let mut put = |name, figure| all.insert(format!("{}_{name}", disk.target), or_unknown(figure));
        put("read_req", disk.read_requests);
        put("read", disk.read_bytes);
        put("write_req", disk.write_requests);
        put("write", disk.write_bytes);
        put("errors", disk.errors);
    }
    for nic in &figures.nics {
        for (way, traffic) in [("rx", nic.received), ("tx", nic.sent)] {
            let mut put =
                |name, figure| all.insert(format!("{}_{way}{name}", nic.device), or_unknown(figure));
            put("", traffic.bytes);
            put("_packets", traffic.packets);
            put("_errors", traffic.errors);
            put("_drop", traffic.dropped);
        }
    }
    if let Some(maximum) = figures.memory_maximum_kib {
        all.insert("memory".to_owned(), or_unknown(Some(maximum)));
    }
    for (name, figure) in &figures.memory {
        all.insert(format!("memory-{name}"), or_unknown(Some(*figure)));
    }
    all
}

#[derive(Serialize)]
struct View<'a> {
    config_drive: bool,
    cpu_details: Vec<Cpu>,
    disk_details: Vec<Disk>,
    driver: &'static str,
    hypervisor: &'static str,
    hypervisor_os: &'static str,
    memory_details: Memory,
    nic_details: Vec<Nic<'a>>,
    num_cpus: usize,
    num_disks: usize,
    num_nics: usize,
    state: &'static str,
    uptime: i64,
}

#[derive(Serialize)]
struct Cpu {
    id: u32,
    time: u64,
    /// Nobody measures it.
    utilisation: Option<u64>,
}

#[derive(Serialize)]
struct Disk {
    errors_count: Option<u64>,
    read_bytes: Option<u64>,
    read_requests: Option<u64>,
    write_bytes: Option<u64>,
    write_requests: Option<u64>,
}

/// In MiB.
#[derive(Serialize)]
struct Memory {
    maximum: Option<u64>,
    used: Option<u64>,
}

#[derive(Serialize)]
struct Nic<'a> {
    mac_address: &'a str,
    rx_drop: Option<u64>,
    rx_errors: Option<u64>,
    rx_octets: Option<u64>,
    rx_packets: Option<u64>,
    rx_rate: Option<u64>,
    tx_drop: Option<u64>,
    tx_errors: Option<u64>,
    tx_octets: Option<u64>,
    tx_packets: Option<u64>,
    tx_rate: Option<u64>,
}

impl<'a> View<'a> {
    fn of(found: &'a Diagnostics) -> Self {
        let figures: &Statistics = &found.statistics;
        let cpu_details: Vec<Cpu> = figures
            .vcpu_time_ns
            .iter()
            .map(|(id, time)| Cpu { id: *id, time: *time, utilisation: None })
            .collect();
        let disk_details: Vec<Disk> = figures.disks.iter().map(Disk::of).collect();
        let nic_details: Vec<Nic> = found.nics.iter().map(Nic::of).collect();
        Self {
            config_drive: found.config_drive,
            num_cpus: cpu_details.len(),
            num_disks: disk_details.len(),
            num_nics: nic_details.len(),
            cpu_details,
            disk_details,
            nic_details,
            driver: "libvirt",
            hypervisor: figures.virt_type,
            hypervisor_os: "linux",
            memory_details: Memory {
                maximum: figures.memory_maximum_kib.map(|kib| kib / 1024),
                used: figures.memory.get("actual").map(|kib| kib / 1024),
            },
            // Others have none to show.
            state: "running",
            uptime: found.uptime,
        }
    }
}

impl Disk {
    fn of(disk: &DiskStatistics) -> Self {
        Self {
            errors_count: disk.errors,
            read_bytes: disk.read_bytes,
            read_requests: disk.read_requests,
            write_bytes: disk.write_bytes,
            write_requests: disk.write_requests,
        }
    }
}

impl<'a> Nic<'a> {
    fn of(nic: &'a NicDiagnostics) -> Self {
        let (received, sent) = nic
            .figures
            .as_ref()
            .map_or((Traffic::default(), Traffic::default()), |figures| (figures.received, figures.sent));
        Self {
            mac_address: &nic.mac,
            rx_drop: received.dropped,
            rx_errors: received.errors,
            rx_octets: received.bytes,
            rx_packets: received.packets,
            rx_rate: None,
            tx_drop: sent.dropped,
            tx_errors: sent.errors,
            tx_octets: sent.bytes,
            tx_packets: sent.packets,
            tx_rate: None,
        }
    }
}
