//! Removes the bytes of an image that a task has deleted, once the rows say so and as long as nobody reads them. Goes
//! forward until they are gone. The image's id is the task's subject, not part of its state: a task whose state speaks
//! of an image keeps that image's bytes.

use super::{Blame, ServerEnv};
use crate::core::ids::ImageId;
use crate::store::tasks::{self, NewTask};
use crate::store::{Connection, StoreError, images};
use crate::task::{Direction, Step, StepContext, StepError, StepFuture, TaskInfo, Workflow};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The workflow of a removal.
pub struct ImageRemoval;

#[derive(Debug, Serialize, Deserialize)]
pub struct RemovalState {}

/// What stands before the id in the subject.
const PREFIX: &str = "image ";

/// Has the bytes of an image removed whose row was deleted in the same transaction.
pub fn arrange(c: &Connection, image: ImageId, request_id: &str, now: Timestamp) -> Result<(), StoreError> {
    let task = NewTask {
        workflow: ImageRemoval::NAME,
        subject: &format!("{PREFIX}{image}"),
        state: "{}",
        request_id,
        preempt: false,
        begun: None,
    };
    tasks::enqueue(c, &task, now)?;
    Ok(())
}

impl Workflow for ImageRemoval {
    const NAME: &'static str = "image_removal";
    const DIRECTION: Direction = Direction::Forward;
    type Env = ServerEnv;
    type State = RemovalState;

    fn steps() -> Vec<Step<Self>> {
        vec![Step::<Self>::new("bytes", remove)]
    }

    fn done(_: &Connection, _: &RemovalState, _: &TaskInfo, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }
}

fn remove<'a>(env: &'a ServerEnv, _: &'a mut RemovalState, context: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = &context.task.subject;
        let named = subject.strip_prefix(PREFIX).and_then(|id| id.parse::<ImageId>().ok());
        let Some(image) = named else {
            return Err(StepError::new(500, format!("{subject} names no image.")));
        };
        // Whoever still reads them, the image store's own sweep removes them afterwards.
        if env.store.read(move |c| images::wants_file(c, image)).await? {
            return Ok(());
        }
        env.storage.remove_image(image).await.blame("Removing the bytes of an image")
    })
}
