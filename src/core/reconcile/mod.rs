//! Brings rows and reality together: at start, and when something outside has changed.

pub mod host_networks;
