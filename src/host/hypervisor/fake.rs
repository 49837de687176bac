//! A hypervisor in memory, with scripted faults and guests that behave as told.
//!
//! For crash and property tests; nothing in the configuration leads here. It keeps to the contract of the trait to
//! the letter, since the same tests run over it and over libvirt. No threads and no timers of its own: a guest acts
//! when it is looked at or when the test says so.

use super::spec::DomainSpec;
use super::{DomainState, HostEvent, HostFacts, Hypervisor, HypervisorError};
use crate::core::ids::ServerId;
use crate::host::faults::{Call, Failure, FaultScript};
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;

/// How a guest answers a request to shut down or to reboot.
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
}

/// One domain of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeDomain {
    pub spec: DomainSpec,
    /// What the guest was started with; differs from `spec` after a redefinition under a running guest.
    pub started_with: Option<DomainSpec>,
    pub state: DomainState,
}

#[derive(Default)]
struct Inner {
    host: Inventory,
    manners: BTreeMap<ServerId, Manners>,
    default_manners: Manners,
    shutting_down: BTreeMap<ServerId, u32>,
    refuses_to_start: BTreeSet<ServerId>,
    displays: BTreeMap<ServerId, UnixStream>,
    serials: BTreeMap<ServerId, UnixStream>,
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
        let result = work(&mut self.lock(), &mut events);
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
        if !self.is_active() {
            self.started_with = None;
        } else if self.started_with.is_none() {
            self.started_with = Some(self.spec.clone());
        }
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
                let domain =
                    FakeDomain { spec: spec.clone(), started_with: None, state: DomainState::ShutOff };
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
            let domain = inner.ours(id)?;
            if domain.is_active() {
                return match domain.state {
                    DomainState::Running | DomainState::ShuttingDown => Ok(()),
                    state => Err(HypervisorError::WrongState(format!("the domain is {state:?}"))),
                };
            }
            if refuses {
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

    async fn request_reboot(&self, id: ServerId) -> Result<(), HypervisorError> {
        self.call(Call::RequestReboot, |inner, events| {
            inner.running(id, "reboot")?;
            match inner.manners(id) {
                Manners::Prompt | Manners::AfterLooks(_) => events.push(HostEvent::DomainRebooted(id)),
                Manners::Deaf => {}
            }
            Ok(())
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::faults::Fault;
    use crate::host::hypervisor::spec::{Firmware, VideoModel};

    fn spec(number: u32) -> DomainSpec {
        DomainSpec {
            id: ServerId::random(),
            name: format!("instance-{number:08x}"),
            display_name: "web".into(),
            flavor_name: "m1.tiny".into(),
            project_id: "p".into(),
            user_id: "u".into(),
            vcpus: 1,
            memory_mib: 64,
            firmware: Firmware::Bios,
            machine: None,
            disks: Vec::new(),
            nics: Vec::new(),
            console_log: "/nowhere/console.log".into(),
            video: VideoModel::Virtio,
            spare_ports: 0,
        }
    }

    #[tokio::test]
    async fn a_life_ends_as_it_began() {
        let fake = FakeHypervisor::new();
        let before = fake.inventory();
        let mut events = fake.events();
        let spec = spec(1);
        fake.define(&spec).await.unwrap();
        fake.start(spec.id).await.unwrap();
        fake.start(spec.id).await.unwrap();
        assert_eq!(fake.state(spec.id).await.unwrap(), Some(DomainState::Running));
        assert!(matches!(fake.undefine(spec.id).await, Err(HypervisorError::WrongState(_))));
        fake.destroy(spec.id).await.unwrap();
        fake.undefine(spec.id).await.unwrap();
        fake.undefine(spec.id).await.unwrap();
        assert_eq!(fake.inventory(), before);
        assert_eq!(events.recv().await.unwrap(), HostEvent::DomainChanged(spec.id));
    }

    #[tokio::test]
    async fn slow_and_deaf_guests() {
        let fake = FakeHypervisor::new();
        let spec = spec(1);
        fake.define(&spec).await.unwrap();
        fake.start(spec.id).await.unwrap();
        fake.set_manners(spec.id, Manners::Deaf);
        fake.request_shutdown(spec.id).await.unwrap();
        assert_eq!(fake.state(spec.id).await.unwrap(), Some(DomainState::Running));
        fake.set_manners(spec.id, Manners::AfterLooks(2));
        fake.request_shutdown(spec.id).await.unwrap();
        assert_eq!(fake.state(spec.id).await.unwrap(), Some(DomainState::Running));
        assert_eq!(fake.state(spec.id).await.unwrap(), Some(DomainState::ShutOff));
    }

    #[tokio::test]
    async fn foreign_domains_are_left_alone() {
        let fake = FakeHypervisor::new();
        let spec = spec(1);
        fake.plant_foreign(spec.id, "somebody-else");
        let before = fake.inventory();
        assert!(matches!(fake.define(&spec).await, Err(HypervisorError::Foreign(_))));
        assert!(matches!(fake.start(spec.id).await, Err(HypervisorError::NotFound(_))));
        fake.destroy(spec.id).await.unwrap();
        fake.undefine(spec.id).await.unwrap();
        assert_eq!(fake.state(spec.id).await.unwrap(), None);
        assert_eq!(fake.inventory(), before);
    }

    #[tokio::test]
    async fn a_failure_after_the_work_leaves_the_work() {
        let fake = FakeHypervisor::new();
        let spec = spec(1);
        fake.define(&spec).await.unwrap();
        fake.faults().nth(Call::Start, 1, Fault::FailAfter(Failure::Deadline));
        assert!(matches!(fake.start(spec.id).await, Err(HypervisorError::Deadline { .. })));
        assert_eq!(fake.state(spec.id).await.unwrap(), Some(DomainState::Running));
    }
}
