//! How the node stands: what administrators say of it while it runs, and what that means for servers.

/// The services that Nova would have on this host; all of them are this process. A service's number is its place here,
/// from 1.
pub const SERVICES: [&str; 3] = ["nova-scheduler", "nova-conductor", COMPUTE];

/// The service that runs guests.
pub const COMPUTE: &str = "nova-compute";

/// The zone of the services that run no guests.
pub const INTERNAL_ZONE: &str = "internal";

/// Why a node that takes no servers is not found, in the words of Nova's scheduler.
pub const NO_HOST: &str = "There are not enough hosts available.";

/// What administrators said of one service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceState {
    pub disabled: bool,
    pub disabled_reason: Option<String>,
    /// To be taken for dead.
    pub forced_down: bool,
    /// Deleted, and gone until the next start of the daemon.
    pub removed: bool,
}

/// A change of the service that runs guests. `None` leaves a part as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceChange {
    pub status: Option<ServiceStatus>,
    pub forced_down: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceStatus {
    Enabled,
    /// With a reason, if one was given.
    Disabled(Option<String>),
}

impl ServiceChange {
    pub fn apply(self, state: &mut ServiceState) {
        match self.status {
            None => {}
            Some(ServiceStatus::Enabled) => (state.disabled, state.disabled_reason) = (false, None),
            Some(ServiceStatus::Disabled(reason)) => (state.disabled, state.disabled_reason) = (true, reason),
        }
        if let Some(forced_down) = self.forced_down {
            state.forced_down = forced_down;
        }
    }
}

/// How the node stands at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The availability zone that the node is in.
    pub zone: String,
    /// Of the service that runs guests.
    pub compute: ServiceState,
}

impl Standing {
    /// Whether servers may be placed on the node.
    pub fn takes_servers(&self) -> bool {
        let ServiceState { disabled, forced_down, removed, .. } = self.compute;
        !(disabled || forced_down || removed)
    }

    /// Whether the node is the host of an available zone.
    pub fn offers(&self, zone: &str) -> bool {
        zone == self.zone && !self.compute.disabled && !self.compute.removed
    }

    /// How its servers show their host.
    pub fn host_status(&self) -> &'static str {
        match &self.compute {
            ServiceState { removed: true, .. } => "UNKNOWN",
            ServiceState { forced_down: true, .. } => "DOWN",
            ServiceState { disabled: true, .. } => "MAINTENANCE",
            _ => "UP",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_the_service_decides_what_the_node_offers() {
        let standing = |change: ServiceChange| {
            let mut compute = ServiceState::default();
            change.apply(&mut compute);
            Standing { zone: "nova".into(), compute }
        };
        let up = standing(ServiceChange::default());
        assert!(up.takes_servers() && up.offers("nova") && !up.offers("other"));
        let reason = Some("repairs".to_owned());
        let disabled = ServiceStatus::Disabled(reason.clone());
        let mut off = standing(ServiceChange { status: Some(disabled), forced_down: None });
        assert_eq!(off.compute.disabled_reason, reason);
        assert!(!off.takes_servers() && !off.offers("nova"));
        assert_eq!(off.host_status(), "MAINTENANCE");
        let down = standing(ServiceChange { status: None, forced_down: Some(true) });
        assert!(!down.takes_servers() && down.offers("nova"));
        assert_eq!(down.host_status(), "DOWN");
        ServiceChange { status: Some(ServiceStatus::Enabled), forced_down: None }.apply(&mut off.compute);
        assert_eq!(off, up);
    }
}
