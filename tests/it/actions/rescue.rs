//! A rescue system sees the server's own disk as its second one; afterwards the server is back on it.

use super::{act, ready};
use crate::harness::{Daemon, Options, Serial, domains, guest_image, virsh};
use crate::sandbox;
use reqwest::Method;
use serde_json::json;

/// The names of the files that the domain has as disks, by device.
fn disks(daemon: &Daemon) -> Vec<(String, String)> {
    let table = virsh(&["domblklist", &domains(&daemon.state())[0]]).unwrap();
    let row = |line: &str| {
        let (device, path) = line.trim().split_once(char::is_whitespace)?;
        Some((device.to_owned(), path.trim().rsplit('/').next()?.to_owned()))
    };
    table.lines().filter_map(row).filter(|(device, _)| device.len() == 3).collect()
}

#[test]
fn a_rescued_server_is_looked_after_and_comes_back() {
    sandbox!();
    let daemon = Daemon::start(&Options::default());
    let http = daemon.http();
    let image = http.image("guest", &guest_image());
    let rescue_image = http.image("rescue", &guest_image());
    let wish = json!({"server": {"name": "patient", "imageRef": image, "flavorRef": "42", "networks": "auto",
        "adminPass": "own password", "config_drive": true}});
    let id = http.compute(Method::POST, "/servers", 96, Some(&wish)).expect(202)["server"]["id"].clone();
    let id = id.as_str().unwrap();
    http.wait_for(id, "ACTIVE", 60);
    ready(&http, id, 1);
    let mut serial = Serial::open(&daemon.state(), id);
    assert!(serial.log_in("own password"));
    assert_eq!(serial.run("echo precious >/root/marker; sync; cat /root/marker"), "precious");
    drop(serial);

    let body = json!({"rescue": {"rescue_image_ref": rescue_image, "adminPass": "doctor's"}});
    assert_eq!(act(&http, id, &body).expect(200), json!({"adminPass": "doctor's"}));
    http.wait_for(id, "RESCUE", 120);
    ready(&http, id, 2);
    let named = |names: &[(&str, &str)]| {
        names.iter().map(|(device, file)| ((*device).to_owned(), (*file).to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(
        disks(&daemon),
        named(&[("vda", "disk.rescue"), ("vdb", "disk"), ("vdc", "disk.config.rescue")])
    );
    let mut serial = Serial::open(&daemon.state(), id);
    assert!(serial.log_in("doctor's"));
    let seen = serial.run("ls /root/marker 2>/dev/null; mount /dev/vdb2 /mnt && cat /mnt/root/marker");
    assert_eq!(seen, "precious");
    serial.run("echo healed >/mnt/root/marker; umount /mnt");
    drop(serial);
    for refused in [json!({"rescue": null}), json!({"reboot": {"type": "HARD"}}), json!({"os-stop": null})] {
        assert_eq!(act(&http, id, &refused).status, 409, "{refused}");
    }

    act(&http, id, &json!({"unrescue": null})).expect(202);
    http.wait_for(id, "ACTIVE", 120);
    let log = ready(&http, id, 3);
    assert!(log.contains("boots=2"), "{log}");
    assert_eq!(disks(&daemon), named(&[("vda", "disk"), ("vdb", "disk.config")]));
    let mut serial = Serial::open(&daemon.state(), id);
    assert!(serial.log_in("own password"));
    assert_eq!(serial.run("cat /root/marker"), "healed");
    let left: Vec<_> = std::fs::read_dir(daemon.state().join("servers").join(id))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("rescue"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}
