//! Handing work on servers over to the engine.

use super::ServerTask;
use crate::core::ids::{RequestId, ServerId};
use crate::core::server::Server;
use crate::core::server::state::TaskState;
use crate::store::rows::to_json;
use crate::store::server_actions::{self, NewAction};
use crate::store::tasks::{self, NewTask};
use crate::store::{Connection, StoreError, servers};
use crate::task::{TaskInfo, Workflow};
use jiff::Timestamp;

/// Appends a task of a server. A first step that may be logged beside its run is logged here: one transaction less.
pub fn enqueue<W: Workflow>(
    c: &Connection,
    server: ServerId,
    state: &W::State,
    request_id: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (subject, text) = (server.to_string(), to_json(state)?);
    let steps = W::steps();
    let first = steps.first().filter(|step| step.volatile);
    let begun = first.map(|step| step.name);
    let task =
        NewTask { workflow: W::NAME, subject: &subject, state: &text, request_id, preempt: false, begun };
    let id = tasks::enqueue(c, &task, now)?;
    match first.and_then(|step| step.enter) {
        Some(enter) => enter(c, state, &TaskInfo { id, subject, request_id: request_id.to_owned() }, now),
        None => Ok(()),
    }
}

/// Begins an action that nobody asked for: records it under a request of its own, shows its first task state if it has
/// one, and appends its task.
pub fn unasked<W: Workflow>(
    c: &Connection,
    server: &Server,
    action: &str,
    task_state: Option<TaskState>,
    state: impl FnOnce(ServerTask) -> W::State,
    now: Timestamp,
) -> Result<(), StoreError> {
    let request_id = RequestId::fresh().0;
    let new =
        NewAction { server: server.id, request_id: &request_id, action, user_id: None, project_id: None };
    let action = server_actions::record(c, &new, now)?;
    if let Some(task_state) = task_state {
        servers::begin(c, server.id, task_state, now)?;
    }
    let task = ServerTask { server: server.id, action, host: server.host.clone() };
    enqueue::<W>(c, server.id, &state(task), &request_id, now)
}
