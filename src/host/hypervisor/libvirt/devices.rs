//! Where a domain's devices are in the guest, from the domain's document: libvirt gives them their places when it takes a
//! definition.

use super::error::translate;
use crate::host::hypervisor::HypervisorError;
use roxmltree::{Document, Node};
use std::collections::BTreeMap;
use virt::domain::Domain;

/// See [`crate::host::hypervisor::Hypervisor::nic_addresses`].
pub fn nic_addresses(domain: &Domain) -> Result<BTreeMap<String, String>, HypervisorError> {
    const CALL: &str = "nic_addresses";
    let xml = domain.xml_desc(0).map_err(|error| translate(CALL, error))?;
    let document = Document::parse(&xml).map_err(|error| HypervisorError::Failed {
        call: CALL,
        message: "the domain's document cannot be read".into(),
        source: Some(Box::new(error)),
    })?;
    Ok(addresses(&document))
}

fn addresses(document: &Document<'_>) -> BTreeMap<String, String> {
    let nics = document.descendants().filter(|node| node.has_tag_name("interface"));
    nics.filter_map(|nic| {
        let child = |name: &str| nic.children().find(|child| child.has_tag_name(name));
        let mac = child("mac")?.attribute("address")?.to_ascii_lowercase();
        Some((mac, pci(child("address")?)?))
    })
    .collect()
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

    #[test]
    fn addresses_as_libvirt_writes_them() {
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
        assert_eq!(addresses(&Document::parse(xml).unwrap()), BTreeMap::from(expected));
    }
}
