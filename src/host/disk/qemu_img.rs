//! `qemu-img`, bounded in time, memory and processor time, and never without explicit formats.
//!
//! Inputs are images that were vetted or disks that were made here, so that no header leads to a file that we did not
//! put there. `-u` (unsafe) and format probing are never used. Outputs are files that exist already, empty and with
//! mode 0600, since `qemu-img` would make them readable for everybody.

use super::error::DiskError;
use crate::host::command::{Command, Limits};
use crate::host::hypervisor::spec::DiskFormat;
use std::path::Path;
use std::time::Duration;

/// For what only writes a header.
const SHORT: Duration = Duration::from_secs(60);
/// For what copies a whole disk.
const LONG: Duration = Duration::from_secs(4 * 3600);
/// QEMU's own map of an image can take a few hundred MiB; the rest is address space of its libraries.
const LIMITS: Limits = Limits { memory_mib: Some(2048), cpu_seconds: Some(3600), file_bytes: None };

/// The name by which QEMU knows a format of ours.
pub(super) fn name(format: DiskFormat) -> &'static str {
    match format {
        DiskFormat::Raw => "raw",
        DiskFormat::Qcow2 => "qcow2",
    }
}

fn qemu_img() -> Command {
    Command::new("qemu-img").limits(LIMITS)
}

/// Writes the header of an overlay of `bytes` virtual bytes over a base; the base is not copied.
pub(super) async fn create_overlay(
    path: &Path,
    base: &Path,
    format: DiskFormat,
    bytes: u64,
) -> Result<(), DiskError> {
    let command = qemu_img().timeout(SHORT).args(["create", "-q", "-f", "qcow2", "-F", name(format), "-b"]);
    command.arg(base).arg(path).arg(bytes.to_string()).run().await?;
    Ok(())
}

/// Writes the header of an empty qcow2 disk of `bytes` virtual bytes that stands on nothing.
pub(super) async fn create_empty(path: &Path, bytes: u64) -> Result<(), DiskError> {
    let command = qemu_img().timeout(SHORT).args(["create", "-q", "-f", "qcow2"]);
    command.arg(path).arg(bytes.to_string()).run().await?;
    Ok(())
}

/// Copies what a disk shows to a guest into a new qcow2 image that stands on nothing.
///
/// `from` is QEMU's name of the input's format.
pub(super) async fn convert(input: &Path, from: &str, output: &Path) -> Result<(), DiskError> {
    let command = qemu_img().timeout(LONG).args(["convert", "-q", "-T", "none", "-f", from, "-O", "qcow2"]);
    command.arg(input).arg(output).run().await?;
    Ok(())
}

/// Writes what the layers above `lowest` hold into it, and makes it as large as `top`. All of them show the same
/// afterwards, and at every moment in between.
pub(super) async fn commit(top: &Path, lowest: &Path) -> Result<(), DiskError> {
    let command = qemu_img().timeout(LONG).args(["commit", "-q", "-f", "qcow2", "-d", "-b"]);
    command.arg(lowest).arg(top).run().await?;
    Ok(())
}
