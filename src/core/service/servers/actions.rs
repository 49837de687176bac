//! Actions on existing servers: decided, recorded, and where they take time, handed to a task.

use super::Servers;
use crate::core::actor::Actor;
use crate::core::ids::ServerId;
use crate::core::server::action::Action;
use crate::core::server::decide::{Plan, decide};
use crate::core::server::state::VmState;
use crate::core::server::{Fault, Lock, LockHolder, Server};
use crate::core::workflow::server_delete::ServerDelete;
use crate::core::workflow::server_reboot::{RebootState, ServerReboot};
use crate::core::workflow::server_reset::{ResetState, ServerReset};
use crate::core::workflow::server_start::ServerStart;
use crate::core::workflow::server_stop::{ServerStop, StopState};
use crate::core::workflow::{ServerTask, enqueue};
use crate::core::{Error, Result};
use crate::store::server_actions::{EventFailure, NewAction};
use crate::store::{Connection, server_actions, servers, tasks};
use crate::task::Workflow;
use jiff::Timestamp;
use serde::Serialize;

/// To which state an admin forces a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetTo {
    Active,
    Error,
}

/// Records an admitted action under its caller's name; gives the record's number.
pub(super) fn record(
    c: &Connection,
    actor: &Actor,
    server: &Server,
    name: &str,
    now: Timestamp,
) -> Result<i64> {
    let action = NewAction {
        server: server.id,
        request_id: &actor.request_id.0,
        action: name,
        user_id: Some(actor.user_id.as_str()),
        project_id: actor.project_id.as_ref().map(crate::core::ids::ProjectId::as_str),
    };
    Ok(server_actions::record(c, &action, now)?)
}

/// Admits the action, records it, sets its first task state and appends its task.
pub(super) fn set_going<W, S>(
    c: &Connection,
    actor: &Actor,
    server: &Server,
    action: Action,
    now: Timestamp,
    state: impl FnOnce(ServerTask) -> S,
) -> Result<()>
where
    W: Workflow<State = S>,
    S: Serialize,
{
    set_going_as::<W, S>(c, actor, server, action, now, state).map(drop)
}

/// As [`set_going`]; gives the number of the action's record.
pub(super) fn set_going_as<W, S>(
    c: &Connection,
    actor: &Actor,
    server: &Server,
    action: Action,
    now: Timestamp,
    state: impl FnOnce(ServerTask) -> S,
) -> Result<i64>
where
    W: Workflow<State = S>,
    S: Serialize,
{
    let Plan { task_state, record: name } = decide(server, action, actor)?;
    let number = record(c, actor, server, name.unwrap_or_else(|| action.name()), now)?;
    if let Some(task_state) = task_state {
        servers::begin(c, server.id, task_state, now)?;
    }
    let state = state(ServerTask { server: server.id, action: number, host: server.host.clone() });
    // Only what may take another's place is admitted while there is another, unless that shows no task state.
    let deletes = matches!(action, Action::Delete | Action::ForceDelete | Action::SoftDelete);
    if server.task_state.is_some() || deletes {
        tasks::preempt(c, &server.id.to_string(), now)?;
    }
    enqueue::<W>(c, server.id, &state, &actor.request_id.0, now)?;
    Ok(number)
}

impl Servers {
    pub async fn start(&self, actor: &Actor, id: ServerId) -> Result<()> {
        self.change(actor, id, move |c, actor, server, now| {
            set_going::<ServerStart, _>(c, actor, &server, Action::Start, now, |task| task)
        })
        .await
    }

    pub async fn stop(&self, actor: &Actor, id: ServerId) -> Result<()> {
        self.change(actor, id, move |c, actor, server, now| {
            set_going::<ServerStop, _>(c, actor, &server, Action::Stop, now, |task| StopState {
                task,
                force: false,
            })
        })
        .await
    }

    pub async fn reboot(&self, actor: &Actor, id: ServerId, hard: bool) -> Result<()> {
        let action = if hard { Action::RebootHard } else { Action::RebootSoft };
        self.change(actor, id, move |c, actor, server, now| {
            set_going::<ServerReboot, _>(c, actor, &server, action, now, |task| RebootState {
                task,
                hard,
                runs: false,
            })
        })
        .await
    }

    /// Locks a server for all but admins. One that is locked already stays as it is, unless an admin of another project
    /// takes the lock over.
    pub async fn lock(&self, actor: &Actor, id: ServerId, reason: Option<String>) -> Result<()> {
        self.change(actor, id, move |c, actor, mut server, now| {
            decide(&server, Action::Lock, actor)?;
            let owner = actor.owns(&server.project_id);
            if owner && server.lock.is_some() {
                return Ok(());
            }
            let by = if owner { LockHolder::Owner } else { LockHolder::Admin };
            server.lock = Some(Lock { by, reason });
            servers::update(c, &server, now)?;
            at_once(c, actor, &server, "lock", "api_lock", now)
        })
        .await
    }

    pub async fn unlock(&self, actor: &Actor, id: ServerId) -> Result<()> {
        self.change(actor, id, move |c, actor, mut server, now| {
            decide(&server, Action::Unlock, actor)?;
            server.lock = None;
            servers::update(c, &server, now)?;
            at_once(c, actor, &server, "unlock", "api_unlock", now)
        })
        .await
    }

    /// Forces the state that a server shows. What is going on is told to stop, and the state is forced again after its end; a
    /// delete goes on.
    pub async fn reset_state(&self, actor: &Actor, id: ServerId, to: ResetTo) -> Result<()> {
        self.change(actor, id, move |c, actor, server, now| {
            decide(&server, Action::ResetState, actor)?;
            let subject = id.to_string();
            let vm = match to {
                ResetTo::Active => VmState::Active,
                ResetTo::Error => VmState::Error,
            };
            let busy = tasks::is_busy(c, &subject)?;
            let deleting = tasks::is_open(c, &subject, ServerDelete::NAME)?;
            servers::reset(c, id, vm, deleting, now)?;
            let action = record(c, actor, &server, "resetState", now)?;
            if busy && !deleting {
                tasks::preempt(c, &subject, now)?;
                let task = ServerTask { server: id, action, host: server.host };
                let state = ResetState { task, to: vm, guest: None };
                enqueue::<ServerReset>(c, id, &state, &actor.request_id.0, now)?;
            }
            Ok(())
        })
        .await
    }

    /// Nothing needs to be injected: guests ask for their network settings. Admitted as any other action is.
    pub async fn inject_network_info(&self, actor: &Actor, id: ServerId) -> Result<()> {
        let server = self.find(actor, id, super::Among::Living).await?;
        decide(&server, Action::InjectNetworkInfo, actor).map(drop).map_err(Error::from)
    }
}

/// Ends an action before it began: its last events, and a fault, say why. The server stays as it is.
pub(super) fn refuse(
    c: &Connection,
    server: &Server,
    action: i64,
    events: &[&str],
    words: &str,
    now: Timestamp,
) -> Result<()> {
    let fault = Fault { code: 500, message: words.to_owned(), details: words.to_owned(), created_at: now };
    server_actions::set_fault(c, server.id, &fault)?;
    for event in events {
        server_actions::begin_event(c, action, event, server.host.as_deref(), now)?;
    }
    let failure = EventFailure { message: words, traceback: words };
    server_actions::finish_events(c, action, Some(failure), now)?;
    Ok(())
}

/// Records an action that was done within its request.
fn at_once(
    c: &Connection,
    actor: &Actor,
    server: &Server,
    name: &str,
    event: &str,
    now: Timestamp,
) -> Result<()> {
    let number = record(c, actor, server, name, now)?;
    server_actions::begin_event(c, number, event, server.host.as_deref(), now)?;
    server_actions::finish_events(c, number, None, now)?;
    Ok(())
}
