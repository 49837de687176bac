//! What guests ask at the metadata address: who they are, by the address that they ask from.
//!
//! The only proof of identity is that address, which the host's filters do not let a guest forge. An address that no server's port
//! has gets nothing. The administrator's password is never told here, since every program in a guest can ask.

use super::Deps;
use crate::core::Result;
use crate::core::ids::{ServerId, random_bytes};
use crate::core::port::ServerNic;
use crate::core::server::Server;
use crate::core::server::node::Node;
use crate::core::workflow::guest::{self, Extras};
use crate::host::guest::{Answer, ec2_versions};
use crate::host::hypervisor::{DeviceAddresses, Hypervisor};
use crate::store::{StoreError, node, server_ports, servers};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Bytes of randomness that a guest is given for its own generator.
const SEED_BYTES: usize = 512;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    Text(Vec<u8>),
    Json(Vec<u8>),
    /// What the guest has stored as its password; empty if it has not.
    Password(String),
}

/// A document with the server that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub server: ServerId,
    pub document: Document,
}

#[derive(Clone)]
pub struct MetadataService {
    deps: Deps,
    hypervisor: Arc<dyn Hypervisor>,
    node: Arc<Node>,
}

impl MetadataService {
    pub fn new(deps: Deps, hypervisor: Arc<dyn Hypervisor>, node: Arc<Node>) -> Self {
        Self { deps, hypervisor, node }
    }

    /// The versions of the EC2 form. They are no secret.
    pub fn versions() -> Vec<u8> {
        match ec2_versions() {
            Answer::Text(bytes) | Answer::Json(bytes) => bytes,
            Answer::Password => Vec::new(),
        }
    }

    /// What the guest at this address finds at a path; `None` for strangers and where there is nothing.
    pub async fn lookup(&self, peer: IpAddr, path: &str) -> Result<Option<Found>> {
        let Some(address) = ipv4(peer) else { return Ok(None) };
        let node = self.node.clone();
        let found = self.deps.store.read::<_, StoreError, _>(move |c| {
            let Some(owner) = server_ports::port_by_address(c, address)? else { return Ok(None) };
            let Some(server) = servers::get(c, owner.server_id)? else { return Ok(None) };
            let nics = server_ports::server_nics(c, &[server.id])?.remove(&server.id).unwrap_or_default();
            Ok(Some((server, nics, node::standing(c, &node)?.zone)))
        });
        let Some((server, nics, zone)) = found.await? else { return Ok(None) };
        let extras = Extras {
            zone,
            admin_password: None,
            random_seed: random_bytes(SEED_BYTES),
            addresses: self.addresses(&server, &nics, path).await,
            dhcp_only: false,
        };
        let document = match guest::documents(&server, &nics, extras).lookup(path) {
            None => return Ok(None),
            Some(Answer::Text(bytes)) => Document::Text(bytes),
            Some(Answer::Json(bytes)) => Document::Json(bytes),
            Some(Answer::Password) => Document::Password(server.guest_password),
        };
        Ok(Some(Found { server: server.id, document }))
    }

    /// Where the guest's devices are, if the document at the path tells it: only of devices with tags.
    async fn addresses(&self, server: &Server, nics: &[ServerNic], path: &str) -> DeviceAddresses {
        if !guest::has_tags(server, nics) || !path.trim_end_matches('/').ends_with("meta_data.json") {
            return DeviceAddresses::default();
        }
        self.hypervisor.device_addresses(server.id).await.unwrap_or_else(|error| {
            // A guest that boots needs the rest of the document more than this.
            tracing::warn!(server = %server.id, %error, "the guest is not told where its devices are");
            DeviceAddresses::default()
        })
    }
}

/// The peer's IPv4 address, also where a socket for both families shows it as IPv6.
fn ipv4(peer: IpAddr) -> Option<Ipv4Addr> {
    match peer {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(address) => address.to_ipv4_mapped(),
    }
}
