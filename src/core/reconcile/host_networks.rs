//! The host's networks as the store says: at start for all of them, and piece by piece for workflows.
//!
//! Never changes the store. A network that the host cannot have now does not keep the others from being made.

use crate::core::firewall::Reading;
use crate::core::ids::NetworkId;
use crate::core::port::{Reservation, ServerNic, host_label};
use crate::host::net::{HostNetwork, HostNetworkSpec, HostPortSpec, NetError, NetworkMode};
use crate::store::{Connection, Store, StoreError, firewall, networks, server_ports};

/// A network that is in the store, but could not be made on the host.
#[derive(Debug)]
pub struct Unmade {
    pub network: NetworkId,
    pub cause: NetError,
}

/// Makes every network of the store on the host, with exactly the reservations that servers have, and the address of the
/// metadata service. To be called at each start, before any server is started.
pub async fn ensure_host_networks(
    store: &Store,
    host: &dyn HostNetwork,
) -> Result<Vec<Unmade>, HostNetworksError> {
    if host.mode() == NetworkMode::User {
        return Ok(Vec::new());
    }
    let mut unmade = Vec::new();
    for spec in store.read(all_specs).await? {
        let made = match host.ensure_network(&spec).await {
            Ok(()) => ensure_rules(store, host, spec.id).await,
            Err(cause) => Err(cause.into()),
        };
        match made {
            Ok(()) => {}
            Err(HostNetworksError::Host(cause)) => unmade.push(Unmade { network: spec.id, cause }),
            Err(error @ HostNetworksError::Store(_)) => return Err(error),
        }
    }
    if unmade.is_empty() {
        host.forget_older_rules().await?;
    }
    host.ensure_metadata_address().await?;
    Ok(unmade)
}

/// Why the host's networks could not be looked after at all.
#[derive(Debug, thiserror::Error)]
pub enum HostNetworksError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Host(#[from] NetError),
}

/// Makes what guests on a network may send and receive what the store says. To be called before a guest starts, after
/// one has gone, and after every change of groups.
pub async fn ensure_rules(
    store: &Store,
    host: &dyn HostNetwork,
    network: NetworkId,
) -> Result<(), HostNetworksError> {
    if host.mode() == NetworkMode::User {
        return Ok(());
    }
    let reading = Reading::begin();
    let rules = store.read(move |c| firewall::rules(c, network)).await?;
    Ok(host.ensure_rules(reading, rules).await?)
}

fn all_specs(connection: &Connection) -> Result<Vec<HostNetworkSpec>, StoreError> {
    let mut specs: Vec<HostNetworkSpec> = Vec::new();
    for subnet in networks::all_subnets(connection)? {
        if !specs.iter().any(|spec| spec.id == subnet.network_id) {
            specs.extend(spec(connection, subnet.network_id)?);
        }
    }
    Ok(specs)
}

/// What a network should be on the host; `None` when it is not in the store or has no subnet with a gateway:
/// then there is nothing on the host.
pub fn spec(connection: &Connection, id: NetworkId) -> Result<Option<HostNetworkSpec>, StoreError> {
    let Some(network) = networks::get(connection, id)? else { return Ok(None) };
    let subnets = networks::subnets_of(connection, id)?;
    let with_gateway =
        subnets.into_iter().find_map(|subnet| subnet.gateway_ip.map(|gateway| (subnet, gateway)));
    let Some((subnet, gateway)) = with_gateway else { return Ok(None) };
    let reservations = server_ports::reservations(connection, id)?;
    Ok(Some(HostNetworkSpec {
        id: network.id,
        cidr: subnet.cidr,
        gateway,
        dhcp: subnet.enable_dhcp,
        dns_servers: subnet.dns_nameservers,
        mtu: network.mtu,
        ports: reservations.iter().map(port_spec).collect(),
    }))
}

fn port_spec(reservation: &Reservation) -> HostPortSpec {
    HostPortSpec {
        id: reservation.port_id,
        mac: reservation.mac.to_string(),
        address: reservation.address,
        hostname: reservation.hostname.as_deref().and_then(host_label).map(str::to_owned),
    }
}

/// The reservation that the NIC of a server with this host name needs; `None` when the NIC has no address.
pub fn nic_reservation(nic: &ServerNic, hostname: &str) -> Option<HostPortSpec> {
    nic.addresses.first().map(|first| HostPortSpec {
        id: nic.port_id,
        mac: nic.mac.to_string(),
        address: first.address,
        hostname: host_label(hostname).map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::{ProjectId, ServerId};
    use crate::core::port::Networking;
    use crate::core::service::networks::tests::service;
    use crate::host::faults::{Call, Failure, Fault};
    use crate::host::net::fake::FakeNetwork;
    use crate::store::server_ports::{PortOwner, plan_server_ports};
    use jiff::Timestamp;

    #[actix_web::test]
    async fn a_start_restores_what_is_missing_on_the_host() {
        let (service, _folder) = service();
        let host = FakeNetwork::default();
        let project = ProjectId::random();
        let network = service.ensure_default(&host, &project).await.unwrap().unwrap();
        assert!(host.inventory().networks.is_empty(), "choosing a range makes nothing yet");
        let server = ServerId::random();
        let owner = project.clone();
        let port = service
            .deps()
            .store
            .write::<_, crate::core::Error, _>(move |c| {
                let owner = PortOwner {
                    server,
                    project: &owner,
                    admin: false,
                    zone: "nova",
                    host: "node",
                    security_groups: &[],
                    now: Timestamp::UNIX_EPOCH,
                };
                Ok(plan_server_ports(c, &owner, &Networking::Absent)?.remove(0))
            })
            .await
            .unwrap();
        let store = &service.deps().store;
        assert!(ensure_host_networks(store, &host).await.unwrap().is_empty());
        let made = host.inventory();
        assert!(made.metadata_address);
        assert_eq!(made.networks[&network].ports[0].mac, port.mac.to_string());
        assert_eq!(made.networks[&network].ports[0].address, port.fixed_ips[0].address);
        let rules = &made.rules[&network];
        assert_eq!((rules.ports[0].id, rules.ports[0].mac), (port.id, port.mac));
        assert_eq!(rules.groups[0].id, port.security_groups[0]);
        // Those of every default group, and the one that lets this host in.
        assert_eq!(rules.groups[0].rules.len(), 5);
        host.vanish(network);
        ensure_host_networks(store, &host).await.unwrap();
        assert_eq!(host.inventory(), made);

        host.faults().nth(Call::EnsureNetwork, 1, Fault::FailBefore(Failure::Failed));
        let unmade = ensure_host_networks(store, &host).await.unwrap();
        assert_eq!(unmade[0].network, network);
    }

    #[actix_web::test]
    async fn nothing_is_made_in_user_mode() {
        let (service, _folder) = service();
        let host = FakeNetwork::new(NetworkMode::User);
        service.ensure_default(&host, &ProjectId::random()).await.unwrap().unwrap();
        ensure_host_networks(&service.deps().store, &host).await.unwrap();
        assert_eq!(host.faults().made(Call::EnsureNetwork), 0);
        assert_eq!(host.faults().made(Call::FreeRange), 0);
    }
}
