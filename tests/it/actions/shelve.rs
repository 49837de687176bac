//! Servers that are put away and come back: shelved, and deleted so that it can be taken back.

use super::{action, create, settled};
use crate::harness::{Daemon, Http, Options, domains, guest_image, until, virsh};
use crate::sandbox;
use reqwest::Method;
use serde_json::{Value, json};

const MARK: &str = "#!/bin/sh\necho here-i-was > /root/marker; sync\necho MARKED\n";

fn show(http: &Http, server: &str) -> Value {
    http.get(&format!("/v2.1/servers/{server}")).expect(200)["server"].take()
}

fn images_named(http: &Http, name: &str) -> usize {
    http.get(&format!("/image/v2/images?name={name}")).body["images"].as_array().unwrap().len()
}

fn used(http: &Http) -> (Value, Value) {
    let statistics = http.get("/v2.1/os-hypervisors/statistics").expect(200);
    let statistics = &statistics["hypervisor_statistics"];
    (statistics["vcpus_used"].clone(), statistics["running_vms"].clone())
}

/// The bytes of the guest's disk hold the marker: what was written came along, whoever reads it.
fn marker_on_disk(daemon: &Daemon, server: &str) -> bool {
    let disk = daemon.state().join("servers").join(server).join("disk");
    let raw = daemon.state().join("marker.raw");
    let output = std::process::Command::new("qemu-img")
        .args(["convert", "-U", "-f", "qcow2", "-O", "raw"])
        .arg(&disk)
        .arg(&raw)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let grep = std::process::Command::new("grep").args(["-aq", "here-i-was"]).arg(&raw).status().unwrap();
    std::fs::remove_file(&raw).unwrap();
    grep.success()
}

#[test]
fn a_shelved_server_takes_nothing_and_comes_back_whole() {
    sandbox!();
    let mut daemon = Daemon::start(&Options::default());
    let http = daemon.http();
    let base = http.image("guest", &guest_image());
    let server = create(&http, "sleeper", &base, MARK);
    http.wait_console(&server, "MARKED", 240);
    http.wait_console(&server, "DWARFNOVA-GUEST ready", 60);
    let addresses = show(&http, &server)["addresses"].clone();
    let before = used(&http);

    assert_eq!(action(&http, &server, 1, &json!({"shelve": null})), 202);
    let shown = http.wait_for(&server, "SHELVED_OFFLOADED", 240);
    assert_eq!(shown["server"]["addresses"], addresses);
    assert_eq!(shown["server"]["OS-EXT-SRV-ATTR:host"], Value::Null);
    assert_eq!(images_named(&http, "sleeper-shelved"), 1);
    assert_eq!(domains(&daemon.state()), Vec::<String>::new());
    assert_eq!(daemon.server_folders(), Vec::<String>::new());
    assert_ne!(used(&http), before, "the host still counts it");
    assert_eq!(action(&http, &server, 1, &json!({"os-start": null})), 409);
    // A sweep at start leaves alone what it comes back from.
    daemon.stop();
    daemon.resume(&Options::default());
    let http = daemon.http();

    let to = json!({"unshelve": {"availability_zone": "nova"}});
    assert_eq!(action(&http, &server, 77, &to), 202);
    let shown = http.wait_for(&server, "ACTIVE", 120);
    settled(&http, &server);
    assert_eq!(shown["server"]["addresses"], addresses);
    assert_eq!(used(&http), before);
    let console = http.wait_console(&server, "DWARFNOVA-GUEST ready", 240);
    assert!(console.contains("boots=2"), "not its own disk:\n{console}");
    assert!(marker_on_disk(&daemon, &server));
    until("its image to be gone", 30, || (images_named(&http, "sleeper-shelved") == 0).then_some(()));
    // What its disk stands on belongs to no image any more, and stays.
    daemon.stop();
    daemon.resume(&Options::default());
    let http = daemon.http();
    assert!(marker_on_disk(&daemon, &server));

    // Shelved again, and deleted: nothing of it stays.
    assert_eq!(action(&http, &server, 1, &json!({"shelve": null})), 202);
    http.wait_for(&server, "SHELVED_OFFLOADED", 240);
    http.send(Method::DELETE, &format!("/v2.1/servers/{server}"), &[], None).expect(204);
    http.wait_gone(&server, 60);
    assert_eq!(images_named(&http, "sleeper-shelved"), 0);
    let images = daemon.state().join("images");
    until("the bytes of its image to be gone", 30, || {
        (std::fs::read_dir(&images).unwrap().count() == 1).then_some(())
    });
}

#[test]
fn a_deleted_server_can_be_restored_until_its_time_is_over() {
    sandbox!();
    let config = "[compute]\nreclaim_instance_interval_seconds = 20\nshelved_offload_seconds = -1\n";
    let daemon = Daemon::start(&Options { config: config.into(), ..Options::default() });
    let http = daemon.http();
    let base = http.image("guest", &guest_image());
    let server = create(&http, "phoenix", &base, MARK);
    http.wait_console(&server, "MARKED", 240);
    http.wait_console(&server, "DWARFNOVA-GUEST ready", 60);
    let name = domains(&daemon.state()).remove(0);

    // Shelved without an offload it keeps its disk.
    assert_eq!(action(&http, &server, 1, &json!({"shelve": null})), 202);
    http.wait_for(&server, "SHELVED", 240);
    assert_eq!(virsh(&["domstate", &name]).as_deref(), Some("shut off"));
    assert_eq!(action(&http, &server, 1, &json!({"unshelve": null})), 202);
    http.wait_for(&server, "ACTIVE", 60);
    assert_eq!(virsh(&["domstate", &name]).as_deref(), Some("running"));

    http.send(Method::DELETE, &format!("/v2.1/servers/{server}"), &[], None).expect(204);
    http.wait_for(&server, "SOFT_DELETED", 60);
    assert_eq!(virsh(&["domstate", &name]).as_deref(), Some("shut off"));
    assert_eq!(http.get("/v2.1/servers").body["servers"], json!([]));
    assert_eq!(action(&http, &server, 1, &json!({"restore": null})), 202);
    http.wait_for(&server, "ACTIVE", 60);
    assert_eq!(virsh(&["domstate", &name]).as_deref(), Some("running"));
    assert!(marker_on_disk(&daemon, &server));

    http.send(Method::DELETE, &format!("/v2.1/servers/{server}"), &[], None).expect(204);
    http.wait_for(&server, "SOFT_DELETED", 60);
    http.wait_gone(&server, 60);
    assert_eq!(domains(&daemon.state()), Vec::<String>::new());
    assert_eq!(daemon.server_folders(), Vec::<String>::new());
}
