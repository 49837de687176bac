//! What is due at a time: the offload of a shelved server, the end of a deleted one that could still be restored, the
//! confirmation of a resize. A task of its own waits for the time without standing in the way of the server's other
//! tasks; it then looks whether the server still is what it was, waits on while the server has something else to do, and
//! asks for what is due as anybody else would.

use super::server_delete::ServerDelete;
use super::server_offload::{OffloadState, ServerOffload};
use super::server_resize_confirm::{ConfirmState, ServerResizeConfirm};
use super::{ServerEnv, unasked};
use crate::core::ids::{RequestId, ServerId};
use crate::core::server::Server;
use crate::core::server::migration::MigrationStatus;
use crate::core::server::state::{TaskState, VmState};
use crate::store::rows::to_json;
use crate::store::tasks::{self, NewTask};
use crate::store::{Connection, StoreError, server_migrations, servers};
use crate::task::{Direction, Step, StepContext, StepError, StepFuture, TaskInfo, Workflow};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The workflow that waits.
pub struct Due;

/// What is due. The names are stored: names may be added, never changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Occasion {
    Offload,
    Reclaim,
    Confirm,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct DueState {
    server: ServerId,
    occasion: Occasion,
    /// Since when the server waits, in microseconds since the epoch: it may have come back and waited anew.
    since: i64,
}

/// Has something done to a server that waits for it from now on, if it still does after so many seconds. Negative is
/// never, and so is what is further off than times can be told.
pub fn arrange(
    c: &Connection,
    server: ServerId,
    occasion: Occasion,
    seconds: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(due) = due_at(seconds, now) else { return Ok(()) };
    let word = match occasion {
        Occasion::Offload => "offload",
        Occasion::Reclaim => "reclaim",
        Occasion::Confirm => "confirm",
    };
    let state = DueState { server, occasion, since: now.as_microsecond() };
    let task = NewTask {
        workflow: Due::NAME,
        // Not the server's own: its other tasks do not wait for this one. An earlier wait of its is no concern.
        subject: &format!("{word} {server} {}", state.since),
        state: &to_json(&state)?,
        request_id: &RequestId::fresh().0,
        preempt: false,
        begun: None,
    };
    let id = tasks::enqueue(c, &task, now)?;
    tasks::postpone(c, id, 0, due, now)
}

fn due_at(seconds: i64, now: Timestamp) -> Option<Timestamp> {
    let seconds = u32::try_from(seconds).ok()?;
    now.checked_add(SignedDuration::from_secs(i64::from(seconds))).ok()
}

impl Workflow for Due {
    const NAME: &'static str = "due";
    const DIRECTION: Direction = Direction::Forward;
    type Env = ServerEnv;
    type State = DueState;

    fn steps() -> Vec<Step<Self>> {
        vec![Step::<Self>::new("ask", ask)]
    }

    fn done(_: &Connection, _: &DueState, _: &TaskInfo, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }
}

fn ask<'a>(env: &'a ServerEnv, state: &'a mut DueState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let (id, occasion, since) = (state.server, state.occasion, state.since);
        let now = env.now();
        let asked = env
            .store
            .write::<_, StoreError, _>(move |c| {
                let Some(server) = servers::get(c, id)? else { return Ok(true) };
                if waits_since(&server, occasion) != Some(since) {
                    return Ok(true);
                }
                if server.task_state.is_some() || tasks::is_busy(c, &id.to_string())? {
                    return Ok(false);
                }
                match occasion {
                    Occasion::Offload => offload(c, &server, now)?,
                    Occasion::Reclaim => reclaim(c, &server, now)?,
                    Occasion::Confirm => confirm(c, &server, now)?,
                }
                tracing::info!(server = %id, ?occasion, "its time is over");
                Ok(true)
            })
            .await?;
        if asked { Ok(()) } else { Err(StepError::new(409, "The server is busy.")) }
    })
}

/// Since when the server waits for this, in microseconds since the epoch.
fn waits_since(server: &Server, occasion: Occasion) -> Option<i64> {
    let since = match (occasion, server.vm_state) {
        (Occasion::Offload, VmState::Shelved) => server.shelved.as_ref().map(|shelved| shelved.at),
        (Occasion::Reclaim, VmState::SoftDelete) => server.soft_deleted_at,
        (Occasion::Confirm, VmState::Resized) => server.resize.as_ref().and_then(|resize| resize.finished_at),
        _ => None,
    };
    since.map(Timestamp::as_microsecond)
}

fn offload(c: &Connection, server: &Server, now: Timestamp) -> Result<(), StoreError> {
    let state = |task| OffloadState { task, event: true };
    unasked::<ServerOffload>(c, server, "shelveOffload", Some(TaskState::ShelvingOffloading), state, now)
}

fn reclaim(c: &Connection, server: &Server, now: Timestamp) -> Result<(), StoreError> {
    unasked::<ServerDelete>(c, server, "delete", Some(TaskState::Deleting), |task| task, now)
}

fn confirm(c: &Connection, server: &Server, now: Timestamp) -> Result<(), StoreError> {
    let Some(resize) = &server.resize else { return Ok(()) };
    let migration = server_migrations::get(c, resize.number, server.id)?;
    // As for anybody: only a resize that is there to be looked at can be confirmed.
    if migration.is_none_or(|found| found.status != MigrationStatus::Finished) {
        return Ok(());
    }
    server_migrations::set_status(c, resize.number, MigrationStatus::Confirming, now)?;
    let state = |task| ConfirmState::new(task, resize.number);
    unasked::<ServerResizeConfirm>(c, server, "confirmResize", None, state, now)
}
