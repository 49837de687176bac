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

use super::due::{self, Occasion};
use super::record;
use super::server_offload::{OffloadState, ServerOffload};
use super::server_snapshot::COPY_DEADLINE;
use super::{Blame, ServerEnv, ServerTask, bring_up, capture, shut_down};
use crate::core::ids::{ImageId, ServerId};
use crate::core::port::PortStatus;
use crate::core::server::Shelved;
use crate::core::server::state::{PowerState, TaskState, VmState};
use crate::host::hypervisor::DomainState;
use crate::store::rows::to_json;
use crate::store::servers::{self, Outcome};
use crate::store::tasks::{self, NewTask};
use crate::store::{Connection, StoreError, images, server_ports};
use crate::task::{Cause, Direction, Step, StepContext, StepError, StepFuture, TaskInfo, Workflow};
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

impl Workflow for ServerShelve {
    const NAME: &'static str = "server_shelve";
    const DIRECTION: Direction = Direction::Unwind;
    type Env = ServerEnv;
    type State = ShelveState;

    fn steps() -> Vec<Step<Self>> {
        vec![
            Step::<Self>::new("power_off", power_off)
                .enter(|c, state, info, now| {
                    record::begin(c, &state.task, "compute_shelve_instance", now)?;
                    record::enter(c, &state.task, info, TaskState::Shelving, now)
                })
                .undo(power_on)
                .deadline(Duration::from_secs(24 * 3600)),
            Step::<Self>::new("copy", copy)
                .enter(|c, state, info, now| {
                    capture::begin_saving(c, state.image, now)?;
                    record::enter(c, &state.task, info, TaskState::ShelvingImagePendingUpload, now)
                })
                .undo(discard)
                .deadline(COPY_DEADLINE),
            Step::<Self>::new("publish", publish)
                .enter(|c, state, info, now| {
                    record::enter(c, &state.task, info, TaskState::ShelvingImageUploading, now)
                })
                .undo(unpublish)
                .deadline(COPY_DEADLINE),
        ]
    }

    fn done(c: &Connection, state: &ShelveState, info: &TaskInfo, now: Timestamp) -> Result<(), StoreError> {
        let server = state.task.server;
        let shelved = Shelved { image_id: state.image, at: now };
        servers::set_shelved(c, server, Some(&shelved))?;
        server_ports::set_server_ports_status(c, server, PortStatus::Down, now)?;
        let outcome = Outcome {
            vm_state: Some(VmState::Shelved),
            power_state: Some(PowerState::Shutdown),
            ..Outcome::default()
        };
        if state.offload_after != 0 {
            due::arrange(c, server, Occasion::Offload, state.offload_after, now)?;
            return record::succeed(c, &state.task, info, outcome, now);
        }
        // The event goes on until the offload is over.
        let offload = OffloadState { task: state.task.clone(), event: false };
        let task = NewTask {
            workflow: ServerOffload::NAME,
            subject: &server.to_string(),
            state: &to_json(&offload)?,
            request_id: &info.request_id,
            preempt: false,
        };
        tasks::enqueue(c, &task, now)?;
        servers::begin(c, server, TaskState::ShelvingOffloading, now)?;
        servers::finish(c, server, info.id, outcome, now)
    }

    fn unwound(
        c: &Connection,
        state: &ShelveState,
        info: &TaskInfo,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        images::delete(c, state.image, now)?;
        record::fail(c, &state.task, info, cause, Outcome::default(), now)
    }

    fn stuck(
        c: &Connection,
        state: &ShelveState,
        info: &TaskInfo,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        images::delete(c, state.image, now)?;
        record::fail(c, &state.task, info, cause, Outcome::default(), now)
    }
}

fn power_off<'a>(env: &'a ServerEnv, state: &'a mut ShelveState, context: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let id = state.task.server;
        // Only a guest that runs hears; one that is paused would be waited for in vain.
        if env.hypervisor.state(id).await.blame("Looking at the guest")? == Some(DomainState::Running) {
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

/// Lets a guest run again that ran before, unless somebody else decides about it now.
fn power_on<'a>(env: &'a ServerEnv, state: &'a mut ShelveState, context: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        if !state.ran || context.preempted.is_cancelled() {
            return Ok(());
        }
        let subject = env.load(state.task.server).await?;
        bring_up::reserve_addresses(env, &subject).await?;
        bring_up::power_on(env, &subject).await
    })
}

fn copy<'a>(env: &'a ServerEnv, state: &'a mut ShelveState, context: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = env.load(state.task.server).await?;
        capture::copy(env, &subject.server, context).await
    })
}

fn discard<'a>(env: &'a ServerEnv, state: &'a mut ShelveState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move { capture::discard(env, state.task.server).await })
}

fn publish<'a>(env: &'a ServerEnv, state: &'a mut ShelveState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = env.load(state.task.server).await?;
        capture::publish(env, &subject.server, state.image, env.now()).await?;
        // Without its image the server could never come back.
        let image = state.image;
        let kept = env.store.read(move |c| images::get(c, image)).await?;
        kept.map(drop).ok_or_else(|| {
            StepError::new(409, format!("Image {image} was deleted while the server was being shelved."))
        })
    })
}

fn unpublish<'a>(env: &'a ServerEnv, state: &'a mut ShelveState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        env.storage.remove_image(state.image).await.blame("Removing the bytes of an unfinished image")
    })
}

/// Ends what a server remembers of its shelving, with the image that it came back from or needs no more.
pub fn forget(c: &Connection, server: ServerId, request_id: &str, now: Timestamp) -> Result<(), StoreError> {
    let Some(shelved) = servers::get_any(c, server)?.and_then(|row| row.shelved) else { return Ok(()) };
    servers::set_shelved(c, server, None)?;
    images::delete(c, shelved.image_id, now)?;
    super::image_removal::arrange(c, shelved.image_id, request_id, now)
}
