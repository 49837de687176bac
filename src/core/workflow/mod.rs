//! How servers are made, changed and removed on the host: one file a verb, each a plain list of steps.
//!
//! A step looks first and then does what is missing, so that it can run again after a crash. What a workflow means for
//! the server's row is written by its closing hooks, in the transaction that closes the task. Nothing here answers
//! requests; services record what is to be done, and the engine runs it.

mod bring_up;
mod capture;
mod domain;
mod due;
pub mod guest;
mod hand_over;
pub mod image_prefetch;
mod image_removal;
pub mod network_sync;
mod record;
pub mod server_attach_interface;
pub mod server_crash_dump;
pub mod server_create;
pub mod server_delete;
pub mod server_detach_interface;
pub mod server_offload;
pub mod server_password;
pub mod server_pause;
pub mod server_reboot;
pub mod server_rebuild;
pub mod server_rescue;
pub mod server_reset;
pub mod server_resize;
pub mod server_resize_confirm;
pub mod server_resize_revert;
pub mod server_restore;
pub mod server_resume;
pub mod server_shelve;
pub mod server_snapshot;
pub mod server_soft_delete;
pub mod server_start;
pub mod server_stop;
pub mod server_suspend;
pub mod server_unpause;
pub mod server_unrescue;
pub mod server_unshelve;
mod shut_down;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
pub(crate) mod tests;
mod verb;
#[cfg(test)]
mod walk;

pub use hand_over::{enqueue, unasked};

use super::clock::Clock;
use super::ids::ServerId;
use super::port::ServerNic;
use super::reconcile::host_networks::HostNetworksError;
use super::server::Server;
use super::server::node::Node;
use super::server::state::VmState;
use crate::host::disk::DiskError;
use crate::host::hypervisor::{Hypervisor, HypervisorError};
use crate::host::net::{HostNetwork, NetError};
use crate::host::storage::Storage;
use crate::store::{Store, node, server_ports, servers};
use crate::task::{Engine, StepError};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::error::Error as StdError;
use std::sync::Arc;

/// What the steps of all server workflows work with.
pub struct ServerEnv {
    pub store: Store,
    pub hypervisor: Arc<dyn Hypervisor>,
    pub network: Arc<dyn HostNetwork>,
    pub storage: Arc<dyn Storage>,
    pub node: Arc<Node>,
    pub clock: Clock,
}

/// Tells the engine of all server workflows.
#[must_use]
pub fn register(engine: Engine, env: &Arc<ServerEnv>) -> Engine {
    engine
        .register::<network_sync::NetworkSync>(env.clone())
        .register::<server_create::ServerCreate>(env.clone())
        .register::<server_delete::ServerDelete>(env.clone())
        .register::<server_start::ServerStart>(env.clone())
        .register::<server_stop::ServerStop>(env.clone())
        .register::<server_reboot::ServerReboot>(env.clone())
        .register::<server_pause::ServerPause>(env.clone())
        .register::<server_unpause::ServerUnpause>(env.clone())
        .register::<server_suspend::ServerSuspend>(env.clone())
        .register::<server_resume::ServerResume>(env.clone())
        .register::<server_crash_dump::ServerCrashDump>(env.clone())
        .register::<server_attach_interface::ServerAttachInterface>(env.clone())
        .register::<server_detach_interface::ServerDetachInterface>(env.clone())
        .register::<server_rebuild::ServerRebuild>(env.clone())
        .register::<server_rescue::ServerRescue>(env.clone())
        .register::<server_unrescue::ServerUnrescue>(env.clone())
        .register::<server_password::ServerPassword>(env.clone())
        .register::<server_snapshot::ServerSnapshot>(env.clone())
        .register::<server_shelve::ServerShelve>(env.clone())
        .register::<server_offload::ServerOffload>(env.clone())
        .register::<server_unshelve::ServerUnshelve>(env.clone())
        .register::<server_soft_delete::ServerSoftDelete>(env.clone())
        .register::<server_reset::ServerReset>(env.clone())
        .register::<server_restore::ServerRestore>(env.clone())
        .register::<image_removal::ImageRemoval>(env.clone())
        .register::<image_prefetch::ImagePrefetch>(env.clone())
        .register::<due::Due>(env.clone())
        .register::<server_resize::ServerResize>(env.clone())
        .register::<server_resize_confirm::ServerResizeConfirm>(env.clone())
        .register::<server_resize_revert::ServerResizeRevert>(env.clone())
}

/// What every task of a server knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServerTask {
    pub server: ServerId,
    /// The number of the action record.
    pub action: i64,
    /// The node that the work is done on.
    pub host: Option<String>,
}

/// A server with its NICs, as a step finds it.
struct Subject {
    server: Server,
    nics: Vec<ServerNic>,
    /// The availability zone that the node is in.
    zone: String,
}

impl ServerEnv {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn load(&self, id: ServerId) -> Result<Subject, StepError> {
        let node = self.node.clone();
        let found = self
            .store
            .read::<_, crate::store::StoreError, _>(move |c| {
                let Some(mut server) = servers::get(c, id)? else { return Ok(None) };
                // A state that was reset or restored meanwhile leaves no rescue behind.
                server.rescue = server.rescue.filter(|_| server.vm_state == VmState::Rescued);
                let nics = server_ports::server_nics(c, &[id])?.remove(&id).unwrap_or_default();
                let zone = node::standing(c, &node)?.zone;
                Ok(Some(Subject { server, nics, zone }))
            })
            .await?;
        found.ok_or_else(|| StepError::new(404, format!("Instance {id} could not be found.")))
    }
}

/// A failed call on the host as the failure of a step: what was tried comes first, then why it failed.
trait Blame<T> {
    fn blame(self, tried: &str) -> Result<T, StepError>;
}

fn blamed(error: &(dyn StdError + 'static), tried: &str, transient: bool) -> StepError {
    let mut step_error = StepError::of(error);
    step_error.message = format!("{tried} failed: {}", step_error.message);
    step_error.transient = transient;
    step_error
}

/// Whether the same call may succeed soon: the link is down, or the outcome is unknown and has to be looked at.
fn is_transient(error: &HypervisorError) -> bool {
    match error {
        HypervisorError::Unreachable(_) | HypervisorError::Deadline { .. } => true,
        HypervisorError::NotFound(_)
        | HypervisorError::Foreign(_)
        | HypervisorError::WrongState(_)
        | HypervisorError::Unsupported(_)
        | HypervisorError::Failed { .. } => false,
    }
}

impl<T> Blame<T> for Result<T, HypervisorError> {
    fn blame(self, tried: &str) -> Result<T, StepError> {
        self.map_err(|error| blamed(&error, tried, is_transient(&error)))
    }
}

impl<T> Blame<T> for Result<T, NetError> {
    fn blame(self, tried: &str) -> Result<T, StepError> {
        self.map_err(|error| {
            let transient = matches!(&error, NetError::Hypervisor(cause) if is_transient(cause));
            blamed(&error, tried, transient)
        })
    }
}

impl<T> Blame<T> for Result<T, HostNetworksError> {
    fn blame(self, tried: &str) -> Result<T, StepError> {
        match self {
            Ok(value) => Ok(value),
            Err(HostNetworksError::Host(error)) => Err(error).blame(tried),
            Err(HostNetworksError::Store(error)) => Err(error.into()),
        }
    }
}

impl<T> Blame<T> for Result<T, DiskError> {
    fn blame(self, tried: &str) -> Result<T, StepError> {
        self.map_err(|error| {
            let mut step_error = blamed(&error, tried, false);
            if matches!(error, DiskError::Full { .. }) {
                step_error.message += " Delete servers or images, or ask the administrator for room.";
            }
            step_error
        })
    }
}
