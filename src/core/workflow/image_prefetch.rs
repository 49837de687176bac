//! Makes an image ready for servers that are yet to come: what their disks will stand on is made now, which for some formats
//! means a conversion. Given up where that fails: the first server will try it itself, and say what is wrong.

use super::bring_up::boot_source;
use super::{Blame, ServerEnv};
use crate::core::ids::ImageId;
use crate::store::tasks::{self, NewTask};
use crate::store::{Connection, StoreError};
use crate::task::{Cause, Direction, Step, StepContext, StepFuture, TaskInfo, Workflow};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The workflow of a prefetch.
pub struct ImagePrefetch;

/// That it names the image keeps the image's bytes meanwhile.
#[derive(Debug, Serialize, Deserialize)]
pub struct PrefetchState {
    image: ImageId,
    /// The disk format of the image.
    format: String,
}

/// Has an image made ready.
pub fn arrange(
    c: &Connection,
    image: ImageId,
    format: &str,
    request_id: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let state = PrefetchState { image, format: format.to_owned() };
    let task = NewTask {
        workflow: ImagePrefetch::NAME,
        subject: &format!("prefetch {image}"),
        state: &serde_json::to_string(&state).map_err(|error| StoreError::Corrupt(error.to_string()))?,
        request_id,
        preempt: false,
        begun: None,
    };
    tasks::enqueue(c, &task, now)?;
    Ok(())
}

impl Workflow for ImagePrefetch {
    const NAME: &'static str = "image_prefetch";
    const DIRECTION: Direction = Direction::Unwind;
    type Env = ServerEnv;
    type State = PrefetchState;

    fn steps() -> Vec<Step<Self>> {
        // A conversion takes as long as that of a server's first disk.
        vec![Step::<Self>::new("base", prepare).deadline(Duration::from_secs(4 * 3600))]
    }

    fn done(_: &Connection, _: &PrefetchState, _: &TaskInfo, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }

    fn unwound(
        _: &Connection,
        state: &PrefetchState,
        _: &TaskInfo,
        cause: &Cause,
        _: Timestamp,
    ) -> Result<(), StoreError> {
        if let Cause::Failed(error) = cause {
            tracing::warn!(image = %state.image, error = %error.message, "an image could not be made ready ahead of its servers");
        }
        Ok(())
    }

    fn stuck(
        c: &Connection,
        state: &PrefetchState,
        task: &TaskInfo,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        Self::unwound(c, state, task, cause, now)
    }
}

fn prepare<'a>(env: &'a ServerEnv, state: &'a mut PrefetchState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let source = boot_source(state.image, &state.format)?;
        env.storage.prepare(source).await.blame("Making the image ready")
    })
}
