//! Ends a rescue: the server runs on its own disks again, also if it was stopped before. rescued/unrescuing -> active

use super::record;
use super::verb::Verb;
use super::{Blame, ServerEnv, ServerTask, bring_up, shut_down};
use crate::core::server::state::TaskState;
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError, servers};
use crate::task::{Cause, Step, StepContext, StepFuture, TaskInfo};
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

impl Verb for ServerUnrescue {
    const NAME: &'static str = "server_unrescue";
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

    fn task(state: &UnrescueState) -> &ServerTask {
        &state.task
    }

    fn done(
        c: &Connection,
        state: &UnrescueState,
        _: &TaskInfo,
        now: Timestamp,
    ) -> Result<Outcome, StoreError> {
        over(c, state, now)
    }

    fn undone(
        c: &Connection,
        state: &UnrescueState,
        _: &Cause,
        now: Timestamp,
    ) -> Result<Outcome, StoreError> {
        // A server whose guest does not run is still rescued: its definition is written anew before it is started again.
        if state.runs { over(c, state, now) } else { Ok(Outcome::default()) }
    }

    fn stuck(_: &Connection, _: &UnrescueState, _: &Cause, _: Timestamp) -> Result<Outcome, StoreError> {
        Ok(record::in_error())
    }
}

/// The server is rescued no more.
fn over(c: &Connection, state: &UnrescueState, now: Timestamp) -> Result<Outcome, StoreError> {
    servers::set_rescue(c, state.task.server, None)?;
    record::runs(c, state.task.server, now)
}

fn power_off<'a>(
    env: &'a ServerEnv,
    state: &'a mut UnrescueState,
    context: &'a StepContext,
) -> StepFuture<'a> {
    Box::pin(async move {
        // The rescue system may have the server's disk mounted.
        shut_down::turn_off(env, state.task.server, context).await
    })
}

fn power_on<'a>(env: &'a ServerEnv, state: &'a mut UnrescueState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let mut subject = env.load(state.task.server).await?;
        subject.server.rescue = None;
        bring_up::start(env, &subject).await?;
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
