//! Ports: the places where servers are attached to networks.

use super::error::Error;
use super::ids::{NetworkId, PortId, ProjectId, SecurityGroupId, ServerId, SubnetId};
use super::network::{HostRoute, Mac};
use ipnet::Ipv4Net;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// A port of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    pub id: PortId,
    pub network_id: NetworkId,
    pub project_id: ProjectId,
    pub name: String,
    pub description: String,
    pub admin_state_up: bool,
    pub mac: Mac,
    pub status: PortStatus,
    /// The server that it is attached to, or what else a client wrote there; empty when it is free.
    pub device_id: String,
    /// `compute:` and the zone for a server's port.
    pub device_owner: String,
    /// Whether it was made for a server, and so goes with it.
    pub made_for_server: bool,
    /// The place of the NIC in its server, from 0.
    pub nic_index: u32,
    /// The device role tag that the server's creator gave the NIC.
    pub nic_tag: Option<String>,
    pub port_security_enabled: bool,
    /// What it may call itself besides its own MAC and addresses.
    pub allowed_pairs: Vec<AddressPair>,
    /// The node that the port is bound to; empty when it is not.
    pub host_id: String,
    pub tags: Vec<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub revision: i64,
    pub fixed_ips: Vec<FixedIp>,
    pub security_groups: Vec<SecurityGroupId>,
}

/// An address, or a range of them, that a port may use though it is not its own: one that moves between servers, say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressPair {
    pub mac: Mac,
    pub range: Ipv4Net,
}

/// A pair that somebody wants; without a MAC it is the port's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressPairRequest {
    pub mac: Option<Mac>,
    pub range: Ipv4Net,
}

/// An address that a port has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedIp {
    pub subnet_id: SubnetId,
    pub address: Ipv4Addr,
}

/// An address that somebody wants for a port: on a subnet, a certain one, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedIpRequest {
    pub subnet_id: Option<SubnetId>,
    pub address: Option<Ipv4Addr>,
}

/// A port that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPort {
    pub network_id: NetworkId,
    /// Another project's than the caller's, for admins.
    pub project_id: Option<ProjectId>,
    pub name: String,
    pub description: String,
    pub admin_state_up: bool,
    pub mac: Option<Mac>,
    /// `None` asks for any one address.
    pub fixed_ips: Option<Vec<FixedIpRequest>>,
    /// `None` asks for the default group.
    pub security_groups: Option<Vec<SecurityGroupId>>,
    /// `None` asks for what its network has.
    pub port_security: Option<bool>,
    pub allowed_pairs: Vec<AddressPairRequest>,
    pub device_id: String,
    pub device_owner: String,
    pub host_id: Option<String>,
}

/// What somebody wants to change about a port; `None` leaves it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PortChanges {
    pub name: Option<String>,
    pub description: Option<String>,
    pub admin_state_up: Option<bool>,
    pub mac: Option<Mac>,
    pub fixed_ips: Option<Vec<FixedIpRequest>>,
    pub security_groups: Option<Vec<SecurityGroupId>>,
    pub port_security: Option<bool>,
    pub allowed_pairs: Option<Vec<AddressPairRequest>>,
    pub device_id: Option<String>,
    pub device_owner: Option<String>,
    pub host_id: Option<String>,
}

impl PortChanges {
    /// Whether the host has to let other packets through than before, or to give out another address.
    pub fn concern_the_host(&self) -> bool {
        self.fixed_ips.is_some()
            || self.security_groups.is_some()
            || self.port_security.is_some()
            || self.allowed_pairs.is_some()
    }
}

impl Port {
    /// Whether a server has it, which only the compute side may say.
    pub fn is_of_server(&self) -> bool {
        self.device_owner.starts_with(COMPUTE_PREFIX)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortStatus {
    Down,
    Active,
    Build,
}

impl PortStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Down => "DOWN",
            Self::Active => "ACTIVE",
            Self::Build => "BUILD",
        }
    }
}

/// The text is none of the three states.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a port status")]
pub struct BadStatus(String);

impl FromStr for PortStatus {
    type Err = BadStatus;

    fn from_str(text: &str) -> Result<Self, BadStatus> {
        let all = [Self::Down, Self::Active, Self::Build];
        all.into_iter().find(|status| status.as_str() == text).ok_or_else(|| BadStatus(text.to_owned()))
    }
}

/// One NIC that the creator of a server asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NicRequest {
    pub network: Option<NetworkId>,
    pub port: Option<PortId>,
    pub fixed_ip: Option<IpAddr>,
    pub tag: Option<String>,
}

/// What the creator of a server says about its networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Networking {
    /// Nothing: the project's only network, or no NIC when it has none.
    Absent,
    /// `auto`: the project's only network; it is an error to have none.
    Auto,
    /// `none`: no NIC.
    None,
    List(Vec<NicRequest>),
}

/// One NIC of a server, with all that its views, its domain and its guest documents need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerNic {
    pub port_id: PortId,
    pub network_id: NetworkId,
    pub network_name: String,
    pub mac: Mac,
    pub status: PortStatus,
    /// Whether it goes with the server.
    pub made_for_server: bool,
    /// Whether the port is bound to a node, and so filtered there.
    pub bound: bool,
    pub nic_index: u32,
    pub tag: Option<String>,
    /// Bytes.
    pub mtu: u32,
    pub port_security_enabled: bool,
    /// Names, sorted.
    pub security_groups: Vec<String>,
    pub addresses: Vec<NicAddress>,
}

/// One address of a NIC, with the subnet's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NicAddress {
    pub address: Ipv4Addr,
    pub subnet_id: SubnetId,
    pub cidr: Ipv4Net,
    pub gateway: Option<Ipv4Addr>,
    pub dhcp: bool,
    pub dns_nameservers: Vec<Ipv4Addr>,
    pub host_routes: Vec<HostRoute>,
}

/// Whose address it is: what the metadata service asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressOwner {
    pub port_id: PortId,
    pub network_id: NetworkId,
    pub server_id: ServerId,
}

/// One address that DHCP keeps for a server's NIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    pub port_id: PortId,
    pub mac: Mac,
    pub address: Ipv4Addr,
    /// The server's host name as its owner chose it, perhaps with a domain.
    pub hostname: Option<String>,
}

/// The host label of a name that may have a domain, if DHCP can use it: letters, digits and inner hyphens.
pub fn host_label(hostname: &str) -> Option<&str> {
    let label = hostname.split('.').next().unwrap_or_default();
    let fits = (1..=63).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-');
    fits.then_some(label)
}

/// What the `device_owner` of every server's port begins with.
pub const COMPUTE_PREFIX: &str = "compute:";

/// The `device_owner` of a server's port.
pub fn compute_owner(zone: &str) -> String {
    format!("{COMPUTE_PREFIX}{zone}")
}

pub fn port_not_found(id: impl fmt::Display) -> Error {
    Error::not_found(format!("Port {id} could not be found.")).with_class("PortNotFound")
}

/// What the compute API answers about the networks of a server. The class names the case, since creating a server and
/// attaching an interface answer some of them with different statuses.
pub mod refusal {
    use super::{Error, NetworkId, PortId, ProjectId};
    use std::fmt;

    pub fn network_not_found(id: impl fmt::Display) -> Error {
        Error::invalid(format!("Network {id} could not be found.")).with_class("NetworkNotFound")
    }

    pub fn network_ambiguous() -> Error {
        Error::conflict("Multiple possible networks found, use a Network ID to be more specific.")
            .with_class("NetworkAmbiguous")
    }

    pub fn network_without_subnet(id: NetworkId) -> Error {
        Error::invalid(format!("Network {id} requires a subnet in order to boot instances on."))
            .with_class("NetworkRequiresSubnet")
    }

    pub fn external_network(id: NetworkId) -> Error {
        Error::forbidden(format!("It is not allowed to create an interface on external network {id}"))
            .with_class("ExternalNetworkAttachForbidden")
    }

    pub fn no_auto_network(project: &ProjectId) -> Error {
        Error::invalid(format!("Unable to automatically allocate a network for project {project}"))
            .with_class("UnableToAutoAllocateNetwork")
    }

    pub fn no_network(project: &ProjectId) -> Error {
        let words =
            format!("No specific network was requested and none are available for project '{project}'.");
        Error::invalid(words).with_class("InterfaceAttachFailedNoNetwork")
    }

    pub fn port_not_found(id: PortId) -> Error {
        Error::invalid(format!("Port id {id} could not be found.")).with_class("PortNotFound")
    }

    pub fn port_in_use(id: PortId) -> Error {
        Error::conflict(format!("Port {id} is still in use.")).with_class("PortInUse")
    }

    pub fn port_without_address(id: PortId) -> Error {
        Error::invalid(format!("Port {id} requires a FixedIP in order to be used."))
            .with_class("PortRequiresFixedIP")
    }

    pub fn address_in_use(address: impl fmt::Display, server: &str) -> Error {
        Error::invalid(format!("Fixed IP address {address} is already in use on instance {server}."))
            .with_class("FixedIpAlreadyInUse")
    }

    pub fn address_not_on_network(address: impl fmt::Display, network: NetworkId) -> Error {
        Error::invalid(format!("Fixed IP {address} is not a valid ip address for network {network}."))
            .with_class("InvalidIpForNetwork")
    }

    pub fn no_more_addresses(network: NetworkId) -> Error {
        Error::invalid(format!("No fixed IP addresses available for network: {network}"))
            .with_class("NoMoreFixedIps")
    }

    pub fn port_quota() -> Error {
        Error::quota("Maximum number of ports exceeded").with_class("PortLimitExceeded")
    }

    pub fn group_not_found(name: &str) -> Error {
        Error::invalid(format!("Unable to find security_group with name or id '{name}'"))
            .with_class("SecurityGroupNotFound")
    }

    pub fn group_ambiguous(name: &str) -> Error {
        Error::conflict(format!(
            "Multiple security_group matches found for name '{name}', use an ID to be more specific."
        ))
        .with_class("NoUniqueMatch")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_for_dhcp() {
        for (name, label) in [
            ("web-1", Some("web-1")),
            ("web.example.org", Some("web")),
            ("-web", None),
            ("web_1", None),
            ("", None),
            (".org", None),
        ] {
            assert_eq!(host_label(name), label, "{name}");
        }
    }
}
