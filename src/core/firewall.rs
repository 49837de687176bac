//! What the ports of one network may send and receive: security groups, as far as a packet filter needs them.

use super::ids::{NetworkId, PortId, SecurityGroupId};
use super::network::Mac;
use super::port::AddressPair;
use super::security_group::RuleSpec;
use ipnet::Ipv4Net;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};

/// When rules were read: what has a later one knows all that one with an earlier one knew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reading(u64);

impl Reading {
    /// To be taken before the rules are read, and after what they have to know was stored.
    pub fn begin() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::SeqCst))
    }
}

/// All that is filtered on one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkRules {
    pub network: NetworkId,
    /// The ports of servers that have port security, by id. All others pass unfiltered.
    pub ports: Vec<PortRules>,
    /// The groups that these ports belong to.
    pub groups: Vec<GroupRules>,
}

/// One port that is filtered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRules {
    pub id: PortId,
    pub mac: Mac,
    /// Its own.
    pub addresses: Vec<Ipv4Addr>,
    /// What it may call itself besides.
    pub allowed_pairs: Vec<AddressPair>,
    /// What any one of these groups allows is allowed; without a group, nothing is.
    pub groups: Vec<SecurityGroupId>,
}

/// What one group allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRules {
    pub id: SecurityGroupId,
    /// Whether answers to what is allowed are allowed too.
    pub stateful: bool,
    pub rules: Vec<RuleSpec>,
}

impl PortRules {
    /// All addresses that it may use, none of them twice.
    pub fn ranges(&self) -> Vec<Ipv4Net> {
        let own = self.addresses.iter().map(|address| Ipv4Net::from(*address));
        apart(own.chain(self.allowed_pairs.iter().map(|pair| pair.range)))
    }

    /// All MACs that it may use.
    pub fn macs(&self) -> BTreeSet<Mac> {
        std::iter::once(self.mac).chain(self.allowed_pairs.iter().map(|pair| pair.mac)).collect()
    }
}

impl NetworkRules {
    /// The addresses of a group's members on this network, none of them twice.
    pub fn members(&self, group: SecurityGroupId) -> Vec<Ipv4Net> {
        let members = self.ports.iter().filter(|port| port.groups.contains(&group));
        apart(members.flat_map(PortRules::ranges))
    }
}

/// The ranges without those that lie within others. Neighbours stay as they are, so that one more range changes nothing
/// about the others.
fn apart(ranges: impl Iterator<Item = Ipv4Net>) -> Vec<Ipv4Net> {
    let mut ranges: Vec<Ipv4Net> = ranges.map(|range| range.trunc()).collect();
    // What contains others comes before them.
    ranges.sort_unstable_by_key(|range| (range.network(), range.prefix_len()));
    ranges.dedup_by(|next, kept| kept.contains(&*next));
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_within_others_are_left_out() {
        let ranges = ["10.0.0.3/32", "10.0.0.2/32", "10.0.1.9/24", "10.0.1.7/32", "10.0.1.0/24"];
        let apart: Vec<String> =
            apart(ranges.iter().map(|range| range.parse().unwrap())).iter().map(Ipv4Net::to_string).collect();
        assert_eq!(apart, ["10.0.0.2/32", "10.0.0.3/32", "10.0.1.0/24"]);
    }
}
