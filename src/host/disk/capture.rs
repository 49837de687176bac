//! An image from a server's disk.

use super::error::{Context, DiskError};
use super::images::{ImageFacts, ImageStore, StagingFile, publish};
use super::inspect::{self, ImageFormat, ReadAt};
use super::server_disks::Disk;
use super::{blocking, qemu_img};
use crate::core::ids::ImageId;
use md5::Md5;
use sha2::{Digest, Sha512};
use std::fs::File;
use std::sync::Arc;

/// How much is read at once while hashing, in bytes.
const CHUNK: usize = 1 << 20;

impl ImageStore {
    /// Copies what a disk shows to its guest into a qcow2 image that stands on nothing. Nothing may write to the disk
    /// meanwhile: the guest is off, or writes to a layer above.
    pub async fn capture(&self, id: ImageId, disk: &Disk) -> Result<ImageFacts, DiskError> {
        // See `ensure_base`: the semaphore is never closed.
        let _turn = self.conversions.acquire().await.ok();
        let tree = Arc::clone(&self.tree);
        let staging = blocking(move || {
            tree.check_room(0)?;
            let staging = StagingFile::reserve(Arc::clone(&tree), id);
            tree.create_file(&staging.name)?;
            Ok(staging)
        })
        .await?;
        let output = self.tree.path(&staging.name);
        qemu_img::convert(disk.path(), qemu_img::name(disk.format()), &output).await?;
        let (tree, max_virtual) = (Arc::clone(&self.tree), self.max_virtual);
        blocking(move || {
            let file = tree
                .open_file(&staging.name)?
                .ok_or_else(|| DiskError::NotFound("the captured disk".into()))?;
            let found = inspect::inspect(&file, ImageFormat::Qcow2, max_virtual)
                .during("inspecting", tree.path(&staging.name))?;
            let (md5, sha512) = digests(&file).during("reading", tree.path(&staging.name))?;
            publish(&file, staging, id)?;
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
