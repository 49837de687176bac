//! How soon a daemon with many servers serves again, and when its rows agree with what guests did meanwhile:
//! `cargo bench -- restart`. The host is in memory, everything else is real.

use crate::reads::fill;
use crate::support::{Client, ms, row};
use dwarfnova::app::{self, Machine, Running};
use dwarfnova::config::Config;
use dwarfnova::host::Host;
use dwarfnova::host::disk::{ImageStore, Tree};
use dwarfnova::host::hypervisor::DomainState;
use dwarfnova::host::hypervisor::fake::FakeHypervisor;
use dwarfnova::host::net::NetworkMode;
use dwarfnova::host::net::fake::FakeNetwork;
use dwarfnova::host::storage::fake::FakeStorage;
use dwarfnova::lifecycle::Shutdown;
use dwarfnova::store::{Store, StoreError};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SERVERS: usize = 500;
/// How many guests went off while no daemon looked.
const WENT_OFF: usize = 50;

/// What outlives the daemon.
struct World {
    state: PathBuf,
    tree: Arc<Tree>,
    hypervisor: Arc<FakeHypervisor>,
    network: Arc<FakeNetwork>,
    storage: Arc<FakeStorage>,
}

impl World {
    async fn store(&self) -> Store {
        loop {
            match Store::open(&self.state) {
                Ok(store) => return store,
                // The daemon before lets go of it a moment after it has stopped.
                Err(StoreError::Locked { .. }) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn start(&self, store: Store) -> Running {
        let host = Host {
            hypervisor: self.hypervisor.clone(),
            network: self.network.clone(),
            storage: self.storage.clone(),
            images: ImageStore::new(self.tree.clone(), 1 << 40),
        };
        let mut config = Config { listen: "127.0.0.1:0".parse().unwrap(), ..Config::default() };
        config.network.metadata = false;
        let machine = Machine {
            name: "bench".into(),
            cpus: 1 << 16,
            memory_mib: 1 << 30,
            disk_mib: 1 << 40,
            boot_id: "bench".into(),
        };
        app::start_on(config, &self.state, store, host, &machine, Shutdown::default()).await.unwrap()
    }
}

pub fn run() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let world = World {
        tree: Arc::new(Tree::open(&state, 0).unwrap()),
        state,
        hypervisor: Arc::new(FakeHypervisor::new()),
        network: Arc::new(FakeNetwork::new(NetworkMode::Bridged)),
        storage: Arc::new(FakeStorage::default()),
    };
    let store = world.store().await;
    let running = world.start(store.clone()).await;
    let client = Client::log_in(running.url(), &world.state).await;
    let project = client.project.clone();
    store
        .write::<_, StoreError, _>(move |c| {
            for resource in ["instances", "cores", "ram"] {
                c.execute("INSERT OR REPLACE INTO quota VALUES (?1, ?2, -1)", [project.as_str(), resource])?;
            }
            Ok(())
        })
        .await
        .unwrap();
    drop(store);
    let image = client.image("raw", vec![0; 1 << 20]).await;
    let (_, networks) = client.get("/network/v2.0/networks").await;
    fill(&client, &image, networks["networks"][0]["id"].as_str().unwrap(), SERVERS).await;
    running.stop().await;

    let ids: Vec<_> = world.hypervisor.inventory().domains.into_keys().take(WENT_OFF).collect();
    for id in ids {
        world.hypervisor.set_state_silently(id, DomainState::ShutOff);
    }
    let store = world.store().await;
    let begun = Instant::now();
    let running = world.start(store).await;
    let client = client.at(running.url().to_owned());
    let (status, list) = client.get("/v2.1/servers/detail?limit=1000").await;
    let serving = begun.elapsed();
    assert_eq!((status, list["servers"].as_array().unwrap().len()), (200, SERVERS));
    loop {
        let (_, list) = client.get("/v2.1/servers?status=SHUTOFF&limit=1000").await;
        if list["servers"].as_array().unwrap().len() == WENT_OFF {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "the rows never agreed with the host");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    row(&format!("restart with {SERVERS} servers to all of them listed in full"), &ms(serving));
    row(&format!("  to {WENT_OFF} that went off meanwhile being SHUTOFF"), &ms(begun.elapsed()));
    running.stop().await;
}
