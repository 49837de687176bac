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
    let requests = match networking {
        Networking::None => return Ok(Vec::new()),
        Networking::List(requests) if !requests.is_empty() => requests.clone(),
        Networking::Absent | Networking::List(_) => only_network(connection, owner, false)?,
        Networking::Auto => only_network(connection, owner, true)?,
    };
    let groups = resolve_groups(connection, owner)?;
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
             p.nic_tag, p.port_security_enabled, n.name, n.mtu
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
mod tests {
    use super::*;
    use crate::core::network::{self, tests::subnet};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    struct Cloud {
        connection: Connection,
        project: ProjectId,
        network: NetworkId,
        subnet: Subnet,
    }

    fn network(project: &ProjectId, shared: bool) -> Network {
        Network {
            id: NetworkId::random(),
            project_id: project.clone(),
            name: "private".into(),
            description: String::new(),
            admin_state_up: true,
            shared,
            external: false,
            is_default: false,
            port_security_enabled: true,
            mtu: 1500,
            tags: Vec::new(),
            created_at: NOW,
            updated_at: NOW,
            revision: 1,
        }
    }

    fn cloud(cidr: &str) -> Cloud {
        let connection = crate::store::in_memory();
        let project = ProjectId::random();
        let network = network(&ProjectId::random(), true);
        networks::put(&connection, &network).unwrap();
        let mut subnet = subnet(cidr);
        subnet.network_id = network.id;
        networks::put_subnet(&connection, &subnet).unwrap();
        Cloud { connection, project, network: network.id, subnet }
    }

    impl Cloud {
        fn owner(&self, server: ServerId) -> PortOwner<'_> {
            PortOwner {
                server,
                project: &self.project,
                admin: false,
                zone: "nova",
                host: "node",
                security_groups: &[],
                now: NOW,
            }
        }

        fn plan(&self, networking: &Networking) -> Result<Vec<Port>> {
            plan_server_ports(&self.connection, &self.owner(ServerId::random()), networking)
        }

        fn refused(&self, networking: &Networking) -> &'static str {
            self.plan(networking).unwrap_err().class().unwrap()
        }

        fn on(&self, fixed_ip: Option<&str>) -> Networking {
            Networking::List(vec![NicRequest {
                network: Some(self.network),
                fixed_ip: fixed_ip.map(|address| address.parse().unwrap()),
                ..NicRequest::default()
            }])
        }
    }

    #[test]
    fn the_only_network_is_taken_unless_none_is_wanted() {
        let cloud = cloud("10.1.0.0/24");
        let server = ServerId::random();
        let made = plan_server_ports(&cloud.connection, &cloud.owner(server), &Networking::Absent).unwrap();
        assert_eq!(made.len(), 1);
        assert_eq!(made[0].device_owner, "compute:nova");
        assert_eq!(made[0].security_groups.len(), 1);
        assert_eq!(ports::of_device(&cloud.connection, &server.to_string()).unwrap(), made);
        assert_eq!(cloud.plan(&Networking::Auto).unwrap().len(), 1);
        assert!(cloud.plan(&Networking::None).unwrap().is_empty());
        networks::put(&cloud.connection, &network(&cloud.project, false)).unwrap();
        assert_eq!(cloud.refused(&Networking::Absent), "NetworkAmbiguous");
    }

    #[test]
    fn without_networks_only_auto_is_refused() {
        let mut cloud = cloud("10.1.0.0/24");
        cloud.connection = crate::store::in_memory();
        assert!(cloud.plan(&Networking::Absent).unwrap().is_empty());
        assert_eq!(cloud.refused(&Networking::Auto), "UnableToAutoAllocateNetwork");
        assert_eq!(cloud.refused(&cloud.on(None)), "NetworkNotFound");
    }

    #[test]
    fn foreign_and_external_networks() {
        let cloud = cloud("10.1.0.0/24");
        let mut foreign = network(&ProjectId::random(), false);
        networks::put(&cloud.connection, &foreign).unwrap();
        let wanted =
            Networking::List(vec![NicRequest { network: Some(foreign.id), ..NicRequest::default() }]);
        assert_eq!(cloud.refused(&wanted), "NetworkNotFound");
        foreign.external = true;
        networks::put(&cloud.connection, &foreign).unwrap();
        assert_eq!(cloud.refused(&wanted), "ExternalNetworkAttachForbidden");
        foreign.shared = true;
        networks::put(&cloud.connection, &foreign).unwrap();
        assert_eq!(cloud.refused(&wanted), "NetworkRequiresSubnet");
    }

    #[test]
    fn certain_addresses() {
        let cloud = cloud("10.1.0.0/24");
        let made = cloud.plan(&cloud.on(Some("10.1.0.77"))).unwrap();
        assert_eq!(made[0].fixed_ips[0].address, Ipv4Addr::new(10, 1, 0, 77));
        let again = cloud.plan(&cloud.on(Some("10.1.0.77"))).unwrap_err();
        assert_eq!(
            again.message(),
            format!("Fixed IP address 10.1.0.77 is already in use on instance {}.", made[0].device_id)
        );
        assert_eq!(cloud.refused(&cloud.on(Some("10.1.0.1"))), "FixedIpAlreadyInUse");
        for outside in ["10.2.0.1", "10.1.0.0", "10.1.0.255", "::1"] {
            assert_eq!(cloud.refused(&cloud.on(Some(outside))), "InvalidIpForNetwork", "{outside}");
        }
    }

    #[test]
    fn ports_that_exist_are_bound_and_freed_again() {
        let cloud = cloud("10.1.0.0/24");
        let mut port = cloud.plan(&Networking::Absent).unwrap().remove(0);
        port.made_for_server = false;
        port.device_id.clear();
        ports::put(&cloud.connection, &port).unwrap();
        let wanted = Networking::List(vec![
            NicRequest { port: Some(port.id), tag: Some("front".into()), ..NicRequest::default() },
            NicRequest { network: Some(cloud.network), ..NicRequest::default() },
        ]);
        let server = ServerId::random();
        let bound = plan_server_ports(&cloud.connection, &cloud.owner(server), &wanted).unwrap();
        assert_eq!(bound.iter().map(|p| p.nic_index).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(bound[0].nic_tag.as_deref(), Some("front"));
        assert_eq!(cloud.refused(&wanted), "PortInUse");
        let more = plan_server_ports(&cloud.connection, &cloud.owner(server), &cloud.on(None)).unwrap();
        assert_eq!(more[0].nic_index, 2);

        let nics = server_nics(&cloud.connection, &[server, ServerId::random()]).unwrap();
        assert_eq!(nics.len(), 1);
        assert_eq!(nics[&server].iter().map(|nic| nic.nic_index).collect::<Vec<_>>(), [0, 1, 2]);
        let nic = &nics[&server][0];
        assert_eq!(nic.network_name, "private");
        assert_eq!(nic.security_groups, ["default"]);
        assert_eq!(nic.addresses[0].gateway, cloud.subnet.gateway_ip);
        let owner = port_by_address(&cloud.connection, nic.addresses[0].address).unwrap().unwrap();
        assert_eq!((owner.server_id, owner.port_id), (server, port.id));

        let removed = release_server_ports(&cloud.connection, server, NOW).unwrap();
        assert_eq!(removed.iter().map(|p| p.id).collect::<Vec<_>>(), [bound[1].id, more[0].id]);
        let free = ports::get(&cloud.connection, port.id).unwrap().unwrap();
        assert_eq!((free.device_id.as_str(), free.status), ("", PortStatus::Down));
        assert!(server_nics(&cloud.connection, &[server]).unwrap().is_empty());
    }

    #[test]
    fn groups_by_name_and_id() {
        let cloud = cloud("10.1.0.0/24");
        let server = ServerId::random();
        let with = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let owner = PortOwner { security_groups: &names, ..cloud.owner(server) };
            plan_server_ports(&cloud.connection, &owner, &Networking::Absent).map(|mut p| p.remove(0))
        };
        let default = security_groups::ensure_default(&cloud.connection, &cloud.project, NOW).unwrap();
        let id = default.to_string();
        assert_eq!(with(&["default", &id]).unwrap().security_groups, [default]);
        let unknown = with(&["nowhere"]).unwrap_err();
        assert_eq!(unknown.message(), "Security group nowhere not found.");
        let group = security_groups::get(&cloud.connection, default).unwrap().unwrap();
        for _ in 0..2 {
            let twin = crate::core::security_group::SecurityGroup {
                id: SecurityGroupId::random(),
                name: "web".into(),
                ..group.clone()
            };
            security_groups::insert_with_rules(&cloud.connection, &twin).unwrap();
        }
        assert_eq!(with(&["web"]).unwrap_err().kind(), Kind::Conflict);
    }

    #[test]
    fn a_full_network_says_so() {
        let cloud = cloud("10.1.0.0/29");
        let addresses: BTreeSet<_> =
            (0..5).map(|_| cloud.plan(&Networking::Absent).unwrap()[0].fixed_ips[0].address).collect();
        assert_eq!(addresses.len(), 5);
        let full = cloud.plan(&Networking::Absent).unwrap_err();
        assert_eq!(full.message(), format!("No fixed IP addresses available for network: {}", cloud.network));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn no_two_ports_share_an_address_or_a_mac(
            steps in proptest::collection::vec((0u8..4, 0u32..16), 1..60),
        ) {
            let cloud = cloud("10.1.0.0/28");
            let mut servers: Vec<ServerId> = Vec::new();
            for (step, number) in steps {
                let server = ServerId::random();
                let networking = match step {
                    0 => {
                        if let Some(gone) = servers.pop() {
                            release_server_ports(&cloud.connection, gone, NOW).unwrap();
                        }
                        continue;
                    }
                    1 => cloud.on(Some(&Ipv4Addr::from(0x0a01_0000 + number).to_string())),
                    _ => cloud.on(None),
                };
                match plan_server_ports(&cloud.connection, &cloud.owner(server), &networking) {
                    Ok(_) => servers.push(server),
                    Err(error) if step == 1 => prop_assert!(matches!(
                        error.class(),
                        Some("FixedIpAlreadyInUse" | "InvalidIpForNetwork")
                    )),
                    Err(error) => {
                        prop_assert_eq!(error.class(), Some("NoMoreFixedIps"));
                        prop_assert_eq!(servers.len(), 13, "refused while there was room");
                    }
                }
                let all = ports::of_network(&cloud.connection, cloud.network).unwrap();
                prop_assert_eq!(all.len(), servers.len());
                let addresses: BTreeSet<_> = all.iter().map(|p| p.fixed_ips[0].address).collect();
                let macs: BTreeSet<_> = all.iter().map(|p| p.mac).collect();
                prop_assert_eq!((addresses.len(), macs.len()), (all.len(), all.len()));
                for address in addresses {
                    prop_assert!(cloud.subnet.holds(address) && Some(address) != cloud.subnet.gateway_ip);
                    prop_assert!(network::check_gateway(cloud.subnet.cidr, address).is_ok());
                }
            }
        }
    }
}
