//! Reboots a server: the guest is shut down, by asking it (soft) or by cutting its power (hard), and started as its row
//! says. A soft reboot that the guest does not hear becomes a hard one. A guest that was saved begins from its disk.
//!
//! ```text
//! soft: rebooting      -> reboot_pending      -> reboot_started      -> active
//! hard: rebooting_hard -> reboot_pending_hard -> reboot_started_hard -> active
//! ```

use super::record::{self, in_error};
use super::{ServerEnv, ServerTask, bring_up, shut_down};
use crate::core::port::PortStatus;
use crate::core::server::state::{PowerState, TaskState, VmState};
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError, server_ports};
use crate::task::{Cause, Direction, Step, StepContext, StepFuture, TaskInfo, Workflow};
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

impl Workflow for ServerReboot {
    const NAME: &'static str = "server_reboot";
    const DIRECTION: Direction = Direction::Unwind;
    type Env = ServerEnv;
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

    fn done(c: &Connection, state: &RebootState, info: &TaskInfo, now: Timestamp) -> Result<(), StoreError> {
        let outcome = Outcome {
            vm_state: Some(VmState::Active),
            power_state: Some(PowerState::Running),
            ..Outcome::default()
        };
        server_ports::set_server_ports_status(c, state.task.server, PortStatus::Active, now)?;
        record::succeed(c, &state.task, info, outcome, now)
    }

    fn unwound(
        c: &Connection,
        state: &RebootState,
        info: &TaskInfo,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let outcome = if state.runs { Outcome::default() } else { in_error() };
        record::fail(c, &state.task, info, cause, outcome, now)
    }

    fn stuck(
        c: &Connection,
        state: &RebootState,
        info: &TaskInfo,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        record::fail(c, &state.task, info, cause, in_error(), now)
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
            let subject = env.load(id).await?;
            let patience = shut_down::patience(env, &subject.server);
            if shut_down::shut_down(env, id, patience, context).await? {
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
        let result = async {
            let subject = env.load(id).await?;
            bring_up::reserve_addresses(env, &subject).await?;
            bring_up::power_on(env, &subject).await
        }
        .await;
        noting(env, id, &mut state.runs, result).await
    })
}
