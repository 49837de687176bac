//! From a server, its NICs and its files to the domain that the hypervisor is asked for. Pure.
//!
//! A rescued server runs on what it is rescued with. Where the rescue image names a device for itself, the server keeps all
//! of its own devices in their places and gets this one more; else the rescue disk takes the first place, the server's
//! root disk the second, and nothing else of it is there.

mod disks;
mod lacking;

pub use lacking::unsupported;

use crate::core::port::ServerNic;
use crate::core::server::image_meta::word;
use crate::core::server::naming::has_ide;
use crate::core::server::{Rescue, Server};
use crate::host::hypervisor::spec::{
    DiskBus, DomainSpec, Firmware, NicAttachment, NicModel, NicSpec, VideoModel,
};
use crate::host::storage::ServerFiles;
use disks::Buses;
use std::collections::BTreeMap;
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
    let property = |name| text(machine_properties(server), name);
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
        disks: disks::disks(server, files, Buses { ide: has_ide(machine), disk: bus, cd: cd_bus }),
        nics: self::nics(server, nics, attachment).collect(),
        console_log,
        video: property("hw_video_model").and_then(video).unwrap_or(VideoModel::Virtio),
        spare_ports: SPARE_PORTS,
    }
}

/// The NICs of a domain.
pub fn nics(
    server: &Server,
    nics: &[ServerNic],
    attachment: impl Fn(&ServerNic) -> NicAttachment,
) -> impl Iterator<Item = NicSpec> {
    let asked = word(machine_properties(server), "hw_vif_model");
    let model = asked.and_then(|word| nic_model(&word)).unwrap_or(NicModel::Virtio);
    nics.iter().map(move |nic| nic_spec(nic, model, attachment(nic)))
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
#[path = "domain_tests.rs"]
mod tests;
