//! Takes a NIC from a server, whose guest has to let go of it where it runs. A failure leaves it as it was.

use super::server_attach_interface::{InterfaceState, forget, plug, reserve, with_this_nic};
use super::verb::Verb;
use super::{ServerEnv, ServerTask, bring_up, record, shut_down};
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError, server_ports};
use crate::task::{Step, StepContext, StepFuture, TaskInfo};
use jiff::Timestamp;

/// The workflow.
pub struct ServerDetachInterface;

impl Verb for ServerDetachInterface {
    const NAME: &'static str = "server_detach_interface";
    type State = InterfaceState;

    fn steps() -> Vec<Step<Self>> {
        vec![
            Step::<Self>::new("unplug", ask_for_it)
                .enter(|c, state, _, now| record::begin(c, &state.task, "compute_detach_interface", now))
                .undo(plug),
            Step::<Self>::new("addresses", forget).undo(reserve),
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
        server_ports::release_server_port(c, state.task.server, state.port, now)?;
        Ok(Outcome::default())
    }
}

/// The guest may take its time; who deletes the server does not wait for it.
fn ask_for_it<'a>(
    env: &'a ServerEnv,
    state: &'a mut InterfaceState,
    context: &'a StepContext,
) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = with_this_nic(env, state).await?;
        shut_down::unless_preempted(context, bring_up::unplug(env, &subject)).await
    })
}
