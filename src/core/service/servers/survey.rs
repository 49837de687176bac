//! What the node is and how much of it may be promised, as found at start.

use crate::core::server::node::{Capacity, Node, Ratios};
use crate::host::Host;
use crate::host::disk::DiskError;
use crate::host::hypervisor::HypervisorError;
use crate::host::net::NetworkMode;
use std::time::Duration;

/// The availability zone that this node is in; Nova's default.
const ZONE: &str = "nova";

/// What the configuration says about servers.
#[derive(Debug, Clone)]
pub struct NodeSettings {
    pub ratios: Ratios,
    pub shutdown_timeout: Duration,
    pub force_config_drive: bool,
    /// Whether guests find a metadata service.
    pub metadata: bool,
}

/// Why the host could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    #[error("the hypervisor could not be asked what this host has")]
    Hypervisor(#[from] HypervisorError),
    #[error("the disk could not be looked at")]
    Disk(#[from] DiskError),
}

/// Looks at the host.
pub async fn survey(host: &Host, settings: &NodeSettings) -> Result<Node, SurveyError> {
    let facts = host.hypervisor.facts().await?;
    let (disk_bytes, _) = host.storage.capacity().await?;
    Ok(Node {
        name: facts.hostname,
        zone: ZONE.into(),
        capacity: Capacity::new(facts.cpus, facts.memory_mib, disk_bytes >> 20, &settings.ratios),
        shutdown_timeout: settings.shutdown_timeout,
        // With user-mode networking guests cannot reach the metadata service.
        force_config_drive: settings.force_config_drive
            || !settings.metadata
            || host.network.mode() == NetworkMode::User,
    })
}
