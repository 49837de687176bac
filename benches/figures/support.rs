//! What the benches share: a client, figures, and how they are printed.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use uuid::Uuid;
use virt::connect::Connect;

/// Speaks to a daemon as the administrator.
#[derive(Clone)]
pub struct Client {
    pub base: String,
    pub token: String,
    pub project: String,
    password: String,
    http: reqwest::Client,
}

impl Client {
    /// The same user at another address.
    #[must_use]
    pub fn at(&self, base: String) -> Self {
        Self { base, ..self.clone() }
    }
}

impl Client {
    pub async fn log_in(base: &str, state: &Path) -> Self {
        let text = std::fs::read_to_string(state.join("clouds.yaml")).unwrap();
        let password = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("password:"))
            .map(|value| value.trim().trim_matches(['"', '\'']).to_owned())
            .unwrap();
        let mut client = Self {
            base: base.to_owned(),
            token: String::new(),
            project: String::new(),
            password,
            // A runtime on one thread does not see that the daemon has closed a connection in the meantime.
            http: reqwest::Client::builder().pool_idle_timeout(Duration::from_secs(2)).build().unwrap(),
        };
        (client.token, client.project) = client.token().await;
        client
    }

    /// A new token and its project.
    pub async fn token(&self) -> (String, String) {
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": {
                "name": "admin", "domain": {"id": "default"}, "password": self.password}}},
            "scope": {"project": {"name": "admin", "domain": {"id": "default"}}},
        }});
        let url = format!("{}/identity/v3/auth/tokens", self.base);
        let response = self.http.post(url).json(&body).send().await.unwrap();
        assert_eq!(response.status(), 201);
        let token = response.headers()["x-subject-token"].to_str().unwrap().to_owned();
        let body: Value = response.json().await.unwrap();
        (token, body["token"]["project"]["id"].as_str().unwrap().to_owned())
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        let url = format!("{}{path}", self.base);
        let response = self.http.get(url).header("x-auth-token", &self.token).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}{path}", self.base);
        let request = self
            .http
            .post(url)
            .header("x-auth-token", &self.token)
            .header("openstack-api-version", "compute 2.37")
            .json(body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    pub async fn delete(&self, path: &str) -> u16 {
        let url = format!("{}{path}", self.base);
        self.http.delete(url).header("x-auth-token", &self.token).send().await.unwrap().status().as_u16()
    }

    /// An active image of these bytes.
    pub async fn image(&self, format: &str, bytes: Vec<u8>) -> String {
        let body = json!({"name": "bench", "disk_format": format, "container_format": "bare"});
        let (status, image) = self.post("/image/v2/images", &body).await;
        assert_eq!(status, 201, "{image}");
        let id = image["id"].as_str().unwrap().to_owned();
        let request = self
            .http
            .put(format!("{}/image/v2/images/{id}/file", self.base))
            .header("x-auth-token", &self.token)
            .header("content-type", "application/octet-stream")
            .body(bytes);
        assert_eq!(request.send().await.unwrap().status(), 204);
        id
    }

    /// Waits until the server has the status.
    pub async fn wait_for(&self, id: &str, status: &str) {
        let start = Instant::now();
        while !self.has(id, status, start).await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Whether a server that was waited for since `start` has the status.
    async fn has(&self, id: &str, status: &str, start: Instant) -> bool {
        let (_, body) = self.get(&format!("/v2.1/servers/{id}")).await;
        let now = body["server"]["status"].as_str().unwrap_or_default();
        assert!(now == status || now != "ERROR" && start.elapsed() < Duration::from_secs(120), "{body}");
        now == status
    }
}

/// A daemon of our own. It is told to end when this is dropped.
pub struct Daemon {
    child: Child,
    pub url: String,
}

impl Daemon {
    /// Starts one over the folder and waits until it serves.
    pub fn up(state: &Path, config: Option<&Path>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dwarfnova"));
        command.arg("up").args(["--state-dir".as_ref(), state.as_os_str()]).args(["--listen", "127.0.0.1:0"]);
        if let Some(config) = config {
            command.args(["--config".as_ref(), config.as_os_str()]);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let line = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
        Self { child, url: line.strip_prefix("ready ").unwrap().to_owned() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap();
    }
}

/// A daemon with a libvirt and an image, and a folder beside its own for guests of ours.
pub struct Lab {
    pub runtime: Runtime,
    pub client: Client,
    pub connect: Connect,
    pub image: String,
    pub state: PathBuf,
    pub bare: PathBuf,
    pub daemon: Daemon,
    watch: rusqlite::Connection,
    _folder: tempfile::TempDir,
}

impl Lab {
    /// One with this configuration; none outside `tests/hermetic`.
    pub fn open(bench: &str, config: &str) -> Option<Self> {
        if std::env::var_os("DWARFNOVA_HERMETIC").is_none() {
            println!("{bench}: run it inside tests/hermetic");
            return None;
        }
        let guest = std::fs::read(std::env::var_os("DWARFNOVA_TEST_GUEST").unwrap()).unwrap();
        let folder = tempfile::Builder::new().prefix("dn-bench-").tempdir_in("/var/tmp").unwrap();
        let (state, bare) = (folder.path().join("state"), folder.path().join("bare"));
        let file = folder.path().join("bench.toml");
        std::fs::write(&file, config).unwrap();
        let daemon = Daemon::up(&state, Some(&file));
        std::fs::create_dir_all(&bare).unwrap();
        Command::new("chmod").args(["-R", "a+rX"]).arg(folder.path()).status().unwrap();
        // On this thread: what a hand-over to another takes would count as the daemon's.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // libvirt would print each look at a domain that is not there yet.
        virt::error::clear_error_callback();
        let connect = Connect::open(Some("qemu:///system")).unwrap();
        let client = runtime.block_on(Client::log_in(&daemon.url, &state));
        let image = runtime.block_on(client.image("qcow2", guest));
        let watch = database(&state);
        Some(Self { runtime, client, connect, image, state, bare, daemon, watch, _folder: folder })
    }

    pub fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Copies the row of a server that is off: servers as lists see them, without anything on the host.
    pub fn copy(&self, id: &str, count: usize) {
        let connection = database(&self.state);
        let mut columns = connection.prepare("SELECT name FROM pragma_table_info('server')").unwrap();
        let columns: Vec<String> =
            columns.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let columns: Vec<&str> =
            columns.iter().map(String::as_str).filter(|name| !["id", "number"].contains(name)).collect();
        let columns = columns.join(", ");
        let copy =
            format!("INSERT INTO server (id, {columns}) SELECT ?2, {columns} FROM server WHERE id = ?1");
        for _ in 0..count {
            connection.execute(&copy, [id, &Uuid::new_v4().to_string()]).unwrap();
        }
    }

    pub fn raise_quota(&self) {
        let connection = database(&self.state);
        for resource in ["instances", "cores", "ram"] {
            let row = [self.client.project.as_str(), resource];
            connection.execute("INSERT OR REPLACE INTO quota VALUES (?1, ?2, -1)", row).unwrap();
        }
    }

    /// Asks for a server; gives its id.
    pub async fn ask(&self, body: &Value) -> String {
        let (status, answer) = self.client.post("/v2.1/servers", body).await;
        assert_eq!(status, 202, "{answer}");
        answer["server"]["id"].as_str().unwrap().to_owned()
    }

    /// An active server.
    pub fn create(&self, body: &Value) -> String {
        self.wait(async {
            let id = self.ask(body).await;
            self.client.wait_for(&id, "ACTIVE").await;
            id
        })
    }

    fn request(&self, id: &str, action: &Value) {
        self.wait(async {
            let (code, body) = self.client.post(&format!("/v2.1/servers/{id}/action"), action).await;
            assert!((200..300).contains(&code), "{body}");
        });
    }

    /// Does something to a server, and waits until whoever asks is told the state that it ends in. What is looked at is the
    /// database: a client that asks the API time and again takes processors from the action.
    pub fn act(&self, id: &str, action: &Value, vm_state: &str) {
        let sql = "SELECT 1 FROM server WHERE id = ?1 AND vm_state = ?2 AND task_state IS NULL";
        let mut there = self.watch.prepare_cached(sql).unwrap();
        self.request(id, action);
        let start = Instant::now();
        while !there.exists([id, vm_state]).unwrap() {
            assert!(start.elapsed() < Duration::from_secs(120), "{id} does not come to be {vm_state}");
            let pause = start.elapsed() / 20;
            std::thread::sleep(pause.clamp(Duration::from_micros(50), Duration::from_millis(2)));
        }
    }

    /// As [`Lab::act`], and waits until such a client has seen the status.
    pub fn act_and_poll(&self, id: &str, action: &Value, status: &str) {
        self.request(id, action);
        // Some actions last no longer than the pause of other waits; in long ones, looking often would take from them.
        let start = Instant::now();
        while !self.wait(self.client.has(id, status, start)) {
            let pause = start.elapsed() / 20;
            std::thread::sleep(pause.clamp(Duration::from_micros(300), Duration::from_millis(2)));
        }
    }

    /// Waits until all guests have booted, which shows in that they take next to no time from the processors.
    pub fn rest(&self) {
        const LOOK: Duration = Duration::from_secs(1);
        let used = || {
            let running = self.connect.list_all_domains(virt::sys::VIR_CONNECT_LIST_DOMAINS_ACTIVE).unwrap();
            let times = running.iter().map(|domain| domain.info().unwrap().cpu_time);
            Duration::from_nanos(times.sum())
        };
        let (start, mut before) = (Instant::now(), used());
        loop {
            assert!(start.elapsed() < Duration::from_secs(120), "the guests do not come to rest");
            std::thread::sleep(LOOK);
            let now = used();
            if now.saturating_sub(before) < LOOK / 4 {
                return;
            }
            before = now;
        }
    }

    /// Deletes servers once they are there, and waits until they are gone.
    pub fn remove(&self, ids: &[String]) {
        self.wait(async {
            for id in ids {
                self.client.wait_for(id, "ACTIVE").await;
                self.client.delete(&format!("/v2.1/servers/{id}")).await;
            }
            for id in ids {
                while self.client.get(&format!("/v2.1/servers/{id}")).await.0 != 404 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        });
    }
}

/// The database, as an administrator's tool opens it while the daemon runs.
fn database(state: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(state.join("dwarfnova.db")).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    connection
}

/// The XML with names, paths and addresses of its own, the image's file, and where the overlay goes.
pub fn renamed(folder: &Path, xml: &str) -> (String, PathBuf, PathBuf) {
    let id = Uuid::new_v4();
    let document = roxmltree::Document::parse(xml).unwrap();
    let text =
        |tag: &str| document.descendants().find(|n| n.has_tag_name(tag)).and_then(|n| n.text()).unwrap();
    let disk = document.descendants().find(|n| n.has_tag_name("source") && n.has_attribute("file")).unwrap();
    let file = disk.attribute("file").unwrap();
    let overlay = folder.join(format!("{id}.qcow2"));
    let old = text("uuid").to_owned();
    let mut renamed = xml.replace(file, overlay.to_str().unwrap());
    // The console's log and socket.
    for (number, old) in document
        .descendants()
        .filter_map(|n| match n.tag_name().name() {
            "log" => n.attribute("file"),
            "source" => n.attribute("path"),
            _ => None,
        })
        .enumerate()
    {
        let own = folder.join(format!("{}.{number}", id.simple()));
        renamed = renamed.replace(&format!("'{old}'"), &format!("'{}'", own.display()));
    }
    renamed = renamed
        .replace(&format!("<name>{}</name>", text("name")), &format!("<name>bare-{}</name>", id.simple()));
    renamed = renamed.replace(&old, &id.to_string());
    let base = Command::new("find")
        .arg(folder.parent().unwrap().join("state/bases"))
        .args(["-type", "f"])
        .output()
        .unwrap();
    let base = String::from_utf8(base.stdout).unwrap().lines().next().unwrap().to_owned();
    (renamed, base.into(), overlay)
}

/// The middle one.
pub fn median(mut samples: Vec<Duration>) -> Duration {
    samples.sort_unstable();
    samples[samples.len() / 2]
}

pub fn ms(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

pub fn row(what: &str, figure: &str) {
    println!("{what:<58} {figure:>16}");
}

/// What wrk found: median latency and requests a second.
pub struct Load {
    pub median: String,
    pub per_second: f64,
    /// What wrk says of answers that were none.
    pub trouble: Option<String>,
}

/// Loads a URL from another process for some seconds.
pub fn wrk(client: &Client, path: &str, connections: u32, seconds: u32) -> Load {
    let output = Command::new("wrk")
        .args(["-t", if connections > 1 { "2" } else { "1" }, "-c", &connections.to_string()])
        .args(["-d", &format!("{seconds}s"), "--latency", "-H", &format!("X-Auth-Token: {}", client.token)])
        .arg(format!("{}{path}", client.base))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let field = |name: &str| {
        text.lines().find_map(|line| line.trim().strip_prefix(name)).map(|rest| rest.trim().to_owned())
    };
    Load {
        median: field("50%").unwrap_or_else(|| panic!("{text}")),
        per_second: field("Requests/sec:").unwrap().parse().unwrap(),
        trouble: text
            .lines()
            .find(|line| line.contains("Non-2xx") || line.contains("Socket errors"))
            .map(str::to_owned),
    }
}
