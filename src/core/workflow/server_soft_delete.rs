//! Takes a server out of service without losing it: its guest goes off, and until its time is over it can be restored, to
//! its own disks. A resize that waits for a decision is confirmed by that, a rescue and a shelving are over.
//!
//! ```text
//! soft-deleting -> soft-delete
//! ```

use super::due::{self, Occasion};
use super::record;
use super::server_shelve::forget;
use super::verb::Verb;
use super::{Blame, ServerEnv, ServerTask, bring_up};
use crate::core::server::migration::MigrationStatus;
use crate::core::server::state::{TaskState, VmState};
use crate::store::servers::{self, Outcome};
use crate::store::{Connection, StoreError, server_migrations};
use crate::task::{Step, StepContext, StepFuture, TaskInfo};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The workflow of a delete that can be taken back.
pub struct ServerSoftDelete;

#[derive(Debug, Serialize, Deserialize)]
pub struct SoftDeleteState {
    #[serde(flatten)]
    pub task: ServerTask,
    /// After how many seconds the server is deleted for good.
    pub reclaim_after: i64,
    /// Whether the guest ran before.
    pub ran: bool,
}

impl Verb for ServerSoftDelete {
    const NAME: &'static str = "server_soft_delete";
    type State = SoftDeleteState;

    fn steps() -> Vec<Step<Self>> {
        vec![
            Step::<Self>::new("power_off", power_off)
                .enter(|c, state, info, now| {
                    record::begin(c, &state.task, "compute_soft_delete_instance", now)?;
                    record::enter(c, &state.task, info, TaskState::SoftDeleting, now)
                })
                .undo(power_on),
        ]
    }

    fn task(state: &SoftDeleteState) -> &ServerTask {
        &state.task
    }

    fn done(
        c: &Connection,
        state: &SoftDeleteState,
        info: &TaskInfo,
        now: Timestamp,
    ) -> Result<Outcome, StoreError> {
        let server = state.task.server;
        forget(c, server, &info.request_id, now)?;
        servers::set_rescue(c, server, None)?;
        if let Some(resize) = servers::get(c, server)?.and_then(|row| row.resize) {
            // The layers of its disks come together with the next resize.
            servers::set_resize(c, server, None)?;
            server_migrations::set_status(c, resize.number, MigrationStatus::Confirmed, now)?;
        }
        servers::set_soft_deleted(c, server, Some(now))?;
        due::arrange(c, server, Occasion::Reclaim, state.reclaim_after, now)?;
        record::off(c, server, VmState::SoftDelete, now)
    }
}

fn power_off<'a>(env: &'a ServerEnv, state: &'a mut SoftDeleteState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let id = state.task.server;
        bring_up::cut_power(env, id).await?;
        let mut subject = env.load(id).await?;
        if subject.server.rescue.take().is_some() {
            bring_up::define(env, &subject).await?;
        }
        // Also what an unrescue left that had to give way.
        env.storage.remove_rescue(id).await.blame("Removing the rescue disk")?;
        env.hypervisor.discard_saved(id).await.blame("Letting the guest's saved memory go")
    })
}

fn power_on<'a>(
    env: &'a ServerEnv,
    state: &'a mut SoftDeleteState,
    context: &'a StepContext,
) -> StepFuture<'a> {
    Box::pin(bring_up::start_again(env, state.task.server, state.ran, context))
}
