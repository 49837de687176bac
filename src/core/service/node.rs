//! The one node as administrators look at it: what it has, what is taken, which servers are on it, and whether its
//! services may be used.

use super::Deps;
use crate::core::server::Server;
use crate::core::server::node::Node;
use crate::core::server::query::{Column, Deleted, Filter, Scope, ServerQuery};
use crate::core::server::standing::{COMPUTE, SERVICES, ServiceChange, ServiceState, Standing};
use crate::core::{Error, Result};
use crate::host::Host;
use crate::host::hypervisor::HostFacts;
use crate::host::machine;
use crate::store::server_usage::Usage;
use crate::store::{self, Connection, server_list, server_usage, setting};
use std::sync::Arc;
use uuid::Uuid;

/// The node use cases; cheap to clone.
#[derive(Clone)]
pub struct NodeService {
    deps: Deps,
    host: Host,
    node: Arc<Node>,
}

/// What is known without asking the machine.
#[derive(Debug, Clone)]
pub struct NodeRows {
    /// Names the node and its services for ever; see [`NodeRows::id_of`].
    installation: Uuid,
    pub name: String,
    pub standing: Standing,
    /// As [`SERVICES`] lists them.
    pub services: [ServiceState; SERVICES.len()],
    pub usage: Usage,
    pub servers: Vec<Server>,
}

impl NodeRows {
    /// A node without servers.
    #[cfg(test)]
    pub(crate) fn sample(name: &str, zone: &str) -> Self {
        Self {
            installation: Uuid::nil(),
            name: name.to_owned(),
            standing: Standing { zone: zone.to_owned(), compute: ServiceState::default() },
            services: Default::default(),
            usage: Usage::default(),
            servers: Vec::new(),
        }
    }

    /// The lasting id of a part of this installation, for example of the node or of a service.
    pub fn id_of(&self, part: &str) -> Uuid {
        Uuid::new_v5(&self.installation, part.as_bytes())
    }
}

/// What only the machine knows.
#[derive(Debug, Clone)]
pub struct Hardware {
    pub facts: HostFacts,
    /// Size of the file system of the disks, in bytes.
    pub disk_bytes: u64,
    /// What is free of it, in bytes.
    pub free_disk_bytes: u64,
}

impl NodeService {
    pub fn new(deps: Deps, host: Host, node: Arc<Node>) -> Self {
        Self { deps, host, node }
    }

    /// The name of the host.
    pub fn name(&self) -> &str {
        &self.node.name
    }

    pub async fn rows(&self) -> Result<NodeRows> {
        let node = self.node.clone();
        self.deps.store.read(move |connection| rows(connection, &node)).await
    }

    pub async fn standing(&self) -> Result<Standing> {
        let node = self.node.clone();
        Ok(self.deps.store.read(move |c| store::node::standing(c, &node)).await?)
    }

    /// Has services that were deleted there again, as at every start of a daemon.
    pub async fn register_services(&self) -> Result<()> {
        Ok(self.deps.store.write(store::node::register_services).await?)
    }

    /// Changes the service that runs guests, and gives what there is then; `None` if it was deleted.
    pub async fn change_compute(&self, change: ServiceChange) -> Result<Option<NodeRows>> {
        let node = self.node.clone();
        self.deps
            .store
            .write(move |c| {
                let mut state = store::node::service(c, COMPUTE)?;
                if state.removed {
                    return Ok(None);
                }
                change.apply(&mut state);
                store::node::set_service(c, COMPUTE, &state)?;
                rows(c, &node).map(Some)
            })
            .await
    }

    /// Deletes a service until the next start of the daemon. Says whether it was there.
    ///
    /// # Errors
    /// Conflict for the service that runs guests while servers are on the node.
    pub async fn remove_service(&self, binary: &'static str) -> Result<bool> {
        let node = self.node.clone();
        self.deps
            .store
            .write(move |c| {
                if store::node::service(c, binary)?.removed {
                    return Ok(false);
                }
                if binary == COMPUTE && server_usage::of_host(c, &node.name)?.instances > 0 {
                    return Err(Error::conflict(
                        "Unable to delete compute service that is hosting instances. Migrate or delete the instances \
                         first.",
                    ));
                }
                let state = ServiceState { removed: true, ..ServiceState::default() };
                store::node::set_service(c, binary, &state)?;
                if binary == COMPUTE {
                    store::aggregates::remove_host(c, &node.name)?;
                }
                Ok(true)
            })
            .await
    }

    pub async fn hardware(&self) -> Result<Hardware> {
        let facts = self.host.hypervisor.facts().await.map_err(|error| {
            Error::unavailable("The hypervisor of this host cannot be reached.").with_source(error)
        })?;
        let (disk_bytes, free_disk_bytes) = self.host.storage.capacity().await?;
        Ok(Hardware { facts, disk_bytes, free_disk_bytes })
    }

    /// How long the machine has been up, in the words of `uptime`.
    pub fn uptime(&self) -> Result<String> {
        machine::uptime(self.deps.clock.now()).map_err(Error::internal)
    }
}

fn rows(connection: &Connection, node: &Node) -> Result<NodeRows> {
    let installation = match setting::get(connection, "installation")? {
        Some(text) => text.parse().map_err(Error::internal)?,
        None => Uuid::nil(),
    };
    let on_node = ServerQuery {
        scope: Scope::AllProjects,
        deleted: Deleted::HideFinal,
        filters: vec![Filter::Column(Column::Host, vec![node.name.clone()])],
        sort: Vec::new(),
        limit: usize::MAX,
        marker: None,
    };
    Ok(NodeRows {
        installation,
        name: node.name.clone(),
        standing: store::node::standing(connection, node)?,
        services: [
            store::node::service(connection, SERVICES[0])?,
            store::node::service(connection, SERVICES[1])?,
            store::node::service(connection, SERVICES[2])?,
        ],
        usage: server_usage::of_host(connection, &node.name)?,
        servers: server_list::servers(connection, &on_node)?,
    })
}
