//! Stops a server: active/powering-off -> stopped. The guest is asked first and has its time; then its power is cut.

use super::record;
use super::verb::Verb;
use super::{ServerEnv, ServerTask, bring_up, shut_down};
use crate::core::server::state::{TaskState, VmState};
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError};
use crate::task::{Step, StepContext, StepFuture, TaskInfo};
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

impl Verb for ServerStop {
    const NAME: &'static str = "server_stop";
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

    fn task(state: &StopState) -> &ServerTask {
        &state.task
    }

    fn done(c: &Connection, state: &StopState, _: &TaskInfo, now: Timestamp) -> Result<Outcome, StoreError> {
        record::off(c, state.task.server, VmState::Stopped, now)
    }
}

fn power_off<'a>(env: &'a ServerEnv, state: &'a mut StopState, context: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let id = state.task.server;
        if state.force {
            return bring_up::cut_power(env, id).await;
        }
        shut_down::turn_off(env, id, context).await
    })
}
