//! Where a domain's devices are in the guest, from the domain's document: libvirt gives them their places when it takes a
//! definition.

use super::domain_xml::ALIAS_PREFIX;
use super::error::translate;
use crate::host::hypervisor::{BusAddress, DeviceAddresses, HypervisorError};
use roxmltree::{Document, Node};
use virt::domain::Domain;

/// See [`crate::host::hypervisor::Hypervisor::device_addresses`].
pub fn device_addresses(domain: &Domain) -> Result<DeviceAddresses, HypervisorError> {
    const CALL: &str = "device_addresses";
    let xml = domain.xml_desc(0).map_err(|error| translate(CALL, error))?;
    let document = Document::parse(&xml).map_err(|error| HypervisorError::Failed {
        call: CALL,
        message: "the domain's document cannot be read".into(),
        source: Some(Box::new(error)),
    })?;
    Ok(addresses(&document))
}

fn addresses(document: &Document<'_>) -> DeviceAddresses {
    let devices = |name| document.descendants().filter(move |node| node.has_tag_name(name));
    let nics = devices("interface").filter_map(|nic| {
        let mac = child(nic, "mac")?.attribute("address")?.to_ascii_lowercase();
        Some((mac, pci(child(nic, "address")?)?))
    });
    let disks = devices("disk").filter_map(|disk| {
        let name = child(disk, "alias")?.attribute("name")?.strip_prefix(ALIAS_PREFIX)?;
        Some((name.to_owned(), disk_address(disk)))
    });
    DeviceAddresses { nics: nics.collect(), disks: disks.collect() }
}

fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| child.has_tag_name(name))
}

fn disk_address(disk: Node<'_, '_>) -> Option<BusAddress> {
    let place = child(disk, "address")?;
    let parts = |names: &[&str]| {
        let parts: Option<Vec<&str>> = names.iter().map(|name| place.attribute(*name)).collect();
        parts.map(|parts| parts.join(":"))
    };
    let (bus, address) = match child(disk, "target")?.attribute("bus")? {
        "virtio" => ("pci", pci(place)?),
        "scsi" => ("scsi", parts(&["controller", "bus", "target", "unit"])?),
        "ide" => ("ide", parts(&["bus", "unit"])?),
        "usb" => ("usb", parts(&["bus", "port"])?),
        _ => return None,
    };
    Some(BusAddress { bus, address })
}

/// The address as the guest writes it.
fn pci(address: Node<'_, '_>) -> Option<String> {
    if address.attribute("type") != Some("pci") {
        return None;
    }
    let part = |name| address.attribute(name).map(|number| number.trim_start_matches("0x"));
    Some(format!("{}:{}:{}.{}", part("domain")?, part("bus")?, part("slot")?, part("function")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn addresses_of_nics_as_libvirt_writes_them() {
        let xml = "<domain><devices>\
            <disk><address type='pci' domain='0x0000' bus='0x05' slot='0x00' function='0x0'/></disk>\
            <interface type='network'><mac address='FA:16:3e:00:00:01'/>\
            <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></interface>\
            <interface type='user'><mac address='fa:16:3e:00:00:02'/>\
            <address type='pci' domain='0x0000' bus='0x0a' slot='0x1f' function='0x2'/></interface>\
            <interface type='user'><mac address='fa:16:3e:00:00:03'/></interface>\
            </devices></domain>";
        let expected = [("fa:16:3e:00:00:01", "0000:01:00.0"), ("fa:16:3e:00:00:02", "0000:0a:1f.2")];
        let expected = expected.map(|(mac, address)| (mac.to_owned(), address.to_owned()));
        let found = addresses(&Document::parse(xml).unwrap());
        assert_eq!(found, DeviceAddresses { nics: BTreeMap::from(expected), disks: BTreeMap::new() });
    }

    #[test]
    fn addresses_of_disks_that_have_a_name_of_ours() {
        let disk = |bus: &str, alias: &str, address: &str| {
            format!(
                "<disk><target dev='x' bus='{bus}'/><alias name='{alias}'/><address type='{address}/></disk>"
            )
        };
        let drive = |unit: u8| format!("drive' controller='0' bus='1' target='0' unit='{unit}'");
        let xml = [
            disk("virtio", "ua-root", "pci' domain='0x0000' bus='0x04' slot='0x00' function='0x0'"),
            disk("scsi", "ua-ephemeral0", &drive(3)),
            disk("ide", "ua-ephemeral1", &drive(0)),
            disk("usb", "ua-swap", "usb' bus='0' port='2'"),
            disk("sata", "ua-other", &drive(5)),
            disk("scsi", "scsi0-0-0-1", &drive(1)),
        ];
        let xml = format!("<domain><devices>{}</devices></domain>", xml.concat());
        let found = addresses(&Document::parse(&xml).unwrap()).disks;
        let place = |bus, address: &str| Some(BusAddress { bus, address: address.into() });
        let expected = [
            ("root", place("pci", "0000:04:00.0")),
            ("ephemeral0", place("scsi", "0:1:0:3")),
            ("ephemeral1", place("ide", "1:0")),
            ("swap", place("usb", "0:2")),
            ("other", None),
        ];
        assert_eq!(found, expected.map(|(name, place)| (name.to_owned(), place)).into());
    }
}
