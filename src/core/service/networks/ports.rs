//! Ports that clients make, change and remove themselves. Those of servers come and go with the servers.

use super::{Caller, NetworksService, follow, store, visible_network};
use crate::core::actor::Actor;
use crate::core::ids::{PortId, ProjectId, SecurityGroupId};
use crate::core::listing::Listing;
use crate::core::network::{Mac, Network, invalid_input, mac_in_use, not_authorized};
use crate::core::port::{
    AddressPair, AddressPairRequest, COMPUTE_PREFIX, NewPort, Port, PortChanges, PortStatus, port_not_found,
};
use crate::core::security_group::group_not_found;
use crate::core::{Error, Result};
use crate::store::{Connection, ports, security_groups};
use jiff::Timestamp;

/// How many pairs a port may have.
const MAX_PAIRS: usize = 10;

impl NetworksService {
    pub async fn list_ports(&self, actor: &Actor, listing: Listing) -> Result<Vec<Port>> {
        let listing = Caller::of(actor).view(listing);
        self.read(move |c| ports::list(c, &listing)).await
    }

    pub async fn show_port(&self, actor: &Actor, id: PortId) -> Result<Port> {
        let caller = Caller::of(actor);
        self.read(move |c| Ok(visible(c, &caller, id)?.0)).await
    }

    /// Makes all of the ports or none.
    pub async fn create_ports(&self, actor: &Actor, wanted: Vec<NewPort>) -> Result<Vec<Port>> {
        let (caller, now) = (Caller::of(actor), self.deps.clock.now());
        self.write(move |c| wanted.into_iter().map(|port| create(c, &caller, port, now)).collect()).await
    }

    pub async fn update_port(&self, actor: &Actor, id: PortId, changes: PortChanges) -> Result<Port> {
        let (caller, actor, now) = (Caller::of(actor), actor.clone(), self.deps.clock.now());
        self.write(move |c| {
            let (port, network) = visible(c, &caller, id)?;
            let refilter = port.is_of_server() && changes.concern_the_host();
            let changed = update(c, &caller, port, &network, changes, now)?;
            if refilter {
                follow(c, network.id, &actor, now)?;
            }
            Ok(changed)
        })
        .await
    }

    pub async fn delete_port(&self, actor: &Actor, id: PortId) -> Result<()> {
        let caller = Caller::of(actor);
        self.write(move |c| {
            let (port, _) = visible(c, &caller, id)?;
            if port.is_of_server() {
                return Err(attached(&port));
            }
            Ok(ports::delete(c, id)?)
        })
        .await
    }
}

/// The port with its network, for its owner, the network's owner and admins.
pub(super) fn visible(connection: &Connection, caller: &Caller, id: PortId) -> Result<(Port, Network)> {
    let port = ports::get(connection, id)?.ok_or_else(|| port_not_found(id))?;
    let network = store::get(connection, port.network_id)?.ok_or_else(|| port_not_found(id))?;
    if caller.rules(&port.project_id) || caller.rules(&network.project_id) {
        return Ok((port, network));
    }
    Err(port_not_found(id))
}

fn attached(port: &Port) -> Error {
    Error::conflict(format!(
        "Unable to complete operation on port {} for network {}. Port already has an attached device {}.",
        port.id, port.network_id, port.device_id
    ))
    .with_class("PortInUse")
}

/// What on other people's networks would let a port pose as another.
fn only_network_owner(caller: &Caller, network: &Network, rule: &str) -> Result<()> {
    if caller.rules(&network.project_id) { Ok(()) } else { Err(not_authorized(rule)) }
}

/// The pairs as they are kept. None may be there twice.
fn pairs(own: Mac, wanted: Vec<AddressPairRequest>) -> Result<Vec<AddressPair>> {
    if wanted.len() > MAX_PAIRS {
        return Err(Error::invalid(format!(
            "The number of allowed address pair exceeds the maximum {MAX_PAIRS}."
        ))
        .with_class("AllowedAddressPairExhausted"));
    }
    let mut pairs = Vec::with_capacity(wanted.len());
    for AddressPairRequest { mac, range } in wanted {
        let pair = AddressPair { mac: mac.unwrap_or(own), range };
        if pairs.contains(&pair) {
            return Err(Error::invalid(format!(
                "Request contains duplicate address pair: mac_address {} ip_address {}.",
                pair.mac, pair.range
            ))
            .with_class("DuplicateAddressPairInRequest"));
        }
        pairs.push(pair);
    }
    Ok(pairs)
}

fn pairs_need_security() -> Error {
    Error::conflict("Port Security must be enabled in order to have allowed address pairs on a port.")
        .with_class("AddressPairAndPortSecurityRequired")
}

fn groups_need_security() -> Error {
    Error::invalid(
        "Port security must be enabled and port must have an IP address in order to use security groups.",
    )
    .with_class("PortSecurityAndIPRequiredForSecurityGroups")
}

fn security_needed_for_groups() -> Error {
    Error::conflict(
        "Port has security group associated. Cannot disable port security or IP address until security group is \
         removed.",
    )
    .with_class("PortSecurityPortHasSecurityGroup")
}

/// The owners that the compute service and this cloud itself write.
fn check_device_owner(owner: &str) -> Result<()> {
    if owner.starts_with(COMPUTE_PREFIX) || owner.starts_with("network:") {
        return Err(invalid_input(format!("device_owner {owner} is reserved for this cloud's own services")));
    }
    Ok(())
}

fn create(connection: &Connection, caller: &Caller, wanted: NewPort, now: Timestamp) -> Result<Port> {
    let project = caller.project_for(wanted.project_id)?;
    let network = visible_network(connection, caller, wanted.network_id)?;
    check_device_owner(&wanted.device_owner)?;
    if wanted.host_id.is_some() && !caller.admin {
        return Err(not_authorized("create_port:binding:host_id"));
    }
    if wanted.mac.is_some() {
        only_network_owner(caller, &network, "create_port:mac_address")?;
    }
    if wanted.fixed_ips.iter().flatten().any(|request| request.address.is_some()) {
        only_network_owner(caller, &network, "create_port:fixed_ips:ip_address")?;
    }
    if wanted.port_security.is_some() {
        only_network_owner(caller, &network, "create_port:port_security_enabled")?;
    }
    let secured = wanted.port_security.unwrap_or(network.port_security_enabled);
    if !secured && wanted.security_groups.as_ref().is_some_and(|groups| !groups.is_empty()) {
        return Err(groups_need_security());
    }
    if !wanted.allowed_pairs.is_empty() {
        only_network_owner(caller, &network, "create_port:allowed_address_pairs")?;
        if !secured {
            return Err(pairs_need_security());
        }
    }
    store::check_quota(connection, &project, "port", 1)?;
    let id = PortId::random();
    let mac = match wanted.mac {
        Some(mac) if ports::mac_in_use(connection, mac)? => return Err(mac_in_use(network.id, mac)),
        Some(mac) => mac,
        None => ports::free_mac(connection, id)?,
    };
    let subnets = store::subnets_of(connection, network.id)?;
    let fixed_ips = ports::allocate(connection, network.id, &subnets, wanted.fixed_ips.as_deref(), id)?;
    let security_groups = match wanted.security_groups {
        Some(groups) => check_groups(connection, caller, &project, groups)?,
        None if !secured => Vec::new(),
        None => vec![security_groups::ensure_default(connection, &project, now)?],
    };
    let port = Port {
        id,
        network_id: network.id,
        project_id: project,
        name: wanted.name,
        description: wanted.description,
        admin_state_up: wanted.admin_state_up,
        mac,
        status: PortStatus::Down,
        device_id: wanted.device_id,
        device_owner: wanted.device_owner,
        made_for_server: false,
        nic_index: 0,
        nic_tag: None,
        port_security_enabled: secured,
        allowed_pairs: pairs(mac, wanted.allowed_pairs)?,
        host_id: wanted.host_id.unwrap_or_default(),
        tags: Vec::new(),
        created_at: now,
        updated_at: now,
        revision: 1,
        fixed_ips,
        security_groups,
    };
    ports::put(connection, &port)?;
    Ok(port)
}

fn update(
    connection: &Connection,
    caller: &Caller,
    mut port: Port,
    network: &Network,
    changes: PortChanges,
    now: Timestamp,
) -> Result<Port> {
    if changes.host_id.as_ref().is_some_and(|host| *host != port.host_id) {
        if !caller.admin {
            return Err(not_authorized("update_port:binding:host_id"));
        }
        if port.is_of_server() {
            return Err(attached(&port));
        }
    }
    change_device(&mut port, changes.device_id, changes.device_owner)?;
    if let Some(mac) = changes.mac.filter(|mac| *mac != port.mac) {
        if !caller.admin {
            return Err(not_authorized("update_port:mac_address"));
        }
        if port.is_of_server() {
            return Err(attached(&port));
        }
        if ports::mac_in_use(connection, mac)? {
            return Err(mac_in_use(network.id, mac));
        }
        port.mac = mac;
    }
    if let Some(requests) = changes.fixed_ips {
        let certain = |address| port.fixed_ips.iter().any(|fixed| fixed.address == address);
        if requests.iter().any(|request| request.address.is_some_and(|address| !certain(address))) {
            only_network_owner(caller, network, "update_port:fixed_ips:ip_address")?;
        }
        let subnets = store::subnets_of(connection, network.id)?;
        port.fixed_ips = ports::allocate(connection, network.id, &subnets, Some(&requests), port.id)?;
    }
    if let Some(secured) = changes.port_security.filter(|secured| *secured != port.port_security_enabled) {
        only_network_owner(caller, network, "update_port:port_security_enabled")?;
        port.port_security_enabled = secured;
        let groups = changes.security_groups.as_ref();
        if !secured && groups.map_or(!port.security_groups.is_empty(), |groups| !groups.is_empty()) {
            return Err(security_needed_for_groups());
        }
        if secured && groups.is_none() && port.security_groups.is_empty() {
            port.security_groups = vec![security_groups::ensure_default(connection, &port.project_id, now)?];
        }
    }
    if !port.port_security_enabled
        && changes.security_groups.as_ref().is_some_and(|groups| !groups.is_empty())
    {
        return Err(groups_need_security());
    }
    if let Some(wanted) = changes.allowed_pairs {
        only_network_owner(caller, network, "update_port:allowed_address_pairs")?;
        port.allowed_pairs = pairs(port.mac, wanted)?;
    }
    if !port.port_security_enabled && !port.allowed_pairs.is_empty() {
        return Err(pairs_need_security());
    }
    if let Some(groups) = changes.security_groups {
        port.security_groups = check_groups(connection, caller, &port.project_id, groups)?;
    }
    port.name = changes.name.unwrap_or(port.name);
    port.description = changes.description.unwrap_or(port.description);
    port.admin_state_up = changes.admin_state_up.unwrap_or(port.admin_state_up);
    port.host_id = changes.host_id.unwrap_or(port.host_id);
    port.updated_at = now;
    port.revision += 1;
    ports::put(connection, &port)?;
    Ok(port)
}

/// A port leaves its server by the compute API only, which unplugs the NIC too.
fn change_device(port: &mut Port, device_id: Option<String>, device_owner: Option<String>) -> Result<()> {
    let changed = device_id.as_ref().is_some_and(|id| *id != port.device_id)
        || device_owner.as_ref().is_some_and(|owner| *owner != port.device_owner);
    if !changed {
        return Ok(());
    }
    if port.is_of_server() {
        return Err(attached(port));
    }
    if let Some(owner) = &device_owner {
        check_device_owner(owner)?;
    }
    port.device_id = device_id.unwrap_or_else(|| std::mem::take(&mut port.device_id));
    port.device_owner = device_owner.unwrap_or_else(|| std::mem::take(&mut port.device_owner));
    Ok(())
}

fn check_groups(
    connection: &Connection,
    caller: &Caller,
    project: &ProjectId,
    groups: Vec<SecurityGroupId>,
) -> Result<Vec<SecurityGroupId>> {
    let mut checked = Vec::with_capacity(groups.len());
    for id in groups {
        let group = security_groups::get(connection, id)?.ok_or_else(|| group_not_found(id))?;
        if !caller.admin && group.project_id != *project {
            return Err(group_not_found(id));
        }
        if !checked.contains(&id) {
            checked.push(id);
        }
    }
    Ok(checked)
}
