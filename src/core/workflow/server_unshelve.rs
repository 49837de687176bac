//! Brings a server back that was shelved and given up by the host: as a create does, but from the image of its disk. A
//! failure leaves it shelved. One that is still on the host is merely started (see `server_start`).
//!
//! ```text
//! shelved_offloaded/unshelving -> spawning -> active
//! ```

use super::record;
use super::verb::Verb;
use super::{Blame, ServerEnv, ServerTask, bring_up, server_shelve};
use crate::core::server::state::TaskState;
use crate::host::disk::ImageFormat;
use crate::host::storage::{BootSource, DiskPlan};
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError, server_ports};
use crate::task::{Cause, Step, StepContext, StepError, StepFuture, TaskInfo};
use jiff::Timestamp;
use std::time::Duration;

/// The workflow of an unshelving.
pub struct ServerUnshelve;

impl Verb for ServerUnshelve {
    const NAME: &'static str = "server_unshelve";
    type State = ServerTask;

    fn steps() -> Vec<Step<Self>> {
        vec![
            Step::<Self>::new("networking", network)
                .enter(|c, task, info, now| {
                    record::begin(c, task, "compute_unshelve_instance", now)?;
                    record::enter(c, task, info, TaskState::Unshelving, now)
                })
                .undo(undo_network),
            Step::<Self>::new("disks", disks).undo(undo_disks).deadline(Duration::from_secs(4 * 3600)),
            Step::<Self>::new("spawning", spawn)
                .enter(|c, task, info, now| record::enter(c, task, info, TaskState::Spawning, now))
                .undo(undo_spawn),
        ]
    }

    fn task(task: &ServerTask) -> &ServerTask {
        task
    }

    fn done(
        c: &Connection,
        task: &ServerTask,
        info: &TaskInfo,
        now: Timestamp,
    ) -> Result<Outcome, StoreError> {
        server_shelve::forget(c, task.server, &info.request_id, now)?;
        Ok(Outcome { launched: true, ..record::runs(c, task.server, now)? })
    }

    fn undone(c: &Connection, task: &ServerTask, _: &Cause, _: Timestamp) -> Result<Outcome, StoreError> {
        server_ports::set_server_ports_host(c, task.server, "")?;
        Ok(Outcome { unplaced: true, ..Outcome::default() })
    }

    fn stuck(_: &Connection, _: &ServerTask, _: &Cause, _: Timestamp) -> Result<Outcome, StoreError> {
        // Something of it is still on the host: it stays counted there.
        Ok(record::in_error())
    }
}

fn network<'a>(env: &'a ServerEnv, task: &'a mut ServerTask, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = env.load(task.server).await?;
        bring_up::reserve_addresses(env, &subject).await
    })
}

fn undo_network<'a>(env: &'a ServerEnv, task: &'a mut ServerTask, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = env.load(task.server).await?;
        bring_up::forget_addresses(env, &subject).await
    })
}

fn disks<'a>(env: &'a ServerEnv, task: &'a mut ServerTask, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = env.load(task.server).await?;
        let Some(shelved) = &subject.server.shelved else {
            return Err(StepError::new(500, "The server has no image that it could come back from."));
        };
        let config_drive = bring_up::config_drive(env, &subject, None)?;
        // The image is the root disk as it was, whatever the server was once made from.
        let boot = BootSource::Disk { image: shelved.image_id, format: ImageFormat::Qcow2 };
        let plan = bring_up::disk_plan(&subject.server, config_drive)?;
        env.storage.ensure(&DiskPlan { boot, ..plan }).await.blame("Making the disks").map(drop)
    })
}

fn undo_disks<'a>(env: &'a ServerEnv, task: &'a mut ServerTask, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move { env.storage.remove(task.server).await.blame("Removing the disks") })
}

fn spawn<'a>(env: &'a ServerEnv, task: &'a mut ServerTask, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = env.load(task.server).await?;
        bring_up::tell_addresses(env, &subject, None).await?;
        bring_up::power_on(env, &subject).await
    })
}

fn undo_spawn<'a>(env: &'a ServerEnv, task: &'a mut ServerTask, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move { bring_up::remove_domain(env, task.server).await })
}
