//! What a running guest has used: asked of the hypervisor at that moment, for administrators.

use super::{Among, Servers, find};
use crate::core::actor::Actor;
use crate::core::ids::ServerId;
use crate::core::reconcile::power_sync::power_state;
use crate::core::server::action::Action;
use crate::core::server::decide::decide;
use crate::core::server::state::PowerState;
use crate::core::{Error, Kind, Result};
use crate::host::hypervisor::HypervisorError;
pub use crate::host::hypervisor::statistics::{DiskStatistics, NicStatistics, Statistics, Traffic};
use crate::host::net::tap_name;
use crate::store::server_ports;

/// A running server and its guest's figures.
#[derive(Debug, Clone)]
pub struct Diagnostics {
    pub config_drive: bool,
    pub statistics: Statistics,
    pub nics: Vec<NicDiagnostics>,
    /// Since the server was launched, in seconds.
    pub uptime: i64,
}

/// One NIC of the server.
#[derive(Debug, Clone)]
pub struct NicDiagnostics {
    pub mac: String,
    /// `None` where the host has no interface for it, as with user-mode networking.
    pub figures: Option<NicStatistics>,
}

impl Servers {
    /// The figures of a server whose guest runs; of any other it is an invalid state.
    pub async fn diagnostics(&self, actor: &Actor, id: ServerId) -> Result<Diagnostics> {
        let caller = actor.clone();
        let (server, nics) = self
            .deps
            .store
            .read::<_, Error, _>(move |c| {
                let server = find(c, &caller, id, Among::Living)?;
                decide(&server, Action::Diagnostics, &caller)?;
                let nics = server_ports::server_nics(c, &[id])?.remove(&id).unwrap_or_default();
                Ok((server, nics))
            })
            .await?;
        let state = power_state(self.hypervisor.state(id).await.map_err(refused)?);
        if state != PowerState::Running {
            return Err(not_running(id, state));
        }
        let statistics = match self.hypervisor.statistics(id).await {
            Ok(Some(statistics)) => statistics,
            // It went off since it was looked at.
            Ok(None) => return Err(not_running(id, PowerState::NoState)),
            Err(HypervisorError::WrongState(_)) => return Err(not_running(id, PowerState::Shutdown)),
            Err(error) => return Err(refused(error)),
        };
        let nics = nics
            .into_iter()
            .map(|nic| {
                let device = tap_name(nic.port_id);
                NicDiagnostics {
                    mac: nic.mac.to_string(),
                    figures: statistics.nics.iter().find(|figures| figures.device == device).cloned(),
                }
            })
            .collect();
        let now = self.deps.clock.now();
        let uptime = server.launched_at.map_or(0, |at| now.duration_since(at).as_secs());
        Ok(Diagnostics { config_drive: server.config_drive, statistics, nics, uptime })
    }
}

fn not_running(id: ServerId, state: PowerState) -> Error {
    Error::invalid_state(format!(
        "Cannot 'get_diagnostics' instance {id} while it is in power state {}",
        state.word()
    ))
}

fn refused(error: HypervisorError) -> Error {
    match error {
        HypervisorError::Unsupported(_) => {
            Error::new(Kind::NotImplemented, "The requested functionality is not supported.")
                .with_source(error)
        }
        HypervisorError::NotFound(_)
        | HypervisorError::Foreign(_)
        | HypervisorError::WrongState(_)
        | HypervisorError::Unreachable(_)
        | HypervisorError::Deadline { .. }
        | HypervisorError::Failed { .. } => {
            Error::unavailable("The hypervisor of this host cannot be reached.").with_source(error)
        }
    }
}
