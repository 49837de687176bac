//! What is due at a time: the offload of a shelved server, the end of a deleted one that could still be restored. A task
//! of its own waits for the time without standing in the way of the server's other tasks; it then looks whether the
//! server still is what it was, and asks for what is due as anybody else would.

use super::server_delete::ServerDelete;
use super::server_offload::{OffloadState, ServerOffload};
use super::{ServerEnv, ServerTask};
use crate::core::ids::{RequestId, ServerId};
use crate::core::server::Server;
use crate::core::server::state::{TaskState, VmState};
use crate::store::rows::to_json;
use crate::store::server_actions::{self, NewAction};
use crate::store::servers;
use crate::store::tasks::{self, NewTask};
use crate::store::{Connection, StoreError};
use crate::task::{Cause, Direction, Step, StepContext, StepError, StepFuture, TaskInfo, Workflow};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The workflow that waits.
pub struct Due;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Occasion {
    Offload,
    Reclaim,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct DueState {
    server: ServerId,
    occasion: Occasion,
    /// Since when the server waits, in microseconds since the epoch: it may have come back and waited anew.
    since: i64,
}

/// Has something done to a server at a time, if it still waits for it then.
pub fn arrange(
    c: &Connection,
    server: ServerId,
    occasion: Occasion,
    since: Timestamp,
    due: Timestamp,
) -> Result<(), StoreError> {
    let word = match occasion {
        Occasion::Offload => "offload",
        Occasion::Reclaim => "reclaim",
    };
    let state = DueState { server, occasion, since: since.as_microsecond() };
    let task = NewTask {
        workflow: Due::NAME,
        // Not the server's own: its other tasks do not wait for this one. An earlier wait of its is no concern.
        subject: &format!("{word} {server} {}", state.since),
        state: &to_json(&state)?,
        request_id: &RequestId::fresh().0,
        preempt: false,
    };
    let id = tasks::enqueue(c, &task, since)?;
    tasks::postpone(c, id, 0, due, since)
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

    fn unwound(
        _: &Connection,
        _: &DueState,
        _: &TaskInfo,
        _: &Cause,
        _: Timestamp,
    ) -> Result<(), StoreError> {
        Err(StoreError::Corrupt("what was due was unwound".into()))
    }

    fn stuck(_: &Connection, _: &DueState, _: &TaskInfo, _: &Cause, _: Timestamp) -> Result<(), StoreError> {
        Err(StoreError::Corrupt("what was due is stuck".into()))
    }
}

fn ask<'a>(env: &'a ServerEnv, state: &'a mut DueState, context: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let (id, occasion, since) = (state.server, state.occasion, state.since);
        let (now, request_id) = (env.now(), context.task.request_id.clone());
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
                set_going(c, &server, occasion, &request_id, now)?;
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
        _ => None,
    };
    since.map(Timestamp::as_microsecond)
}

fn set_going(
    c: &Connection,
    server: &Server,
    occasion: Occasion,
    request_id: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (action, task_state) = match occasion {
        Occasion::Offload => ("shelveOffload", TaskState::ShelvingOffloading),
        Occasion::Reclaim => ("delete", TaskState::Deleting),
    };
    let new = NewAction { server: server.id, request_id, action, user_id: None, project_id: None };
    let action = server_actions::record(c, &new, now)?;
    servers::begin(c, server.id, task_state, now)?;
    let task = ServerTask { server: server.id, action, host: server.host.clone() };
    let (workflow, state) = match occasion {
        Occasion::Offload => (ServerOffload::NAME, to_json(&OffloadState { task, event: true })?),
        Occasion::Reclaim => (ServerDelete::NAME, to_json(&task)?),
    };
    let subject = server.id.to_string();
    let task = NewTask { workflow, subject: &subject, state: &state, request_id, preempt: false };
    tasks::enqueue(c, &task, now)?;
    Ok(())
}
