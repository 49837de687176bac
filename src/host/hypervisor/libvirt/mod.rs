//! The hypervisor through libvirt.
//!
//! `connection` keeps the link and runs blocking calls with deadlines; `guest` is the interface's implementation on
//! top of it, with `power`, `hotplug`, `figures`, `copy` and `ownership` for parts of it; `domain_xml` writes what libvirt reads; `probe` finds out
//! about KVM; `ffi` holds the only unsafe code.

pub mod connection;
mod copy;
mod devices;
pub mod domain_xml;
pub(crate) mod error;
mod events;
mod facts;
pub(crate) mod ffi;
mod figures;
mod guest;
mod hotplug;
mod ownership;
mod pool;
mod power;
mod probe;
mod state;

pub use domain_xml::VirtType;
pub use guest::{LibvirtConfig, LibvirtHost, VirtTypeSetting};
