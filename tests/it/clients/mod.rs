//! The real clients, unmodified, on real guests.

mod nova;
mod openstack;
mod sdk;
