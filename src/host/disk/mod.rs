//! Disks and images on the machine.

pub mod inspect;
