//! Starts a server that is off: stopped or shelved/powering-on -> active. A failure leaves it as it was. One that was shelved
//! needs the image of its disk no more.

use super::record;
use super::{Blame, ServerEnv, ServerTask, bring_up, server_shelve};
use crate::core::port::PortStatus;
use crate::core::server::state::{PowerState, TaskState, VmState};
use crate::host::hypervisor::DomainState;
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError, server_ports, servers};
use crate::task::{Cause, Direction, Step, StepContext, StepFuture, TaskInfo, Workflow};
use jiff::Timestamp;

/// The workflow of a start.
pub struct ServerStart;

impl Workflow for ServerStart {
    const NAME: &'static str = "server_start";
    const DIRECTION: Direction = Direction::Unwind;
    type Env = ServerEnv;
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

    fn done(c: &Connection, task: &ServerTask, info: &TaskInfo, now: Timestamp) -> Result<(), StoreError> {
        // One that was rescued when the host went down runs its rescue system again.
        let rescued = servers::get(c, task.server)?.is_some_and(|row| row.vm_state == VmState::Rescued);
        let outcome = Outcome {
            vm_state: (!rescued).then_some(VmState::Active),
            power_state: Some(PowerState::Running),
            ..Outcome::default()
        };
        server_shelve::forget(c, task.server, &info.request_id, now)?;
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

fn power_on<'a>(env: &'a ServerEnv, task: &'a mut ServerTask, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = env.load(task.server).await?;
        // Somebody may have saved it behind our back, as the host may when it goes down. Nothing has changed since.
        if env.hypervisor.state(task.server).await.blame("Looking at the guest")? == Some(DomainState::Saved)
        {
            return bring_up::wake(env, &subject).await;
        }
        bring_up::reserve_addresses(env, &subject).await?;
        bring_up::power_on(env, &subject).await
    })
}

fn power_off<'a>(env: &'a ServerEnv, task: &'a mut ServerTask, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move { bring_up::cut_power(env, task.server).await })
}
