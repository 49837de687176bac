//! Consoles: a token for who may have one, and the way from a token to the guest.
//!
//! A token is random, opens one console of one server, lives some minutes and dies with its server. Only its hash is kept.

mod hub;
#[cfg(test)]
mod tests;

pub use hub::{Heard, MISSED, Viewer};

use super::Deps;
use super::servers::unknown;
use crate::core::actor::Actor;
use crate::core::console::{ConsoleKind, unavailable};
use crate::core::ids::ServerId;
use crate::core::server::Server;
use crate::core::server::action::Action;
use crate::core::server::decide::{Refusal, decide};
use crate::core::{Error, Result};
use crate::host::hypervisor::{Hypervisor, HypervisorError};
use crate::store::console_tokens::{self, TokenHash};
use crate::store::servers;
use hub::Hub;
use jiff::SignedDuration;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use tokio::net::UnixStream;
use uuid::Uuid;

/// What can be set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a token opens its console, in seconds.
    pub token_seconds: u32,
    /// Names of hosts whose pages may open consoles, beside the daemon's own.
    pub allowed_origins: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { token_seconds: 600, allowed_origins: Vec::new() }
    }
}

/// A console that is open.
pub enum Opened {
    /// Speaks the VNC protocol.
    Display(UnixStream),
    /// One of maybe many who look at the serial port.
    Serial(Viewer),
}

/// The console use cases; cheap to clone.
#[derive(Clone)]
pub struct ConsoleService {
    deps: Deps,
    hypervisor: Arc<dyn Hypervisor>,
    settings: Arc<Settings>,
    serials: Arc<Hub>,
}

fn hash(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

fn not_ready(id: ServerId) -> Error {
    Refusal::NoHost(id).into()
}

fn translate(id: ServerId, error: HypervisorError) -> Error {
    match error {
        HypervisorError::NotFound(_) | HypervisorError::WrongState(_) => not_ready(id).with_source(error),
        HypervisorError::Unreachable(_) | HypervisorError::Deadline { .. } => {
            Error::unavailable("The hypervisor of this host cannot be reached.").with_source(error)
        }
        HypervisorError::Foreign(_) | HypervisorError::Unsupported(_) | HypervisorError::Failed { .. } => {
            Error::internal(error)
        }
    }
}

fn has_display(server: &Server) -> bool {
    server.image_properties.get("hw_video_model").is_none_or(|model| model != "none")
}

impl ConsoleService {
    pub fn new(deps: Deps, hypervisor: Arc<dyn Hypervisor>, settings: Settings) -> Self {
        let serials = Arc::new(Hub::new(hypervisor.clone()));
        Self { deps, hypervisor, settings: Arc::new(settings), serials }
    }

    /// Names of hosts whose pages may open consoles, beside the daemon's own.
    pub fn allowed_origins(&self) -> &[String] {
        &self.settings.allowed_origins
    }

    /// Makes a token for the console of a server that a protocol and a type name.
    ///
    /// # Errors
    /// Not found for a server that the caller may not see; an invalid state for one that is not on the host; invalid for a
    /// console that the server does not have.
    pub async fn issue(
        &self,
        actor: &Actor,
        id: ServerId,
        protocol: &str,
        kind: &str,
    ) -> Result<(ConsoleKind, SecretString)> {
        let caller = actor.clone();
        let server = self
            .deps
            .store
            .read(move |c| {
                servers::get(c, id)?
                    .filter(|server| caller.is_admin() || caller.owns(&server.project_id))
                    .ok_or_else(|| unknown(id))
            })
            .await?;
        decide(&server, Action::Console, actor)?;
        let kind = ConsoleKind::of(protocol, kind)?;
        if kind == ConsoleKind::NoVnc && !has_display(&server) {
            return Err(unavailable(kind.as_str()));
        }
        // One that is off may be started while the token lives.
        if self.hypervisor.state(id).await.map_err(|error| translate(id, error))?.is_none() {
            return Err(not_ready(id));
        }
        // 122 random bits in the form that Nova's tokens have.
        let token = Uuid::new_v4().to_string();
        let (hash, now) = (hash(&token), self.deps.clock.now());
        let expires_at = now
            .checked_add(SignedDuration::from_secs(self.settings.token_seconds.into()))
            .map_err(Error::internal)?;
        self.deps
            .store
            .write(move |c| {
                // It may have been deleted since it was looked at.
                servers::get(c, id)?.ok_or_else(|| unknown(id))?;
                Ok::<_, Error>(console_tokens::insert(c, &hash, id, kind, expires_at, now)?)
            })
            .await?;
        Ok((kind, token.into()))
    }

    /// What a token opens; `None` when it opens nothing (any more).
    pub async fn look_up(&self, token: &str) -> Result<Option<(ServerId, ConsoleKind)>> {
        let (hash, now) = (hash(token), self.deps.clock.now());
        Ok(self.deps.store.read(move |c| console_tokens::find(c, &hash, now)).await?)
    }

    /// Connects with a console that [`ConsoleService::look_up`] named.
    ///
    /// # Errors
    /// An invalid state when the guest does not run (any more).
    pub async fn open(&self, id: ServerId, kind: ConsoleKind) -> Result<Opened> {
        match kind {
            ConsoleKind::NoVnc => {
                let socket = self.hypervisor.open_display(id).await.map_err(|error| translate(id, error))?;
                Ok(Opened::Display(stream(StdStream::from(socket))?))
            }
            ConsoleKind::Serial => Ok(Opened::Serial(self.serials.attach(id).await?)),
        }
    }
}

fn stream(socket: StdStream) -> Result<UnixStream> {
    socket.set_nonblocking(true).map_err(Error::internal)?;
    UnixStream::from_std(socket).map_err(Error::internal)
}
