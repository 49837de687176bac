//! What guests are told about themselves: config drive and metadata documents, as pure functions from plain data to bytes.
//!
//! Reads no clock, no file and no random source.

pub mod iso9660;
