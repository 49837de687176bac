//! The documents of libvirt networks: one builder, and one reader for what libvirt has.

use super::{HostNetworkSpec, dhcp, host_name};
use crate::core::ids::NetworkId;
use crate::host::hypervisor::libvirt::domain_xml::to_xml;
use ipnet::Ipv4Net;
use serde::Serialize;
use std::net::Ipv4Addr;
use uuid::Uuid;

/// The namespace of the mark by which we know a network as ours.
const MARK_NAMESPACE: &str = "urn:dwarfnova:network:1";
/// libvirt's namespace for settings that it hands to dnsmasq as they are.
const DNSMASQ_NAMESPACE: &str = "http://libvirt.org/schemas/network/dnsmasq/1.0";

/// A network without its reservations, which are not in libvirt's hands. Where two of these differ, libvirt has to
/// restart the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub bridge: String,
    pub mode: String,
    pub gateway: Ipv4Addr,
    pub prefix: u8,
    pub mtu: Option<u32>,
    pub dns_servers: Vec<Ipv4Addr>,
    /// Settings of dnsmasq's.
    pub dnsmasq: Vec<String>,
}

/// What libvirt has under a network's UUID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The installation in our mark; `None` for networks of others.
    pub owner: Option<Uuid>,
    /// How many guest interfaces are plugged in.
    pub connections: u32,
    /// `None` for networks of a form that we never make.
    pub frame: Option<Frame>,
}

/// The name of a network's bridge: at most 15 bytes, as the kernel demands.
pub fn bridge_name(id: NetworkId) -> String {
    format!("dn-{}", &id.0.simple().to_string()[..11])
}

/// The hardware address of the gateway. Fixed, so that guests do not see it change when the network is made anew.
pub fn bridge_mac(id: NetworkId) -> String {
    let bytes = id.0.as_bytes();
    format!("52:54:00:{:02x}:{:02x}:{:02x}", bytes[0], bytes[1], bytes[2])
}

/// The frame that a spec asks for.
pub fn frame(spec: &HostNetworkSpec) -> Frame {
    Frame {
        bridge: bridge_name(spec.id),
        mode: "nat".into(),
        gateway: spec.gateway,
        prefix: spec.cidr.prefix_len(),
        mtu: Some(spec.mtu),
        dns_servers: spec.dns_servers.clone(),
        dnsmasq: dnsmasq_options(spec),
    }
}

/// DHCP for reserved addresses only, with the reservations in a folder.
fn dnsmasq_options(spec: &HostNetworkSpec) -> Vec<String> {
    if !spec.dhcp {
        return Vec::new();
    }
    vec![
        format!("dhcp-range={},static,{}", spec.cidr.network(), spec.cidr.netmask()),
        "dhcp-no-override".into(),
        "dhcp-authoritative".into(),
        "dhcp-lease-max=65536".into(),
        format!("dhcp-hostsdir={}", dhcp::folder(&host_name(spec.id)).display()),
    ]
}

/// Renders the persistent definition.
pub fn render(id: NetworkId, owner: Uuid, frame: &Frame) -> Result<String, quick_xml::SeError> {
    to_xml(&Network {
        dnsmasq_namespace: DNSMASQ_NAMESPACE,
        name: host_name(id),
        uuid: id.to_string(),
        metadata: Metadata {
            mark: Mark { namespace: MARK_NAMESPACE, owner: owner.hyphenated().to_string() },
        },
        forward: Forward { mode: frame.mode.clone() },
        // Guests start at once instead of waiting for the bridge to learn what it is connected to.
        bridge: Bridge { name: frame.bridge.clone(), stp: "off", delay: 0 },
        mtu: frame.mtu.map(|size| Mtu { size }),
        mac: Mac { address: bridge_mac(id) },
        dns: (!frame.dns_servers.is_empty()).then(|| Dns {
            forwarder: frame.dns_servers.iter().map(|addr| Forwarder { addr: addr.to_string() }).collect(),
        }),
        ip: Ip { address: frame.gateway.to_string(), prefix: frame.prefix },
        options: (!frame.dnsmasq.is_empty()).then(|| Options {
            option: frame.dnsmasq.iter().map(|value| OptionValue { value: value.clone() }).collect(),
        }),
    })
}

/// Reads what libvirt has.
pub fn read(xml: &str) -> Result<Found, String> {
    let document = roxmltree::Document::parse(xml).map_err(|error| error.to_string())?;
    let network = document.root_element();
    let child = |name: &str| network.children().find(|node| node.has_tag_name(name));
    let owner = network
        .descendants()
        .find(|node| node.has_tag_name((MARK_NAMESPACE, "network")))
        .and_then(|mark| mark.attribute("owner"))
        .and_then(|owner| Uuid::parse_str(owner).ok());
    let ip = child("ip");
    let frame = || {
        let ip = ip?;
        Some(Frame {
            bridge: child("bridge")?.attribute("name")?.to_owned(),
            mode: child("forward")?.attribute("mode").unwrap_or("nat").to_owned(),
            gateway: ip.attribute("address")?.parse().ok()?,
            prefix: prefix(ip)?,
            mtu: child("mtu").and_then(|mtu| mtu.attribute("size")).and_then(|size| size.parse().ok()),
            dns_servers: network
                .descendants()
                .filter(|node| node.has_tag_name("forwarder"))
                .filter_map(|node| node.attribute("addr")?.parse().ok())
                .collect(),
            dnsmasq: network
                .descendants()
                .filter(|node| node.has_tag_name((DNSMASQ_NAMESPACE, "option")))
                .filter_map(|node| node.attribute("value").map(str::to_owned))
                .collect(),
        })
    };
    Ok(Found {
        owner,
        connections: network.attribute("connections").and_then(|n| n.parse().ok()).unwrap_or(0),
        frame: frame(),
    })
}

/// All IPv4 ranges of a network, whoever made it.
pub fn ranges(xml: &str) -> Result<Vec<Ipv4Net>, String> {
    let document = roxmltree::Document::parse(xml).map_err(|error| error.to_string())?;
    Ok(document
        .descendants()
        .filter(|node| node.has_tag_name("ip") || node.has_tag_name("route"))
        .filter_map(|node| {
            Some(Ipv4Net::new(node.attribute("address")?.parse().ok()?, prefix(node)?).ok()?.trunc())
        })
        .collect())
}

fn prefix(node: roxmltree::Node) -> Option<u8> {
    match (node.attribute("prefix"), node.attribute("netmask")) {
        (Some(prefix), _) => prefix.parse().ok(),
        (None, Some(mask)) => ipnet::ipv4_mask_to_prefix(mask.parse().ok()?).ok(),
        (None, None) => None,
    }
}

#[derive(Serialize)]
#[serde(rename = "network")]
struct Network {
    #[serde(rename = "@xmlns:dnsmasq")]
    dnsmasq_namespace: &'static str,
    name: String,
    uuid: String,
    metadata: Metadata,
    forward: Forward,
    bridge: Bridge,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<Mtu>,
    mac: Mac,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<Dns>,
    ip: Ip,
    #[serde(rename = "dnsmasq:options", skip_serializing_if = "Option::is_none")]
    options: Option<Options>,
}

#[derive(Serialize)]
struct Metadata {
    #[serde(rename = "dwarfnova:network")]
    mark: Mark,
}

#[derive(Serialize)]
struct Mark {
    #[serde(rename = "@xmlns:dwarfnova")]
    namespace: &'static str,
    #[serde(rename = "@owner")]
    owner: String,
}

#[derive(Serialize)]
struct Forward {
    #[serde(rename = "@mode")]
    mode: String,
}

#[derive(Serialize)]
struct Bridge {
    #[serde(rename = "@name")]
    name: String,
    #[serde(rename = "@stp")]
    stp: &'static str,
    #[serde(rename = "@delay")]
    delay: u32,
}

#[derive(Serialize)]
struct Mtu {
    #[serde(rename = "@size")]
    size: u32,
}

#[derive(Serialize)]
struct Mac {
    #[serde(rename = "@address")]
    address: String,
}

#[derive(Serialize)]
struct Dns {
    forwarder: Vec<Forwarder>,
}

#[derive(Serialize)]
struct Forwarder {
    #[serde(rename = "@addr")]
    addr: String,
}

#[derive(Serialize)]
struct Ip {
    #[serde(rename = "@address")]
    address: String,
    #[serde(rename = "@prefix")]
    prefix: u8,
}

#[derive(Serialize)]
struct Options {
    #[serde(rename = "dnsmasq:option")]
    option: Vec<OptionValue>,
}

#[derive(Serialize)]
struct OptionValue {
    #[serde(rename = "@value")]
    value: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn spec() -> HostNetworkSpec {
        HostNetworkSpec {
            id: NetworkId(Uuid::from_u128(0x0a1b2c3d_4e5f_4071_8293_a4b5c6d7e8f9)),
            cidr: "10.71.71.0/24".parse().unwrap(),
            gateway: Ipv4Addr::new(10, 71, 71, 1),
            dhcp: true,
            dns_servers: vec![Ipv4Addr::new(192, 0, 2, 53)],
            mtu: 1450,
            ports: Vec::new(),
        }
    }

    #[test]
    fn the_document() {
        let spec = spec();
        let text = render(spec.id, Uuid::from_u128(7), &frame(&spec)).unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/network/nat.xml");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(path).unwrap());
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut spec = spec();
        for bare in [false, true] {
            if bare {
                spec.dns_servers.clear();
                spec.dhcp = false;
            }
            let text = render(spec.id, Uuid::from_u128(7), &frame(&spec)).unwrap();
            let found = read(&text).unwrap();
            assert_eq!(found.owner, Some(Uuid::from_u128(7)));
            assert_eq!(found.frame, Some(frame(&spec)));
            assert_eq!(ranges(&text).unwrap(), [spec.cidr]);
        }
    }

    #[test]
    fn networks_of_others_are_told_apart() {
        let text = "<network connections='3'><name>default</name><forward mode='nat'/><bridge name='virbr0'/>\
                    <ip address='192.168.122.1' netmask='255.255.255.0'/>\
                    <route address='10.9.0.0' prefix='16' gateway='192.168.122.2'/></network>";
        let found = read(text).unwrap();
        assert_eq!((found.owner, found.connections), (None, 3));
        let ranges: Vec<String> = ranges(text).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(ranges, ["192.168.122.0/24", "10.9.0.0/16"]);
        assert_eq!(read("<network><name>isolated</name></network>").unwrap().frame, None);
        assert!(read("<network>").is_err());
    }

    #[test]
    fn interface_names_fit() {
        assert_eq!(bridge_name(spec().id), "dn-0a1b2c3d4e5");
    }
}
