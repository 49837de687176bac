//! Letting guests stand still, sleep on the disk, and dump their memory: each a task.

use super::Servers;
use super::actions::set_going;
use crate::core::Result;
use crate::core::actor::Actor;
use crate::core::ids::ServerId;
use crate::core::server::action::Action;
use crate::core::workflow::ServerTask;
use crate::core::workflow::server_crash_dump::ServerCrashDump;
use crate::core::workflow::server_pause::ServerPause;
use crate::core::workflow::server_resume::ServerResume;
use crate::core::workflow::server_suspend::ServerSuspend;
use crate::core::workflow::server_unpause::ServerUnpause;
use crate::task::Workflow;

impl Servers {
    pub async fn pause(&self, actor: &Actor, id: ServerId) -> Result<()> {
        self.plainly::<ServerPause>(actor, id, Action::Pause).await
    }

    pub async fn unpause(&self, actor: &Actor, id: ServerId) -> Result<()> {
        self.plainly::<ServerUnpause>(actor, id, Action::Unpause).await
    }

    pub async fn suspend(&self, actor: &Actor, id: ServerId) -> Result<()> {
        self.plainly::<ServerSuspend>(actor, id, Action::Suspend).await
    }

    pub async fn resume(&self, actor: &Actor, id: ServerId) -> Result<()> {
        self.plainly::<ServerResume>(actor, id, Action::Resume).await
    }

    pub async fn trigger_crash_dump(&self, actor: &Actor, id: ServerId) -> Result<()> {
        self.plainly::<ServerCrashDump>(actor, id, Action::TriggerCrashDump).await
    }

    /// Hands an admitted action that needs to be told nothing to its workflow.
    async fn plainly<W: Workflow<State = ServerTask>>(
        &self,
        actor: &Actor,
        id: ServerId,
        action: Action,
    ) -> Result<()> {
        self.change(actor, id, move |c, actor, server, now| {
            set_going::<W, _>(c, actor, &server, action, now, |task| task)
        })
        .await
    }
}
