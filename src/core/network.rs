//! Networks and subnets: what they are, and the pure rules of addresses (pools, gateways, fixed addresses, MACs).
//!
//! IPv4 only, as the host's networks are. Knows nothing of who may see a network, of SQL or of the host.

use super::error::{Error, Kind, Result};
use super::ids::{NetworkId, PortId, ProjectId, SubnetId};
use ipnet::Ipv4Net;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// The MTU of a network whose creator did not choose one, in bytes.
pub const DEFAULT_MTU: u32 = 1500;

/// The first three bytes of the MAC addresses that we give out.
const MAC_PREFIX: [u8; 3] = [0xfa, 0x16, 0x3e];

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

/// Addresses that are given out without being asked for, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pool {
    pub start: Ipv4Addr,
    pub end: Ipv4Addr,
}

impl Pool {
    pub fn contains(self, address: Ipv4Addr) -> bool {
        (self.start..=self.end).contains(&address)
    }

    fn overlaps(self, other: Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    fn len(self) -> u64 {
        u64::from(u32::from(self.end).saturating_sub(u32::from(self.start))) + 1
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

/// A route that DHCP and the guest's network document announce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRoute {
    pub destination: Ipv4Net,
    pub nexthop: Ipv4Addr,
}

/// A unicast hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 6]);

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl TryFrom<String> for Mac {
    type Error = BadMac;

    fn try_from(text: String) -> Result<Self, BadMac> {
        text.parse()
    }
}

impl Mac {
    /// The address to try for a port at the given attempt. Made from the port's random id, so that one source of
    /// randomness is enough; a second attempt gives another address.
    pub fn for_port(id: PortId, attempt: u32) -> Self {
        let bytes = id.0.as_bytes();
        let start = u32::from_be_bytes([0, bytes[13], bytes[14], bytes[15]]);
        let tail = start.wrapping_add(attempt).to_be_bytes();
        let [a, b, c] = MAC_PREFIX;
        Self([a, b, c, tail[1], tail[2], tail[3]])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The text is not a unicast MAC address in colon or hyphen form.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a valid MAC address")]
pub struct BadMac(String);

impl FromStr for Mac {
    type Err = BadMac;

    fn from_str(text: &str) -> Result<Self, BadMac> {
        let bad = || BadMac(text.to_owned());
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(bad)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        let unicast = bytes[0] & 1 == 0 && bytes != [0; 6];
        if parts.next().is_some() || !unicast { Err(bad()) } else { Ok(Self(bytes)) }
    }
}

/// The addresses of a range that hosts may have: all but the network's own and the broadcast address.
fn host_range(cidr: Ipv4Net) -> Option<Pool> {
    if cidr.prefix_len() > 30 {
        return None;
    }
    let start = Ipv4Addr::from(u32::from(cidr.network()) + 1);
    let end = Ipv4Addr::from(u32::from(cidr.broadcast()) - 1);
    Some(Pool { start, end })
}

/// The first address of a range that a host may have, which is where gateways are by default.
pub fn first_host(cidr: Ipv4Net) -> Option<Ipv4Addr> {
    host_range(cidr).map(|range| range.start)
}

/// The range of a new subnet, without host bits, large enough for a gateway and a port.
pub fn check_cidr(cidr: Ipv4Net) -> Result<Ipv4Net> {
    if cidr.prefix_len() == 0 || cidr.prefix_len() > 30 {
        return Err(invalid_input(format!(
            "Requested subnet with cidr: {cidr} has no room for a gateway and a port, or is the whole address space"
        )));
    }
    let base = cidr.trunc();
    if base.network().is_loopback() || base.network().is_multicast() || base.network().is_link_local() {
        return Err(invalid_input(format!(
            "Requested subnet with cidr: {cidr} is not a range of unicast addresses"
        )));
    }
    Ok(base)
}

/// The whole range without the gateway, in one or two pools.
pub fn default_pools(cidr: Ipv4Net, gateway: Option<Ipv4Addr>) -> Vec<Pool> {
    let Some(range) = host_range(cidr) else { return Vec::new() };
    let Some(gateway) = gateway.filter(|gateway| range.contains(*gateway)) else { return vec![range] };
    let mut pools = Vec::with_capacity(2);
    if gateway > range.start {
        pools.push(Pool { start: range.start, end: Ipv4Addr::from(u32::from(gateway) - 1) });
    }
    if gateway < range.end {
        pools.push(Pool { start: Ipv4Addr::from(u32::from(gateway) + 1), end: range.end });
    }
    pools
}

/// Whether pools that somebody asked for fit into the range, are apart, and leave the gateway alone. Gives them sorted.
pub fn check_pools(cidr: Ipv4Net, gateway: Option<Ipv4Addr>, pools: &[Pool]) -> Result<Vec<Pool>> {
    let range = host_range(cidr);
    for pool in pools {
        if pool.start > pool.end {
            return Err(Error::invalid(format!("The allocation pool {pool} is not valid."))
                .with_class("InvalidAllocationPool"));
        }
        if !range.is_some_and(|range| range.contains(pool.start) && range.contains(pool.end)) {
            return Err(Error::invalid(format!(
                "The allocation pool {pool} spans beyond the subnet cidr {cidr}."
            ))
            .with_class("OutOfBoundsAllocationPool"));
        }
        if let Some(gateway) = gateway.filter(|gateway| pool.contains(*gateway)) {
            return Err(Error::conflict(format!(
                "Gateway ip {gateway} conflicts with allocation pool {pool}."
            ))
            .with_class("GatewayConflictWithAllocationPools"));
        }
    }
    let mut sorted = pools.to_vec();
    sorted.sort_unstable();
    for pair in sorted.windows(2) {
        if let [first, second] = pair
            && first.overlaps(*second)
        {
            return Err(Error::conflict(format!(
                "Found overlapping allocation pools: {first} {second} for subnet {cidr}."
            ))
            .with_class("OverlappingAllocationPools"));
        }
    }
    Ok(sorted)
}

/// Whether two ranges have an address in common.
pub fn overlaps(first: Ipv4Net, second: Ipv4Net) -> bool {
    first.contains(&second.network()) || second.contains(&first.network())
}

/// Whether the gateway can be an address of a host on the subnet.
pub fn check_gateway(cidr: Ipv4Net, gateway: Ipv4Addr) -> Result<()> {
    if host_range(cidr).is_some_and(|range| range.contains(gateway)) {
        return Ok(());
    }
    Err(invalid_input("Gateway is not valid on subnet"))
}

impl Subnet {
    /// Whether a port may have this address when somebody asks for it. Addresses outside the pools are fine.
    pub fn holds(&self, address: Ipv4Addr) -> bool {
        host_range(self.cidr).is_some_and(|range| range.contains(address))
    }

    /// An address of the pools that is not in use, found from a place that `seed` decides: neighbours in time do not
    /// contend for one address, and a released address is seldom given out again at once. `None` when all are in use.
    pub fn pick<E>(
        &self,
        seed: u64,
        mut in_use: impl FnMut(Ipv4Addr) -> Result<bool, E>,
    ) -> Result<Option<Ipv4Addr>, E> {
        let total: u64 = self.allocation_pools.iter().map(|pool| pool.len()).sum();
        for step in 0..total {
            let Some(address) = self.nth_of_pools((seed % total + step) % total) else { continue };
            if Some(address) != self.gateway_ip && !in_use(address)? {
                return Ok(Some(address));
            }
        }
        Ok(None)
    }

    fn nth_of_pools(&self, mut index: u64) -> Option<Ipv4Addr> {
        for pool in &self.allocation_pools {
            if index < pool.len() {
                return u32::try_from(index).ok().map(|n| Ipv4Addr::from(u32::from(pool.start) + n));
            }
            index -= pool.len();
        }
        None
    }
}

/// Where the search for a port's address begins: from its random id, in bytes that its MAC is not made of.
pub fn address_seed(id: PortId) -> u64 {
    id.0.as_u64_pair().0
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

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::convert::Infallible;

    /// A subnet with default gateway and pools.
    pub fn subnet(cidr: &str) -> Subnet {
        let cidr: Ipv4Net = cidr.parse().unwrap();
        let gateway_ip = first_host(cidr);
        Subnet {
            id: SubnetId::random(),
            network_id: NetworkId::random(),
            project_id: ProjectId::random(),
            name: String::new(),
            description: String::new(),
            cidr,
            gateway_ip,
            enable_dhcp: true,
            allocation_pools: default_pools(cidr, gateway_ip),
            dns_nameservers: Vec::new(),
            host_routes: Vec::new(),
            tags: Vec::new(),
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
            revision: 0,
        }
    }

    fn pick(subnet: &Subnet, seed: u64, used: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
        subnet.pick(seed, |address| Ok::<_, Infallible>(used.contains(&address))).unwrap()
    }

    #[test]
    fn pools_leave_the_gateway_out() {
        let cidr: Ipv4Net = "10.0.0.0/29".parse().unwrap();
        let text = |gateway: Option<&str>| {
            let pools = default_pools(cidr, gateway.map(|g| g.parse().unwrap()));
            pools.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(text(None), ["10.0.0.1-10.0.0.6"]);
        assert_eq!(text(Some("10.0.0.1")), ["10.0.0.2-10.0.0.6"]);
        assert_eq!(text(Some("10.0.0.6")), ["10.0.0.1-10.0.0.5"]);
        assert_eq!(text(Some("10.0.0.3")), ["10.0.0.1-10.0.0.2", "10.0.0.4-10.0.0.6"]);
    }

    #[test]
    fn bad_pools_are_named() {
        let cidr: Ipv4Net = "10.0.0.0/24".parse().unwrap();
        let gateway = Some(Ipv4Addr::new(10, 0, 0, 1));
        let check = |ends: &[[u8; 2]]| {
            let pools: Vec<Pool> = ends
                .iter()
                .map(|[a, b]| Pool { start: Ipv4Addr::new(10, 0, 0, *a), end: Ipv4Addr::new(10, 0, 0, *b) })
                .collect();
            check_pools(cidr, gateway, &pools).map_err(|e| e.class().unwrap())
        };
        assert!(check(&[[2, 9], [10, 20]]).is_ok());
        assert_eq!(check(&[[9, 2]]), Err("InvalidAllocationPool"));
        assert_eq!(check(&[[2, 255]]), Err("OutOfBoundsAllocationPool"));
        assert_eq!(check(&[[1, 9]]), Err("GatewayConflictWithAllocationPools"));
        assert_eq!(check(&[[10, 20], [2, 10]]), Err("OverlappingAllocationPools"));
    }

    #[test]
    fn ranges_that_cannot_be_subnets() {
        for (text, good) in [
            ("10.0.0.0/24", true),
            ("10.0.0.0/30", true),
            ("10.0.0.0/31", false),
            ("0.0.0.0/0", false),
            ("127.0.0.0/24", false),
            ("224.0.0.0/24", false),
            ("169.254.0.0/16", false),
        ] {
            assert_eq!(check_cidr(text.parse().unwrap()).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn macs() {
        assert_eq!("FA-16-3e-00-0A-ff".parse::<Mac>().unwrap().to_string(), "fa:16:3e:00:0a:ff");
        for bad in ["", "fa:16:3e:00:00", "fa:16:3e:00:00:0", "01:16:3e:00:00:01", "00:00:00:00:00:00", "x"] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
        let id = PortId::random();
        assert_ne!(Mac::for_port(id, 0), Mac::for_port(id, 1));
        assert!(Mac::for_port(id, 7).to_string().starts_with("fa:16:3e:"));
    }

    proptest! {
        #[test]
        fn addresses_are_given_once_and_only_from_the_pools(
            prefix in 24u8..=30,
            gateway_offset in 1u32..60,
            steps in proptest::collection::vec((any::<u64>(), any::<bool>()), 1..120),
        ) {
            let cidr = Ipv4Net::new(Ipv4Addr::new(10, 9, 8, 0), prefix).unwrap();
            let gateway = Ipv4Addr::from(u32::from(cidr.network()) + gateway_offset);
            let mut subnet = subnet(&cidr.to_string());
            subnet.gateway_ip = Some(gateway).filter(|g| check_gateway(cidr, *g).is_ok());
            subnet.allocation_pools = default_pools(cidr, subnet.gateway_ip);
            let total: u64 = subnet.allocation_pools.iter().map(|p| p.len()).sum();
            let mut used = BTreeSet::new();
            for (seed, release) in steps {
                if release {
                    used.pop_first();
                    continue;
                }
                if let Some(address) = pick(&subnet, seed, &used) {
                    prop_assert!(subnet.allocation_pools.iter().any(|p| p.contains(address)));
                    prop_assert!(subnet.holds(address));
                    prop_assert_ne!(Some(address), subnet.gateway_ip);
                    prop_assert!(used.insert(address), "given twice");
                } else { prop_assert_eq!(used.len() as u64, total) }
            }
        }

        #[test]
        fn macs_survive_their_text(id in any::<u128>(), attempt in any::<u32>()) {
            let mac = Mac::for_port(PortId(uuid::Uuid::from_u128(id)), attempt);
            prop_assert_eq!(mac.to_string().parse::<Mac>().unwrap(), mac);
        }
    }
}
