//! What the benches share: a client, figures, and how they are printed.

use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

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
