//! Bases: what the overlays of servers stand on.
//!
//! A base is a second name for the image's file where QEMU can use it as it is, and a conversion to qcow2 where overlays
//! over it would be slow or impossible. It outlives the image: deleting an image takes its name in `images/` only, and the base
//! stays for as long as a server needs it.

use super::error::{Context, DiskError};
use super::images::{ImageStore, StagingFile, VettedImage, ids_in};
use super::inspect::{self, ImageFormat};
use super::tree::BASES;
use super::{blocking, chain, qemu_img, server_disks};
use crate::core::ids::ImageId;
use crate::host::hypervisor::spec::DiskFormat;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file that overlays may stand on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Absolute.
    pub path: PathBuf,
    pub format: DiskFormat,
    /// Bytes.
    pub virtual_size: u64,
}

impl ImageStore {
    /// Ensures that the image's base exists. Converts the image if need be, which takes about as long as copying it.
    pub async fn ensure_base(&self, image: &VettedImage) -> Result<Base, DiskError> {
        let Some(foreign) = foreign_name(image.format()) else {
            let (tree, image) = (Arc::clone(&self.tree), image.clone());
            return blocking(move || {
                let name = base_name(image.id());
                tree.link(image.name(), &name)?;
                let format =
                    if image.format() == ImageFormat::Qcow2 { DiskFormat::Qcow2 } else { DiskFormat::Raw };
                Ok(Base { path: tree.path(&name), format, virtual_size: image.virtual_size() })
            })
            .await;
        };
        // The semaphore is never closed; if it were, converting without it would still be right.
        let _turn = self.conversions.acquire().await.ok();
        let id = image.id();
        if let Some(base) = self.converted(id).await? {
            return Ok(base);
        }
        let (tree, source) = (Arc::clone(&self.tree), image.name().to_owned());
        let staging = blocking(move || {
            tree.check_room(tree.allocated(&source)?)?;
            let staging = StagingFile::reserve(Arc::clone(&tree), id);
            tree.create_file(&staging.name)?;
            Ok(staging)
        })
        .await?;
        let (input, output) = (self.tree.path(image.name()), self.tree.path(&staging.name));
        qemu_img::convert(&input, foreign, &output).await?;
        let tree = Arc::clone(&self.tree);
        blocking(move || {
            let file = tree
                .open_file(&staging.name)?
                .ok_or_else(|| DiskError::NotFound("the converted image".into()))?;
            tree.seal_file(&file, &staging.name)?;
            file.sync_all().during("syncing", tree.path(&staging.name))?;
            staging.publish(&base_name(id))
        })
        .await?;
        let base = self.converted(id).await?;
        base.ok_or_else(|| DiskError::NotFound(format!("the converted image {id}")))
    }

    /// The absolute path of the image's base, whether it exists or not.
    pub fn base_path(&self, id: ImageId) -> PathBuf {
        self.tree.path(&base_name(id))
    }

    /// The base of an image of this format, if there is one. For images whose own bytes are gone.
    pub async fn find_base(&self, id: ImageId, format: ImageFormat) -> Result<Option<Base>, DiskError> {
        if foreign_name(format).is_some() {
            return self.converted(id).await;
        }
        let (tree, max_virtual) = (Arc::clone(&self.tree), self.max_virtual);
        blocking(move || {
            let name = base_name(id);
            let Some(file) = tree.open_file(&name)? else { return Ok(None) };
            let path = tree.path(&name);
            let found = inspect::inspect(&file, format, max_virtual).during("inspecting", &path)?;
            let format = if format == ImageFormat::Qcow2 { DiskFormat::Qcow2 } else { DiskFormat::Raw };
            Ok(Some(Base { path, format, virtual_size: found.virtual_size }))
        })
        .await
    }

    /// A base that was made by conversion, if there is one.
    async fn converted(&self, id: ImageId) -> Result<Option<Base>, DiskError> {
        let (tree, max_virtual) = (Arc::clone(&self.tree), self.max_virtual);
        blocking(move || {
            let name = base_name(id);
            let Some(file) = tree.open_file(&name)? else { return Ok(None) };
            let found = inspect::inspect(&file, ImageFormat::Qcow2, max_virtual)
                .during("inspecting", tree.path(&name))?;
            Ok(Some(Base {
                path: tree.path(&name),
                format: DiskFormat::Qcow2,
                virtual_size: found.virtual_size,
            }))
        })
        .await
    }

    /// Ids of the images that have a base.
    pub async fn list_bases(&self) -> Result<Vec<ImageId>, DiskError> {
        let tree = Arc::clone(&self.tree);
        blocking(move || ids_in(&tree, BASES)).await
    }

    /// Ids of the images whose bases a server's disk stands on, as the disks themselves say.
    pub async fn bases_in_use(&self) -> Result<BTreeSet<ImageId>, DiskError> {
        let tree = Arc::clone(&self.tree);
        blocking(move || {
            let bases = tree.path(Path::new(BASES));
            let mut used = BTreeSet::new();
            for disk in server_disks::overlays(&tree)? {
                let path = tree.path(&disk);
                let layers = match chain::layers(&path, DiskFormat::Qcow2) {
                    Ok(layers) => layers,
                    // Its server was deleted meanwhile.
                    Err(_) if !tree.exists(&disk)? => continue,
                    Err(error) => return Err(error).during("reading the header", path),
                };
                let names = layers.iter().filter_map(|layer| layer.path.strip_prefix(&bases).ok()?.to_str());
                used.extend(names.filter_map(|name| name.parse::<ImageId>().ok()));
            }
            Ok(used)
        })
        .await
    }

    /// Ensures that there is no base of this image. The caller knows that no server, not even one that is still being built,
    /// was made from the image: overlays without their base are lost.
    pub async fn remove_base(&self, id: ImageId) -> Result<bool, DiskError> {
        let tree = Arc::clone(&self.tree);
        blocking(move || tree.remove_file(&base_name(id))).await
    }
}

/// QEMU's name of a format that is converted before use; `None` for those that are used as they are.
fn foreign_name(format: ImageFormat) -> Option<&'static str> {
    match format {
        ImageFormat::Raw
        | ImageFormat::Qcow2
        | ImageFormat::Iso
        | ImageFormat::Ami
        | ImageFormat::Aki
        | ImageFormat::Ari => None,
        ImageFormat::Vmdk => Some("vmdk"),
        ImageFormat::Vhd => Some("vpc"),
        ImageFormat::Vhdx => Some("vhdx"),
        ImageFormat::Vdi => Some("vdi"),
    }
}

fn base_name(id: ImageId) -> PathBuf {
    Path::new(BASES).join(id.to_string())
}
