//! A whole compute service on a host in memory, which can be killed and started again on the same state.

use super::{ServerEnv, register};
use crate::core::actor::{Actor, Roles};
use crate::core::clock::{Clock, from_micros};
use crate::core::flavor::NewFlavor;
use crate::core::ids::{ImageId, RequestId, ServerId};
use crate::core::image::{Attribute, ContainerFormat, DiskFormat, Image, Status, Visibility};
use crate::core::port::Networking;
use crate::core::reconcile::host_networks::ensure_host_networks;
use crate::core::server::Server;
use crate::core::server::create::{CreateServer, LocalDisks};
use crate::core::server::node::Node;
use crate::core::server::query::{Deleted, Scope, ServerQuery};
use crate::core::service::Deps;
use crate::core::service::networks::NetworksService;
use crate::core::service::servers::Servers;
use crate::host::hypervisor::fake::{FakeHypervisor, Inventory};
use crate::host::net::fake::{FakeNetwork, NetworkInventory};
use crate::host::storage::DiskPlan;
use crate::host::storage::fake::FakeStorage;
use crate::store::{Store, StoreError, flavors, images, servers};
use crate::task::failpoint::{Effect, Failpoint, Failpoints, Moment};
use crate::task::{Engine, Tasks, Tuning};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub const FLAVOR: &str = "tiny";
/// More vCPUs and memory, the same disks.
pub const WIDE: &str = "wide";
/// More of everything.
pub const LARGE: &str = "large";
/// A smaller ephemeral disk.
pub const BARE: &str = "bare";

/// The machine and the disk, which outlive the process.
pub struct Bench {
    folder: tempfile::TempDir,
    pub hypervisor: Arc<FakeHypervisor>,
    pub network: Arc<FakeNetwork>,
    pub storage: Arc<FakeStorage>,
    pub points: Failpoints,
    pub node: Arc<Node>,
    pub image: ImageId,
}

/// The process.
pub struct Process {
    pub store: Store,
    pub tasks: Tasks,
    pub servers: Servers,
    pub env: Arc<ServerEnv>,
    pub clock: Clock,
}

/// Everything of servers that is on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnHost {
    pub domains: Inventory,
    pub networks: NetworkInventory,
    pub files: BTreeMap<ServerId, DiskPlan>,
    /// Images whose bytes were made from servers.
    pub images: BTreeSet<ImageId>,
    /// Servers with a copy of their disk that is no image yet.
    pub captures: BTreeSet<ServerId>,
}

pub fn actor(name: &str, roles: &[&str]) -> Actor {
    Actor {
        user_id: format!("{name}-user").into(),
        user_name: name.into(),
        user_domain: "default".into(),
        project_id: Some(name.into()),
        roles: Roles::from_names(roles.iter().copied()),
        request_id: RequestId::fresh(),
    }
}

pub fn owner() -> Actor {
    actor("owner", &["member"])
}

pub fn admin() -> Actor {
    actor("admins", &["admin"])
}

impl Bench {
    pub fn new() -> Self {
        Self::with_node(Node::roomy())
    }

    pub fn with_node(node: Node) -> Self {
        Self {
            folder: memory_folder(),
            hypervisor: Arc::new(FakeHypervisor::new()),
            network: Arc::default(),
            storage: Arc::default(),
            points: Failpoints::default(),
            node: Arc::new(node),
            image: ImageId::random(),
        }
    }

    /// Starts a process on the state that is there.
    pub async fn start(&self) -> Process {
        let store = loop {
            match Store::open(self.folder.path()) {
                Ok(store) => break store,
                // The threads of the process before let go of the lock a moment after it halted.
                Err(StoreError::Locked { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        let clock = Clock::system();
        let env = Arc::new(ServerEnv {
            store: store.clone(),
            hypervisor: self.hypervisor.clone(),
            network: self.network.clone(),
            storage: self.storage.clone(),
            node: self.node.clone(),
            clock: clock.clone(),
        });
        let tuning = Tuning {
            retry_first: Duration::from_millis(1),
            retry_max: Duration::from_millis(4),
            transient_tries: 3,
            undo_tries: 3,
            ..Tuning::default()
        };
        let now = {
            let clock = clock.clone();
            Arc::new(move || clock.now())
        };
        // Before tasks go on: what they take off the networks must not come back.
        ensure_host_networks(&store, &*self.network).await.unwrap();
        let engine = register(Engine::new(store.clone(), now, tuning, self.points.clone()), &env);
        let tasks = engine.start();
        let deps = Deps { store: store.clone(), clock: clock.clone(), tasks: tasks.clone() };
        let servers =
            Servers::new(deps.clone(), self.storage.clone(), self.hypervisor.clone(), self.node.clone());
        let process = Process { store, tasks, servers, env, clock };
        process.furnish(deps, self).await;
        process
    }

    /// Starts a process, and kills and starts it again for as long as a failpoint halts it, until no task is open.
    pub async fn settle(&self, mut process: Process) -> Process {
        loop {
            process.tasks.settled().await.unwrap();
            if !process.tasks.halted() {
                return process;
            }
            process.kill().await;
            process = self.start().await;
        }
    }

    pub fn want(&self, workflow: &str, step: &str, moment: Moment, effect: Effect) {
        self.points.want(Failpoint { workflow: workflow.into(), step: step.into(), moment, effect });
    }

    pub fn on_host(&self) -> OnHost {
        OnHost {
            domains: self.hypervisor.inventory(),
            networks: self.network.inventory(),
            files: self.storage.inventory(),
            images: self.storage.images(),
            captures: self.storage.captures(),
        }
    }

    pub fn command(&self, name: &str) -> CreateServer {
        CreateServer {
            name: name.into(),
            description: None,
            hostname: None,
            image_id: Some(self.image),
            local_disks: LocalDisks::default(),
            flavor_id: FLAVOR.into(),
            networks: Networking::Absent,
            security_groups: Vec::new(),
            key_name: None,
            availability_zone: None,
            requested_host: None,
            requested_hypervisor_hostname: None,
            metadata: BTreeMap::new(),
            tags: Vec::new(),
            config_drive: Some(true),
            user_data: None,
            personality: Vec::new(),
            admin_password: None,
            access_ip_v4: None,
            access_ip_v6: None,
            disk_config: None,
            scheduler_hints: "{}".into(),
            trusted_certificates: None,
            min_count: 1,
            max_count: 1,
        }
    }
}

impl Process {
    /// What an installation has after its first start: a flavor, an image, a network.
    async fn furnish(&self, deps: Deps, bench: &Bench) {
        let (image, now) = (bench.image, self.clock.now());
        self.store
            .write::<_, StoreError, _>(move |c| {
                if flavors::any(c)? {
                    return Ok(());
                }
                for (name, vcpus, ram_mib, disk_gib, ephemeral_gib, swap_mib) in [
                    (FLAVOR, 1, 64, 1, 1, 64),
                    (WIDE, 2, 128, 1, 1, 64),
                    (LARGE, 4, 256, 3, 2, 0),
                    (BARE, 1, 64, 1, 0, 64),
                ] {
                    let flavor = NewFlavor {
                        id: Some(name.into()),
                        name: name.into(),
                        description: None,
                        vcpus,
                        ram_mib,
                        disk_gib,
                        ephemeral_gib,
                        swap_mib,
                        rxtx_factor: 1.0,
                        is_public: true,
                    };
                    flavors::insert(c, name, &flavor, now)?.ok();
                }
                for resource in ["instances", "cores", "ram"] {
                    c.execute("INSERT INTO quota VALUES ('owner', ?1, -1)", [resource])?;
                }
                images::insert(c, &an_image(image))?;
                Ok(())
            })
            .await
            .unwrap();
        let service = NetworksService::new(deps, bench.network.clone());
        let made = service.ensure_default(&*bench.network, &"owner".into()).await.unwrap();
        if made.is_some() {
            ensure_host_networks(&self.store, &*bench.network).await.unwrap();
        }
    }

    /// Ends the process as it is: what was not written is lost.
    pub async fn kill(self) {
        self.tasks.stop(Duration::from_secs(5)).await;
    }

    pub async fn create(&self, command: CreateServer) -> ServerId {
        self.servers.create(&owner(), command).await.unwrap().ids[0]
    }

    /// One more image to choose from.
    pub async fn another_image(&self) -> ImageId {
        let id = ImageId::random();
        self.store.write::<_, StoreError, _>(move |c| images::insert(c, &an_image(id))).await.unwrap();
        id
    }

    /// The row, deleted or not.
    pub async fn row(&self, id: ServerId) -> Server {
        self.store.read(move |c| servers::get_any(c, id)).await.unwrap().unwrap()
    }
}

/// A folder in memory where there is one: a test of crashes of the process does not need the disk.
fn memory_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn an_image(id: ImageId) -> Image {
    let at = from_micros(1_700_000_000_000_000);
    let mut image = Image::new(id, &[Attribute::Visibility(Visibility::Public)], &admin(), at).unwrap();
    image.disk_format = Some(DiskFormat::Qcow2);
    image.container_format = Some(ContainerFormat::Bare);
    image.status = Status::Active;
    image.size = Some(1 << 20);
    image.virtual_size = Some(1 << 29);
    image.file_format = Some("qcow2".into());
    image
}

/// All servers that are not deleted, newest first.
pub fn everything() -> ServerQuery {
    ServerQuery {
        scope: Scope::AllProjects,
        deleted: Deleted::Hide,
        filters: Vec::new(),
        sort: Vec::new(),
        limit: 1000,
        marker: None,
    }
}
