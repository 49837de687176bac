//! The machine that runs guests, as the rest of Dwarfnova sees it.
//!
//! Two implementations: `libvirt` (the real one) and `fake` (in memory, with scripted faults, for crash and
//! property tests; not reachable from configuration). Everything is keyed by the server's id, which is the domain's
//! UUID. Only domains that carry our metadata mark and this installation's id are ever changed.

pub mod fake;
pub mod libvirt;
pub mod spec;
pub mod statistics;

use crate::core::ids::ServerId;
use crate::core::secret::Secret;
use async_trait::async_trait;
use spec::{DomainSpec, NicSpec};
use statistics::Statistics;
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::os::fd::OwnedFd;
use std::path::Path;
use tokio::sync::broadcast;

/// Why a call on the hypervisor failed.
#[derive(Debug, thiserror::Error)]
pub enum HypervisorError {
    /// No such domain, or one that is not ours.
    #[error("domain {0} does not exist")]
    NotFound(ServerId),
    /// A domain of this UUID or name exists that Dwarfnova did not make. It was not touched.
    #[error("a domain that Dwarfnova did not create is in the way: {0}")]
    Foreign(String),
    /// The domain is not in a state that allows the call.
    #[error("{0}")]
    WrongState(String),
    /// The connection is down or was lost; the outcome of the call may be unknown.
    #[error("the hypervisor cannot be reached: {0}")]
    Unreachable(String),
    /// The deadline passed; the outcome of the call is unknown and has to be observed.
    #[error("the hypervisor did not answer {call} within {seconds} s")]
    Deadline { call: &'static str, seconds: u64 },
    /// The hypervisor cannot do this on this host.
    #[error("not supported by this hypervisor: {0}")]
    Unsupported(String),
    #[error("{call} failed: {message}")]
    Failed {
        call: &'static str,
        message: String,
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
}

/// What a domain is doing, as last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DomainState {
    Running,
    /// Stopped vCPUs at somebody's wish.
    Paused,
    /// QEMU stopped the guest because its disk could not be written.
    PausedOnIoError,
    /// Asked to shut down, still running.
    ShuttingDown,
    /// Off after a shutdown or a destroy.
    ShutOff,
    /// Off because QEMU died or the guest panicked.
    Crashed,
    /// Off with its memory saved on disk (managed save).
    Saved,
}

/// How far the copy of a running guest's disk has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Copying {
    Running,
    Done,
    /// Why it ended, in the hypervisor's words.
    Failed(String),
    /// None is known: the guest went off, or none was begun.
    Nothing,
}

/// Where devices are on the buses of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceAddresses {
    /// The PCI addresses of NICs, as `0000:01:00.0`, by their MAC addresses in lower case.
    pub nics: BTreeMap<String, String>,
    /// The disks that have a name ([`spec::DiskSpec::name`]), by that name; `None` for one on a bus that guests are told
    /// nothing of.
    pub disks: BTreeMap<String, Option<BusAddress>>,
}

/// A place on a bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusAddress {
    /// `pci`, `scsi`, `ide` or `usb`.
    pub bus: &'static str,
    /// As `0000:01:00.0` on a PCI bus, controller, bus, target and unit as `0:0:0:1` on SCSI, bus and unit as `0:1` on IDE, bus
    /// and port as `0:1` on USB.
    pub address: String,
}

/// What the hypervisor told us without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostEvent {
    /// The state of one domain or of a copy of its disk changed, or it appeared or vanished. Look, do not trust the order of events.
    DomainChanged(ServerId),
    /// The guest rebooted itself.
    DomainRebooted(ServerId),
    /// The connection was lost: guests go on, we are blind.
    Disconnected,
    /// The connection is back; events may have been missed, so look at everything.
    Reconnected,
}

/// Facts about the host, for the scheduler and for `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    pub hostname: String,
    /// `kvm` or `qemu` (software emulation): what guests really run under.
    pub virt_type: String,
    /// As libvirt counts: major * 1_000_000 + minor * 1_000 + release.
    pub hypervisor_version: u64,
    pub libvirt_version: u64,
    pub cpus: u32,
    pub memory_mib: u64,
    /// CPU facts in the form that Nova's `cpu_info` uses.
    pub cpu_model: String,
    pub cpu_vendor: String,
    pub cpu_sockets: u32,
    pub cpu_cores: u32,
    pub cpu_threads: u32,
}

/// Drives the domains of this installation.
///
/// Each `ensure`-like call succeeds when the wished-for state already holds.
#[async_trait]
pub trait Hypervisor: Send + Sync {
    async fn facts(&self) -> Result<HostFacts, HypervisorError>;

    /// Makes the persistent definition equal to `spec`; a running domain keeps running on what it was started with.
    async fn define(&self, spec: &DomainSpec) -> Result<(), HypervisorError>;

    /// Ensures that the domain runs (also from a managed save).
    async fn start(&self, id: ServerId) -> Result<(), HypervisorError>;

    /// Asks the guest to shut down (guest agent or ACPI) and returns at once.
    async fn request_shutdown(&self, id: ServerId) -> Result<(), HypervisorError>;

    /// Ensures that the running guest's processors stand still. Its memory stays where it is.
    async fn pause(&self, id: ServerId) -> Result<(), HypervisorError>;

    /// Ensures that a paused guest goes on, whatever paused it.
    async fn unpause(&self, id: ServerId) -> Result<(), HypervisorError>;

    /// Ensures that the guest is off and its memory on the disk, from where [`Hypervisor::start`] takes it, after a
    /// reboot of the host too. Takes as long as writing the memory does.
    async fn save(&self, id: ServerId) -> Result<(), HypervisorError>;

    /// Ensures that no memory of the guest is on the disk: its next start is a boot. An absent domain is fine.
    async fn discard_saved(&self, id: ServerId) -> Result<(), HypervisorError>;

    /// Sends the guest a non-maskable interrupt, at which a guest that is set up so writes a crash dump.
    async fn inject_nmi(&self, id: ServerId) -> Result<(), HypervisorError>;

    /// What the running guest has used so far; `None` if there is no such domain (or one that is not ours). Of a guest
    /// whose QEMU does not answer within two seconds, only what can be known without it.
    async fn statistics(&self, id: ServerId) -> Result<Option<Statistics>, HypervisorError>;

    /// As [`Hypervisor::statistics`], of all running domains that are ours.
    async fn all_statistics(&self) -> Result<Vec<(ServerId, Statistics)>, HypervisorError>;

    /// Ensures that the domain does not run, by force. An absent domain is fine.
    async fn destroy(&self, id: ServerId) -> Result<(), HypervisorError>;

    /// Ensures that there is no definition, nor managed save, NVRAM or snapshot metadata of it. The domain must not run.
    async fn undefine(&self, id: ServerId) -> Result<(), HypervisorError>;

    /// The domain's state, or `None` if there is no such domain (or one that is not ours).
    async fn state(&self, id: ServerId) -> Result<Option<DomainState>, HypervisorError>;

    /// All domains that are ours.
    async fn domains(&self) -> Result<Vec<(ServerId, DomainState)>, HypervisorError>;

    /// Where the domain's devices are: where the guest finds them if it runs, and will find them if it does not. An absent
    /// domain has none.
    async fn device_addresses(&self, id: ServerId) -> Result<DeviceAddresses, HypervisorError>;

    /// Ensures that the domain has this NIC: in its definition, and if it runs, plugged in.
    async fn attach_nic(&self, id: ServerId, nic: &NicSpec) -> Result<(), HypervisorError>;

    /// Ensures that the domain has no NIC with this MAC address. A guest that runs is asked to let go of it;
    /// [`HypervisorError::Deadline`] where it has not within a time. An absent domain is fine.
    async fn detach_nic(&self, id: ServerId, mac: &str) -> Result<(), HypervisorError>;

    /// Subscribes to what happens on the host. A receiver that lags has to look at everything.
    fn events(&self) -> broadcast::Receiver<HostEvent>;

    /// A stream socket that speaks the VNC protocol with the running guest's display. Nothing else can reach it.
    async fn open_display(&self, id: ServerId) -> Result<OwnedFd, HypervisorError>;

    /// A stream socket connected to the running guest's first serial port. One client at a time is served.
    async fn open_serial(&self, id: ServerId) -> Result<OwnedFd, HypervisorError>;

    /// Whether an agent in the guest has opened its port. A guest that does not run has none.
    async fn has_agent(&self, id: ServerId) -> Result<bool, HypervisorError>;

    /// Lets the guest's agent set the password of a user of the guest; [`HypervisorError::Unsupported`] where no agent
    /// answers.
    async fn set_user_password(
        &self,
        id: ServerId,
        user: &str,
        password: &Secret,
    ) -> Result<(), HypervisorError>;

    /// Begins to copy what `disk`, the file of a disk of an active domain, shows to its guest at this very moment into
    /// `copy`, an empty qcow2 image of the same virtual size, and returns. The guest goes on, on its own disk: nothing
    /// is put above it. One copy at a time for each domain.
    async fn begin_copy(&self, id: ServerId, disk: &Path, copy: &Path) -> Result<(), HypervisorError>;

    /// What became of the copy that was begun last. Its end is told as [`HostEvent::DomainChanged`].
    async fn look_at_copy(&self, id: ServerId) -> Result<Copying, HypervisorError>;

    /// Ensures that no copy is being made. An absent domain is fine.
    async fn abort_copy(&self, id: ServerId) -> Result<(), HypervisorError>;

    /// Lets the guest's agent write out and freeze all file systems; says whether there is an agent that did.
    async fn freeze(&self, id: ServerId) -> Result<bool, HypervisorError>;

    /// Lets the guest's agent thaw all file systems; says whether there is an agent that did.
    async fn thaw(&self, id: ServerId) -> Result<bool, HypervisorError>;
}
