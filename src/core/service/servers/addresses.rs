//! Addresses that a server gets or loses while it exists.

use super::groups::save;
use super::{Among, Servers};
use crate::core::actor::Actor;
use crate::core::ids::{NetworkId, ServerId};
use crate::core::port::{FixedIpRequest, Port, refusal};
use crate::core::server::Server;
use crate::core::server::action::Action;
use crate::core::server::decide::decide;
use crate::core::{Error, Result};
use crate::store::{Connection, networks, ports, servers};
use jiff::Timestamp;
use std::net::IpAddr;

impl Servers {
    /// Gives a port of the server on this network one address more. The guest may use it at once; DHCP gives it the first
    /// address of each port only.
    ///
    /// # Errors
    /// A locked server, a network that the server is not on, one that has no address left.
    pub async fn add_fixed_ip(&self, actor: &Actor, id: ServerId, network: String) -> Result<()> {
        self.change(actor, id, move |c, actor, server, now| {
            decide(&server, Action::AddFixedIp, actor)?;
            let port = with_address_more(c, id, &network)?;
            keep(c, actor, &server, port, now)
        })
        .await
    }

    /// Takes an address from the server.
    ///
    /// # Errors
    /// A locked server, an address that the server does not have.
    pub async fn remove_fixed_ip(&self, actor: &Actor, id: ServerId, address: IpAddr) -> Result<()> {
        self.change(actor, id, move |c, actor, server, now| {
            decide(&server, Action::RemoveFixedIp, actor)?;
            for mut port in ports_of(c, id)? {
                let before = port.fixed_ips.len();
                port.fixed_ips.retain(|fixed| IpAddr::V4(fixed.address) != address);
                if port.fixed_ips.len() < before {
                    return keep(c, actor, &server, port, now);
                }
            }
            Err(Error::invalid(format!("Instance {id} has zero fixed IPs.")))
        })
        .await
    }

    /// Refuses a floating address for the server, since there are none on this host.
    ///
    /// # Errors
    /// A server that has no such fixed address, or none at all; else that the floating address is unknown.
    pub async fn add_floating_ip(&self, actor: &Actor, id: ServerId, fixed: Option<IpAddr>) -> Result<()> {
        let server = self.show(actor, id).await?;
        decide(&server.server, Action::AddFloatingIp, actor)?;
        if server.nics.is_empty() {
            return Err(Error::invalid("Instance network is not ready yet"));
        }
        let mut addresses = server.nics.iter().flat_map(|nic| &nic.addresses).map(|found| found.address);
        match fixed {
            None if addresses.next().is_none() => Err(Error::invalid("No fixed IPs associated to instance")),
            Some(fixed) if !addresses.any(|address| IpAddr::V4(address) == fixed) => {
                Err(Error::invalid("Specified fixed address not assigned to instance"))
            }
            None | Some(_) => Err(Error::not_found("floating IP not found")),
        }
    }

    /// Refuses to take a floating address from the server, since there are none on this host.
    ///
    /// # Errors
    /// Always: the address is unknown.
    pub async fn remove_floating_ip(&self, actor: &Actor, id: ServerId, address: &str) -> Result<()> {
        let server = self.find(actor, id, Among::Living).await?;
        decide(&server, Action::RemoveFloatingIp, actor)?;
        Err(Error::not_found(format!("Floating IP not found for address {address}.")))
    }
}

fn ports_of(c: &Connection, id: ServerId) -> Result<Vec<Port>> {
    let mut ports = ports::of_device(c, &id.to_string())?;
    ports.retain(Port::is_of_server);
    Ok(ports)
}

/// The first port on the network for which there is an address, with that address.
fn with_address_more(c: &Connection, id: ServerId, network: &str) -> Result<Port> {
    let elsewhere = || Error::not_found(format!("Network could not be found for instance {id}."));
    let network: NetworkId = network.parse().map_err(|_| elsewhere())?;
    let mut on_it = ports_of(c, id)?;
    on_it.retain(|port| port.network_id == network);
    let subnets = networks::subnets_of(c, network)?;
    if on_it.is_empty() || subnets.is_empty() {
        return Err(elsewhere());
    }
    for mut port in on_it {
        for subnet in &subnets {
            let old = port.fixed_ips.iter();
            let mut wanted: Vec<FixedIpRequest> = old
                .map(|fixed| FixedIpRequest {
                    subnet_id: Some(fixed.subnet_id),
                    address: Some(fixed.address),
                })
                .collect();
            wanted.push(FixedIpRequest { subnet_id: Some(subnet.id), address: None });
            match ports::allocate(c, network, &subnets, Some(&wanted), port.id) {
                Ok(fixed_ips) => {
                    port.fixed_ips = fixed_ips;
                    return Ok(port);
                }
                Err(error) if error.class() == Some("IpAddressGenerationFailure") => {}
                Err(error) => return Err(error),
            }
        }
    }
    Err(refusal::no_more_addresses(network))
}

fn keep(c: &Connection, actor: &Actor, server: &Server, port: Port, now: Timestamp) -> Result<()> {
    // As a change of the server's own.
    servers::update(c, server, now)?;
    save(c, actor, vec![port], now)
}
