//! Makes an image of a server's root disk, as a snapshot or as one of a row of backups. The guest, if it runs, goes on.
//!
//! ```text
//! snapshot: image_snapshot_pending -> image_snapshot -> image_pending_upload -> image_uploading -> (idle)
//! backup:   image_backup           -> image_backup   -> image_pending_upload -> image_uploading -> (idle)
//! ```
//!
//! A failure leaves the server as it was, and no image.

use super::capture::{self, Capturing};
use super::record;
use super::verb::Verb;
use super::{Blame, ServerEnv, ServerTask};
use crate::core::ids::ImageId;
use crate::core::server::snapshot::Rotation;
use crate::core::server::state::TaskState;
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError, images};
use crate::task::{Cause, Step, StepContext, StepFuture, TaskInfo};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

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

impl Capturing for SnapshotState {
    const COPYING: TaskState = TaskState::ImagePendingUpload;
    const PUBLISHING: TaskState = TaskState::ImageUploading;
    const VITAL: bool = false;

    fn task(&self) -> &ServerTask {
        &self.task
    }

    fn image(&self) -> ImageId {
        self.image
    }
}

impl Verb for ServerSnapshot {
    const NAME: &'static str = "server_snapshot";
    type State = SnapshotState;

    fn steps() -> Vec<Step<Self>> {
        let [copy, publish] = capture::steps();
        vec![
            Step::<Self>::new("settle", settle).enter(|c, state, info, now| {
                let (event, task) = match state.rotation {
                    None => ("compute_snapshot_instance", TaskState::ImageSnapshot),
                    Some(_) => ("compute_backup_instance", TaskState::ImageBackup),
                };
                record::begin(c, &state.task, event, now)?;
                record::enter(c, &state.task, info, task, now)
            }),
            copy,
            publish,
            Step::<Self>::new("rotate", rotate),
        ]
    }

    fn task(state: &SnapshotState) -> &ServerTask {
        &state.task
    }

    fn done(_: &Connection, _: &SnapshotState, _: &TaskInfo, _: Timestamp) -> Result<Outcome, StoreError> {
        Ok(Outcome::default())
    }

    fn undone(
        c: &Connection,
        state: &SnapshotState,
        _: &Cause,
        now: Timestamp,
    ) -> Result<Outcome, StoreError> {
        images::delete(c, state.image, now)?;
        Ok(Outcome::default())
    }
}

fn settle<'a>(env: &'a ServerEnv, state: &'a mut SnapshotState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move { capture::discard(env, state.task.server).await })
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
