//! Takes a resize back: what the guest wrote since is given up, and it runs as it did before.
//!
//! ```text
//! resized/resize_reverting -> active
//!                          -> resized/powering-off -> stopped, if it was stopped before
//! ```

use super::record::{self, in_error};
use super::verb::Verb;
use super::{Blame, ServerEnv, ServerTask, Subject, bring_up};
use crate::core::server::ServerFlavor;
use crate::core::server::migration::MigrationStatus;
use crate::core::server::state::{PowerState, TaskState, VmState};
use crate::store::servers::{self, Outcome};
use crate::store::{Connection, StoreError, server_migrations};
use crate::task::{Cause, Step, StepContext, StepError, StepFuture, TaskInfo};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The workflow of a resize that is taken back.
pub struct ServerResizeRevert;

#[derive(Debug, Serialize, Deserialize)]
pub struct RevertState {
    #[serde(flatten)]
    pub task: ServerTask,
    pub migration: i64,
    pub old_flavor: ServerFlavor,
    /// Whether the guest is to run afterwards.
    pub active: bool,
    /// Whether the disks are the old ones again.
    pub back: bool,
}

impl Verb for ServerResizeRevert {
    const NAME: &'static str = "server_resize_revert";
    type State = RevertState;

    fn steps() -> Vec<Step<Self>> {
        vec![
            // What it still has to write is given up anyway: no reason to ask it to shut down.
            Step::<Self>::new("power_off", power_off).enter(|c, state, info, now| {
                record::begin(c, &state.task, "compute_revert_resize", now)?;
                record::enter(c, &state.task, info, TaskState::ResizeReverting, now)
            }),
            Step::<Self>::new("disks", uncover_disks),
            Step::<Self>::new("finish", come_up)
                .enter(|c, state, _, now| record::next(c, &state.task, "compute_finish_revert_resize", now)),
            Step::<Self>::new("stopped", stay_off).enter(|c, state, info, now| {
                if state.active {
                    return Ok(());
                }
                record::begin(c, &state.task, "compute_stop_instance", now)?;
                record::enter(c, &state.task, info, TaskState::PoweringOff, now)
            }),
        ]
    }

    fn task(state: &RevertState) -> &ServerTask {
        &state.task
    }

    fn done(
        c: &Connection,
        state: &RevertState,
        _: &TaskInfo,
        now: Timestamp,
    ) -> Result<Outcome, StoreError> {
        back_to_old(c, state, now)?;
        server_migrations::set_status(c, state.migration, MigrationStatus::Reverted, now)?;
        let (vm, power) = if state.active {
            (VmState::Active, PowerState::Running)
        } else {
            (VmState::Stopped, PowerState::Shutdown)
        };
        Ok(Outcome { vm_state: Some(vm), power_state: Some(power), launched: true, ..Outcome::default() })
    }

    fn undone(c: &Connection, state: &RevertState, _: &Cause, now: Timestamp) -> Result<Outcome, StoreError> {
        // The row follows the disks: with the old ones there is only the old size.
        if state.back {
            back_to_old(c, state, now)?;
        }
        server_migrations::set_status(c, state.migration, MigrationStatus::Error, now)?;
        Ok(in_error())
    }
}

fn back_to_old(c: &Connection, state: &RevertState, now: Timestamp) -> Result<(), StoreError> {
    servers::set_flavor(c, state.task.server, &state.old_flavor, now)?;
    servers::set_resize(c, state.task.server, None)
}

async fn load_old(env: &ServerEnv, state: &RevertState) -> Result<Subject, StepError> {
    let mut subject = env.load(state.task.server).await?;
    subject.server.flavor = state.old_flavor.clone();
    Ok(subject)
}

fn power_off<'a>(env: &'a ServerEnv, state: &'a mut RevertState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move { bring_up::cut_power(env, state.task.server).await })
}

fn uncover_disks<'a>(env: &'a ServerEnv, state: &'a mut RevertState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = load_old(env, state).await?;
        let plan = bring_up::disk_plan(&subject.server, None)?;
        state.back = true;
        env.storage.revert_resize(&plan, state.migration).await.blame("Bringing the old disks back")
    })
}

fn come_up<'a>(env: &'a ServerEnv, state: &'a mut RevertState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = load_old(env, state).await?;
        bring_up::bring_back(env, &subject, state.active).await
    })
}

fn stay_off<'a>(env: &'a ServerEnv, state: &'a mut RevertState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        if state.active {
            return Ok(());
        }
        bring_up::cut_power(env, state.task.server).await
    })
}
