//! NICs that come and go while the guest runs.

use super::domain_xml;
use super::error::{is, translate};
use crate::host::hypervisor::HypervisorError;
use crate::host::hypervisor::spec::NicSpec;
use roxmltree::{Document, Node};
use std::time::{Duration, Instant};
use virt::domain::Domain;
use virt::error::ErrorNumber;
use virt::sys;

type Result<T> = std::result::Result<T, HypervisorError>;

/// How long a guest has to let go of a device before it is asked again.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(50);

/// One of the two documents of a domain.
#[derive(Clone, Copy)]
enum Of {
    /// What it is at its next start.
    Definition,
    /// What runs.
    Guest,
}

impl Of {
    fn document(self, domain: &Domain, call: &'static str) -> Result<String> {
        let flags = match self {
            Self::Definition => sys::VIR_DOMAIN_XML_INACTIVE,
            Self::Guest => 0,
        };
        domain.xml_desc(flags).map_err(|error| translate(call, error))
    }

    fn flag(self) -> u32 {
        match self {
            Self::Definition => sys::VIR_DOMAIN_AFFECT_CONFIG,
            Self::Guest => sys::VIR_DOMAIN_AFFECT_LIVE,
        }
    }
}

/// What a change has to reach: the guest first, since it can refuse.
fn places(domain: &Domain, call: &'static str) -> Result<&'static [Of]> {
    let active = domain.is_active().map_err(|error| translate(call, error))?;
    Ok(if active { &[Of::Guest, Of::Definition] } else { &[Of::Definition] })
}

/// See [`crate::host::hypervisor::Hypervisor::attach_nic`].
pub fn attach_nic(domain: &Domain, nic: &NicSpec) -> Result<()> {
    const CALL: &str = "attach_nic";
    let xml = domain_xml::render_nic(nic).map_err(|error| HypervisorError::Failed {
        call: CALL,
        message: "the document of the NIC could not be written".into(),
        source: Some(Box::new(error)),
    })?;
    for place in places(domain, CALL)? {
        if nic_element(&place.document(domain, CALL)?, &nic.mac).is_none() {
            domain.attach_device_flags(&xml, place.flag()).map_err(|error| translate(CALL, error))?;
        }
    }
    Ok(())
}

/// See [`crate::host::hypervisor::Hypervisor::detach_nic`].
pub fn detach_nic(domain: &Domain, mac: &str) -> Result<()> {
    const CALL: &str = "detach_nic";
    let begun = Instant::now();
    for place in places(domain, CALL)? {
        let Some(xml) = nic_element(&place.document(domain, CALL)?, mac) else { continue };
        match domain.detach_device_flags(&xml, place.flag()) {
            Ok(()) => {}
            // It went while we looked.
            Err(error) if is(&error, ErrorNumber::DeviceMissing) => {}
            Err(error) => return Err(translate(CALL, error)),
        }
        while nic_element(&place.document(domain, CALL)?, mac).is_some() {
            let active = domain.is_active().map_err(|error| translate(CALL, error))?;
            if matches!(place, Of::Guest) && !active {
                break;
            }
            if begun.elapsed() > PATIENCE {
                return Err(HypervisorError::Deadline { call: CALL, seconds: PATIENCE.as_secs() });
            }
            std::thread::sleep(LOOK);
        }
    }
    Ok(())
}

/// The element of the NIC with this MAC address, as the document has it.
fn nic_element(xml: &str, mac: &str) -> Option<String> {
    let document = Document::parse(xml).ok()?;
    let has_mac = |nic: &Node<'_, '_>| {
        let own = nic.children().find(|child| child.has_tag_name("mac"));
        own.and_then(|own| own.attribute("address")).is_some_and(|own| own.eq_ignore_ascii_case(mac))
    };
    let nic =
        document.descendants().filter(|node| node.has_tag_name("interface")).find(|nic| has_mac(nic))?;
    Some(xml[nic.range()].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nic_with_a_mac_is_found_whole() {
        let other = "<interface type='user'><mac address='fa:16:3e:00:00:01'/></interface>";
        let wanted =
            "<interface type='network'>\n<mac address='FA:16:3e:00:00:02'/><target dev='tap1'/></interface>";
        let xml = format!("<domain><devices>{other}{wanted}</devices></domain>");
        assert_eq!(nic_element(&xml, "fa:16:3e:00:00:02").as_deref(), Some(wanted));
        assert_eq!(nic_element(&xml, "fa:16:3e:00:00:03"), None);
    }
}
