//! Networks and subnets: what they are, and what is said about them when something cannot be.
//!
//! IPv4 only, as the host's networks are. Knows nothing of who may see a network, of SQL or of the host.

mod addresses;
#[cfg(test)]
pub mod tests;

pub use addresses::{
    BadMac, HostRoute, Mac, Pool, address_seed, check_cidr, check_gateway, check_pools, default_pools,
    first_host, overlaps,
};

use super::error::{Error, Kind, Result};
use super::ids::{NetworkId, ProjectId, SubnetId};
use ipnet::Ipv4Net;
use jiff::Timestamp;
use std::fmt;
use std::net::Ipv4Addr;

/// The MTU of a network whose creator did not choose one, in bytes.
pub const DEFAULT_MTU: u32 = 1500;

/// A network that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNetwork {
    /// Another project's than the caller's, for admins.
    pub project_id: Option<ProjectId>,
    pub name: String,
    pub description: String,
    pub admin_state_up: bool,
    pub shared: bool,
    pub is_default: bool,
    /// Whether ports begin with port security.
    pub port_security: bool,
    /// Bytes.
    pub mtu: u32,
}

/// What somebody wants to change about a network; `None` leaves it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkChanges {
    pub name: Option<String>,
    pub description: Option<String>,
    pub admin_state_up: Option<bool>,
    pub shared: Option<bool>,
    pub is_default: Option<bool>,
    pub port_security: Option<bool>,
    /// Bytes.
    pub mtu: Option<u32>,
}

/// A subnet that somebody wants. It belongs to the project of its network unless an admin names another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSubnet {
    pub network_id: NetworkId,
    pub project_id: Option<ProjectId>,
    pub name: String,
    pub description: String,
    pub cidr: Ipv4Net,
    /// `None` takes the first address that a host may have.
    pub gateway_ip: Option<Ipv4Addr>,
    pub enable_dhcp: bool,
    /// `None` takes all addresses but the gateway's.
    pub allocation_pools: Option<Vec<Pool>>,
    pub dns_nameservers: Vec<Ipv4Addr>,
}

/// What somebody wants to change about a subnet; `None` leaves it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubnetChanges {
    pub name: Option<String>,
    pub description: Option<String>,
    pub gateway_ip: Option<Ipv4Addr>,
    pub enable_dhcp: Option<bool>,
    pub allocation_pools: Option<Vec<Pool>>,
    pub dns_nameservers: Option<Vec<Ipv4Addr>>,
}

/// What ports are attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    pub id: NetworkId,
    pub project_id: ProjectId,
    pub name: String,
    pub description: String,
    pub admin_state_up: bool,
    /// Whether every project may use it.
    pub shared: bool,
    /// Whether it leads outside, so that servers may not be attached by ordinary users.
    pub external: bool,
    pub is_default: bool,
    pub port_security_enabled: bool,
    /// Bytes.
    pub mtu: u32,
    pub tags: Vec<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub revision: i64,
}

impl Network {
    /// Whether a project that does not own it may see and use it.
    pub fn is_open(&self) -> bool {
        self.shared || self.external
    }
}

/// A range of addresses on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    pub id: SubnetId,
    pub network_id: NetworkId,
    pub project_id: ProjectId,
    pub name: String,
    pub description: String,
    pub cidr: Ipv4Net,
    pub gateway_ip: Option<Ipv4Addr>,
    pub enable_dhcp: bool,
    pub allocation_pools: Vec<Pool>,
    pub dns_nameservers: Vec<Ipv4Addr>,
    pub host_routes: Vec<HostRoute>,
    pub tags: Vec<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub revision: i64,
}

/// How many of a resource a project may have, by the network API's names. -1 is without limit.
pub const QUOTA_DEFAULTS: [(&str, i64); 9] = [
    ("network", 100),
    ("subnet", 100),
    ("subnetpool", -1),
    ("port", 500),
    ("router", 10),
    ("floatingip", 50),
    ("security_group", 10),
    ("security_group_rule", 100),
    ("rbac_policy", 10),
];

/// `Ok` when `more` of the resource still fit.
pub fn check_quota(resource: &str, limit: i64, used: i64, more: i64) -> Result<()> {
    if limit < 0 || used + more <= limit {
        return Ok(());
    }
    Err(Error::quota(format!("Quota exceeded for resources: ['{resource}'].")).with_class("OverQuota"))
}

/// The network API's general 400.
pub fn invalid_input(detail: impl fmt::Display) -> Error {
    Error::invalid(format!("Invalid input for operation: {detail}.")).with_class("InvalidInput")
}

pub fn network_not_found(id: impl fmt::Display) -> Error {
    Error::not_found(format!("Network {id} could not be found.")).with_class("NetworkNotFound")
}

pub fn subnet_not_found(id: impl fmt::Display) -> Error {
    Error::not_found(format!("Subnet {id} could not be found.")).with_class("SubnetNotFound")
}

pub fn addresses_exhausted(network: NetworkId) -> Error {
    Error::conflict(format!("No more IP addresses available on network {network}."))
        .with_class("IpAddressGenerationFailure")
}

pub fn address_in_use(network: NetworkId, address: Ipv4Addr) -> Error {
    Error::conflict(format!(
        "Unable to complete operation for network {network}. The IP address {address} is in use."
    ))
    .with_class("IpAddressInUse")
}

pub fn mac_in_use(network: NetworkId, mac: Mac) -> Error {
    Error::conflict(format!(
        "Unable to complete operation for network {network}. The mac address {mac} is in use."
    ))
    .with_class("MacAddressInUse")
}

pub fn address_not_on_network(address: impl fmt::Display) -> Error {
    Error::invalid(format!(
        "IP address {address} is not a valid IP for any of the subnets on the specified network."
    ))
    .with_class("InvalidIpForNetwork")
}

pub fn address_not_on_subnet(address: Ipv4Addr) -> Error {
    Error::invalid(format!("IP address {address} is not a valid IP for the specified subnet."))
        .with_class("InvalidIpForSubnet")
}

/// What the caller may not do here: the network API's 403.
pub fn not_authorized(rule: &str) -> Error {
    Error::new(Kind::Forbidden, format!("rule:{rule} is disallowed by policy"))
        .with_class("PolicyNotAuthorized")
}
