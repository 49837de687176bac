//! What a caller asks for when rebuilding a server: plain data, no microversions, no JSON.

use super::{DiskConfig, InjectedFile};
use crate::core::ids::ImageId;
use crate::core::secret::Secret;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A request for fresh disks from an image. `None` leaves a field as it is; `Some(None)` clears it.
#[derive(Debug, Clone)]
pub struct RebuildServer {
    /// `None` for a name that no image can have.
    pub image_id: Option<ImageId>,
    pub name: Option<String>,
    pub description: Option<Option<String>>,
    pub hostname: Option<String>,
    /// `None`: one is made.
    pub admin_password: Option<Secret>,
    /// Takes the place of all that there was.
    pub metadata: Option<BTreeMap<String, String>>,
    /// For the new guest alone.
    pub personality: Vec<InjectedFile>,
    /// Whether the ephemeral disk stays as it is.
    pub keep_ephemeral: bool,
    pub access_ip_v4: Option<Ipv4Addr>,
    pub access_ip_v6: Option<Ipv6Addr>,
    pub disk_config: Option<DiskConfig>,
    pub key_name: Option<Option<String>>,
    /// Base64, checked.
    pub user_data: Option<Option<String>>,
    pub trusted_certificates: Option<Option<Vec<String>>>,
}
