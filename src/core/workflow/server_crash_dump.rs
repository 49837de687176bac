//! Sends the guest a non-maskable interrupt. What it makes of it is its own affair: one that is set up so writes a crash
//! dump, others ignore it. The server's states stay as they are; after a crash of the daemon the guest may get a second one.

use super::record;
use super::{Blame, ServerEnv, ServerTask};
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError};
use crate::task::{Cause, Direction, Step, StepContext, StepFuture, TaskInfo, Workflow};
use jiff::Timestamp;

/// The workflow.
pub struct ServerCrashDump;

impl Workflow for ServerCrashDump {
    const NAME: &'static str = "server_crash_dump";
    const DIRECTION: Direction = Direction::Unwind;
    type Env = ServerEnv;
    type State = ServerTask;

    fn steps() -> Vec<Step<Self>> {
        vec![
            Step::<Self>::new("interrupt", interrupt)
                .enter(|c, task, _, now| record::begin(c, task, "compute_trigger_crash_dump", now)),
        ]
    }

    fn done(c: &Connection, task: &ServerTask, info: &TaskInfo, now: Timestamp) -> Result<(), StoreError> {
        let outcome = Outcome::default();
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
        record::fail(c, task, info, cause, Outcome::default(), now)
    }
}

fn interrupt<'a>(env: &'a ServerEnv, task: &'a mut ServerTask, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move { env.hypervisor.inject_nmi(task.server).await.blame("Interrupting the guest") })
}
