//! What guests have used, from libvirt's figures: which groups are asked for, and what their names mean.

use super::domain_xml::VirtType;
use super::error::translate;
use super::ffi::{self, Figure, Figures};
use super::ownership::Ownership;
use crate::core::ids::ServerId;
use crate::host::hypervisor::HypervisorError;
use crate::host::hypervisor::statistics::{DiskStatistics, NicStatistics, Statistics, Traffic};
use uuid::Uuid;
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::Error;
use virt::sys;

/// All that is of use. Most of these groups ask QEMU.
const ALL: u32 = sys::VIR_DOMAIN_STATS_STATE
    | sys::VIR_DOMAIN_STATS_CPU_TOTAL
    | sys::VIR_DOMAIN_STATS_INTERFACE
    | sys::VIR_DOMAIN_STATS_BALLOON
    | sys::VIR_DOMAIN_STATS_VCPU
    | sys::VIR_DOMAIN_STATS_BLOCK;

/// The one group of figures that libvirt knows without QEMU.
const WITHOUT_QEMU: u32 = sys::VIR_DOMAIN_STATS_INTERFACE;

/// What the balloon tells: libvirt's name in figures, and its name among a domain's memory statistics.
const BALLOON: &[(&str, &str)] = &[
    ("balloon.current", "actual"),
    ("balloon.swap_in", "swap_in"),
    ("balloon.swap_out", "swap_out"),
    ("balloon.major_fault", "major_fault"),
    ("balloon.minor_fault", "minor_fault"),
    ("balloon.unused", "unused"),
    ("balloon.available", "available"),
    ("balloon.usable", "usable"),
    ("balloon.last-update", "last_update"),
    ("balloon.disk_caches", "disk_caches"),
    ("balloon.hugetlb_pgalloc", "hugetlb_pgalloc"),
    ("balloon.hugetlb_pgfail", "hugetlb_pgfail"),
    ("balloon.rss", "rss"),
];

/// Asks for everything about a running domain.
pub fn of(domain: &Domain, virt_type: VirtType) -> Result<Statistics, Error> {
    Ok(statistics(&ffi::figures(domain, ALL)?, virt_type))
}

/// Asks for everything about all our running domains, in one call.
pub fn all(
    connect: &Connect,
    owner: Uuid,
    ownership: &Ownership,
    virt_type: VirtType,
) -> Result<Vec<(ServerId, Statistics)>, HypervisorError> {
    const CALL: &str = "all_statistics";
    let mut found = Vec::new();
    for (uuid, figures) in ffi::all_figures(connect, ALL).map_err(|error| translate(CALL, error))? {
        if ownership.is_ours(connect, uuid, owner, CALL)? {
            found.push((ServerId(uuid), statistics(&figures, virt_type)));
        }
    }
    Ok(found)
}

/// Asks for what libvirt knows of our running domains by itself.
pub fn all_without_qemu(
    connect: &Connect,
    owner: Uuid,
    ownership: &Ownership,
    virt_type: VirtType,
) -> Result<Vec<(ServerId, Statistics)>, HypervisorError> {
    const CALL: &str = "all_statistics";
    let failed = |error| translate(CALL, error);
    let mut found = Vec::new();
    for domain in connect.list_all_domains(sys::VIR_CONNECT_LIST_DOMAINS_ACTIVE).map_err(failed)? {
        let uuid = domain.uuid().map_err(failed)?;
        // One that goes off while it is asked has no figures.
        if ownership.is_ours(connect, uuid, owner, CALL)?
            && let Ok(statistics) = without_qemu(&domain, virt_type)
        {
            found.push((ServerId(uuid), statistics));
        }
    }
    Ok(found)
}

/// Asks for what libvirt knows of a running domain by itself.
pub fn without_qemu(domain: &Domain, virt_type: VirtType) -> Result<Statistics, Error> {
    let info = domain.info()?;
    Ok(Statistics {
        cpu_time_ns: Some(info.cpu_time),
        memory_maximum_kib: Some(info.max_mem),
        memory: [("actual".to_owned(), info.memory)].into(),
        ..statistics(&ffi::figures(domain, WITHOUT_QEMU)?, virt_type)
    })
}

/// The figures in our terms, of a guest that runs under `virt_type`.
fn statistics(figures: &Figures, virt_type: VirtType) -> Statistics {
    let number = |name: &str| match figures.get(name) {
        Some(Figure::Number(number)) => Some(*number),
        Some(Figure::Text(_)) | None => None,
    };
    let text = |name: &str| match figures.get(name) {
        Some(Figure::Text(text)) => Some(text.clone()),
        Some(Figure::Number(_)) | None => None,
    };
    let traffic = |nic: u64, way: &str| Traffic {
        bytes: number(&format!("net.{nic}.{way}.bytes")),
        packets: number(&format!("net.{nic}.{way}.pkts")),
        errors: number(&format!("net.{nic}.{way}.errs")),
        dropped: number(&format!("net.{nic}.{way}.drop")),
    };
    let nics = (0..number("net.count").unwrap_or_default()).filter_map(|nic| {
        let device = text(&format!("net.{nic}.name"))?;
        Some(NicStatistics { device, received: traffic(nic, "rx"), sent: traffic(nic, "tx") })
    });
    let disks = (0..number("block.count").unwrap_or_default()).filter_map(|disk| {
        Some(DiskStatistics {
            target: text(&format!("block.{disk}.name"))?,
            read_requests: number(&format!("block.{disk}.rd.reqs")),
            read_bytes: number(&format!("block.{disk}.rd.bytes")),
            write_requests: number(&format!("block.{disk}.wr.reqs")),
            write_bytes: number(&format!("block.{disk}.wr.bytes")),
            errors: number(&format!("block.{disk}.errors")),
        })
    });
    let vcpus = u32::try_from(number("vcpu.maximum").unwrap_or_default()).unwrap_or_default();
    Statistics {
        virt_type: virt_type.name(),
        cpu_time_ns: number("cpu.time"),
        vcpu_time_ns: (0..vcpus)
            .filter_map(|vcpu| Some((vcpu, number(&format!("vcpu.{vcpu}.time"))?)))
            .collect(),
        memory_maximum_kib: number("balloon.maximum"),
        memory: BALLOON
            .iter()
            .filter_map(|(figure, name)| Some(((*name).to_owned(), number(figure)?)))
            .collect(),
        disks: disks.collect(),
        nics: nics.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_find_their_places() {
        let mut figures: Figures = [
            ("cpu.time", 7),
            ("vcpu.current", 1),
            ("vcpu.maximum", 2),
            ("vcpu.0.time", 5),
            ("balloon.maximum", 65536),
            ("balloon.current", 32768),
            ("balloon.last-update", 1),
            ("net.count", 1),
            ("net.0.rx.bytes", 10),
            ("net.0.tx.drop", 2),
            ("block.count", 2),
            ("block.0.rd.reqs", 3),
        ]
        .map(|(name, value)| (name.to_owned(), Figure::Number(value)))
        .into();
        for (name, value) in [("net.0.name", "tap0"), ("block.0.name", "vda"), ("block.1.name", "sda")] {
            figures.insert(name.into(), Figure::Text(value.into()));
        }
        let found = statistics(&figures, VirtType::Qemu);
        assert_eq!((found.cpu_time_ns, found.vcpu_time_ns.get(&0)), (Some(7), Some(&5)));
        assert_eq!(found.vcpu_time_ns.len(), 1);
        assert_eq!((found.memory_maximum_kib, found.memory["actual"]), (Some(65536), 32768));
        assert_eq!(found.memory["last_update"], 1);
        assert_eq!(found.nics[0].device, "tap0");
        assert_eq!((found.nics[0].received.bytes, found.nics[0].sent.dropped), (Some(10), Some(2)));
        assert_eq!(found.disks[0].read_requests, Some(3));
        assert_eq!((found.disks[1].target.as_str(), found.disks[1].errors), ("sda", None));
    }
}
