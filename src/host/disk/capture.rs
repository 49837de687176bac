//! An image from a server's root disk: a copy beside the disk first, which then becomes the bytes of an image.
//!
//! The copy of a running guest is written by its QEMU, so it lies where that may write: in the server's folder. It has
//! its name only when it is complete, and goes with the folder when the server is deleted.

use super::chain;
use super::error::{Context, DiskError};
use super::images::{ImageFacts, image_name};
use super::inspect::{self, ImageFormat, ReadAt};
use super::server_disks::{Disk, ServerDisks, folder_name};
use super::tree::{Tree, with_suffix};
use super::{blocking, qemu_img};
use crate::core::ids::{ImageId, ServerId};
use md5::Md5;
use sha2::{Digest, Sha512};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

/// How much is read at once while hashing, in bytes.
const CHUNK: usize = 1 << 20;
/// What `st_blocks` counts in, in bytes.
const BLOCK: u64 = 512;
const CAPTURE: &str = "snapshot";

/// The disk that is to be copied, and the empty image that the copy goes into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyFiles {
    /// Absolute.
    pub disk: PathBuf,
    /// Absolute; an empty qcow2 image of the disk's virtual size.
    pub copy: PathBuf,
}

fn capture_name(server: ServerId) -> PathBuf {
    folder_name(server).join(CAPTURE)
}

fn unfinished_name(server: ServerId) -> PathBuf {
    with_suffix(&capture_name(server), ".new")
}

impl ServerDisks {
    /// Makes the file that a hypervisor copies the running server's root disk into. A copy that was not finished is
    /// forgotten; nobody may be writing to it any more.
    pub async fn begin_capture(&self, server: ServerId) -> Result<CopyFiles, DiskError> {
        let disk = self.room_for_capture(server).await?;
        let copy = self.tree.path(&unfinished_name(server));
        qemu_img::create_empty(&copy, disk.virtual_size()).await?;
        Ok(CopyFiles { disk: disk.path().to_owned(), copy })
    }

    /// Makes an empty file for a copy if there is room for all that the disk shows.
    async fn room_for_capture(&self, server: ServerId) -> Result<Disk, DiskError> {
        let (disk, _) = self.root_disk(server).await?;
        let (tree, copied) = (Arc::clone(&self.tree), disk.clone());
        blocking(move || {
            let new = unfinished_name(server);
            tree.remove_file(&new)?;
            tree.check_room(taken_up(&copied)?)?;
            tree.create_file(&new).map(drop)
        })
        .await?;
        Ok(disk)
    }

    /// Gives a copy, which nobody writes to any more, its name.
    pub async fn end_capture(&self, server: ServerId) -> Result<(), DiskError> {
        let tree = Arc::clone(&self.tree);
        blocking(move || super::server_disks::publish(&tree, &unfinished_name(server), &capture_name(server)))
            .await
    }

    /// Copies what the root disk shows to its guest. Nothing may write to the disk meanwhile: the guest is off.
    pub async fn capture(&self, server: ServerId) -> Result<(), DiskError> {
        // See `ensure_base`: the semaphore is never closed.
        let _turn = self.images.conversions.acquire().await.ok();
        let disk = self.room_for_capture(server).await?;
        let copy = self.tree.path(&unfinished_name(server));
        qemu_img::convert(disk.path(), qemu_img::name(disk.format()), &copy).await?;
        self.end_capture(server).await
    }

    /// Whether there is a finished copy.
    pub async fn has_capture(&self, server: ServerId) -> Result<bool, DiskError> {
        let tree = Arc::clone(&self.tree);
        blocking(move || tree.exists(&capture_name(server))).await
    }

    /// Makes the finished copy the bytes of an image; one that is that already is only looked at.
    pub async fn publish_capture(&self, server: ServerId, image: ImageId) -> Result<ImageFacts, DiskError> {
        let (tree, max_virtual) = (Arc::clone(&self.tree), self.images.max_virtual);
        blocking(move || {
            let (copy, name) = (capture_name(server), image_name(image));
            let (file, published) = if let Some(file) = tree.open_file(&copy)? {
                (file, false)
            } else {
                let file = tree.open_file(&name)?;
                (file.ok_or_else(|| DiskError::NotFound("the copy of the disk".into()))?, true)
            };
            let found = inspect::inspect(&file, ImageFormat::Qcow2, max_virtual)
                .during("inspecting", tree.path(&name))?;
            let (md5, sha512) = digests(&file).during("reading", tree.path(&name))?;
            if !published {
                publish(&tree, &file, server, image)?;
            }
            Ok(ImageFacts {
                format: found.format,
                size: found.size,
                virtual_size: found.virtual_size,
                md5,
                sha512,
            })
        })
        .await
    }

    /// Ensures that there is no copy, finished or not. Nobody may be writing to it any more.
    pub async fn drop_capture(&self, server: ServerId) -> Result<(), DiskError> {
        let tree = Arc::clone(&self.tree);
        blocking(move || {
            tree.remove_file(&unfinished_name(server))?;
            tree.remove_file(&capture_name(server)).map(drop)
        })
        .await
    }
}

fn publish(tree: &Tree, file: &File, server: ServerId, image: ImageId) -> Result<(), DiskError> {
    let copy = capture_name(server);
    tree.seal_file(file, &copy)?;
    file.sync_all().during("syncing", tree.path(&copy)).map_err(|error| tree.name_full(error))?;
    tree.rename(&copy, &image_name(image))
}

/// What a disk and all that it stands on take up, in bytes: no copy of it is larger.
fn taken_up(disk: &Disk) -> Result<u64, DiskError> {
    let allocated = |path: &PathBuf| {
        path.metadata().map(|found| found.blocks().saturating_mul(BLOCK)).during("looking at", path)
    };
    let mut bytes = allocated(&disk.path().to_owned())?;
    let layers = chain::layers(disk.path(), disk.format()).during("reading the header", disk.path())?;
    for layer in layers {
        bytes = bytes.saturating_add(allocated(&layer.path)?);
    }
    Ok(bytes)
}

fn digests(file: &File) -> std::io::Result<(String, String)> {
    let (mut md5, mut sha512) = (Md5::new(), Sha512::new());
    let mut chunk = vec![0; CHUNK];
    let mut offset = 0;
    loop {
        let count = ReadAt::read_at(file, &mut chunk, offset)?;
        if count == 0 {
            return Ok((hex::encode(md5.finalize()), hex::encode(sha512.finalize())));
        }
        md5.update(&chunk[..count]);
        sha512.update(&chunk[..count]);
        offset += count as u64;
    }
}
