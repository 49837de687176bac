//! What the benches share: a daemon, a client, figures, and how they are printed.

use serde_json::{Value, json};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Whether this runs inside `tests/hermetic`; says so if it does not.
pub fn is_hermetic(bench: &str) -> bool {
    let hermetic = std::env::var_os("DWARFNOVA_HERMETIC").is_some();
    if !hermetic {
        println!("{bench}: run it inside tests/hermetic");
    }
    hermetic
}

/// A daemon in a process of its own. Ends with it.
pub struct Daemon {
    child: Child,
    pub url: String,
}

impl Daemon {
    /// Starts one on a state folder, with `up`'s further arguments, and waits until it is ready.
    pub fn start(state: &Path, arguments: &[&OsStr]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_dwarfnova"))
            .arg("up")
            .args(["--state-dir".as_ref(), state.as_os_str()])
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
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

/// A cloud over a libvirt: a daemon, its administrator, and the image of a guest.
pub struct Cloud {
    pub runtime: Runtime,
    pub client: Client,
    pub image: String,
    pub state: PathBuf,
    // Ends before its folder goes.
    _daemon: Daemon,
    folder: TempDir,
}

impl Cloud {
    /// Makes one, with this configuration. DWARFNOVA_TEST_GUEST names the guest image.
    pub fn new(config: &str) -> Self {
        let guest = std::fs::read(std::env::var_os("DWARFNOVA_TEST_GUEST").unwrap()).unwrap();
        let folder = tempfile::Builder::new().prefix("dn-bench-").tempdir_in("/var/tmp").unwrap();
        let (state, file) = (folder.path().join("state"), folder.path().join("bench.toml"));
        std::fs::write(&file, config).unwrap();
        let daemon = Daemon::start(&state, &["--config".as_ref(), file.as_os_str()]);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let client = runtime.block_on(Client::log_in(&daemon.url, &state));
        let image = runtime.block_on(client.image("qcow2", guest));
        Self { runtime, client, image, state, _daemon: daemon, folder }
    }

    /// A folder for guests that are not the daemon's. QEMU's user may read it and the daemon's.
    pub fn bare_folder(&self) -> PathBuf {
        let bare = self.folder.path().join("bare");
        std::fs::create_dir_all(&bare).unwrap();
        Command::new("chmod").args(["-R", "a+rX"]).arg(self.folder.path()).status().unwrap();
        bare
    }
}

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
            http: reqwest::Client::new(),
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
        let request = self.http.post(url).header("x-auth-token", &self.token).json(body);
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
        loop {
            let (_, body) = self.get(&format!("/v2.1/servers/{id}")).await;
            let now = body["server"]["status"].as_str().unwrap_or_default();
            assert!(now != "ERROR", "{body}");
            if now == status {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(120), "{body}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
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
