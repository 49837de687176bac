//! The hypervisor through libvirt.

pub mod domain_xml;
