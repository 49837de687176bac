//! What guests are told about themselves: config drive and metadata documents, as pure functions from plain data to bytes.
//!
//! Reads no clock, no file and no random source.

mod documents;
mod ec2;
pub mod iso9660;
mod lookup;
mod network_data;

pub use documents::{Ec2Facts, GuestDevice, GuestDeviceKind, GuestDocuments, GuestKey};
pub use lookup::{Answer, CONFIG_DRIVE_LABEL, ec2_versions};
pub use network_data::{GuestNic, GuestRoute, GuestSubnet};
