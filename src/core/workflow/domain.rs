//! From a server, its NICs and its files to the domain that the hypervisor is asked for. Pure.
//!
//! A rescued server runs on what it is rescued with. Where the rescue image names a device for itself, the server keeps all
//! of its own devices in their places and gets this one more; else the rescue disk takes the first place, the server's
//! root disk the second, and nothing else of it is there.

mod lacking;

pub use lacking::unsupported;

use crate::core::port::ServerNic;
use crate::core::server::image_meta::word;
use crate::core::server::naming::has_ide;
use crate::core::server::{Rescue, Server};
use crate::host::hypervisor::spec::{
    DiskBus, DiskDevice, DiskFormat, DiskSpec, DomainSpec, Firmware, NicAttachment, NicModel, NicSpec,
    VideoModel,
};
use crate::host::storage::{DiskFile, RescueFiles, RescueRoot, ServerFiles};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Room for volumes and NICs that are attached later.
const SPARE_PORTS: u32 = 12;

/// The domain of a server. `attachment` says how a NIC reaches its network on this host.
pub fn spec(
    server: &Server,
    nics: &[ServerNic],
    files: &ServerFiles,
    console_log: PathBuf,
    attachment: impl Fn(&ServerNic) -> NicAttachment,
) -> DomainSpec {
    let properties = machine_properties(server);
    let property = |name| text(properties, name);
    let model =
        word(properties, "hw_vif_model").and_then(|word| nic_model(&word)).unwrap_or(NicModel::Virtio);
    let machine = property("hw_machine_type");
    let (bus, cd_bus) = (disk_bus(property("hw_disk_bus")), cd_bus(property("hw_cdrom_bus")));
    DomainSpec {
        id: server.id,
        name: server.instance_name(),
        display_name: server.name.clone(),
        flavor_name: server.flavor.name.clone(),
        project_id: server.project_id.to_string(),
        user_id: server.user_id.to_string(),
        vcpus: server.flavor.vcpus,
        memory_mib: server.flavor.ram_mib,
        firmware: firmware(property("hw_firmware_type"), property("os_secure_boot")),
        machine: machine.map(str::to_owned),
        disks: disks(server, files, has_ide(machine), bus, cd_bus),
        nics: nics.iter().map(|nic| nic_spec(nic, model, attachment(nic))).collect(),
        console_log,
        video: property("hw_video_model").and_then(video).unwrap_or(VideoModel::Virtio),
        spare_ports: SPARE_PORTS,
    }
}

/// The properties that the machine is shaped by.
fn machine_properties(server: &Server) -> &BTreeMap<String, String> {
    match &server.rescue {
        Some(rescue) if !names_device(rescue) => &rescue.image_properties,
        Some(_) | None => &server.image_properties,
    }
}

fn nic_spec(nic: &ServerNic, model: NicModel, attachment: NicAttachment) -> NicSpec {
    NicSpec {
        port: nic.port_id,
        mac: nic.mac.to_string(),
        attachment,
        addresses: nic.addresses.iter().map(|address| address.address.into()).collect(),
        mtu: Some(nic.mtu),
        model,
    }
}

/// Gives devices their names, each kind counted for itself.
#[derive(Default)]
struct Targets {
    virtio: u8,
    scsi: u8,
    ide: u8,
}

impl Targets {
    fn next(&mut self, bus: DiskBus) -> String {
        let count = match bus {
            DiskBus::Virtio => &mut self.virtio,
            DiskBus::Scsi | DiskBus::Sata | DiskBus::Usb => &mut self.scsi,
            DiskBus::Ide => &mut self.ide,
        };
        let letter = char::from(b'a' + *count);
        *count += 1;
        format!("{}{letter}", prefix(bus))
    }
}

fn prefix(bus: DiskBus) -> &'static str {
    match bus {
        DiskBus::Virtio => "vd",
        DiskBus::Scsi | DiskBus::Sata | DiskBus::Usb => "sd",
        DiskBus::Ide => "hd",
    }
}

/// Disks in the order in which the guest gets to see them.
#[derive(Default)]
struct Disks {
    targets: Targets,
    /// Whether the machine has IDE drives; SATA drives take their places otherwise.
    ide: bool,
    specs: Vec<DiskSpec>,
    /// The highest place in the boot order that is taken.
    boots: u32,
}

impl Disks {
    fn push(&mut self, path: PathBuf, format: DiskFormat, device: DiskDevice, bus: DiskBus, read_only: bool) {
        let bus = if bus == DiskBus::Ide && !self.ide { DiskBus::Sata } else { bus };
        let target = self.targets.next(bus);
        self.specs.push(DiskSpec {
            path,
            format,
            device,
            bus,
            target,
            serial: None,
            boot_order: None,
            read_only,
        });
    }

    fn disk(&mut self, file: &DiskFile, bus: DiskBus) {
        self.push(file.path.clone(), file.format, DiskDevice::Disk, bus, false);
    }

    fn read_only(&mut self, path: &Path, device: DiskDevice, bus: DiskBus) {
        self.push(path.to_owned(), DiskFormat::Raw, device, bus, true);
    }

    /// Lets the disk that came last be tried next at boot.
    fn boots(&mut self) {
        self.boots += 1;
        if let Some(last) = self.specs.last_mut() {
            last.boot_order = Some(self.boots);
        }
    }

    /// Lets the disk that came last be tried first at boot.
    fn boots_first(&mut self) {
        self.boots += 1;
        for disk in &mut self.specs {
            disk.boot_order = disk.boot_order.map(|order| order + 1);
        }
        if let Some(last) = self.specs.last_mut() {
            last.boot_order = Some(1);
        }
    }

    fn config_drive(&mut self, path: &Path, bus: DiskBus, cd_bus: Option<DiskBus>) {
        // A guest that boots from virtio sees virtio; cloud kernels often have no driver for a SATA drive.
        match cd_bus {
            Some(bus) => self.read_only(path, DiskDevice::Cdrom, bus),
            None if bus == DiskBus::Virtio => self.read_only(path, DiskDevice::Disk, bus),
            None => self.read_only(path, DiskDevice::Cdrom, DiskBus::Sata),
        }
    }

    /// All that the server has of its own.
    fn own(&mut self, files: &ServerFiles, bus: DiskBus, cd_bus: Option<DiskBus>) {
        // An empty disk does not boot, and the firmware turns to the CD; an installed one does.
        if let Some(root) = &files.root {
            self.disk(root, bus);
            self.boots();
        }
        if let Some(ephemeral) = &files.ephemeral {
            self.disk(ephemeral, bus);
        }
        if let Some(swap) = &files.swap {
            self.disk(swap, bus);
        }
        if let Some(cd) = &files.cd {
            self.read_only(cd, DiskDevice::Cdrom, cd_bus.unwrap_or(DiskBus::Sata));
            self.boots();
        }
        if let Some(drive) = &files.config_drive {
            self.config_drive(drive, bus, cd_bus);
        }
    }

    /// The rescue system before the server's root disk.
    fn rescue(&mut self, own: &ServerFiles, rescue: &RescueFiles, bus: DiskBus, cd_bus: Option<DiskBus>) {
        match &rescue.root {
            RescueRoot::Disk(file) => self.disk(file, bus),
            RescueRoot::Cd(path) => {
                self.read_only(path, DiskDevice::Cdrom, cd_bus.unwrap_or(DiskBus::Sata));
            }
        }
        self.boots();
        if let Some(root) = &own.root {
            self.disk(root, bus);
        }
        self.config_drive(&rescue.config_drive, bus, cd_bus);
    }

    /// The rescue system after all that the server has, as the device that its image names.
    fn rescue_device(&mut self, rescue: &RescueFiles, named: &Rescue, bus: DiskBus, cd_bus: Option<DiskBus>) {
        let asked = named_bus(text(&named.image_properties, "hw_rescue_bus"));
        let cd = text(&named.image_properties, "hw_rescue_device") == Some("cdrom");
        match &rescue.root {
            RescueRoot::Disk(file) if cd => {
                let bus = asked.or(cd_bus).unwrap_or(DiskBus::Sata);
                self.push(file.path.clone(), file.format, DiskDevice::Cdrom, bus, true);
            }
            RescueRoot::Disk(file) => self.disk(file, asked.unwrap_or(bus)),
            RescueRoot::Cd(path) => {
                let bus = asked.or(cd_bus).unwrap_or(DiskBus::Sata);
                self.read_only(path, if cd { DiskDevice::Cdrom } else { DiskDevice::Disk }, bus);
            }
        }
        self.boots_first();
    }
}

fn disks(
    server: &Server,
    files: &ServerFiles,
    ide: bool,
    bus: DiskBus,
    cd_bus: Option<DiskBus>,
) -> Vec<DiskSpec> {
    let mut disks = Disks { ide, ..Disks::default() };
    match (&server.rescue, &files.rescue) {
        (Some(named), Some(rescue)) if names_device(named) => {
            disks.own(files, bus, cd_bus);
            disks.rescue_device(rescue, named, bus, cd_bus);
        }
        (Some(_), Some(rescue)) => disks.rescue(files, rescue, bus, cd_bus),
        (_, None) | (None, _) => disks.own(files, bus, cd_bus),
    }
    disks.specs
}

/// Whether the rescue image says which device it wants to be.
fn names_device(rescue: &Rescue) -> bool {
    ["hw_rescue_device", "hw_rescue_bus"].iter().any(|name| rescue.image_properties.contains_key(*name))
}

fn text<'a>(properties: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    properties.get(name).map(String::as_str)
}

fn disk_bus(property: Option<&str>) -> DiskBus {
    named_bus(property).unwrap_or(DiskBus::Virtio)
}

/// The bus that the image asks for its CDs.
fn cd_bus(property: Option<&str>) -> Option<DiskBus> {
    named_bus(property).filter(|bus| *bus != DiskBus::Virtio)
}

/// The bus of this name.
fn named_bus(property: Option<&str>) -> Option<DiskBus> {
    match property {
        Some("virtio") => Some(DiskBus::Virtio),
        Some("scsi") => Some(DiskBus::Scsi),
        Some("sata") => Some(DiskBus::Sata),
        Some("ide") => Some(DiskBus::Ide),
        Some("usb") => Some(DiskBus::Usb),
        _ => None,
    }
}

fn nic_model(word: &str) -> Option<NicModel> {
    Some(match word {
        "virtio" => NicModel::Virtio,
        "e1000" => NicModel::E1000,
        "e1000e" => NicModel::E1000e,
        "rtl8139" => NicModel::Rtl8139,
        _ => return None,
    })
}

fn firmware(kind: Option<&str>, secure_boot: Option<&str>) -> Firmware {
    match kind {
        Some("uefi") => Firmware::Uefi { secure_boot: secure_boot == Some("required") },
        _ => Firmware::Bios,
    }
}

fn video(word: &str) -> Option<VideoModel> {
    Some(match word {
        "virtio" => VideoModel::Virtio,
        "vga" => VideoModel::Vga,
        "qxl" => VideoModel::Qxl,
        "cirrus" => VideoModel::Cirrus,
        "bochs" => VideoModel::Bochs,
        "none" => VideoModel::None,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::server::naming::root_device;
    use crate::core::server::sample;

    fn files() -> ServerFiles {
        let file = |name: &str, format| Some(DiskFile { path: name.into(), format });
        ServerFiles {
            root: file("/root", DiskFormat::Qcow2),
            cd: Some("/cd".into()),
            ephemeral: file("/eph", DiskFormat::Raw),
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
}
