//! Identity use cases: logging in, tokens, and the management of users, projects, roles and the catalog.
//!
//! Every change goes through [`IdentityService::change`], which empties the cache of sessions once the change is on the
//! disk: a token never says what is no longer so.

mod application_credentials;
mod bootstrap;
mod catalog;
mod credentials;
mod grants;
mod groups;
mod login;
mod passwords;
mod projects;
mod roles;
mod sessions;
mod users;

pub use application_credentials::new_access_rule;
pub use bootstrap::{ADMIN_PROJECT, ADMIN_USER, REGION};
pub use catalog::CatalogEntry;
pub use grants::{Assignment, AssignmentQuery, Names};
pub use login::{
    CredentialSelector, DomainSelector, Issued, ProjectSelector, Proof, UserSelector, WantedScope,
};
pub use roles::Inference;
pub use sessions::token_hash;

use super::Deps;
use crate::core::actor::Actor;
use crate::core::identity::{Session, unauthenticated};
use crate::core::ids::RequestId;
use crate::core::{Error, Result};
use crate::store::StoreError;
use passwords::Passwords;
use rusqlite::Connection;
use sessions::Sessions;
use std::sync::Arc;

/// What can be set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a token is good, in seconds.
    pub token_seconds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { token_seconds: 3600 }
    }
}

/// The identity use cases; cheap to clone.
#[derive(Clone)]
pub struct IdentityService {
    deps: Deps,
    settings: Settings,
    sessions: Arc<Sessions>,
    passwords: Arc<Passwords>,
}

impl IdentityService {
    pub fn new(deps: Deps, settings: Settings) -> Self {
        Self {
            deps,
            settings,
            sessions: Arc::new(Sessions::default()),
            passwords: Arc::new(Passwords::new()),
        }
    }

    /// The caller behind a token; the one 401 when it is not good. Costs no query while the token is in the cache.
    pub async fn authenticate(&self, token: &str, request_id: &RequestId) -> Result<Actor> {
        Ok(self.session(token).await?.actor(request_id.clone()))
    }

    /// All that a token says; the one 401 when it is not good.
    pub async fn session(&self, token: &str) -> Result<Arc<Session>> {
        let hash = token_hash(token);
        let now = self.deps.clock.now();
        if let Some(session) = self.sessions.get(&hash, now) {
            return Ok(session);
        }
        let before = self.sessions.generation();
        let found = self
            .deps
            .store
            .read::<_, StoreError, _>(move |c| crate::store::identity::tokens::session(c, &hash, now))
            .await?;
        let session = Arc::new(found.ok_or_else(unauthenticated)?);
        self.sessions.insert(hash, session.clone(), before, now);
        Ok(session)
    }

    /// Reads in one consistent snapshot.
    async fn read<T, F>(&self, job: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        self.deps.store.read(job).await
    }

    /// Changes something in one transaction, after which no cached session is believed any more.
    async fn change<T, F>(&self, job: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        // The guard travels with the result, which the store lets go of after the commit and not before: here, or where
        // it is dropped when the caller has gone away in the meantime.
        let guard = sessions::Forget::new(self.sessions.clone());
        let (value, _guard) =
            self.deps.store.write::<_, Error, _>(move |c| job(c).map(|value| (value, guard))).await?;
        Ok(value)
    }
}
