//! Changes of a domain's power: starting, stopping, standing still, going to the disk. Each looks first.

use super::error::{is, translate};
use super::{ffi, guest};
use crate::host::hypervisor::{DomainState, HypervisorError};
use virt::domain::Domain;
use virt::error::ErrorNumber;
use virt::sys;

type Result<T> = std::result::Result<T, HypervisorError>;

pub fn start(domain: &Domain) -> Result<()> {
    const CALL: &str = "start";
    let runs = |state| matches!(state, DomainState::Running | DomainState::ShuttingDown);
    if runs(guest::state_of(domain, CALL)?) {
        return Ok(());
    }
    match domain.create() {
        Ok(()) => Ok(()),
        // Of two starts at once the later one is told that the domain runs already.
        Err(error) if is(&error, ErrorNumber::OperationInvalid) && runs(guest::state_of(domain, CALL)?) => {
            Ok(())
        }
        Err(error) => Err(translate(CALL, error)),
    }
}

pub fn destroy(domain: &Domain) -> Result<()> {
    const CALL: &str = "destroy";
    let Err(error) = domain.destroy() else { return Ok(()) };
    match domain.is_active() {
        Ok(false) => Ok(()),
        Err(gone) if is(&gone, ErrorNumber::NoDomain) => Ok(()),
        Ok(true) | Err(_) => Err(translate(CALL, error)),
    }
}

fn off() -> HypervisorError {
    HypervisorError::WrongState("the guest is off".into())
}

/// Asks first and looks only when libvirt refuses: a call of so few milliseconds is not preceded by another.
pub fn pause(domain: &Domain) -> Result<()> {
    const CALL: &str = "pause";
    let Err(error) = domain.suspend() else { return Ok(()) };
    match guest::state_of(domain, CALL)? {
        DomainState::Paused => Ok(()),
        DomainState::ShutOff | DomainState::Crashed | DomainState::Saved => Err(off()),
        DomainState::Running | DomainState::PausedOnIoError | DomainState::ShuttingDown => {
            Err(translate(CALL, error))
        }
    }
}

/// As [`pause`], the other way.
pub fn unpause(domain: &Domain) -> Result<()> {
    const CALL: &str = "unpause";
    let Err(error) = domain.resume() else { return Ok(()) };
    match guest::state_of(domain, CALL)? {
        DomainState::Running | DomainState::ShuttingDown => Ok(()),
        DomainState::ShutOff | DomainState::Crashed | DomainState::Saved => Err(off()),
        DomainState::Paused | DomainState::PausedOnIoError => Err(translate(CALL, error)),
    }
}

pub fn save(domain: &Domain) -> Result<()> {
    const CALL: &str = "save";
    let saved = |domain| matches!(guest::state_of(domain, CALL), Ok(DomainState::Saved));
    if saved(domain) {
        return Ok(());
    }
    // However it was when it was saved, it comes back running.
    match domain.managed_save(sys::VIR_DOMAIN_SAVE_RUNNING) {
        Ok(()) => Ok(()),
        Err(_) if saved(domain) => Ok(()),
        Err(error) => Err(translate(CALL, error)),
    }
}

pub fn discard_saved(domain: &Domain) -> Result<()> {
    const CALL: &str = "discard_saved";
    let failed = |error| translate(CALL, error);
    if domain.has_managed_save(0).map_err(failed)? {
        domain.managed_save_remove(0).map_err(failed)?;
    }
    Ok(())
}

pub fn inject_nmi(domain: &Domain) -> Result<()> {
    ffi::inject_nmi(domain).map_err(|error| translate("inject_nmi", error))
}
