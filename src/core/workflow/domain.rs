//! From a server, its NICs and its files to the domain that the hypervisor is asked for. Pure.

use crate::core::port::ServerNic;
use crate::core::server::Server;
use crate::host::hypervisor::spec::{
    DiskBus, DiskDevice, DiskFormat, DiskSpec, DomainSpec, Firmware, NicAttachment, NicModel, NicSpec,
    VideoModel,
};
use crate::host::storage::{DiskFile, ServerFiles};
use std::path::PathBuf;

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
    let property = |name| server.image_properties.get(name).map(String::as_str);
    let model = nic_model(property("hw_vif_model"));
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
        machine: property("hw_machine_type").map(str::to_owned),
        disks: disks(files, disk_bus(property("hw_disk_bus")), cd_bus(property("hw_cdrom_bus"))),
        nics: nics.iter().map(|nic| nic_spec(nic, model, attachment(nic))).collect(),
        console_log,
        video: video(property("hw_video_model")),
        spare_ports: SPARE_PORTS,
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

fn disks(files: &ServerFiles, bus: DiskBus, cd_bus: Option<DiskBus>) -> Vec<DiskSpec> {
    let mut targets = Targets::default();
    let mut disks = Vec::new();
    let mut disk = |file: &DiskFile, boot_order| {
        disks.push(DiskSpec {
            path: file.path.clone(),
            format: file.format,
            device: DiskDevice::Disk,
            bus,
            target: targets.next(bus),
            serial: None,
            boot_order,
            read_only: false,
        });
    };
    // An empty disk does not boot, and the firmware turns to the CD; an installed one does.
    if let Some(root) = &files.root {
        disk(root, Some(1));
    }
    if let Some(ephemeral) = &files.ephemeral {
        disk(ephemeral, None);
    }
    if let Some(swap) = &files.swap {
        disk(swap, None);
    }
    let mut read_only = |path: &PathBuf, device: DiskDevice, bus: DiskBus, boot_order: Option<u32>| {
        disks.push(DiskSpec {
            path: path.clone(),
            format: DiskFormat::Raw,
            device,
            bus,
            target: targets.next(bus),
            serial: None,
            boot_order,
            read_only: true,
        });
    };
    if let Some(cd) = &files.cd {
        read_only(cd, DiskDevice::Cdrom, cd_bus.unwrap_or(DiskBus::Sata), Some(2));
    }
    if let Some(drive) = &files.config_drive {
        // A guest that boots from virtio sees virtio; cloud kernels often have no driver for a SATA drive.
        match cd_bus {
            Some(bus) => read_only(drive, DiskDevice::Cdrom, bus, None),
            None if bus == DiskBus::Virtio => read_only(drive, DiskDevice::Disk, bus, None),
            None => read_only(drive, DiskDevice::Cdrom, DiskBus::Sata, None),
        }
    }
    disks
}

fn disk_bus(property: Option<&str>) -> DiskBus {
    match property {
        Some("scsi") => DiskBus::Scsi,
        Some("sata") => DiskBus::Sata,
        Some("ide") => DiskBus::Ide,
        Some("usb") => DiskBus::Usb,
        _ => DiskBus::Virtio,
    }
}

/// The bus that the image asks for its CDs.
fn cd_bus(property: Option<&str>) -> Option<DiskBus> {
    match property {
        Some("scsi") => Some(DiskBus::Scsi),
        Some("sata") => Some(DiskBus::Sata),
        Some("ide") => Some(DiskBus::Ide),
        Some("usb") => Some(DiskBus::Usb),
        _ => None,
    }
}

fn nic_model(property: Option<&str>) -> NicModel {
    match property {
        Some("e1000") => NicModel::E1000,
        Some("e1000e") => NicModel::E1000e,
        Some("rtl8139") => NicModel::Rtl8139,
        _ => NicModel::Virtio,
    }
}

fn firmware(kind: Option<&str>, secure_boot: Option<&str>) -> Firmware {
    match kind {
        Some("uefi") => Firmware::Uefi { secure_boot: secure_boot == Some("required") },
        _ => Firmware::Bios,
    }
}

fn video(property: Option<&str>) -> VideoModel {
    match property {
        Some("vga") => VideoModel::Vga,
        Some("qxl") => VideoModel::Qxl,
        Some("cirrus") => VideoModel::Cirrus,
        Some("bochs") => VideoModel::Bochs,
        Some("none") => VideoModel::None,
        _ => VideoModel::Virtio,
    }
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
        assert_eq!(root_device(None), "/dev/vda");
        server.image_properties.insert("hw_disk_bus".into(), "sata".into());
        assert_eq!(
            targets(&server),
            named([("sda", Some(1)), ("sdb", None), ("sdc", None), ("sdd", Some(2)), ("sde", None)])
        );
        assert_eq!(root_device(Some("sata")), "/dev/sda");
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
        let spec = spec(&server, &[], &ServerFiles::default(), "/log".into(), |_| NicAttachment::User);
        assert_eq!(spec.firmware, Firmware::Uefi { secure_boot: true });
        assert_eq!(spec.machine.as_deref(), Some("pc"));
        assert_eq!(spec.video, VideoModel::Vga);
        assert_eq!(spec.name, "instance-00000001");
    }
}
