//! Takes a server out of service without losing it: its guest goes off, and until its time is over it can be restored.
//!
//! ```text
//! soft-deleting -> soft-delete
//! ```

use super::due::{self, Occasion};
use super::record;
use super::server_shelve::forget;
use super::{ServerEnv, ServerTask, bring_up};
use crate::core::port::PortStatus;
use crate::core::server::state::{PowerState, TaskState, VmState};
use crate::store::servers::{self, Outcome};
use crate::store::{Connection, StoreError, server_ports};
use crate::task::{Cause, Direction, Step, StepContext, StepFuture, TaskInfo, Workflow};
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

impl Workflow for ServerSoftDelete {
    const NAME: &'static str = "server_soft_delete";
    const DIRECTION: Direction = Direction::Unwind;
    type Env = ServerEnv;
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

    fn done(
        c: &Connection,
        state: &SoftDeleteState,
        info: &TaskInfo,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let server = state.task.server;
        let outcome = Outcome {
            vm_state: Some(VmState::SoftDelete),
            power_state: Some(PowerState::Shutdown),
            ..Outcome::default()
        };
        // A shelved server that is restored comes back from its own disk.
        forget(c, server, &info.request_id, now)?;
        servers::set_soft_deleted(c, server, Some(now))?;
        due::arrange(c, server, Occasion::Reclaim, state.reclaim_after, now)?;
        server_ports::set_server_ports_status(c, server, PortStatus::Down, now)?;
        record::succeed(c, &state.task, info, outcome, now)
    }

    fn unwound(
        c: &Connection,
        state: &SoftDeleteState,
        info: &TaskInfo,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        record::fail(c, &state.task, info, cause, Outcome::default(), now)
    }

    fn stuck(
        c: &Connection,
        state: &SoftDeleteState,
        info: &TaskInfo,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        record::fail(c, &state.task, info, cause, Outcome::default(), now)
    }
}

fn power_off<'a>(env: &'a ServerEnv, state: &'a mut SoftDeleteState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move { bring_up::cut_power(env, state.task.server).await })
}

/// Lets a guest run again that ran before, unless somebody else decides about it now.
fn power_on<'a>(
    env: &'a ServerEnv,
    state: &'a mut SoftDeleteState,
    context: &'a StepContext,
) -> StepFuture<'a> {
    Box::pin(async move {
        if !state.ran || context.preempted.is_cancelled() {
            return Ok(());
        }
        let subject = env.load(state.task.server).await?;
        bring_up::reserve_addresses(env, &subject).await?;
        bring_up::power_on(env, &subject).await
    })
}
