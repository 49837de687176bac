//! A rebuilt server is the same to the network and new on the disk; and its password is what was said last.

use super::{act, ready};
use crate::clients::nova::credentials;
use crate::harness::{Daemon, Http, Options, Serial, domains, guest_image, virsh};
use crate::sandbox;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use std::process::Command;

fn port(http: &Http, id: &str) -> Value {
    let ports = http.get(&format!("/network/v2.0/ports?device_id={id}")).expect(200);
    assert_eq!(ports["ports"].as_array().unwrap().len(), 1);
    let port = &ports["ports"][0];
    json!([port["id"], port["mac_address"], port["fixed_ips"]])
}

/// Lets the guest post a password that its owner alone can read, and reads it as he does.
fn post_password(daemon: &Daemon, http: &Http, id: &str, serial: &mut Serial) {
    let folder = tempfile::tempdir().unwrap();
    let (key, encrypted) = (folder.path().join("key.pem"), folder.path().join("encrypted"));
    let openssl = |arguments: &[&str], files: &[&std::path::Path]| {
        let output = Command::new("openssl").args(arguments).args(files).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    openssl(&["genrsa", "-traditional", "-out"], &[&key]);
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "made by the guest").unwrap();
    let command = format!("pkeyutl -encrypt -inkey {} -in {} -out", key.display(), plain.display());
    openssl(&command.split(' ').collect::<Vec<_>>(), &[&encrypted]);
    let text = STANDARD.encode(std::fs::read(&encrypted).unwrap());
    let url = "http://169.254.169.254/openstack/latest/password";
    assert_eq!(
        serial.run(&format!("wget -q -O /dev/null --post-data={text} {url} && echo posted")),
        "posted"
    );
    assert_eq!(
        serial.run(&format!("wget -q -O /dev/null --post-data=again {url} 2>/dev/null || echo once")),
        "once"
    );
    let shown = http.compute(Method::GET, &format!("/servers/{id}/os-server-password"), 1, None).expect(200);
    assert_eq!(shown, json!({ "password": text }));
    let mut nova = daemon.client_command("nova");
    nova.args(credentials(daemon)).args(["get-password", id]).arg(&key);
    let output = nova.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "made by the guest", "{output:?}");
}

#[test]
fn a_rebuilt_server_keeps_its_place_and_loses_its_disk() {
    sandbox!();
    let daemon = Daemon::start(&Options::default());
    let http = daemon.http();
    let image = http.image("guest", &guest_image());
    let wish = json!({"server": {"name": "before", "imageRef": image, "flavorRef": "42", "networks": "auto",
        "adminPass": "first password", "config_drive": true}});
    let id = http.compute(Method::POST, "/servers", 96, Some(&wish)).expect(202)["server"]["id"].clone();
    let id = id.as_str().unwrap();
    http.wait_for(id, "ACTIVE", 60);
    ready(&http, id, 1);
    let mut serial = Serial::open(&daemon.state(), id);
    assert!(serial.log_in("first password"));
    assert_eq!(serial.run("echo old >/root/marker; sync; cat /root/marker"), "old");
    post_password(&daemon, &http, id, &mut serial);
    drop(serial);
    let place = port(&http, id);

    let user_data = STANDARD.encode("#!/bin/sh\necho new user data\n");
    let rebuild = json!({"rebuild": {"imageRef": image, "name": "after", "adminPass": "second password",
        "metadata": {"colour": "green"}, "user_data": user_data, "description": null}});
    let answer = act(&http, id, &rebuild);
    assert!(answer.headers["location"].to_str().unwrap().ends_with(&format!("/v2.1/servers/{id}")));
    let shown = answer.expect(202)["server"].clone();
    assert_eq!((&shown["name"], &shown["status"]), (&json!("after"), &json!("REBUILD")));
    assert_eq!((&shown["adminPass"], &shown["user_data"]), (&json!("second password"), &json!(user_data)));
    http.wait_for(id, "ACTIVE", 120);
    let log = ready(&http, id, 2);
    assert_eq!(log.matches("boots=1").count(), 2, "{log}");
    assert!(log.contains("new user data"), "{log}");
    assert_eq!(port(&http, id), place);
    let mut serial = Serial::open(&daemon.state(), id);
    assert!(!serial.log_in("first password"));
    assert!(serial.log_in("second password"));
    assert_eq!(serial.run("ls -A /root/marker 2>/dev/null; hostname"), "before");

    let posted = http.compute(Method::GET, &format!("/servers/{id}/os-server-password"), 1, None).expect(200);
    assert_eq!(posted, json!({"password": ""}), "what the old guest posted");

    // The guest's agent sets the third.
    act(&http, id, &json!({"changePassword": {"adminPass": "third & last"}})).expect(202);
    serial.log_out();
    assert!(!serial.log_in("second password"));
    assert!(serial.log_in("third & last"));
    drop(serial);

    // A stopped server is rebuilt without being started.
    act(&http, id, &json!({"os-stop": null})).expect(202);
    http.wait_for(id, "SHUTOFF", 60);
    act(&http, id, &json!({"rebuild": {"imageRef": image}})).expect(202);
    http.wait_for(id, "SHUTOFF", 60);
    let names = domains(&daemon.state());
    assert_eq!(virsh(&["domstate", &names[0]]).as_deref(), Some("shut off"));
    let refused = act(&http, id, &json!({"changePassword": {"adminPass": "x"}}));
    assert_eq!(refused.status, 409, "{}", refused.body);
    let record = http.get(&format!("/v2.1/servers/{id}/os-instance-actions")).expect(200);
    let names: Vec<&str> =
        record["instanceActions"].as_array().unwrap().iter().map(|a| a["action"].as_str().unwrap()).collect();
    assert_eq!(names, ["rebuild", "stop", "changePassword", "rebuild", "create"]);
    let log = daemon.log();
    for secret in ["first password", "second password", "third & last"] {
        assert!(!log.contains(secret), "a password is in the log");
    }
}
