//! The composition root: the one place that names concrete drivers and puts everything together.
//!
//! Start: state folder and its lock, database, host, workflows (which go on where an earlier process stopped), sockets.
//! Stop: the same backwards. Guests notice neither.

use crate::api::{self, Shared, State, server};
use crate::config::{Config, Metrics, VirtType};
use crate::core::clock::Clock;
use crate::core::reconcile::autostart::Policy;
use crate::core::reconcile::host_networks::ensure_host_networks;
use crate::core::reconcile::{Boot, Pace, Reconciler};
use crate::core::secret;
use crate::core::server::node::{Capacity, Node, Ratios};
use crate::core::service::{Deps, Services, Settings, consoles, identity, images};
use crate::core::workflow::{self, ServerEnv};
use crate::credentials::{self, Credentials};
use crate::host::Host;
use crate::host::disk::{ImageStore, ServerDisks, Tree};
use crate::host::hypervisor::libvirt::{LibvirtConfig, LibvirtHost, VirtTypeSetting};
use crate::host::machine;
use crate::host::net::libvirt::LibvirtNetwork;
use crate::host::net::user::UserNetwork;
use crate::host::net::{HostNetwork, NetworkMode};
use crate::host::storage::DiskStorage;
use crate::lifecycle::Shutdown;
use crate::store::{Store, StoreError, setting};
use crate::task::failpoint::Failpoints;
use crate::task::{Engine, Tasks, Tuning};
use anyhow::Context;
use secrecy::SecretString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long running steps may take after the wish to stop; what does not end goes on at the next start.
const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// As long as a guest may take to boot, and less than clients wait for an answer.
const AGENT_PATIENCE: Duration = Duration::from_secs(45);
/// Where guests of every cloud ask.
const METADATA_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), 80);
/// Guests ask a few questions while they boot, and then hardly ever.
const METADATA_WORKERS: usize = 1;
/// How long to wait until the next attempt to listen there.
const METADATA_RETRY: Duration = Duration::from_secs(10);
/// What is set aside for a full disk, in MiB.
const BALLAST_MIB: u64 = 32;
/// The gigabyte of disk sizes, in bytes.
const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
/// The availability zone, as Nova names its first one.
const ZONE: &str = "nova";

/// A daemon that serves.
pub struct Running {
    url: String,
    tasks: Tasks,
    api: server::Running,
    shutdown: Shutdown,
}

impl Running {
    /// Where the API is reached from this machine.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops accepting, lets requests and steps end, and closes the store.
    pub async fn stop(self) {
        self.shutdown.soft.cancel();
        self.api.ended().await;
        self.tasks.stop(STOP_PATIENCE).await;
    }
}

/// The figures of the machine that servers share.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The host name.
    pub name: String,
    pub cpus: u32,
    pub memory_mib: u64,
    pub disk_mib: u64,
    /// Names this boot of the machine.
    pub boot_id: String,
}

/// Starts a daemon on the real machine.
///
/// # Errors
/// When the state folder is in use or broken, or the address cannot be listened on.
pub async fn start(config: Config, state_dir: &Path, shutdown: Shutdown) -> anyhow::Result<Running> {
    let tree = Tree::open(state_dir, config.image.disk_reserve_mib)
        .with_context(|| format!("the state folder {} cannot be used", state_dir.display()))?;
    let tree = Arc::new(tree);
    let store = Store::open(state_dir)?;
    keep_room_to_delete(&tree, &store);
    let installation = installation(&store).await?;
    let host = real_host(&config, state_dir, tree, installation);
    let (disk_bytes, _) = host.storage.capacity().await.context("the state folder's file system")?;
    let memory = nix::sys::sysinfo::sysinfo().context("the host's memory")?.ram_total();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let machine = Machine {
        name: nix::unistd::gethostname().context("the host's name")?.to_string_lossy().into_owned(),
        cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
        memory_mib: memory / MIB,
        disk_mib: disk_bytes / MIB,
        boot_id: machine::boot_id().context("the id of the host's boot")?,
    };
    start_on(config, state_dir, store, host, &machine, shutdown).await
}

/// Starts a daemon on a host that is given: the real one, or one in memory.
///
/// # Errors
/// As [`start`].
pub async fn start_on(
    config: Config,
    state_dir: &Path,
    store: Store,
    host: Host,
    machine: &Machine,
    shutdown: Shutdown,
) -> anyhow::Result<Running> {
    let clock = Clock::system();
    let now = {
        let clock = clock.clone();
        Arc::new(move || clock.now())
    };
    let tuning = Tuning { parallel: config.compute.parallel_tasks, ..Tuning::default() };
    let node = Arc::new(node(&config, &host, machine));
    let env = Arc::new(ServerEnv {
        store: store.clone(),
        hypervisor: host.hypervisor.clone(),
        network: host.network.clone(),
        storage: host.storage.clone(),
        node: node.clone(),
        clock: clock.clone(),
    });
    // Before the tasks go on: some of them fill this folder.
    host.images.sweep_staging().await.context("what unfinished uploads left behind")?;
    let engine = Engine::new(store.clone(), now, tuning, Failpoints::from_environment());
    // What a task takes off a network must not be put back by what the networks were a moment ago.
    let networks_tried = CancellationToken::new();
    let tasks = workflow::register(engine, &env).start_after(networks_tried.clone().cancelled_owned());
    let policy = Policy { enabled: config.compute.autostart, parallel: config.compute.autostart_parallel };
    let boot = Boot { id: machine.boot_id.clone(), policy };
    let reconciler = Reconciler::new(env, clock.clone(), Pace::default(), boot);
    let deps = Deps { store, clock, tasks: tasks.clone() };
    let settings = Settings {
        consoles: consoles::Settings {
            token_seconds: config.console.token_lifetime_seconds,
            allowed_origins: config.console.allowed_origins.clone(),
        },
        identity: identity::Settings {
            token_seconds: u32::try_from(config.identity.token_lifetime_seconds)
                .context("identity.token_lifetime_seconds is too large")?,
        },
        images: images::Settings { max_bytes: config.image.max_size_gib.saturating_mul(GIB) },
    };
    let services = Services::new(deps, host, node, settings);

    let listener = listen(config.listen)?;
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}", listener.local_addr()?);
    services.images.recover().await?;
    services.node.register_services().await?;
    first_start(&services, state_dir, &url).await?;
    tokio::spawn(services.images.clone().upkeep(shutdown.soft.clone()));
    tokio::spawn(reconciler.run(shutdown.soft.clone()));
    tokio::spawn(bring_networks_up(services.clone(), networks_tried, shutdown.soft.clone()));

    let tls = config.tls.as_ref().map(|tls| api::tls::load(&tls.certificate, &tls.key)).transpose()?;
    let access = match config.metrics {
        Metrics::Loopback => api::metrics::Access::Loopback,
        Metrics::Admin => api::metrics::Access::Admin,
        Metrics::Off => api::metrics::Access::Nobody,
    };
    let state = Arc::new(Shared::new(services, config.public_url.clone(), tls.is_some(), access));
    if config.network.metadata && state.services.host.network.mode() == NetworkMode::Bridged {
        tokio::spawn(serve_metadata(state.clone(), shutdown.soft.clone()));
    }
    let endpoint = server::Endpoint { listener, entry: api::answer, tls };
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let api = server::serve(endpoint, &state, workers, shutdown.soft.clone())?;
    tracing::info!(url, version = env!("CARGO_PKG_VERSION"), "serving");
    Ok(Running { url, tasks, api, shutdown })
}

fn node(config: &Config, host: &Host, machine: &Machine) -> Node {
    let ratios = Ratios {
        cpu: config.compute.cpu_allocation_ratio,
        ram: config.compute.ram_allocation_ratio,
        disk: config.compute.disk_allocation_ratio,
        reserved_memory_mib: config.compute.reserved_memory_mib,
    };
    Node {
        name: machine.name.clone(),
        zone: ZONE.to_owned(),
        capacity: Capacity::new(machine.cpus, machine.memory_mib, machine.disk_mib, &ratios),
        shutdown_timeout: Duration::from_secs(config.compute.shutdown_timeout_seconds),
        agent_patience: AGENT_PATIENCE,
        force_config_drive: config.compute.force_config_drive
            || !config.network.metadata
            || host.network.mode() == NetworkMode::User,
        shelved_offload_seconds: config.compute.shelved_offload_seconds,
        reclaim_seconds: i64::from(config.compute.reclaim_instance_interval_seconds),
        resize_confirm_window: Duration::from_secs(config.compute.resize_confirm_window_seconds),
    }
}

/// Makes what a cloud begins with. Repeated after a crash, and at later starts it finds everything there.
///
/// The password is in clouds.yaml before the database knows it: a crash between the two makes a new one.
async fn first_start(services: &Services, state_dir: &Path, url: &str) -> anyhow::Result<()> {
    let auth_url = format!("{url}/identity/v3");
    let known = credentials::read(state_dir)?;
    let password: SecretString = if services.identity.is_bootstrapped().await? {
        // Only the address may have changed. Who removed the file keeps the credentials himself.
        if let Some(known) = known
            && known.auth_url != auth_url
        {
            credentials::write(state_dir, &Credentials { auth_url, ..known })?;
        }
        SecretString::default()
    } else {
        let password = secret::random_password()?;
        let made = Credentials {
            auth_url,
            username: identity::ADMIN_USER.to_owned(),
            password: password.clone(),
            project: identity::ADMIN_PROJECT.to_owned(),
            region: identity::REGION.to_owned(),
        };
        credentials::write(state_dir, &made)?;
        password
    };
    let admin_project = services.identity.bootstrap(password).await?;
    services.flavors.bootstrap().await?;
    if let Some(project) = admin_project {
        services
            .networks
            .ensure_default(services.host.network.as_ref(), &project)
            .await
            .context("the default network could not be made; `dwarfnova doctor` says what this host lacks")?;
    }
    Ok(())
}

/// Answers guests at the metadata address, from the moment on when this host has it.
async fn serve_metadata(state: State, stop: CancellationToken) {
    let mut said = false;
    loop {
        match listen_for_guests(&state).await {
            Ok(listener) => {
                let endpoint = server::Endpoint { listener, entry: api::metadata::answer, tls: None };
                match server::serve(endpoint, &state, METADATA_WORKERS, stop) {
                    Ok(running) => running.ended().await,
                    Err(error) => tracing::error!(%error, "the metadata service could not be started"),
                }
                return;
            }
            Err(error) if said => tracing::debug!(error = format!("{error:#}"), "still no metadata service"),
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(
                    error,
                    "no metadata service: guests learn from config drives alone; trying again"
                );
                said = true;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(METADATA_RETRY) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn listen_for_guests(state: &State) -> anyhow::Result<TcpListener> {
    state.services.host.network.ensure_metadata_address().await?;
    TcpListener::bind(METADATA_ADDRESS).with_context(|| format!("cannot listen on {METADATA_ADDRESS}"))
}

/// Makes the host's networks what the store says, beside serving: reads need none of them. Tells by `tried` when tasks may
/// begin: after the first attempt, however it ended, since a server's own step makes its network sure. Tries again until
/// the host is there.
async fn bring_networks_up(services: Services, tried: CancellationToken, stop: CancellationToken) {
    let mut pause = Duration::from_secs(1);
    loop {
        let attempt = ensure_host_networks(&services.deps.store, services.host.network.as_ref()).await;
        tried.cancel();
        match attempt {
            Ok(unmade) if unmade.is_empty() => return,
            Ok(unmade) => {
                for network in unmade {
                    let network_id = network.network;
                    tracing::error!(%network_id, error = %network.cause, "a network could not be made on the host");
                }
            }
            Err(error) => tracing::error!(%error, "the host's networks could not be made"),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(60)),
            () = stop.cancelled() => return,
        }
    }
}

/// The id of this installation, which marks all that it makes on the host. Made at the first start.
async fn installation(store: &Store) -> anyhow::Result<Uuid> {
    const KEY: &str = "installation";
    let found = store.read(|c| setting::get(c, KEY)).await?;
    if let Some(text) = found {
        return text.parse().context("the installation's id is damaged");
    }
    let made = Uuid::new_v4();
    store.write::<_, StoreError, _>(move |c| setting::set(c, KEY, &made.to_string())).await?;
    Ok(made)
}

/// On a full disk nothing can be deleted either, since that is written down first. So some room is kept for then.
fn keep_room_to_delete(tree: &Arc<Tree>, store: &Store) {
    if let Err(error) = tree.keep_ballast(BALLAST_MIB) {
        tracing::warn!(%error, "no room could be set aside for a full disk");
    }
    let tree = tree.clone();
    store.when_full(move || match tree.release_ballast() {
        Ok(true) => {
            tracing::warn!(
                "the disk is full: what was set aside is free now, so that servers can be deleted"
            );
        }
        Ok(false) => {}
        Err(error) => tracing::error!(%error, "the disk is full, and what was set aside cannot be freed"),
    });
}

fn real_host(config: &Config, state_dir: &Path, tree: Arc<Tree>, installation: Uuid) -> Host {
    let images = ImageStore::new(tree.clone(), config.image.max_virtual_size_gib.saturating_mul(GIB));
    let disks = ServerDisks::new(tree, images.clone());
    let hypervisor = LibvirtHost::connect(LibvirtConfig {
        uri: config.hypervisor.uri.clone(),
        virt_type: match config.hypervisor.virt_type {
            VirtType::Auto => VirtTypeSetting::Auto,
            VirtType::Kvm => VirtTypeSetting::Kvm,
            VirtType::Qemu => VirtTypeSetting::Qemu,
        },
        installation,
        probe_cache: state_dir.join("kvm-probe"),
    });
    let network: Arc<dyn HostNetwork> = if hypervisor.connection().uri().ends_with("/session") {
        Arc::new(UserNetwork)
    } else {
        Arc::new(LibvirtNetwork::new(hypervisor.connection().clone(), installation))
    };
    Host { hypervisor, network, storage: Arc::new(DiskStorage::new(images.clone(), disks)), images }
}

fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))
}
