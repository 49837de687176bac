//! Sets the administrator's password in a running guest, through the guest's agent. active/updating_password -> active

use super::record;
use super::verb::Verb;
use super::{Blame, ServerEnv, ServerTask};
use crate::core::secret::Secret;
use crate::core::server::Server;
use crate::core::server::state::TaskState;
use crate::store::servers::Outcome;
use crate::store::{Connection, StoreError};
use crate::task::{Step, StepContext, StepFuture, TaskInfo};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The workflow of a change of password.
pub struct ServerPassword;

#[derive(Debug, Serialize, Deserialize)]
pub struct PasswordState {
    #[serde(flatten)]
    pub task: ServerTask,
    /// Forgotten with the state when the task closes.
    pub admin_password: Secret,
}

impl Verb for ServerPassword {
    const NAME: &'static str = "server_password";
    type State = PasswordState;

    fn steps() -> Vec<Step<Self>> {
        vec![
            Step::<Self>::new("set", set)
                .enter(|c, state, info, now| {
                    record::begin(c, &state.task, "compute_set_admin_password", now)?;
                    record::enter(c, &state.task, info, TaskState::UpdatingPassword, now)
                })
                .deadline(Duration::from_secs(60)),
        ]
    }

    fn task(state: &PasswordState) -> &ServerTask {
        &state.task
    }

    fn done(_: &Connection, _: &PasswordState, _: &TaskInfo, _: Timestamp) -> Result<Outcome, StoreError> {
        Ok(Outcome::default())
    }
}

/// The user whose password the administrator's is, by the image's word.
fn admin_user(server: &Server) -> &str {
    let property = |name: &str| server.image_properties.get(name).map(String::as_str);
    match (property("os_admin_user"), property("os_type")) {
        (Some(user), _) => user,
        (None, Some("windows")) => "Administrator",
        (None, _) => "root",
    }
}

fn set<'a>(env: &'a ServerEnv, state: &'a mut PasswordState, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(async move {
        let server = env.load(state.task.server).await?.server;
        env.hypervisor
            .set_user_password(server.id, admin_user(&server), &state.admin_password)
            .await
            .blame("Setting the password in the guest")
    })
}
