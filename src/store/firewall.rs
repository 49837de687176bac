//! What a network's packet filter is made of: the ports of its servers, and their groups' rules.

use super::StoreError;
use super::ports::{complete, port_row};
use super::security_groups;
use crate::core::firewall::{GroupRules, NetworkRules, PortRules};
use crate::core::ids::{NetworkId, SecurityGroupId};
use rusqlite::Connection;

/// All that is to be filtered on a network now: the ports that are bound to a node, which they are as long as there may
/// be a guest.
pub fn rules(connection: &Connection, network: NetworkId) -> Result<NetworkRules, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT p.* FROM port p WHERE p.network_id = ?1 AND p.device_owner LIKE 'compute:%' AND p.host_id <> ''
             AND p.port_security_enabled ORDER BY p.id",
    )?;
    let ports = statement.query_map([network], port_row)?.collect::<rusqlite::Result<Vec<_>>>()?;
    let ports: Vec<PortRules> = complete(connection, ports)?
        .into_iter()
        .map(|port| PortRules {
            id: port.id,
            mac: port.mac,
            addresses: port.fixed_ips.iter().map(|fixed| fixed.address).collect(),
            allowed_pairs: port.allowed_pairs,
            groups: port.security_groups,
        })
        .collect();
    let mut ids: Vec<SecurityGroupId> = ports.iter().flat_map(|port| port.groups.iter().copied()).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut rules = security_groups::rules_of(connection, &ids)?;
    let mut groups = Vec::with_capacity(ids.len());
    for id in ids {
        if let Some(group) = security_groups::get(connection, id)? {
            let rules = rules.remove(&id).unwrap_or_default().into_iter().map(|rule| rule.spec).collect();
            groups.push(GroupRules { id, stateful: group.stateful, rules });
        }
    }
    Ok(NetworkRules { network, ports, groups })
}

/// The networks on which servers have ports in the group.
pub fn networks_with(connection: &Connection, group: SecurityGroupId) -> Result<Vec<NetworkId>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT p.network_id FROM port_security_group g JOIN port p ON p.id = g.port_id
         WHERE g.security_group_id = ?1 AND p.device_owner LIKE 'compute:%' ORDER BY p.network_id",
    )?;
    Ok(statement.query_map([group], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}
