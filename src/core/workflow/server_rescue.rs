//! Rescues a server: its guest is off, and another system, on a disk of its own, looks after the server's root disk.
//! active, stopped or error/rescuing -> rescued

use super::record::{self, in_error};
use super::verb::Verb;
use super::{Blame, ServerEnv, ServerTask, Subject, bring_up, shut_down};
use crate::core::secret::Secret;
use crate::core::server::Rescue;
use crate::core::server::state::{TaskState, VmState};
use crate::host::hypervisor::DeviceAddresses;
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError, servers};
use crate::task::{Cause, Step, StepContext, StepError, StepFuture, TaskInfo};
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

impl Verb for ServerRescue {
    const NAME: &'static str = "server_rescue";
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

    fn task(state: &RescueState) -> &ServerTask {
        &state.task
    }

    fn done(
        c: &Connection,
        state: &RescueState,
        _: &TaskInfo,
        now: Timestamp,
    ) -> Result<Outcome, StoreError> {
        servers::set_rescue(c, state.task.server, Some(&state.rescue))?;
        let outcome = record::runs(c, state.task.server, now)?;
        Ok(Outcome { vm_state: Some(VmState::Rescued), launched: true, ..outcome })
    }

    fn undone(_: &Connection, _: &RescueState, _: &Cause, _: Timestamp) -> Result<Outcome, StoreError> {
        Ok(in_error())
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
        bring_up::check_hardware(&subject.server)?;
        // Also where the server has none: it is how the password gets into the rescue system.
        let addresses = DeviceAddresses::default();
        let config_drive =
            bring_up::config_drive_bytes(env, &subject, Some(&state.admin_password), addresses)?;
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
    Box::pin(shut_down::turn_off(env, state.task.server, context))
}

fn power_on<'a>(env: &'a ServerEnv, state: &'a mut RescueState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = rescued(env, state).await?;
        bring_up::tell_addresses(env, &subject, Some(&state.admin_password)).await?;
        bring_up::start(env, &subject).await
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
