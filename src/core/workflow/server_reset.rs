//! Has the last word about a server whose state was forced while something was going on: what went on is told to stop, and
//! may nevertheless write how it ended. This comes after it.

use super::verb::Verb;
use super::{Blame, ServerEnv, ServerTask, record};
use crate::core::reconcile::power_sync::power_state;
use crate::core::server::Fault;
use crate::core::server::state::{PowerState, VmState};
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError, server_actions};
use crate::task::{Cause, Step, StepContext, StepFuture, TaskInfo};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The workflow.
pub struct ServerReset;

#[derive(Debug, Serialize, Deserialize)]
pub struct ResetState {
    #[serde(flatten)]
    pub task: ServerTask,
    pub to: VmState,
    /// What the guest does; `None` when there is none.
    pub guest: Option<PowerState>,
}

impl Verb for ServerReset {
    const NAME: &'static str = "server_reset";
    type State = ResetState;

    fn steps() -> Vec<Step<Self>> {
        vec![Step::<Self>::new("look", look)]
    }

    fn task(state: &ResetState) -> &ServerTask {
        &state.task
    }

    fn done(c: &Connection, state: &ResetState, _: &TaskInfo, now: Timestamp) -> Result<Outcome, StoreError> {
        let power_state = Some(state.guest.unwrap_or(PowerState::NoState));
        if state.guest.is_none() && state.to == VmState::Active {
            let words = "Nothing of the server is on the host: what was going on when its state was reset was broken off.";
            let fault =
                Fault { code: 500, message: words.to_owned(), details: words.to_owned(), created_at: now };
            server_actions::set_fault(c, state.task.server, &fault)?;
            return Ok(Outcome { power_state, ..record::in_error() });
        }
        Ok(Outcome { vm_state: Some(state.to), power_state, ..Outcome::default() })
    }

    fn undone(_: &Connection, state: &ResetState, _: &Cause, _: Timestamp) -> Result<Outcome, StoreError> {
        Ok(Outcome { vm_state: Some(state.to), ..Outcome::default() })
    }
}

fn look<'a>(env: &'a ServerEnv, state: &'a mut ResetState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let seen = env.hypervisor.state(state.task.server).await.blame("Looking at the guest")?;
        state.guest = seen.map(|seen| power_state(Some(seen)));
        Ok(())
    })
}
