//! What a guest without a config drive learns from 169.254.169.254, and who may reach it.

use crate::harness::{Daemon, Options, bridge_rules, guest_image, reservations, until, virsh};
use crate::sandbox;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use std::process::Command;

#[test]
fn a_guest_learns_everything_from_the_metadata_service() {
    sandbox!();
    let daemon = Daemon::start(&Options::default());
    let http = daemon.http();
    let work = tempfile::tempdir().unwrap();
    let key = work.path().join("key");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    assert!(made.unwrap().success());
    let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    let body = json!({"keypair": {"name": "laptop", "public_key": public}});
    http.compute(Method::POST, "/os-keypairs", 1, Some(&body)).expect(200);
    let image = http.image("guest", &guest_image());
    let wish = json!({"server": {
        "name": "asks", "imageRef": image, "flavorRef": "42", "networks": "auto", "key_name": "laptop",
        "user_data": STANDARD.encode("#!/bin/sh\necho \"MARK $(hostname) from the service\"\n"),
    }});
    let made = http.compute(Method::POST, "/servers", 37, Some(&wish)).expect(202);
    let id = made["server"]["id"].as_str().unwrap();
    let server = http.wait_for(id, "ACTIVE", 60);
    assert_eq!(server["server"]["config_drive"], "");
    let log = http.wait_console(id, "MARK asks from the service", 180);
    assert!(log.contains(&format!("DWARFNOVA-GUEST metadata service {id}")), "{log}");

    let port = http.get(&format!("/network/v2.0/ports?device_id={id}")).expect(200)["ports"][0].clone();
    let (mac, address) =
        (port["mac_address"].as_str().unwrap(), port["fixed_ips"][0]["ip_address"].as_str().unwrap());
    let login_at = |address: &str, command: &str| {
        let output = Command::new("ssh")
            .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
            // A session that is cut off in the middle has to end too.
            .args(["-o", "ServerAliveInterval=2", "-o", "ServerAliveCountMax=2"])
            .args(["-o", "ConnectTimeout=5", "-o", "BatchMode=yes", "-i"])
            .arg(&key)
            .args([&format!("root@{address}"), command])
            .output()
            .unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let login = |command: &str| login_at(address, command);
    http.wait_console(id, "DWARFNOVA-GUEST ready", 60);
    let remove = |rule: &str| {
        http.send(Method::DELETE, &format!("/network/v2.0/security-group-rules/{rule}"), &[], None)
            .expect(204);
    };

    // Of the first start this host has a rule of its own; without it nobody is let in before there is another.
    assert_eq!(until("an answer by SSH at once", 120, || login("hostname")), "asks");
    let subnet = http.get("/network/v2.0/subnets").expect(200)["subnets"][0].clone();
    let rules = http.get("/network/v2.0/security-group-rules?direction=ingress").expect(200);
    let from_host = json!(format!("{}/32", subnet["gateway_ip"].as_str().unwrap()));
    let rules = rules["security_group_rules"].as_array().unwrap();
    let rule = rules.iter().find(|rule| rule["remote_ip_prefix"] == from_host).unwrap();
    remove(rule["id"].as_str().unwrap());
    until("nobody to be let in", 30, || login("hostname").is_none().then_some(()));
    let rule = http.let_in("tcp", Some(22));
    assert_eq!(until("an answer by SSH", 120, || login("hostname")), "asks");
    let act = |body: Value| {
        http.compute(Method::POST, &format!("/servers/{id}/action"), 1, Some(&body)).expect(202);
    };

    // A second address is of use at once, and of none once it is taken away.
    act(json!({"addFixedIp": {"networkId": port["network_id"]}}));
    let port = http.get(&format!("/network/v2.0/ports?device_id={id}")).expect(200)["ports"][0].clone();
    let second = port["fixed_ips"][1]["ip_address"].as_str().unwrap();
    assert_eq!(login(&format!("ip address add {second}/24 dev eth0 && hostname")).as_deref(), Some("asks"));
    assert_eq!(until("an answer at the second address", 60, || login_at(second, "hostname")), "asks");
    act(json!({"removeFixedIp": {"address": second}}));
    until("no answer at the second address", 30, || login_at(second, "hostname").is_none().then_some(()));

    // Out of its group it is not reached, and in it again it is, until the rule is gone.
    act(json!({"removeSecurityGroup": {"name": "default"}}));
    until("nobody to be let in", 30, || login("hostname").is_none().then_some(()));
    act(json!({"addSecurityGroup": {"name": "default"}}));
    assert_eq!(until("an answer by SSH again", 60, || login("hostname")), "asks");
    remove(&rule);
    until("nobody to be let in", 30, || login("hostname").is_none().then_some(()));

    let network = virsh(&["net-list", "--name"]).unwrap();
    let network = network.lines().map(str::trim).find(|name| name.starts_with("dwarfnova-")).unwrap();
    assert_eq!(reservations(network), [format!("{mac},{address},asks")]);
    assert!(bridge_rules().contains(mac) && bridge_rules().contains(address));
    http.send(Method::DELETE, &format!("/v2.1/servers/{id}"), &[], None).expect(204);
    http.wait_gone(id, 60);
    assert_eq!(reservations(network), Vec::<String>::new());
    let rules = bridge_rules();
    assert!(!rules.contains(mac) && !rules.contains(address), "{rules}");
}
