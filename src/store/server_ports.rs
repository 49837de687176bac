//! The ports of servers: chosen and bound in the transaction that creates a server or attaches an interface, released
//! with it, and loaded for views, domains and guest documents with a constant number of queries.

use super::rows::{json, maybe_parsed, parsed, to_json};
use super::{StoreError, networks, ports, security_groups};
use crate::core::ids::{NetworkId, PortId, ProjectId, SecurityGroupId, ServerId};
use crate::core::network::{Network, Subnet};
use crate::core::port::{
    self, AddressOwner, FixedIpRequest, Networking, NicAddress, NicRequest, Port, PortStatus, Reservation,
    ServerNic, refusal,
};
use crate::core::security_group::DEFAULT_GROUP;
use crate::core::{Kind, Result};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

/// The server that gets ports, and who asks for it.
#[derive(Debug, Clone)]
pub struct PortOwner<'a> {
    pub server: ServerId,
    pub project: &'a ProjectId,
    /// Whether the caller may use networks and ports of other projects, and external networks.
    pub admin: bool,
    /// The zone in the ports' `device_owner`.
    pub zone: &'a str,
    /// The node that the ports are bound to; empty when the server has none yet.
    pub host: &'a str,
    /// Names or ids of the groups of the ports that are made here; none means the default group.
    pub security_groups: &'a [String],
    pub now: Timestamp,
}

/// Chooses, makes and binds the ports of a server, in the order of its NICs, after those that it has. Nothing is
/// written when it fails, provided that the caller's transaction ends there.
///
/// # Errors
/// Those of [`refusal`], with the compute API's words.
pub fn plan_server_ports(
    connection: &Connection,
    owner: &PortOwner<'_>,
    networking: &Networking,
) -> Result<Vec<Port>> {
    // Groups have to exist also where there is nothing to put into them.
    let groups = resolve_groups(connection, owner)?;
    let requests = match networking {
        Networking::None => return Ok(Vec::new()),
        Networking::List(requests) if !requests.is_empty() => requests.clone(),
        Networking::Absent | Networking::List(_) => only_network(connection, owner, false)?,
        Networking::Auto => only_network(connection, owner, true)?,
    };
    let first: u32 = connection
        .prepare_cached("SELECT ifnull(max(nic_index) + 1, 0) FROM port WHERE device_id = ?1 AND device_owner LIKE 'compute:%'")?
        .query_row([owner.server], |row| row.get(0))?;
    let mut made = Vec::with_capacity(requests.len());
    for (index, request) in (first..).zip(&requests) {
        let mut port = match request.port {
            Some(id) => existing_port(connection, owner, id)?,
            None => new_port(connection, owner, request, &groups)?,
        };
        port.device_id = owner.server.to_string();
        port.device_owner = port::compute_owner(owner.zone);
        owner.host.clone_into(&mut port.host_id);
        port.nic_index = index;
        port.nic_tag.clone_from(&request.tag);
        ports::put(connection, &port)?;
        made.push(port);
    }
    Ok(made)
}

/// The one network that a server gets whose creator named none.
fn only_network(connection: &Connection, owner: &PortOwner<'_>, must: bool) -> Result<Vec<NicRequest>> {
    let available = networks::available(connection, owner.project)?;
    match available.as_slice() {
        [] if must => Err(refusal::no_auto_network(owner.project)),
        [] => Ok(Vec::new()),
        [only] => Ok(vec![NicRequest { network: Some(only.id), ..NicRequest::default() }]),
        _ => Err(refusal::network_ambiguous()),
    }
}

fn existing_port(connection: &Connection, owner: &PortOwner<'_>, id: PortId) -> Result<Port> {
    let mut port = ports::get(connection, id)?.ok_or_else(|| refusal::port_not_found(id))?;
    if !owner.admin && port.project_id != *owner.project {
        let network = networks::get(connection, port.network_id)?;
        if network.is_none_or(|network| network.project_id != *owner.project) {
            return Err(refusal::port_not_found(id));
        }
    }
    if !port.device_id.is_empty() {
        return Err(refusal::port_in_use(id));
    }
    if port.fixed_ips.is_empty() {
        return Err(refusal::port_without_address(id));
    }
    port.updated_at = owner.now;
    port.revision += 1;
    Ok(port)
}

fn new_port(
    connection: &Connection,
    owner: &PortOwner<'_>,
    request: &NicRequest,
    groups: &[SecurityGroupId],
) -> Result<Port> {
    let id = request.network.ok_or_else(refusal::network_ambiguous)?;
    let network = usable_network(connection, owner, id)?;
    let subnets = networks::subnets_of(connection, id)?;
    if subnets.is_empty() {
        return Err(refusal::network_without_subnet(id));
    }
    networks::check_quota(connection, owner.project, "port", 1).map_err(|error| match error.kind() {
        Kind::Quota => refusal::port_quota(),
        _ => error,
    })?;
    let port_id = PortId::random();
    let wanted = wanted_address(connection, &subnets, id, request.fixed_ip)?;
    let fixed_ips =
        ports::allocate(connection, id, &subnets, wanted.as_ref().map(std::slice::from_ref), port_id)
            .map_err(|error| match error.class() {
                Some("IpAddressGenerationFailure") => refusal::no_more_addresses(id),
                _ => error,
            })?;
    Ok(Port {
        id: port_id,
        network_id: id,
        project_id: owner.project.clone(),
        name: String::new(),
        description: String::new(),
        admin_state_up: true,
        mac: ports::free_mac(connection, port_id)?,
        status: PortStatus::Down,
        device_id: String::new(),
        device_owner: String::new(),
        made_for_server: true,
        nic_index: 0,
        nic_tag: None,
        port_security_enabled: network.port_security_enabled,
        allowed_pairs: Vec::new(),
        host_id: String::new(),
        tags: Vec::new(),
        created_at: owner.now,
        updated_at: owner.now,
        revision: 1,
        fixed_ips,
        security_groups: if network.port_security_enabled { groups.to_vec() } else { Vec::new() },
    })
}

fn usable_network(connection: &Connection, owner: &PortOwner<'_>, id: NetworkId) -> Result<Network> {
    let network = networks::get(connection, id)?.ok_or_else(|| refusal::network_not_found(id))?;
    let own = network.project_id == *owner.project;
    if !(owner.admin || own || network.is_open()) {
        return Err(refusal::network_not_found(id));
    }
    if network.external && !network.shared && !owner.admin {
        return Err(refusal::external_network(id));
    }
    Ok(network)
}

/// The certain address that was asked for, once it is known to be on the network and free.
fn wanted_address(
    connection: &Connection,
    subnets: &[Subnet],
    network: NetworkId,
    wanted: Option<IpAddr>,
) -> Result<Option<FixedIpRequest>> {
    let Some(wanted) = wanted else { return Ok(None) };
    let IpAddr::V4(address) = wanted else { return Err(refusal::address_not_on_network(wanted, network)) };
    let Some(subnet) = subnets.iter().find(|subnet| subnet.holds(address)) else {
        return Err(refusal::address_not_on_network(address, network));
    };
    if let Some(holder) = ports::holder(connection, subnet.id, address)? {
        let device = ports::get(connection, holder)?.map(|port| port.device_id).unwrap_or_default();
        return Err(refusal::address_in_use(address, &device));
    }
    if subnet.gateway_ip == Some(address) {
        return Err(refusal::address_in_use(address, ""));
    }
    Ok(Some(FixedIpRequest { subnet_id: Some(subnet.id), address: Some(address) }))
}

/// The groups by name or id, each once, in the order asked for.
fn resolve_groups(connection: &Connection, owner: &PortOwner<'_>) -> Result<Vec<SecurityGroupId>> {
    let default = security_groups::ensure_default(connection, owner.project, owner.now)?;
    if owner.security_groups.is_empty() {
        return Ok(vec![default]);
    }
    let mut ids = Vec::with_capacity(owner.security_groups.len());
    for name in owner.security_groups {
        let id = if name == DEFAULT_GROUP { default } else { group_by_name(connection, owner, name)? };
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

fn group_by_name(connection: &Connection, owner: &PortOwner<'_>, name: &str) -> Result<SecurityGroupId> {
    let found = security_groups::named(connection, owner.project, name)?;
    match found.as_slice() {
        [] => Err(refusal::group_not_found(name)),
        [only] => Ok(only.id),
        // An id is unambiguous even when another group has it as its name.
        [first, ..] if first.id.to_string() == name => Ok(first.id),
        _ => Err(refusal::group_ambiguous(name)),
    }
}

/// Detaches the ports of a server: those that were made for it are removed, others are free again. Gives the removed
/// ones, whose reservations on the host have to go too.
pub fn release_server_ports(
    connection: &Connection,
    server: ServerId,
    now: Timestamp,
) -> Result<Vec<Port>, StoreError> {
    let mut removed = Vec::new();
    for port in ports::of_device(connection, &server.to_string())?.into_iter().filter(Port::is_of_server) {
        removed.extend(release(connection, port, now)?);
    }
    Ok(removed)
}

/// Detaches one port of a server as [`release_server_ports`] does. `None` when it was not made for the server, or is
/// not attached to it any more.
pub fn release_server_port(
    connection: &Connection,
    server: ServerId,
    port: PortId,
    now: Timestamp,
) -> Result<Option<Port>, StoreError> {
    match ports::get(connection, port)? {
        Some(port) if port.device_id == server.to_string() && port.is_of_server() => {
            release(connection, port, now)
        }
        Some(_) | None => Ok(None),
    }
}

fn release(connection: &Connection, mut port: Port, now: Timestamp) -> Result<Option<Port>, StoreError> {
    if port.made_for_server {
        ports::delete(connection, port.id)?;
        return Ok(Some(port));
    }
    port.device_id.clear();
    port.device_owner.clear();
    port.host_id.clear();
    port.status = PortStatus::Down;
    port.nic_index = 0;
    port.nic_tag = None;
    port.updated_at = now;
    port.revision += 1;
    ports::put(connection, &port)?;
    Ok(None)
}

/// Sets the status of all ports of a server: ACTIVE while its NICs are plugged in, else DOWN.
pub fn set_server_ports_status(
    connection: &Connection,
    server: ServerId,
    status: PortStatus,
    now: Timestamp,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE port SET status = ?2, updated_at = ?3, revision = revision + 1
             WHERE device_id = ?1 AND device_owner LIKE 'compute:%' AND status <> ?2",
        )?
        .execute(params![server, status.as_str(), now.as_microsecond()])?;
    Ok(())
}

/// Binds all ports of a server to a node, or to none.
pub fn set_server_ports_host(
    connection: &Connection,
    server: ServerId,
    host: &str,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE port SET host_id = ?2 WHERE device_id = ?1 AND device_owner LIKE 'compute:%'",
        )?
        .execute(params![server, host])?;
    Ok(())
}

/// Binds these ports to a node, or to none.
pub fn set_ports_host(connection: &Connection, ports: &[PortId], host: &str) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE port SET host_id = ?2 WHERE id IN (SELECT value FROM json_each(?1))")?
        .execute(params![to_json(&ports)?, host])?;
    Ok(())
}

/// The NICs of several servers, each server's in their order. Three queries, however many servers there are; servers
/// without NICs have no entry.
pub fn server_nics(
    connection: &Connection,
    servers: &[ServerId],
) -> Result<HashMap<ServerId, Vec<ServerNic>>, StoreError> {
    let servers = to_json(&servers)?;
    let mut addresses = addresses_of(connection, &servers)?;
    let mut groups = group_names_of(connection, &servers)?;
    let mut statement = connection.prepare_cached(
        "SELECT p.device_id, p.id, p.network_id, p.mac_address, p.status, p.made_for_server, p.nic_index,
             p.nic_tag, p.port_security_enabled, n.name, n.mtu, p.host_id <> ''
         FROM json_each(?1) wanted CROSS JOIN port p ON p.device_id = wanted.value JOIN network n ON n.id = p.network_id
         WHERE p.device_owner LIKE 'compute:%' ORDER BY p.nic_index, p.created_at, p.id",
    )?;
    let mut nics: HashMap<ServerId, Vec<ServerNic>> = HashMap::new();
    let mut rows = statement.query([&servers])?;
    // By place, not by name: lists of a thousand servers come through here.
    while let Some(row) = rows.next()? {
        let port_id = row.get(1)?;
        let nic = ServerNic {
            port_id,
            network_id: row.get(2)?,
            mac: parsed(row, 3)?,
            status: parsed(row, 4)?,
            made_for_server: row.get(5)?,
            nic_index: row.get(6)?,
            tag: row.get(7)?,
            port_security_enabled: row.get(8)?,
            network_name: row.get(9)?,
            mtu: row.get(10)?,
            bound: row.get(11)?,
            security_groups: groups.remove(&port_id).unwrap_or_default(),
            addresses: addresses.remove(&port_id).unwrap_or_default(),
        };
        nics.entry(row.get(0)?).or_default().push(nic);
    }
    Ok(nics)
}

fn addresses_of(
    connection: &Connection,
    servers: &str,
) -> Result<HashMap<PortId, Vec<NicAddress>>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT a.port_id, a.ip_address, s.id, s.cidr, s.gateway_ip, s.enable_dhcp, s.dns_nameservers,
             s.host_routes
         FROM json_each(?1) wanted CROSS JOIN port p ON p.device_id = wanted.value
             JOIN port_address a ON a.port_id = p.id JOIN subnet s ON s.id = a.subnet_id
         WHERE p.device_owner LIKE 'compute:%' ORDER BY a.port_id, a.position",
    )?;
    let mut addresses: HashMap<_, Vec<_>> = HashMap::new();
    let mut rows = statement.query([servers])?;
    while let Some(row) = rows.next()? {
        addresses.entry(row.get(0)?).or_default().push(NicAddress {
            address: parsed(row, 1)?,
            subnet_id: row.get(2)?,
            cidr: parsed(row, 3)?,
            gateway: maybe_parsed(row, 4)?,
            dhcp: row.get(5)?,
            dns_nameservers: json(row, 6)?,
            host_routes: json(row, 7)?,
        });
    }
    Ok(addresses)
}

fn group_names_of(
    connection: &Connection,
    servers: &str,
) -> Result<HashMap<PortId, Vec<String>>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT g.port_id, s.name
         FROM json_each(?1) wanted CROSS JOIN port p ON p.device_id = wanted.value
             JOIN port_security_group g ON g.port_id = p.id JOIN security_group s ON s.id = g.security_group_id
         WHERE p.device_owner LIKE 'compute:%' ORDER BY g.port_id, s.name",
    )?;
    let mut names: HashMap<_, Vec<_>> = HashMap::new();
    for row in statement.query_map([servers], |row| Ok((row.get(0)?, row.get(1)?)))? {
        let (port, name) = row?;
        names.entry(port).or_default().push(name);
    }
    Ok(names)
}

/// The server whose port has the address. Subnets of this cloud never overlap, so that there is at most one.
pub fn port_by_address(
    connection: &Connection,
    address: Ipv4Addr,
) -> Result<Option<AddressOwner>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT p.id, p.network_id, p.device_id FROM port_address a JOIN port p ON p.id = a.port_id
         WHERE a.ip_address = ?1 AND p.device_owner LIKE 'compute:%'",
    )?;
    let found = statement.query_row([address.to_string()], |row| {
        Ok(AddressOwner { port_id: row.get(0)?, network_id: row.get(1)?, server_id: row.get(2)? })
    });
    Ok(found.optional()?)
}

/// What DHCP gives to the servers on a network: one address for each of their NICs. Servers that have left their node, or
/// are about to, need none.
pub fn reservations(connection: &Connection, network: NetworkId) -> Result<Vec<Reservation>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT p.id, p.mac_address, a.ip_address, s.hostname
         FROM port p JOIN port_address a ON a.port_id = p.id AND a.position = 0
             LEFT JOIN server s ON s.id = p.device_id AND s.deleted_at IS NULL
         WHERE p.network_id = ?1 AND p.device_owner LIKE 'compute:%'
             AND (s.id IS NULL OR s.host IS NOT NULL)
             AND ifnull(s.task_state, '') NOT IN ('deleting', 'shelving_offloading') ORDER BY p.id",
    )?;
    let rows = statement.query_map([network], |row| {
        Ok(Reservation {
            port_id: row.get("id")?,
            mac: parsed(row, "mac_address")?,
            address: parsed(row, "ip_address")?,
            hostname: row.get("hostname")?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

#[cfg(test)]
#[path = "server_ports_tests.rs"]
mod tests;
