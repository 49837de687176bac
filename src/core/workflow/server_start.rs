//! Starts a server that is off: stopped or shelved/powering-on -> active. A failure leaves it as it was. One that was shelved
//! needs the image of its disk no more.

use super::record;
use super::verb::Verb;
use super::{Blame, ServerEnv, ServerTask, bring_up, server_shelve};
use crate::core::server::state::{TaskState, VmState};
use crate::host::hypervisor::DomainState;
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError, servers};
use crate::task::{Step, StepContext, StepFuture, TaskInfo};
use jiff::Timestamp;

/// The workflow of a start.
pub struct ServerStart;

impl Verb for ServerStart {
    const NAME: &'static str = "server_start";
    type State = ServerTask;

    fn steps() -> Vec<Step<Self>> {
        vec![
            Step::<Self>::new("power_on", power_on)
                .enter(|c, task, info, now| {
                    record::begin(c, task, "compute_start_instance", now)?;
                    record::enter(c, task, info, TaskState::PoweringOn, now)
                })
                .undo(power_off),
        ]
    }

    fn task(task: &ServerTask) -> &ServerTask {
        task
    }

    fn done(
        c: &Connection,
        task: &ServerTask,
        info: &TaskInfo,
        now: Timestamp,
    ) -> Result<Outcome, StoreError> {
        // One that was rescued when the host went down runs its rescue system again.
        let rescued = servers::get(c, task.server)?.is_some_and(|row| row.vm_state == VmState::Rescued);
        server_shelve::forget(c, task.server, &info.request_id, now)?;
        let outcome = record::runs(c, task.server, now)?;
        Ok(Outcome { vm_state: outcome.vm_state.filter(|_| !rescued), ..outcome })
    }
}

fn power_on<'a>(env: &'a ServerEnv, task: &'a mut ServerTask, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = env.load(task.server).await?;
        // Somebody may have saved it behind our back, as the host may when it goes down. Nothing has changed since.
        if env.hypervisor.state(task.server).await.blame("Looking at the guest")? == Some(DomainState::Saved)
        {
            return bring_up::wake(env, &subject).await;
        }
        bring_up::start(env, &subject).await
    })
}

fn power_off<'a>(env: &'a ServerEnv, task: &'a mut ServerTask, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move { bring_up::cut_power(env, task.server).await })
}
