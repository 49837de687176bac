//! Ports that clients make, change and remove themselves. Those of servers come and go with the servers.

use super::{Caller, NetworksService, store, visible_network};
use crate::core::actor::Actor;
use crate::core::ids::{PortId, ProjectId, SecurityGroupId};
use crate::core::listing::Listing;
use crate::core::network::{Network, invalid_input, mac_in_use, not_authorized};
use crate::core::port::{COMPUTE_PREFIX, NewPort, Port, PortChanges, PortStatus, port_not_found};
use crate::core::security_group::group_not_found;
use crate::core::{Error, Result};
use crate::store::{Connection, ports, security_groups};
use jiff::Timestamp;

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
        let (caller, now) = (Caller::of(actor), self.deps.clock.now());
        self.write(move |c| {
            let (port, network) = visible(c, &caller, id)?;
            update(c, &caller, port, &network, changes, now)
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
        port_security_enabled: network.port_security_enabled,
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
        let fixed_ips = ports::allocate(connection, network.id, &subnets, Some(&requests), port.id)?;
        // The host lets a guest use only the addresses that its NIC was plugged in with.
        if fixed_ips != port.fixed_ips && port.is_of_server() {
            return Err(attached(&port));
        }
        port.fixed_ips = fixed_ips;
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
