//! Confirms a resize by itself when its time is over: a task that waits until it is due. What the owner decides before then
//! leaves it nothing to do.

use super::ServerEnv;
use super::server_resize_confirm::ServerResizeConfirm;
use crate::core::ids::{RequestId, ServerId};
use crate::core::server::migration::MigrationStatus;
use crate::core::server::state::VmState;
use crate::store::rows::to_json;
use crate::store::server_actions::{self, NewAction};
use crate::store::tasks::{self, NewTask};
use crate::store::{Connection, StoreError, server_migrations, servers};
use crate::task::{Cause, Direction, Step, TaskInfo, Workflow};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The workflow that waits.
pub struct ServerResizeWindow;

#[derive(Debug, Serialize, Deserialize)]
pub struct WindowState {
    server: ServerId,
    migration: i64,
}

impl ServerResizeWindow {
    /// Appends the task, due in so many seconds. Its subject is the resize and not the server: it keeps nothing else waiting.
    pub fn open(
        c: &Connection,
        server: ServerId,
        migration: i64,
        seconds: u64,
        request_id: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let task = NewTask {
            workflow: Self::NAME,
            subject: &format!("resize-{migration}"),
            state: &to_json(&WindowState { server, migration })?,
            request_id,
            preempt: false,
        };
        let task = tasks::enqueue(c, &task, now)?;
        let wait = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
        let due = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        tasks::postpone(c, task, 0, due, now)
    }
}

impl Workflow for ServerResizeWindow {
    const NAME: &'static str = "server_resize_window";
    const DIRECTION: Direction = Direction::Forward;
    type Env = ServerEnv;
    type State = WindowState;

    /// Waiting is all; what follows is a matter of rows alone.
    fn steps() -> Vec<Step<Self>> {
        Vec::new()
    }

    fn done(c: &Connection, state: &WindowState, _: &TaskInfo, now: Timestamp) -> Result<(), StoreError> {
        let Some(server) = servers::get(c, state.server)? else { return Ok(()) };
        let finished = server_migrations::get(c, state.migration, server.id)?
            .is_some_and(|migration| migration.status == MigrationStatus::Finished);
        if !finished || server.vm_state != VmState::Resized || server.task_state.is_some() {
            return Ok(());
        }
        let request_id = RequestId::fresh().0;
        let new = NewAction {
            server: server.id,
            request_id: &request_id,
            action: "confirmResize",
            user_id: None,
            project_id: None,
        };
        let action = server_actions::record(c, &new, now)?;
        tracing::info!(server = %server.id, "its resize confirms itself");
        ServerResizeConfirm::enqueue(c, &server, state.migration, action, &request_id, now)
    }

    fn unwound(
        _: &Connection,
        _: &WindowState,
        _: &TaskInfo,
        _: &Cause,
        _: Timestamp,
    ) -> Result<(), StoreError> {
        Err(StoreError::Corrupt("a resize's window was unwound".into()))
    }

    fn stuck(
        _: &Connection,
        _: &WindowState,
        _: &TaskInfo,
        _: &Cause,
        _: Timestamp,
    ) -> Result<(), StoreError> {
        Err(StoreError::Corrupt("a resize's window is stuck".into()))
    }
}
