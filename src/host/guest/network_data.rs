//! `network_data.json`: which NICs a guest has, and how it is to set them up.

use super::documents::json;
use crate::core::ids::{NetworkId, PortId};
use ipnet::IpNet;
use serde::Serialize;
use std::net::IpAddr;

/// A NIC of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestNic {
    pub port: PortId,
    /// Lower case, colons.
    pub mac: String,
    /// Bytes.
    pub mtu: Option<u32>,
    pub network: NetworkId,
    pub subnets: Vec<GuestSubnet>,
}

/// A subnet that a NIC has addresses in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestSubnet {
    pub cidr: IpNet,
    /// Whether the guest gets all of this by DHCP, and nothing else needs to be said.
    pub dhcp: bool,
    pub gateway: Option<IpAddr>,
    /// The NIC's addresses.
    pub addresses: Vec<IpAddr>,
    pub dns_servers: Vec<IpAddr>,
    pub routes: Vec<GuestRoute>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestRoute {
    pub destination: IpNet,
    pub gateway: IpAddr,
}

#[derive(Default, Serialize)]
struct NetworkData {
    links: Vec<Link>,
    networks: Vec<Network>,
    services: Vec<Service>,
}

#[derive(Serialize)]
struct Link {
    id: String,
    vif_id: PortId,
    #[serde(rename = "type")]
    kind: &'static str,
    mtu: Option<u32>,
    ethernet_mac_address: String,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the names of the document's keys")]
struct Network {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    link: String,
    #[serde(flatten)]
    fixed: Option<Fixed>,
    network_id: NetworkId,
}

#[derive(Serialize)]
struct Fixed {
    ip_address: IpAddr,
    netmask: IpAddr,
    routes: Vec<Route>,
    services: Vec<Service>,
}

#[derive(Serialize)]
struct Route {
    network: IpAddr,
    netmask: IpAddr,
    gateway: IpAddr,
}

#[derive(Clone, PartialEq, Serialize)]
struct Service {
    #[serde(rename = "type")]
    kind: &'static str,
    address: IpAddr,
}

/// The document for these NICs, in their order. Of each NIC the first IPv4 and the first IPv6 subnet are described; a
/// NIC without subnets is left out.
pub(super) fn network_data(nics: &[GuestNic]) -> Vec<u8> {
    if nics.is_empty() {
        return b"{}".to_vec();
    }
    let mut data = NetworkData::default();
    for nic in nics {
        let first = |v4: bool| nic.subnets.iter().find(|subnet| subnet.cidr.addr().is_ipv4() == v4);
        let subnets = [first(true), first(false)];
        if subnets.iter().all(Option::is_none) {
            continue;
        }
        // The name that the host's end of the NIC has in Neutron: `tap` and the start of the port's id.
        let id = format!("tap{:.11}", nic.port.to_string());
        for subnet in subnets.into_iter().flatten() {
            let Some(&address) = subnet.addresses.first() else { continue };
            for service in services(subnet) {
                if !data.services.contains(&service) {
                    data.services.push(service);
                }
            }
            data.networks.push(Network {
                id: format!("network{}", data.networks.len()),
                kind: match (subnet.cidr.addr().is_ipv4(), subnet.dhcp) {
                    (true, true) => "ipv4_dhcp",
                    (true, false) => "ipv4",
                    (false, true) => "ipv6_dhcp",
                    (false, false) => "ipv6",
                },
                link: id.clone(),
                fixed: (!subnet.dhcp).then(|| fixed(subnet, address)),
                network_id: nic.network,
            });
        }
        data.links.push(Link {
            id,
            vif_id: nic.port,
            kind: "bridge",
            mtu: nic.mtu,
            ethernet_mac_address: nic.mac.clone(),
        });
    }
    json(&data)
}

fn services(subnet: &GuestSubnet) -> Vec<Service> {
    subnet.dns_servers.iter().map(|&address| Service { kind: "dns", address }).collect()
}

fn fixed(subnet: &GuestSubnet, address: IpAddr) -> Fixed {
    let anywhere = match subnet.cidr {
        IpNet::V4(_) => IpAddr::from([0; 4]),
        IpNet::V6(_) => IpAddr::from([0; 16]),
    };
    let default = subnet.gateway.map(|gateway| Route { network: anywhere, netmask: anywhere, gateway });
    let others = subnet.routes.iter().map(|route| Route {
        network: route.destination.network(),
        netmask: route.destination.netmask(),
        gateway: route.gateway,
    });
    Fixed {
        ip_address: address,
        netmask: subnet.cidr.netmask(),
        routes: default.into_iter().chain(others).collect(),
        services: services(subnet),
    }
}
