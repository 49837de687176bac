//! Shares, which no server here can have.

use super::{Among, Servers};
use crate::core::Error;
use crate::core::actor::Actor;
use crate::core::ids::ServerId;
use crate::core::server::action::Action;
use crate::core::server::decide::decide;

impl Servers {
    /// Why a server has no such share: it is not there, it is in no state for what is asked of it, or nobody has such a share.
    pub async fn absent_share(
        &self,
        actor: &Actor,
        id: ServerId,
        action: Option<Action>,
        share: &str,
    ) -> Error {
        let server = match self.find(actor, id, Among::Living).await {
            Ok(server) => server,
            Err(error) => return error,
        };
        if let Some(action) = action
            && let Err(refusal) = decide(&server, action, actor)
        {
            return refusal.into();
        }
        Error::not_found(format!("Share {share} could not be found."))
    }
}
