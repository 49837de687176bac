//! Suspends a server: its memory goes to the disk and its guest off. active/suspending -> suspended; a failure leaves it in
//! ERROR, from where a hard reboot leads out.

use super::record;
use super::{Blame, ServerEnv, ServerTask};
use crate::core::port::PortStatus;
use crate::core::server::state::{PowerState, TaskState, VmState};
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError, server_ports};
use crate::task::{Cause, Direction, Step, StepContext, StepFuture, TaskInfo, Workflow};
use jiff::Timestamp;
use std::time::Duration;

/// The workflow.
pub struct ServerSuspend;

impl Workflow for ServerSuspend {
    const NAME: &'static str = "server_suspend";
    const DIRECTION: Direction = Direction::Unwind;
    type Env = ServerEnv;
    type State = ServerTask;

    fn steps() -> Vec<Step<Self>> {
        vec![
            Step::<Self>::new("save", save)
                .enter(|c, task, info, now| {
                    record::begin(c, task, "compute_suspend_instance", now)?;
                    record::enter(c, task, info, TaskState::Suspending, now)
                })
                .deadline(Duration::from_secs(24 * 3600)),
        ]
    }

    fn done(c: &Connection, task: &ServerTask, info: &TaskInfo, now: Timestamp) -> Result<(), StoreError> {
        let outcome = Outcome {
            vm_state: Some(VmState::Suspended),
            power_state: Some(PowerState::Shutdown),
            ..Outcome::default()
        };
        server_ports::set_server_ports_status(c, task.server, PortStatus::Down, now)?;
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

fn save<'a>(env: &'a ServerEnv, task: &'a mut ServerTask, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        env.hypervisor.save(task.server).await.blame("Writing the guest's memory to the disk").map_err(
            |mut error| {
                if !error.transient {
                    error.message += ". Reboot the server hard to have it run again.";
                }
                error
            },
        )
    })
}
