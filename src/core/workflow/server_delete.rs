//! Removes every trace of a server from the host, then marks its row. Goes forward until nothing is left, whatever
//! state the server is in and whatever is missing already.

use super::record;
use super::{Blame, ServerEnv, ServerTask, bring_up, server_shelve};
use crate::core::server::state::TaskState;
use crate::store::{
    Connection, StoreError, console_tokens, server_actions, server_groups, server_migrations, server_ports,
    servers,
};
use crate::task::{Direction, Step, StepContext, StepFuture, TaskInfo, Workflow};
use jiff::Timestamp;

/// The workflow of a delete.
pub struct ServerDelete;

impl Workflow for ServerDelete {
    const NAME: &'static str = "server_delete";
    const DIRECTION: Direction = Direction::Forward;
    type Env = ServerEnv;
    type State = ServerTask;

    fn steps() -> Vec<Step<Self>> {
        vec![
            Step::<Self>::new("domain", remove_domain).enter(|c, task, info, now| {
                if task.host.is_some() {
                    record::begin(c, task, "compute_terminate_instance", now)?;
                }
                record::enter(c, task, info, TaskState::Deleting, now)
            }),
            Step::<Self>::new("remains", remove_remains),
        ]
    }

    fn done(c: &Connection, task: &ServerTask, info: &TaskInfo, now: Timestamp) -> Result<(), StoreError> {
        server_shelve::forget(c, task.server, &info.request_id, now)?;
        server_ports::release_server_ports(c, task.server, now)?;
        console_tokens::forget(c, task.server)?;
        server_groups::leave(c, task.server)?;
        server_migrations::close_of_deleted(c, task.server, now)?;
        servers::mark_deleted(c, task.server, now)?;
        server_actions::finish_events(c, task.action, None, now)
    }
}

fn remove_domain<'a>(env: &'a ServerEnv, task: &'a mut ServerTask, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move { bring_up::remove_domain(env, task.server).await })
}

fn remove_remains<'a>(env: &'a ServerEnv, task: &'a mut ServerTask, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let subject = env.load(task.server).await?;
        let files = async { env.storage.remove(task.server).await.blame("Removing the disks") };
        let (addresses, files) = tokio::join!(bring_up::forget_addresses(env, &subject), files);
        addresses.and(files)
    })
}
