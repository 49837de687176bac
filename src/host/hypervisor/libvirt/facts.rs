//! Facts about the host, from libvirt's node information and capabilities.

use super::domain_xml::VirtType;
use super::error::translate;
use crate::host::hypervisor::{HostFacts, HypervisorError};
use virt::connect::Connect;

const CALL: &str = "facts";

/// Asks libvirt; talks to no guest.
pub fn gather(connect: &Connect, virt_type: VirtType) -> Result<HostFacts, HypervisorError> {
    let failed = |error| translate(CALL, error);
    let node = connect.node_info().map_err(failed)?;
    let capabilities = connect.capabilities().map_err(failed)?;
    let cpu = read_cpu(&capabilities)?;
    Ok(HostFacts {
        hostname: connect.hostname().map_err(failed)?,
        virt_type: virt_type.name().into(),
        hypervisor_version: connect.hyp_version().map_err(failed)?.into(),
        libvirt_version: connect.lib_version().map_err(failed)?.into(),
        cpus: node.cpus,
        memory_mib: node.memory / 1024,
        cpu_model: cpu.model.unwrap_or(node.model),
        cpu_vendor: cpu.vendor.unwrap_or_default(),
        cpu_sockets: node.sockets * node.nodes.max(1),
        cpu_cores: node.cores,
        cpu_threads: node.threads,
    })
}

#[derive(Debug, PartialEq, Eq)]
struct HostCpu {
    model: Option<String>,
    vendor: Option<String>,
}

/// Reads the host's processor from libvirt's capabilities; on some hosts libvirt cannot name it.
fn read_cpu(capabilities: &str) -> Result<HostCpu, HypervisorError> {
    let document = roxmltree::Document::parse(capabilities).map_err(|error| HypervisorError::Failed {
        call: CALL,
        message: "libvirt's capabilities could not be read".into(),
        source: Some(Box::new(error)),
    })?;
    let cpu = document
        .descendants()
        .find(|node| node.has_tag_name("host"))
        .and_then(|host| host.children().find(|node| node.has_tag_name("cpu")));
    let text = |name: &str| {
        cpu.and_then(|cpu| cpu.children().find(|node| node.has_tag_name(name)))
            .and_then(|node| node.text())
            .map(str::to_owned)
    };
    Ok(HostCpu { model: text("model"), vendor: text("vendor") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_of_the_host_is_read_not_that_of_guests() {
        let text = "<capabilities><host><cpu><arch>x86_64</arch><model>EPYC</model><vendor>AMD</vendor></cpu>\
                    </host><guest><cpu><model>other</model></cpu></guest></capabilities>";
        let cpu = read_cpu(text).unwrap();
        assert_eq!(cpu, HostCpu { model: Some("EPYC".into()), vendor: Some("AMD".into()) });
        assert_eq!(read_cpu("<capabilities/>").unwrap(), HostCpu { model: None, vendor: None });
        assert!(read_cpu("<capabilities>").is_err());
    }
}
