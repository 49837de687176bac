//! Use cases, one file per resource: authorise, load, let the rules decide, record and enqueue in one transaction.

pub mod aggregates;
pub mod consoles;
pub mod figures;
pub mod flavors;
pub mod identity;
pub mod images;
pub mod keypairs;
pub mod metadata;
pub mod networks;
pub mod node;
pub mod quotas;
pub mod server_groups;
pub mod servers;

use super::clock::Clock;
use super::server::node::Node;
use crate::host::Host;
use crate::store::Store;
use crate::task::Tasks;
use std::sync::Arc;

/// What every use case needs.
#[derive(Clone)]
pub struct Deps {
    pub store: Store,
    pub clock: Clock,
    /// Woken after a transaction that added a task.
    pub tasks: Tasks,
}

/// What can be set, by resource.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub consoles: consoles::Settings,
    pub identity: identity::Settings,
    pub images: images::Settings,
}

/// All use cases, by resource.
#[derive(Clone)]
pub struct Services {
    pub deps: Deps,
    /// For what can only be read from the machine: console logs, diagnostics, the bytes of images.
    pub host: Host,
    pub aggregates: aggregates::AggregateService,
    pub consoles: consoles::ConsoleService,
    pub figures: figures::FiguresService,
    pub flavors: flavors::FlavorService,
    pub identity: identity::IdentityService,
    pub images: images::ImageService,
    pub keypairs: keypairs::KeypairService,
    pub metadata: metadata::MetadataService,
    pub networks: networks::NetworksService,
    pub node: node::NodeService,
    pub quotas: quotas::QuotaService,
    pub server_groups: server_groups::ServerGroupService,
    pub servers: servers::Servers,
}

impl Services {
    pub fn new(deps: Deps, host: Host, node: Arc<Node>, settings: Settings) -> Self {
        Self {
            aggregates: aggregates::AggregateService::new(deps.clone(), node.clone()),
            consoles: consoles::ConsoleService::new(deps.clone(), host.hypervisor.clone(), settings.consoles),
            figures: figures::FiguresService::new(deps.clone(), host.hypervisor.clone()),
            flavors: flavors::FlavorService::new(deps.clone()),
            identity: identity::IdentityService::new(deps.clone(), settings.identity),
            images: images::ImageService::new(deps.clone(), host.images.clone(), settings.images),
            keypairs: keypairs::KeypairService::new(deps.clone()),
            metadata: metadata::MetadataService::new(deps.clone(), host.hypervisor.clone(), node.clone()),
            networks: networks::NetworksService::new(deps.clone(), host.network.clone()),
            node: node::NodeService::new(deps.clone(), host.clone(), node.clone()),
            quotas: quotas::QuotaService::new(deps.clone()),
            server_groups: server_groups::ServerGroupService::new(deps.clone()),
            servers: servers::Servers::new(deps.clone(), host.storage.clone(), host.hypervisor.clone(), node),
            host,
            deps,
        }
    }
}
