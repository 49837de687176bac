//! A disk of the host that is full when a guest writes: the guest stands still, and goes on where it was when there is room.

use crate::harness::{Daemon, Options, guest_image, until, virsh};
use crate::sandbox;
use base64::Engine;
use reqwest::Method;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system in memory; gone when dropped.
struct Small(PathBuf);

impl Small {
    fn mount(path: &Path, mib: u32) -> Self {
        Self::run("mount", &["-t", "tmpfs", "-o", &format!("size={mib}m,mode=0711"), "small"], path);
        Self(path.to_owned())
    }

    fn grow(&self, mib: u32) {
        Self::run("mount", &["-o", &format!("remount,size={mib}m")], &self.0);
    }

    fn run(program: &str, arguments: &[&str], path: &Path) {
        let done = Command::new(program).args(arguments).arg(path).status().unwrap();
        assert!(done.success(), "{program} {arguments:?}");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_guest_without_room_stands_still_and_goes_on() {
    sandbox!();
    let mut daemon = Daemon::start(&Options::default());
    let image = daemon.http().image("guest", &guest_image());
    daemon.stop();
    let small = Small::mount(&daemon.state().join("servers"), 40);
    daemon.resume(&Options::default());
    let http = daemon.http();
    let script = "#!/bin/sh\ndd if=/dev/urandom of=/fill bs=1M count=64 && sync && echo FILLED\n";
    let wish = json!({"server": {"name": "writer", "imageRef": image, "flavorRef": "42", "networks": "none",
        "config_drive": true, "user_data": base64::engine::general_purpose::STANDARD.encode(script)}});
    let made = http.compute(Method::POST, "/servers", 37, Some(&wish)).expect(202);
    let id = made["server"]["id"].as_str().unwrap().to_owned();
    let shown = http.wait_for(&id, "ACTIVE", 60);
    let name = shown["server"]["OS-EXT-SRV-ATTR:instance_name"].as_str().unwrap().to_owned();
    let power = || http.get(&format!("/v2.1/servers/{id}")).body["server"]["OS-EXT-STS:power_state"].clone();
    until("the guest to stand still", 180, || (power() == 3).then_some(()));
    assert!(virsh(&["domstate", "--reason", &name]).unwrap().contains("I/O error"));
    assert!(daemon.log().contains("its guest stands still"), "{}", daemon.log());
    small.grow(400);
    http.wait_console(&id, "FILLED", 120);
    until("the guest to run", 10, || (power() == 1).then_some(()));
    assert_eq!(http.send(Method::DELETE, &format!("/v2.1/servers/{id}"), &[], None).status, 204);
    http.wait_gone(&id, 60);
    daemon.stop();
}
