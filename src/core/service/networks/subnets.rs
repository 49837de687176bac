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
use crate::core::workflow::network_sync::NetworkSync;
use crate::core::{Error, Kind, Result};
use crate::store::{Connection, ports, tasks};
use crate::task::Workflow;
use ipnet::Ipv4Net;
use jiff::Timestamp;
use std::time::Duration;

/// How long a new subnet waits for what the host still has of networks that are gone.
const PATIENCE: Duration = Duration::from_secs(20);

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
            if !self.is_free(cidr).await? {
                return Err(overlapping(cidr, subnet.network_id));
            }
        }
        let (actor, now) = (actor.clone(), self.deps.clock.now());
        self.write(move |c| {
            let caller = Caller::of(&actor);
            let create_one = |subnet| {
                let subnet = create(c, &caller, subnet, now)?;
                follow(c, subnet.network_id, &actor, now)?;
                Ok(subnet)
            };
            wanted.into_iter().map(create_one).collect()
        })
        .await
    }

    /// Whether nothing uses the range. A network that is gone is on the host a moment longer, which is waited for.
    async fn is_free(&self, range: Ipv4Net) -> Result<bool> {
        if self.host.is_free(range).await.map_err(cannot_ask)? {
            return Ok(true);
        }
        if self.read(move |c| taken(c, range)).await? {
            return Ok(false);
        }
        let followed = self.deps.tasks.until(|c| {
            Ok(!tasks::open(c)?
                .iter()
                .any(|open| open.workflow == NetworkSync::NAME && open.status != "stuck"))
        });
        if let Ok(followed) = tokio::time::timeout(PATIENCE, followed).await {
            followed?;
        }
        self.host.is_free(range).await.map_err(cannot_ask)
    }

    pub async fn update_subnet(&self, actor: &Actor, id: SubnetId, changes: SubnetChanges) -> Result<Subnet> {
        let (actor, now) = (actor.clone(), self.deps.clock.now());
        self.write(move |c| {
            let subnet = owned_subnet(c, &Caller::of(&actor), id, "update_subnet")?;
            let subnet = update(c, subnet, changes, now)?;
            follow(c, subnet.network_id, &actor, now)?;
            Ok(subnet)
        })
        .await
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
        .await
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

/// Whether a subnet of this cloud has a part of the range.
fn taken(connection: &Connection, range: Ipv4Net) -> Result<bool> {
    Ok(store::all_subnets(connection)?.iter().any(|other| overlaps(other.cidr, range)))
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
    if taken(connection, cidr)? {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::network::NewNetwork;
    use crate::core::service::Deps;
    use crate::core::workflow::testing::{Bench, owner};
    use crate::host::faults::{Call, Fault};

    #[tokio::test]
    async fn a_range_is_free_again_when_its_subnet_is_gone() {
        let bench = Bench::new();
        let process = bench.start().await;
        let deps =
            Deps { store: process.store.clone(), clock: process.clock.clone(), tasks: process.tasks.clone() };
        let service = NetworksService::new(deps, bench.network.clone());
        let network = NewNetwork {
            project_id: None,
            name: "n".into(),
            description: String::new(),
            admin_state_up: true,
            shared: false,
            is_default: false,
            port_security: true,
            mtu: 1500,
        };
        let made = service.create(&owner(), vec![network.clone(), network]).await.unwrap();
        let ids: Vec<NetworkId> = made.iter().map(|made| made.0.id).collect();
        let subnet = |network_id: NetworkId| NewSubnet {
            network_id,
            project_id: None,
            name: String::new(),
            description: String::new(),
            cidr: "192.168.50.0/24".parse().unwrap(),
            gateway_ip: None,
            enable_dhcp: true,
            allocation_pools: None,
            dns_nameservers: Vec::new(),
        };
        let first = service.create_subnets(&owner(), vec![subnet(ids[0])]).await.unwrap().remove(0);
        process.tasks.settled().await.unwrap();
        assert!(bench.network.inventory().networks.contains_key(&ids[0]));
        let refused = service.create_subnets(&owner(), vec![subnet(ids[1])]).await.unwrap_err();
        assert!(refused.message().contains("overlaps with another subnet"), "{refused}");

        bench.network.faults().nth(Call::RemoveNetwork, 1, Fault::Delay(Duration::from_millis(50)));
        service.delete_subnet(&owner(), first.id).await.unwrap();
        service.create_subnets(&owner(), vec![subnet(ids[1])]).await.unwrap();
        process.tasks.settled().await.unwrap();
        assert_eq!(bench.network.inventory().networks.keys().filter(|id| ids.contains(id)).count(), 1);
    }
}
