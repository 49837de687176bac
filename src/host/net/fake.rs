//! Host networks in memory, with scripted faults. For tests; nothing in the configuration leads here.

use super::{HostNetwork, HostNetworkSpec, HostPortSpec, NetError, NetworkMode};
use crate::core::firewall::{NetworkRules, Reading};
use crate::core::ids::NetworkId;
use crate::host::faults::{Call, Failure, FaultScript};
use crate::host::hypervisor::HypervisorError;
use async_trait::async_trait;
use ipnet::Ipv4Net;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Everything that exists. Two equal inventories mean that nothing was left behind or lost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkInventory {
    /// Each network with the reservations that it has now, ordered by MAC.
    pub networks: BTreeMap<NetworkId, HostNetworkSpec>,
    /// What is filtered on each network that has a port with rules.
    pub rules: BTreeMap<NetworkId, NetworkRules>,
    pub metadata_address: bool,
}

/// The in-memory host network.
pub struct FakeNetwork {
    mode: NetworkMode,
    inner: Mutex<NetworkInventory>,
    /// When what is filtered on each network was read.
    readings: Mutex<BTreeMap<NetworkId, Reading>>,
    faults: FaultScript,
}

impl Default for FakeNetwork {
    fn default() -> Self {
        Self::new(NetworkMode::Bridged)
    }
}

impl FakeNetwork {
    pub fn new(mode: NetworkMode) -> Self {
        Self { mode, inner: Mutex::default(), readings: Mutex::default(), faults: FaultScript::default() }
    }

    /// The script of faults, to be written by a test.
    pub fn faults(&self) -> &FaultScript {
        &self.faults
    }

    /// A copy of all that exists.
    pub fn inventory(&self) -> NetworkInventory {
        self.lock().clone()
    }

    /// Removes a network behind our back.
    pub fn vanish(&self, id: NetworkId) {
        self.lock().networks.remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, NetworkInventory> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call<T>(
        &self,
        call: Call,
        work: impl FnOnce(&mut NetworkInventory) -> Result<T, NetError> + Send,
    ) -> Result<T, NetError> {
        let met = self.faults.meet(call).await;
        if let Some(failure) = met.before {
            return Err(failed(call, failure));
        }
        let result = work(&mut self.lock());
        match met.after {
            Some(failure) => Err(failed(call, failure)),
            None => result,
        }
    }
}

fn failed(call: Call, failure: Failure) -> NetError {
    match failure {
        Failure::Failed => NetError::Failed(format!("{}: scripted fault", call.name())),
        Failure::Unreachable => HypervisorError::Unreachable("scripted fault".into()).into(),
        Failure::Deadline => HypervisorError::Deadline { call: call.name(), seconds: 1 }.into(),
    }
}

fn network(inventory: &mut NetworkInventory, id: NetworkId) -> Result<&mut HostNetworkSpec, NetError> {
    inventory.networks.get_mut(&id).ok_or(NetError::NotFound(id))
}

#[async_trait]
impl HostNetwork for FakeNetwork {
    fn mode(&self) -> NetworkMode {
        self.mode
    }

    fn host_name(&self, id: NetworkId) -> String {
        super::host_name(id)
    }

    async fn free_range(&self, taken: &[Ipv4Net]) -> Result<Ipv4Net, NetError> {
        self.call(Call::FreeRange, |inventory| {
            let mut used: Vec<Ipv4Net> = inventory.networks.values().map(|network| network.cidr).collect();
            used.extend_from_slice(taken);
            super::ranges::first_free(&used).ok_or(NetError::NoFreeRange)
        })
        .await
    }

    async fn is_free(&self, range: Ipv4Net) -> Result<bool, NetError> {
        let used: Vec<Ipv4Net> = self.lock().networks.values().map(|network| network.cidr).collect();
        Ok(super::ranges::is_free(range, &used))
    }

    async fn ensure_network(&self, spec: &HostNetworkSpec) -> Result<(), NetError> {
        self.call(Call::EnsureNetwork, |inventory| {
            if self.mode == NetworkMode::Bridged {
                let mut spec = spec.clone();
                spec.ports.sort_by(|a, b| a.mac.cmp(&b.mac));
                inventory.networks.insert(spec.id, spec);
            }
            Ok(())
        })
        .await
    }

    async fn remove_network(&self, id: NetworkId) -> Result<(), NetError> {
        self.call(Call::RemoveNetwork, |inventory| {
            inventory.networks.remove(&id);
            inventory.rules.remove(&id);
            Ok(())
        })
        .await
    }

    async fn ensure_port(&self, id: NetworkId, port: &HostPortSpec) -> Result<(), NetError> {
        self.call(Call::EnsurePort, |inventory| {
            if self.mode == NetworkMode::Bridged {
                let network = network(inventory, id)?;
                network.ports.retain(|other| other.mac != port.mac && other.address != port.address);
                network.ports.push(port.clone());
                network.ports.sort_by(|a, b| a.mac.cmp(&b.mac));
            }
            Ok(())
        })
        .await
    }

    async fn remove_port(&self, id: NetworkId, mac: &str) -> Result<(), NetError> {
        self.call(Call::RemovePort, |inventory| {
            if let Some(network) = inventory.networks.get_mut(&id) {
                network.ports.retain(|port| port.mac != mac);
            }
            Ok(())
        })
        .await
    }

    async fn ensure_rules(&self, reading: Reading, rules: NetworkRules) -> Result<(), NetError> {
        self.call(Call::EnsureRules, |inventory| {
            let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
            if readings.get(&rules.network).is_some_and(|later| *later >= reading) {
                return Ok(());
            }
            readings.insert(rules.network, reading);
            if self.mode == NetworkMode::Bridged && !rules.ports.is_empty() {
                inventory.rules.insert(rules.network, rules);
            } else {
                inventory.rules.remove(&rules.network);
            }
            Ok(())
        })
        .await
    }

    async fn forget_older_rules(&self) -> Result<(), NetError> {
        Ok(())
    }

    async fn ensure_metadata_address(&self) -> Result<(), NetError> {
        self.call(Call::EnsureMetadataAddress, |inventory| {
            inventory.metadata_address = self.mode == NetworkMode::Bridged;
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::PortId;
    use crate::host::faults::Fault;

    fn spec(fake_range: Ipv4Net) -> HostNetworkSpec {
        HostNetworkSpec {
            id: NetworkId::random(),
            cidr: fake_range,
            gateway: fake_range.hosts().next().unwrap(),
            dhcp: true,
            dns_servers: Vec::new(),
            mtu: 1500,
            ports: Vec::new(),
        }
    }

    fn port(mac: &str, address: [u8; 4]) -> HostPortSpec {
        HostPortSpec { id: PortId::random(), mac: mac.into(), address: address.into(), hostname: None }
    }

    #[tokio::test]
    async fn a_port_takes_over_mac_and_address() {
        let fake = FakeNetwork::default();
        let range = fake.free_range(&[]).await.unwrap();
        let spec = spec(range);
        fake.ensure_network(&spec).await.unwrap();
        assert_ne!(fake.free_range(&[]).await.unwrap(), range);
        fake.ensure_port(spec.id, &port("fa:16:3e:00:00:01", [10, 0, 0, 9])).await.unwrap();
        let second = port("fa:16:3e:00:00:02", [10, 0, 0, 9]);
        fake.ensure_port(spec.id, &second).await.unwrap();
        assert_eq!(fake.inventory().networks[&spec.id].ports, [second]);
        fake.remove_port(spec.id, "fa:16:3e:00:00:02").await.unwrap();
        fake.remove_port(spec.id, "fa:16:3e:00:00:02").await.unwrap();
        assert_eq!(fake.inventory().networks[&spec.id], spec);
    }

    #[tokio::test]
    async fn scripted_failure() {
        let fake = FakeNetwork::default();
        fake.faults().nth(Call::FreeRange, 1, Fault::FailBefore(Failure::Failed));
        assert!(fake.free_range(&[]).await.is_err());
        assert!(fake.free_range(&[]).await.is_ok());
    }
}
