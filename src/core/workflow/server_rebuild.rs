//! Rebuilds a server: the same id, addresses and size, on fresh disks from an image.
//!
//! ```text
//! rebuilding -> rebuild_block_device_mapping -> rebuild_spawning -> active
//!                                                               `-> active/powering-off -> stopped, if it was stopped
//! ```
//!
//! The row has what was asked for from the beginning. The image is made ready while the guest still runs. A step that begins
//! is logged before, so once the new guest may have written something its disks are not replaced again.

use super::record::{self, in_error};
use super::verb::Verb;
use super::{Blame, ServerEnv, ServerTask, bring_up, shut_down};
use crate::core::ids::ImageId;
use crate::core::secret::Secret;
use crate::core::server::Server;
use crate::core::server::state::{TaskState, VmState};
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError, server_rebuild};
use crate::task::{Cause, Step, StepContext, StepFuture, TaskInfo};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// The workflow of a rebuild.
pub struct ServerRebuild;

#[derive(Debug, Serialize, Deserialize)]
pub struct RebuildState {
    #[serde(flatten)]
    pub task: ServerTask,
    /// For the config drive. Forgotten with the state when the task closes.
    pub admin_password: Secret,
    pub keep_ephemeral: bool,
    pub was_stopped: bool,
    /// What the server's disks stand on until they are replaced.
    pub before: FormerImage,
    /// Whether the disks may have been replaced.
    pub replacing: bool,
}

/// What a server was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerImage {
    pub image_id: Option<ImageId>,
    pub image_format: Option<String>,
    pub image_properties: BTreeMap<String, String>,
}

impl FormerImage {
    pub fn of(server: &Server) -> Self {
        Self {
            image_id: server.image_id,
            image_format: server.image_format.clone(),
            image_properties: server.image_properties.clone(),
        }
    }
}

impl Verb for ServerRebuild {
    const NAME: &'static str = "server_rebuild";
    type State = RebuildState;

    fn steps() -> Vec<Step<Self>> {
        vec![
            Step::<Self>::new("image", prepare_image)
                .enter(|c, state, info, now| {
                    record::begin(c, &state.task, "rebuild_server", now)?;
                    record::begin(c, &state.task, "compute_rebuild_instance", now)?;
                    record::enter(c, &state.task, info, TaskState::Rebuilding, now)
                })
                .deadline(Duration::from_secs(4 * 3600)),
            Step::<Self>::new("power_off", power_off).deadline(Duration::from_secs(24 * 3600)),
            Step::<Self>::new("block_device_mapping", replace_disks).enter(|c, state, info, now| {
                record::enter(c, &state.task, info, TaskState::RebuildBlockDeviceMapping, now)
            }),
            Step::<Self>::new("spawning", spawn).enter(|c, state, info, now| {
                record::enter(c, &state.task, info, TaskState::RebuildSpawning, now)
            }),
            Step::<Self>::new("stopped", stay_off).enter(|c, state, info, now| {
                if !state.was_stopped {
                    return Ok(());
                }
                record::begin(c, &state.task, "compute_stop_instance", now)?;
                server_rebuild::set_vm_state(c, state.task.server, VmState::Active)?;
                record::enter(c, &state.task, info, TaskState::PoweringOff, now)
            }),
        ]
    }

    fn task(state: &RebuildState) -> &ServerTask {
        &state.task
    }

    fn done(
        c: &Connection,
        state: &RebuildState,
        _: &TaskInfo,
        now: Timestamp,
    ) -> Result<Outcome, StoreError> {
        let server = state.task.server;
        let outcome = if state.was_stopped {
            record::off(c, server, VmState::Stopped, now)?
        } else {
            record::runs(c, server, now)?
        };
        Ok(Outcome { launched: true, ..outcome })
    }

    fn undone(c: &Connection, state: &RebuildState, _: &Cause, _: Timestamp) -> Result<Outcome, StoreError> {
        if !state.replacing {
            let FormerImage { image_id, image_format, image_properties } = &state.before;
            let format = image_format.as_deref();
            server_rebuild::set_image(c, state.task.server, *image_id, format, image_properties)?;
        }
        Ok(in_error())
    }

    fn stuck(_: &Connection, _: &RebuildState, _: &Cause, _: Timestamp) -> Result<Outcome, StoreError> {
        Ok(in_error())
    }
}

fn prepare_image<'a>(env: &'a ServerEnv, state: &'a mut RebuildState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = env.load(state.task.server).await?;
        bring_up::check_hardware(&subject.server)?;
        let plan = bring_up::disk_plan(&subject.server, None)?;
        env.storage.prepare(plan.boot).await.blame("Making the image ready")
    })
}

fn power_off<'a>(
    env: &'a ServerEnv,
    state: &'a mut RebuildState,
    context: &'a StepContext,
) -> StepFuture<'a> {
    Box::pin(async move {
        let id = state.task.server;
        let server = env.load(id).await?.server;
        // Only what outlives the guest is worth the time that it takes to write everything out.
        if state.keep_ephemeral && server.ephemeral_gib().iter().any(|gib| *gib > 0) {
            let off = shut_down::shut_down(env, id, shut_down::patience(env, &server), context).await?;
            if !off {
                shut_down::gave_way(context)?;
            }
        }
        bring_up::cut_power(env, id).await?;
        // Kept with the start of the next step.
        state.replacing = true;
        Ok(())
    })
}

fn replace_disks<'a>(env: &'a ServerEnv, state: &'a mut RebuildState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        // Somebody may have started the old guest meanwhile, by hand.
        bring_up::cut_power(env, state.task.server).await?;
        let subject = env.load(state.task.server).await?;
        let config_drive = bring_up::config_drive(env, &subject, Some(&state.admin_password))?;
        let plan = bring_up::disk_plan(&subject.server, config_drive)?;
        env.storage.replace(&plan, state.keep_ephemeral).await.blame("Making the disks anew")
    })
}

fn spawn<'a>(env: &'a ServerEnv, state: &'a mut RebuildState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = env.load(state.task.server).await?;
        bring_up::reserve_addresses(env, &subject).await?;
        bring_up::tell_addresses(env, &subject, Some(&state.admin_password)).await?;
        if state.was_stopped {
            // It would be stopped in the middle of its first boot.
            return bring_up::define(env, &subject).await;
        }
        bring_up::power_on(env, &subject).await
    })
}

fn stay_off<'a>(env: &'a ServerEnv, state: &'a mut RebuildState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        if state.was_stopped {
            return bring_up::cut_power(env, state.task.server).await;
        }
        Ok(())
    })
}
