//! Deletes, which an installation may let its users take back for a while.

use super::Servers;
use super::actions::set_going;
use super::admission::count_within_quota;
use crate::core::Result;
use crate::core::actor::Actor;
use crate::core::ids::ServerId;
use crate::core::server::Server;
use crate::core::server::action::Action;
use crate::core::server::decide::decide;
use crate::core::server::state::{TaskState, VmState};
use crate::core::workflow::server_delete::ServerDelete;
use crate::core::workflow::server_restore::ServerRestore;
use crate::core::workflow::server_soft_delete::{ServerSoftDelete, SoftDeleteState};
use crate::store::{Connection, tasks};
use crate::task::Workflow;
use jiff::Timestamp;

impl Servers {
    /// Deletes a server, whatever is being done to it, for good or so that it can be restored for a while, as this
    /// installation has it. A second request while it is being deleted changes nothing.
    ///
    /// # Errors
    /// Unknown server, locked.
    pub async fn delete(&self, actor: &Actor, id: ServerId, force: bool) -> Result<()> {
        let reclaim_after = self.node.reclaim_seconds;
        self.change(actor, id, move |c, actor, server, now| {
            let action = if force {
                Action::ForceDelete
            } else if reclaim_after > 0 && can_wait(&server) {
                Action::SoftDelete
            } else {
                Action::Delete
            };
            decide(&server, action, actor)?;
            if tasks::is_open(c, &id.to_string(), ServerDelete::NAME)? {
                return Ok(());
            }
            if action != Action::SoftDelete {
                return set_going::<ServerDelete, _>(c, actor, &server, action, now, |task| task);
            }
            soft_delete(c, actor, &server, reclaim_after, now)
        })
        .await
    }

    /// Begins to take a delete back.
    ///
    /// # Errors
    /// Unknown server, a state that does not allow it, quotas.
    pub async fn restore(&self, actor: &Actor, id: ServerId) -> Result<()> {
        self.change(actor, id, move |c, actor, server, now| {
            decide(&server, Action::Restore, actor)?;
            count_within_quota(c, &server.project_id, &server.user_id, &server.flavor, 1..=1)?;
            set_going::<ServerRestore, _>(c, actor, &server, Action::Restore, now, |task| task)
        })
        .await
    }
}

/// Whether there is something to come back to: one that never was, or is not on the host, or is just leaving it or coming
/// to it, is deleted at once.
fn can_wait(server: &Server) -> bool {
    server.launched_at.is_some()
        && server.host.is_some()
        && server.vm_state != VmState::ShelvedOffloaded
        && server.task_state != Some(TaskState::ShelvingOffloading)
}

fn soft_delete(
    c: &Connection,
    actor: &Actor,
    server: &Server,
    reclaim_after: i64,
    now: Timestamp,
) -> Result<()> {
    let deleted = server.vm_state == VmState::SoftDelete && server.task_state != Some(TaskState::Restoring);
    if deleted || server.task_state == Some(TaskState::SoftDeleting) {
        return Ok(());
    }
    let ran = server.vm_state == VmState::Active;
    set_going::<ServerSoftDelete, _>(c, actor, server, Action::SoftDelete, now, |task| SoftDeleteState {
        task,
        reclaim_after,
        ran,
    })
}
