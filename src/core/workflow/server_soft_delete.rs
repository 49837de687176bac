//! Takes a server out of service without losing it: its guest goes off, and until its time is over it can be restored.
//!
//! ```text
//! soft-deleting -> soft-delete
//! ```

use super::due::{self, Occasion};
use super::record;
use super::server_shelve::forget;
use super::verb::Verb;
use super::{ServerEnv, ServerTask, bring_up};
use crate::core::server::state::{TaskState, VmState};
use crate::store::servers::{self, Outcome};
use crate::store::{Connection, StoreError};
use crate::task::{Step, StepContext, StepFuture, TaskInfo};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The workflow of a delete that can be taken back.
pub struct ServerSoftDelete;

#[derive(Debug, Serialize, Deserialize)]
pub struct SoftDeleteState {
    #[serde(flatten)]
    pub task: ServerTask,
    /// After how many seconds the server is deleted for good.
    pub reclaim_after: i64,
    /// Whether the guest ran before.
    pub ran: bool,
}

impl Verb for ServerSoftDelete {
    const NAME: &'static str = "server_soft_delete";
    type State = SoftDeleteState;

    fn steps() -> Vec<Step<Self>> {
        vec![
            Step::<Self>::new("power_off", power_off)
                .enter(|c, state, info, now| {
                    record::begin(c, &state.task, "compute_soft_delete_instance", now)?;
                    record::enter(c, &state.task, info, TaskState::SoftDeleting, now)
                })
                .undo(power_on),
        ]
    }

    fn task(state: &SoftDeleteState) -> &ServerTask {
        &state.task
    }

    fn done(
        c: &Connection,
        state: &SoftDeleteState,
        info: &TaskInfo,
        now: Timestamp,
    ) -> Result<Outcome, StoreError> {
        let server = state.task.server;
        // A shelved server that is restored comes back from its own disk.
        forget(c, server, &info.request_id, now)?;
        servers::set_soft_deleted(c, server, Some(now))?;
        due::arrange(c, server, Occasion::Reclaim, state.reclaim_after, now)?;
        record::off(c, server, VmState::SoftDelete, now)
    }
}

fn power_off<'a>(env: &'a ServerEnv, state: &'a mut SoftDeleteState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move { bring_up::cut_power(env, state.task.server).await })
}

fn power_on<'a>(
    env: &'a ServerEnv,
    state: &'a mut SoftDeleteState,
    context: &'a StepContext,
) -> StepFuture<'a> {
    Box::pin(bring_up::start_again(env, state.task.server, state.ran, context))
}
