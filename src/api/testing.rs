//! A cloud for the tests of the APIs: all services on a folder that goes away with the test.

use super::{Shared, State};
use crate::core::clock::{Clock, from_micros};
use crate::core::service::identity::{
    ADMIN_PROJECT, ADMIN_USER, DomainSelector, ProjectSelector, Proof, UserSelector, WantedScope,
};
use crate::core::service::{Deps, Services, Settings};
use crate::host::Host;
use crate::host::disk::{ImageStore, Tree};
use crate::host::hypervisor::fake::FakeHypervisor;
use crate::host::net::NetworkMode;
use crate::host::net::fake::FakeNetwork;
use crate::host::storage::fake::FakeStorage;
use crate::store::Store;
use crate::task::failpoint::Failpoints;
use crate::task::{Engine, Tuning};
use actix_web::HttpResponse;
use actix_web::body::to_bytes;
use secrecy::ExposeSecret;
use serde_json::Value;
use std::sync::Arc;

pub const ADMIN_PASSWORD: &str = "the password of the tests";

pub struct Cloud {
    pub state: State,
    pub clock: Clock,
    /// A token of the administrator in his project.
    pub admin: String,
    _folder: tempfile::TempDir,
}

impl Cloud {
    /// A cloud as it is after the first start.
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(from_micros(1_700_000_000_000_000));
        let store = Store::open(folder.path()).unwrap();
        let now = {
            let clock = clock.clone();
            Arc::new(move || clock.now())
        };
        let tasks = Engine::new(store.clone(), now, Tuning::default(), Failpoints::default()).start();
        let deps = Deps { store, clock: clock.clone(), tasks };
        let services = Services::new(deps, fake_host(folder.path()), Settings::default());
        services.identity.bootstrap(ADMIN_PASSWORD.into()).await.unwrap();
        let state = Arc::new(Shared::new(services, None, false));
        let mut cloud = Self { state, clock, admin: String::new(), _folder: folder };
        cloud.admin = cloud.log_in(ADMIN_USER, ADMIN_PASSWORD, ADMIN_PROJECT).await;
        cloud
    }

    /// A token for a user and a project of the default domain.
    pub async fn log_in(&self, user: &str, password: &str, project: &str) -> String {
        let domain = || DomainSelector::Id("default".into());
        let proof = Proof::Password(UserSelector::Name(user.into(), domain()), password.into());
        let scope = WantedScope::Project(ProjectSelector::Name(project.into(), domain()));
        let issued = self.state.services.identity.log_in(vec![proof], scope).await.unwrap();
        issued.token.expose_secret().to_owned()
    }
}

/// A machine that exists in memory, but for the bytes of images.
pub fn fake_host(folder: &std::path::Path) -> Host {
    let tree = Arc::new(Tree::open(&folder.join("files"), 0).unwrap());
    Host {
        hypervisor: Arc::new(FakeHypervisor::new()),
        network: Arc::new(FakeNetwork::new(NetworkMode::Bridged)),
        storage: Arc::new(FakeStorage::default()),
        images: ImageStore::new(tree, 1 << 40),
    }
}

/// The body of an answer as JSON; `Null` when it is empty.
pub async fn body(response: HttpResponse) -> Value {
    let bytes = to_bytes(response.into_body()).await.unwrap();
    if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() }
}
