//! The pure rules of addresses: pools, gateways, fixed addresses and MACs.

use super::{Subnet, invalid_input};
use crate::core::error::{Error, Result};
use crate::core::ids::PortId;
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// The first three bytes of the MAC addresses that we give out.
const MAC_PREFIX: [u8; 3] = [0xfa, 0x16, 0x3e];

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

    pub(super) fn len(self) -> u64 {
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
