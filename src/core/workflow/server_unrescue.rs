//! Ends a rescue: the server runs on its own disks again, also if it was stopped before. rescued/unrescuing -> active

use super::record;
use super::{Blame, ServerEnv, ServerTask, bring_up, shut_down};
use crate::core::port::PortStatus;
use crate::core::server::state::{PowerState, TaskState, VmState};
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError, server_ports, servers};
use crate::task::{Cause, Direction, Step, StepContext, StepFuture, TaskInfo, Workflow};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The workflow of an unrescue.
pub struct ServerUnrescue;

#[derive(Debug, Serialize, Deserialize)]
pub struct UnrescueState {
    #[serde(flatten)]
    pub task: ServerTask,
    /// Whether the server runs on its own disks: then it is rescued no more, whatever fails after that.
    pub runs: bool,
}

impl Workflow for ServerUnrescue {
    const NAME: &'static str = "server_unrescue";
    const DIRECTION: Direction = Direction::Unwind;
    type Env = ServerEnv;
    type State = UnrescueState;

    fn steps() -> Vec<Step<Self>> {
        vec![
            Step::<Self>::new("power_off", power_off)
                .enter(|c, state, info, now| {
                    record::begin(c, &state.task, "compute_unrescue_instance", now)?;
                    record::enter(c, &state.task, info, TaskState::Unrescuing, now)
                })
                .deadline(Duration::from_secs(24 * 3600)),
            Step::<Self>::new("power_on", power_on),
            Step::<Self>::new("remains", remove_remains),
        ]
    }

    fn done(
        c: &Connection,
        state: &UnrescueState,
        info: &TaskInfo,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let outcome = over(c, state, now)?;
        record::succeed(c, &state.task, info, outcome, now)
    }

    fn unwound(
        c: &Connection,
        state: &UnrescueState,
        info: &TaskInfo,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        // A server whose guest does not run is still rescued: its definition is written anew before it is started again.
        let outcome = if state.runs { over(c, state, now)? } else { Outcome::default() };
        record::fail(c, &state.task, info, cause, outcome, now)
    }

    fn stuck(
        c: &Connection,
        state: &UnrescueState,
        info: &TaskInfo,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        record::fail(c, &state.task, info, cause, record::in_error(), now)
    }
}

/// The server is rescued no more.
fn over(c: &Connection, state: &UnrescueState, now: Timestamp) -> Result<Outcome, StoreError> {
    servers::set_rescue(c, state.task.server, None)?;
    server_ports::set_server_ports_status(c, state.task.server, PortStatus::Active, now)?;
    Ok(Outcome {
        vm_state: Some(VmState::Active),
        power_state: Some(PowerState::Running),
        ..Outcome::default()
    })
}

fn power_off<'a>(
    env: &'a ServerEnv,
    state: &'a mut UnrescueState,
    context: &'a StepContext,
) -> StepFuture<'a> {
    Box::pin(async move {
        let id = state.task.server;
        let server = env.load(id).await?.server;
        // The rescue system may have the server's disk mounted.
        let patience = shut_down::patience(env, &server);
        if shut_down::shut_down(env, id, patience, context).await? {
            return Ok(());
        }
        shut_down::gave_way(context)?;
        bring_up::cut_power(env, id).await
    })
}

fn power_on<'a>(env: &'a ServerEnv, state: &'a mut UnrescueState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let mut subject = env.load(state.task.server).await?;
        subject.server.rescue = None;
        bring_up::reserve_addresses(env, &subject).await?;
        bring_up::power_on(env, &subject).await?;
        state.runs = true;
        Ok(())
    })
}

fn remove_remains<'a>(
    env: &'a ServerEnv,
    state: &'a mut UnrescueState,
    _: &'a StepContext,
) -> StepFuture<'a> {
    Box::pin(
        async move { env.storage.remove_rescue(state.task.server).await.blame("Removing the rescue disk") },
    )
}
