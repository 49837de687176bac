//! A guest that stands still, sleeps on the disk, reboots, goes off by itself, is killed, and comes back after a boot of the
//! host. What counts is what the guest says on its console and what libvirt says of it.

use crate::harness::{Daemon, Http, Options, guest_image, until, virsh};
use crate::sandbox;
use reqwest::Method;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub(super) struct Guest {
    pub http: Http,
    pub id: String,
    /// Its domain.
    pub name: String,
}

impl Guest {
    pub fn act(&self, action: &str, value: &Value) {
        let body = json!({ action: value });
        let answer = self.http.compute(Method::POST, &format!("/servers/{}/action", self.id), 1, Some(&body));
        assert_eq!(answer.status, 202, "{action}: {}", answer.body);
    }

    pub fn console(&self) -> String {
        let body = json!({"os-getConsoleOutput": {}});
        let path = format!("/servers/{}/action", self.id);
        let answer = self.http.compute(Method::POST, &path, 1, Some(&body)).expect(200);
        answer["output"].as_str().unwrap().to_owned()
    }

    pub fn count(&self, word: &str) -> usize {
        self.console().matches(&format!("DWARFNOVA-GUEST {word}")).count()
    }

    pub fn lives(&self) {
        let before = self.count("tick");
        until("the guest's next sign of life", 60, || (self.count("tick") > before).then_some(()));
    }

    pub fn domstate(&self) -> String {
        virsh(&["domstate", &self.name]).unwrap_or_default()
    }

    pub fn saved(&self) -> PathBuf {
        PathBuf::from(format!("/var/lib/libvirt/qemu/save/{}.save", self.name))
    }

    fn agent(&self, command: &str) {
        let text = json!({ "execute": command }).to_string();
        // The answer to what ends the guest may never come.
        let _ = virsh(&["qemu-agent-command", &self.name, &text, "--timeout", "2"]);
    }

    /// Waits for a status and tells how long it took.
    pub fn becomes(&self, status: &str, seconds: u64) -> Duration {
        let begun = Instant::now();
        self.http.wait_for(&self.id, status, seconds);
        begun.elapsed()
    }

    fn diagnostics(&self, minor: u16) -> (u16, Value) {
        let path = format!("/servers/{}/diagnostics", self.id);
        let answer = self.http.compute(Method::GET, &path, minor, None);
        (answer.status, answer.body)
    }
}

pub(super) fn boot(http: Http) -> Guest {
    let image = http.image("guest", &guest_image());
    let wish = json!({"server": {"name": "sleeper", "imageRef": image, "flavorRef": "42", "networks": "auto",
        "metadata": {"tick": "1"}}});
    let made = http.compute(Method::POST, "/servers", 37, Some(&wish)).expect(202);
    let id = made["server"]["id"].as_str().unwrap().to_owned();
    let shown = http.wait_for(&id, "ACTIVE", 60);
    let name = shown["server"]["OS-EXT-SRV-ATTR:instance_name"].as_str().unwrap().to_owned();
    http.wait_console(&id, "DWARFNOVA-GUEST ready", 180);
    Guest { http, id, name }
}

#[test]
fn a_guest_stands_still_sleeps_reboots_and_is_followed() {
    sandbox!();
    let mut daemon = Daemon::start(&Options::default());
    let mut guest = boot(daemon.http());

    guest.lives();
    guest.act("pause", &Value::Null);
    guest.becomes("PAUSED", 30);
    assert_eq!(guest.domstate(), "paused");
    let still = guest.count("tick");
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(guest.count("tick"), still);
    let (status, refused) = guest.diagnostics(48);
    assert_eq!(status, 409, "{refused}");
    guest.act("unpause", &Value::Null);
    guest.becomes("ACTIVE", 30);
    guest.lives();

    figures(&guest, &daemon);
    interrupted(&guest);

    guest.act("suspend", &Value::Null);
    guest.becomes("SUSPENDED", 120);
    assert_eq!((guest.domstate().as_str(), guest.saved().exists()), ("shut off", true));
    daemon.stop();
    daemon.resume(&Options::default());
    guest.http = daemon.http();
    guest.act("resume", &Value::Null);
    guest.becomes("ACTIVE", 120);
    assert!(!guest.saved().exists());
    guest.lives();
    assert_eq!(guest.count("boot"), 1, "the guest's memory came back");

    let begun = Instant::now();
    guest.act("reboot", &json!({"type": "SOFT"}));
    until("the guest to be up again", 180, || guest.console().contains("boots=2").then_some(()));
    println!("soft reboot: {:?} to the guest being up", begun.elapsed());
    guest.becomes("ACTIVE", 10);
    assert_eq!(guest.count("shutdown"), 1, "it was asked");

    guest.agent("guest-shutdown");
    until("the guest to be off", 60, || (guest.domstate() == "shut off").then_some(()));
    let took = guest.becomes("SHUTOFF", 30);
    assert!(took < Duration::from_secs(5), "{took:?}");
    guest.act("os-start", &Value::Null);
    guest.becomes("ACTIVE", 60);
    let pid = std::fs::read_to_string(format!("/run/libvirt/qemu/{}.pid", guest.name)).unwrap();
    let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    let took = guest.becomes("SHUTOFF", 30);
    assert!(took < Duration::from_secs(5), "{took:?}");

    damaged(&guest);
    after_a_boot(&mut guest, &mut daemon);
    guest.act("suspend", &Value::Null);
    guest.becomes("SUSPENDED", 120);
    let deleted = guest.http.send(Method::DELETE, &format!("/v2.1/servers/{}", guest.id), &[], None);
    assert_eq!(deleted.status, 204);
    guest.http.wait_gone(&guest.id, 60);
    assert!(!guest.saved().exists());
}

/// What a running guest has used is told in two shapes, and to who watches the daemon.
fn figures(guest: &Guest, daemon: &Daemon) {
    let begun = Instant::now();
    let (status, shown) = guest.diagnostics(48);
    let took = begun.elapsed();
    println!("diagnostics: {took:?}");
    assert_eq!(status, 200, "{shown}");
    assert!(shown["cpu_details"][0]["time"].as_u64().unwrap() > 0, "{shown}");
    assert!(shown["disk_details"][0]["read_bytes"].as_u64().unwrap() > 0, "{shown}");
    assert!(shown["nic_details"][0]["tx_octets"].as_u64().unwrap() > 0, "{shown}");
    assert!(shown["memory_details"]["maximum"].as_u64().unwrap() > 0, "{shown}");
    let (_, free) = guest.diagnostics(1);
    assert!(free["cpu0_time"].as_i64().unwrap() > 0 && free["vda_read"].as_i64().unwrap() > 0, "{free}");
    assert!(
        free.as_object().unwrap().keys().any(|key| key.starts_with("tap") && key.ends_with("_rx")),
        "{free}"
    );
    let text = guest.http.get("/metrics").expect(200);
    let text = text.as_str().unwrap();
    let cpu = format!("dwarfnova_server_cpu_seconds_total{{server=\"{}\"}}", guest.id);
    assert!(text.contains(&cpu), "{text}\n{}", daemon.log());
    assert!(text.contains(r#"dwarfnova_tasks_total{workflow="server_create",result="done"} 1"#), "{text}");
}

/// An interrupt reaches the guest, which goes on: it is not set up to dump.
fn interrupted(guest: &Guest) {
    let path = format!("/servers/{}", guest.id);
    let body = json!({"trigger_crash_dump": null});
    let answer = guest.http.compute(Method::POST, &format!("{path}/action"), 17, Some(&body));
    assert_eq!(answer.status, 202, "{}", answer.body);
    let actions =
        guest.http.compute(Method::GET, &format!("{path}/os-instance-actions"), 1, None).expect(200);
    let last = &actions["instanceActions"][0];
    assert_eq!(last["action"], "trigger_crash_dump", "{actions}");
    let path = format!("{path}/os-instance-actions/{}", last["request_id"].as_str().unwrap());
    let event = until("the interrupt", 30, || {
        let action = guest.http.compute(Method::GET, &path, 1, None).expect(200);
        let event = action["instanceAction"]["events"][0].clone();
        (!event["result"].is_null()).then_some(event)
    });
    assert_eq!(
        (&event["event"], &event["result"]),
        (&json!("compute_trigger_crash_dump"), &json!("Success"))
    );
    guest.lives();
}

/// Memory that cannot be read any more leads to a fault that says how to go on, and that way works.
fn damaged(guest: &Guest) {
    guest.act("os-start", &Value::Null);
    guest.becomes("ACTIVE", 60);
    guest.act("suspend", &Value::Null);
    guest.becomes("SUSPENDED", 120);
    let file = std::fs::File::options().write(true).open(guest.saved()).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    guest.act("resume", &Value::Null);
    let shown = guest.http.wait_for(&guest.id, "ERROR", 120);
    let words = shown["server"]["fault"]["message"].as_str().unwrap();
    assert!(words.contains("Reboot the server hard"), "{words}");
    guest.act("reboot", &json!({"type": "HARD"}));
    until("the server to run", 60, || {
        let shown = guest.http.get(&format!("/v2.1/servers/{}", guest.id)).body;
        (shown["server"]["status"] == "ACTIVE").then_some(())
    });
    assert!(!guest.saved().exists());
}

/// After a boot of the host a server that ran runs again.
fn after_a_boot(guest: &mut Guest, daemon: &mut Daemon) {
    daemon.stop();
    virsh(&["destroy", &guest.name]).unwrap();
    let database = rusqlite::Connection::open(daemon.state().join("dwarfnova.db")).unwrap();
    database.execute("UPDATE setting SET value = 'another' WHERE key = 'host_boot'", []).unwrap();
    drop(database);
    daemon.resume(&Options::default());
    guest.http = daemon.http();
    until("the guest to run again", 60, || (guest.domstate() == "running").then_some(()));
    guest.becomes("ACTIVE", 10);
    let actions = guest.http.get(&format!("/v2.1/servers/{}/os-instance-actions", guest.id)).expect(200);
    let last = &actions["instanceActions"][0];
    assert_eq!((&last["action"], &last["user_id"]), (&json!("start"), &Value::Null), "{actions}");
}
