//! Use cases of the network API: networks, subnets, ports, security groups, tags and limits.
//!
//! What exists is decided here and written to the store; the host follows.

mod default;
mod manage;
mod ports;
mod quotas;
mod security_groups;
mod subnets;
mod tags;

pub use quotas::QuotaUse;
pub use security_groups::GroupWithRules;
pub use tags::{Tagged, tag_not_found};

use super::Deps;
use crate::core::actor::Actor;
use crate::core::ids::{NetworkId, ProjectId, SecurityGroupId, SubnetId};
use crate::core::listing::Listing;
use crate::core::network::{Network, Subnet, network_not_found, subnet_not_found};
use crate::core::workflow::network_sync::{NetworkSync, NetworkTask};
use crate::core::{Error, Result};
use crate::host::net::HostNetwork;
use crate::store::rows::to_json;
use crate::store::tasks::{self, NewTask};
use crate::store::{Connection, firewall, networks as store};
use crate::task::Workflow;
use jiff::Timestamp;
use std::sync::Arc;

/// The network use cases; cheap to clone.
#[derive(Clone)]
pub struct NetworksService {
    deps: Deps,
    /// Asked which ranges are free; never changed from here.
    host: Arc<dyn HostNetwork>,
}

/// The part of a caller that decides what he sees and may change.
#[derive(Debug, Clone)]
struct Caller {
    admin: bool,
    project: Option<ProjectId>,
}

impl Caller {
    fn of(actor: &Actor) -> Self {
        Self { admin: actor.is_admin(), project: actor.project_id.clone() }
    }

    fn owns(&self, project: &ProjectId) -> bool {
        self.project.as_ref() == Some(project)
    }

    /// Whether he may do what the owner may.
    fn rules(&self, project: &ProjectId) -> bool {
        self.admin || self.owns(project)
    }

    fn sees_network(&self, network: &Network) -> bool {
        self.rules(&network.project_id) || network.is_open()
    }

    /// The project that something new belongs to: the caller's, or the one that an admin names.
    fn project_for(&self, wanted: Option<ProjectId>) -> Result<ProjectId> {
        match (wanted, &self.project) {
            (Some(wanted), own) if self.admin || own.as_ref() == Some(&wanted) => Ok(wanted),
            (Some(_), _) => Err(Error::invalid(
                "Specifying 'project_id' or 'tenant_id' other than the authenticated project in request requires \
                 admin privileges",
            )),
            (None, Some(own)) => Ok(own.clone()),
            (None, None) => {
                Err(Error::invalid("Running without keystone AuthN requires that project_id is specified"))
            }
        }
    }

    /// The list as this caller may see it.
    fn view(&self, mut listing: Listing) -> Listing {
        // A caller without a project sees what belongs to a project that cannot exist.
        listing.viewer =
            if self.admin { None } else { Some(self.project.clone().unwrap_or_else(|| ProjectId::from(""))) };
        listing
    }
}

impl NetworksService {
    pub fn new(deps: Deps, host: Arc<dyn HostNetwork>) -> Self {
        Self { deps, host }
    }

    pub fn deps(&self) -> &Deps {
        &self.deps
    }

    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.deps.store.read(job).await
    }

    async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.deps.store.write(job).await
    }
}

/// Has the host follow what the store says of a network, once the transaction is on the disk.
pub(in crate::core::service) fn follow(
    connection: &Connection,
    network: NetworkId,
    actor: &Actor,
    now: Timestamp,
) -> Result<()> {
    let task = NewTask {
        workflow: NetworkSync::NAME,
        subject: &format!("network/{network}"),
        state: &to_json(&NetworkTask { network })?,
        request_id: actor.request_id.as_str(),
        preempt: false,
        begun: None,
    };
    tasks::enqueue(connection, &task, now)?;
    Ok(())
}

/// Has the host follow what the store says of a security group, on every network where a server is in it.
fn follow_group(
    connection: &Connection,
    group: SecurityGroupId,
    actor: &Actor,
    now: Timestamp,
) -> Result<()> {
    for network in firewall::networks_with(connection, group)? {
        follow(connection, network, actor, now)?;
    }
    Ok(())
}

/// The network, unless the caller may not even know of it.
fn visible_network(connection: &Connection, caller: &Caller, id: NetworkId) -> Result<Network> {
    let found = store::get(connection, id)?.filter(|network| caller.sees_network(network));
    found.ok_or_else(|| network_not_found(id))
}

fn visible_subnet(connection: &Connection, caller: &Caller, id: SubnetId) -> Result<Subnet> {
    let subnet = store::get_subnet(connection, id)?.ok_or_else(|| subnet_not_found(id))?;
    if caller.rules(&subnet.project_id) {
        return Ok(subnet);
    }
    let network = store::get(connection, subnet.network_id)?;
    network.filter(|network| caller.sees_network(network)).map(|_| subnet).ok_or_else(|| subnet_not_found(id))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::core::clock::{Clock, from_micros};
    use crate::host::net::fake::FakeNetwork;
    use crate::store::Store;
    use crate::task::failpoint::Failpoints;
    use crate::task::{Engine, Tuning};
    use std::sync::Arc;

    /// The service over a store that goes away with the folder.
    pub fn service() -> (NetworksService, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(from_micros(1_700_000_000_000_000));
        let store = Store::open(folder.path()).unwrap();
        let now = {
            let clock = clock.clone();
            Arc::new(move || clock.now())
        };
        let tasks = Engine::new(store.clone(), now, Tuning::default(), Failpoints::default()).start();
        (NetworksService::new(Deps { store, clock, tasks }, Arc::new(FakeNetwork::default())), folder)
    }
}
