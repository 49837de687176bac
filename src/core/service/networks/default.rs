//! The network that a cloud has from its first start, so that a server can be made without making a network first.

use super::{NetworksService, store};
use crate::core::ids::{NetworkId, ProjectId, SecurityGroupRuleId, SubnetId};
use crate::core::network::{DEFAULT_MTU, Network, Pool, Subnet, default_pools, first_host};
use crate::core::security_group::{Direction, Ethertype, Remote, RuleSpec, SecurityGroupRule};
use crate::core::{Error, Result};
use crate::host::net::{HostNetwork, NetworkMode};
use crate::store::{Connection, StoreError, security_groups, setting};
use ipnet::{IpNet, Ipv4Net};
use jiff::Timestamp;
use std::net::Ipv4Addr;

/// The name of the network, by which clients find a server's private address.
const NAME: &str = "private";

/// Marks in the settings that the network was made: who deletes it afterwards does not get it again.
const MADE: &str = "network.default_made";

/// What a subnet needs to know of a range.
struct Plan {
    cidr: Ipv4Net,
    gateway: Ipv4Addr,
    pools: Vec<Pool>,
    dns: Vec<Ipv4Addr>,
}

impl NetworksService {
    /// Makes the default network at the first start, in a range that is free on this host: owned by the given project,
    /// usable by all. Answers its id, or `None` when it was made at an earlier start. The host itself is not changed.
    ///
    /// Where guests are on a bridge, the owner's default security group then lets this host in, by a rule like any other:
    /// who set the cloud up can reach its first server from where he sits.
    ///
    /// In user mode every guest lives in a private copy of one range, inside QEMU, and is given the same address by
    /// DHCP. The network is then in the store as well, in that range, so that servers have ports, MACs and addresses of
    /// their own; the addresses are right inside a guest that configures them itself, and lead nowhere from outside.
    /// Hence no rule for this host there: it would tell of a way in that does not exist.
    pub async fn ensure_default(
        &self,
        host: &dyn HostNetwork,
        owner: &ProjectId,
    ) -> Result<Option<NetworkId>> {
        if self.read(|c| Ok(setting::get(c, MADE)?.is_some())).await? {
            return Ok(None);
        }
        let plan = match host.mode() {
            NetworkMode::Bridged => {
                let subnets = self.read(|c| Ok(store::all_subnets(c)?)).await?;
                let taken: Vec<Ipv4Net> = subnets.iter().map(|subnet| subnet.cidr).collect();
                bridged(host.free_range(&taken).await.map_err(no_range)?)?
            }
            NetworkMode::User => user_mode()?,
        };
        let reachable = host.mode() == NetworkMode::Bridged;
        let (owner, now) = (owner.clone(), self.deps.clock.now());
        self.write(move |c| {
            if reachable {
                let_host_in(c, &owner, plan.gateway, now)?;
            }
            let network = Network {
                id: NetworkId::random(),
                project_id: owner.clone(),
                name: NAME.into(),
                description: "The network of servers whose creators choose none".into(),
                admin_state_up: true,
                shared: true,
                external: false,
                is_default: true,
                port_security_enabled: true,
                mtu: DEFAULT_MTU,
                tags: Vec::new(),
                created_at: now,
                updated_at: now,
                revision: 1,
            };
            store::put(c, &network)?;
            let subnet = Subnet {
                id: SubnetId::random(),
                network_id: network.id,
                project_id: owner,
                name: NAME.into(),
                description: String::new(),
                cidr: plan.cidr,
                gateway_ip: Some(plan.gateway),
                enable_dhcp: true,
                allocation_pools: plan.pools,
                dns_nameservers: plan.dns,
                host_routes: Vec::new(),
                tags: Vec::new(),
                created_at: now,
                updated_at: now,
                revision: 0,
            };
            store::put_subnet(c, &subnet)?;
            setting::set(c, MADE, "1")?;
            Ok(Some(network.id))
        })
        .await
    }
}

/// Writes the rule for what comes from the host's own address on the network.
fn let_host_in(
    c: &Connection,
    project: &ProjectId,
    gateway: Ipv4Addr,
    now: Timestamp,
) -> Result<(), StoreError> {
    let from_host = Remote::Prefix(IpNet::V4(Ipv4Net::from(gateway)));
    let rule = SecurityGroupRule {
        id: SecurityGroupRuleId::random(),
        group_id: security_groups::ensure_default(c, project, now)?,
        project_id: project.clone(),
        description: format!("This host, by its address on the network {NAME}"),
        spec: RuleSpec::all(Direction::Ingress, Ethertype::V4, from_host),
        created_at: now,
        updated_at: now,
        revision: 0,
    };
    security_groups::insert_rule(c, &rule)
}

fn no_range(cause: crate::host::net::NetError) -> Error {
    Error::unavailable("No address range for the default network could be found on this host.")
        .with_source(cause)
}

fn bridged(cidr: Ipv4Net) -> Result<Plan> {
    let gateway = first_host(cidr).ok_or_else(|| Error::internal(format!("{cidr} has no room for hosts")))?;
    // Without a name server of its own a subnet announces the gateway, where the host's DHCP server resolves names.
    Ok(Plan { cidr, gateway, pools: default_pools(cidr, Some(gateway)), dns: Vec::new() })
}

/// The range that QEMU's user-mode network has: gateway .2, name server .3, the first guest address .15.
fn user_mode() -> Result<Plan> {
    let address = |last| Ipv4Addr::new(10, 0, 2, last);
    Ok(Plan {
        cidr: Ipv4Net::new(address(0), 24).map_err(Error::internal)?,
        gateway: address(2),
        pools: vec![Pool { start: address(15), end: address(254) }],
        dns: vec![address(3)],
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::service;
    use super::*;
    use crate::core::listing::Listing;
    use crate::host::faults::{Call, Failure, Fault};
    use crate::host::net::fake::FakeNetwork;

    #[actix_web::test]
    async fn the_network_is_made_once() {
        let (service, _folder) = service();
        let host = FakeNetwork::default();
        let owner = ProjectId::random();
        host.faults().nth(Call::FreeRange, 1, Fault::FailBefore(Failure::Failed));
        assert!(service.ensure_default(&host, &owner).await.is_err());
        let id = service.ensure_default(&host, &owner).await.unwrap().unwrap();
        assert_eq!(service.ensure_default(&host, &owner).await.unwrap(), None);
        let (networks, subnets) = service
            .read(|c| {
                Ok((store::list(c, &Listing::default())?, store::list_subnets(c, &Listing::default())?))
            })
            .await
            .unwrap();
        assert_eq!(networks.len(), 1);
        assert!(networks[0].shared && networks[0].is_default && networks[0].id == id);
        assert_eq!(subnets[0].gateway_ip, first_host(subnets[0].cidr));
        assert_eq!(subnets[0].allocation_pools.len(), 1);
        let rules = service.read(|c| security_groups::list_rules(c, &Listing::default())).await.unwrap();
        let this_host = Remote::Prefix(format!("{}/32", subnets[0].gateway_ip.unwrap()).parse().unwrap());
        let from_host = rules.iter().filter(|rule| rule.spec.remote == this_host);
        assert_eq!(from_host.map(|rule| &rule.project_id).collect::<Vec<_>>(), [&owner]);
        service.write(move |c| Ok(store::delete(c, id)?)).await.unwrap();
        assert_eq!(service.ensure_default(&host, &owner).await.unwrap(), None, "deleted stays deleted");
    }

    #[actix_web::test]
    async fn user_mode_has_the_range_of_qemu() {
        let (service, _folder) = service();
        let host = FakeNetwork::new(NetworkMode::User);
        service.ensure_default(&host, &ProjectId::random()).await.unwrap().unwrap();
        let subnets = service.read(|c| store::list_subnets(c, &Listing::default())).await.unwrap();
        assert_eq!(subnets[0].cidr.to_string(), "10.0.2.0/24");
        assert_eq!(subnets[0].gateway_ip, Some(Ipv4Addr::new(10, 0, 2, 2)));
        let rules = service.read(|c| security_groups::list_rules(c, &Listing::default())).await.unwrap();
        assert_eq!(rules.iter().filter(|rule| matches!(rule.spec.remote, Remote::Prefix(_))).count(), 0);
    }
}
