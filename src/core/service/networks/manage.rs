//! Networks: who sees them, and how projects make their own.

use super::{Caller, NetworksService, follow, store, visible_network};
use crate::core::actor::Actor;
use crate::core::ids::{NetworkId, SubnetId};
use crate::core::listing::Listing;
use crate::core::network::{Network, NetworkChanges, NewNetwork, not_authorized};
use crate::core::{Error, Result};
use crate::store::{Connection, ports};
use jiff::Timestamp;

/// A network with the ids of its subnets.
pub type NetworkWithSubnets = (Network, Vec<SubnetId>);

impl NetworksService {
    pub async fn list(&self, actor: &Actor, listing: Listing) -> Result<Vec<NetworkWithSubnets>> {
        let listing = Caller::of(actor).view(listing);
        self.read(move |c| {
            let networks = store::list(c, &listing)?;
            let ids: Vec<NetworkId> = networks.iter().map(|network| network.id).collect();
            let mut subnets = store::subnet_ids(c, &ids)?;
            Ok(networks
                .into_iter()
                .map(|network| {
                    let own = subnets.remove(&network.id).unwrap_or_default();
                    (network, own)
                })
                .collect())
        })
        .await
    }

    pub async fn show(&self, actor: &Actor, id: NetworkId) -> Result<NetworkWithSubnets> {
        let caller = Caller::of(actor);
        self.read(move |c| with_subnets(c, visible_network(c, &caller, id)?)).await
    }

    /// Makes all of the networks or none. On the host a network appears with its first subnet.
    pub async fn create(&self, actor: &Actor, wanted: Vec<NewNetwork>) -> Result<Vec<NetworkWithSubnets>> {
        let (caller, now) = (Caller::of(actor), self.deps.clock.now());
        self.write(move |c| {
            let made = wanted.into_iter().map(|network| Ok((create(c, &caller, network, now)?, Vec::new())));
            made.collect()
        })
        .await
    }

    pub async fn update(
        &self,
        actor: &Actor,
        id: NetworkId,
        changes: NetworkChanges,
    ) -> Result<NetworkWithSubnets> {
        let (actor, now) = (actor.clone(), self.deps.clock.now());
        self.write(move |c| {
            let network = owned(c, &Caller::of(&actor), id, "update_network")?;
            let mtu = network.mtu;
            let network = update(c, &Caller::of(&actor), network, changes, now)?;
            if network.mtu != mtu {
                follow(c, id, &actor, now)?;
            }
            with_subnets(c, network)
        })
        .await
    }

    /// Removes a network with its subnets; it must have no ports.
    pub async fn delete(&self, actor: &Actor, id: NetworkId) -> Result<()> {
        let (actor, now) = (actor.clone(), self.deps.clock.now());
        self.write(move |c| {
            owned(c, &Caller::of(&actor), id, "delete_network")?;
            if ports::any_on(c, id)? {
                return Err(Error::conflict(format!(
                    "Unable to complete operation on network {id}. There are one or more ports still in use on \
                     the network."
                ))
                .with_class("NetworkInUse"));
            }
            store::delete(c, id)?;
            follow(c, id, &actor, now)
        })
        .await
    }
}

fn with_subnets(connection: &Connection, network: Network) -> Result<NetworkWithSubnets> {
    let subnets = store::subnet_ids(connection, &[network.id])?.remove(&network.id).unwrap_or_default();
    Ok((network, subnets))
}

/// The network for who may change it. Others who see it are refused; for the rest it is unknown.
pub(super) fn owned(connection: &Connection, caller: &Caller, id: NetworkId, rule: &str) -> Result<Network> {
    let network = visible_network(connection, caller, id)?;
    if caller.rules(&network.project_id) { Ok(network) } else { Err(not_authorized(rule)) }
}

fn create(connection: &Connection, caller: &Caller, wanted: NewNetwork, now: Timestamp) -> Result<Network> {
    let project_id = caller.project_for(wanted.project_id)?;
    if wanted.shared && !caller.admin {
        return Err(not_authorized("create_network:shared"));
    }
    if wanted.is_default && !caller.admin {
        return Err(not_authorized("create_network:is_default"));
    }
    store::check_quota(connection, &project_id, "network", 1)?;
    let network = Network {
        id: NetworkId::random(),
        project_id,
        name: wanted.name,
        description: wanted.description,
        admin_state_up: wanted.admin_state_up,
        shared: wanted.shared,
        external: false,
        is_default: wanted.is_default,
        port_security_enabled: wanted.port_security,
        mtu: wanted.mtu,
        tags: Vec::new(),
        created_at: now,
        updated_at: now,
        revision: 1,
    };
    store::put(connection, &network)?;
    Ok(network)
}

fn update(
    connection: &Connection,
    caller: &Caller,
    mut network: Network,
    changes: NetworkChanges,
    now: Timestamp,
) -> Result<Network> {
    if changes.shared.is_some_and(|shared| shared != network.shared) {
        if !caller.admin {
            return Err(not_authorized("update_network:shared"));
        }
        let others = ports::of_network(connection, network.id)?;
        if network.shared && others.iter().any(|port| port.project_id != network.project_id) {
            return Err(Error::conflict(format!(
                "Unable to reconfigure sharing settings for network {}. Multiple tenants are using it.",
                network.name
            ))
            .with_class("InvalidSharedSetting"));
        }
    }
    if changes.is_default.is_some_and(|default| default != network.is_default) && !caller.admin {
        return Err(not_authorized("update_network:is_default"));
    }
    network.name = changes.name.unwrap_or(network.name);
    network.description = changes.description.unwrap_or(network.description);
    network.admin_state_up = changes.admin_state_up.unwrap_or(network.admin_state_up);
    network.shared = changes.shared.unwrap_or(network.shared);
    network.is_default = changes.is_default.unwrap_or(network.is_default);
    network.mtu = changes.mtu.unwrap_or(network.mtu);
    network.port_security_enabled = changes.port_security.unwrap_or(network.port_security_enabled);
    network.updated_at = now;
    network.revision += 1;
    store::put(connection, &network)?;
    Ok(network)
}
