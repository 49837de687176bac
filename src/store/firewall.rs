//! What a network's packet filter is made of: the ports of its servers, and their groups' rules.

use super::StoreError;
use super::rows::{json, parsed};
use super::security_groups;
use crate::core::firewall::{GroupRules, NetworkRules, PortRules};
use crate::core::ids::{NetworkId, PortId, SecurityGroupId};
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};

/// The ports that are filtered on the network `?1`: those that are bound to a node, which they are as long as there may be
/// a guest.
const FILTERED: &str = "SELECT p.id FROM port p WHERE p.network_id = ?1 AND p.device_owner LIKE 'compute:%'
     AND p.host_id <> '' AND p.port_security_enabled";

/// All that is to be filtered on a network now.
pub fn rules(connection: &Connection, network: NetworkId) -> Result<NetworkRules, StoreError> {
    let ports = ports(connection, network)?;
    let ids: BTreeSet<SecurityGroupId> = ports.iter().flat_map(|port| port.groups.iter().copied()).collect();
    let groups = groups(connection, &Vec::from_iter(ids))?;
    Ok(NetworkRules { network, ports, groups })
}

/// Only the columns that a filter needs, since this is read at each start of a guest.
fn ports(connection: &Connection, network: NetworkId) -> Result<Vec<PortRules>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT id, mac_address, allowed_pairs FROM port WHERE id IN ({FILTERED}) ORDER BY id"
    ))?;
    let ports = statement.query_map([network], |row| {
        Ok(PortRules {
            id: row.get(0)?,
            mac: parsed(row, "mac_address")?,
            addresses: Vec::new(),
            allowed_pairs: json(row, "allowed_pairs")?,
            groups: Vec::new(),
        })
    })?;
    let mut ports = ports.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut places: BTreeMap<PortId, &mut PortRules> = ports.iter_mut().map(|port| (port.id, port)).collect();
    let mut addresses = connection.prepare_cached(&format!(
        "SELECT port_id, ip_address FROM port_address WHERE port_id IN ({FILTERED}) ORDER BY port_id, position"
    ))?;
    let mut rows = addresses.query([network])?;
    while let Some(row) = rows.next()? {
        if let Some(port) = places.get_mut(&row.get(0)?) {
            port.addresses.push(parsed(row, "ip_address")?);
        }
    }
    let mut groups = connection.prepare_cached(&format!(
        "SELECT port_id, security_group_id FROM port_security_group WHERE port_id IN ({FILTERED})
         ORDER BY port_id, security_group_id"
    ))?;
    let mut rows = groups.query([network])?;
    while let Some(row) = rows.next()? {
        if let Some(port) = places.get_mut(&row.get(0)?) {
            port.groups.push(row.get(1)?);
        }
    }
    Ok(ports)
}

fn groups(connection: &Connection, ids: &[SecurityGroupId]) -> Result<Vec<GroupRules>, StoreError> {
    let mut rules = security_groups::rules_of(connection, ids)?;
    let groups = security_groups::get_all(connection, ids)?.into_iter().map(|group| {
        let rules = rules.remove(&group.id).unwrap_or_default().into_iter().map(|rule| rule.spec).collect();
        GroupRules { id: group.id, stateful: group.stateful, rules }
    });
    Ok(groups.collect())
}

/// The networks on which servers have ports in the group.
pub fn networks_with(connection: &Connection, group: SecurityGroupId) -> Result<Vec<NetworkId>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT p.network_id FROM port_security_group g JOIN port p ON p.id = g.port_id
         WHERE g.security_group_id = ?1 AND p.device_owner LIKE 'compute:%' ORDER BY p.network_id",
    )?;
    Ok(statement.query_map([group], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}
