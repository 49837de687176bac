//! The one node as administrators look at it: what it has, what is taken, which servers are on it.

use super::Deps;
use crate::core::server::Server;
use crate::core::server::node::Node;
use crate::core::server::query::{Column, Deleted, Filter, Scope, ServerQuery};
use crate::core::{Error, Result};
use crate::host::Host;
use crate::host::hypervisor::HostFacts;
use crate::host::machine;
use crate::store::server_usage::Usage;
use crate::store::{Connection, server_list, server_usage, setting};
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
    pub zone: String,
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
            zone: zone.to_owned(),
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

    pub async fn rows(&self) -> Result<NodeRows> {
        let node = self.node.clone();
        self.deps.store.read(move |connection| rows(connection, &node)).await
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
        zone: node.zone.clone(),
        usage: server_usage::of_host(connection, &node.name)?,
        servers: server_list::servers(connection, &on_node)?,
    })
}
