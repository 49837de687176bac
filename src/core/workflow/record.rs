//! What workflows write about themselves: task states, events of the action record, faults.

use super::ServerTask;
use crate::core::ids::ServerId;
use crate::core::port::PortStatus;
use crate::core::server::Fault;
use crate::core::server::state::{PowerState, TaskState, VmState};
use crate::store::server_actions::{self, EventFailure};
use crate::store::servers::{self, Outcome};
use crate::store::{Connection, StoreError, server_ports};
use crate::task::{Cause, TaskInfo};
use jiff::Timestamp;

/// Shows that the task has come to its next stage.
pub fn enter(
    c: &Connection,
    task: &ServerTask,
    info: &TaskInfo,
    state: TaskState,
    now: Timestamp,
) -> Result<(), StoreError> {
    servers::advance(c, task.server, info.id, state, now)
}

/// Begins an event of the task's action.
pub fn begin(c: &Connection, task: &ServerTask, event: &str, now: Timestamp) -> Result<(), StoreError> {
    server_actions::begin_event(c, task.action, event, task.host.as_deref(), now)
}

/// Ends the events that run well, and begins the next one.
pub fn next(c: &Connection, task: &ServerTask, event: &str, now: Timestamp) -> Result<(), StoreError> {
    server_actions::next_event(c, task.action, event, task.host.as_deref(), now)
}

/// Ends the task well.
pub fn succeed(
    c: &Connection,
    task: &ServerTask,
    info: &TaskInfo,
    outcome: Outcome,
    now: Timestamp,
) -> Result<(), StoreError> {
    servers::finish(c, task.server, info.id, outcome, now)?;
    server_actions::finish_events(c, task.action, None, now)
}

/// Ends the task badly: the fault is noted and the action says `Error`. One that gave way to a later task leaves no fault,
/// and the server's state to that task.
pub fn fail(
    c: &Connection,
    task: &ServerTask,
    info: &TaskInfo,
    cause: &Cause,
    outcome: Outcome,
    now: Timestamp,
) -> Result<(), StoreError> {
    match cause {
        Cause::Failed(error) => {
            let fault = Fault {
                code: error.code,
                message: error.message.clone(),
                details: error.details.clone(),
                created_at: now,
            };
            server_actions::set_fault(c, task.server, &fault)?;
            let failure = EventFailure { message: &error.message, traceback: &error.details };
            server_actions::finish_events(c, task.action, Some(failure), now)?;
            servers::finish(c, task.server, info.id, outcome, now)
        }
        Cause::Preempted => {
            let words = "Another request took the place of this one.";
            let failure = EventFailure { message: words, traceback: words };
            server_actions::finish_events(c, task.action, Some(failure), now)?;
            servers::finish(c, task.server, info.id, Outcome { vm_state: None, ..outcome }, now)
        }
    }
}

/// The outcome that leaves a server in ERROR.
pub fn in_error() -> Outcome {
    Outcome { vm_state: Some(VmState::Error), ..Outcome::default() }
}

/// The outcome of a server that runs and can be reached, which its ports show.
pub fn runs(c: &Connection, server: ServerId, now: Timestamp) -> Result<Outcome, StoreError> {
    server_ports::set_server_ports_status(c, server, PortStatus::Active, now)?;
    Ok(Outcome {
        vm_state: Some(VmState::Active),
        power_state: Some(PowerState::Running),
        ..Outcome::default()
    })
}

/// The outcome of a server whose guest is off, which its ports show.
pub fn off(
    c: &Connection,
    server: ServerId,
    vm_state: VmState,
    now: Timestamp,
) -> Result<Outcome, StoreError> {
    server_ports::set_server_ports_status(c, server, PortStatus::Down, now)?;
    Ok(Outcome { vm_state: Some(vm_state), power_state: Some(PowerState::Shutdown), ..Outcome::default() })
}
