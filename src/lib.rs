//! Dwarfnova: an OpenStack-compatible cloud in one process, for one machine.
//!
//! Data flows one way: `api` (HTTP) -> `core` (what a cloud is) -> `store` (SQLite), `task` (durable work) and `host`
//! (libvirt, disks, networks). `app` is the one place that puts them together. ARCHITECTURE.md is the map.

pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod core;
pub mod credentials;
pub mod host;
pub mod lifecycle;
pub mod store;
pub mod task;
pub mod telemetry;
