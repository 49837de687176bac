//! Rescues a server: its guest is off, and another system, on a disk of its own, looks after the server's root disk.
//! active, stopped or error/rescuing -> rescued

use super::record::{self, in_error};
use super::{Blame, ServerEnv, ServerTask, Subject, bring_up, shut_down};
use crate::core::port::PortStatus;
use crate::core::secret::Secret;
use crate::core::server::Rescue;
use crate::core::server::state::{PowerState, TaskState, VmState};
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError, server_ports, servers};
use crate::task::{Cause, Direction, Step, StepContext, StepError, StepFuture, TaskInfo, Workflow};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The workflow of a rescue.
pub struct ServerRescue;

#[derive(Debug, Serialize, Deserialize)]
pub struct RescueState {
    #[serde(flatten)]
    pub task: ServerTask,
    /// For the rescue system's config drive. Forgotten with the state when the task closes.
    pub admin_password: Secret,
    /// What becomes the server's `rescue` at the end.
    pub rescue: Rescue,
}

impl Workflow for ServerRescue {
    const NAME: &'static str = "server_rescue";
    const DIRECTION: Direction = Direction::Unwind;
    type Env = ServerEnv;
    type State = RescueState;

    fn steps() -> Vec<Step<Self>> {
        vec![
            // The image may have to be converted; the guest runs on meanwhile.
            Step::<Self>::new("disk", make_disk)
                .enter(|c, state, info, now| {
                    record::begin(c, &state.task, "compute_rescue_instance", now)?;
                    record::enter(c, &state.task, info, TaskState::Rescuing, now)
                })
                .undo(remove_disk)
                .deadline(Duration::from_secs(4 * 3600)),
            Step::<Self>::new("power_off", power_off).deadline(Duration::from_secs(24 * 3600)),
            Step::<Self>::new("power_on", power_on).undo(power_off_again),
        ]
    }

    fn done(c: &Connection, state: &RescueState, info: &TaskInfo, now: Timestamp) -> Result<(), StoreError> {
        let outcome = Outcome {
            vm_state: Some(VmState::Rescued),
            power_state: Some(PowerState::Running),
            launched: true,
            unplaced: false,
        };
        servers::set_rescue(c, state.task.server, Some(&state.rescue))?;
        server_ports::set_server_ports_status(c, state.task.server, PortStatus::Active, now)?;
        record::succeed(c, &state.task, info, outcome, now)
    }

    fn unwound(
        c: &Connection,
        state: &RescueState,
        info: &TaskInfo,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        record::fail(c, &state.task, info, cause, in_error(), now)
    }

    fn stuck(
        c: &Connection,
        state: &RescueState,
        info: &TaskInfo,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        record::fail(c, &state.task, info, cause, in_error(), now)
    }
}

/// The server as it is once it is rescued.
async fn rescued(env: &ServerEnv, state: &RescueState) -> Result<Subject, StepError> {
    let mut subject = env.load(state.task.server).await?;
    subject.server.rescue = Some(state.rescue.clone());
    Ok(subject)
}

fn make_disk<'a>(env: &'a ServerEnv, state: &'a mut RescueState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = rescued(env, state).await?;
        // Also where the server has none: it is how the password gets into the rescue system.
        let config_drive = bring_up::config_drive_bytes(env, &subject, Some(&state.admin_password))?;
        let plan = bring_up::rescue_plan(&state.rescue, config_drive)?;
        env.storage.make_rescue(state.task.server, &plan).await.blame("Making the rescue disk")
    })
}

fn remove_disk<'a>(env: &'a ServerEnv, state: &'a mut RescueState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(
        async move { env.storage.remove_rescue(state.task.server).await.blame("Removing the rescue disk") },
    )
}

fn power_off<'a>(env: &'a ServerEnv, state: &'a mut RescueState, context: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let id = state.task.server;
        let server = env.load(id).await?.server;
        let patience = shut_down::patience(env, &server);
        if shut_down::shut_down(env, id, patience, context).await? {
            return Ok(());
        }
        shut_down::gave_way(context)?;
        bring_up::cut_power(env, id).await
    })
}

fn power_on<'a>(env: &'a ServerEnv, state: &'a mut RescueState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = rescued(env, state).await?;
        bring_up::reserve_addresses(env, &subject).await?;
        bring_up::power_on(env, &subject).await
    })
}

fn power_off_again<'a>(env: &'a ServerEnv, state: &'a mut RescueState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        bring_up::cut_power(env, state.task.server).await?;
        // The rescue disk goes, so that the definition must not speak of it.
        let subject = env.load(state.task.server).await?;
        bring_up::define(env, &subject).await
    })
}
