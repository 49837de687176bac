//! The domains of this installation, through libvirt.
//!
//! Each call, before it changes anything, reads the mark of ownership in the metadata of the domain that has the UUID now:
//! domains without the mark of this installation do not exist for us.

use super::connection::{Call, Connection, Lane, Line, resolve_uri};
use super::domain_xml::{self, Rendering, VirtType};
use super::error::{is, translate};
use super::ffi;
use super::ownership::{Ownership, is_ours, lookup, ours};
use super::{copy, devices, facts, figures, hotplug, power, probe, state};
use crate::core::ids::ServerId;
use crate::core::secret::Secret;
use crate::host::disk::inspect::InspectError;
use crate::host::disk::{self, Layer};
use crate::host::hypervisor::spec::{DomainSpec, NicSpec};
use crate::host::hypervisor::statistics::Statistics;
use crate::host::hypervisor::{
    Copying, DeviceAddresses, DomainState, HostEvent, HostFacts, Hypervisor, HypervisorError,
};
use async_trait::async_trait;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{OnceCell, broadcast};
use uuid::Uuid;
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::{Error, ErrorNumber};
use virt::sys;

/// The port that QEMU's guest agent listens on.
const AGENT_PORT: &str = "org.qemu.guest_agent.0";

/// What guests shall run under, as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VirtTypeSetting {
    /// KVM if a probe guest runs under it, else software emulation.
    #[default]
    Auto,
    Kvm,
    Qemu,
}

/// How to reach libvirt and who we are.
#[derive(Debug, Clone)]
pub struct LibvirtConfig {
    /// `auto` or a libvirt URI.
    pub uri: String,
    pub virt_type: VirtTypeSetting,
    /// Names this installation in the mark on each domain and network.
    pub installation: Uuid,
    /// The file that keeps the finding about KVM between starts.
    pub probe_cache: PathBuf,
}

/// The hypervisor behind a libvirt connection.
pub struct LibvirtHost {
    connection: Connection,
    config: LibvirtConfig,
    virt_type: OnceCell<VirtType>,
    ownership: Arc<Ownership>,
}

impl LibvirtHost {
    /// Begins to connect and returns at once. While libvirt cannot be reached, calls say so.
    pub fn connect(config: LibvirtConfig) -> Arc<Self> {
        let ownership = Arc::new(Ownership::default());
        let observer = Arc::clone(&ownership);
        let connection = Connection::open(resolve_uri(&config.uri), move |notice| observer.observe(notice));
        let virt_type = match config.virt_type {
            VirtTypeSetting::Auto => OnceCell::new(),
            VirtTypeSetting::Kvm => OnceCell::new_with(Some(VirtType::Kvm)),
            VirtTypeSetting::Qemu => OnceCell::new_with(Some(VirtType::Qemu)),
        };
        Arc::new(Self { connection, config, virt_type, ownership })
    }

    /// The link, to be shared with the driver for networks.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// What guests run under. The first call probes, which takes about a second; later ones know.
    pub async fn virt_type(&self) -> Result<VirtType, HypervisorError> {
        let probe = || {
            let (installation, cache) = (self.config.installation, self.config.probe_cache.clone());
            let gate = Lane::OneByOne(Uuid::new_v5(&installation, b"kvm-probe"));
            self.connection.call(Call { name: "probe", seconds: 90, lane: gate }, move |connect| {
                probe::find(connect, installation, &cache)
            })
        };
        self.virt_type.get_or_try_init(probe).await.copied()
    }

    /// Runs `work` with the domain, if there is one and it is ours.
    async fn with_domain<T: Send + 'static>(
        &self,
        id: ServerId,
        call: Call,
        work: impl FnOnce(&Domain) -> Result<T, HypervisorError> + Send + 'static,
    ) -> Result<Option<T>, HypervisorError> {
        let owner = self.config.installation;
        self.connection
            .call(call, move |line| match ours(line, id, owner, call.name)? {
                Some(domain) => work(domain).map(Some),
                None => Ok(None),
            })
            .await
    }
}

pub(super) fn state_of(domain: &Domain, call: &'static str) -> Result<DomainState, HypervisorError> {
    let failed = |error| translate(call, error);
    let raw = ffi::domain_state(domain).map_err(failed)?;
    let saved = raw.state == sys::VIR_DOMAIN_SHUTOFF && domain.has_managed_save(0).map_err(failed)?;
    known(raw, saved, call)
}

fn known(raw: ffi::RawState, saved: bool, call: &'static str) -> Result<DomainState, HypervisorError> {
    state::translate(raw, saved).ok_or_else(|| HypervisorError::Failed {
        call,
        message: format!("libvirt does not know the state ({}, {})", raw.state, raw.reason),
        source: None,
    })
}

/// Whether the file's file system lacks direct I/O. A file that cannot be opened fails later, with libvirt's words.
fn lacks_direct_io(path: &Path) -> bool {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECT | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    matches!(open(path, flags, Mode::empty()), Err(Errno::EINVAL))
}

/// What each disk stands on.
type Layers = BTreeMap<PathBuf, Vec<Layer>>;

/// What the disks of a domain stand on, and which of all these files libvirt is not to give to QEMU's user.
fn layers_of(connect: &Connect, spec: &DomainSpec) -> Result<(Layers, BTreeSet<PathBuf>), InspectError> {
    let (mut all, mut keep_owner) = (Layers::new(), BTreeSet::new());
    // Only the system's libvirt changes owners, and only it knows the security model that says so.
    if !connect.uri().is_ok_and(|uri| uri.ends_with("/system")) {
        return Ok((all, keep_owner));
    }
    // A file that is not there is named better by libvirt when the domain is started.
    for disk in spec.disks.iter().filter(|disk| disk.path.exists()) {
        let below = disk::layers(&disk.path, disk.format)?;
        if disk::is_sealed(&disk.path)? {
            keep_owner.insert(disk.path.clone());
        }
        keep_owner.extend(below.iter().filter(|layer| layer.sealed).map(|layer| layer.path.clone()));
        all.insert(disk.path.clone(), below);
    }
    Ok((all, keep_owner))
}

fn define(
    connect: &Connect,
    spec: &DomainSpec,
    virt_type: VirtType,
    owner: Uuid,
) -> Result<(), HypervisorError> {
    const CALL: &str = "define";
    let failed = |error| translate(CALL, error);
    if let Some(domain) = lookup(connect, spec.id, CALL)? {
        if !is_ours(&domain, owner).map_err(failed)? {
            return Err(HypervisorError::Foreign(format!("UUID {}", spec.id)));
        }
    } else {
        match connect.lookup_domain_by_name(&spec.name) {
            Ok(_) => return Err(HypervisorError::Foreign(spec.name.clone())),
            Err(error) if is(&error, ErrorNumber::NoDomain) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let buffered =
        spec.disks.iter().map(|disk| disk.path.clone()).filter(|path| lacks_direct_io(path)).collect();
    let (layers, keep_owner) = layers_of(connect, spec).map_err(|error| HypervisorError::Failed {
        call: CALL,
        message: "the server's disks could not be read".into(),
        source: Some(Box::new(error)),
    })?;
    let rendering = Rendering { virt_type, installation: owner, buffered, layers, keep_owner };
    let xml = domain_xml::render(spec, &rendering).map_err(|error| HypervisorError::Failed {
        call: CALL,
        message: "the domain's document could not be written".into(),
        source: Some(Box::new(error)),
    })?;
    match connect.define_domain_xml(&xml) {
        Ok(_) => Ok(()),
        // Somebody took the name or the UUID since we looked.
        Err(error) if is(&error, ErrorNumber::DomExist) => {
            Err(HypervisorError::Foreign(error.message().to_owned()))
        }
        Err(error) => Err(failed(error)),
    }
}

fn undefine(domain: &Domain) -> Result<(), HypervisorError> {
    const CALL: &str = "undefine";
    // libvirt would make a running domain transient instead of refusing.
    if domain.is_active().map_err(|error| translate(CALL, error))? {
        return Err(HypervisorError::WrongState("cannot undefine a domain that runs".into()));
    }
    let flags = sys::VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
        | sys::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
        | sys::VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
        | sys::VIR_DOMAIN_UNDEFINE_NVRAM;
    match domain.undefine_flags(flags) {
        Ok(()) => Ok(()),
        Err(error) if is(&error, ErrorNumber::NoDomain) => Ok(()),
        Err(error) => Err(translate(CALL, error)),
    }
}

fn all_domains(
    connect: &Connect,
    owner: Uuid,
    ownership: &Ownership,
) -> Result<Vec<(ServerId, DomainState)>, HypervisorError> {
    const CALL: &str = "domains";
    let failed = |error| translate(CALL, error);
    let states = ffi::all_domain_states(connect).map_err(failed)?;
    let mut saved = HashSet::new();
    for domain in connect.list_all_domains(sys::VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE).map_err(failed)? {
        saved.insert(domain.uuid().map_err(failed)?);
    }
    let mut found = Vec::with_capacity(states.len());
    for (uuid, raw) in states {
        if ownership.is_ours(connect, uuid, owner, CALL)? {
            found.push((ServerId(uuid), known(raw, saved.contains(&uuid), CALL)?));
        }
    }
    Ok(found)
}

/// How the figures of one domain are asked for.
type Question = fn(&Domain, VirtType) -> Result<Statistics, Error>;

/// The socket of the guest's first serial port, as the running domain has it.
fn serial_path(xml: &str) -> Option<PathBuf> {
    let document = roxmltree::Document::parse(xml).ok()?;
    let serial = document.descendants().find(|node| node.has_tag_name("serial"))?;
    let source = serial.children().find(|node| node.has_tag_name("source"))?;
    source.attribute("path").map(PathBuf::from)
}

/// Whether the running domain's document says that somebody in the guest has the agent's port open.
fn agent_connected(xml: &str) -> bool {
    let Ok(document) = roxmltree::Document::parse(xml) else { return false };
    document
        .descendants()
        .filter(|node| node.has_tag_name("target") && node.attribute("name") == Some(AGENT_PORT))
        .any(|target| target.attribute("state") == Some("connected"))
}

fn has_agent(domain: &Domain) -> Result<bool, HypervisorError> {
    const CALL: &str = "has_agent";
    let failed = |error| translate(CALL, error);
    if !domain.is_active().map_err(failed)? {
        return Ok(false);
    }
    Ok(agent_connected(&domain.xml_desc(0).map_err(failed)?))
}

fn open_serial(domain: &Domain) -> Result<OwnedFd, HypervisorError> {
    const CALL: &str = "open_serial";
    if !domain.is_active().map_err(|error| translate(CALL, error))? {
        return Err(HypervisorError::WrongState("a domain that is off has no console".into()));
    }
    let xml = domain.xml_desc(0).map_err(|error| translate(CALL, error))?;
    let path = serial_path(&xml)
        .ok_or_else(|| HypervisorError::Unsupported("the domain has no serial console".into()))?;
    let stream = UnixStream::connect(&path).map_err(|error| HypervisorError::Failed {
        call: CALL,
        message: format!("{}: {error}", path.display()),
        source: Some(Box::new(error)),
    })?;
    Ok(stream.into())
}

#[async_trait]
impl Hypervisor for LibvirtHost {
    async fn facts(&self) -> Result<HostFacts, HypervisorError> {
        let virt_type = self.virt_type().await?;
        let call = Call { name: "facts", seconds: 60, lane: Lane::Slow };
        self.connection.call(call, move |connect| facts::gather(connect, virt_type)).await
    }

    async fn define(&self, spec: &DomainSpec) -> Result<(), HypervisorError> {
        let virt_type = self.virt_type().await?;
        let (spec, owner) = (spec.clone(), self.config.installation);
        let call = Call { name: "define", seconds: 60, lane: Lane::Slow };
        self.connection.call(call, move |connect| define(connect, &spec, virt_type, owner)).await
    }

    async fn start(&self, id: ServerId) -> Result<(), HypervisorError> {
        // Restoring a large guest's memory takes its time.
        let call = Call { name: "start", seconds: 600, lane: Lane::OneByOne(id.0) };
        self.with_domain(id, call, power::start).await?.ok_or(HypervisorError::NotFound(id))
    }

    async fn request_shutdown(&self, id: ServerId) -> Result<(), HypervisorError> {
        let call = Call { name: "request_shutdown", seconds: 40, lane: Lane::OneByOne(id.0) };
        let work = |domain: &Domain| domain.shutdown().map_err(|error| translate("request_shutdown", error));
        self.with_domain(id, call, work).await?.ok_or(HypervisorError::NotFound(id))
    }

    async fn pause(&self, id: ServerId) -> Result<(), HypervisorError> {
        let call = Call { name: "pause", seconds: 40, lane: Lane::OneByOne(id.0) };
        self.with_domain(id, call, power::pause).await?.ok_or(HypervisorError::NotFound(id))
    }

    async fn unpause(&self, id: ServerId) -> Result<(), HypervisorError> {
        let call = Call { name: "unpause", seconds: 40, lane: Lane::OneByOne(id.0) };
        self.with_domain(id, call, power::unpause).await?.ok_or(HypervisorError::NotFound(id))
    }

    async fn save(&self, id: ServerId) -> Result<(), HypervisorError> {
        // As long as a large memory takes to be written; a caller that asks again waits for the same save.
        let call = Call { name: "save", seconds: 600, lane: Lane::OneByOne(id.0) };
        self.with_domain(id, call, power::save).await?.ok_or(HypervisorError::NotFound(id))
    }

    async fn discard_saved(&self, id: ServerId) -> Result<(), HypervisorError> {
        let call = Call { name: "discard_saved", seconds: 60, lane: Lane::OneByOne(id.0) };
        self.with_domain(id, call, power::discard_saved).await.map(Option::unwrap_or_default)
    }

    async fn inject_nmi(&self, id: ServerId) -> Result<(), HypervisorError> {
        let call = Call { name: "inject_nmi", seconds: 40, lane: Lane::OneByOne(id.0) };
        self.with_domain(id, call, power::inject_nmi).await?.ok_or(HypervisorError::NotFound(id))
    }

    async fn statistics(&self, id: ServerId) -> Result<Option<Statistics>, HypervisorError> {
        let virt_type = self.virt_type().await?;
        let ask = |question: Question, call: Call| {
            self.with_domain(id, call, move |domain| {
                let failed = |error| translate(call.name, error);
                if !domain.is_active().map_err(failed)? {
                    return Err(HypervisorError::WrongState("a domain that is off uses nothing".into()));
                }
                question(domain, virt_type).map_err(failed)
            })
        };
        let call = Call { name: "statistics", seconds: 2, lane: Lane::OneByOne(id.0) };
        match ask(figures::of, call).await {
            Err(HypervisorError::Deadline { .. }) => {
                let call = Call { name: "statistics", seconds: 10, lane: Lane::Quick };
                ask(figures::without_qemu, call).await
            }
            answered => answered,
        }
    }

    async fn all_statistics(&self) -> Result<Vec<(ServerId, Statistics)>, HypervisorError> {
        let virt_type = self.virt_type().await?;
        // One call for all guests waits for each of their QEMUs. While one hangs, so does that call, and no second one is
        // made: the figures that need no QEMU have to do.
        let lane = Lane::IfFree(Uuid::new_v5(&self.config.installation, b"all-statistics"));
        let call = Call { name: "all_statistics", seconds: 4, lane };
        let (owner, ownership) = (self.config.installation, Arc::clone(&self.ownership));
        let all =
            self.connection.call(call, move |connect| figures::all(connect, owner, &ownership, virt_type));
        match all.await {
            Err(HypervisorError::Deadline { .. }) => {
                let ownership = Arc::clone(&self.ownership);
                let call = Call { name: "all_statistics", seconds: 10, lane: Lane::Quick };
                let little = move |connect: &mut Line| {
                    figures::all_without_qemu(connect, owner, &ownership, virt_type)
                };
                self.connection.call(call, little).await
            }
            answered => answered,
        }
    }

    async fn destroy(&self, id: ServerId) -> Result<(), HypervisorError> {
        // libvirt gives a QEMU that does not answer ten seconds before it kills it.
        let call = Call { name: "destroy", seconds: 60, lane: Lane::Force };
        self.with_domain(id, call, power::destroy).await.map(Option::unwrap_or_default)
    }

    async fn undefine(&self, id: ServerId) -> Result<(), HypervisorError> {
        let call = Call { name: "undefine", seconds: 60, lane: Lane::OneByOne(id.0) };
        self.with_domain(id, call, undefine).await.map(Option::unwrap_or_default)
    }

    async fn state(&self, id: ServerId) -> Result<Option<DomainState>, HypervisorError> {
        let call = Call { name: "state", seconds: 10, lane: Lane::Quick };
        self.with_domain(id, call, |domain| state_of(domain, "state")).await
    }

    async fn domains(&self) -> Result<Vec<(ServerId, DomainState)>, HypervisorError> {
        let (owner, ownership) = (self.config.installation, Arc::clone(&self.ownership));
        let call = Call { name: "domains", seconds: 30, lane: Lane::Quick };
        self.connection.call(call, move |connect| all_domains(connect, owner, &ownership)).await
    }

    async fn device_addresses(&self, id: ServerId) -> Result<DeviceAddresses, HypervisorError> {
        let call = Call { name: "device_addresses", seconds: 10, lane: Lane::Slow };
        self.with_domain(id, call, devices::device_addresses).await.map(Option::unwrap_or_default)
    }

    async fn attach_nic(&self, id: ServerId, nic: &NicSpec) -> Result<(), HypervisorError> {
        let call = Call { name: "attach_nic", seconds: 60, lane: Lane::OneByOne(id.0) };
        let nic = nic.clone();
        let work = move |domain: &Domain| hotplug::attach_nic(domain, &nic);
        self.with_domain(id, call, work).await?.ok_or(HypervisorError::NotFound(id))
    }

    async fn detach_nic(&self, id: ServerId, mac: &str) -> Result<(), HypervisorError> {
        let call = Call { name: "detach_nic", seconds: 60, lane: Lane::OneByOne(id.0) };
        let mac = mac.to_owned();
        let work = move |domain: &Domain| hotplug::detach_nic(domain, &mac);
        self.with_domain(id, call, work).await.map(Option::unwrap_or_default)
    }

    fn events(&self) -> broadcast::Receiver<HostEvent> {
        self.connection.events()
    }

    async fn open_display(&self, id: ServerId) -> Result<OwnedFd, HypervisorError> {
        let call = Call { name: "open_display", seconds: 40, lane: Lane::OneByOne(id.0) };
        let work =
            |domain: &Domain| ffi::open_display(domain).map_err(|error| translate("open_display", error));
        self.with_domain(id, call, work).await?.ok_or(HypervisorError::NotFound(id))
    }

    async fn open_serial(&self, id: ServerId) -> Result<OwnedFd, HypervisorError> {
        let call = Call { name: "open_serial", seconds: 10, lane: Lane::Slow };
        self.with_domain(id, call, open_serial).await?.ok_or(HypervisorError::NotFound(id))
    }

    async fn has_agent(&self, id: ServerId) -> Result<bool, HypervisorError> {
        let call = Call { name: "has_agent", seconds: 10, lane: Lane::Slow };
        self.with_domain(id, call, has_agent).await.map(Option::unwrap_or_default)
    }

    async fn set_user_password(
        &self,
        id: ServerId,
        user: &str,
        password: &Secret,
    ) -> Result<(), HypervisorError> {
        const CALL: &str = "set_user_password";
        let call = Call { name: CALL, seconds: 40, lane: Lane::OneByOne(id.0) };
        let (user, password) = (user.to_owned(), password.clone());
        let work = move |domain: &Domain| {
            domain
                .set_user_password(&user, password.expose(), 0)
                .map(drop)
                .map_err(|error| translate(CALL, error))
        };
        self.with_domain(id, call, work).await?.ok_or(HypervisorError::NotFound(id))
    }

    async fn begin_copy(&self, id: ServerId, disk: &Path, copy: &Path) -> Result<(), HypervisorError> {
        let call = Call { name: "begin_copy", seconds: 60, lane: Lane::OneByOne(id.0) };
        let (disk, copy) = (disk.to_owned(), copy.to_owned());
        let work = move |domain: &Domain| copy::begin(domain, &disk, &copy);
        self.with_domain(id, call, work).await?.ok_or(HypervisorError::NotFound(id))
    }

    async fn look_at_copy(&self, id: ServerId) -> Result<Copying, HypervisorError> {
        let call = Call { name: "look_at_copy", seconds: 40, lane: Lane::OneByOne(id.0) };
        Ok(self.with_domain(id, call, copy::look).await?.unwrap_or(Copying::Nothing))
    }

    async fn abort_copy(&self, id: ServerId) -> Result<(), HypervisorError> {
        let call = Call { name: "abort_copy", seconds: 60, lane: Lane::OneByOne(id.0) };
        self.with_domain(id, call, copy::abort).await.map(Option::unwrap_or_default)
    }

    async fn freeze(&self, id: ServerId) -> Result<bool, HypervisorError> {
        let call = Call { name: "freeze", seconds: 60, lane: Lane::OneByOne(id.0) };
        Ok(self.with_domain(id, call, copy::freeze).await?.unwrap_or(false))
    }

    async fn thaw(&self, id: ServerId) -> Result<bool, HypervisorError> {
        let call = Call { name: "thaw", seconds: 60, lane: Lane::OneByOne(id.0) };
        Ok(self.with_domain(id, call, copy::thaw).await?.unwrap_or(false))
    }
}

#[cfg(test)]
#[path = "guest_tests.rs"]
mod tests;
