//! What a disk of ours stands on, from the headers that we wrote.

use super::inspect::{InspectError, Qcow2Header};
use crate::host::hypervisor::spec::DiskFormat;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// More layers than any number of resizes is likely to leave.
const MAX_LAYERS: usize = 64;

/// A file that a disk stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Absolute.
    pub path: PathBuf,
    pub format: DiskFormat,
    /// Nobody may write to it: it belongs to an image and is shared between servers.
    pub sealed: bool,
}

/// The files below a disk, the nearest first. Blocks.
pub fn layers(disk: &Path, format: DiskFormat) -> Result<Vec<Layer>, InspectError> {
    let mut layers: Vec<Layer> = Vec::new();
    let (mut path, mut format) = (disk.to_owned(), format);
    while format == DiskFormat::Qcow2 && layers.len() < MAX_LAYERS {
        let Some(backing) = Qcow2Header::read(&File::open(&path)?)?.backing else { break };
        path = PathBuf::from(OsString::from_vec(backing.name));
        format = match backing.format.as_deref() {
            Some(b"qcow2") => DiskFormat::Qcow2,
            Some(b"raw") => DiskFormat::Raw,
            _ => return Err(io::Error::other("a layer without a known format").into()),
        };
        layers.push(Layer { sealed: is_sealed(&path)?, path: path.clone(), format });
    }
    Ok(layers)
}

/// Whether a file is one that QEMU may only read.
pub fn is_sealed(path: &Path) -> io::Result<bool> {
    Ok(path.metadata()?.permissions().mode() & 0o222 == 0)
}
