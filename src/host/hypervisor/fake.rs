//! A hypervisor in memory, with scripted faults and guests that behave as told.
//!
//! For crash and property tests; nothing in the configuration leads here. It keeps to the contract of the trait to
//! the letter, since the same tests run over it and over libvirt. No threads and no timers of its own: a guest acts
//! when it is looked at or when the test says so.

use super::spec::{DomainSpec, NicAttachment};
use super::statistics::{DiskStatistics, NicStatistics, Statistics};
use super::{Copying, DomainState, HostEvent, HostFacts, Hypervisor, HypervisorError};
use crate::core::ids::ServerId;
use crate::core::secret::Secret;
use crate::host::faults::{Call, Failure, FaultScript};
use crate::host::net::tap_name;
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;

/// How a guest answers a request to shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Manners {
    /// Before the request returns.
    #[default]
    Prompt,
    /// When its state has been looked at this many times after the request.
    AfterLooks(u32),
    /// Never, as guests without ACPI do.
    Deaf,
}

/// Everything that exists on the fake host. Two equal inventories mean that nothing was left behind or lost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    pub domains: BTreeMap<ServerId, FakeDomain>,
    /// UUID and name of domains that somebody else made.
    pub foreign: BTreeMap<ServerId, String>,
    /// Copies of disks that are being made, by the copies' files.
    pub copies: BTreeMap<ServerId, PathBuf>,
    /// Guests whose file systems are frozen.
    pub frozen: BTreeSet<ServerId>,
}

/// One domain of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeDomain {
    pub spec: DomainSpec,
    /// What the guest was started with; differs from `spec` after a redefinition under a running guest.
    pub started_with: Option<DomainSpec>,
    pub state: DomainState,
    /// How often the guest began from its disk.
    pub boots: u32,
}

#[derive(Default)]
struct Inner {
    host: Inventory,
    manners: BTreeMap<ServerId, Manners>,
    default_manners: Manners,
    shutting_down: BTreeMap<ServerId, u32>,
    refuses_to_start: BTreeSet<ServerId>,
    unreadable: BTreeSet<ServerId>,
    interrupted: BTreeMap<ServerId, u32>,
    /// Guests with an agent, and the passwords that it set, by user.
    agents: BTreeMap<ServerId, BTreeMap<String, String>>,
    displays: BTreeMap<ServerId, UnixStream>,
    serials: BTreeMap<ServerId, UnixStream>,
    /// What became of the last copies.
    copied: BTreeMap<ServerId, Copying>,
    copies_fail: BTreeSet<ServerId>,
}

/// The in-memory hypervisor.
pub struct FakeHypervisor {
    inner: Mutex<Inner>,
    faults: FaultScript,
    down: AtomicBool,
    facts: HostFacts,
    events: broadcast::Sender<HostEvent>,
}

impl Default for FakeHypervisor {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeHypervisor {
    pub fn new() -> Self {
        Self::with_facts(HostFacts {
            hostname: "fake-host".into(),
            virt_type: "qemu".into(),
            hypervisor_version: 7_002_000,
            libvirt_version: 9_000_000,
            cpus: 8,
            memory_mib: 64 * 1024,
            cpu_model: "qemu64".into(),
            cpu_vendor: "Fake".into(),
            cpu_sockets: 1,
            cpu_cores: 8,
            cpu_threads: 1,
        })
    }

    pub fn with_facts(facts: HostFacts) -> Self {
        Self {
            inner: Mutex::default(),
            faults: FaultScript::default(),
            down: AtomicBool::new(false),
            facts,
            events: broadcast::channel(4096).0,
        }
    }

    /// The script of faults, to be written by a test.
    pub fn faults(&self) -> &FaultScript {
        &self.faults
    }

    /// A copy of all that exists.
    pub fn inventory(&self) -> Inventory {
        self.lock().host.clone()
    }

    /// How this guest answers requests from now on.
    pub fn set_manners(&self, id: ServerId, manners: Manners) {
        self.lock().manners.insert(id, manners);
    }

    /// How guests answer for which nothing else was set.
    pub fn set_default_manners(&self, manners: Manners) {
        self.lock().default_manners = manners;
    }

    /// Whether starting this domain fails, as with a broken firmware or disk.
    pub fn set_refuses_to_start(&self, id: ServerId, refuses: bool) {
        let mut inner = self.lock();
        if refuses {
            inner.refuses_to_start.insert(id);
        } else {
            inner.refuses_to_start.remove(&id);
        }
    }

    /// Makes the saved memory of this domain unreadable, as on a damaged disk, until it is discarded.
    pub fn damage_saved(&self, id: ServerId) {
        self.lock().unreadable.insert(id);
    }

    /// How many non-maskable interrupts a guest has got.
    pub fn interrupts(&self, id: ServerId) -> u32 {
        self.lock().interrupted.get(&id).copied().unwrap_or_default()
    }

    /// Lets an agent run in this guest.
    pub fn install_agent(&self, id: ServerId) {
        self.lock().agents.entry(id).or_default();
    }

    /// The password that the guest's agent set for this user.
    pub fn password_of(&self, id: ServerId, user: &str) -> Option<String> {
        self.lock().agents.get(&id)?.get(user).cloned()
    }

    /// Whether copies of this guest's disk break off, as on a full disk.
    pub fn set_copies_fail(&self, id: ServerId, fail: bool) {
        let mut inner = self.lock();
        if fail {
            inner.copies_fail.insert(id);
        } else {
            inner.copies_fail.remove(&id);
        }
    }

    /// Puts a domain of somebody else on the host.
    pub fn plant_foreign(&self, id: ServerId, name: &str) {
        self.lock().host.foreign.insert(id, name.to_owned());
    }

    /// Sets a domain's state from outside (guest shut itself down, QEMU died, somebody used virsh) and tells so.
    pub fn set_state(&self, id: ServerId, state: DomainState) {
        self.set_state_silently(id, state);
        self.emit(HostEvent::DomainChanged(id));
    }

    /// As [`FakeHypervisor::set_state`], with the event lost.
    pub fn set_state_silently(&self, id: ServerId, state: DomainState) {
        let mut inner = self.lock();
        inner.shutting_down.remove(&id);
        if let Some(domain) = inner.host.domains.get_mut(&id) {
            domain.enter(state);
        }
        inner.forget_what_runs(id);
    }

    /// Removes a domain behind our back and tells so.
    pub fn vanish(&self, id: ServerId) {
        self.lock().host.domains.remove(&id);
        self.emit(HostEvent::DomainChanged(id));
    }

    /// The guest's end of the display that was opened last.
    pub fn take_display(&self, id: ServerId) -> Option<UnixStream> {
        self.lock().displays.remove(&id)
    }

    /// The guest's end of the serial port that was opened last.
    pub fn take_serial(&self, id: ServerId) -> Option<UnixStream> {
        self.lock().serials.remove(&id)
    }

    /// Sends an event to whoever listens.
    pub fn emit(&self, event: HostEvent) {
        // Nobody listening is no fault: events are hints, and listeners look at everything when they begin.
        self.events.send(event).ok();
    }

    /// Breaks the connection: calls fail as unreachable, guests go on.
    pub fn disconnect(&self) {
        self.down.store(true, Ordering::SeqCst);
        self.emit(HostEvent::Disconnected);
    }

    /// Brings the connection back.
    pub fn reconnect(&self) {
        self.down.store(false, Ordering::SeqCst);
        self.emit(HostEvent::Reconnected);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one call under the script of faults.
    async fn call<T>(
        &self,
        call: Call,
        work: impl FnOnce(&mut Inner, &mut Vec<HostEvent>) -> Result<T, HypervisorError> + Send,
    ) -> Result<T, HypervisorError> {
        let met = self.faults.meet(call).await;
        if self.down.load(Ordering::SeqCst) {
            return Err(HypervisorError::Unreachable("the fake host is disconnected".into()));
        }
        if let Some(failure) = met.before {
            return Err(failed(call, failure));
        }
        let mut events = Vec::new();
        let result = {
            let mut inner = self.lock();
            let result = work(&mut inner, &mut events);
            let active = inner.host.copies.keys().chain(&inner.host.frozen).chain(inner.copied.keys());
            for id in active.copied().collect::<BTreeSet<_>>() {
                inner.forget_what_runs(id);
            }
            result
        };
        for event in events {
            self.emit(event);
        }
        match met.after {
            Some(failure) => Err(failed(call, failure)),
            None => result,
        }
    }
}

impl FakeDomain {
    fn is_active(&self) -> bool {
        match self.state {
            DomainState::Running
            | DomainState::Paused
            | DomainState::PausedOnIoError
            | DomainState::ShuttingDown => true,
            DomainState::ShutOff | DomainState::Crashed | DomainState::Saved => false,
        }
    }

    fn enter(&mut self, state: DomainState) {
        self.state = state;
        if self.is_active() {
            if self.started_with.is_none() {
                self.started_with = Some(self.spec.clone());
                self.boots += 1;
            }
        } else if state != DomainState::Saved {
            self.started_with = None;
        }
    }
}

impl FakeDomain {
    /// Figures of a guest that has done next to nothing; `None` of one that is off.
    fn statistics(&self) -> Option<Statistics> {
        let spec = self.started_with.as_ref().filter(|_| self.is_active())?;
        let memory_kib = spec.memory_mib * 1024;
        let disk = |target: &String| DiskStatistics {
            target: target.clone(),
            read_requests: Some(1),
            read_bytes: Some(512),
            write_requests: Some(0),
            write_bytes: Some(0),
            errors: None,
        };
        Some(Statistics {
            virt_type: "qemu",
            cpu_time_ns: Some(1_000_000_000),
            vcpu_time_ns: (0..spec.vcpus).map(|number| (number, 1_000_000)).collect(),
            memory_maximum_kib: Some(memory_kib),
            memory: BTreeMap::from([("actual".to_owned(), memory_kib)]),
            disks: spec.disks.iter().map(|each| disk(&each.target)).collect(),
            nics: spec
                .nics
                .iter()
                .filter(|nic| matches!(nic.attachment, NicAttachment::HostNetwork { .. }))
                .map(|nic| NicStatistics { device: tap_name(nic.port), ..NicStatistics::default() })
                .collect(),
        })
    }
}

impl Inner {
    fn ours(&mut self, id: ServerId) -> Result<&mut FakeDomain, HypervisorError> {
        self.host.domains.get_mut(&id).ok_or(HypervisorError::NotFound(id))
    }

    fn running(&mut self, id: ServerId, wish: &str) -> Result<(), HypervisorError> {
        let domain = self.ours(id)?;
        match domain.state {
            DomainState::Running | DomainState::ShuttingDown => Ok(()),
            state => Err(HypervisorError::WrongState(format!("cannot {wish} a domain that is {state:?}"))),
        }
    }

    fn manners(&self, id: ServerId) -> Manners {
        self.manners.get(&id).copied().unwrap_or(self.default_manners)
    }

    /// What lives in the guest's process ends with it.
    fn forget_what_runs(&mut self, id: ServerId) {
        if !self.host.domains.get(&id).is_some_and(FakeDomain::is_active) {
            self.host.copies.remove(&id);
            self.host.frozen.remove(&id);
            self.copied.remove(&id);
        }
    }

    fn active(&mut self, id: ServerId, wish: &str) -> Result<(), HypervisorError> {
        let domain = self.ours(id)?;
        if domain.is_active() {
            return Ok(());
        }
        Err(HypervisorError::WrongState(format!("cannot {wish} a domain that is {:?}", domain.state)))
    }

    /// Lets a guest that takes its time come one look nearer to being off.
    fn look(&mut self, id: ServerId, events: &mut Vec<HostEvent>) {
        let Some(left) = self.shutting_down.get_mut(&id) else { return };
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.shutting_down.remove(&id);
            if let Some(domain) = self.host.domains.get_mut(&id) {
                domain.enter(DomainState::ShutOff);
                events.push(HostEvent::DomainChanged(id));
            }
        }
    }
}

/// Connects the caller with the guest's end, which waits for the test to take it.
fn connected(ends: &mut BTreeMap<ServerId, UnixStream>, id: ServerId) -> Result<OwnedFd, HypervisorError> {
    let (near, far) = UnixStream::pair().map_err(|error| HypervisorError::Failed {
        call: "socketpair",
        message: error.to_string(),
        source: Some(Box::new(error)),
    })?;
    ends.insert(id, far);
    Ok(near.into())
}

fn failed(call: Call, failure: Failure) -> HypervisorError {
    match failure {
        Failure::Failed => {
            HypervisorError::Failed { call: call.name(), message: "scripted fault".into(), source: None }
        }
        Failure::Unreachable => HypervisorError::Unreachable("scripted fault".into()),
        Failure::Deadline => HypervisorError::Deadline { call: call.name(), seconds: 1 },
    }
}

#[async_trait]
impl Hypervisor for FakeHypervisor {
    async fn facts(&self) -> Result<HostFacts, HypervisorError> {
        self.call(Call::Facts, |_, _| Ok(self.facts.clone())).await
    }

    async fn define(&self, spec: &DomainSpec) -> Result<(), HypervisorError> {
        self.call(Call::Define, |inner, events| {
            let in_the_way = inner.host.foreign.contains_key(&spec.id)
                || inner.host.foreign.values().any(|name| *name == spec.name)
                || inner.host.domains.values().any(|d| d.spec.name == spec.name && d.spec.id != spec.id);
            if in_the_way {
                return Err(HypervisorError::Foreign(spec.name.clone()));
            }
            if let Some(domain) = inner.host.domains.get_mut(&spec.id) {
                domain.spec = spec.clone();
            } else {
                let domain = FakeDomain {
                    spec: spec.clone(),
                    started_with: None,
                    state: DomainState::ShutOff,
                    boots: 0,
                };
                inner.host.domains.insert(spec.id, domain);
            }
            events.push(HostEvent::DomainChanged(spec.id));
            Ok(())
        })
        .await
    }

    async fn start(&self, id: ServerId) -> Result<(), HypervisorError> {
        self.call(Call::Start, |inner, events| {
            let refuses = inner.refuses_to_start.contains(&id);
            let unreadable = inner.unreadable.contains(&id);
            let domain = inner.ours(id)?;
            if domain.is_active() {
                return match domain.state {
                    DomainState::Running | DomainState::ShuttingDown => Ok(()),
                    state => Err(HypervisorError::WrongState(format!("the domain is {state:?}"))),
                };
            }
            if refuses || (unreadable && domain.state == DomainState::Saved) {
                return Err(failed(Call::Start, Failure::Failed));
            }
            domain.enter(DomainState::Running);
            events.push(HostEvent::DomainChanged(id));
            Ok(())
        })
        .await
    }

    async fn request_shutdown(&self, id: ServerId) -> Result<(), HypervisorError> {
        self.call(Call::RequestShutdown, |inner, events| {
            inner.running(id, "shut down")?;
            match inner.manners(id) {
                Manners::Prompt => {
                    inner.ours(id)?.enter(DomainState::ShutOff);
                    events.push(HostEvent::DomainChanged(id));
                }
                Manners::AfterLooks(looks) => {
                    inner.shutting_down.insert(id, looks);
                }
                Manners::Deaf => {}
            }
            Ok(())
        })
        .await
    }

    async fn pause(&self, id: ServerId) -> Result<(), HypervisorError> {
        self.call(Call::Pause, |inner, events| {
            if inner.ours(id)?.state == DomainState::Paused {
                return Ok(());
            }
            inner.running(id, "pause")?;
            inner.shutting_down.remove(&id);
            inner.ours(id)?.enter(DomainState::Paused);
            events.push(HostEvent::DomainChanged(id));
            Ok(())
        })
        .await
    }

    async fn unpause(&self, id: ServerId) -> Result<(), HypervisorError> {
        self.call(Call::Unpause, |inner, events| {
            let domain = inner.ours(id)?;
            match domain.state {
                DomainState::Running | DomainState::ShuttingDown => return Ok(()),
                DomainState::Paused | DomainState::PausedOnIoError => domain.enter(DomainState::Running),
                state => {
                    return Err(HypervisorError::WrongState(format!(
                        "cannot unpause a domain that is {state:?}"
                    )));
                }
            }
            events.push(HostEvent::DomainChanged(id));
            Ok(())
        })
        .await
    }

    async fn save(&self, id: ServerId) -> Result<(), HypervisorError> {
        self.call(Call::Save, |inner, events| {
            let domain = inner.ours(id)?;
            if domain.state == DomainState::Saved {
                return Ok(());
            }
            if !domain.is_active() {
                return Err(HypervisorError::WrongState("cannot save a domain that is off".into()));
            }
            domain.enter(DomainState::Saved);
            inner.shutting_down.remove(&id);
            events.push(HostEvent::DomainChanged(id));
            Ok(())
        })
        .await
    }

    async fn discard_saved(&self, id: ServerId) -> Result<(), HypervisorError> {
        self.call(Call::DiscardSaved, |inner, _| {
            inner.unreadable.remove(&id);
            if let Some(domain) = inner.host.domains.get_mut(&id)
                && domain.state == DomainState::Saved
            {
                domain.enter(DomainState::ShutOff);
            }
            Ok(())
        })
        .await
    }

    async fn inject_nmi(&self, id: ServerId) -> Result<(), HypervisorError> {
        self.call(Call::InjectNmi, |inner, _| {
            if !inner.ours(id)?.is_active() {
                return Err(HypervisorError::WrongState("cannot interrupt a domain that is off".into()));
            }
            *inner.interrupted.entry(id).or_default() += 1;
            Ok(())
        })
        .await
    }

    async fn statistics(&self, id: ServerId) -> Result<Option<Statistics>, HypervisorError> {
        self.call(Call::Statistics, |inner, _| {
            let Some(domain) = inner.host.domains.get(&id) else { return Ok(None) };
            domain
                .statistics()
                .map(Some)
                .ok_or_else(|| HypervisorError::WrongState("a domain that is off uses nothing".into()))
        })
        .await
    }

    async fn all_statistics(&self) -> Result<Vec<(ServerId, Statistics)>, HypervisorError> {
        self.call(Call::Statistics, |inner, _| {
            let domains = inner.host.domains.iter();
            Ok(domains.filter_map(|(id, domain)| Some((*id, domain.statistics()?))).collect())
        })
        .await
    }

    async fn destroy(&self, id: ServerId) -> Result<(), HypervisorError> {
        self.call(Call::Destroy, |inner, events| {
            inner.shutting_down.remove(&id);
            if let Some(domain) = inner.host.domains.get_mut(&id)
                && domain.is_active()
            {
                domain.enter(DomainState::ShutOff);
                events.push(HostEvent::DomainChanged(id));
            }
            Ok(())
        })
        .await
    }

    async fn undefine(&self, id: ServerId) -> Result<(), HypervisorError> {
        self.call(Call::Undefine, |inner, events| {
            let Some(domain) = inner.host.domains.get(&id) else { return Ok(()) };
            if domain.is_active() {
                return Err(HypervisorError::WrongState("cannot undefine a domain that runs".into()));
            }
            inner.host.domains.remove(&id);
            events.push(HostEvent::DomainChanged(id));
            Ok(())
        })
        .await
    }

    async fn state(&self, id: ServerId) -> Result<Option<DomainState>, HypervisorError> {
        self.call(Call::State, |inner, events| {
            inner.look(id, events);
            Ok(inner.host.domains.get(&id).map(|domain| domain.state))
        })
        .await
    }

    async fn domains(&self) -> Result<Vec<(ServerId, DomainState)>, HypervisorError> {
        self.call(Call::Domains, |inner, _| {
            Ok(inner.host.domains.iter().map(|(id, domain)| (*id, domain.state)).collect())
        })
        .await
    }

    fn events(&self) -> broadcast::Receiver<HostEvent> {
        self.events.subscribe()
    }

    async fn open_display(&self, id: ServerId) -> Result<OwnedFd, HypervisorError> {
        self.call(Call::OpenDisplay, |inner, _| {
            inner.running(id, "show")?;
            connected(&mut inner.displays, id)
        })
        .await
    }

    async fn open_serial(&self, id: ServerId) -> Result<OwnedFd, HypervisorError> {
        self.call(Call::OpenSerial, |inner, _| {
            inner.running(id, "talk to")?;
            connected(&mut inner.serials, id)
        })
        .await
    }

    async fn has_agent(&self, id: ServerId) -> Result<bool, HypervisorError> {
        self.call(Call::HasAgent, |inner, _| {
            Ok(inner.running(id, "ask").is_ok() && inner.agents.contains_key(&id))
        })
        .await
    }

    async fn set_user_password(
        &self,
        id: ServerId,
        user: &str,
        password: &Secret,
    ) -> Result<(), HypervisorError> {
        self.call(Call::SetUserPassword, |inner, _| {
            inner.running(id, "ask")?;
            let Some(users) = inner.agents.get_mut(&id) else {
                return Err(HypervisorError::Unsupported("no agent answers in the guest".into()));
            };
            users.insert(user.to_owned(), password.expose().to_owned());
            Ok(())
        })
        .await
    }

    async fn begin_copy(&self, id: ServerId, disk: &Path, copy: &Path) -> Result<(), HypervisorError> {
        self.call(Call::BeginCopy, |inner, _| {
            inner.active(id, "copy the disk of")?;
            let runs_on = inner.ours(id)?.started_with.as_ref();
            if !runs_on.is_some_and(|spec| spec.disks.iter().any(|found| found.path == disk)) {
                return Err(failed(Call::BeginCopy, Failure::Failed));
            }
            if inner.host.copies.contains_key(&id) {
                return Err(HypervisorError::WrongState("a copy is being made already".into()));
            }
            inner.copied.remove(&id);
            inner.host.copies.insert(id, copy.to_owned());
            Ok(())
        })
        .await
    }

    /// A copy is at its end when it is looked at.
    async fn look_at_copy(&self, id: ServerId) -> Result<Copying, HypervisorError> {
        self.call(Call::LookAtCopy, |inner, _| {
            if inner.host.copies.remove(&id).is_some() {
                let fails = inner.copies_fail.contains(&id);
                let end = if fails { Copying::Failed("scripted fault".into()) } else { Copying::Done };
                inner.copied.insert(id, end);
            }
            Ok(inner.copied.get(&id).cloned().unwrap_or(Copying::Nothing))
        })
        .await
    }

    async fn abort_copy(&self, id: ServerId) -> Result<(), HypervisorError> {
        self.call(Call::AbortCopy, |inner, _| {
            inner.host.copies.remove(&id);
            inner.copied.remove(&id);
            Ok(())
        })
        .await
    }

    async fn freeze(&self, id: ServerId) -> Result<bool, HypervisorError> {
        self.call(Call::Freeze, |inner, _| {
            let has_agent = inner.running(id, "freeze").is_ok() && inner.agents.contains_key(&id);
            if has_agent {
                inner.host.frozen.insert(id);
            }
            Ok(has_agent)
        })
        .await
    }

    async fn thaw(&self, id: ServerId) -> Result<bool, HypervisorError> {
        self.call(Call::Thaw, |inner, _| {
            let has_agent = inner.running(id, "thaw").is_ok() && inner.agents.contains_key(&id);
            if has_agent {
                inner.host.frozen.remove(&id);
            }
            Ok(has_agent)
        })
        .await
    }
}

#[cfg(test)]
#[path = "fake_tests.rs"]
mod tests;
