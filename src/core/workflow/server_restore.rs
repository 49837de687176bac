//! Takes a delete back that was not final yet: soft-delete/restoring -> active. A failure leaves the server deleted that way.

use super::record;
use super::{ServerEnv, ServerTask, bring_up};
use crate::core::port::PortStatus;
use crate::core::server::state::{PowerState, TaskState, VmState};
use crate::store::servers::{self, Outcome};
use crate::store::{Connection, StoreError, server_ports};
use crate::task::{Cause, Direction, Step, StepContext, StepFuture, TaskInfo, Workflow};
use jiff::Timestamp;

/// The workflow of a restore.
pub struct ServerRestore;

impl Workflow for ServerRestore {
    const NAME: &'static str = "server_restore";
    const DIRECTION: Direction = Direction::Unwind;
    type Env = ServerEnv;
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

    fn done(c: &Connection, task: &ServerTask, info: &TaskInfo, now: Timestamp) -> Result<(), StoreError> {
        let outcome = Outcome {
            vm_state: Some(VmState::Active),
            power_state: Some(PowerState::Running),
            ..Outcome::default()
        };
        servers::set_soft_deleted(c, task.server, None)?;
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
        bring_up::reserve_addresses(env, &subject).await?;
        bring_up::power_on(env, &subject).await
    })
}

fn power_off<'a>(env: &'a ServerEnv, task: &'a mut ServerTask, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move { bring_up::cut_power(env, task.server).await })
}
