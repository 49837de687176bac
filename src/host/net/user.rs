//! User-mode networking: each guest has a private network inside its QEMU, and nothing exists on the host.

use super::{HostNetwork, HostNetworkSpec, HostPortSpec, NetError, NetworkMode, ranges};
use crate::core::firewall::{NetworkRules, Reading};
use crate::core::ids::NetworkId;
use async_trait::async_trait;
use ipnet::Ipv4Net;

/// Networks of an ordinary user, who may make neither bridges nor addresses.
#[derive(Debug, Default, Clone, Copy)]
pub struct UserNetwork;

#[async_trait]
impl HostNetwork for UserNetwork {
    fn mode(&self) -> NetworkMode {
        NetworkMode::User
    }

    fn host_name(&self, id: NetworkId) -> String {
        super::host_name(id)
    }

    /// Any range will do, as none reaches the host; the ones it uses are avoided all the same, for the day when the
    /// installation moves to bridges.
    async fn free_range(&self, taken: &[Ipv4Net]) -> Result<Ipv4Net, NetError> {
        let mut used = ranges::of_this_host().map_err(|error| NetError::Failed(error.to_string()))?;
        used.extend_from_slice(taken);
        ranges::first_free(&used).ok_or(NetError::NoFreeRange)
    }

    async fn is_free(&self, _range: Ipv4Net) -> Result<bool, NetError> {
        Ok(true)
    }

    async fn ensure_network(&self, _spec: &HostNetworkSpec) -> Result<(), NetError> {
        Ok(())
    }

    async fn remove_network(&self, _id: NetworkId) -> Result<(), NetError> {
        Ok(())
    }

    async fn ensure_port(&self, _network: NetworkId, _port: &HostPortSpec) -> Result<(), NetError> {
        Ok(())
    }

    async fn remove_port(&self, _network: NetworkId, _mac: &str) -> Result<(), NetError> {
        Ok(())
    }

    async fn ensure_rules(&self, _: Reading, _: NetworkRules) -> Result<(), NetError> {
        Ok(())
    }

    async fn forget_older_rules(&self) -> Result<(), NetError> {
        Ok(())
    }

    async fn ensure_metadata_address(&self) -> Result<(), NetError> {
        Ok(())
    }
}
