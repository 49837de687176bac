//! Gives a server one more NIC, at once where its guest runs. A failure leaves it without: the port goes, or is free again.

use super::verb::Verb;
use super::{ServerEnv, ServerTask, Subject, bring_up, record};
use crate::core::ids::PortId;
use crate::core::port::PortStatus;
use crate::core::server::state::VmState;
use crate::store::servers::{self, Outcome};
use crate::store::{Connection, StoreError, server_ports};
use crate::task::{Cause, Step, StepContext, StepError, StepFuture, TaskInfo};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The workflow.
pub struct ServerAttachInterface;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InterfaceState {
    pub task: ServerTask,
    pub port: PortId,
}

impl Verb for ServerAttachInterface {
    const NAME: &'static str = "server_attach_interface";
    type State = InterfaceState;

    fn steps() -> Vec<Step<Self>> {
        vec![
            Step::<Self>::new("addresses", reserve)
                .enter(|c, state, _, now| record::begin(c, &state.task, "compute_attach_interface", now))
                .undo(forget),
            Step::<Self>::new("plug", plug).undo(unplug),
        ]
    }

    fn task(state: &InterfaceState) -> &ServerTask {
        &state.task
    }

    fn done(
        c: &Connection,
        state: &InterfaceState,
        _: &TaskInfo,
        now: Timestamp,
    ) -> Result<Outcome, StoreError> {
        let server = state.task.server;
        // A NIC of a guest that is off waits for its start.
        let on = servers::get(c, server)?.is_some_and(|server| server.vm_state != VmState::Stopped);
        if on {
            server_ports::set_server_ports_status(c, server, PortStatus::Active, now)?;
        }
        Ok(Outcome::default())
    }

    fn undone(
        c: &Connection,
        state: &InterfaceState,
        _: &Cause,
        now: Timestamp,
    ) -> Result<Outcome, StoreError> {
        server_ports::release_server_port(c, state.task.server, state.port, now)?;
        Ok(Outcome::default())
    }
}

/// The server with nothing but this NIC; without any, if the port has gone meanwhile.
pub(super) async fn with_this_nic(env: &ServerEnv, state: &InterfaceState) -> Result<Subject, StepError> {
    let mut subject = env.load(state.task.server).await?;
    subject.nics.retain(|nic| nic.port_id == state.port);
    Ok(subject)
}

pub(super) fn reserve<'a>(
    env: &'a ServerEnv,
    state: &'a mut InterfaceState,
    _: &'a StepContext,
) -> StepFuture<'a> {
    Box::pin(async move { bring_up::reserve_addresses(env, &with_this_nic(env, state).await?).await })
}

pub(super) fn forget<'a>(
    env: &'a ServerEnv,
    state: &'a mut InterfaceState,
    _: &'a StepContext,
) -> StepFuture<'a> {
    Box::pin(async move { bring_up::forget_addresses(env, &with_this_nic(env, state).await?).await })
}

pub(super) fn plug<'a>(
    env: &'a ServerEnv,
    state: &'a mut InterfaceState,
    _: &'a StepContext,
) -> StepFuture<'a> {
    Box::pin(async move { bring_up::plug_in(env, &with_this_nic(env, state).await?).await })
}

fn unplug<'a>(env: &'a ServerEnv, state: &'a mut InterfaceState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move { bring_up::unplug(env, &with_this_nic(env, state).await?).await })
}
