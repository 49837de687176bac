//! The one builder of domain XML: a pure function from a spec to the document that libvirt gets.
//!
//! Text that tenants chose stands only in escaped text nodes of our own metadata element; names, paths and
//! addresses elsewhere are made by us. No I/O: what depends on the host is passed in as [`Rendering`].

use crate::host::disk::Layer;
use crate::host::hypervisor::spec::{
    DiskBus, DiskDevice, DiskFormat, DiskSpec, DomainSpec, Firmware, NicAttachment, NicModel, NicSpec,
    VideoModel,
};
use crate::host::net::tap_name;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The namespace of our metadata element, the mark by which we know a domain as ours.
pub const MARK_NAMESPACE: &str = "urn:dwarfnova:domain:1";

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

/// An element that says all by being there.
#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct Kind {
    #[serde(rename = "@type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct State {
    #[serde(rename = "@state")]
    state: &'static str,
}

#[derive(Serialize)]
struct Mode {
    #[serde(rename = "@mode")]
    mode: &'static str,
}

#[derive(Serialize)]
struct Enabled {
    #[serde(rename = "@enabled")]
    enabled: &'static str,
}

#[derive(Serialize)]
#[serde(rename = "domain")]
struct Domain {
    #[serde(rename = "@type")]
    virt_type: &'static str,
    name: String,
    uuid: String,
    metadata: Metadata,
    memory: Amount,
    vcpu: u32,
    sysinfo: SysInfo,
    os: Os,
    features: Features,
    cpu: Cpu,
    clock: Clock,
    on_poweroff: &'static str,
    on_reboot: &'static str,
    on_crash: &'static str,
    pm: PowerManagement,
    devices: Devices,
}

#[derive(Serialize)]
struct Metadata {
    #[serde(rename = "dwarfnova:instance")]
    instance: InstanceMark,
}

#[derive(Serialize)]
struct InstanceMark {
    #[serde(rename = "@xmlns:dwarfnova")]
    namespace: &'static str,
    #[serde(rename = "@owner")]
    owner: String,
    #[serde(rename = "dwarfnova:name")]
    name: String,
    #[serde(rename = "dwarfnova:flavor")]
    flavor: String,
    #[serde(rename = "dwarfnova:project")]
    project: String,
    #[serde(rename = "dwarfnova:user")]
    user: String,
}

#[derive(Serialize)]
struct Amount {
    #[serde(rename = "@unit")]
    unit: &'static str,
    #[serde(rename = "$text")]
    value: u64,
}

#[derive(Serialize)]
struct SysInfo {
    #[serde(rename = "@type")]
    kind: &'static str,
    system: SysInfoSystem,
}

#[derive(Serialize)]
struct SysInfoSystem {
    entry: Vec<SysInfoEntry>,
}

#[derive(Serialize)]
struct SysInfoEntry {
    #[serde(rename = "@name")]
    name: &'static str,
    #[serde(rename = "$text")]
    value: String,
}

#[derive(Serialize)]
struct Os {
    #[serde(rename = "@firmware", skip_serializing_if = "Option::is_none")]
    firmware: Option<&'static str>,
    #[serde(rename = "type")]
    kind: OsType,
    #[serde(rename = "firmware", skip_serializing_if = "Option::is_none")]
    firmware_features: Option<FirmwareFeatures>,
    smbios: Mode,
}

#[derive(Serialize)]
struct OsType {
    #[serde(rename = "@arch")]
    arch: &'static str,
    #[serde(rename = "@machine")]
    machine: String,
    #[serde(rename = "$text")]
    value: &'static str,
}

#[derive(Serialize)]
struct FirmwareFeatures {
    feature: Vec<FirmwareFeature>,
}

#[derive(Serialize, Clone)]
struct FirmwareFeature {
    #[serde(rename = "@enabled")]
    enabled: &'static str,
    #[serde(rename = "@name")]
    name: &'static str,
}

#[derive(Serialize)]
struct Features {
    acpi: Empty,
    apic: Empty,
    #[serde(skip_serializing_if = "Option::is_none")]
    smm: Option<State>,
}

#[derive(Serialize)]
struct Cpu {
    #[serde(rename = "@mode")]
    mode: &'static str,
    topology: Topology,
}

#[derive(Serialize)]
struct Topology {
    #[serde(rename = "@sockets")]
    sockets: u32,
    #[serde(rename = "@cores")]
    cores: u32,
    #[serde(rename = "@threads")]
    threads: u32,
}

#[derive(Serialize)]
struct Clock {
    #[serde(rename = "@offset")]
    offset: &'static str,
    timer: Vec<Timer>,
}

#[derive(Serialize)]
struct Timer {
    #[serde(rename = "@name")]
    name: &'static str,
    #[serde(rename = "@tickpolicy", skip_serializing_if = "Option::is_none")]
    tickpolicy: Option<&'static str>,
    #[serde(rename = "@present", skip_serializing_if = "Option::is_none")]
    present: Option<&'static str>,
}

#[derive(Serialize)]
struct PowerManagement {
    #[serde(rename = "suspend-to-mem")]
    suspend_to_mem: Enabled,
    #[serde(rename = "suspend-to-disk")]
    suspend_to_disk: Enabled,
}

#[derive(Serialize)]
struct Devices {
    disk: Vec<Disk>,
    controller: Vec<Controller>,
    interface: Vec<Interface>,
    serial: Serial,
    channel: Channel,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Input>,
    #[serde(skip_serializing_if = "Option::is_none")]
    graphics: Option<Graphics>,
    video: Video,
    memballoon: MemBalloon,
    rng: Rng,
}

#[derive(Serialize)]
struct Disk {
    #[serde(rename = "@type")]
    kind: &'static str,
    #[serde(rename = "@device")]
    device: &'static str,
    driver: DiskDriver,
    source: FileSource,
    #[serde(rename = "backingStore", skip_serializing_if = "Option::is_none")]
    backing_store: Option<BackingStore>,
    target: DiskTarget,
    #[serde(rename = "readonly", skip_serializing_if = "Option::is_none")]
    read_only: Option<Empty>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot: Option<Boot>,
}

#[derive(Serialize)]
struct DiskDriver {
    #[serde(rename = "@name")]
    name: &'static str,
    #[serde(rename = "@type")]
    kind: &'static str,
    #[serde(rename = "@cache")]
    cache: &'static str,
    #[serde(rename = "@discard", skip_serializing_if = "Option::is_none")]
    discard: Option<&'static str>,
}

#[derive(Serialize)]
struct FileSource {
    #[serde(rename = "@file")]
    file: String,
    #[serde(rename = "seclabel", skip_serializing_if = "Option::is_none")]
    label: Option<SecurityLabel>,
}

#[derive(Serialize)]
struct SecurityLabel {
    #[serde(rename = "@model")]
    model: &'static str,
    #[serde(rename = "@relabel")]
    relabel: &'static str,
}

#[derive(Default, Serialize)]
struct BackingStore {
    #[serde(rename = "@type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<BackingFormat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<FileSource>,
    #[serde(rename = "backingStore", skip_serializing_if = "Option::is_none")]
    below: Option<Box<BackingStore>>,
}

#[derive(Serialize)]
struct BackingFormat {
    #[serde(rename = "@type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct DiskTarget {
    #[serde(rename = "@dev")]
    dev: String,
    #[serde(rename = "@bus")]
    bus: &'static str,
}

#[derive(Serialize)]
struct Boot {
    #[serde(rename = "@order")]
    order: u32,
}

#[derive(Serialize)]
struct Controller {
    #[serde(rename = "@type")]
    kind: &'static str,
    #[serde(rename = "@index", skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    #[serde(rename = "@model")]
    model: &'static str,
}

#[derive(Serialize)]
struct Interface {
    #[serde(rename = "@type")]
    kind: &'static str,
    mac: Mac,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<NetworkSource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<DeviceTarget>,
    model: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<Mtu>,
}

#[derive(Serialize)]
struct Mac {
    #[serde(rename = "@address")]
    address: String,
}

#[derive(Serialize)]
struct NetworkSource {
    #[serde(rename = "@network")]
    network: String,
}

#[derive(Serialize)]
struct DeviceTarget {
    #[serde(rename = "@dev")]
    dev: String,
}

#[derive(Serialize)]
struct Mtu {
    #[serde(rename = "@size")]
    size: u32,
}

#[derive(Serialize)]
struct Serial {
    #[serde(rename = "@type")]
    kind: &'static str,
    source: SocketSource,
    log: Log,
    target: PortTarget,
}

#[derive(Serialize)]
struct SocketSource {
    #[serde(rename = "@mode")]
    mode: &'static str,
    #[serde(rename = "@path")]
    path: String,
}

#[derive(Serialize)]
struct Log {
    #[serde(rename = "@file")]
    file: String,
    #[serde(rename = "@append")]
    append: &'static str,
}

#[derive(Serialize)]
struct PortTarget {
    #[serde(rename = "@port")]
    port: u32,
}

#[derive(Serialize)]
struct Channel {
    #[serde(rename = "@type")]
    kind: &'static str,
    target: ChannelTarget,
}

#[derive(Serialize)]
struct ChannelTarget {
    #[serde(rename = "@type")]
    kind: &'static str,
    #[serde(rename = "@name")]
    name: &'static str,
}

#[derive(Serialize)]
struct Input {
    #[serde(rename = "@type")]
    kind: &'static str,
    #[serde(rename = "@bus")]
    bus: &'static str,
}

#[derive(Serialize)]
struct Graphics {
    #[serde(rename = "@type")]
    kind: &'static str,
    listen: Kind,
}

#[derive(Serialize)]
struct Video {
    model: Kind,
}

#[derive(Serialize)]
struct MemBalloon {
    #[serde(rename = "@model")]
    model: &'static str,
    #[serde(rename = "@autodeflate")]
    autodeflate: &'static str,
    #[serde(rename = "@freePageReporting")]
    free_page_reporting: &'static str,
    stats: StatsPeriod,
}

#[derive(Serialize)]
struct StatsPeriod {
    #[serde(rename = "@period")]
    period: u32,
}

#[derive(Serialize)]
struct Rng {
    #[serde(rename = "@model")]
    model: &'static str,
    backend: RngBackend,
}

#[derive(Serialize)]
struct RngBackend {
    #[serde(rename = "@model")]
    model: &'static str,
    #[serde(rename = "$text")]
    device: &'static str,
}

#[cfg(test)]
#[path = "domain_xml_tests.rs"]
mod tests;
