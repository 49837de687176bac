//! Subnets: one range a network, which overlaps with no other of this cloud and with nothing on the host.

use super::manage::owned;
use super::{Caller, NetworksService, follow, store, visible_subnet};
use crate::core::actor::Actor;
use crate::core::ids::{NetworkId, SubnetId};
use crate::core::listing::Listing;
use crate::core::network::{
    NewSubnet, Subnet, SubnetChanges, check_cidr, check_gateway, check_pools, default_pools, first_host,
    invalid_input, not_authorized, overlaps,
};
use crate::core::{Error, Kind, Result};
use crate::store::{Connection, ports};
use ipnet::Ipv4Net;
use jiff::Timestamp;

impl NetworksService {
    pub async fn list_subnets(&self, actor: &Actor, listing: Listing) -> Result<Vec<Subnet>> {
        let listing = Caller::of(actor).view(listing);
        self.read(move |c| store::list_subnets(c, &listing)).await
    }

    pub async fn show_subnet(&self, actor: &Actor, id: SubnetId) -> Result<Subnet> {
        let caller = Caller::of(actor);
        self.read(move |c| visible_subnet(c, &caller, id)).await
    }

    /// Makes all of the subnets or none; the networks appear on the host soon after.
    pub async fn create_subnets(&self, actor: &Actor, wanted: Vec<NewSubnet>) -> Result<Vec<Subnet>> {
        for subnet in &wanted {
            let cidr = check_cidr(subnet.cidr)?;
            if !self.host.is_free(cidr).await.map_err(cannot_ask)? {
                return Err(overlapping(cidr, subnet.network_id));
            }
        }
        let (actor, now) = (actor.clone(), self.deps.clock.now());
        let made = self.write(move |c| {
            let caller = Caller::of(&actor);
            let create_one = |subnet| {
                let subnet = create(c, &caller, subnet, now)?;
                follow(c, subnet.network_id, &actor, now)?;
                Ok(subnet)
            };
            wanted.into_iter().map(create_one).collect()
        });
        let made = made.await?;
        self.deps.tasks.wake();
        Ok(made)
    }

    pub async fn update_subnet(&self, actor: &Actor, id: SubnetId, changes: SubnetChanges) -> Result<Subnet> {
        let (actor, now) = (actor.clone(), self.deps.clock.now());
        let changed = self.write(move |c| {
            let subnet = owned_subnet(c, &Caller::of(&actor), id, "update_subnet")?;
            let subnet = update(c, subnet, changes, now)?;
            follow(c, subnet.network_id, &actor, now)?;
            Ok(subnet)
        });
        let changed = changed.await?;
        self.deps.tasks.wake();
        Ok(changed)
    }

    /// Removes a subnet on which no port has an address.
    pub async fn delete_subnet(&self, actor: &Actor, id: SubnetId) -> Result<()> {
        let (actor, now) = (actor.clone(), self.deps.clock.now());
        self.write(move |c| {
            let subnet = owned_subnet(c, &Caller::of(&actor), id, "delete_subnet")?;
            not_in_use(c, id)?;
            store::delete_subnet(c, id)?;
            follow(c, subnet.network_id, &actor, now)
        })
        .await?;
        self.deps.tasks.wake();
        Ok(())
    }
}

fn cannot_ask(cause: crate::host::net::NetError) -> Error {
    Error::unavailable("The address ranges of this host could not be looked at.").with_source(cause)
}

fn overlapping(cidr: Ipv4Net, network: NetworkId) -> Error {
    invalid_input(format!(
        "Requested subnet with cidr: {cidr} for network: {network} overlaps with another subnet"
    ))
}

fn not_in_use(connection: &Connection, id: SubnetId) -> Result<()> {
    if ports::any_address_on(connection, id)? {
        return Err(Error::conflict(format!(
            "Unable to complete operation on subnet {id}: One or more ports have an IP allocation from this subnet."
        ))
        .with_class("SubnetInUse"));
    }
    Ok(())
}

fn owned_subnet(connection: &Connection, caller: &Caller, id: SubnetId, rule: &str) -> Result<Subnet> {
    let subnet = visible_subnet(connection, caller, id)?;
    if caller.rules(&subnet.project_id) { Ok(subnet) } else { Err(not_authorized(rule)) }
}

fn create(connection: &Connection, caller: &Caller, wanted: NewSubnet, now: Timestamp) -> Result<Subnet> {
    let network = owned(connection, caller, wanted.network_id, "create_subnet")?;
    let project_id = match wanted.project_id {
        None => network.project_id,
        named => caller.project_for(named)?,
    };
    let cidr = check_cidr(wanted.cidr)?;
    if !store::subnets_of(connection, network.id)?.is_empty() {
        return Err(Error::new(
            Kind::NotImplemented,
            "A network of this cloud has one subnet, and this one has it.",
        )
        .with_class("NotImplementedError"));
    }
    if store::all_subnets(connection)?.iter().any(|other| overlaps(other.cidr, cidr)) {
        return Err(overlapping(cidr, network.id));
    }
    let gateway_ip = wanted.gateway_ip.or_else(|| first_host(cidr));
    if let Some(gateway) = gateway_ip {
        check_gateway(cidr, gateway)?;
    }
    let allocation_pools = match wanted.allocation_pools {
        Some(pools) => check_pools(cidr, gateway_ip, &pools)?,
        None => default_pools(cidr, gateway_ip),
    };
    store::check_quota(connection, &project_id, "subnet", 1)?;
    let subnet = Subnet {
        id: SubnetId::random(),
        network_id: network.id,
        project_id,
        name: wanted.name,
        description: wanted.description,
        cidr,
        gateway_ip,
        enable_dhcp: wanted.enable_dhcp,
        allocation_pools,
        dns_nameservers: wanted.dns_nameservers,
        host_routes: Vec::new(),
        tags: Vec::new(),
        created_at: now,
        updated_at: now,
        revision: 0,
    };
    store::put_subnet(connection, &subnet)?;
    Ok(subnet)
}

fn update(
    connection: &Connection,
    mut subnet: Subnet,
    changes: SubnetChanges,
    now: Timestamp,
) -> Result<Subnet> {
    if let Some(gateway) = changes.gateway_ip.filter(|gateway| Some(*gateway) != subnet.gateway_ip) {
        check_gateway(subnet.cidr, gateway)?;
        // Guests have learnt the old one, and the host would answer there no more.
        not_in_use(connection, subnet.id)?;
        subnet.gateway_ip = Some(gateway);
    }
    let pools = changes.allocation_pools.unwrap_or(subnet.allocation_pools);
    subnet.allocation_pools = check_pools(subnet.cidr, subnet.gateway_ip, &pools)?;
    subnet.name = changes.name.unwrap_or(subnet.name);
    subnet.description = changes.description.unwrap_or(subnet.description);
    subnet.enable_dhcp = changes.enable_dhcp.unwrap_or(subnet.enable_dhcp);
    subnet.dns_nameservers = changes.dns_nameservers.unwrap_or(subnet.dns_nameservers);
    subnet.updated_at = now;
    subnet.revision += 1;
    store::put_subnet(connection, &subnet)?;
    Ok(subnet)
}
