//! The real clients, unmodified, on real guests.

pub mod nova;
mod openstack;
mod sdk;
