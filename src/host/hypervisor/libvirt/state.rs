//! libvirt's states and reasons as the few states that the rest of Dwarfnova tells apart.

use super::ffi::RawState;
use crate::host::hypervisor::DomainState;
use virt::sys;

/// Maps a state. `saved` says whether there is a managed save; `None` means that libvirt does not know the state.
pub fn translate(raw: RawState, saved: bool) -> Option<DomainState> {
    let state = match raw.state {
        // A guest that put itself to sleep is its own master; our guests are told that they cannot.
        sys::VIR_DOMAIN_RUNNING | sys::VIR_DOMAIN_BLOCKED | sys::VIR_DOMAIN_PMSUSPENDED => {
            DomainState::Running
        }
        sys::VIR_DOMAIN_PAUSED => paused(raw.reason.unsigned_abs()),
        sys::VIR_DOMAIN_SHUTDOWN => DomainState::ShuttingDown,
        sys::VIR_DOMAIN_SHUTOFF if saved => DomainState::Saved,
        sys::VIR_DOMAIN_SHUTOFF => shut_off(raw.reason.unsigned_abs()),
        sys::VIR_DOMAIN_CRASHED => DomainState::Crashed,
        _ => return None,
    };
    Some(state)
}

fn paused(reason: u32) -> DomainState {
    match reason {
        sys::VIR_DOMAIN_PAUSED_IOERROR => DomainState::PausedOnIoError,
        sys::VIR_DOMAIN_PAUSED_SHUTTING_DOWN => DomainState::ShuttingDown,
        sys::VIR_DOMAIN_PAUSED_CRASHED => DomainState::Crashed,
        // Moments inside a job of libvirt's, after which the guest goes on.
        sys::VIR_DOMAIN_PAUSED_STARTING_UP
        | sys::VIR_DOMAIN_PAUSED_SAVE
        | sys::VIR_DOMAIN_PAUSED_DUMP
        | sys::VIR_DOMAIN_PAUSED_SNAPSHOT => DomainState::Running,
        _ => DomainState::Paused,
    }
}

fn shut_off(reason: u32) -> DomainState {
    match reason {
        // DAEMON: libvirtd found QEMU gone, or beyond control, when it came back.
        sys::VIR_DOMAIN_SHUTOFF_CRASHED | sys::VIR_DOMAIN_SHUTOFF_DAEMON => DomainState::Crashed,
        _ => DomainState::ShutOff,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(state: u32, reason: u32, saved: bool) -> Option<DomainState> {
        translate(RawState { state, reason: reason.cast_signed() }, saved)
    }

    #[test]
    fn reasons_matter() {
        use DomainState::{Crashed, Paused, PausedOnIoError, Running, Saved, ShutOff};
        assert_eq!(state(sys::VIR_DOMAIN_RUNNING, 1, false), Some(Running));
        assert_eq!(state(sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_USER, false), Some(Paused));
        assert_eq!(
            state(sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_IOERROR, false),
            Some(PausedOnIoError)
        );
        assert_eq!(state(sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_STARTING_UP, false), Some(Running));
        assert_eq!(state(sys::VIR_DOMAIN_SHUTOFF, sys::VIR_DOMAIN_SHUTOFF_DESTROYED, false), Some(ShutOff));
        assert_eq!(state(sys::VIR_DOMAIN_SHUTOFF, sys::VIR_DOMAIN_SHUTOFF_CRASHED, false), Some(Crashed));
        assert_eq!(state(sys::VIR_DOMAIN_SHUTOFF, sys::VIR_DOMAIN_SHUTOFF_SAVED, true), Some(Saved));
        assert_eq!(state(sys::VIR_DOMAIN_SHUTOFF, sys::VIR_DOMAIN_SHUTOFF_SAVED, false), Some(ShutOff));
        assert_eq!(state(sys::VIR_DOMAIN_NOSTATE, 0, false), None);
        assert_eq!(state(77, 0, false), None);
    }
}
