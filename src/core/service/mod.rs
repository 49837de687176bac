//! Use cases, one file per resource: authorise, load, let the rules decide, record and enqueue in one transaction.

pub mod identity;

use super::clock::Clock;
use crate::store::Store;
use crate::task::Tasks;

/// What every use case needs.
#[derive(Clone)]
pub struct Deps {
    pub store: Store,
    pub clock: Clock,
    /// Woken after a transaction that added a task.
    pub tasks: Tasks,
}

/// All use cases, by resource.
#[derive(Clone)]
pub struct Services {
    pub deps: Deps,
    pub identity: identity::IdentityService,
}

impl Services {
    pub fn new(deps: Deps, identity: identity::Settings) -> Self {
        Self { identity: identity::IdentityService::new(deps.clone(), identity), deps }
    }
}
