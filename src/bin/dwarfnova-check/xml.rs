//! Reads libvirt's documents.

use crate::facts::{Disk, Domain, Network, Nic, Shape};
use anyhow::Context;
use roxmltree::{Document, Node};

const DOMAIN_MARK: &str = "urn:dwarfnova:domain:1";
const NETWORK_MARK: &str = "urn:dwarfnova:network:1";
const DNSMASQ: &str = "http://libvirt.org/schemas/network/dnsmasq/1.0";

fn child<'a, 'd>(node: Node<'a, 'd>, name: &str) -> Option<Node<'a, 'd>> {
    node.children().find(|child| child.tag_name().name() == name)
}

fn attribute(node: Node<'_, '_>, path: &[&str], name: &str) -> Option<String> {
    let found = path.iter().try_fold(node, |node, step| child(node, step))?;
    found.attribute(name).map(str::to_owned)
}

fn number(node: Node<'_, '_>, name: &str) -> u64 {
    child(node, name).and_then(|found| found.text()?.trim().parse().ok()).unwrap_or(0)
}

fn owner(root: Node<'_, '_>, namespace: &str) -> Option<String> {
    root.descendants()
        .find(|node| node.tag_name().namespace() == Some(namespace) && node.has_attribute("owner"))
        .and_then(|mark| mark.attribute("owner").map(str::to_owned))
}

/// Reads the mark and the shape of a domain.
pub fn domain(xml: &str) -> anyhow::Result<(Option<String>, Shape)> {
    let document = Document::parse(xml).context("a domain's document")?;
    let root = document.root_element();
    let memory = child(root, "memory");
    let unit = match memory.and_then(|node| node.attribute("unit")).unwrap_or("KiB") {
        "KiB" | "k" => 1,
        "MiB" | "M" => 1 << 10,
        "GiB" | "G" => 1 << 20,
        other => anyhow::bail!("a domain's memory is in {other}"),
    };
    let mut shape =
        Shape { memory_kib: number(root, "memory") * unit, vcpus: number(root, "vcpu"), ..Shape::default() };
    for device in child(root, "devices").into_iter().flat_map(|devices| devices.children()) {
        match device.tag_name().name() {
            "disk" => shape.disks.push(disk(device)),
            "interface" => shape.nics.push(Nic {
                mac: attribute(device, &["mac"], "address").unwrap_or_default().to_lowercase(),
                network: attribute(device, &["source"], "network"),
                tap: attribute(device, &["target"], "dev"),
            }),
            "serial" | "console" | "channel" => {
                // A console that mirrors a serial port has its path.
                let path = attribute(device, &["source"], "path").filter(|path| path.starts_with('/'));
                shape.endpoints.extend(path.filter(|path| !shape.endpoints.contains(path)));
            }
            "graphics" => {
                let port = device.attribute("port").filter(|port| *port != "-1");
                shape.endpoints.extend(port.map(|port| format!("display port {port}")));
                shape.endpoints.extend(device.attribute("socket").map(str::to_owned));
            }
            _ => {}
        }
    }
    Ok((owner(root, DOMAIN_MARK), shape))
}

fn disk(device: Node<'_, '_>) -> Disk {
    let mut below = Vec::new();
    let mut layer = child(device, "backingStore");
    while let Some(node) = layer {
        below.extend(attribute(node, &["source"], "file"));
        layer = child(node, "backingStore");
    }
    Disk {
        target: attribute(device, &["target"], "dev").unwrap_or_default(),
        path: attribute(device, &["source"], "file").unwrap_or_default(),
        format: attribute(device, &["driver"], "type").unwrap_or_default(),
        serial: child(device, "serial").and_then(|node| node.text().map(str::to_owned)),
        read_only: child(device, "readonly").is_some(),
        below,
    }
}

/// Reads a network's document; whether it runs is for the caller to fill in.
pub fn network(xml: &str) -> anyhow::Result<Network> {
    let document = Document::parse(xml).context("a network's document")?;
    let root = document.root_element();
    let text = |name: &str| child(root, name).and_then(|node| node.text()).unwrap_or_default().to_owned();
    let address = child(root, "ip")
        .and_then(|ip| Some((ip.attribute("address")?.parse().ok()?, ip.attribute("prefix")?.parse().ok()?)));
    Ok(Network {
        name: text("name"),
        uuid: text("uuid"),
        owner: owner(root, NETWORK_MARK),
        bridge: attribute(root, &["bridge"], "name").unwrap_or_default(),
        address,
        dnsmasq: root
            .descendants()
            .filter(|node| node.has_tag_name((DNSMASQ, "option")))
            .filter_map(|node| node.attribute("value").map(str::to_owned))
            .collect(),
        ..Network::default()
    })
}

/// Whether a stored document says what the live one says, as far as a restart of the guest would show it.
pub fn differences(domain: &Domain) -> Vec<String> {
    let Some(live) = &domain.live else { return Vec::new() };
    let stored = &domain.stored;
    let mut found = Vec::new();
    if live.memory_kib != stored.memory_kib {
        found.push(format!("memory: {} KiB live, {} KiB stored", live.memory_kib, stored.memory_kib));
    }
    if live.vcpus != stored.vcpus {
        found.push(format!("vCPUs: {} live, {} stored", live.vcpus, stored.vcpus));
    }
    if live.disks != stored.disks {
        found.push(format!("disks: live {:?}, stored {:?}", live.disks, stored.disks));
    }
    if live.nics != stored.nics {
        found.push(format!("NICs: live {:?}, stored {:?}", live.nics, stored.nics));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_read() {
        let xml = include_str!("../../../tests/golden/domain/full.xml");
        let (owner, shape) = domain(xml).unwrap();
        assert_eq!(owner.as_deref(), Some("00000000-0000-0000-0000-000000000007"));
        assert_eq!((shape.memory_kib, shape.vcpus, shape.disks.len()), (2 << 20, 2, 3));
        let root = &shape.disks[0];
        assert_eq!((root.target.as_str(), root.format.as_str(), root.read_only), ("vda", "qcow2", false));
        let servers = "/var/lib/dwarfnova/servers/1";
        assert_eq!(root.below, [format!("{servers}/disk.before-1"), "/var/lib/dwarfnova/bases/3".into()]);
        assert!(shape.disks[1].read_only);
        assert_eq!(shape.disks[2].serial.as_deref(), Some("aaaaaaaa-bbbb-4ccc-8d"));
        let nic = Nic {
            mac: "fa:16:3e:12:34:56".into(),
            network: Some("dwarfnova-0a1b2c3d".into()),
            tap: Some("tapaaaaaaaa-bb".into()),
        };
        assert_eq!(shape.nics, [nic]);
        assert_eq!(shape.endpoints, [format!("{servers}/console.sock")]);
        assert_eq!(domain("<domain><name>x</name></domain>").unwrap().0, None);
    }

    #[test]
    fn a_network_is_read() {
        let network = network(include_str!("../../../tests/golden/network/nat.xml")).unwrap();
        assert_eq!(network.bridge, "dn-0a1b2c3d4e5");
        assert_eq!(network.address, Some(("10.71.71.1".parse().unwrap(), 24)));
        assert_eq!(network.owner.as_deref(), Some("00000000-0000-0000-0000-000000000007"));
        assert_eq!(network.dnsmasq.len(), 5);
    }
}
