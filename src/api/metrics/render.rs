//! Figures as text. Names begin with `dwarfnova_`; units are seconds and bytes.

use super::RequestFigures;
use crate::core::server::status::of_states;
use crate::core::service::figures::{Figures, Statistics, Traffic};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

const KIB: u64 = 1024;

/// Names and values of labels.
type Labels = Vec<(&'static str, String)>;
type Counts = Family<Labels, Counter<u64>>;
type Seconds = Family<Labels, Counter<f64, AtomicU64>>;
type Levels = Family<Labels, Gauge>;

/// Everything that is known, as one text.
pub fn text(requests: &RequestFigures, figures: &Figures) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("dwarfnova");
    requests.register(&mut registry);
    tasks(&mut registry, figures);
    store(&mut registry, figures);
    servers(&mut registry, figures);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

fn level(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn seconds(nanoseconds: u64) -> f64 {
    std::time::Duration::from_nanos(nanoseconds).as_secs_f64()
}

fn tasks(registry: &mut Registry, figures: &Figures) {
    let (ended, took, open) = (Counts::default(), Seconds::default(), Levels::default());
    for task in &figures.ended {
        let labels = vec![("workflow", task.workflow.to_owned()), ("result", task.result.to_owned())];
        ended.get_or_create(&labels).inc_by(task.count);
        took.get_or_create(&labels).inc_by(task.took.as_secs_f64());
    }
    for task in &figures.open {
        let labels = vec![("workflow", task.workflow.clone()), ("status", task.status.clone())];
        open.get_or_create(&labels).set(level(task.count));
    }
    registry.register("tasks", "Tasks that ended since the daemon was started", ended);
    registry.register("task_seconds", "How long these tasks ran, waiting not counted", took);
    registry.register("tasks_open", "Tasks that are not over, and those that are stuck", open);
}

fn store(registry: &mut Registry, figures: &Figures) {
    let (writes, commits) = (Counter::<u64>::default(), Counter::<u64>::default());
    writes.inc_by(figures.store.writes);
    commits.inc_by(figures.store.commits);
    let bytes = Levels::default();
    bytes.get_or_create(&vec![("file", "database".into())]).set(level(figures.store.database_bytes));
    bytes.get_or_create(&vec![("file", "log".into())]).set(level(figures.store.log_bytes));
    registry.register("store_writes", "Transactions that were asked for", writes);
    registry.register("store_commits", "Flushes to the disk, each for one or more transactions", commits);
    registry.register("store_bytes", "Size of the database's files", bytes);
}

fn servers(registry: &mut Registry, figures: &Figures) {
    let count = Levels::default();
    for server in &figures.servers {
        let status = of_states(server.vm_state, server.task_state);
        count.get_or_create(&vec![("status", status.as_str().to_owned())]).inc();
    }
    registry.register("servers", "Servers on this node", count);
    let up: Gauge = Gauge::default();
    up.set(i64::from(figures.statistics.is_some()));
    registry.register("hypervisor_up", "Whether the hypervisor answers", up);
    let each = PerServer::default();
    for (id, statistics) in figures.statistics.iter().flatten() {
        each.add(&id.to_string(), statistics);
    }
    each.register(registry);
}

/// What running guests have used since they were started.
#[derive(Default)]
struct PerServer {
    cpu: Seconds,
    vcpu: Seconds,
    memory: Levels,
    disk_bytes: Counts,
    disk_requests: Counts,
    net_bytes: Counts,
    net_packets: Counts,
    net_errors: Counts,
    net_dropped: Counts,
}

impl PerServer {
    fn add(&self, id: &str, statistics: &Statistics) {
        let server = || ("server", id.to_owned());
        if let Some(time) = statistics.cpu_time_ns {
            self.cpu.get_or_create(&vec![server()]).inc_by(seconds(time));
        }
        for (number, time) in &statistics.vcpu_time_ns {
            self.vcpu.get_or_create(&vec![server(), ("vcpu", number.to_string())]).inc_by(seconds(*time));
        }
        let memory = |kind: &str, kib: Option<u64>| {
            if let Some(kib) = kib {
                let labels = vec![server(), ("kind", kind.to_owned())];
                self.memory.get_or_create(&labels).set(level(kib.saturating_mul(KIB)));
            }
        };
        memory("maximum", statistics.memory_maximum_kib);
        for kind in ["actual", "rss", "available", "usable", "unused"] {
            memory(kind, statistics.memory.get(kind).copied());
        }
        let count = |family: &Counts, device: &str, direction: &str, value: Option<u64>| {
            if let Some(value) = value {
                let labels =
                    vec![server(), ("device", device.to_owned()), ("direction", direction.to_owned())];
                family.get_or_create(&labels).inc_by(value);
            }
        };
        for disk in &statistics.disks {
            count(&self.disk_bytes, &disk.target, "read", disk.read_bytes);
            count(&self.disk_bytes, &disk.target, "write", disk.write_bytes);
            count(&self.disk_requests, &disk.target, "read", disk.read_requests);
            count(&self.disk_requests, &disk.target, "write", disk.write_requests);
        }
        for nic in &statistics.nics {
            for (direction, traffic) in [("receive", nic.received), ("send", nic.sent)] {
                let Traffic { bytes, packets, errors, dropped } = traffic;
                count(&self.net_bytes, &nic.device, direction, bytes);
                count(&self.net_packets, &nic.device, direction, packets);
                count(&self.net_errors, &nic.device, direction, errors);
                count(&self.net_dropped, &nic.device, direction, dropped);
            }
        }
    }

    fn register(self, registry: &mut Registry) {
        registry.register("server_cpu_seconds", "Processor time of a guest and its emulator", self.cpu);
        registry.register("server_vcpu_seconds", "Processor time of a virtual CPU", self.vcpu);
        registry.register("server_memory_bytes", "Memory of a guest, as its balloon tells", self.memory);
        registry.register("server_disk_bytes", "Bytes that a guest read and wrote", self.disk_bytes);
        registry.register("server_disk_requests", "A guest's reads and writes", self.disk_requests);
        registry.register("server_network_bytes", "Bytes that a guest received and sent", self.net_bytes);
        registry.register("server_network_packets", "A guest's packets", self.net_packets);
        registry.register("server_network_errors", "A guest's packets that went wrong", self.net_errors);
        registry.register("server_network_dropped", "A guest's packets that were dropped", self.net_dropped);
    }
}
