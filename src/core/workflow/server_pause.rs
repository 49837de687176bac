//! Pauses a server: active/pausing -> paused. A failure leaves it active.

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
pub struct ServerPause;

impl Verb for ServerPause {
    const NAME: &'static str = "server_pause";
    type State = ServerTask;

    fn steps() -> Vec<Step<Self>> {
        vec![
            Step::<Self>::new("pause", pause)
                .volatile()
                .enter(|c, task, info, now| {
                    record::begin(c, task, "compute_pause_instance", now)?;
                    record::enter(c, task, info, TaskState::Pausing, now)
                })
                .undo(go_on),
        ]
    }

    fn task(task: &ServerTask) -> &ServerTask {
        task
    }

    fn done(_: &Connection, _: &ServerTask, _: &TaskInfo, _: Timestamp) -> Result<Outcome, StoreError> {
        Ok(Outcome {
            vm_state: Some(VmState::Paused),
            power_state: Some(PowerState::Paused),
            ..Outcome::default()
        })
    }

    fn stuck(_: &Connection, _: &ServerTask, _: &Cause, _: Timestamp) -> Result<Outcome, StoreError> {
        Ok(record::in_error())
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
