use super::*;
use crate::core::server::disks::{BlankDisk, DiskWish};
use crate::core::server::naming::root_device;
use crate::core::server::sample;
use crate::host::hypervisor::spec::{DiskFormat, DiskSpec};
use crate::host::storage::{DiskFile, RescueFiles, RescueRoot};

fn files() -> ServerFiles {
    let file = |name: &str, format| Some(DiskFile { path: name.into(), format });
    ServerFiles {
        root: file("/root", DiskFormat::Qcow2),
        cd: Some("/cd".into()),
        ephemeral: file("/eph", DiskFormat::Raw).map(|file| (0, file)).into_iter().collect(),
        swap: file("/swap", DiskFormat::Raw),
        config_drive: Some("/config".into()),
        rescue: None,
    }
}

fn rescued(properties: &[(&str, &str)], root: RescueRoot) -> Vec<(String, Option<u32>)> {
    let mut server = sample();
    server.rescue = Some(Rescue {
        image_id: crate::core::ids::ImageId::random(),
        image_format: "qcow2".into(),
        image_properties: properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    });
    let rescue = RescueFiles { root, config_drive: "/rescue-config".into() };
    let files = ServerFiles { rescue: Some(rescue), ..files() };
    let spec = spec(&server, &[], &files, "/log".into(), |_| NicAttachment::User);
    let path = |disk: &DiskSpec| disk.path.display().to_string();
    spec.disks.iter().map(|disk| (format!("{} {}", disk.target, path(disk)), disk.boot_order)).collect()
}

#[test]
fn a_rescued_server_boots_from_the_rescue_disk() {
    let disk = || RescueRoot::Disk(DiskFile { path: "/rescue".into(), format: DiskFormat::Qcow2 });
    let expect = |found: Vec<(String, Option<u32>)>, wanted: &[(&str, Option<u32>)]| {
        let wanted: Vec<_> = wanted.iter().map(|(name, order)| ((*name).to_owned(), *order)).collect();
        assert_eq!(found, wanted);
    };
    expect(
        rescued(&[], disk()),
        &[("vda /rescue", Some(1)), ("vdb /root", None), ("vdc /rescue-config", None)],
    );
    expect(
        rescued(&[("hw_disk_bus", "scsi")], RescueRoot::Cd("/iso".into())),
        &[("sda /iso", Some(1)), ("sdb /root", None), ("sdc /rescue-config", None)],
    );
    expect(
        rescued(&[("hw_rescue_bus", "usb")], disk()),
        &[
            ("vda /root", Some(2)),
            ("vdb /eph", None),
            ("vdc /swap", None),
            ("sda /cd", Some(3)),
            ("vdd /config", None),
            ("sdb /rescue", Some(1)),
        ],
    );
    for bus in ["sata", "ide"] {
        let properties = [("hw_rescue_device", "cdrom"), ("hw_rescue_bus", bus)];
        let last = rescued(&properties, RescueRoot::Cd("/iso".into())).pop();
        assert_eq!(last, Some(("sdb /iso".into(), Some(1))));
    }
}

fn targets(server: &Server) -> Vec<(String, Option<u32>)> {
    let spec = spec(server, &[], &files(), "/log".into(), |_| NicAttachment::User);
    spec.disks.into_iter().map(|disk| (disk.target, disk.boot_order)).collect()
}

#[test]
fn devices_are_named_by_their_bus() {
    let mut server = sample();
    let named =
        |names: [(&str, Option<u32>); 5]| names.map(|(name, order)| (name.to_owned(), order)).to_vec();
    assert_eq!(
        targets(&server),
        named([("vda", Some(1)), ("vdb", None), ("vdc", None), ("sda", Some(2)), ("vdd", None)])
    );
    assert_eq!(root_device(None, None), "/dev/vda");
    for bus in ["sata", "ide"] {
        server.image_properties.insert("hw_disk_bus".into(), bus.into());
        assert_eq!(
            targets(&server),
            named([("sda", Some(1)), ("sdb", None), ("sdc", None), ("sdd", Some(2)), ("sde", None)])
        );
        assert_eq!(root_device(Some(bus), None), "/dev/sda");
    }
    server.image_properties.insert("hw_machine_type".into(), "pc-i440fx-7.2".into());
    assert_eq!(targets(&server)[0].0, "hda");
    assert_eq!(root_device(Some("ide"), Some("pc-i440fx-7.2")), "/dev/hda");
}

#[test]
fn image_properties_shape_the_machine() {
    let mut server = sample();
    for (key, value) in [
        ("hw_firmware_type", "uefi"),
        ("os_secure_boot", "required"),
        ("hw_machine_type", "pc"),
        ("hw_video_model", "vga"),
    ] {
        server.image_properties.insert(key.into(), value.into());
    }
    let spec = super::spec(&server, &[], &ServerFiles::default(), "/log".into(), |_| NicAttachment::User);
    assert_eq!(spec.firmware, Firmware::Uefi { secure_boot: true });
    assert_eq!(spec.machine.as_deref(), Some("pc"));
    assert_eq!(spec.video, VideoModel::Vga);
    assert_eq!(spec.name, "instance-00000001");
    // A server that was made in earlier times with what this host has not.
    server.image_properties.insert("hw_video_model".into(), "gop".into());
    let spec = super::spec(&server, &[], &ServerFiles::default(), "/log".into(), |_| NicAttachment::User);
    assert_eq!(spec.video, VideoModel::Virtio);
}

#[test]
fn disks_are_where_their_owner_wants_them() {
    let wish = |bus: Option<&str>, tag: Option<&str>| DiskWish {
        bus: bus.map(str::to_owned),
        tag: tag.map(str::to_owned),
        ..DiskWish::default()
    };
    let mut server = sample();
    server.image_properties.insert("hw_disk_bus".into(), "sata".into());
    server.disks.root = wish(Some("virtio"), Some("system"));
    server.disks.ephemeral = vec![
        BlankDisk { size: None, wish: wish(Some("scsi"), Some("data")) },
        BlankDisk { size: None, wish: wish(None, None) },
    ];
    server.disks.swap.wish = wish(Some("usb"), None);
    let mut files = files();
    files.ephemeral.insert(1, DiskFile { path: "/eph1".into(), format: DiskFormat::Raw });
    let found = |server: &Server, files: &ServerFiles| {
        let spec = spec(server, &[], files, "/log".into(), |_| NicAttachment::User);
        let disk = |disk: DiskSpec| {
            let name = disk.name.unwrap_or_default();
            format!("{} {:?} {} {name}", disk.target, disk.bus, disk.path.display()).trim().to_owned()
        };
        spec.disks.into_iter().map(disk).collect::<Vec<_>>()
    };
    assert_eq!(
        found(&server, &files),
        [
            "vda Virtio /root root",
            "sda Scsi /eph ephemeral0",
            "sdb Sata /eph1",
            "sdc Usb /swap",
            "sdd Sata /cd",
            "vdb Virtio /config",
        ]
    );
    server.rescue = Some(Rescue {
        image_id: crate::core::ids::ImageId::random(),
        image_format: "qcow2".into(),
        image_properties: BTreeMap::from([("hw_disk_bus".to_owned(), "sata".to_owned())]),
    });
    let root = RescueRoot::Disk(DiskFile { path: "/rescue".into(), format: DiskFormat::Qcow2 });
    files.rescue = Some(RescueFiles { root, config_drive: "/rescue-config".into() });
    assert_eq!(
        found(&server, &files),
        ["sda Sata /rescue", "vda Virtio /root root", "sdb Sata /rescue-config"]
    );
}
