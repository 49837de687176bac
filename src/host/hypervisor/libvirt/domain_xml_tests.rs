use super::*;
use crate::core::ids::{PortId, ServerId};
use crate::host::hypervisor::spec::Firmware;
use std::net::IpAddr;
use std::path::Path;

fn spec() -> DomainSpec {
    DomainSpec {
        id: ServerId(Uuid::from_u128(0x11111111_2222_4333_8444_555555555555)),
        name: "instance-0000002a".into(),
        display_name: "web & <db> \u{1}\u{ffff}'\"é".into(),
        flavor_name: "m1.small".into(),
        project_id: "5f705771eb554a1fbf0be2e1c5ae4ad1".into(),
        user_id: "1a7b6a36e7a44ff8b3fc8a9e0c4ddbdb".into(),
        vcpus: 2,
        memory_mib: 2048,
        firmware: Firmware::Bios,
        machine: None,
        disks: vec![DiskSpec {
            path: "/var/lib/dwarfnova/servers/1/disk.qcow2".into(),
            format: DiskFormat::Qcow2,
            device: DiskDevice::Disk,
            bus: DiskBus::Virtio,
            target: "vda".into(),
            serial: None,
            name: None,
            boot_order: Some(1),
            read_only: false,
        }],
        nics: Vec::new(),
        console_log: "/var/lib/dwarfnova/servers/1/console.log".into(),
        video: VideoModel::Virtio,
        spare_ports: 2,
    }
}

fn nic(attachment: NicAttachment) -> NicSpec {
    NicSpec {
        port: PortId(Uuid::from_u128(0xaaaaaaaa_bbbb_4ccc_8ddd_eeeeeeeeeeee)),
        mac: "fa:16:3e:12:34:56".into(),
        attachment,
        addresses: vec!["10.71.0.5".parse::<IpAddr>().unwrap()],
        mtu: Some(1450),
        model: NicModel::Virtio,
    }
}

fn rendering(virt_type: VirtType) -> Rendering {
    Rendering {
        virt_type,
        installation: Uuid::from_u128(7),
        buffered: BTreeSet::new(),
        layers: BTreeMap::new(),
        keep_owner: BTreeSet::new(),
    }
}

/// Compares with the file in `tests/golden/domain`; `UPDATE_GOLDEN=1` writes it anew.
fn golden(name: &str, spec: &DomainSpec, rendering: &Rendering) {
    let text = render(spec, rendering).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/domain").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, expected, "{} differs", path.display());
}

#[test]
fn plain_guest_under_emulation() {
    golden("plain.xml", &spec(), &rendering(VirtType::Qemu));
}

#[test]
fn a_guest_whose_owner_chose_its_disks() {
    let mut spec = spec();
    spec.disks[0].name = Some("root".into());
    for (bus, target) in [(DiskBus::Scsi, "sda"), (DiskBus::Usb, "sdb"), (DiskBus::Sata, "sdc")] {
        spec.disks.push(DiskSpec {
            path: format!("/var/lib/dwarfnova/servers/1/disk.{target}").into(),
            format: DiskFormat::Raw,
            bus,
            target: target.into(),
            name: (bus != DiskBus::Sata).then(|| format!("ephemeral{}", spec.disks.len() - 1)),
            boot_order: None,
            ..spec.disks[0].clone()
        });
    }
    golden("chosen_disks.xml", &spec, &rendering(VirtType::Qemu));
}

#[test]
fn guest_of_an_ordinary_user() {
    let spec = DomainSpec { nics: vec![nic(NicAttachment::User)], ..spec() };
    golden("user_mode.xml", &spec, &rendering(VirtType::Qemu));
}

#[test]
fn full_guest_under_kvm() {
    let mut spec = spec();
    spec.firmware = Firmware::Uefi { secure_boot: true };
    spec.nics = vec![nic(NicAttachment::HostNetwork { name: "dwarfnova-0a1b2c3d".into() })];
    spec.disks.push(DiskSpec {
        path: "/var/lib/dwarfnova/servers/1/config.iso".into(),
        format: DiskFormat::Raw,
        device: DiskDevice::Cdrom,
        bus: DiskBus::Sata,
        target: "sda".into(),
        serial: None,
        name: None,
        boot_order: None,
        read_only: true,
    });
    spec.disks.push(DiskSpec {
        path: "/var/lib/dwarfnova/volumes/9".into(),
        format: DiskFormat::Raw,
        device: DiskDevice::Disk,
        bus: DiskBus::Scsi,
        target: "sdb".into(),
        serial: Some("aaaaaaaa-bbbb-4ccc-8d".into()),
        name: None,
        boot_order: Some(2),
        read_only: false,
    });
    let mut rendering = rendering(VirtType::Kvm);
    rendering.buffered.insert("/var/lib/dwarfnova/volumes/9".into());
    let layer = |path: &str, format, sealed| Layer { path: path.into(), format, sealed };
    let base = layer("/var/lib/dwarfnova/bases/3", DiskFormat::Raw, true);
    let before = layer("/var/lib/dwarfnova/servers/1/disk.before-1", DiskFormat::Qcow2, false);
    rendering.keep_owner.insert(base.path.clone());
    rendering.layers.insert(spec.disks[0].path.clone(), vec![before, base]);
    golden("full.xml", &spec, &rendering);
}

#[test]
fn headless_guest_on_an_old_machine_with_uefi() {
    let mut spec = spec();
    spec.firmware = Firmware::Uefi { secure_boot: false };
    spec.machine = Some("pc".into());
    spec.video = VideoModel::None;
    golden("headless_pc.xml", &spec, &rendering(VirtType::Qemu));
}

#[test]
fn tenant_text_cannot_leave_its_element() {
    let mut spec = spec();
    spec.display_name = "</dwarfnova:name><devices/>]]>&#0;".into();
    let text = render(&spec, &rendering(VirtType::Qemu)).unwrap();
    let document = roxmltree::Document::parse(&text).unwrap();
    let name = document
        .descendants()
        .find(|node| node.has_tag_name((MARK_NAMESPACE, "name")))
        .and_then(|node| node.text())
        .unwrap();
    assert_eq!(name, spec.display_name);
    assert_eq!(document.descendants().filter(|node| node.has_tag_name("devices")).count(), 1);
}

proptest::proptest! {
    #[test]
    fn any_text_renders_to_a_document_that_reads_back(name in "\\PC*|[\\x00-\\x{ffff}]*") {
        let spec = DomainSpec { display_name: name.clone(), ..spec() };
        let text = render(&spec, &rendering(VirtType::Kvm)).unwrap();
        let document = roxmltree::Document::parse(&text).unwrap();
        let found = document
            .descendants()
            .find(|node| node.has_tag_name((MARK_NAMESPACE, "name")))
            .and_then(|node| node.text())
            .unwrap_or_default();
        // Line ends are normalised by every XML reader.
        let plain = |text: &str| legal_text(text).replace("\r\n", "\n").replace('\r', "\n");
        proptest::prop_assert_eq!(plain(found), plain(&name));
    }
}
