//! How fast the API answers, with a thousand servers on a host in memory: `cargo bench -- reads`.
//!
//! Everything but the machine is real: HTTP, tokens, SQLite on the disk, the task engine. wrk runs on the same cores.

use crate::process::pss_mib;
use crate::support::{Client, median, ms, row, wrk};
use dwarfnova::app::{self, Machine};
use dwarfnova::config::Config;
use dwarfnova::host::Host;
use dwarfnova::host::disk::{ImageStore, Tree};
use dwarfnova::host::hypervisor::fake::FakeHypervisor;
use dwarfnova::host::net::NetworkMode;
use dwarfnova::host::net::fake::FakeNetwork;
use dwarfnova::host::storage::fake::FakeStorage;
use dwarfnova::lifecycle::Shutdown;
use dwarfnova::store::{Store, StoreError};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SERVERS: usize = 1000;

pub fn run() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let tree = Tree::open(&state, 0).unwrap();
    let store = Store::open(&state).unwrap();
    let host = Host {
        hypervisor: Arc::new(FakeHypervisor::new()),
        network: Arc::new(FakeNetwork::new(NetworkMode::Bridged)),
        storage: Arc::new(FakeStorage::default()),
        images: ImageStore::new(Arc::new(tree), 1 << 40),
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
    let running =
        app::start_on(config, &state, store.clone(), host, &machine, Shutdown::default()).await.unwrap();
    let client = Client::log_in(running.url(), &state).await;
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
    let image = client.image("raw", vec![0; 1 << 20]).await;
    let (_, networks) = client.get("/network/v2.0/networks").await;
    let network = networks["networks"][0]["id"].as_str().unwrap().to_owned();

    let first = creates(&client, &image, &network).await;
    fill(&client, &image, &network, SERVERS).await;
    let last = creates(&client, &image, &network).await;
    // The oldest has a port; the newest may be on its way out.
    let (_, list) = client.get("/v2.1/servers?name=many&sort_key=created_at&sort_dir=asc&limit=1").await;
    let server = list["servers"][0]["id"].as_str().unwrap().to_owned();

    let one = wrk(&client, &format!("/v2.1/servers/{server}"), 1, 5);
    row("GET /servers/{id}, 1 client, median", &one.median);
    let many = wrk(&client, &format!("/v2.1/servers/{server}"), 16, 5);
    row("GET /servers/{id}, 16 clients, requests a second", &format!("{:.0}", many.per_second));
    row("GET /servers/{id}, 16 clients, median", &many.median);
    for limit in [100, 1000] {
        let load = wrk(&client, &format!("/v2.1/servers/detail?limit={limit}"), 1, 5);
        row(&format!("GET /servers/detail, {limit} servers, median"), &load.median);
        assert_eq!(load.trouble, None);
    }
    let load = wrk(&client, "/v2.1/servers/detail?limit=1000", 4, 30);
    row("GET /servers/detail, 1000 servers, 4 clients, a second", &format!("{:.0}", load.per_second));
    // More than the daemon: the host in memory and the bench's own client are in this process too.
    row("memory (PSS) after all of this", &format!("{:.1} MiB", pss_mib(std::process::id())));
    assert_eq!((one.trouble, many.trouble), (None, None));

    let mut tokens = Vec::new();
    for _ in 0..20 {
        let start = Instant::now();
        client.token().await;
        tokens.push(start.elapsed());
    }
    row("POST /auth/tokens by password, median", &ms(median(tokens)));
    let quiet = shows(&client, &server).await;
    let loops: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                loop {
                    client.token().await;
                }
            })
        })
        .collect();
    let busy = shows(&client, &server).await;
    loops.iter().for_each(tokio::task::JoinHandle::abort);
    row("GET /servers/{id} beside 4 log-in loops, median", &ms(busy));
    row("  against alone, ratio", &format!("{:.2}", busy.as_secs_f64() / quiet.as_secs_f64()));

    row("POST /servers to ACTIVE on a host in memory, no servers", &ms(first));
    row(&format!("  with {SERVERS} servers"), &ms(last));
    row("  ratio", &format!("{:.2}", last.as_secs_f64() / first.as_secs_f64()));
    running.stop().await;
}

/// The median of showing a server, one after the other.
async fn shows(client: &Client, server: &str) -> Duration {
    let mut samples = Vec::new();
    for _ in 0..400 {
        let start = Instant::now();
        client.get(&format!("/v2.1/servers/{server}")).await;
        samples.push(start.elapsed());
    }
    median(samples)
}

/// The median of making a server, one after the other; each is deleted again.
async fn creates(client: &Client, image: &str, network: &str) -> Duration {
    let mut samples = Vec::new();
    for _ in 0..15 {
        let body = json!({"server": {"name": "one", "imageRef": image, "flavorRef": "42", "networks": [{"uuid": network}]}});
        let start = Instant::now();
        let (status, answer) = client.post("/v2.1/servers", &body).await;
        assert_eq!(status, 202, "{answer}");
        let id = answer["server"]["id"].as_str().unwrap().to_owned();
        client.wait_for(&id, "ACTIVE").await;
        samples.push(start.elapsed());
        client.delete(&format!("/v2.1/servers/{id}")).await;
    }
    median(samples)
}

/// Fills the host with servers, a hundred at a time.
pub async fn fill(client: &Client, image: &str, network: &str, servers: usize) {
    // The default network is a /24: most servers go without a port, as many as fit have one.
    for batch in 0..servers / 100 {
        let networks = if batch < 2 { json!([{"uuid": network}]) } else { json!("none") };
        let body = json!({"server": {"name": "many", "imageRef": image, "flavorRef": "42", "min_count": 100,
            "max_count": 100, "metadata": {"role": "bench", "owner": "nobody"}, "networks": networks}});
        let request = reqwest::Client::new()
            .post(format!("{}/v2.1/servers", client.base))
            .header("x-auth-token", &client.token)
            .header("openstack-api-version", "compute 2.37")
            .json(&body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 202, "{}", response.text().await.unwrap());
    }
    loop {
        let (_, list) = client.get("/v2.1/servers?status=BUILD&limit=1").await;
        if list["servers"].as_array().is_some_and(Vec::is_empty) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
