//! Somebody without root: the user's own libvirt, user-mode networking, config drives.

use crate::harness::{Daemon, Options, User, guest_image, until};
use crate::sandbox;
use reqwest::Method;
use serde_json::json;

const USER_DATA: &str = "#!/bin/sh\necho \"MARK $(hostname) for an ordinary user\"\n";

#[test]
fn a_round_without_root() {
    sandbox!();
    let user = User::new();
    let words = user.command(user.program()).args(["doctor", "--state-dir", "cloud"]).output().unwrap();
    let words = String::from_utf8_lossy(&words.stdout).into_owned();
    assert!(words.contains("ok    libvirt: qemu:///session answers"), "{words}");
    assert!(!words.contains("FAIL"), "{words}");

    let mut daemon = Daemon::start(&Options { user: Some(user.clone()), ..Options::default() });
    let http = daemon.http();
    let image = http.image("guest", &guest_image());
    let wish = json!({"server": {
        "name": "mine", "imageRef": image, "flavorRef": "42", "networks": "auto",
        "user_data": base64::Engine::encode(&base64::engine::general_purpose::STANDARD, USER_DATA),
    }});
    let made = http.compute(Method::POST, "/servers", 37, Some(&wish)).expect(202);
    let id = made["server"]["id"].as_str().unwrap();
    let server = http.wait_for(id, "ACTIVE", 60);
    assert_eq!(server["server"]["config_drive"], "True", "no metadata service reaches this guest");
    http.wait_console(id, "MARK mine for an ordinary user", 180);
    let name = user.virsh(&["list", "--name"]);
    assert_eq!(user.virsh(&["domuuid", &name]), id);
    assert!(user.virsh(&["dumpxml", &name]).contains("<interface type='user'>"));

    let act = |action: &str| {
        let body = json!({action: null});
        http.compute(Method::POST, &format!("/servers/{id}/action"), 1, Some(&body)).expect(202)
    };
    act("os-stop");
    http.wait_for(id, "SHUTOFF", 90);
    assert_eq!(user.virsh(&["domstate", &name]), "shut off");
    act("os-start");
    http.wait_for(id, "ACTIVE", 60);
    assert_eq!(user.virsh(&["domstate", &name]), "running");

    http.send(Method::DELETE, &format!("/v2.1/servers/{id}"), &[], None).expect(204);
    http.wait_gone(id, 60);
    until("no guest", 10, || user.virsh(&["list", "--all", "--name"]).is_empty().then_some(()));
    until("no QEMU", 10, || (!User::programs().iter().any(|name| name.starts_with("qemu"))).then_some(()));
    assert_eq!(daemon.server_folders(), Vec::<String>::new());
    let ports = http.get(&format!("/network/v2.0/ports?device_id={id}")).expect(200);
    assert_eq!(ports["ports"].as_array().unwrap().len(), 0);
    daemon.stop();
    assert!(!User::programs().contains(&"dwarfnova".to_owned()));
}
