//! Confirms a resize: the way back is given up, resized -> active, or stopped if the guest is off. No task state shows it.
//!
//! What lay below the new layers stays part of the disks. With the guest off the layers are brought together at once;
//! with the guest running the next resize sees to it.

use super::record;
use super::verb::Verb;
use super::{Blame, ServerEnv, ServerTask};
use crate::core::reconcile::power_sync::power_state;
use crate::core::server::migration::MigrationStatus;
use crate::core::server::state::{PowerState, VmState};
use crate::store::servers::{self, Outcome};
use crate::store::{Connection, StoreError, server_migrations};
use crate::task::{Cause, Step, StepContext, StepFuture, TaskInfo};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The workflow of a confirmation.
pub struct ServerResizeConfirm;

#[derive(Debug, Serialize, Deserialize)]
pub struct ConfirmState {
    #[serde(flatten)]
    pub task: ServerTask,
    pub migration: i64,
    /// What the guest was seen doing.
    pub power: Option<PowerState>,
}

impl ConfirmState {
    pub fn new(task: ServerTask, migration: i64) -> Self {
        Self { task, migration, power: None }
    }
}

impl Verb for ServerResizeConfirm {
    const NAME: &'static str = "server_resize_confirm";
    type State = ConfirmState;

    fn steps() -> Vec<Step<Self>> {
        vec![
            Step::<Self>::new("confirm", confirm)
                .enter(|c, state, _, now| record::begin(c, &state.task, "compute_confirm_resize", now))
                .deadline(Duration::from_secs(4 * 3600)),
        ]
    }

    fn task(state: &ConfirmState) -> &ServerTask {
        &state.task
    }

    fn done(
        c: &Connection,
        state: &ConfirmState,
        _: &TaskInfo,
        now: Timestamp,
    ) -> Result<Outcome, StoreError> {
        servers::set_resize(c, state.task.server, None)?;
        server_migrations::set_status(c, state.migration, MigrationStatus::Confirmed, now)?;
        let vm = if state.power == Some(PowerState::Shutdown) { VmState::Stopped } else { VmState::Active };
        Ok(Outcome { vm_state: Some(vm), power_state: state.power, ..Outcome::default() })
    }

    fn undone(
        c: &Connection,
        state: &ConfirmState,
        _: &Cause,
        now: Timestamp,
    ) -> Result<Outcome, StoreError> {
        // Nothing was given up yet, so that both ways are open again.
        server_migrations::set_status(c, state.migration, MigrationStatus::Finished, now)?;
        Ok(Outcome::default())
    }
}

fn confirm<'a>(env: &'a ServerEnv, state: &'a mut ConfirmState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let id = state.task.server;
        let seen = power_state(env.hypervisor.state(id).await.blame("Looking at the guest")?);
        state.power = Some(seen);
        if seen == PowerState::Shutdown {
            // From here on there is no way back. Layers that stay apart show the same bytes, and are looked at again
            // by the next resize: not worth keeping a server from its owner.
            if let Err(error) = env.storage.merge_layers(id).await {
                tracing::warn!(server = %id, %error, "the layers of its disks stay apart for now");
            }
        }
        Ok(())
    })
}
