//! Everything outside the process: the hypervisor, disks, networks, guest documents, programs.
//!
//! Knows nothing of HTTP, projects or SQL. Each effect is an `ensure`: it observes first and does only what is
//! missing, so that a step that ran before a crash can run again.

pub mod command;
pub mod disk;
pub mod faults;
pub mod guest;
pub mod hypervisor;
pub mod net;
pub mod storage;
