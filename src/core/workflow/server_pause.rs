//! Pauses a server: active/pausing -> paused. A failure leaves it active.

use super::record;
use super::{Blame, ServerEnv, ServerTask};
use crate::core::server::state::{PowerState, TaskState, VmState};
use crate::host::hypervisor::DomainState;
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError};
use crate::task::{Cause, Direction, Step, StepContext, StepFuture, TaskInfo, Workflow};
use jiff::Timestamp;

/// The workflow.
pub struct ServerPause;

impl Workflow for ServerPause {
    const NAME: &'static str = "server_pause";
    const DIRECTION: Direction = Direction::Unwind;
    type Env = ServerEnv;
    type State = ServerTask;

    fn steps() -> Vec<Step<Self>> {
        vec![
            Step::<Self>::new("pause", pause)
                .enter(|c, task, info, now| {
                    record::begin(c, task, "compute_pause_instance", now)?;
                    record::enter(c, task, info, TaskState::Pausing, now)
                })
                .undo(go_on),
        ]
    }

    fn done(c: &Connection, task: &ServerTask, info: &TaskInfo, now: Timestamp) -> Result<(), StoreError> {
        let outcome = Outcome {
            vm_state: Some(VmState::Paused),
            power_state: Some(PowerState::Paused),
            ..Outcome::default()
        };
        record::succeed(c, task, info, outcome, now)
    }

    fn unwound(
        c: &Connection,
        task: &ServerTask,
        info: &TaskInfo,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        record::fail(c, task, info, cause, Outcome::default(), now)
    }

    fn stuck(
        c: &Connection,
        task: &ServerTask,
        info: &TaskInfo,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        record::fail(c, task, info, cause, record::in_error(), now)
    }
}

fn pause<'a>(env: &'a ServerEnv, task: &'a mut ServerTask, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move { env.hypervisor.pause(task.server).await.blame("Pausing the guest") })
}

/// A guest that went off meanwhile is left so.
fn go_on<'a>(env: &'a ServerEnv, task: &'a mut ServerTask, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        match env.hypervisor.state(task.server).await.blame("Looking at the guest")? {
            Some(DomainState::Paused) => {
                env.hypervisor.unpause(task.server).await.blame("Letting the guest go on")
            }
            _ => Ok(()),
        }
    })
}
