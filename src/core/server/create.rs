//! What a caller asks for when creating servers: plain data, no microversions, no JSON.

use super::disks::{BlankDisk, DiskWish};
use super::{DiskConfig, InjectedFile};
use crate::core::ids::{ImageId, ServerId};
use crate::core::port::Networking;
use crate::core::secret::Secret;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A request for one or several alike servers. Syntax was checked; whether the things named exist was not.
#[derive(Debug, Clone)]
pub struct CreateServer {
    pub name: String,
    /// Before microversion 2.19 the caller passes the name here.
    pub description: Option<String>,
    /// `None`: made from the name.
    pub hostname: Option<String>,
    pub image_id: Option<ImageId>,
    pub local_disks: LocalDisks,
    pub flavor_id: String,
    pub networks: Networking,
    /// Names or ids; empty means the project's `default`.
    pub security_groups: Vec<String>,
    pub key_name: Option<String>,
    pub availability_zone: Option<String>,
    /// Admins only, from microversion 2.74.
    pub requested_host: Option<String>,
    pub requested_hypervisor_hostname: Option<String>,
    pub metadata: BTreeMap<String, String>,
    pub tags: Vec<String>,
    /// `None` when the caller did not say.
    pub config_drive: Option<bool>,
    /// Base64, checked.
    pub user_data: Option<String>,
    pub personality: Vec<InjectedFile>,
    /// `None`: one is made.
    pub admin_password: Option<Secret>,
    pub access_ip_v4: Option<Ipv4Addr>,
    pub access_ip_v6: Option<Ipv6Addr>,
    pub disk_config: Option<DiskConfig>,
    /// A JSON object; `{}` for none.
    pub scheduler_hints: String,
    pub trusted_certificates: Option<Vec<String>>,
    /// At least 1.
    pub min_count: u32,
    /// At least `min_count`.
    pub max_count: u32,
}

/// The disks that a caller asks for. What the flavor gives and nobody asks for is made in any case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalDisks {
    /// How many there are, the root disk counted if it is among them.
    pub count: usize,
    pub root: DiskWish,
    pub ephemeral: Vec<BlankDisk>,
    pub swap: Vec<BlankDisk>,
}

/// What was made.
#[derive(Debug, Clone)]
pub struct CreatedServers {
    pub reservation_id: String,
    /// In launch order; at least one.
    pub ids: Vec<ServerId>,
    pub admin_password: Secret,
    pub disk_config: DiskConfig,
}

/// A change of a server's plain fields. `None` leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpdateServer {
    pub name: Option<String>,
    /// `Some(None)` clears it.
    pub description: Option<Option<String>>,
    pub hostname: Option<String>,
    pub access_ip_v4: Option<Option<Ipv4Addr>>,
    pub access_ip_v6: Option<Option<Ipv6Addr>>,
    pub disk_config: Option<DiskConfig>,
    /// `Some(None)` unpins.
    pub pinned_zone: Option<Option<String>>,
}

/// A change of a server's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataChange {
    /// Adds and overwrites.
    Merge(BTreeMap<String, String>),
    Replace(BTreeMap<String, String>),
}
