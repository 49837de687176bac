//! A cloud for the tests of the APIs: all services on a folder that goes away with the test.

use super::metrics::Access;
use super::{Shared, State};
use crate::core::actor::Actor;
use crate::core::clock::{Clock, from_micros};
use crate::core::ids::RequestId;
use crate::core::server::node::Node;
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
use crate::store::{Store, StoreError};
use crate::task::failpoint::Failpoints;
use crate::task::{Engine, Tuning};
use actix_web::HttpResponse;
use actix_web::body::to_bytes;
use secrecy::ExposeSecret;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

pub const ADMIN_PASSWORD: &str = "the password of the tests";

pub struct Cloud {
    pub state: State,
    pub clock: Clock,
    /// A token of the administrator in his project.
    pub admin: String,
    folder: tempfile::TempDir,
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
        let services =
            Services::new(deps, fake_host(folder.path()), Arc::new(Node::roomy()), Settings::default());
        tokio::spawn(services.images.clone().upkeep(CancellationToken::new()));
        services.identity.bootstrap(ADMIN_PASSWORD.into()).await.unwrap();
        let state = Arc::new(Shared::new(services, None, false, Access::default()));
        let mut cloud = Self { state, clock, admin: String::new(), folder };
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

    /// A token of a new user with one role in a new project; both have the name.
    pub async fn user(&self, name: &str, role: &str) -> String {
        let (name, role, token) = (name.to_owned(), role.to_owned(), format!("the token of {name}"));
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let now = self.clock.now().as_microsecond();
        let write = move |connection: &rusqlite::Connection| {
            connection.execute(
                "INSERT INTO project (id, domain_id, parent_id, name) VALUES ('project-' || ?1, 'default', 'default', ?1)",
                [&name],
            )?;
            connection.execute(
                "INSERT INTO user (id, domain_id, name) VALUES ('user-' || ?1, 'default', ?1)",
                [&name],
            )?;
            connection.execute(
                "INSERT INTO role_assignment (actor_kind, actor_id, target_kind, target_id, role_id) \
                 SELECT 'user', 'user-' || ?1, 'project', 'project-' || ?1, id FROM role WHERE name = ?2",
                [&name, &role],
            )?;
            connection.execute(
                "INSERT INTO token (hash, user_id, scope_kind, scope_id, methods, audit_ids, issued_at, expires_at) \
                 VALUES (?2, 'user-' || ?1, 'project', 'project-' || ?1, '[\"password\"]', '[\"x\"]', ?3, ?4)",
                rusqlite::params![name, hash, now, now + 3_600_000_000],
            )?;
            Ok::<_, StoreError>(())
        };
        self.state.services.deps.store.write(write).await.unwrap();
        token
    }

    /// Whom a token stands for.
    pub async fn actor(&self, token: &str) -> Actor {
        self.state.services.identity.session(token).await.unwrap().actor(RequestId::fresh())
    }

    /// Runs SQL, to bring about what no API does.
    pub async fn execute(&self, sql: String) {
        let write =
            move |connection: &rusqlite::Connection| Ok::<_, StoreError>(connection.execute_batch(&sql)?);
        self.state.services.deps.store.write(write).await.unwrap();
    }

    /// A place among the files of images and servers.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("files").join(name)
    }

    /// What lies in a folder among those files.
    pub fn files(&self, name: &str) -> Vec<OsString> {
        std::fs::read_dir(self.path(name)).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    /// Waits until nothing lies in a folder: files are removed in the background.
    pub async fn wait_for_empty(&self, name: &str) {
        for _ in 0..1000 {
            if self.files(name).is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{name} still holds {:?}", self.files(name));
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
