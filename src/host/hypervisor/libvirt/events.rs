//! What libvirt tells, as host events for everybody who listens.

use super::ffi::Notice;
use crate::core::ids::ServerId;
use crate::host::hypervisor::HostEvent;
use tokio::sync::broadcast;

/// Passes a notice on. Runs on libvirt's event thread. The supervisor tells of the link itself.
pub fn publish(events: &broadcast::Sender<HostEvent>, notice: Notice) {
    let event = match notice {
        Notice::Lifecycle(uuid) | Notice::IoError(uuid) | Notice::JobEnded(uuid) => {
            HostEvent::DomainChanged(ServerId(uuid))
        }
        Notice::ControlError(uuid) => {
            tracing::warn!(server = %uuid, "libvirt and QEMU no longer understand each other");
            HostEvent::DomainChanged(ServerId(uuid))
        }
        Notice::Rebooted(uuid) => HostEvent::DomainRebooted(ServerId(uuid)),
        Notice::Closed => return,
    };
    send(events, event);
}

/// Sends an event. Nobody listening is no fault: whoever begins to listen looks at everything first.
pub fn send(events: &broadcast::Sender<HostEvent>, event: HostEvent) {
    events.send(event).ok();
}
