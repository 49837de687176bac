//! Lets a paused server go on: paused/unpausing -> active. A failure leaves it paused.

use super::record;
use super::{Blame, ServerEnv, ServerTask};
use crate::core::server::state::{PowerState, TaskState, VmState};
use crate::host::hypervisor::DomainState;
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError};
use crate::task::{Cause, Direction, Step, StepContext, StepFuture, TaskInfo, Workflow};
use jiff::Timestamp;

/// The workflow.
pub struct ServerUnpause;

impl Workflow for ServerUnpause {
    const NAME: &'static str = "server_unpause";
    const DIRECTION: Direction = Direction::Unwind;
    type Env = ServerEnv;
    type State = ServerTask;

    fn steps() -> Vec<Step<Self>> {
        vec![
            Step::<Self>::new("unpause", unpause)
                .enter(|c, task, info, now| {
                    record::begin(c, task, "compute_unpause_instance", now)?;
                    record::enter(c, task, info, TaskState::Unpausing, now)
                })
                .undo(stand_still),
        ]
    }

    fn done(c: &Connection, task: &ServerTask, info: &TaskInfo, now: Timestamp) -> Result<(), StoreError> {
        let outcome = Outcome {
            vm_state: Some(VmState::Active),
            power_state: Some(PowerState::Running),
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

fn unpause<'a>(env: &'a ServerEnv, task: &'a mut ServerTask, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move { env.hypervisor.unpause(task.server).await.blame("Letting the guest go on") })
}

/// A guest that went off meanwhile is left so.
fn stand_still<'a>(env: &'a ServerEnv, task: &'a mut ServerTask, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        match env.hypervisor.state(task.server).await.blame("Looking at the guest")? {
            Some(DomainState::Running) => env.hypervisor.pause(task.server).await.blame("Pausing the guest"),
            _ => Ok(()),
        }
    })
}
