//! The drivers of the host against the real libvirt and QEMU.
//!
//! They start guests and networks, so they run only inside `tests/hermetic`, and say so when they do not.

mod disks;
mod domains;
mod firewall;
mod networks;
mod surroundings;

pub use surroundings::{kill_libvirtd, libvirtd_alone, shared_libvirtd, start_libvirtd};
