//! A rescue system sees the server's own disk as its second one; afterwards the server is back on it. In both, the guest is
//! told where its devices with tags are.

use super::{act, ready};
use crate::harness::{Daemon, Options, Serial, domains, guest_image, virsh};
use crate::sandbox;
use reqwest::Method;
use serde_json::{Value, json};

/// The names of the files that the domain has as disks, by device.
fn disks(daemon: &Daemon) -> Vec<(String, String)> {
    let table = virsh(&["domblklist", &domains(&daemon.state())[0]]).unwrap();
    let row = |line: &str| {
        let (device, path) = line.trim().split_once(char::is_whitespace)?;
        Some((device.to_owned(), path.trim().rsplit('/').next()?.to_owned()))
    };
    table.lines().filter_map(row).filter(|(device, _)| device.len() == 3).collect()
}

/// The devices with tags, of which the config drive on this disk and the metadata service tell the guest the same.
fn told_devices(serial: &mut Serial, drive: &str) -> Value {
    let devices = |text: &str| {
        let document: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        document["devices"].clone()
    };
    let by_drive =
        devices(&serial.run(&format!(
            "mount -o ro {drive} /mnt && cat /mnt/openstack/latest/meta_data.json; umount /mnt"
        )));
    let url = "http://169.254.169.254/openstack/latest/meta_data.json";
    assert_eq!(by_drive, devices(&serial.run(&format!("wget -q -O - {url}"))));
    by_drive
}

/// The device that is told with this tag.
fn pick<'a>(told: &'a Value, tag: &str) -> &'a Value {
    told.as_array().unwrap().iter().find(|device| device["tags"] == json!([tag])).unwrap()
}

/// The NIC and the root disk, which the guest knows by this name, are at the PCI addresses that it was told.
fn found_where_told(serial: &mut Serial, told: &Value, root: &str) {
    let mut at = |path: &str| {
        let device = serial.run(&format!("readlink -f {path}/device"));
        // The virtio device hangs on the PCI device.
        device.rsplit('/').nth(1).unwrap().to_owned()
    };
    let (nic, disk) = (pick(told, "front"), pick(told, "system"));
    let expected = json!([
        {"type": "nic", "bus": "pci", "address": at("/sys/class/net/eth0"), "tags": ["front"],
            "vf_trusted": false, "mac": nic["mac"]},
        {"type": "disk", "bus": "pci", "address": at(&format!("/sys/block/{root}")), "tags": ["system"],
            "serial": null},
    ]);
    assert_eq!(json!([nic, disk]), expected);
    assert_eq!(nic["mac"], serial.run("cat /sys/class/net/eth0/address"));
}

#[test]
fn a_rescued_server_is_looked_after_and_comes_back() {
    sandbox!();
    let daemon = Daemon::start(&Options::default());
    let http = daemon.http();
    let image = http.image("guest", &guest_image());
    let rescue_image = http.image("rescue", &guest_image());
    let network = http.get("/network/v2.0/networks").expect(200)["networks"][0]["id"].clone();
    let flavor = json!({"flavor": {"id": "43", "name": "scratch", "ram": 128, "vcpus": 1, "disk": 1,
        "OS-FLV-EXT-DATA:ephemeral": 2}});
    http.compute(Method::POST, "/flavors", 1, Some(&flavor)).expect(200);
    let root = json!({"uuid": image, "source_type": "image", "destination_type": "local", "boot_index": 0,
        "disk_bus": "virtio", "tag": "system"});
    let blank =
        json!({"source_type": "blank", "destination_type": "local", "boot_index": -1, "volume_size": 1});
    let mut on_scsi = blank.clone();
    on_scsi["disk_bus"] = json!("scsi");
    on_scsi["tag"] = json!("scratch");
    let wish = json!({"server": {"name": "patient", "imageRef": image, "flavorRef": "43",
        "networks": [{"uuid": network, "tag": "front"}], "block_device_mapping_v2": [root, on_scsi, blank],
        "adminPass": "own password", "config_drive": true}});
    let id = http.compute(Method::POST, "/servers", 96, Some(&wish)).expect(202)["server"]["id"].clone();
    let id = id.as_str().unwrap();
    http.wait_for(id, "ACTIVE", 60);
    ready(&http, id, 1);
    let mut serial = Serial::open(&daemon.state(), id);
    assert!(serial.log_in("own password"));
    assert_eq!(serial.run("echo precious >/root/marker; sync; cat /root/marker"), "precious");
    let told = told_devices(&mut serial, "/dev/vdc");
    let scratch = pick(&told, "scratch");
    assert_eq!(scratch["bus"], "scsi", "{told}");
    // The guest counts its SCSI hosts by itself; what is after that is as it was told.
    let place = scratch["address"].as_str().unwrap().strip_prefix("0:").unwrap();
    let seen = serial.run("readlink -f /sys/block/sda/device; cat /sys/block/sda/size");
    let (path, sectors) = seen.split_once('\n').unwrap();
    assert!(path.trim().ends_with(&format!(":{place}")), "{seen}, {told}");
    assert_eq!(sectors.trim(), "2097152");
    assert_eq!(serial.run("cat /sys/block/vdb/size"), "2097152");
    found_where_told(&mut serial, &told, "vda");
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
    let told = told_devices(&mut serial, "/dev/vdc");
    assert_eq!(told.as_array().unwrap().len(), 2, "what the rescue system does not have is not told: {told}");
    found_where_told(&mut serial, &told, "vdb");
    serial.run("echo healed >/mnt/root/marker; umount /mnt");
    drop(serial);
    for refused in [json!({"rescue": null}), json!({"reboot": {"type": "HARD"}}), json!({"os-stop": null})] {
        assert_eq!(act(&http, id, &refused).status, 409, "{refused}");
    }

    act(&http, id, &json!({"unrescue": null})).expect(202);
    http.wait_for(id, "ACTIVE", 120);
    let log = ready(&http, id, 3);
    assert!(log.contains("boots=2"), "{log}");
    let own = [("vda", "disk"), ("vdb", "disk.eph1"), ("vdc", "disk.config"), ("sda", "disk.eph0")];
    assert_eq!(disks(&daemon), named(&own));
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
