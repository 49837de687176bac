//! Stops a server: active/powering-off -> stopped. The guest is asked first and has its time; then its power is cut.

use super::record;
use super::{ServerEnv, ServerTask, bring_up, shut_down};
use crate::core::port::PortStatus;
use crate::core::server::state::{PowerState, TaskState, VmState};
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError, server_ports};
use crate::task::{Cause, Direction, Step, StepContext, StepFuture, TaskInfo, Workflow};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The workflow of a stop.
pub struct ServerStop;

#[derive(Debug, Serialize, Deserialize)]
pub struct StopState {
    #[serde(flatten)]
    pub task: ServerTask,
    /// Whether the power is cut without asking the guest.
    pub force: bool,
}

impl Workflow for ServerStop {
    const NAME: &'static str = "server_stop";
    const DIRECTION: Direction = Direction::Unwind;
    type Env = ServerEnv;
    type State = StopState;

    fn steps() -> Vec<Step<Self>> {
        vec![
            Step::<Self>::new("power_off", power_off)
                .enter(|c, state, info, now| {
                    record::begin(c, &state.task, "compute_stop_instance", now)?;
                    record::enter(c, &state.task, info, TaskState::PoweringOff, now)
                })
                .deadline(Duration::from_secs(24 * 3600)),
        ]
    }

    fn done(c: &Connection, state: &StopState, info: &TaskInfo, now: Timestamp) -> Result<(), StoreError> {
        let outcome = Outcome {
            vm_state: Some(VmState::Stopped),
            power_state: Some(PowerState::Shutdown),
            ..Outcome::default()
        };
        server_ports::set_server_ports_status(c, state.task.server, PortStatus::Down, now)?;
        record::succeed(c, &state.task, info, outcome, now)
    }

    fn unwound(
        c: &Connection,
        state: &StopState,
        info: &TaskInfo,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        record::fail(c, &state.task, info, cause, Outcome::default(), now)
    }

    fn stuck(
        c: &Connection,
        state: &StopState,
        info: &TaskInfo,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        record::fail(c, &state.task, info, cause, Outcome::default(), now)
    }
}

fn power_off<'a>(env: &'a ServerEnv, state: &'a mut StopState, context: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let id = state.task.server;
        if !state.force {
            let subject = env.load(id).await?;
            let patience = shut_down::patience(env, &subject.server);
            if shut_down::shut_down(env, id, patience, context).await? {
                return Ok(());
            }
            shut_down::gave_way(context)?;
        }
        bring_up::cut_power(env, id).await
    })
}
