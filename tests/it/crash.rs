//! The daemon killed with SIGKILL at every step of create and delete, on real libvirt: what was accepted ends, once.

use crate::harness::{Daemon, Http, Options, domains, guest_image, until, virsh};
use crate::sandbox;
use reqwest::Method;
use serde_json::{Value, json};

const CREATE: [&str; 3] = ["networking", "block_device_mapping", "spawning"];
const DELETE: [&str; 2] = ["domain", "remains"];

/// Every moment at which the process can die around these steps.
fn moments(workflow: &str, steps: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = steps
        .iter()
        .flat_map(|step| {
            ["BeforeStart", "AfterStart", "AfterRun"].map(|moment| format!("{workflow}/{step}/{moment}=kill"))
        })
        .collect();
    let last = steps.last().unwrap();
    all.extend(["BeforeClose", "AfterClose"].map(|moment| format!("{workflow}/{last}/{moment}=kill")));
    all
}

fn killed_at(failpoints: &str) -> Options {
    Options { failpoints: failpoints.to_owned(), ..Options::default() }
}

const NEWEST: [(&str, &str); 1] = [("openstack-api-version", "compute 2.37")];

fn wish(image: &str) -> Value {
    json!({"server": {"name": "victim", "imageRef": image, "flavorRef": "42", "networks": "auto"}})
}

fn create(http: &Http, image: &str) -> String {
    let answer = http.send(Method::POST, "/v2.1/servers", &NEWEST, Some(&wish(image))).expect(202);
    answer["server"]["id"].as_str().unwrap().to_owned()
}

/// The one server that there is: the answer to its creation may have died with the daemon.
fn only_server(http: &Http) -> String {
    let list = http.get("/v2.1/servers").expect(200);
    assert_eq!(list["servers"].as_array().unwrap().len(), 1, "{list}");
    list["servers"][0]["id"].as_str().unwrap().to_owned()
}

fn state_of(name: &str) -> Option<String> {
    virsh(&["domstate", name])
}

#[test]
fn a_create_and_a_delete_survive_a_kill_at_every_step() {
    sandbox!();
    let mut daemon = Daemon::start(&Options::default());
    let image = daemon.http().image("guest", &guest_image());
    daemon.stop();
    let creates = moments("server_create", &CREATE);
    let deletes = moments("server_delete", &DELETE);
    for (create_point, delete_point) in creates.iter().zip(deletes.iter().cycle()) {
        daemon.resume(&killed_at(create_point));
        let http = daemon.http();
        if let Ok(answer) = http.attempt(Method::POST, "/v2.1/servers", &NEWEST, Some(&wish(&image))) {
            answer.expect(202);
        }
        daemon.wait_for_end(60);

        daemon.resume(&killed_at(delete_point));
        let http = daemon.http();
        let id = only_server(&http);
        let server = http.wait_for(&id, "ACTIVE", 60);
        let names = domains(&daemon.state());
        assert_eq!(names.len(), 1, "after {create_point}");
        assert_eq!(state_of(&names[0]).as_deref(), Some("running"), "after {create_point}");
        assert_eq!(virsh(&["domuuid", &names[0]]).as_deref(), Some(id.as_str()));
        let ports = http.get(&format!("/network/v2.0/ports?device_id={id}")).expect(200);
        assert_eq!(ports["ports"].as_array().unwrap().len(), 1, "after {create_point}");
        assert_eq!(server["server"]["addresses"].as_object().unwrap().len(), 1);
        let actions = http.get(&format!("/v2.1/servers/{id}/os-instance-actions")).expect(200);
        assert_eq!(
            actions["instanceActions"].as_array().unwrap().len(),
            1,
            "after {create_point}: {actions}"
        );

        if let Ok(answer) = http.attempt(Method::DELETE, &format!("/v2.1/servers/{id}"), &[], None) {
            answer.expect(204);
        }
        daemon.wait_for_end(60);
        daemon.resume(&Options::default());
        let http = daemon.http();
        http.wait_gone(&id, 60);
        until("an empty host", 20, || domains(&daemon.state()).is_empty().then_some(()));
        assert_eq!(daemon.server_folders(), Vec::<String>::new(), "after {delete_point}");
        let ports = http.get(&format!("/network/v2.0/ports?device_id={id}")).expect(200);
        assert_eq!(ports["ports"].as_array().unwrap().len(), 0, "after {delete_point}");
        daemon.stop();
    }
}

#[test]
fn guests_do_not_notice_that_the_daemon_dies() {
    sandbox!();
    let mut daemon = Daemon::start(&Options::default());
    let http = daemon.http();
    let image = http.image("guest", &guest_image());
    let id = create(&http, &image);
    http.wait_for(&id, "ACTIVE", 60);
    http.wait_console(&id, "DWARFNOVA-GUEST ready", 180);
    let name = domains(&daemon.state()).remove(0);
    let before = virsh(&["domid", &name]);
    daemon.kill();
    daemon.resume(&Options::default());
    let http = daemon.http();
    http.wait_for(&id, "ACTIVE", 10);
    assert_eq!(virsh(&["domid", &name]), before, "the guest was started anew");
    let log = http.wait_console(&id, "DWARFNOVA-GUEST ready", 10);
    assert_eq!(log.matches("DWARFNOVA-GUEST boot").count(), 1, "{log}");
}

#[test]
fn a_second_daemon_on_the_folder_is_refused_and_says_why() {
    sandbox!();
    let daemon = Daemon::start(&Options::default());
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_dwarfnova"))
        .args(["up", "--listen", "127.0.0.1:0", "--state-dir"])
        .arg(daemon.state())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(words.contains(&daemon.pid().to_string()), "{words}");
}
