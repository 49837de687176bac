//! Gives a server another size: the guest is shut down, new layers come over its disks, and it is started with the new
//! flavor. What was is kept below until the resize is confirmed or taken back.
//!
//! ```text
//! */resize_prep -> resize_migrating -> resize_migrated -> resize_finish -> resized
//!        |               |                    |                 |
//!        +---------------+--------------------+-----------------+--> undone: the old size runs as before; error
//!                                                                    once the guest was touched
//! ```
//!
//! The row has the new flavor from the moment on when the request is accepted, so that room and quota are taken; views show the
//! old one until the end.

use super::due::{self, Occasion};
use super::record::{self, in_error};
use super::verb::Verb;
use super::{Blame, ServerEnv, ServerTask, Subject, bring_up, server_delete::ServerDelete, shut_down};
use crate::core::server::ServerFlavor;
use crate::core::server::migration::MigrationStatus;
use crate::core::server::state::{PowerState, TaskState, VmState};
use crate::store::servers::{self, Outcome};
use crate::store::{Connection, StoreError, server_migrations, tasks};
use crate::task::{Cause, Step, StepContext, StepError, StepFuture, TaskInfo, Workflow};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The workflow of a resize.
pub struct ServerResize;

#[derive(Debug, Serialize, Deserialize)]
pub struct ResizeState {
    #[serde(flatten)]
    pub task: ServerTask,
    /// Of the migration record; the new layers carry it.
    pub migration: i64,
    pub old_flavor: ServerFlavor,
    /// Whether the guest is to run afterwards.
    pub active: bool,
    /// Whether the guest may have been touched.
    pub touched: bool,
    /// After how many seconds the resize confirms itself; 0 for never.
    pub window_seconds: u64,
}

impl Verb for ServerResize {
    const NAME: &'static str = "server_resize";
    type State = ResizeState;

    fn steps() -> Vec<Step<Self>> {
        vec![
            Step::<Self>::new("prep", prepare).enter(|c, state, info, now| {
                record::next(c, &state.task, "compute_prep_resize", now)?;
                record::enter(c, &state.task, info, TaskState::ResizePrep, now)
            }),
            Step::<Self>::new("migrating", go_down)
                .enter(|c, state, info, now| {
                    record::next(c, &state.task, "compute_resize_instance", now)?;
                    server_migrations::set_status(c, state.migration, MigrationStatus::Migrating, now)?;
                    record::enter(c, &state.task, info, TaskState::ResizeMigrating, now)
                })
                .undo(come_back)
                .deadline(Duration::from_secs(24 * 3600)),
            // Too many layers of earlier resizes are brought together first, which copies what was written since.
            Step::<Self>::new("migrated", cover_disks)
                .enter(|c, state, info, now| {
                    server_migrations::set_status(c, state.migration, MigrationStatus::PostMigrating, now)?;
                    record::enter(c, &state.task, info, TaskState::ResizeMigrated, now)
                })
                .undo(uncover_disks)
                .deadline(Duration::from_secs(4 * 3600)),
            Step::<Self>::new("finish", come_up)
                .enter(|c, state, info, now| {
                    record::next(c, &state.task, "compute_finish_resize", now)?;
                    record::enter(c, &state.task, info, TaskState::ResizeFinish, now)
                })
                .undo(go_off),
        ]
    }

    fn task(state: &ResizeState) -> &ServerTask {
        &state.task
    }

    fn done(
        c: &Connection,
        state: &ResizeState,
        _: &TaskInfo,
        now: Timestamp,
    ) -> Result<Outcome, StoreError> {
        let id = state.task.server;
        if let Some(mut resize) = servers::get(c, id)?.and_then(|server| server.resize) {
            resize.finished_at = Some(now);
            servers::set_resize(c, id, Some(&resize))?;
        }
        server_migrations::set_status(c, state.migration, MigrationStatus::Finished, now)?;
        if state.window_seconds > 0 {
            let seconds = i64::try_from(state.window_seconds).unwrap_or(i64::MAX);
            due::arrange(c, id, Occasion::Confirm, seconds, now)?;
        }
        let power = if state.active { PowerState::Running } else { PowerState::Shutdown };
        Ok(Outcome {
            vm_state: Some(VmState::Resized),
            power_state: Some(power),
            launched: true,
            ..Outcome::default()
        })
    }

    fn undone(c: &Connection, state: &ResizeState, _: &Cause, now: Timestamp) -> Result<Outcome, StoreError> {
        back_to_old(c, state, now)?;
        Ok(if state.touched { in_error() } else { Outcome::default() })
    }

    fn stuck(c: &Connection, state: &ResizeState, _: &Cause, now: Timestamp) -> Result<Outcome, StoreError> {
        back_to_old(c, state, now)?;
        Ok(in_error())
    }
}

fn back_to_old(c: &Connection, state: &ResizeState, now: Timestamp) -> Result<(), StoreError> {
    let id = state.task.server;
    servers::set_flavor(c, id, &state.old_flavor, now)?;
    servers::set_resize(c, id, None)?;
    server_migrations::set_status(c, state.migration, MigrationStatus::Error, now)
}

/// The server as it was before its resize.
async fn load_old(env: &ServerEnv, state: &ResizeState) -> Result<Subject, StepError> {
    let mut subject = env.load(state.task.server).await?;
    subject.server.flavor = state.old_flavor.clone();
    Ok(subject)
}

/// What can be known to fail is to fail before the guest is touched.
fn prepare<'a>(env: &'a ServerEnv, state: &'a mut ResizeState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = env.load(state.task.server).await?;
        bring_up::files(env, &subject).await.map(drop)
    })
}

fn go_down<'a>(env: &'a ServerEnv, state: &'a mut ResizeState, context: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let id = state.task.server;
        let subject = env.load(id).await?;
        let new = &subject.server.flavor;
        let old = load_old(env, state).await?.server;
        // Disks that were asked for in a smaller size do not grow, and may fit a smaller flavor.
        let ephemeral: u64 = old.ephemeral_gib().iter().sum();
        if new.disk_gib < old.flavor.disk_gib || new.ephemeral_gib < ephemeral {
            return Err(StepError::new(500, "Resize error: Unable to resize disk down."));
        }
        state.touched = true;
        shut_down::turn_off(env, id, context).await
    })
}

/// Brings the guest back as it was, unless it is on its way to be deleted.
fn come_back<'a>(env: &'a ServerEnv, state: &'a mut ResizeState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let id = state.task.server;
        let deleted = env.store.read(move |c| tasks::is_open(c, &id.to_string(), ServerDelete::NAME)).await?;
        if !state.touched || deleted {
            return Ok(());
        }
        let subject = load_old(env, state).await?;
        bring_up::bring_back(env, &subject, state.active).await
    })
}

fn cover_disks<'a>(env: &'a ServerEnv, state: &'a mut ResizeState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = env.load(state.task.server).await?;
        let plan = bring_up::disk_plan(&subject.server, None)?;
        env.storage.begin_resize(&plan, state.migration).await.blame("Resizing the disks")
    })
}

fn uncover_disks<'a>(env: &'a ServerEnv, state: &'a mut ResizeState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = load_old(env, state).await?;
        let plan = bring_up::disk_plan(&subject.server, None)?;
        env.storage.revert_resize(&plan, state.migration).await.blame("Bringing the old disks back")
    })
}

fn come_up<'a>(env: &'a ServerEnv, state: &'a mut ResizeState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = env.load(state.task.server).await?;
        bring_up::bring_back(env, &subject, state.active).await
    })
}

fn go_off<'a>(env: &'a ServerEnv, state: &'a mut ResizeState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move { bring_up::cut_power(env, state.task.server).await })
}
