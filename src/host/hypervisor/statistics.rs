//! What a guest has used since it was started, as its hypervisor counts. Plain data; what is not known is absent.

use std::collections::BTreeMap;

/// The figures of one running domain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Statistics {
    /// What the guest runs under: `kvm` or `qemu`.
    pub virt_type: &'static str,
    /// Processor time of the guest, the emulator's own included, in nanoseconds.
    pub cpu_time_ns: Option<u64>,
    /// Processor time of each virtual CPU by its number, in nanoseconds.
    pub vcpu_time_ns: BTreeMap<u32, u64>,
    /// The most memory that the guest may have, in KiB.
    pub memory_maximum_kib: Option<u64>,
    /// What the guest's balloon tells, by libvirt's names for it: `actual`, `rss`, `unused`, `usable`, ... (KiB),
    /// `major_fault`, ... (counts), `last_update` (seconds since 1970).
    pub memory: BTreeMap<String, u64>,
    /// In the order of the domain's document.
    pub disks: Vec<DiskStatistics>,
    pub nics: Vec<NicStatistics>,
}

/// The figures of one disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DiskStatistics {
    /// The device's name: `vda`.
    pub target: String,
    pub read_requests: Option<u64>,
    pub read_bytes: Option<u64>,
    pub write_requests: Option<u64>,
    pub write_bytes: Option<u64>,
    pub errors: Option<u64>,
}

/// The figures of one NIC, seen from the guest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NicStatistics {
    /// The name of the interface on the host.
    pub device: String,
    pub received: Traffic,
    pub sent: Traffic,
}

/// One direction of a NIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    pub bytes: Option<u64>,
    pub packets: Option<u64>,
    pub errors: Option<u64>,
    pub dropped: Option<u64>,
}
