//! Makes an image of a server's root disk, as a snapshot or as one of a row of backups. The guest, if it runs, goes on.
//!
//! ```text
//! snapshot: image_snapshot_pending -> image_snapshot -> image_pending_upload -> image_uploading -> (idle)
//! backup:   image_backup           -> image_backup   -> image_pending_upload -> image_uploading -> (idle)
//! ```
//!
//! A failure leaves the server as it was, and no image.

use super::record;
use super::{Blame, ServerEnv, ServerTask, capture};
use crate::core::ids::ImageId;
use crate::core::server::snapshot::Rotation;
use crate::core::server::state::TaskState;
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError, images};
use crate::task::{Cause, Direction, Step, StepContext, StepFuture, TaskInfo, Workflow};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The longest that copying a disk may take.
pub(super) const COPY_DEADLINE: Duration = Duration::from_secs(8 * 3600);

/// The workflow of a snapshot or a backup.
pub struct ServerSnapshot;

#[derive(Debug, Serialize, Deserialize)]
pub struct SnapshotState {
    #[serde(flatten)]
    pub task: ServerTask,
    /// The image that is waiting for its bytes.
    pub image: ImageId,
    /// For a backup.
    pub rotation: Option<Rotation>,
}

impl Workflow for ServerSnapshot {
    const NAME: &'static str = "server_snapshot";
    const DIRECTION: Direction = Direction::Unwind;
    type Env = ServerEnv;
    type State = SnapshotState;

    fn steps() -> Vec<Step<Self>> {
        vec![
            Step::<Self>::new("settle", settle).enter(|c, state, info, now| {
                let (event, task) = match state.rotation {
                    None => ("compute_snapshot_instance", TaskState::ImageSnapshot),
                    Some(_) => ("compute_backup_instance", TaskState::ImageBackup),
                };
                record::begin(c, &state.task, event, now)?;
                record::enter(c, &state.task, info, task, now)
            }),
            Step::<Self>::new("copy", copy)
                .enter(|c, state, info, now| {
                    capture::begin_saving(c, state.image, now)?;
                    record::enter(c, &state.task, info, TaskState::ImagePendingUpload, now)
                })
                .undo(discard)
                .deadline(COPY_DEADLINE),
            Step::<Self>::new("publish", publish)
                .enter(|c, state, info, now| {
                    record::enter(c, &state.task, info, TaskState::ImageUploading, now)
                })
                .undo(unpublish)
                .deadline(COPY_DEADLINE),
            Step::<Self>::new("rotate", rotate),
        ]
    }

    fn done(
        c: &Connection,
        state: &SnapshotState,
        info: &TaskInfo,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        record::succeed(c, &state.task, info, Outcome::default(), now)
    }

    fn unwound(
        c: &Connection,
        state: &SnapshotState,
        info: &TaskInfo,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        images::delete(c, state.image, now)?;
        record::fail(c, &state.task, info, cause, Outcome::default(), now)
    }

    fn stuck(
        c: &Connection,
        state: &SnapshotState,
        info: &TaskInfo,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        images::delete(c, state.image, now)?;
        record::fail(c, &state.task, info, cause, Outcome::default(), now)
    }
}

fn settle<'a>(env: &'a ServerEnv, state: &'a mut SnapshotState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move { capture::discard(env, state.task.server).await })
}

fn copy<'a>(env: &'a ServerEnv, state: &'a mut SnapshotState, context: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = env.load(state.task.server).await?;
        capture::copy(env, &subject.server, context).await
    })
}

fn discard<'a>(env: &'a ServerEnv, state: &'a mut SnapshotState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move { capture::discard(env, state.task.server).await })
}

fn publish<'a>(env: &'a ServerEnv, state: &'a mut SnapshotState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = env.load(state.task.server).await?;
        capture::publish(env, &subject.server, state.image, env.now()).await
    })
}

fn unpublish<'a>(env: &'a ServerEnv, state: &'a mut SnapshotState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        env.storage.remove_image(state.image).await.blame("Removing the bytes of an unfinished image")
    })
}

/// Deletes the oldest backups of this kind beyond those that are kept.
fn rotate<'a>(env: &'a ServerEnv, state: &'a mut SnapshotState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let Some(rotation) = state.rotation.clone() else { return Ok(()) };
        let server = state.task.server;
        let backups = env.store.read(move |c| images::backups(c, server, &rotation.kind)).await?;
        let keep = state.rotation.as_ref().map_or(0, |rotation| rotation.keep);
        for image in backups.iter().skip(keep).filter(|image| !image.protected) {
            capture::delete_image(env, image.id, env.now()).await?;
            if image.id == state.image {
                // Of our own nobody else knows yet, and this very task would keep its bytes.
                env.storage.remove_image(image.id).await.blame("Removing the bytes of a backup")?;
            }
        }
        Ok(())
    })
}
