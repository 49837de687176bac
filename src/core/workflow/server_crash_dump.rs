//! Sends the guest a non-maskable interrupt. What it makes of it is its own affair: one that is set up so writes a crash
//! dump, others ignore it. The server's states stay as they are; after a crash of the daemon the guest may get a second one.

use super::record;
use super::verb::Verb;
use super::{Blame, ServerEnv, ServerTask};
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError};
use crate::task::{Step, StepContext, StepFuture, TaskInfo};
use jiff::Timestamp;

/// The workflow.
pub struct ServerCrashDump;

impl Verb for ServerCrashDump {
    const NAME: &'static str = "server_crash_dump";
    type State = ServerTask;

    fn steps() -> Vec<Step<Self>> {
        vec![
            Step::<Self>::new("interrupt", interrupt)
                .enter(|c, task, _, now| record::begin(c, task, "compute_trigger_crash_dump", now)),
        ]
    }

    fn task(task: &ServerTask) -> &ServerTask {
        task
    }

    fn done(_: &Connection, _: &ServerTask, _: &TaskInfo, _: Timestamp) -> Result<Outcome, StoreError> {
        Ok(Outcome::default())
    }
}

fn interrupt<'a>(env: &'a ServerEnv, task: &'a mut ServerTask, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move { env.hypervisor.inject_nmi(task.server).await.blame("Interrupting the guest") })
}
