//! Resizes of a real guest, by what it sees itself: vCPUs, memory, disk, and what it wrote. The guest counts its boots on
//! its root disk, which tells one state of the disk from another.

use crate::harness::{Daemon, Http, Options, domains, guest_image, until, virsh};
use crate::sandbox;
use reqwest::Method;
use serde_json::{Value, json};
use std::process::Command;

/// What the guest says when it is up.
#[derive(Debug)]
struct Seen {
    cpus: u64,
    memory_mib: u64,
    root_mib: u64,
}

/// Waits for the boot with this count, on so many vCPUs.
fn booted(http: &Http, id: &str, boots: u32, cpus: u32) -> Seen {
    let body = json!({"os-getConsoleOutput": {}});
    let mut log = String::new();
    let wanted = |line: &&str| {
        line.contains("DWARFNOVA-GUEST ready")
            && line.contains(&format!("cpus={cpus} "))
            && line.trim_end().ends_with(&format!("boots={boots}"))
    };
    let line = until(&format!("boot {boots} with {cpus} vCPUs"), 180, || {
        let answer = http.compute(Method::POST, &format!("/servers/{id}/action"), 1, Some(&body));
        log = answer.body["output"].as_str().unwrap_or_default().to_owned();
        log.lines().rev().find(wanted).map(str::to_owned)
    });
    let figure = |name: &str| {
        let text = line.split(name).nth(1).unwrap().split_whitespace().next().unwrap();
        text.parse().unwrap()
    };
    Seen { cpus: figure("cpus="), memory_mib: figure("mem_mib="), root_mib: figure("rootfs_mib=") }
}

fn act(http: &Http, id: &str, body: &Value, status: u16) {
    http.compute(Method::POST, &format!("/servers/{id}/action"), 1, Some(body)).expect(status);
}

fn flavor(http: &Http, name: &str, vcpus: u32, ram: u32, disk: u32) {
    let body = json!({"flavor": {"id": name, "name": name, "vcpus": vcpus, "ram": ram, "disk": disk}});
    http.compute(Method::POST, "/flavors", 1, Some(&body)).expect(200);
}

/// The virtual sizes of the root disk and of all below it, in GiB.
fn chain(daemon: &Daemon, id: &str) -> Vec<u64> {
    let disk = daemon.state().join("servers").join(id).join("disk");
    let output = Command::new("qemu-img")
        .args(["info", "-U", "--backing-chain", "--output=json", "-f", "qcow2"])
        .arg(disk)
        .output()
        .unwrap();
    let layers: Value = serde_json::from_slice(&output.stdout).unwrap();
    layers.as_array().unwrap().iter().map(|layer| layer["virtual-size"].as_u64().unwrap() >> 30).collect()
}

fn layers(daemon: &Daemon, id: &str) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(daemon.state().join("servers").join(id))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("disk.before"))
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn a_guest_is_given_another_size_and_its_old_one_back() {
    sandbox!();
    let daemon = Daemon::start(&Options::default());
    let http = daemon.http();
    let image = http.image("guest", &guest_image());
    flavor(&http, "grown", 2, 224, 2);
    flavor(&http, "tall", 1, 160, 3);
    flavor(&http, "taller", 1, 160, 4);
    let wish = json!({"server": {"name": "sized", "imageRef": image, "flavorRef": "42", "networks": "auto"}});
    let made = http.compute(Method::POST, "/servers", 37, Some(&wish)).expect(202);
    let id = made["server"]["id"].as_str().unwrap().to_owned();
    let first = booted(&http, &id, 1, 1);
    let domain = domains(&daemon.state()).remove(0);

    // Up, with the stock client: more of everything, and what was written is there.
    daemon.openstack(&["server", "resize", "--flavor", "grown", "--wait", "sized"]);
    let shown = http.wait_for(&id, "VERIFY_RESIZE", 60);
    assert_eq!(shown["server"]["flavor"]["id"], "grown");
    let grown = booted(&http, &id, 2, 2);
    assert!(grown.memory_mib > first.memory_mib + 60, "{first:?} {grown:?}");
    assert!(grown.root_mib > first.root_mib + 700, "{first:?} {grown:?}");
    assert_eq!(chain(&daemon, &id)[..2], [2, 1]);

    // Back: what the guest wrote since is gone, its count of boots too.
    daemon.openstack(&["server", "resize", "revert", "sized"]);
    http.wait_for(&id, "ACTIVE", 60);
    let back = booted(&http, &id, 2, 1);
    assert_eq!((back.cpus, back.memory_mib, back.root_mib), (first.cpus, first.memory_mib, first.root_mib));
    assert_eq!((chain(&daemon, &id)[0], layers(&daemon, &id)), (1, Vec::new()));
    let refused = http.compute(
        Method::POST,
        &format!("/servers/{id}/action"),
        1,
        Some(&json!({"confirmResize": null})),
    );
    refused.expect(409);

    // Up again, and for good.
    act(&http, &id, &json!({"resize": {"flavorRef": "grown"}}), 202);
    http.wait_for(&id, "VERIFY_RESIZE", 90);
    booted(&http, &id, 3, 2);
    act(&http, &id, &json!({"confirmResize": null}), 204);
    http.wait_for(&id, "ACTIVE", 30);
    let info = virsh(&["dominfo", &domain]).unwrap();
    assert!(info.lines().any(|line| line.starts_with("CPU(s):") && line.trim_end().ends_with('2')), "{info}");
    assert_eq!(layers(&daemon, &id).len(), 1, "the guest runs on what lies below");

    // A stopped server stays stopped, and its layers come together.
    act(&http, &id, &json!({"os-stop": null}), 202);
    http.wait_for(&id, "SHUTOFF", 90);
    act(&http, &id, &json!({"resize": {"flavorRef": "tall"}}), 202);
    http.wait_for(&id, "VERIFY_RESIZE", 60);
    assert_eq!(virsh(&["domstate", &domain]).as_deref(), Some("shut off"));
    act(&http, &id, &json!({"revertResize": null}), 202);
    let shown = http.wait_for(&id, "SHUTOFF", 60);
    assert_eq!(shown["server"]["flavor"]["id"], "grown");
    assert_eq!(chain(&daemon, &id)[..2], [2, 1]);
    act(&http, &id, &json!({"resize": {"flavorRef": "tall"}}), 202);
    http.wait_for(&id, "VERIFY_RESIZE", 60);
    act(&http, &id, &json!({"confirmResize": null}), 204);
    let shown = http.wait_for(&id, "SHUTOFF", 60);
    assert_eq!(shown["server"]["flavor"]["id"], "tall");
    assert_eq!((chain(&daemon, &id)[0], layers(&daemon, &id)), (3, Vec::new()));
    act(&http, &id, &json!({"os-start": null}), 202);
    let last = booted(&http, &id, 4, 1);
    assert!(last.root_mib > grown.root_mib + 700, "{grown:?} {last:?}");

    let migrations = http.compute(Method::GET, "/os-migrations", 59, None).expect(200);
    let statuses: Vec<&str> = migrations["migrations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|migration| migration["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses, ["confirmed", "reverted", "confirmed", "reverted"]);

    // A disk does not shrink; the server goes on as it was.
    act(&http, &id, &json!({"resize": {"flavorRef": "grown"}}), 202);
    until("an answer to a smaller disk", 60, || {
        let shown = http.get(&format!("/v2.1/servers/{id}")).body;
        shown["server"]["OS-EXT-STS:task_state"].is_null().then_some(())
    });
    let events =
        http.compute(Method::GET, &format!("/servers/{id}/os-instance-actions"), 1, None).expect(200);
    assert_eq!(events["instanceActions"][0]["message"], "Error");
    http.wait_for(&id, "ACTIVE", 10);

    // Deleted while it waits to be decided on, it leaves nothing.
    act(&http, &id, &json!({"resize": {"flavorRef": "taller"}}), 202);
    http.wait_for(&id, "VERIFY_RESIZE", 90);
    http.send(Method::DELETE, &format!("/v2.1/servers/{id}"), &[], None).expect(204);
    http.wait_gone(&id, 60);
    assert_eq!(domains(&daemon.state()), Vec::<String>::new());
    assert_eq!(daemon.server_folders(), Vec::<String>::new());
}
