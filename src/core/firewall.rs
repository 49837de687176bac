//! What the ports of one network may send and receive: security groups, as far as a packet filter needs them.

use super::ids::{NetworkId, PortId, SecurityGroupId};
use super::network::Mac;
use super::port::AddressPair;
use super::security_group::RuleSpec;
use ipnet::Ipv4Net;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

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
        Ipv4Net::aggregate(&own.chain(self.allowed_pairs.iter().map(|pair| pair.range)).collect())
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
        Ipv4Net::aggregate(&members.flat_map(PortRules::ranges).collect())
    }
}
