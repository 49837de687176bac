//! Reboots a server: the guest is shut down, by asking it (soft) or by cutting its power (hard), and started as its row
//! says. A soft reboot that the guest does not hear becomes a hard one. A guest that was saved begins from its disk.
//!
//! ```text
//! soft: rebooting      -> reboot_pending      -> reboot_started      -> active
//! hard: rebooting_hard -> reboot_pending_hard -> reboot_started_hard -> active
//! ```

use super::record::{self, in_error};
use super::verb::Verb;
use super::{ServerEnv, ServerTask, bring_up, shut_down};
use crate::core::server::state::TaskState;
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError};
use crate::task::{Cause, Step, StepContext, StepFuture, TaskInfo};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The workflow of a reboot.
pub struct ServerReboot;

#[derive(Debug, Serialize, Deserialize)]
pub struct RebootState {
    #[serde(flatten)]
    pub task: ServerTask,
    /// What was asked for.
    pub hard: bool,
    /// Whether the guest was seen running when the last step failed.
    pub runs: bool,
}

impl Verb for ServerReboot {
    const NAME: &'static str = "server_reboot";
    type State = RebootState;

    fn steps() -> Vec<Step<Self>> {
        vec![
            Step::<Self>::new("pending", go_down)
                .enter(|c, state, info, now| {
                    record::begin(c, &state.task, "compute_reboot_instance", now)?;
                    let pending =
                        if state.hard { TaskState::RebootPendingHard } else { TaskState::RebootPending };
                    record::enter(c, &state.task, info, pending, now)
                })
                .deadline(Duration::from_secs(24 * 3600)),
            Step::<Self>::new("started", come_up).enter(|c, state, info, now| {
                let started =
                    if state.hard { TaskState::RebootStartedHard } else { TaskState::RebootStarted };
                record::enter(c, &state.task, info, started, now)
            }),
        ]
    }

    fn task(state: &RebootState) -> &ServerTask {
        &state.task
    }

    fn done(
        c: &Connection,
        state: &RebootState,
        _: &TaskInfo,
        now: Timestamp,
    ) -> Result<Outcome, StoreError> {
        record::runs(c, state.task.server, now)
    }

    fn undone(_: &Connection, state: &RebootState, _: &Cause, _: Timestamp) -> Result<Outcome, StoreError> {
        Ok(if state.runs { Outcome::default() } else { in_error() })
    }

    fn stuck(_: &Connection, _: &RebootState, _: &Cause, _: Timestamp) -> Result<Outcome, StoreError> {
        Ok(in_error())
    }
}

/// Notes, when a step failed, whether the guest runs: that decides what becomes of the server.
async fn noting<T>(
    env: &ServerEnv,
    id: crate::core::ids::ServerId,
    runs: &mut bool,
    result: Result<T, crate::task::StepError>,
) -> Result<T, crate::task::StepError> {
    if result.is_err() {
        *runs = shut_down::runs(env, id).await.unwrap_or(false);
    }
    result
}

fn go_down<'a>(env: &'a ServerEnv, state: &'a mut RebootState, context: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let id = state.task.server;
        if !state.hard {
            let server = env.load(id).await?.server;
            if shut_down::shut_down(env, id, shut_down::patience(env, &server), context).await? {
                return Ok(());
            }
            shut_down::gave_way(context)?;
        }
        let result = bring_up::cut_power(env, id).await;
        noting(env, id, &mut state.runs, result).await
    })
}

fn come_up<'a>(env: &'a ServerEnv, state: &'a mut RebootState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let id = state.task.server;
        let result = async { bring_up::start(env, &env.load(id).await?).await }.await;
        noting(env, id, &mut state.runs, result).await
    })
}
