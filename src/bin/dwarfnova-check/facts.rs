//! What was found, in plain values: rows, files, domains, networks, processes. No rule is in here.

use ipnet::Ipv4Net;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// Everything that one look found.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub rows: Rows,
    pub tree: Tree,
    pub host: Host,
    /// Microseconds since the epoch.
    pub now: i64,
}

/// The database.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// The id that marks what this installation made.
    pub installation: String,
    /// What SQLite's own checks complained of.
    pub damage: Vec<String>,
    pub schema: u32,
    pub wal_bytes: u64,
    pub servers: Vec<Server>,
    pub ports: Vec<Port>,
    pub groups: Vec<Group>,
    pub subnets: Vec<Subnet>,
    pub images: Vec<Image>,
    /// Those that are open or stuck.
    pub tasks: Vec<Task>,
    pub actions: Vec<Action>,
    pub usage: Vec<Usage>,
    pub server_groups: Vec<ServerGroup>,
    /// The servers that have console tokens.
    pub console_tokens: Vec<String>,
    /// Tokens whose user or scope is gone.
    pub lost_tokens: u64,
}

/// Servers that are to be near each other, or apart.
#[derive(Debug, Clone, Default)]
pub struct ServerGroup {
    pub id: String,
    /// Of a group whose servers are to be apart.
    pub most_on_a_host: Option<u64>,
    pub members: Vec<String>,
}

impl Rows {
    pub fn server(&self, id: &str) -> Option<&Server> {
        self.servers.iter().find(|server| server.id == id)
    }

    /// Those that are not deleted.
    pub fn living(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().filter(|server| server.deleted_at.is_none())
    }

    pub fn open_task(&self, subject: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| task.subject == subject && task.status != "stuck")
    }

    /// The NICs of a server in their order.
    pub fn nics(&self, server: &str) -> Vec<&Port> {
        let mut nics: Vec<&Port> = self.ports.iter().filter(|port| port.is_of(server)).collect();
        nics.sort_by_key(|port| port.nic_index);
        nics
    }
}

#[derive(Debug, Clone, Default)]
pub struct Server {
    pub number: i64,
    pub id: String,
    pub project: String,
    pub hostname: String,
    pub vm_state: String,
    pub task_state: Option<String>,
    pub power_state: i64,
    pub host: Option<String>,
    pub image: Option<String>,
    pub image_format: Option<String>,
    pub properties: BTreeMap<String, String>,
    pub vcpus: u64,
    pub ram_mib: u64,
    pub disk_gib: u64,
    pub ephemeral_gib: u64,
    pub swap_mib: u64,
    pub config_drive: bool,
    /// What was wished for its own disks.
    pub disks: Value,
    /// What it remembers while it is resized, rescued, shelved.
    pub resize: Option<Value>,
    pub rescue: Option<Value>,
    pub shelved: Option<Value>,
    pub soft_deleted: bool,
    pub launched: bool,
    pub has_fault: bool,
    pub deleted_at: Option<i64>,
}

impl Server {
    /// The sizes of its ephemeral disks in GiB, in their order.
    pub fn ephemeral_disks(&self) -> Vec<u64> {
        let asked = self.disks["ephemeral"].as_array().map_or(&[] as &[Value], Vec::as_slice);
        let size =
            |disk: &Value| disk["size"].as_u64().filter(|size| *size > 0).unwrap_or(self.ephemeral_gib);
        let sizes =
            if asked.is_empty() { vec![self.ephemeral_gib] } else { asked.iter().map(size).collect() };
        sizes.into_iter().filter(|size| *size > 0).collect()
    }

    /// The size of its swap disk in MiB; 0 for none.
    pub fn swap_disk(&self) -> u64 {
        let asked = self.disks["swap"]["size"].as_u64().filter(|size| *size > 0);
        asked.map_or(self.swap_mib, |size| size.min(self.swap_mib))
    }

    /// The name of its domain.
    pub fn domain_name(&self) -> String {
        format!("instance-{:08x}", self.number)
    }
}

#[derive(Debug, Clone, Default)]
pub struct Port {
    pub id: String,
    pub network: String,
    pub mac: String,
    /// In their order.
    pub addresses: Vec<Ipv4Addr>,
    pub device: String,
    pub device_owner: String,
    pub nic_index: i64,
    /// Whether it is bound to a node.
    pub bound: bool,
    /// Whether it has port security.
    pub secured: bool,
    /// MACs and addresses that it may use besides its own.
    pub pairs: Vec<(String, Ipv4Net)>,
    /// The ids of its security groups.
    pub groups: Vec<String>,
}

/// A security group.
#[derive(Debug, Clone, Default)]
pub struct Group {
    pub id: String,
    pub stateful: bool,
    pub rules: Vec<Rule>,
}

/// A rule of a security group.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// `ingress` or `egress`.
    pub direction: String,
    /// `IPv4` or `IPv6`.
    pub ethertype: String,
    pub protocol: Option<String>,
    pub port_min: Option<u16>,
    pub port_max: Option<u16>,
    pub remote_prefix: Option<String>,
    pub remote_group: Option<String>,
}

impl Port {
    /// Whether it is a NIC of this server.
    pub fn is_of(&self, server: &str) -> bool {
        self.device == server && self.is_compute()
    }

    /// Whether it belongs to a server.
    pub fn is_compute(&self) -> bool {
        self.device_owner.starts_with("compute:")
    }

    /// The name of its device on the host.
    pub fn tap(&self) -> String {
        format!("tap{}", self.id.get(..11).unwrap_or_default())
    }
}

#[derive(Debug, Clone, Default)]
pub struct Subnet {
    pub network: String,
    pub cidr: String,
    pub gateway: Option<Ipv4Addr>,
    pub dhcp: bool,
}

#[derive(Debug, Clone, Default)]
pub struct Image {
    pub id: String,
    pub status: String,
    pub file_format: Option<String>,
    pub size: Option<u64>,
    pub sha512: Option<String>,
    pub deleted_at: Option<i64>,
}

#[derive(Debug, Clone, Default)]
pub struct Task {
    pub id: i64,
    pub workflow: String,
    pub subject: String,
    pub status: String,
    /// The state of the workflow as JSON text.
    pub state: String,
    pub not_before: i64,
    pub updated_at: i64,
}

impl Task {
    /// Whether it is put off for longer than a failed step is.
    pub fn is_waiting(&self, now: i64) -> bool {
        const LONGEST_RETRY: i64 = 60 * 1_000_000;
        self.status == "pending" && self.not_before > now + LONGEST_RETRY
    }
}

#[derive(Debug, Clone, Default)]
pub struct Action {
    pub number: i64,
    pub server: String,
    pub action: String,
    pub message: Option<String>,
    pub started_at: i64,
    pub events: Vec<Event>,
}

#[derive(Debug, Clone, Default)]
pub struct Event {
    pub event: String,
    pub started_at: i64,
    pub finished_at: Option<i64>,
    pub result: Option<String>,
}

/// A counter of what servers take up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// `project` or `host`.
    pub scope: String,
    pub id: String,
    pub instances: i64,
    pub cores: i64,
    pub ram_mib: i64,
    pub disk_mib: i64,
}

/// The state folder.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// Absolute, with no symbolic link in it.
    pub root: PathBuf,
    /// Everything below, by its path relative to the root.
    pub entries: BTreeMap<String, Entry>,
    /// What `qemu-img check` said of disks that were off and not clean.
    pub unclean: BTreeMap<String, String>,
    /// SHA-512 of images, where it was asked for.
    pub digests: BTreeMap<String, String>,
}

impl Tree {
    pub fn path(&self, name: &str) -> String {
        self.root.join(name).to_string_lossy().into_owned()
    }

    /// The path relative to the root, of something below it.
    pub fn name<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(self.root.to_string_lossy().as_ref())?.strip_prefix('/')
    }

    pub fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The names in a folder.
    pub fn list<'t>(&'t self, folder: &str) -> impl Iterator<Item = &'t str> {
        let prefix = format!("{folder}/");
        self.entries
            .keys()
            .filter_map(move |name| name.strip_prefix(prefix.as_str()).filter(|rest| !rest.contains('/')))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    #[default]
    File,
    Folder,
    Socket,
    /// Links, devices, pipes: nothing that Dwarfnova makes.
    Other,
}

#[derive(Debug, Clone, Default)]
pub struct Entry {
    pub kind: Kind,
    pub bytes: u64,
    /// Permission bits.
    pub mode: u32,
    /// When its name, owner or content last changed, in microseconds since the epoch.
    pub changed_at: i64,
    /// For files that begin as QCOW2 does.
    pub qcow2: Option<Qcow2>,
}

/// What the header of a QCOW2 file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Qcow2 {
    pub virtual_bytes: u64,
    pub backing: Option<String>,
    pub backing_format: Option<String>,
    /// Whether an external data file is named.
    pub external_data: bool,
}

/// The machine outside of the state folder.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// Whether guests are on networks of the host; not so for `qemu:///session`.
    pub bridged: bool,
    pub domains: Vec<Domain>,
    pub networks: Vec<Network>,
    /// Our tables of the packet filter, by name.
    pub guards: BTreeMap<String, Guard>,
    /// By the name of the network on the host: file name to content.
    pub reservations: BTreeMap<String, BTreeMap<String, String>>,
    /// By the name of the network on the host.
    pub leases: BTreeMap<String, Vec<Lease>>,
    /// Processes of dnsmasq, by the name of the network on the host.
    pub dnsmasq: BTreeMap<String, usize>,
    /// The devices on a bridge, by the bridge's name.
    pub bridges: BTreeMap<String, BTreeSet<String>>,
    pub processes: Vec<Process>,
    /// Processes that have the database open, and whether it was removed under them.
    pub openers: BTreeMap<u32, bool>,
    /// Loop devices and mounts of files in the state folder.
    pub mounts: Vec<String>,
    /// Files of libvirt's that are named after a domain: firmware variables, saved memory, snapshots.
    pub leftovers: BTreeMap<String, Vec<String>>,
}

impl Host {
    pub fn domain(&self, uuid: &str) -> Option<&Domain> {
        self.domains.iter().find(|domain| domain.uuid == uuid)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Power {
    Running,
    /// By its owner or by us.
    Paused,
    /// By QEMU, which could not write.
    PausedOnIoError,
    /// On its way down.
    ShuttingDown,
    #[default]
    Off,
    Crashed,
    /// A state that Dwarfnova never brings a guest into.
    Other,
}

#[derive(Debug, Clone, Default)]
pub struct Domain {
    pub uuid: String,
    pub name: String,
    /// The installation in the mark of Dwarfnova; `None` for domains of others.
    pub owner: Option<String>,
    pub persistent: bool,
    pub power: Power,
    pub has_managed_save: bool,
    /// What is stored for the next start.
    pub stored: Shape,
    /// What runs, while it does.
    pub live: Option<Shape>,
}

/// What a domain is made of, as far as rows say anything about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    pub memory_kib: u64,
    pub vcpus: u64,
    pub disks: Vec<Disk>,
    pub nics: Vec<Nic>,
    /// Paths of sockets of serial ports and addresses of displays: what must not be used twice.
    pub endpoints: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disk {
    pub target: String,
    pub path: String,
    pub format: String,
    pub serial: Option<String>,
    pub read_only: bool,
    /// The layers below it, nearest first.
    pub below: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nic {
    pub mac: String,
    /// `None` in user mode.
    pub network: Option<String>,
    pub tap: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub struct Network {
    pub name: String,
    pub uuid: String,
    pub owner: Option<String>,
    pub active: bool,
    pub persistent: bool,
    pub bridge: String,
    /// The host's address on it and the length of the prefix.
    pub address: Option<(Ipv4Addr, u8)>,
    /// Settings that libvirt hands to dnsmasq.
    pub dnsmasq: Vec<String>,
}

/// A table of the packet filter: what it consists of, as `chain honest`, and the lines of each. Elements of sets and maps
/// are lines too, which begin with `element`; those that packets put in themselves are not there.
pub type Guard = BTreeMap<String, Vec<String>>;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lease {
    pub mac: String,
    pub address: String,
    /// Seconds since the epoch.
    pub expires: i64,
}

#[derive(Debug, Clone, Default)]
pub struct Process {
    pub pid: u32,
    pub parent: u32,
    pub zombie: bool,
    pub command: Vec<String>,
}
