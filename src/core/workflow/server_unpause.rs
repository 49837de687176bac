//! Lets a paused server go on: paused/unpausing -> active. A failure leaves it paused.

use super::record;
use super::verb::Verb;
use super::{Blame, ServerEnv, ServerTask};
use crate::core::server::state::{PowerState, TaskState, VmState};
use crate::host::hypervisor::DomainState;
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError};
use crate::task::{Cause, Step, StepContext, StepFuture, TaskInfo};
use jiff::Timestamp;

/// The workflow.
pub struct ServerUnpause;

impl Verb for ServerUnpause {
    const NAME: &'static str = "server_unpause";
    type State = ServerTask;

    fn steps() -> Vec<Step<Self>> {
        vec![
            Step::<Self>::new("unpause", unpause)
                .volatile()
                .enter(|c, task, info, now| {
                    record::begin(c, task, "compute_unpause_instance", now)?;
                    record::enter(c, task, info, TaskState::Unpausing, now)
                })
                .undo(stand_still),
        ]
    }

    fn task(task: &ServerTask) -> &ServerTask {
        task
    }

    fn done(_: &Connection, _: &ServerTask, _: &TaskInfo, _: Timestamp) -> Result<Outcome, StoreError> {
        Ok(Outcome {
            vm_state: Some(VmState::Active),
            power_state: Some(PowerState::Running),
            ..Outcome::default()
        })
    }

    fn stuck(_: &Connection, _: &ServerTask, _: &Cause, _: Timestamp) -> Result<Outcome, StoreError> {
        Ok(record::in_error())
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
