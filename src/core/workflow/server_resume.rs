//! Resumes a suspended server where it was: suspended/resuming -> active. A failure leaves it in ERROR and the saved memory
//! where it is; a hard reboot starts the guest from its disk.

use super::record;
use super::{Blame, ServerEnv, ServerTask, bring_up};
use crate::core::port::PortStatus;
use crate::core::server::state::{PowerState, TaskState, VmState};
use crate::host::hypervisor::DomainState;
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError, server_ports};
use crate::task::{Cause, Direction, Step, StepContext, StepError, StepFuture, TaskInfo, Workflow};
use jiff::Timestamp;

/// The workflow.
pub struct ServerResume;

impl Workflow for ServerResume {
    const NAME: &'static str = "server_resume";
    const DIRECTION: Direction = Direction::Unwind;
    type Env = ServerEnv;
    type State = ServerTask;

    fn steps() -> Vec<Step<Self>> {
        vec![Step::<Self>::new("restore", restore).enter(|c, task, info, now| {
            record::begin(c, task, "compute_resume_instance", now)?;
            record::enter(c, task, info, TaskState::Resuming, now)
        })]
    }

    fn done(c: &Connection, task: &ServerTask, info: &TaskInfo, now: Timestamp) -> Result<(), StoreError> {
        let outcome = Outcome {
            vm_state: Some(VmState::Active),
            power_state: Some(PowerState::Running),
            ..Outcome::default()
        };
        server_ports::set_server_ports_status(c, task.server, PortStatus::Active, now)?;
        record::succeed(c, task, info, outcome, now)
    }

    fn unwound(
        c: &Connection,
        task: &ServerTask,
        info: &TaskInfo,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        record::fail(c, task, info, cause, record::in_error(), now)
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
