//! What a cloud *is*: servers and their states, flavors, images, networks, ports, projects, policy.
//!
//! Data and rules only. Nothing in here (outside `service`, `workflow` and `reconcile`, which coordinate)
//! may do I/O, know HTTP, SQL or libvirt, or read a clock or a random source that was not passed in.

pub mod actor;
pub mod aggregate;
pub mod clock;
pub mod console;
pub mod error;
pub mod firewall;
pub mod flavor;
pub mod identity;
pub mod ids;
pub mod image;
pub mod keypair;
pub mod listing;
pub mod network;
pub mod policy;
pub mod port;
pub mod quota;
pub mod reconcile;
pub mod secret;
pub mod security_group;
pub mod server;
pub mod server_group;
pub mod service;
pub mod workflow;

pub use error::{Error, Kind, Result};
