//! Ports with their addresses and groups, and the choice of a free address or MAC.

use super::StoreError;
use super::listing::{Column, Form, Source, column};
use super::rows::{json, parsed, time, to_json};
use crate::core::ids::{NetworkId, PortId, SecurityGroupId, SubnetId};
use crate::core::listing::Listing;
use crate::core::network::{self, Mac, Subnet};
use crate::core::port::{self, FixedIp, FixedIpRequest, Port};
use crate::core::{Error, Result};
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use std::collections::HashMap;
use std::net::Ipv4Addr;

const PORTS: Source = Source {
    select: "SELECT t.* FROM port t",
    table: "port",
    columns: &[
        column!("id", Text),
        column!("name", Text),
        column!("description", Text),
        column!("network_id", Text),
        column!("project_id", Text),
        column!("tenant_id", "project_id", Text),
        column!("admin_state_up", Bool),
        column!("mac_address", Text),
        column!("status", Text),
        column!("device_id", Text),
        column!("device_owner", Text),
        column!("port_security_enabled", Bool),
        column!("revision_number", "revision", Int),
        column!("binding:host_id", "host_id", Text),
        address_filter(
            "ip_address",
            "EXISTS (SELECT 1 FROM port_address a JOIN {json} w ON a.ip_address = w.value WHERE a.port_id = t.id)",
        ),
        address_filter(
            "subnet_id",
            "EXISTS (SELECT 1 FROM port_address a JOIN {json} w ON a.subnet_id = w.value WHERE a.port_id = t.id)",
        ),
        address_filter(
            "ip_address_substr",
            "EXISTS (SELECT 1 FROM port_address a JOIN {json} w ON instr(a.ip_address, w.value) > 0 WHERE a.port_id = t.id)",
        ),
        address_filter(
            "security_groups",
            "EXISTS (SELECT 1 FROM port_security_group g JOIN {json} w ON g.security_group_id = w.value WHERE g.port_id = t.id)",
        ),
    ],
    tagged: true,
    visible: "t.project_id = ?1 OR t.network_id IN (SELECT n.id FROM network n WHERE n.project_id = ?1)",
    unknown: |marker| port::port_not_found(marker),
};

const fn address_filter(name: &'static str, filter: &'static str) -> Column {
    Column { name, filter, form: Form::Text, sort: None }
}

/// The row alone: addresses and groups lie in their own tables.
pub(super) fn port_row(row: &Row<'_>) -> rusqlite::Result<Port> {
    Ok(Port {
        id: row.get("id")?,
        network_id: row.get("network_id")?,
        project_id: row.get("project_id")?,
        name: row.get("name")?,
        description: row.get("description")?,
        admin_state_up: row.get("admin_state_up")?,
        mac: parsed(row, "mac_address")?,
        status: parsed(row, "status")?,
        device_id: row.get("device_id")?,
        device_owner: row.get("device_owner")?,
        made_for_server: row.get("made_for_server")?,
        nic_index: row.get("nic_index")?,
        nic_tag: row.get("nic_tag")?,
        port_security_enabled: row.get("port_security_enabled")?,
        allowed_pairs: json(row, "allowed_pairs")?,
        host_id: row.get("host_id")?,
        tags: json(row, "tags")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        revision: row.get("revision")?,
        fixed_ips: Vec::new(),
        security_groups: Vec::new(),
    })
}

/// Adds addresses and groups to ports, with one query each.
pub(super) fn complete(connection: &Connection, mut ports: Vec<Port>) -> Result<Vec<Port>, StoreError> {
    let ids = to_json(&ports.iter().map(|port| port.id).collect::<Vec<_>>())?;
    let mut places: HashMap<PortId, &mut Port> = ports.iter_mut().map(|port| (port.id, port)).collect();
    let mut addresses = connection.prepare_cached(
        "SELECT port_id, subnet_id, ip_address FROM port_address
         WHERE port_id IN (SELECT value FROM json_each(?1)) ORDER BY port_id, position",
    )?;
    let mut rows = addresses.query([&ids])?;
    while let Some(row) = rows.next()? {
        if let Some(port) = places.get_mut(&row.get(0)?) {
            port.fixed_ips.push(FixedIp { subnet_id: row.get(1)?, address: parsed(row, "ip_address")? });
        }
    }
    let mut groups = connection.prepare_cached(
        "SELECT port_id, security_group_id FROM port_security_group
         WHERE port_id IN (SELECT value FROM json_each(?1)) ORDER BY port_id, security_group_id",
    )?;
    let mut rows = groups.query([&ids])?;
    while let Some(row) = rows.next()? {
        if let Some(port) = places.get_mut(&row.get(0)?) {
            port.security_groups.push(row.get(1)?);
        }
    }
    drop(places);
    Ok(ports)
}

pub fn list(connection: &Connection, listing: &Listing) -> Result<Vec<Port>> {
    Ok(complete(connection, PORTS.list(connection, listing, port_row)?)?)
}

pub fn get(connection: &Connection, id: PortId) -> Result<Option<Port>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT * FROM port WHERE id = ?1")?;
    let found = statement.query_row([id], port_row).optional()?;
    Ok(complete(connection, found.into_iter().collect())?.pop())
}

/// The ports of a network, by id.
pub fn of_network(connection: &Connection, network: NetworkId) -> Result<Vec<Port>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT * FROM port WHERE network_id = ?1 ORDER BY id")?;
    let ports = statement.query_map([network], port_row)?.collect::<rusqlite::Result<_>>()?;
    complete(connection, ports)
}

/// The ports that are attached to a device, in the order of its NICs.
pub fn of_device(connection: &Connection, device: &str) -> Result<Vec<Port>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT * FROM port WHERE device_id = ?1 ORDER BY nic_index, created_at, id")?;
    let ports = statement.query_map([device], port_row)?.collect::<rusqlite::Result<_>>()?;
    complete(connection, ports)
}

/// Writes a port, new or changed, with its addresses and groups.
pub fn put(connection: &Connection, port: &Port) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO port (id, network_id, project_id, name, description, admin_state_up, mac_address, status,
                 device_id, device_owner, made_for_server, nic_index, nic_tag, port_security_enabled, allowed_pairs,
                 host_id, tags, created_at, updated_at, revision)
             VALUES (:id, :network_id, :project_id, :name, :description, :admin_state_up, :mac, :status,
                 :device_id, :device_owner, :made, :nic_index, :nic_tag, :port_security, :allowed_pairs,
                 :host_id, :tags, :created_at, :updated_at, :revision)
             ON CONFLICT (id) DO UPDATE SET name = :name, description = :description,
                 admin_state_up = :admin_state_up, mac_address = :mac, status = :status, device_id = :device_id,
                 device_owner = :device_owner, made_for_server = :made, nic_index = :nic_index, nic_tag = :nic_tag,
                 port_security_enabled = :port_security, allowed_pairs = :allowed_pairs, host_id = :host_id, tags = :tags,
                 updated_at = :updated_at, revision = :revision",
        )?
        .execute(named_params! {
            ":id": port.id,
            ":network_id": port.network_id,
            ":project_id": port.project_id,
            ":name": port.name,
            ":description": port.description,
            ":admin_state_up": port.admin_state_up,
            ":mac": port.mac.to_string(),
            ":status": port.status.as_str(),
            ":device_id": port.device_id,
            ":device_owner": port.device_owner,
            ":made": port.made_for_server,
            ":nic_index": port.nic_index,
            ":nic_tag": port.nic_tag,
            ":port_security": port.port_security_enabled,
            ":allowed_pairs": to_json(&port.allowed_pairs)?,
            ":host_id": port.host_id,
            ":tags": to_json(&port.tags)?,
            ":created_at": port.created_at.as_microsecond(),
            ":updated_at": port.updated_at.as_microsecond(),
            ":revision": port.revision,
        })?;
    connection.prepare_cached("DELETE FROM port_address WHERE port_id = ?1")?.execute([port.id])?;
    let mut address = connection.prepare_cached(
        "INSERT INTO port_address (port_id, subnet_id, ip_address, position) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (position, fixed) in (0i64..).zip(&port.fixed_ips) {
        address.execute(params![port.id, fixed.subnet_id, fixed.address.to_string(), position])?;
    }
    connection.prepare_cached("DELETE FROM port_security_group WHERE port_id = ?1")?.execute([port.id])?;
    let mut group = connection
        .prepare_cached("INSERT INTO port_security_group (port_id, security_group_id) VALUES (?1, ?2)")?;
    for id in &port.security_groups {
        group.execute(params![port.id, id])?;
    }
    Ok(())
}

pub fn delete(connection: &Connection, id: PortId) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM port WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// Whether a network has any port.
pub fn any_on(connection: &Connection, network: NetworkId) -> Result<bool, StoreError> {
    Ok(connection.prepare_cached("SELECT 1 FROM port WHERE network_id = ?1")?.exists([network])?)
}

/// Whether any port has an address on a subnet.
pub fn any_address_on(connection: &Connection, subnet: SubnetId) -> Result<bool, StoreError> {
    Ok(connection.prepare_cached("SELECT 1 FROM port_address WHERE subnet_id = ?1")?.exists([subnet])?)
}

/// Whether any port belongs to a security group.
pub fn any_in_group(connection: &Connection, group: SecurityGroupId) -> Result<bool, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT 1 FROM port_security_group WHERE security_group_id = ?1")?;
    Ok(statement.exists([group])?)
}

pub fn mac_in_use(connection: &Connection, mac: Mac) -> Result<bool, StoreError> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM port WHERE mac_address = ?1")?;
    Ok(statement.exists([mac.to_string()])?)
}

/// A MAC address that no port has.
pub fn free_mac(connection: &Connection, id: PortId) -> Result<Mac> {
    // As many attempts as there are addresses behind our prefix: only a full space fails.
    for attempt in 0..1 << 24 {
        let mac = Mac::for_port(id, attempt);
        if !mac_in_use(connection, mac)? {
            return Ok(mac);
        }
    }
    Err(Error::conflict("Unable to generate unique mac.").with_class("MacAddressGenerationFailure"))
}

/// The port that has an address on a subnet.
pub fn holder(
    connection: &Connection,
    subnet: SubnetId,
    address: Ipv4Addr,
) -> Result<Option<PortId>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT port_id FROM port_address WHERE subnet_id = ?1 AND ip_address = ?2")?;
    Ok(statement.query_row(params![subnet, address.to_string()], |row| row.get(0)).optional()?)
}

/// The addresses for a port, in the order of the requests; what it has already counts as free. `None` asks for one
/// address from the first subnet that has one; a network without subnets gives none then.
pub fn allocate(
    connection: &Connection,
    network_id: NetworkId,
    subnets: &[Subnet],
    requests: Option<&[FixedIpRequest]>,
    port: PortId,
) -> Result<Vec<FixedIp>> {
    let mut chosen: Vec<FixedIp> = Vec::new();
    let Some(requests) = requests else {
        if subnets.is_empty() {
            return Ok(chosen);
        }
        chosen.push(from_pools(connection, network_id, subnets, port, &[])?);
        return Ok(chosen);
    };
    // Certain addresses first, so that the pools do not give them away.
    for request in requests {
        if let Some(address) = request.address {
            chosen.push(certain(connection, network_id, subnets, request.subnet_id, address, port, &chosen)?);
        }
    }
    for request in requests.iter().filter(|request| request.address.is_none()) {
        let Some(id) = request.subnet_id else {
            return Err(network::invalid_input("IP allocation requires subnet_id or ip_address"));
        };
        let subnet =
            subnets.iter().find(|subnet| subnet.id == id).ok_or_else(|| subnet_elsewhere(network_id, id))?;
        chosen.push(from_pools(connection, network_id, std::slice::from_ref(subnet), port, &chosen)?);
    }
    Ok(chosen)
}

fn subnet_elsewhere(network: NetworkId, subnet: SubnetId) -> Error {
    network::invalid_input(format!(
        "Failed to create port on network {network}, because fixed_ips included invalid subnet {subnet}"
    ))
}

fn certain(
    connection: &Connection,
    network_id: NetworkId,
    subnets: &[Subnet],
    wanted: Option<SubnetId>,
    address: Ipv4Addr,
    port: PortId,
    chosen: &[FixedIp],
) -> Result<FixedIp> {
    let subnet = match wanted {
        Some(id) => {
            let subnet = subnets
                .iter()
                .find(|subnet| subnet.id == id)
                .ok_or_else(|| subnet_elsewhere(network_id, id))?;
            if !subnet.holds(address) {
                return Err(network::address_not_on_subnet(address));
            }
            subnet
        }
        None => subnets
            .iter()
            .find(|subnet| subnet.holds(address))
            .ok_or_else(|| network::address_not_on_network(address))?,
    };
    let taken = holder(connection, subnet.id, address)?.is_some_and(|holder| holder != port);
    // The gateway's address is the host's own.
    if taken || subnet.gateway_ip == Some(address) || chosen.iter().any(|other| other.address == address) {
        return Err(network::address_in_use(network_id, address));
    }
    Ok(FixedIp { subnet_id: subnet.id, address })
}

fn from_pools(
    connection: &Connection,
    network_id: NetworkId,
    subnets: &[Subnet],
    port: PortId,
    chosen: &[FixedIp],
) -> Result<FixedIp> {
    for subnet in subnets {
        let picked = subnet.pick(network::address_seed(port), |address| {
            Ok::<_, StoreError>(
                chosen.iter().any(|other| other.address == address)
                    || holder(connection, subnet.id, address)?.is_some(),
            )
        })?;
        if let Some(address) = picked {
            return Ok(FixedIp { subnet_id: subnet.id, address });
        }
    }
    Err(network::addresses_exhausted(network_id))
}
