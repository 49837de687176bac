//! What can be done to servers, on real guests, seen from outside and from inside.

mod console;
mod full_disk;
mod interfaces;
mod power;
mod rebuild;
mod rescue;
mod resize;
mod shelve;
mod sleep;
mod snapshot;

use crate::harness::{Answer, Http, until};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

/// A server of the test flavor that runs a script at its first boot; active.
fn create(http: &Http, name: &str, image: &str, script: &str) -> String {
    let body = json!({"server": {"name": name, "imageRef": image, "flavorRef": "42", "networks": "auto",
        "config_drive": true, "user_data": STANDARD.encode(script)}});
    let answer = http.compute(Method::POST, "/servers", 37, Some(&body)).expect(202);
    let id = answer["server"]["id"].as_str().unwrap().to_owned();
    http.wait_for(&id, "ACTIVE", 120);
    id
}

/// Asks for an action and gives the status of the answer.
fn action(http: &Http, server: &str, minor: u16, body: &Value) -> u16 {
    http.compute(Method::POST, &format!("/servers/{server}/action"), minor, Some(body)).status
}

/// Waits until nothing is being done to the server.
fn settled(http: &Http, server: &str) {
    until("the server to be idle", 240, || {
        let shown = http.get(&format!("/v2.1/servers/{server}")).body;
        (shown["server"]["OS-EXT-STS:task_state"] == Value::Null).then_some(())
    });
}

/// Asks for an action, at a version that knows them all.
fn act(http: &Http, server: &str, action: &Value) -> Answer {
    http.compute(Method::POST, &format!("/servers/{server}/action"), 96, Some(action))
}

/// Waits until the guest said for the `count`th time that it is ready, and gives all that it said.
#[track_caller]
fn ready(http: &Http, server: &str, count: usize) -> String {
    until("the guest to be ready", 180, || {
        let log = http.wait_console(server, "DWARFNOVA-GUEST boot", 120);
        (log.matches("DWARFNOVA-GUEST ready").count() >= count).then_some(log)
    })
}
