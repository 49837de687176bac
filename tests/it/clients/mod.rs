//! The real clients, unmodified, on real guests.

mod openstack;
