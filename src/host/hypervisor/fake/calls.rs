//! The calls of the trait, each in one piece: the fault that is scripted for it, what guests do when they are looked at, and
//! then the call itself.

use super::{FakeDomain, FakeHypervisor, Manners, connected, failed};
use crate::core::ids::ServerId;
use crate::core::secret::Secret;
use crate::host::faults::{Call, Failure};
use crate::host::hypervisor::spec::{DiskBus, DomainSpec, NicSpec};
use crate::host::hypervisor::statistics::Statistics;
use crate::host::hypervisor::{
    BusAddress, Copying, DeviceAddresses, DomainState, HostEvent, HostFacts, Hypervisor, HypervisorError,
};
use async_trait::async_trait;
use std::os::fd::OwnedFd;
use std::path::Path;
use tokio::sync::broadcast;

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

    async fn device_addresses(&self, id: ServerId) -> Result<DeviceAddresses, HypervisorError> {
        self.call(Call::DeviceAddresses, |inner, _| {
            let Some(domain) = inner.host.domains.get(&id) else { return Ok(DeviceAddresses::default()) };
            let spec = domain.started_with.as_ref().unwrap_or(&domain.spec);
            let address = |number: usize| format!("0000:{number:02x}:00.0");
            let nics = (1..).zip(&spec.nics).map(|(number, nic)| (nic.mac.clone(), address(number)));
            let disks = (0x40..).zip(&spec.disks).filter_map(|(number, disk)| {
                let place = (disk.bus == DiskBus::Virtio)
                    .then(|| BusAddress { bus: "pci", address: address(number) });
                Some((disk.name.clone()?, place))
            });
            Ok(DeviceAddresses { nics: nics.collect(), disks: disks.collect() })
        })
        .await
    }

    async fn attach_nic(&self, id: ServerId, nic: &NicSpec) -> Result<(), HypervisorError> {
        self.call(Call::AttachNic, |inner, _| {
            for spec in inner.ours(id)?.specs() {
                if !spec.nics.iter().any(|known| known.mac == nic.mac) {
                    spec.nics.push(nic.clone());
                }
            }
            Ok(())
        })
        .await
    }

    async fn detach_nic(&self, id: ServerId, mac: &str) -> Result<(), HypervisorError> {
        self.call(Call::DetachNic, |inner, _| {
            let Some(domain) = inner.host.domains.get_mut(&id) else { return Ok(()) };
            for spec in domain.specs() {
                spec.nics.retain(|known| known.mac != mac);
            }
            Ok(())
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
