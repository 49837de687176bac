//! Why something about disks failed.

use super::inspect::{InspectError, Refusal};
use crate::core::{self, Kind};
use crate::host::command::CommandError;
use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Writing would eat into the reserve, or the file system is full already.
    #[error("the disk is full: {free_mib} MiB are free, {reserve_mib} MiB of that are kept in reserve")]
    Full { free_mib: u64, reserve_mib: u64 },
    /// More bytes came than the caller allowed.
    #[error("the image is larger than the {limit} bytes that are allowed")]
    TooLarge { limit: u64 },
    /// The bytes are not a harmless image of the declared format.
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("{0} does not exist on the disk")]
    NotFound(String),
    /// The disk asked for is smaller than what has to be on it. Sizes in bytes.
    #[error("a disk of {asked} bytes cannot hold an image of {needed} bytes")]
    TooSmall { asked: u64, needed: u64 },
    /// What is on the disk is not what should be there, and is not ours to replace.
    #[error("{path}: {what}", path = path.display())]
    Unexpected { path: PathBuf, what: String },
    #[error("{path}: {action} failed", path = path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A worker thread panicked, or the process is stopping.
    #[error("the work on the disk was interrupted")]
    Interrupted(#[from] tokio::task::JoinError),
}

impl DiskError {
    pub(super) fn unexpected(path: impl Into<PathBuf>, what: impl Into<String>) -> Self {
        Self::Unexpected { path: path.into(), what: what.into() }
    }
}

impl From<DiskError> for core::Error {
    fn from(error: DiskError) -> Self {
        let kind = match &error {
            DiskError::Full { .. } => Kind::NoCapacity,
            DiskError::TooLarge { .. } => Kind::TooLarge,
            DiskError::Refused(_) | DiskError::TooSmall { .. } => Kind::Invalid,
            DiskError::NotFound(_) => Kind::NotFound,
            DiskError::Unexpected { .. }
            | DiskError::Io { .. }
            | DiskError::Command(_)
            | DiskError::Interrupted(_) => return core::Error::internal(error),
        };
        core::Error::new(kind, error.to_string()).with_source(error)
    }
}

/// Adds what was done to which file.
pub(super) trait Context<T> {
    fn during(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, DiskError>;
}

impl<T> Context<T> for io::Result<T> {
    fn during(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, DiskError> {
        self.map_err(|source| DiskError::Io { action, path: path.into(), source })
    }
}

impl<T> Context<T> for nix::Result<T> {
    fn during(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, DiskError> {
        self.map_err(io::Error::from).during(action, path)
    }
}

impl<T> Context<T> for Result<T, InspectError> {
    fn during(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, DiskError> {
        match self {
            Ok(value) => Ok(value),
            Err(InspectError::Refused(refusal)) => Err(refusal.into()),
            Err(InspectError::Io(source)) => Err(source).during(action, path),
        }
    }
}
