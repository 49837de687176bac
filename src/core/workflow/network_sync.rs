//! Makes one network on the host what the store says: there with its range, or gone. Goes forward until it is so.

use super::{Blame, ServerEnv};
use crate::core::ids::NetworkId;
use crate::core::reconcile::host_networks::{ensure_rules, spec};
use crate::store::{Connection, StoreError};
use crate::task::{Direction, Step, StepContext, StepError, StepFuture, TaskInfo, Workflow};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The workflow that follows a changed network.
pub struct NetworkSync;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NetworkTask {
    pub network: NetworkId,
}

impl Workflow for NetworkSync {
    const NAME: &'static str = "network_sync";
    const DIRECTION: Direction = Direction::Forward;
    type Env = ServerEnv;
    type State = NetworkTask;

    fn steps() -> Vec<Step<Self>> {
        vec![Step::<Self>::new("host_network", sync)]
    }

    fn done(_: &Connection, _: &NetworkTask, _: &TaskInfo, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }
}

fn sync<'a>(env: &'a ServerEnv, task: &'a mut NetworkTask, _: &'a StepContext) -> StepFuture<'a> {
    Box::pin(follow(env, task.network))
}

/// A server may get a port while the network is being written; since that would take its reservation away again, the
/// store is asked once more afterwards, until nothing has changed in between.
async fn follow(env: &ServerEnv, network: NetworkId) -> Result<(), StepError> {
    loop {
        let wanted = env.store.read(move |c| spec(c, network)).await?;
        match &wanted {
            Some(spec) => {
                env.network.ensure_network(spec).await.blame("Making the network on this host")?;
                ensure_rules(&env.store, &*env.network, network)
                    .await
                    .blame("Filtering the network on this host")?;
            }
            None => env.network.remove_network(network).await.blame("Removing the network from this host")?,
        }
        if env.store.read(move |c| spec(c, network)).await? == wanted {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::clock::Clock;
    use crate::core::ids::ProjectId;
    use crate::core::listing::Listing;
    use crate::core::server::node::Node;
    use crate::core::service::networks::tests::service;
    use crate::host::faults::{Call, Failure, Fault};
    use crate::host::hypervisor::fake::FakeHypervisor;
    use crate::host::net::fake::FakeNetwork;
    use crate::host::storage::fake::FakeStorage;
    use crate::store::networks;
    use std::sync::Arc;

    #[actix_web::test]
    async fn the_host_follows_the_store() {
        let (service, _folder) = service();
        let host = Arc::new(FakeNetwork::default());
        let id = service.ensure_default(&*host, &ProjectId::random()).await.unwrap().unwrap();
        let store = service.deps().store.clone();
        let env = ServerEnv {
            store: store.clone(),
            hypervisor: Arc::new(FakeHypervisor::new()),
            network: host.clone(),
            storage: Arc::new(FakeStorage::default()),
            node: Arc::new(Node::roomy()),
            clock: Clock::system(),
        };
        host.faults().nth(Call::EnsureNetwork, 1, Fault::FailAfter(Failure::Deadline));
        assert!(follow(&env, id).await.unwrap_err().transient);
        for _ in 0..2 {
            follow(&env, id).await.unwrap();
            assert!(host.inventory().networks[&id].dhcp);
        }
        let change = move |c: &Connection| {
            let mut subnet = networks::list_subnets(c, &Listing::default())?.remove(0);
            subnet.enable_dhcp = false;
            Ok::<_, crate::core::Error>(networks::put_subnet(c, &subnet)?)
        };
        store.write(change).await.unwrap();
        follow(&env, id).await.unwrap();
        assert!(!host.inventory().networks[&id].dhcp);
        store.write(move |c| networks::delete(c, id)).await.unwrap();
        for _ in 0..2 {
            follow(&env, id).await.unwrap();
            assert!(host.inventory().networks.is_empty());
        }
    }
}
