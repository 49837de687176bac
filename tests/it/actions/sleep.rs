//! A suspended guest through the end of all that is around it, and a guest whose kernel panics. What counts is what the
//! guest itself remembers.

use super::power::{Guest, boot};
use crate::harness::{Daemon, Options, until, virsh};
use crate::host::{kill_libvirtd, start_libvirtd};
use crate::sandbox;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

#[test]
fn memory_outlives_libvirtd_the_daemon_and_a_boot_of_the_host() {
    sandbox!();
    let mut daemon = Daemon::alone(&Options::default());
    let mut guest = boot(daemon.http());
    // In memory, as all of /run.
    inside(&guest, "echo still-here > /run/proof");

    suspend(&guest);
    daemon.kill();
    kill_libvirtd();
    start_libvirtd();
    until("libvirt", 30, || virsh(&["version"]));
    daemon.resume(&Options::default());
    guest.http = daemon.http();
    wakes(&guest, &daemon, 1);

    suspend(&guest);
    daemon.stop();
    boot_host(&daemon);
    daemon.resume(&Options::default());
    guest.http = daemon.http();
    wakes(&guest, &daemon, 2);

    panics(&guest);
}

/// Has the guest's agent run a script.
fn inside(guest: &Guest, script: &str) {
    let command = json!({"execute": "guest-exec", "arguments": {"path": "/bin/sh", "arg": ["-c", script]}});
    until("the guest's agent", 60, || {
        virsh(&["qemu-agent-command", &guest.name, &command.to_string(), "--timeout", "5"])
    });
}

fn suspend(guest: &Guest) {
    guest.act("suspend", &Value::Null);
    guest.becomes("SUSPENDED", 120);
    assert_eq!((guest.domstate().as_str(), guest.saved().exists()), ("shut off", true));
}

/// The guest still sleeps, and when it is woken for the `count`th time it knows what it knew.
fn wakes(guest: &Guest, daemon: &Daemon, count: usize) {
    // Time for whoever would start it.
    std::thread::sleep(Duration::from_secs(2));
    daemon.check("the guest sleeps on");
    guest.becomes("SUSPENDED", 1);
    assert_eq!((guest.domstate().as_str(), guest.saved().exists()), ("shut off", true));
    guest.act("resume", &Value::Null);
    guest.becomes("ACTIVE", 120);
    guest.lives();
    inside(guest, "echo proof-$(cat /run/proof) > /dev/ttyS0");
    until("what the guest remembers", 60, || {
        (guest.console().matches("proof-still-here").count() == count).then_some(())
    });
    assert_eq!(guest.count("boot"), 1, "it booted anew");
    daemon.check("the guest is awake");
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

fn names(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Takes away what a host loses when it boots (processes, devices, rules, all of /run), and starts libvirt anew.
fn boot_host(daemon: &Daemon) {
    kill_libvirtd();
    let mut files = vec!["/run/virtlogd.pid".to_owned()];
    for folder in ["/run/libvirt/qemu", "/run/libvirt/network"] {
        let all = names(folder);
        let pid_files = all.iter().filter(|name| Path::new(name).extension().is_some_and(|end| end == "pid"));
        files.extend(pid_files.map(|name| format!("{folder}/{name}")));
    }
    for file in files {
        let pid = std::fs::read_to_string(&file).unwrap();
        // Some end as soon as libvirtd does.
        let _ = Command::new("kill").args(["-KILL", pid.trim()]).status();
    }
    std::fs::remove_dir_all("/run/libvirt").unwrap();
    for link in names("/sys/class/net").iter().filter(|name| name.starts_with("dn-")) {
        run("ip", &["link", "delete", "dev", link]);
    }
    run("ip", &["address", "delete", "169.254.169.254/32", "dev", "lo"]);
    run("nft", &["flush", "ruleset"]);
    run("virtlogd", &["-d"]);
    start_libvirtd();
    until("libvirt", 30, || virsh(&["version"]));
    let database = rusqlite::Connection::open(daemon.state().join("dwarfnova.db")).unwrap();
    database.execute("UPDATE setting SET value = 'another' WHERE key = 'host_boot'", []).unwrap();
}

/// A kernel that panics ends the guest, which is told as any other end, and it can be started again.
fn panics(guest: &Guest) {
    inside(guest, "(sleep 1; echo c > /proc/sysrq-trigger) &");
    until("the guest to end", 60, || (guest.domstate() == "shut off").then_some(()));
    let reason = virsh(&["domstate", "--reason", &guest.name]).unwrap();
    assert_eq!(reason, "shut off (crashed)");
    let took = guest.becomes("SHUTOFF", 30);
    assert!(took < Duration::from_secs(5), "{took:?}");
    let shown = guest.http.get(&format!("/v2.1/servers/{}", guest.id)).expect(200);
    let server = &shown["server"];
    assert_eq!(
        (&server["OS-EXT-STS:vm_state"], &server["OS-EXT-STS:power_state"]),
        (&json!("stopped"), &json!(4)),
        "{server}"
    );
    let actions = guest.http.get(&format!("/v2.1/servers/{}/os-instance-actions", guest.id)).expect(200);
    let last = &actions["instanceActions"][0];
    assert_eq!((&last["action"], &last["user_id"]), (&json!("stop"), &Value::Null), "{actions}");
    guest.act("os-start", &Value::Null);
    guest.becomes("ACTIVE", 60);
    until("the guest to boot again", 180, || guest.console().contains("boots=2").then_some(()));
}
