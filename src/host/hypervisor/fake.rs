//! A hypervisor in memory, with scripted faults and guests that behave as told.
//!
//! For crash and property tests; nothing in the configuration leads here. It keeps to the contract of the trait to
//! the letter, since the same tests run over it and over libvirt. No threads and no timers of its own: a guest acts
//! when it is looked at or when the test says so.

mod calls;

use super::spec::{DomainSpec, NicAttachment};
use super::statistics::{DiskStatistics, NicStatistics, Statistics};
use super::{Copying, DomainState, HostEvent, HostFacts, HypervisorError};
use crate::core::ids::ServerId;
use crate::host::faults::{Call, Failure, FaultScript};
use crate::host::net::tap_name;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
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
    /// The definition, and what the guest runs on.
    fn specs(&mut self) -> impl Iterator<Item = &mut DomainSpec> {
        std::iter::once(&mut self.spec).chain(&mut self.started_with)
    }

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

#[cfg(test)]
#[path = "fake_tests.rs"]
mod tests;
