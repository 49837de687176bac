//! Takes a delete back that was not final yet: soft-delete/restoring -> active. A failure leaves the server deleted that way.

use super::record;
use super::verb::Verb;
use super::{ServerEnv, ServerTask, bring_up};
use crate::core::server::state::TaskState;
use crate::store::servers::{self, Outcome};
use crate::store::{Connection, StoreError};
use crate::task::{Step, StepContext, StepFuture, TaskInfo};
use jiff::Timestamp;

/// The workflow of a restore.
pub struct ServerRestore;

impl Verb for ServerRestore {
    const NAME: &'static str = "server_restore";
    type State = ServerTask;

    fn steps() -> Vec<Step<Self>> {
        vec![
            Step::<Self>::new("power_on", power_on)
                .enter(|c, task, info, now| {
                    record::begin(c, task, "compute_restore_instance", now)?;
                    record::enter(c, task, info, TaskState::Restoring, now)
                })
                .undo(power_off),
        ]
    }

    fn task(task: &ServerTask) -> &ServerTask {
        task
    }

    fn done(c: &Connection, task: &ServerTask, _: &TaskInfo, now: Timestamp) -> Result<Outcome, StoreError> {
        servers::set_soft_deleted(c, task.server, None)?;
        record::runs(c, task.server, now)
    }
}

fn power_on<'a>(env: &'a ServerEnv, task: &'a mut ServerTask, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = env.load(task.server).await?;
        bring_up::start(env, &subject).await
    })
}

fn power_off<'a>(env: &'a ServerEnv, task: &'a mut ServerTask, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move { bring_up::cut_power(env, task.server).await })
}
