//! What a domain should be. Plain data, rendered by the one domain-XML builder.

use crate::core::ids::{PortId, ServerId};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;

/// One virtual machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainSpec {
    pub id: ServerId,
    /// `instance-` and eight hex digits.
    pub name: String,
    /// The server's display name, kept in the domain's metadata for people who look with virsh.
    pub display_name: String,
    pub flavor_name: String,
    pub project_id: String,
    pub user_id: String,
    pub vcpus: u32,
    pub memory_mib: u64,
    pub firmware: Firmware,
    /// Machine type; `None` means q35.
    pub machine: Option<String>,
    pub disks: Vec<DiskSpec>,
    pub nics: Vec<NicSpec>,
    /// The file that collects what the guest writes on its first serial port.
    pub console_log: PathBuf,
    pub video: VideoModel,
    /// How many PCIe ports are kept free for hot-plugged devices.
    pub spare_ports: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Firmware {
    Bios,
    Uefi { secure_boot: bool },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskSpec {
    pub path: PathBuf,
    pub format: DiskFormat,
    pub device: DiskDevice,
    pub bus: DiskBus,
    /// Device name in the guest's order: `vda`, `vdb`, `sda`, `hda`.
    pub target: String,
    /// Serial number that the guest can read; at most 20 characters of it matter on virtio.
    pub serial: Option<String>,
    /// A name of ours that the domain keeps for it: lower-case letters and digits. See
    /// [`crate::host::hypervisor::DeviceAddresses`].
    pub name: Option<String>,
    /// 1 is tried first; `None` is not bootable.
    pub boot_order: Option<u32>,
    pub read_only: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskFormat {
    Raw,
    Qcow2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskDevice {
    Disk,
    Cdrom,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskBus {
    Virtio,
    Scsi,
    Sata,
    Ide,
    Usb,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicSpec {
    pub port: PortId,
    /// `fa:16:3e:xx:xx:xx`, lower case.
    pub mac: String,
    pub attachment: NicAttachment,
    /// The addresses that the guest is to have.
    pub addresses: Vec<IpAddr>,
    /// Bytes; `None` leaves the network's own.
    pub mtu: Option<u32>,
    pub model: NicModel,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NicAttachment {
    /// A libvirt network that we made, by its name on the host.
    HostNetwork { name: String },
    /// User-mode networking: no privileges, no address from us.
    User,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NicModel {
    Virtio,
    E1000,
    E1000e,
    Rtl8139,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VideoModel {
    Virtio,
    Vga,
    Qxl,
    Cirrus,
    Bochs,
    None,
}
