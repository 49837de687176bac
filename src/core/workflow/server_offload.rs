//! Gives up all that a shelved server takes of the host: its domain, its files, its addresses in DHCP. Goes forward
//! until nothing is left; what the server comes back from is its image.

use super::record;
use super::{Blame, ServerEnv, ServerTask, bring_up};
use crate::core::server::state::{TaskState, VmState};
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError, server_ports};
use crate::task::{Direction, Step, StepContext, StepFuture, TaskInfo, Workflow};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The workflow of an offload.
pub struct ServerOffload;

#[derive(Debug, Serialize, Deserialize)]
pub struct OffloadState {
    #[serde(flatten)]
    pub task: ServerTask,
    /// Whether the offload is an event of its own, and not the end of a shelving's.
    pub event: bool,
}

impl Workflow for ServerOffload {
    const NAME: &'static str = "server_offload";
    const DIRECTION: Direction = Direction::Forward;
    type Env = ServerEnv;
    type State = OffloadState;

    fn steps() -> Vec<Step<Self>> {
        vec![
            Step::<Self>::new("domain", remove_domain).enter(|c, state, info, now| {
                if state.event {
                    record::begin(c, &state.task, "compute_shelve_offload_instance", now)?;
                }
                record::enter(c, &state.task, info, TaskState::ShelvingOffloading, now)
            }),
            Step::<Self>::new("remains", remove_remains),
        ]
    }

    fn done(c: &Connection, state: &OffloadState, info: &TaskInfo, now: Timestamp) -> Result<(), StoreError> {
        let outcome = record::off(c, state.task.server, VmState::ShelvedOffloaded, now)?;
        server_ports::set_server_ports_host(c, state.task.server, "")?;
        record::succeed(c, &state.task, info, Outcome { unplaced: true, ..outcome }, now)
    }
}

fn remove_domain<'a>(env: &'a ServerEnv, state: &'a mut OffloadState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move { bring_up::remove_domain(env, state.task.server).await })
}

fn remove_remains<'a>(env: &'a ServerEnv, state: &'a mut OffloadState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let id = state.task.server;
        let subject = env.load(id).await?;
        let files = async { env.storage.remove(id).await.blame("Removing the disks") };
        let (addresses, files) = tokio::join!(bring_up::forget_addresses(env, &subject), files);
        addresses.and(files)
    })
}
