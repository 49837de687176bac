//! The one builder of domain XML: a pure function from a spec to the document that libvirt gets.
//!
//! Text that tenants chose stands only in escaped text nodes of our own metadata element; names, paths and
//! addresses elsewhere are made by us. No I/O: what depends on the host is passed in as [`Rendering`].

mod document;

use crate::host::disk::Layer;
use crate::host::hypervisor::spec::{
    DiskBus, DiskDevice, DiskFormat, DiskSpec, DomainSpec, Firmware, NicAttachment, NicModel, NicSpec,
    VideoModel,
};
use crate::host::net::tap_name;
use document::{
    Alias, Amount, BackingFormat, BackingStore, Boot, Channel, ChannelTarget, Clock, Controller, Cpu,
    DeviceTarget, Devices, Disk, DiskDriver, DiskTarget, Domain, Empty, Enabled, Features, FileSource,
    FirmwareFeature, FirmwareFeatures, Graphics, Input, InstanceMark, Interface, Kind, Log, Mac, MemBalloon,
    Metadata, Mode, Mtu, NetworkSource, Os, OsType, PanicNotifier, PortTarget, PowerManagement, Rng,
    RngBackend, SecurityLabel, Serial, SocketSource, State, StatsPeriod, SysInfo, SysInfoEntry,
    SysInfoSystem, Timer, Topology, Video,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The namespace of our metadata element, the mark by which we know a domain as ours.
pub const MARK_NAMESPACE: &str = "urn:dwarfnova:domain:1";

/// What libvirt wants in front of the names that others than itself give to devices.
pub const ALIAS_PREFIX: &str = "ua-";

/// What guests run under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VirtType {
    /// The processor's virtualisation, through the kernel.
    Kvm,
    /// Software emulation.
    Qemu,
}

impl VirtType {
    /// The word for it in libvirt's documents and in the compute API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Qemu => "qemu",
        }
    }
}

/// What the document depends on besides the spec.
#[derive(Debug, Clone)]
pub struct Rendering {
    pub virt_type: VirtType,
    /// The installation that owns the domain.
    pub installation: Uuid,
    /// Disks on file systems without direct I/O; they go through the page cache of the host.
    pub buffered: BTreeSet<PathBuf>,
    /// What each disk stands on, the nearest layer first.
    pub layers: BTreeMap<PathBuf, Vec<Layer>>,
    /// Files that stay ours. libvirt gives a guest's files to QEMU's user, who could then change them; what many guests
    /// share is only to be read. Empty where libvirt changes no owners.
    pub keep_owner: BTreeSet<PathBuf>,
}

/// Renders the persistent definition of `spec`.
pub fn render(spec: &DomainSpec, rendering: &Rendering) -> Result<String, quick_xml::SeError> {
    to_xml(&domain(spec, rendering))
}

/// Renders one NIC, for a domain that is there already.
pub fn render_nic(nic: &NicSpec) -> Result<String, quick_xml::SeError> {
    to_xml(&interface(nic))
}

/// The socket beside the console log through which one client at a time reaches the guest's first serial port.
pub fn serial_socket(spec_console_log: &std::path::Path) -> PathBuf {
    spec_console_log.with_extension("sock")
}

/// Serialises with the indentation that libvirt itself uses, so that documents compare line by line.
pub(crate) fn to_xml(document: &impl Serialize) -> Result<String, quick_xml::SeError> {
    let mut text = String::new();
    let mut serializer = quick_xml::se::Serializer::new(&mut text);
    serializer.indent(' ', 2);
    document.serialize(serializer)?;
    text.push('\n');
    Ok(text)
}

/// Text without the characters that XML 1.0 cannot hold even when escaped.
pub(crate) fn legal_text(text: &str) -> String {
    text.chars()
        .filter(|c| {
            matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
        })
        .collect()
}

fn domain(spec: &DomainSpec, rendering: &Rendering) -> Domain {
    let machine = spec.machine.clone().unwrap_or_else(|| "q35".into());
    let kvm = rendering.virt_type == VirtType::Kvm;
    let secure_boot = spec.firmware == Firmware::Uefi { secure_boot: true };
    let has_display = spec.video != VideoModel::None;
    Domain {
        virt_type: rendering.virt_type.name(),
        name: spec.name.clone(),
        uuid: spec.id.to_string(),
        metadata: Metadata {
            instance: InstanceMark {
                namespace: MARK_NAMESPACE,
                owner: rendering.installation.hyphenated().to_string(),
                name: legal_text(&spec.display_name),
                flavor: legal_text(&spec.flavor_name),
                project: legal_text(&spec.project_id),
                user: legal_text(&spec.user_id),
            },
        },
        memory: Amount { unit: "MiB", value: spec.memory_mib },
        vcpu: spec.vcpus,
        sysinfo: SysInfo {
            kind: "smbios",
            system: SysInfoSystem {
                entry: vec![
                    SysInfoEntry { name: "manufacturer", value: "Dwarfnova".into() },
                    // The word by which cloud-init and others know that they run in an OpenStack cloud.
                    SysInfoEntry { name: "product", value: "OpenStack Compute".into() },
                    SysInfoEntry { name: "serial", value: spec.id.to_string() },
                    SysInfoEntry { name: "uuid", value: spec.id.to_string() },
                    SysInfoEntry { name: "family", value: "Virtual Machine".into() },
                ],
            },
        },
        os: os(spec.firmware, &machine),
        features: Features {
            acpi: Empty {},
            apic: Empty {},
            smm: secure_boot.then_some(State { state: "on" }),
        },
        cpu: Cpu {
            mode: if kvm { "host-model" } else { "maximum" },
            topology: Topology { sockets: 1, cores: spec.vcpus, threads: 1 },
        },
        clock: Clock {
            offset: "utc",
            timer: vec![
                Timer { name: "rtc", tickpolicy: Some("catchup"), present: None },
                Timer { name: "pit", tickpolicy: Some("delay"), present: None },
                Timer { name: "hpet", tickpolicy: None, present: Some("no") },
            ],
        },
        on_poweroff: "destroy",
        on_reboot: "restart",
        on_crash: "destroy",
        // A guest that puts itself to sleep would look like one that hangs.
        pm: PowerManagement {
            suspend_to_mem: Enabled { enabled: "no" },
            suspend_to_disk: Enabled { enabled: "no" },
        },
        devices: Devices {
            disk: spec.disks.iter().map(|disk| disk_element(disk, rendering)).collect(),
            controller: controllers(spec, &machine),
            interface: spec.nics.iter().map(interface).collect(),
            serial: Serial {
                kind: "unix",
                source: SocketSource {
                    mode: "bind",
                    path: serial_socket(&spec.console_log).to_string_lossy().into_owned(),
                },
                log: Log { file: spec.console_log.to_string_lossy().into_owned(), append: "on" },
                target: PortTarget { port: 0 },
            },
            channel: Channel {
                kind: "unix",
                target: ChannelTarget { kind: "virtio", name: "org.qemu.guest_agent.0" },
            },
            input: has_display.then_some(Input { kind: "tablet", bus: "usb" }),
            // Nothing listens: the one way in is a descriptor that libvirt hands to us.
            graphics: has_display.then_some(Graphics { kind: "vnc", listen: Kind { kind: "none" } }),
            video: Video { model: Kind { kind: video_model(spec.video) } },
            memballoon: MemBalloon {
                model: "virtio",
                autodeflate: "on",
                free_page_reporting: "on",
                stats: StatsPeriod { period: 10 },
            },
            rng: Rng { model: "virtio", backend: RngBackend { model: "random", device: "/dev/urandom" } },
            // A kernel that panics says so here, and `on_crash` takes the guest down; without it, it would seem to run.
            panic_notifier: PanicNotifier { model: "isa" },
        },
    }
}

fn os(firmware: Firmware, machine: &str) -> Os {
    let (automatic, features) = match firmware {
        Firmware::Bios => (None, None),
        Firmware::Uefi { secure_boot } => {
            let enabled = if secure_boot { "yes" } else { "no" };
            let feature =
                ["enrolled-keys", "secure-boot"].map(|name| FirmwareFeature { enabled, name }).to_vec();
            (Some("efi"), Some(FirmwareFeatures { feature }))
        }
    };
    Os {
        firmware: automatic,
        kind: OsType { arch: "x86_64", machine: machine.into(), value: "hvm" },
        firmware_features: features,
        smbios: Mode { mode: "sysinfo" },
    }
}

fn is_pcie(machine: &str) -> bool {
    machine.contains("q35")
}

/// Controllers that libvirt would not add by itself, and as many PCIe ports as devices take, and the spare ones.
fn controllers(spec: &DomainSpec, machine: &str) -> Vec<Controller> {
    let mut controllers = Vec::new();
    if spec.disks.iter().any(|disk| disk.bus == DiskBus::Scsi) {
        controllers.push(Controller { kind: "scsi", index: None, model: "virtio-scsi" });
    }
    if spec.video != VideoModel::None || spec.disks.iter().any(|disk| disk.bus == DiskBus::Usb) {
        controllers.push(Controller { kind: "usb", index: None, model: "qemu-xhci" });
    } else {
        controllers.push(Controller { kind: "usb", index: None, model: "none" });
    }
    if is_pcie(machine) {
        let disks = spec.disks.iter().filter(|disk| disk.bus == DiskBus::Virtio).count();
        let nics = spec.nics.iter().filter(|nic| nic.model.is_pcie()).count();
        let added = controllers.iter().filter(|controller| controller.model != "none").count();
        // The channel's virtio-serial, the balloon and the random source.
        let always = 3;
        // Video cards sit on the root bus.
        let taken = disks + nics + added + always;
        let spare = usize::try_from(spec.spare_ports).unwrap_or(usize::MAX);
        controllers.extend(
            // Number 0 is the root complex, which libvirt adds.
            (1..=taken.saturating_add(spare)).map(|index| Controller {
                kind: "pci",
                index: Some(index),
                model: "pcie-root-port",
            }),
        );
    }
    controllers
}

fn disk_element(disk: &DiskSpec, rendering: &Rendering) -> Disk {
    let cdrom = disk.device == DiskDevice::Cdrom;
    // A read-only disk has nothing to lose and gains from the host's cache.
    let direct = !cdrom && !disk.read_only && !rendering.buffered.contains(&disk.path);
    Disk {
        kind: "file",
        device: if cdrom { "cdrom" } else { "disk" },
        driver: DiskDriver {
            name: "qemu",
            kind: format_name(disk.format),
            cache: if direct { "none" } else { "writeback" },
            discard: (!cdrom && !disk.read_only).then_some("unmap"),
        },
        source: file_source(&disk.path, rendering),
        backing_store: backing_store(rendering.layers.get(&disk.path).map_or(&[], Vec::as_slice), rendering),
        target: DiskTarget {
            dev: disk.target.clone(),
            bus: match disk.bus {
                DiskBus::Virtio => "virtio",
                DiskBus::Scsi => "scsi",
                DiskBus::Sata => "sata",
                DiskBus::Ide => "ide",
                DiskBus::Usb => "usb",
            },
        },
        read_only: (cdrom || disk.read_only).then_some(Empty {}),
        serial: disk.serial.clone(),
        boot: disk.boot_order.map(|order| Boot { order }),
        alias: disk.name.as_ref().map(|name| Alias { name: format!("{ALIAS_PREFIX}{name}") }),
    }
}

fn format_name(format: DiskFormat) -> &'static str {
    match format {
        DiskFormat::Raw => "raw",
        DiskFormat::Qcow2 => "qcow2",
    }
}

fn file_source(path: &Path, rendering: &Rendering) -> FileSource {
    let keep = rendering.keep_owner.contains(path);
    FileSource {
        file: path.to_string_lossy().into_owned(),
        label: keep.then_some(SecurityLabel { model: "dac", relabel: "no" }),
    }
}

/// The layers below a disk. The last one is followed by an empty element, so that libvirt does not look for more in its
/// bytes.
fn backing_store(layers: &[Layer], rendering: &Rendering) -> Option<BackingStore> {
    layers.iter().rfold(None, |below, layer| {
        Some(BackingStore {
            kind: Some("file"),
            format: Some(BackingFormat { kind: format_name(layer.format) }),
            source: Some(file_source(&layer.path, rendering)),
            below: Some(Box::new(below.unwrap_or_default())),
        })
    })
}

impl NicModel {
    fn name(self) -> &'static str {
        match self {
            Self::Virtio => "virtio",
            Self::E1000 => "e1000",
            Self::E1000e => "e1000e",
            Self::Rtl8139 => "rtl8139",
        }
    }

    /// Whether it takes a PCIe port on q35; the older cards go behind a PCI bridge that libvirt adds.
    fn is_pcie(self) -> bool {
        match self {
            Self::Virtio | Self::E1000e => true,
            Self::E1000 | Self::Rtl8139 => false,
        }
    }
}

fn video_model(model: VideoModel) -> &'static str {
    match model {
        VideoModel::Virtio => "virtio",
        VideoModel::Vga => "vga",
        VideoModel::Qxl => "qxl",
        VideoModel::Cirrus => "cirrus",
        VideoModel::Bochs => "bochs",
        VideoModel::None => "none",
    }
}

fn interface(nic: &NicSpec) -> Interface {
    // What the guest may send is for the host's networks to say, which know the tap by its name.
    let (kind, source, target) = match &nic.attachment {
        NicAttachment::User => ("user", None, None),
        NicAttachment::HostNetwork { name } => (
            "network",
            Some(NetworkSource { network: name.clone() }),
            Some(DeviceTarget { dev: tap_name(nic.port) }),
        ),
    };
    Interface {
        kind,
        mac: Mac { address: nic.mac.clone() },
        source,
        target,
        model: Kind { kind: nic.model.name() },
        // libvirt knows no MTU for user-mode networking, which answers for itself.
        mtu: nic.mtu.filter(|_| kind == "network").map(|size| Mtu { size }),
    }
}

#[cfg(test)]
#[path = "domain_xml_tests.rs"]
mod tests;
