//! Makes a server on the host: addresses, disks, the guest.
//!
//! ```text
//! building/scheduling -> networking -> block_device_mapping -> spawning -> active
//!                             |                |                  |
//!                             +----------------+------------------+--> undone, error with a fault
//! ```

use super::record::{self, in_error};
use super::verb::Verb;
use super::{Blame, ServerEnv, ServerTask, bring_up};
use crate::core::secret::Secret;
use crate::core::server::state::TaskState;
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError, server_ports};
use crate::task::{Cause, Step, StepContext, StepFuture, TaskInfo};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The workflow of a create.
pub struct ServerCreate;

#[derive(Debug, Serialize, Deserialize)]
pub struct CreateState {
    #[serde(flatten)]
    pub task: ServerTask,
    /// For the config drive. Forgotten with the state when the task closes.
    pub admin_password: Secret,
}

impl Verb for ServerCreate {
    const NAME: &'static str = "server_create";
    type State = CreateState;

    fn steps() -> Vec<Step<Self>> {
        vec![
            Step::<Self>::new("networking", network)
                .enter(|c, state, info, now| {
                    record::begin(c, &state.task, "compute__do_build_and_run_instance", now)?;
                    record::enter(c, &state.task, info, TaskState::Networking, now)
                })
                .undo(undo_network),
            // The first disk over an image may have to wait for the image's conversion.
            Step::<Self>::new("block_device_mapping", disks)
                .enter(|c, state, info, now| {
                    record::enter(c, &state.task, info, TaskState::BlockDeviceMapping, now)
                })
                .undo(undo_disks)
                .deadline(Duration::from_secs(4 * 3600)),
            Step::<Self>::new("spawning", spawn)
                .enter(|c, state, info, now| record::enter(c, &state.task, info, TaskState::Spawning, now))
                .undo(undo_spawn),
        ]
    }

    fn task(state: &CreateState) -> &ServerTask {
        &state.task
    }

    fn done(
        c: &Connection,
        state: &CreateState,
        _: &TaskInfo,
        now: Timestamp,
    ) -> Result<Outcome, StoreError> {
        Ok(Outcome { launched: true, ..record::runs(c, state.task.server, now)? })
    }

    fn undone(
        c: &Connection,
        state: &CreateState,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<Outcome, StoreError> {
        if let Cause::Failed(_) = cause {
            server_ports::release_server_ports(c, state.task.server, now)?;
        }
        Ok(Outcome { unplaced: true, ..in_error() })
    }

    fn stuck(_: &Connection, _: &CreateState, _: &Cause, _: Timestamp) -> Result<Outcome, StoreError> {
        Ok(in_error())
    }
}

fn network<'a>(env: &'a ServerEnv, state: &'a mut CreateState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = env.load(state.task.server).await?;
        bring_up::check_hardware(&subject.server)?;
        bring_up::reserve_addresses(env, &subject).await
    })
}

fn undo_network<'a>(env: &'a ServerEnv, state: &'a mut CreateState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = env.load(state.task.server).await?;
        bring_up::forget_addresses(env, &subject).await
    })
}

fn disks<'a>(env: &'a ServerEnv, state: &'a mut CreateState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = env.load(state.task.server).await?;
        let config_drive = bring_up::config_drive(env, &subject, Some(&state.admin_password))?;
        let plan = bring_up::disk_plan(&subject.server, config_drive)?;
        env.storage.ensure(&plan).await.blame("Making the disks").map(drop)
    })
}

fn undo_disks<'a>(env: &'a ServerEnv, state: &'a mut CreateState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move { env.storage.remove(state.task.server).await.blame("Removing the disks") })
}

fn spawn<'a>(env: &'a ServerEnv, state: &'a mut CreateState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = env.load(state.task.server).await?;
        bring_up::tell_addresses(env, &subject, Some(&state.admin_password)).await?;
        bring_up::power_on(env, &subject).await
    })
}

fn undo_spawn<'a>(env: &'a ServerEnv, state: &'a mut CreateState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move { bring_up::remove_domain(env, state.task.server).await })
}
