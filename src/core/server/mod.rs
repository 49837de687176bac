//! Servers: what they are, what may be asked of them, and what follows.
//!
//! Data and pure rules. `state` names the states, `decide` admits actions, `status` shows states, `image_meta` knows what
//! images may ask for, `disks` and `hints` what creators may, `observe` follows the host, `create` and `query` are what
//! callers ask for.

pub mod action;
pub mod create;
pub mod decide;
pub mod disks;
pub mod hints;
pub mod image_meta;
pub mod migration;
pub mod naming;
pub mod node;
pub mod observe;
pub mod query;
pub mod rebuild;
pub mod snapshot;
pub mod standing;
pub mod state;
pub mod status;
pub mod usage;

use super::ids::{ImageId, ProjectId, ServerGroupId, ServerId, UserId};
use super::port::ServerNic;
use disks::OwnDisks;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use standing::Standing;
use state::{PowerState, TaskState, VmState};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// A server as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Counts servers from 1; names the domain on the host.
    pub number: i64,
    pub id: ServerId,
    pub project_id: ProjectId,
    pub user_id: UserId,
    pub name: String,
    pub description: Option<String>,
    pub hostname: String,
    pub vm_state: VmState,
    pub task_state: Option<TaskState>,
    pub power_state: PowerState,
    /// Percent of the operation that is going on.
    pub progress: u8,
    /// The node that the server is on; `None` before it was placed.
    pub host: Option<String>,
    pub image_id: Option<ImageId>,
    /// The format that the image's file had, by the image API's name.
    pub image_format: Option<String>,
    /// The image's properties as they were at boot.
    pub image_properties: BTreeMap<String, String>,
    pub kernel_id: String,
    pub ramdisk_id: String,
    pub flavor: ServerFlavor,
    pub key: Option<ServerKey>,
    /// The zone that the creator asked for.
    pub pinned_zone: Option<String>,
    pub metadata: BTreeMap<String, String>,
    /// In alphabetical order.
    pub tags: Vec<String>,
    /// Whether the guest has a config drive.
    pub config_drive: bool,
    /// Base64, as it was given.
    pub user_data: Option<String>,
    pub personality: Vec<InjectedFile>,
    /// Names or ids of the security groups asked for at create.
    pub security_groups: Vec<String>,
    pub access_ip_v4: Option<Ipv4Addr>,
    pub access_ip_v6: Option<Ipv6Addr>,
    pub disk_config: DiskConfig,
    pub reservation_id: String,
    /// The place in its reservation, from 0.
    pub launch_index: u32,
    pub root_device_name: Option<String>,
    /// What its creator wished for its own disks.
    pub disks: OwnDisks,
    pub lock: Option<Lock>,
    /// A JSON object, as it was given.
    pub scheduler_hints: String,
    pub trusted_certificates: Option<Vec<String>>,
    /// What the guest posted to the metadata service.
    pub guest_password: String,
    pub resize: Option<Resize>,
    pub rescue: Option<Rescue>,
    pub shelved: Option<Shelved>,
    /// Since when the server waits to be reclaimed.
    pub soft_deleted_at: Option<Timestamp>,
    /// The smallest root disk that a resize may give it: the one that it was made with, or what its image asked for.
    pub min_disk_gib: u64,
    /// What its image asked for.
    pub min_ram_mib: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub launched_at: Option<Timestamp>,
    pub terminated_at: Option<Timestamp>,
    pub deleted_at: Option<Timestamp>,
}

impl Server {
    /// The name of the server's domain on the host: no text of a tenant's in it.
    pub fn instance_name(&self) -> String {
        instance_name(self.number)
    }

    /// The flavor that views show: while a resize is going on, still the old one.
    pub fn shown_flavor(&self) -> &ServerFlavor {
        match &self.resize {
            Some(resize) if resize.finished_at.is_none() => &resize.old_flavor,
            _ => &self.flavor,
        }
    }
}

/// `instance-` and eight hex digits, as Nova names domains.
pub fn instance_name(number: i64) -> String {
    format!("instance-{number:08x}")
}

/// The flavor as it was when the server was made or last resized.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerFlavor {
    pub id: String,
    pub name: String,
    pub vcpus: u32,
    pub ram_mib: u64,
    pub disk_gib: u64,
    pub ephemeral_gib: u64,
    pub swap_mib: u64,
    pub rxtx_factor: f64,
    pub extra_specs: BTreeMap<String, String>,
}

/// The key pair as it was when the server was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerKey {
    pub name: String,
    /// `ssh` or `x509`.
    pub kind: String,
    pub public: String,
}

/// A file that the creator wants inside the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InjectedFile {
    pub path: String,
    /// Base64, as it was given.
    pub contents: String,
}

/// Whether the guest's partitions follow the disk's size; kept because clients read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiskConfig {
    #[serde(rename = "AUTO")]
    Auto,
    #[serde(rename = "MANUAL")]
    Manual,
}

impl DiskConfig {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "AUTO",
            Self::Manual => "MANUAL",
        }
    }
}

/// What a server remembers from the moment on when its resize begins until it is confirmed or reverted. The server's own
/// flavor is the new one all the while, so that room and quota are taken when the resize is accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resize {
    /// Of its [`migration::Migration`]. The new layers of the disks carry it.
    pub number: i64,
    /// The flavor to go back to.
    pub old_flavor: ServerFlavor,
    /// `active` or `stopped`: what a revert goes back to.
    pub old_vm_state: VmState,
    /// When the new size was there to be looked at; `None` before.
    pub finished_at: Option<Timestamp>,
}

/// What a rescued server runs on, and how it was before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rescue {
    /// The image that the rescue disk stands on.
    pub image_id: ImageId,
    /// That image's format, by the image API's name.
    pub image_format: String,
    /// That image's properties.
    pub image_properties: BTreeMap<String, String>,
}

/// What a shelved server comes back from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shelved {
    /// The image that holds the root disk.
    pub image_id: ImageId,
    pub at: Timestamp,
}

/// Who locked a server, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    pub by: LockHolder,
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockHolder {
    Owner,
    Admin,
}

impl LockHolder {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
        }
    }
}

/// Why a server is in trouble, for its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub code: u16,
    pub message: String,
    /// For admins, and for owners when the code is not 500.
    pub details: String,
    pub created_at: Timestamp,
}

/// A volume that is attached to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachedVolume {
    pub volume_id: String,
    pub delete_on_termination: bool,
}

/// What the short list shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerListItem {
    pub id: ServerId,
    pub name: String,
}

/// What the full view of a server is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerDetail {
    pub server: Server,
    /// The stored fault, whatever the status; views show it only in ERROR and DELETED.
    pub fault: Option<Fault>,
    pub nics: Vec<ServerNic>,
    /// The names of the security groups of the server's ports, without doubles, in the ports' order.
    pub security_groups: Vec<String>,
    pub volumes: Vec<AttachedVolume>,
    /// How the node stands that it is on.
    pub standing: Arc<Standing>,
    /// The server group that it is in. Only looked up for the view of one server.
    pub server_group: Option<ServerGroupId>,
}

/// One accepted request that concerned a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionRecord {
    pub number: i64,
    pub server_id: ServerId,
    pub request_id: String,
    /// `create`, `delete`, `start`, ...
    pub action: String,
    /// `None` for what the host did by itself.
    pub user_id: Option<UserId>,
    pub project_id: Option<ProjectId>,
    pub started_at: Timestamp,
    pub updated_at: Timestamp,
    /// `Error` once an event failed.
    pub message: Option<String>,
}

/// One part of what an accepted request set going.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionEvent {
    pub event: String,
    pub host: Option<String>,
    pub started_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// `Success` or `Error`; `None` while it runs.
    pub result: Option<String>,
    pub traceback: Option<String>,
    pub details: Option<String>,
}

/// The `hostId` of answers: tells whether two servers of a project share a host, and nothing else.
pub fn host_id(project: &ProjectId, host: Option<&str>) -> String {
    use sha2::{Digest, Sha224};
    let Some(host) = host else { return String::new() };
    let mut hash = Sha224::new();
    hash.update(project.as_str());
    hash.update(host);
    hex::encode(hash.finalize())
}

/// An active, idle server with nothing special about it.
#[cfg(test)]
pub(crate) fn sample() -> Server {
    let at = super::clock::from_micros(1_700_000_000_000_000);
    Server {
        number: 1,
        id: ServerId::random(),
        project_id: "p".into(),
        user_id: "u".into(),
        name: "web".into(),
        description: None,
        hostname: "web".into(),
        vm_state: VmState::Active,
        task_state: None,
        power_state: PowerState::Running,
        progress: 0,
        host: Some("node".into()),
        image_id: None,
        image_format: None,
        image_properties: BTreeMap::new(),
        kernel_id: String::new(),
        ramdisk_id: String::new(),
        flavor: ServerFlavor {
            id: "1".into(),
            name: "m1.tiny".into(),
            vcpus: 1,
            ram_mib: 64,
            disk_gib: 1,
            ephemeral_gib: 0,
            swap_mib: 0,
            rxtx_factor: 1.0,
            extra_specs: BTreeMap::new(),
        },
        key: None,
        pinned_zone: None,
        metadata: BTreeMap::new(),
        tags: Vec::new(),
        config_drive: false,
        user_data: None,
        personality: Vec::new(),
        security_groups: Vec::new(),
        access_ip_v4: None,
        access_ip_v6: None,
        disk_config: DiskConfig::Manual,
        reservation_id: "r-00000000".into(),
        launch_index: 0,
        root_device_name: None,
        disks: OwnDisks::default(),
        lock: None,
        scheduler_hints: "{}".into(),
        trusted_certificates: None,
        guest_password: String::new(),
        resize: None,
        rescue: None,
        shelved: None,
        soft_deleted_at: None,
        min_disk_gib: 0,
        min_ram_mib: 0,
        created_at: at,
        updated_at: at,
        launched_at: Some(at),
        terminated_at: None,
        deleted_at: None,
    }
}
