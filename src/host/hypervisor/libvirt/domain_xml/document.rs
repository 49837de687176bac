//! The elements of a domain's document, in libvirt's words and order. Plain records; the builder beside fills them.

use serde::Serialize;

/// An element that says all by being there.
#[derive(Serialize)]
pub struct Empty {}

#[derive(Serialize)]
pub struct Kind {
    #[serde(rename = "@type")]
    pub kind: &'static str,
}

#[derive(Serialize)]
pub struct State {
    #[serde(rename = "@state")]
    pub state: &'static str,
}

#[derive(Serialize)]
pub struct Mode {
    #[serde(rename = "@mode")]
    pub mode: &'static str,
}

#[derive(Serialize)]
pub struct Enabled {
    #[serde(rename = "@enabled")]
    pub enabled: &'static str,
}

#[derive(Serialize)]
#[serde(rename = "domain")]
pub struct Domain {
    #[serde(rename = "@type")]
    pub virt_type: &'static str,
    pub name: String,
    pub uuid: String,
    pub metadata: Metadata,
    pub memory: Amount,
    pub vcpu: u32,
    pub sysinfo: SysInfo,
    pub os: Os,
    pub features: Features,
    pub cpu: Cpu,
    pub clock: Clock,
    pub on_poweroff: &'static str,
    pub on_reboot: &'static str,
    pub on_crash: &'static str,
    pub pm: PowerManagement,
    pub devices: Devices,
}

#[derive(Serialize)]
pub struct Metadata {
    #[serde(rename = "dwarfnova:instance")]
    pub instance: InstanceMark,
}

#[derive(Serialize)]
pub struct InstanceMark {
    #[serde(rename = "@xmlns:dwarfnova")]
    pub namespace: &'static str,
    #[serde(rename = "@owner")]
    pub owner: String,
    #[serde(rename = "dwarfnova:name")]
    pub name: String,
    #[serde(rename = "dwarfnova:flavor")]
    pub flavor: String,
    #[serde(rename = "dwarfnova:project")]
    pub project: String,
    #[serde(rename = "dwarfnova:user")]
    pub user: String,
}

#[derive(Serialize)]
pub struct Amount {
    #[serde(rename = "@unit")]
    pub unit: &'static str,
    #[serde(rename = "$text")]
    pub value: u64,
}

#[derive(Serialize)]
pub struct SysInfo {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    pub system: SysInfoSystem,
}

#[derive(Serialize)]
pub struct SysInfoSystem {
    pub entry: Vec<SysInfoEntry>,
}

#[derive(Serialize)]
pub struct SysInfoEntry {
    #[serde(rename = "@name")]
    pub name: &'static str,
    #[serde(rename = "$text")]
    pub value: String,
}

#[derive(Serialize)]
pub struct Os {
    #[serde(rename = "@firmware", skip_serializing_if = "Option::is_none")]
    pub firmware: Option<&'static str>,
    #[serde(rename = "type")]
    pub kind: OsType,
    #[serde(rename = "firmware", skip_serializing_if = "Option::is_none")]
    pub firmware_features: Option<FirmwareFeatures>,
    pub smbios: Mode,
}

#[derive(Serialize)]
pub struct OsType {
    #[serde(rename = "@arch")]
    pub arch: &'static str,
    #[serde(rename = "@machine")]
    pub machine: String,
    #[serde(rename = "$text")]
    pub value: &'static str,
}

#[derive(Serialize)]
pub struct FirmwareFeatures {
    pub feature: Vec<FirmwareFeature>,
}

#[derive(Serialize, Clone)]
pub struct FirmwareFeature {
    #[serde(rename = "@enabled")]
    pub enabled: &'static str,
    #[serde(rename = "@name")]
    pub name: &'static str,
}

#[derive(Serialize)]
pub struct Features {
    pub acpi: Empty,
    pub apic: Empty,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smm: Option<State>,
}

#[derive(Serialize)]
pub struct Cpu {
    #[serde(rename = "@mode")]
    pub mode: &'static str,
    pub topology: Topology,
}

#[derive(Serialize)]
pub struct Topology {
    #[serde(rename = "@sockets")]
    pub sockets: u32,
    #[serde(rename = "@cores")]
    pub cores: u32,
    #[serde(rename = "@threads")]
    pub threads: u32,
}

#[derive(Serialize)]
pub struct Clock {
    #[serde(rename = "@offset")]
    pub offset: &'static str,
    pub timer: Vec<Timer>,
}

#[derive(Serialize)]
pub struct Timer {
    #[serde(rename = "@name")]
    pub name: &'static str,
    #[serde(rename = "@tickpolicy", skip_serializing_if = "Option::is_none")]
    pub tickpolicy: Option<&'static str>,
    #[serde(rename = "@present", skip_serializing_if = "Option::is_none")]
    pub present: Option<&'static str>,
}

#[derive(Serialize)]
pub struct PowerManagement {
    #[serde(rename = "suspend-to-mem")]
    pub suspend_to_mem: Enabled,
    #[serde(rename = "suspend-to-disk")]
    pub suspend_to_disk: Enabled,
}

#[derive(Serialize)]
pub struct Devices {
    pub disk: Vec<Disk>,
    pub controller: Vec<Controller>,
    pub interface: Vec<Interface>,
    pub serial: Serial,
    pub channel: Channel,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Input>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graphics: Option<Graphics>,
    pub video: Video,
    pub memballoon: MemBalloon,
    pub rng: Rng,
    #[serde(rename = "panic")]
    pub panic_notifier: PanicNotifier,
}

#[derive(Serialize)]
pub struct Disk {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    #[serde(rename = "@device")]
    pub device: &'static str,
    pub driver: DiskDriver,
    pub source: FileSource,
    #[serde(rename = "backingStore", skip_serializing_if = "Option::is_none")]
    pub backing_store: Option<BackingStore>,
    pub target: DiskTarget,
    #[serde(rename = "readonly", skip_serializing_if = "Option::is_none")]
    pub read_only: Option<Empty>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot: Option<Boot>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<Alias>,
}

#[derive(Serialize)]
pub struct DiskDriver {
    #[serde(rename = "@name")]
    pub name: &'static str,
    #[serde(rename = "@type")]
    pub kind: &'static str,
    #[serde(rename = "@cache")]
    pub cache: &'static str,
    #[serde(rename = "@discard", skip_serializing_if = "Option::is_none")]
    pub discard: Option<&'static str>,
}

#[derive(Serialize)]
pub struct FileSource {
    #[serde(rename = "@file")]
    pub file: String,
    #[serde(rename = "seclabel", skip_serializing_if = "Option::is_none")]
    pub label: Option<SecurityLabel>,
}

#[derive(Serialize)]
pub struct SecurityLabel {
    #[serde(rename = "@model")]
    pub model: &'static str,
    #[serde(rename = "@relabel")]
    pub relabel: &'static str,
}

#[derive(Default, Serialize)]
pub struct BackingStore {
    #[serde(rename = "@type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<BackingFormat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<FileSource>,
    #[serde(rename = "backingStore", skip_serializing_if = "Option::is_none")]
    pub below: Option<Box<BackingStore>>,
}

#[derive(Serialize)]
pub struct BackingFormat {
    #[serde(rename = "@type")]
    pub kind: &'static str,
}

#[derive(Serialize)]
pub struct DiskTarget {
    #[serde(rename = "@dev")]
    pub dev: String,
    #[serde(rename = "@bus")]
    pub bus: &'static str,
}

#[derive(Serialize)]
pub struct Alias {
    #[serde(rename = "@name")]
    pub name: String,
}

#[derive(Serialize)]
pub struct Boot {
    #[serde(rename = "@order")]
    pub order: u32,
}

#[derive(Serialize)]
pub struct Controller {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    #[serde(rename = "@index", skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    #[serde(rename = "@model")]
    pub model: &'static str,
}

#[derive(Serialize)]
#[serde(rename = "interface")]
pub struct Interface {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    pub mac: Mac,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<NetworkSource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<DeviceTarget>,
    pub model: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Mtu>,
}

#[derive(Serialize)]
pub struct Mac {
    #[serde(rename = "@address")]
    pub address: String,
}

#[derive(Serialize)]
pub struct NetworkSource {
    #[serde(rename = "@network")]
    pub network: String,
}

#[derive(Serialize)]
pub struct DeviceTarget {
    #[serde(rename = "@dev")]
    pub dev: String,
}

#[derive(Serialize)]
pub struct Mtu {
    #[serde(rename = "@size")]
    pub size: u32,
}

#[derive(Serialize)]
pub struct Serial {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    pub source: SocketSource,
    pub log: Log,
    pub target: PortTarget,
}

#[derive(Serialize)]
pub struct SocketSource {
    #[serde(rename = "@mode")]
    pub mode: &'static str,
    #[serde(rename = "@path")]
    pub path: String,
}

#[derive(Serialize)]
pub struct Log {
    #[serde(rename = "@file")]
    pub file: String,
    #[serde(rename = "@append")]
    pub append: &'static str,
}

#[derive(Serialize)]
pub struct PortTarget {
    #[serde(rename = "@port")]
    pub port: u32,
}

#[derive(Serialize)]
pub struct Channel {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    pub target: ChannelTarget,
}

#[derive(Serialize)]
pub struct ChannelTarget {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    #[serde(rename = "@name")]
    pub name: &'static str,
}

#[derive(Serialize)]
pub struct Input {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    #[serde(rename = "@bus")]
    pub bus: &'static str,
}

#[derive(Serialize)]
pub struct Graphics {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    pub listen: Kind,
}

#[derive(Serialize)]
pub struct Video {
    pub model: Kind,
}

#[derive(Serialize)]
pub struct MemBalloon {
    #[serde(rename = "@model")]
    pub model: &'static str,
    #[serde(rename = "@autodeflate")]
    pub autodeflate: &'static str,
    #[serde(rename = "@freePageReporting")]
    pub free_page_reporting: &'static str,
    pub stats: StatsPeriod,
}

#[derive(Serialize)]
pub struct StatsPeriod {
    #[serde(rename = "@period")]
    pub period: u32,
}

#[derive(Serialize)]
pub struct Rng {
    #[serde(rename = "@model")]
    pub model: &'static str,
    pub backend: RngBackend,
}

#[derive(Serialize)]
pub struct RngBackend {
    #[serde(rename = "@model")]
    pub model: &'static str,
    #[serde(rename = "$text")]
    pub device: &'static str,
}

#[derive(Serialize)]
pub struct PanicNotifier {
    #[serde(rename = "@model")]
    pub model: &'static str,
}
