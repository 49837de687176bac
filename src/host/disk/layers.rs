//! Layers over the disks of a server: a resize puts one over each, and taking the resize back is taking them off.
//!
//! ```text
//! root       disk              -> disk.before-7 -> ... -> the image's base
//! ephemeral  disk.eph0.layer-7 -> ...           -> disk.eph0, which is raw
//! ```
//!
//! The guest could write into a raw disk what looks like a qcow2 header: so names tell what is a layer, and no content does.
//! Confirmed resizes leave their layers where they are. They come together while the guest is off: when a resize of a stopped
//! server is confirmed, and before a resize that would find more than [`MAX_LAYERS`]. Whatever moment a crash comes
//! at, the chain that the disk's name leads to shows the same bytes.

use super::chain;
use super::error::{Context, DiskError};
use super::inspect::Qcow2Header;
use super::server_disks::{Disk, DiskRole, ServerDisks, disk_name, folder_name, publish, stands_on};
use super::tree::Tree;
use super::{blocking, qemu_img};
use crate::core::ids::ServerId;
use crate::host::hypervisor::spec::DiskFormat;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many layers of its own a disk may have before they are brought together.
const MAX_LAYERS: usize = 4;

/// Where the disk with all its layers begins, and what follows below of the server's own: the nearest first.
struct Stack {
    top: PathBuf,
    below: Vec<PathBuf>,
}

impl ServerDisks {
    /// Puts a new layer over a disk, of `bytes` bytes or as large as the disk if that is more, and leaves what is below
    /// untouched. `resize` names this one resize among all of the server. The domain must not run.
    pub async fn begin_resize(
        &self,
        server: ServerId,
        role: DiskRole,
        resize: i64,
        bytes: u64,
    ) -> Result<Disk, DiskError> {
        if role == DiskRole::Root {
            return self.begin_root_resize(server, resize, bytes).await;
        }
        let name = layer_name(server, role, resize);
        if let Some(layer) = self.layer(name.clone()).await? {
            return Ok(layer);
        }
        self.merge_if_deep(server, role).await?;
        let disk = self.disk(server, role).await?.ok_or_else(|| missing(server, role))?;
        let bytes = disk.virtual_size.max(bytes);
        self.make_named(server, name, Some((&disk.path, disk.format)), bytes).await
    }

    /// What was the root disk keeps its bytes under another name, and its own name leads to the new layer.
    async fn begin_root_resize(&self, server: ServerId, resize: i64, bytes: u64) -> Result<Disk, DiskError> {
        let kept = kept_name(server, resize);
        let below = self.tree.path(&kept);
        let (disk, backing) =
            self.overlay(server, DiskRole::Root).await?.ok_or_else(|| missing(server, DiskRole::Root))?;
        if stands_on(backing.as_ref(), &below, DiskFormat::Qcow2) {
            return Ok(disk);
        }
        // A second name that a crash left is the disk itself, which may be another file after a merge.
        let (tree, stale) = (Arc::clone(&self.tree), kept.clone());
        blocking(move || tree.remove_file(&stale).map(drop)).await?;
        self.merge_if_deep(server, DiskRole::Root).await?;
        let tree = Arc::clone(&self.tree);
        blocking(move || tree.link(&disk_name(server, DiskRole::Root), &kept)).await?;
        let bytes = disk.virtual_size.max(bytes);
        self.make_overlay(server, DiskRole::Root, &below, DiskFormat::Qcow2, bytes).await
    }

    /// Ensures that a disk is the one from before this resize. The domain must not run.
    pub async fn revert_resize(
        &self,
        server: ServerId,
        role: DiskRole,
        resize: i64,
    ) -> Result<(), DiskError> {
        let tree = Arc::clone(&self.tree);
        blocking(move || {
            if role != DiskRole::Root {
                return tree.remove_file(&layer_name(server, role, resize)).map(drop);
            }
            let (kept, root) = (kept_name(server, resize), disk_name(server, DiskRole::Root));
            if !tree.exists(&kept)? {
                return Ok(());
            }
            // Renaming one name of a file to another name of the same file does nothing; hence the removal.
            tree.rename(&kept, &root)?;
            tree.remove_file(&kept).map(drop)
        })
        .await
    }

    /// Brings the layers of a disk together. Takes as long as copying what was written since the lowest of them was made. The
    /// domain must not run, and no resize may be waiting to be taken back.
    pub async fn merge_layers(&self, server: ServerId, role: DiskRole) -> Result<(), DiskError> {
        if let Some(Stack { top, below }) = self.stack(server, role).await?
            && let Some(lowest) = below.last().cloned()
        {
            let tree = Arc::clone(&self.tree);
            qemu_img::commit(&tree.path(&top), &tree.path(&lowest)).await?;
            // The lowest shows now what all of them together showed, and takes the name that leads to it.
            blocking(move || publish(&tree, &lowest, &top)).await?;
        }
        self.forget_loose_layers(server).await
    }

    async fn merge_if_deep(&self, server: ServerId, role: DiskRole) -> Result<(), DiskError> {
        match self.stack(server, role).await? {
            Some(stack) if stack.below.len() >= MAX_LAYERS => self.merge_layers(server, role).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Removes layers that no disk of the server stands on any more.
    pub(super) async fn forget_loose_layers(&self, server: ServerId) -> Result<(), DiskError> {
        let tree = Arc::clone(&self.tree);
        blocking(move || {
            for role in [DiskRole::Root, DiskRole::Ephemeral(0)] {
                let used = stack(&tree, server, role)?;
                for layer in all_layers(&tree, server, role)? {
                    let held = |stack: &Stack| stack.top == layer || stack.below.contains(&layer);
                    if !used.as_ref().is_some_and(held) {
                        tree.discard_file(&layer)?;
                    }
                }
            }
            Ok(())
        })
        .await
    }

    /// The uppermost layer of a disk that is raw at the bottom.
    pub(super) async fn top_layer(
        &self,
        server: ServerId,
        role: DiskRole,
    ) -> Result<Option<Disk>, DiskError> {
        let tree = Arc::clone(&self.tree);
        let top = blocking(move || uppermost(&tree, server, role)).await?;
        match top {
            Some(name) => self.layer(name).await,
            None => Ok(None),
        }
    }

    async fn layer(&self, name: PathBuf) -> Result<Option<Disk>, DiskError> {
        let tree = Arc::clone(&self.tree);
        blocking(move || {
            let Some(file) = tree.open_file(&name)? else { return Ok(None) };
            let path = tree.path(&name);
            let header = Qcow2Header::read(&file).during("reading the header", &path)?;
            Ok(Some(Disk { path, format: DiskFormat::Qcow2, virtual_size: header.virtual_size }))
        })
        .await
    }

    async fn stack(&self, server: ServerId, role: DiskRole) -> Result<Option<Stack>, DiskError> {
        let tree = Arc::clone(&self.tree);
        blocking(move || stack(&tree, server, role)).await
    }
}

fn missing(server: ServerId, role: DiskRole) -> DiskError {
    DiskError::NotFound(format!("{} of server {server}", role.file_name()))
}

/// What the root disk was before a resize.
fn kept_name(server: ServerId, resize: i64) -> PathBuf {
    folder_name(server).join(format!("{}{resize}", prefix(DiskRole::Root)))
}

/// The layer that a resize put over a raw disk.
fn layer_name(server: ServerId, role: DiskRole, resize: i64) -> PathBuf {
    folder_name(server).join(format!("{}{resize}", prefix(role)))
}

/// What the names of a disk's further files begin with; the number of the resize follows.
fn prefix(role: DiskRole) -> String {
    let word = if role == DiskRole::Root { "before" } else { "layer" };
    format!("{}.{word}-", role.file_name())
}

/// All files of a disk that are there because of resizes, the oldest first.
fn all_layers(tree: &Tree, server: ServerId, role: DiskRole) -> Result<Vec<PathBuf>, DiskError> {
    let (folder, prefix) = (folder_name(server), prefix(role));
    let mut numbers: Vec<i64> = tree
        .list(&folder)?
        .iter()
        .filter_map(|name| name.to_str()?.strip_prefix(&prefix)?.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers.into_iter().map(|number| folder.join(format!("{prefix}{number}"))).collect())
}

fn uppermost(tree: &Tree, server: ServerId, role: DiskRole) -> Result<Option<PathBuf>, DiskError> {
    Ok(all_layers(tree, server, role)?.pop())
}

/// Ensures that a disk has no layers.
pub(super) fn remove_all(tree: &Tree, server: ServerId, role: DiskRole) -> Result<(), DiskError> {
    // The uppermost last: it is what the disk's name means for as long as it is there.
    for layer in all_layers(tree, server, role)? {
        tree.remove_file(&layer)?;
    }
    Ok(())
}

fn stack(tree: &Tree, server: ServerId, role: DiskRole) -> Result<Option<Stack>, DiskError> {
    let top = match role {
        DiskRole::Root => {
            let root = disk_name(server, role);
            tree.exists(&root)?.then_some(root)
        }
        _ => uppermost(tree, server, role)?,
    };
    let Some(top) = top else { return Ok(None) };
    let (path, folder) = (tree.path(&top), folder_name(server));
    let own = tree.path(&folder);
    let below = chain::layers(&path, DiskFormat::Qcow2)
        .during("reading the layers", &path)?
        .into_iter()
        .take_while(|layer| layer.format == DiskFormat::Qcow2 && layer.path.parent() == Some(own.as_path()))
        .filter_map(|layer| Some(folder.join(Path::new(layer.path.file_name()?))))
        .collect();
    Ok(Some(Stack { top, below }))
}

#[cfg(test)]
#[path = "layers_tests.rs"]
mod tests;
