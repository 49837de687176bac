//! The one node, and how much of it may be promised to servers.

use super::ServerFlavor;
use std::time::Duration;

/// What the rules need to know of this node and of its configuration. Read once at start.
#[derive(Debug, Clone)]
pub struct Node {
    /// The host name that servers show.
    pub name: String,
    /// The availability zone that the node is in while no aggregate names another.
    pub zone: String,
    pub capacity: Capacity,
    /// How long a guest may take to shut down before its power is cut.
    pub shutdown_timeout: Duration,
    /// How long callers wait for the agent of a guest whose image promises one, as while it boots.
    pub agent_patience: Duration,
    /// Whether every server gets a config drive: by configuration, or because guests cannot reach the metadata service.
    pub force_config_drive: bool,
    /// After how many seconds a shelved server gives up what it takes of the host: 0 at once, negative never.
    pub shelved_offload_seconds: i64,
    /// For how many seconds a deleted server can be restored; 0 or less: not at all.
    pub reclaim_seconds: i64,
    /// After which time a resize confirms itself; zero for never.
    pub resize_confirm_window: Duration,
}

#[cfg(test)]
impl Node {
    /// A node with room for a few thousand small servers, whose guests have little time to shut down.
    pub(crate) fn roomy() -> Self {
        Self {
            name: "node".into(),
            zone: "nova".into(),
            capacity: Capacity { cores: 1 << 20, ram_mib: 1 << 30, disk_mib: 1 << 30 },
            shutdown_timeout: Duration::from_millis(200),
            agent_patience: Duration::from_millis(200),
            force_config_drive: false,
            shelved_offload_seconds: 0,
            reclaim_seconds: 0,
            resize_confirm_window: Duration::ZERO,
        }
    }
}

/// How much may be promised: the host's own figures times the ratios, less what is kept for the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    pub cores: i64,
    pub ram_mib: i64,
    pub disk_mib: i64,
}

/// What is promised already, or what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Claim {
    pub cores: i64,
    pub ram_mib: i64,
    pub disk_mib: i64,
}

impl Claim {
    /// What one server of this flavor takes.
    pub fn of(flavor: &ServerFlavor) -> Self {
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let disk = flavor.disk_gib.saturating_add(flavor.ephemeral_gib).saturating_mul(1024);
        Self {
            cores: i64::from(flavor.vcpus),
            ram_mib: whole(flavor.ram_mib),
            disk_mib: whole(disk.saturating_add(flavor.swap_mib)),
        }
    }

    /// What a resize takes beyond what the old size has: the vCPUs and the memory that it adds, since one guest runs at
    /// a time, and all of the new disks, since the old ones stay until it is confirmed.
    pub fn of_resize(old: &ServerFlavor, new: &ServerFlavor) -> Self {
        let (old, new) = (Self::of(old), Self::of(new));
        Self {
            cores: (new.cores - old.cores).max(0),
            ram_mib: new.ram_mib.saturating_sub(old.ram_mib).max(0),
            disk_mib: new.disk_mib,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            cores: self.cores.saturating_add(other.cores),
            ram_mib: self.ram_mib.saturating_add(other.ram_mib),
            disk_mib: self.disk_mib.saturating_add(other.disk_mib),
        }
    }
}

/// How much of the host's own figures may be promised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratios {
    pub cpu: f64,
    pub ram: f64,
    pub disk: f64,
    /// Kept for the host.
    pub reserved_memory_mib: u64,
}

impl Capacity {
    /// From the host's figures.
    pub fn new(cpus: u32, memory_mib: u64, disk_mib: u64, ratios: &Ratios) -> Self {
        let memory = memory_mib.saturating_sub(ratios.reserved_memory_mib);
        Self {
            cores: scaled(u64::from(cpus), ratios.cpu),
            ram_mib: scaled(memory, ratios.ram),
            disk_mib: scaled(disk_mib, ratios.disk),
        }
    }

    /// Why one more does not fit, in words for its owner; `None` if it does.
    pub fn lacks(&self, promised: Claim, wanted: Claim) -> Option<String> {
        let after = promised.plus(wanted);
        let checks = [
            ("vCPUs", after.cores, self.cores, wanted.cores, ""),
            ("memory", after.ram_mib, self.ram_mib, wanted.ram_mib, " MiB"),
            ("disk", after.disk_mib, self.disk_mib, wanted.disk_mib, " MiB"),
        ];
        let (what, after, limit, wanted, unit) =
            // What does not grow needs no room, however little there is.
            checks.into_iter().find(|(_, after, limit, wanted, _)| *wanted > 0 && after > limit)?;
        let free = limit.saturating_sub(after.saturating_sub(wanted)).max(0);
        Some(format!(
            "There is not enough {what} on this host: {wanted}{unit} asked for, {free}{unit} of {limit}{unit} free."
        ))
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "MiB and cores of one host are far below 2^52"
)]
fn scaled(figure: u64, ratio: f64) -> i64 {
    (figure as f64 * ratio).floor() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATIOS: Ratios = Ratios { cpu: 4.0, ram: 1.0, disk: 1.0, reserved_memory_mib: 512 };

    #[test]
    fn what_lacks_is_named_with_its_figures() {
        let capacity = Capacity::new(2, 2560, 10_240, &RATIOS);
        assert_eq!(capacity, Capacity { cores: 8, ram_mib: 2048, disk_mib: 10_240 });
        let promised = Claim { cores: 7, ram_mib: 1024, disk_mib: 0 };
        assert_eq!(capacity.lacks(promised, Claim { cores: 1, ram_mib: 1024, disk_mib: 10_240 }), None);
        let words = capacity.lacks(promised, Claim { cores: 1, ram_mib: 1025, disk_mib: 0 }).unwrap();
        assert_eq!(
            words,
            "There is not enough memory on this host: 1025 MiB asked for, 1024 MiB of 2048 MiB free."
        );
    }
}
