//! Changing the password of a guest that runs: answered only when it is done, as the caller relies on it.

use super::actions::set_going;
use super::{Among, Servers};
use crate::core::actor::Actor;
use crate::core::ids::ServerId;
use crate::core::secret::Secret;
use crate::core::server::Server;
use crate::core::server::action::Action;
use crate::core::server::decide::decide;
use crate::core::workflow::server_password::{PasswordState, ServerPassword};
use crate::core::{Error, Kind, Result};
use crate::host::hypervisor::{DomainState, HypervisorError};
use crate::store::{server_actions, tasks};
use crate::task::Workflow;
use std::time::{Duration, Instant};

/// How long a caller waits for the guest; longer than the guest is given.
const PATIENCE: Duration = Duration::from_secs(70);
const LOOK: Duration = Duration::from_millis(100);

impl From<HypervisorError> for Error {
    fn from(error: HypervisorError) -> Self {
        match error {
            HypervisorError::Unreachable(_) | HypervisorError::Deadline { .. } => {
                Self::unavailable("The hypervisor does not answer.").with_source(error)
            }
            _ => Self::internal(error),
        }
    }
}

impl Servers {
    /// Sets the administrator's password in the running guest.
    ///
    /// # Errors
    /// Where the guest does not run, has no agent, or its agent could not.
    pub async fn change_password(&self, actor: &Actor, id: ServerId, password: Secret) -> Result<()> {
        let server = self.find(actor, id, Among::Living).await?;
        decide(&server, Action::ChangePassword, actor)?;
        self.check_agent(&server).await?;
        self.change(actor, id, move |c, actor, server, now| {
            set_going::<ServerPassword, _>(c, actor, &server, Action::ChangePassword, now, |task| {
                PasswordState { task, admin_password: password }
            })
        })
        .await?;
        let subject = id.to_string();
        let over = self.deps.tasks.until(move |c| Ok(!tasks::is_open(c, &subject, ServerPassword::NAME)?));
        match tokio::time::timeout(PATIENCE, over).await {
            Ok(ended) => ended?,
            Err(_) => return Err(failed(id, "the guest did not answer in time")),
        }
        let request = actor.request_id.0.clone();
        let record = self.deps.store.read(move |c| server_actions::by_request(c, id, &request)).await?;
        match record.and_then(|record| record.message) {
            Some(_) => Err(failed(id, "error setting admin password")),
            None => Ok(()),
        }
    }

    /// An agent that the image promises may still be on its way.
    async fn check_agent(&self, server: &Server) -> Result<()> {
        let id = server.id;
        let yes = |word: &String| matches!(word.to_ascii_lowercase().as_str(), "yes" | "true" | "1" | "on");
        let promised = server.image_properties.get("hw_qemu_guest_agent").is_some_and(yes);
        let asked = Instant::now();
        loop {
            if self.hypervisor.state(id).await? != Some(DomainState::Running) {
                return Err(failed(id, &format!("instance {id} is not running")));
            }
            if self.hypervisor.has_agent(id).await? {
                return Ok(());
            }
            if !promised {
                return Err(Error::invalid_state("QEMU guest agent is not enabled"));
            }
            if asked.elapsed() > self.node.agent_patience {
                return Err(Error::new(Kind::NotImplemented, "Unable to set password on instance"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn failed(id: ServerId, reason: &str) -> Error {
    Error::conflict(format!("Failed to set admin password on {id} because {reason}"))
}
