//! Resumes a suspended server where it was: suspended/resuming -> active. A failure leaves it in ERROR and the saved memory
//! where it is; a hard reboot starts the guest from its disk.

use super::record;
use super::verb::Verb;
use super::{Blame, ServerEnv, ServerTask, bring_up};
use crate::core::server::state::TaskState;
use crate::host::hypervisor::DomainState;
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError};
use crate::task::{Cause, Step, StepContext, StepError, StepFuture, TaskInfo};
use jiff::Timestamp;

/// The workflow.
pub struct ServerResume;

impl Verb for ServerResume {
    const NAME: &'static str = "server_resume";
    type State = ServerTask;

    fn steps() -> Vec<Step<Self>> {
        vec![Step::<Self>::new("restore", restore).enter(|c, task, info, now| {
            record::begin(c, task, "compute_resume_instance", now)?;
            record::enter(c, task, info, TaskState::Resuming, now)
        })]
    }

    fn task(task: &ServerTask) -> &ServerTask {
        task
    }

    fn done(c: &Connection, task: &ServerTask, _: &TaskInfo, now: Timestamp) -> Result<Outcome, StoreError> {
        record::runs(c, task.server, now)
    }

    fn undone(_: &Connection, _: &ServerTask, _: &Cause, _: Timestamp) -> Result<Outcome, StoreError> {
        Ok(record::in_error())
    }
}

fn restore<'a>(env: &'a ServerEnv, task: &'a mut ServerTask, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let id = task.server;
        match env.hypervisor.state(id).await.blame("Looking at the guest")? {
            Some(DomainState::Running | DomainState::ShuttingDown) => Ok(()),
            Some(DomainState::Paused | DomainState::PausedOnIoError) => {
                env.hypervisor.unpause(id).await.blame("Letting the guest go on")
            }
            Some(DomainState::Saved) => {
                let subject = env.load(id).await?;
                bring_up::wake(env, &subject).await
            }
            Some(DomainState::ShutOff | DomainState::Crashed) | None => Err(StepError::new(
                500,
                "The guest's saved memory is gone from this host. Reboot the server hard: it then begins from its disk.",
            )),
        }
    })
}
