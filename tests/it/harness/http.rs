//! A plain HTTP client with a token: no SDK between the test and the wire.

use super::until;
use reqwest::Method;
use serde_json::{Value, json};
use std::path::Path;

/// Speaks to one daemon as one user.
#[derive(Clone)]
pub struct Http {
    pub base: String,
    pub token: String,
    pub project: String,
    runtime: std::sync::Arc<tokio::runtime::Runtime>,
    client: reqwest::Client,
}

/// An answer with its body read.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Answer {
    /// The body, after the status was found to be the one expected.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }
}

async fn read(request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.bytes().await?;
    let body = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    Ok(Answer { status, headers, body })
}

impl Http {
    /// Logs in with what clouds.yaml says.
    pub fn log_in(base: &str, clouds: &Path) -> Self {
        let text = std::fs::read_to_string(clouds).unwrap();
        let password = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("password:"))
            .map(|value| value.trim().trim_matches(['"', '\'']).to_owned())
            .expect("clouds.yaml has a password");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut http = Self {
            base: base.to_owned(),
            token: String::new(),
            project: String::new(),
            runtime: std::sync::Arc::new(runtime),
            client: reqwest::Client::new(),
        };
        let answer = http.send(
            Method::POST,
            "/identity/v3/auth/tokens",
            &[],
            Some(&json!({"auth": {
                "identity": {"methods": ["password"], "password": {"user": {
                    "name": "admin", "domain": {"id": "default"}, "password": password}}},
                "scope": {"project": {"name": "admin", "domain": {"id": "default"}}},
            }})),
        );
        http.token = answer.headers["x-subject-token"].to_str().unwrap().to_owned();
        http.project = answer.expect(201)["token"]["project"]["id"].as_str().unwrap().to_owned();
        http
    }

    /// Sends one request and reads the answer; the daemon has to be there.
    #[track_caller]
    pub fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Answer {
        self.attempt(method, path, headers, body).unwrap()
    }

    /// Sends one request to a daemon that may die before it has answered.
    pub fn attempt(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> reqwest::Result<Answer> {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if !self.token.is_empty() {
            request = request.header("x-auth-token", &self.token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        self.runtime.block_on(read(request))
    }

    /// Uploads a file as the data of an image.
    pub fn upload(&self, path: &str, file: &Path) -> u16 {
        self.raw(Method::PUT, path, "application/octet-stream", std::fs::read(file).unwrap()).status
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn raw(&self, method: Method, path: &str, kind: &str, bytes: impl Into<Vec<u8>>) -> Answer {
        let request = self
            .client
            .request(method, format!("{}{path}", self.base))
            .header("x-auth-token", &self.token)
            .header("content-type", kind)
            .body(bytes.into());
        self.runtime.block_on(read(request)).unwrap()
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None)
    }

    /// Compute at a microversion.
    pub fn compute(&self, method: Method, path: &str, minor: u16, body: Option<&Value>) -> Answer {
        let version = format!("compute 2.{minor}");
        self.send(method, &format!("/v2.1{path}"), &[("openstack-api-version", &version)], body)
    }

    /// Makes an active image out of a qcow2 file and gives its id.
    pub fn image(&self, name: &str, file: &Path) -> String {
        let body = json!({"name": name, "disk_format": "qcow2", "container_format": "bare"});
        let image = self.send(Method::POST, "/image/v2/images", &[], Some(&body)).expect(201);
        let id = image["id"].as_str().unwrap().to_owned();
        assert_eq!(self.upload(&format!("/image/v2/images/{id}/file"), file), 204);
        id
    }

    /// Adds a rule to the project's default security group, which lets only its own members in by itself.
    pub fn let_in(&self, protocol: &str, port: Option<u16>) -> String {
        let groups =
            self.get(&format!("/network/v2.0/security-groups?name=default&project_id={}", self.project));
        let group = groups.expect(200)["security_groups"][0]["id"].clone();
        let rule = json!({"security_group_rule": {
            "security_group_id": group, "direction": "ingress", "protocol": protocol,
            "port_range_min": port, "port_range_max": port,
        }});
        let made =
            self.send(Method::POST, "/network/v2.0/security-group-rules", &[], Some(&rule)).expect(201);
        made["security_group_rule"]["id"].as_str().unwrap().to_owned()
    }

    /// Waits until a server has a status.
    #[track_caller]
    pub fn wait_for(&self, server: &str, status: &str, seconds: u64) -> Value {
        until(&format!("server {server} to be {status}"), seconds, || {
            let body = self.get(&format!("/v2.1/servers/{server}")).body;
            let now = body["server"]["status"].as_str().unwrap_or_default().to_owned();
            assert!(now != "ERROR" || status == "ERROR", "{body}");
            (now == status).then_some(body)
        })
    }

    /// Waits until a server is unknown.
    #[track_caller]
    pub fn wait_gone(&self, server: &str, seconds: u64) {
        until(&format!("server {server} to be gone"), seconds, || {
            (self.get(&format!("/v2.1/servers/{server}")).status == 404).then_some(())
        });
    }

    /// Waits until the serial console shows a text, and gives all of it.
    #[track_caller]
    pub fn wait_console(&self, server: &str, text: &str, seconds: u64) -> String {
        let body = json!({"os-getConsoleOutput": {}});
        let mut last = String::new();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
        while std::time::Instant::now() < deadline {
            let answer = self.compute(Method::POST, &format!("/servers/{server}/action"), 1, Some(&body));
            last = answer.body["output"].as_str().unwrap_or_default().to_owned();
            if last.contains(text) {
                return last;
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        panic!("the console does not show {text:?} within {seconds} s:\n{last}");
    }
}
