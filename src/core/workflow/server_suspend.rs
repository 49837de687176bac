//! Suspends a server: its memory goes to the disk and its guest off. active/suspending -> suspended; a failure leaves it in
//! ERROR, from where a hard reboot leads out.

use super::record;
use super::verb::Verb;
use super::{Blame, ServerEnv, ServerTask};
use crate::core::server::state::{TaskState, VmState};
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError};
use crate::task::{Cause, Step, StepContext, StepFuture, TaskInfo};
use jiff::Timestamp;
use std::time::Duration;

/// The workflow.
pub struct ServerSuspend;

impl Verb for ServerSuspend {
    const NAME: &'static str = "server_suspend";
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

    fn task(task: &ServerTask) -> &ServerTask {
        task
    }

    fn done(c: &Connection, task: &ServerTask, _: &TaskInfo, now: Timestamp) -> Result<Outcome, StoreError> {
        record::off(c, task.server, VmState::Suspended, now)
    }

    fn undone(_: &Connection, _: &ServerTask, _: &Cause, _: Timestamp) -> Result<Outcome, StoreError> {
        Ok(record::in_error())
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
