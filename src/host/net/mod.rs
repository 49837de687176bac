//! Networks on the machine: bridges with NAT and DHCP, and one reservation a port.
//!
//! Real: libvirt networks with dnsmasq, or user-mode networking for an ordinary user. Fake: for unprivileged tests.
//! Networks that do not carry our mark are never changed.

mod dhcp;
pub mod fake;
mod guard;
mod lease;
mod leftover;
pub mod libvirt;
mod network_xml;
mod ranges;
pub mod user;

use crate::core::firewall::{NetworkRules, Reading};
use crate::core::ids::{NetworkId, PortId};
use async_trait::async_trait;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// Why a call on the host's networks failed.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    #[error("network {0} does not exist on the host")]
    NotFound(NetworkId),
    /// Something that Dwarfnova did not create is in the way. It was not touched.
    #[error("{0}")]
    Foreign(String),
    #[error("no private IPv4 range is free on this host")]
    NoFreeRange,
    #[error(transparent)]
    Hypervisor(#[from] super::hypervisor::HypervisorError),
    #[error("{0}")]
    Failed(String),
}

/// How guests reach the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkMode {
    /// Bridges on the host with NAT and DHCP.
    Bridged,
    /// User-mode networking inside QEMU: no bridge, no metadata address, the same private address for all guests.
    User,
}

/// One IPv4 network with NAT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostNetworkSpec {
    pub id: NetworkId,
    /// The network with the host's own address in it (the guests' gateway), for example 10.71.0.0/24 and 10.71.0.1.
    pub cidr: Ipv4Net,
    pub gateway: Ipv4Addr,
    /// Whether DHCP is served. Only reserved addresses are given out.
    pub dhcp: bool,
    pub dns_servers: Vec<Ipv4Addr>,
    /// Bytes.
    pub mtu: u32,
    /// Every port that has to have a reservation; others are removed.
    pub ports: Vec<HostPortSpec>,
}

/// One DHCP reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPortSpec {
    pub id: PortId,
    /// Lower case, colons.
    pub mac: String,
    pub address: Ipv4Addr,
    /// A host label that has already been checked: letters, digits and inner hyphens.
    pub hostname: Option<String>,
}

/// Makes the host's networks what the store says.
#[async_trait]
pub trait HostNetwork: Send + Sync {
    fn mode(&self) -> NetworkMode;

    /// The name under which domains attach to the network.
    fn host_name(&self, id: NetworkId) -> String;

    /// A private /24 that overlaps with no address, route or libvirt network of this host and with none of `taken`.
    async fn free_range(&self, taken: &[Ipv4Net]) -> Result<Ipv4Net, NetError>;

    /// Whether a new network may have this range: it overlaps with no address, route or libvirt network of this host.
    async fn is_free(&self, range: Ipv4Net) -> Result<bool, NetError>;

    /// Ensures that the network exists, runs, and serves exactly the reservations in `spec`.
    async fn ensure_network(&self, spec: &HostNetworkSpec) -> Result<(), NetError>;

    /// Ensures that the network is gone, and its rules.
    async fn remove_network(&self, id: NetworkId) -> Result<(), NetError>;

    /// Ensures one reservation; replaces what the MAC or the address had before.
    async fn ensure_port(&self, network: NetworkId, port: &HostPortSpec) -> Result<(), NetError>;

    /// Ensures that the MAC has no reservation and no lease.
    async fn remove_port(&self, network: NetworkId, mac: &str) -> Result<(), NetError>;

    /// Makes what guests on the network may send and receive exactly this, also for those that run, unless rules of a later
    /// reading stand already. Ports that are not named pass everything. In user mode this does nothing.
    async fn ensure_rules(&self, reading: Reading, rules: NetworkRules) -> Result<(), NetError>;

    /// Lets go of what earlier versions filtered with, once everything has the rules of this one.
    async fn forget_older_rules(&self) -> Result<(), NetError>;

    /// Ensures that guests can reach 169.254.169.254 on this host. In user mode this does nothing.
    async fn ensure_metadata_address(&self) -> Result<(), NetError>;
}

/// The name on the host of a network of ours: the prefix tells people who made it.
fn host_name(id: NetworkId) -> String {
    format!("dwarfnova-{}", &id.0.simple().to_string()[..8])
}

/// The name of a port's device on the host, as OpenStack forms it.
pub fn tap_name(port: PortId) -> String {
    format!("tap{}", &port.to_string()[..11])
}
