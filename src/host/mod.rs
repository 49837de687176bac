//! Everything outside the process: the hypervisor, disks, networks, guest documents, programs.
//!
//! Knows nothing of HTTP, projects or SQL. Each effect is an `ensure`: it observes first and does only what is
//! missing, so that a step that ran before a crash can run again.

pub mod command;
pub mod disk;
pub mod exit;
pub mod faults;
pub mod guest;
#[cfg(target_env = "gnu")]
pub mod heap;
pub mod hypervisor;
pub mod machine;
pub mod net;
pub mod storage;

use std::sync::Arc;

/// All that the machine offers, put together by the composition root.
#[derive(Clone)]
pub struct Host {
    pub hypervisor: Arc<dyn hypervisor::Hypervisor>,
    pub network: Arc<dyn net::HostNetwork>,
    pub storage: Arc<dyn storage::Storage>,
    pub images: disk::ImageStore,
}
