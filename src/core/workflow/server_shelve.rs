//! Shelves a server: its guest goes off and its root disk becomes an image. What it takes of the host is given up by the
//! offload, at once or later.
//!
//! ```text
//! shelving -> shelving_image_pending_upload -> shelving_image_uploading -> shelved, and then
//!     offload at once:  shelved/shelving_offloading (see `server_offload`)
//!     offload later:    shelved, with a task that is due then (see `due`)
//! ```
//!
//! A failure leaves the server in the state that it was in, its guest running again if it ran, and no image.

use super::capture::{self, Capturing};
use super::due::{self, Occasion};
use super::record;
use super::server_offload::{OffloadState, ServerOffload};
use super::verb::Verb;
use super::{Blame, ServerEnv, ServerTask, bring_up, enqueue, shut_down};
use crate::core::ids::{ImageId, ServerId};
use crate::core::server::Shelved;
use crate::core::server::state::{TaskState, VmState};
use crate::host::hypervisor::DomainState;
use crate::store::servers::{self, Outcome};
use crate::store::{Connection, StoreError, images, server_actions, tasks};
use crate::task::{Cause, Step, StepContext, StepFuture, TaskInfo};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The workflow of a shelving.
pub struct ServerShelve;

#[derive(Debug, Serialize, Deserialize)]
pub struct ShelveState {
    #[serde(flatten)]
    pub task: ServerTask,
    /// The image that is waiting for the disk.
    pub image: ImageId,
    /// After how many seconds what the server takes of the host is given up; negative is never.
    pub offload_after: i64,
    /// Whether the guest ran when the shelving began.
    pub ran: bool,
}

impl Capturing for ShelveState {
    const COPYING: TaskState = TaskState::ShelvingImagePendingUpload;
    const PUBLISHING: TaskState = TaskState::ShelvingImageUploading;
    /// Without its image the server could never come back.
    const VITAL: bool = true;

    fn task(&self) -> &ServerTask {
        &self.task
    }

    fn image(&self) -> ImageId {
        self.image
    }
}

impl Verb for ServerShelve {
    const NAME: &'static str = "server_shelve";
    type State = ShelveState;

    fn steps() -> Vec<Step<Self>> {
        let [copy, publish] = capture::steps();
        vec![
            Step::<Self>::new("power_off", power_off)
                .enter(|c, state, info, now| {
                    record::begin(c, &state.task, "compute_shelve_instance", now)?;
                    record::enter(c, &state.task, info, TaskState::Shelving, now)
                })
                .undo(power_on)
                .deadline(Duration::from_secs(24 * 3600)),
            copy,
            publish,
        ]
    }

    fn task(state: &ShelveState) -> &ServerTask {
        &state.task
    }

    /// Its end says so itself: with an offload at once they go on until that is over.
    fn ends_events(_: &ShelveState) -> bool {
        false
    }

    fn done(
        c: &Connection,
        state: &ShelveState,
        info: &TaskInfo,
        now: Timestamp,
    ) -> Result<Outcome, StoreError> {
        let server = state.task.server;
        let shelved = Shelved { image_id: state.image, at: now };
        servers::set_shelved(c, server, Some(&shelved))?;
        // Whoever took its place after the last step decides about the server first.
        let given_way = tasks::get(c, info.id)?.is_some_and(|task| task.preempted);
        if given_way || state.offload_after != 0 {
            due::arrange(c, server, Occasion::Offload, state.offload_after, now)?;
            server_actions::finish_events(c, state.task.action, None, now)?;
        } else {
            let offload = OffloadState { task: state.task.clone(), event: false };
            enqueue::<ServerOffload>(c, server, &offload, &info.request_id, now)?;
            servers::begin(c, server, TaskState::ShelvingOffloading, now)?;
        }
        record::off(c, server, VmState::Shelved, now)
    }

    fn undone(c: &Connection, state: &ShelveState, _: &Cause, now: Timestamp) -> Result<Outcome, StoreError> {
        images::delete(c, state.image, now)?;
        Ok(Outcome::default())
    }
}

fn power_off<'a>(env: &'a ServerEnv, state: &'a mut ShelveState, context: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let id = state.task.server;
        // Only a guest that runs hears; one that is paused would be waited for in vain.
        if env.hypervisor.state(id).await.blame("Looking at the guest")? == Some(DomainState::Running) {
            return shut_down::turn_off(env, id, context).await;
        }
        bring_up::cut_power(env, id).await
    })
}

fn power_on<'a>(env: &'a ServerEnv, state: &'a mut ShelveState, context: &'a StepContext) -> StepFuture<'a> {
    Box::pin(bring_up::start_again(env, state.task.server, state.ran, context))
}

/// Ends what a server remembers of its shelving, with the image that it came back from or needs no more.
pub fn forget(c: &Connection, server: ServerId, request_id: &str, now: Timestamp) -> Result<(), StoreError> {
    let Some(shelved) = servers::get_any(c, server)?.and_then(|row| row.shelved) else { return Ok(()) };
    servers::set_shelved(c, server, None)?;
    images::delete(c, shelved.image_id, now)?;
    super::image_removal::arrange(c, shelved.image_id, request_id, now)
}
