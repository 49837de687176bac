//! What a server has on the disk: its own folder with its disks, its config drive and its console log.
//!
//! Each call that makes something may be repeated: a disk gets its name only when it is complete, so a name that exists
//! means a step that ended. A disk that exists but is not the one asked for is never replaced by an `ensure`: it may hold somebody's data.

use super::blocking;
use super::error::{Context, DiskError};
use super::images::{ImageStore, VettedImage};
use super::inspect::{BackingReference, Qcow2Header, ReadAt};
use super::layers;
use super::qemu_img;
use super::tree::{SERVERS, Tree, with_suffix};
use crate::core::ids::ServerId;
use crate::host::command::{Command, CommandError};
use crate::host::hypervisor::spec::DiskFormat;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;
const SECTOR: u64 = 512;
/// A header and its tables; what a new overlay takes at first.
const OVERLAY_BYTES: u64 = MIB;
/// Marks a folder whose server is gone. A crash in the middle of the removal leaves it to the next start.
const DELETED: &str = "_del";
const CONFIG_DRIVE: &str = "disk.config";
const CONSOLE_LOG: &str = "console.log";

/// What a disk is for; also its file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DiskRole {
    Root,
    /// The disk that a server is rescued with.
    Rescue,
    /// Counted from 0.
    Ephemeral(u8),
    Swap,
}

impl DiskRole {
    pub(super) fn file_name(self) -> String {
        match self {
            Self::Root => "disk".into(),
            Self::Rescue => "disk.rescue".into(),
            Self::Ephemeral(number) => format!("disk.eph{number}"),
            Self::Swap => "disk.swap".into(),
        }
    }

    fn format(self) -> DiskFormat {
        match self {
            Self::Root | Self::Rescue => DiskFormat::Qcow2,
            Self::Ephemeral(_) | Self::Swap => DiskFormat::Raw,
        }
    }
}

/// A disk of a server, complete on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    pub(super) path: PathBuf,
    pub(super) format: DiskFormat,
    pub(super) virtual_size: u64,
}

impl Disk {
    /// Absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn format(&self) -> DiskFormat {
        self.format
    }

    /// Bytes.
    pub fn virtual_size(&self) -> u64 {
        self.virtual_size
    }
}

/// The folders of all servers.
#[derive(Debug, Clone)]
pub struct ServerDisks {
    pub(super) tree: Arc<Tree>,
    pub(super) images: ImageStore,
}

impl ServerDisks {
    pub fn new(tree: Arc<Tree>, images: ImageStore) -> Self {
        Self { tree, images }
    }

    /// Ensures that the server's folder exists.
    pub async fn ensure_server(&self, server: ServerId) -> Result<(), DiskError> {
        let tree = Arc::clone(&self.tree);
        blocking(move || tree.ensure_folder(&folder_name(server))).await
    }

    /// Ensures a root disk of `size_gib` GiB, or of the image's own size if that is 0: an overlay over the image.
    pub async fn ensure_root_disk(
        &self,
        server: ServerId,
        image: &VettedImage,
        size_gib: u64,
    ) -> Result<Disk, DiskError> {
        self.ensure_overlay(server, DiskRole::Root, image, size_gib).await
    }

    /// Ensures an empty root disk of `size_gib` GiB: what an installer on a CD finds.
    pub async fn ensure_empty_root_disk(&self, server: ServerId, size_gib: u64) -> Result<Disk, DiskError> {
        let bytes = size_gib.saturating_mul(GIB);
        match self.overlay(server, DiskRole::Root).await? {
            None => self.make_disk(server, DiskRole::Root, None, bytes).await,
            Some((disk, None)) if disk.virtual_size == bytes => Ok(disk),
            Some((disk, _)) => {
                Err(DiskError::unexpected(disk.path, "a disk with a base or another size is there"))
            }
        }
    }

    /// Replaces the root disk, and all that was on it, by a fresh one. The domain must not run.
    pub async fn replace_root_disk(
        &self,
        server: ServerId,
        image: &VettedImage,
        size_gib: u64,
    ) -> Result<Disk, DiskError> {
        let base = self.images.ensure_base(image).await?;
        let bytes = overlay_size(base.virtual_size, size_gib)?;
        let disk = self.make_overlay(server, DiskRole::Root, &base.path, base.format, bytes).await?;
        self.forget_loose_layers(server).await?;
        Ok(disk)
    }

    /// Replaces the root disk, and all that was on it, by an empty one of `size_gib` GiB. The domain must not run.
    pub async fn empty_root_disk(&self, server: ServerId, size_gib: u64) -> Result<Disk, DiskError> {
        let disk = self.make_disk(server, DiskRole::Root, None, size_gib.saturating_mul(GIB)).await?;
        self.forget_loose_layers(server).await?;
        Ok(disk)
    }

    async fn ensure_overlay(
        &self,
        server: ServerId,
        role: DiskRole,
        image: &VettedImage,
        size_gib: u64,
    ) -> Result<Disk, DiskError> {
        let base = self.images.ensure_base(image).await?;
        let bytes = overlay_size(base.virtual_size, size_gib)?;
        match self.overlay(server, role).await? {
            None => self.make_overlay(server, role, &base.path, base.format, bytes).await,
            Some((disk, backing))
                if stands_on(backing.as_ref(), &base.path, base.format) && disk.virtual_size == bytes =>
            {
                Ok(disk)
            }
            Some((disk, _)) => {
                Err(DiskError::unexpected(disk.path, "a disk with another base or size is there"))
            }
        }
    }

    /// The disk and what it stands on, if it exists.
    pub(super) async fn overlay(
        &self,
        server: ServerId,
        role: DiskRole,
    ) -> Result<Option<(Disk, Option<BackingReference>)>, DiskError> {
        let tree = Arc::clone(&self.tree);
        blocking(move || {
            let name = disk_name(server, role);
            let path = tree.path(&name);
            let Some(file) = tree.open_file(&name)? else { return Ok(None) };
            let header = Qcow2Header::read(&file).during("reading the header", &path)?;
            let disk = Disk { path, format: DiskFormat::Qcow2, virtual_size: header.virtual_size };
            Ok(Some((disk, header.backing)))
        })
        .await
    }

    /// Writes a new overlay beside the disk and then gives it the disk's name.
    pub(super) async fn make_overlay(
        &self,
        server: ServerId,
        role: DiskRole,
        base: &Path,
        format: DiskFormat,
        bytes: u64,
    ) -> Result<Disk, DiskError> {
        self.make_disk(server, role, Some((base, format)), bytes).await
    }

    async fn make_disk(
        &self,
        server: ServerId,
        role: DiskRole,
        base: Option<(&Path, DiskFormat)>,
        bytes: u64,
    ) -> Result<Disk, DiskError> {
        self.make_named(server, disk_name(server, role), base, bytes).await
    }

    /// A new qcow2 disk under a name in the server's folder.
    pub(super) async fn make_named(
        &self,
        server: ServerId,
        name: PathBuf,
        base: Option<(&Path, DiskFormat)>,
        bytes: u64,
    ) -> Result<Disk, DiskError> {
        let new = with_suffix(&name, ".new");
        let tree = Arc::clone(&self.tree);
        let made = new.clone();
        blocking(move || {
            tree.check_room(OVERLAY_BYTES)?;
            tree.ensure_folder(&folder_name(server))?;
            tree.remove_file(&made)?;
            tree.create_file(&made).map(drop)
        })
        .await?;
        match base {
            Some((base, format)) => {
                qemu_img::create_overlay(&self.tree.path(&new), base, format, bytes).await?;
            }
            None => qemu_img::create_empty(&self.tree.path(&new), bytes).await?,
        }
        let tree = Arc::clone(&self.tree);
        blocking(move || {
            publish(&tree, &new, &name)?;
            Ok(Disk { path: tree.path(&name), format: DiskFormat::Qcow2, virtual_size: bytes })
        })
        .await
    }

    /// Ensures an ephemeral disk (an empty ext4 file system) or a swap disk of `size_mib` MiB. Room is taken when
    /// the guest writes.
    pub async fn ensure_blank_disk(
        &self,
        server: ServerId,
        role: DiskRole,
        size_mib: u64,
    ) -> Result<Disk, DiskError> {
        let name = disk_name(server, role);
        let bytes = size_mib.saturating_mul(MIB);
        if let Some(disk) = self.disk(server, role).await? {
            return if disk.virtual_size == bytes {
                Ok(disk)
            } else {
                Err(DiskError::unexpected(disk.path, "a disk of another size is there"))
            };
        }
        let new = with_suffix(&name, ".new");
        let (tree, made) = (Arc::clone(&self.tree), new.clone());
        blocking(move || {
            tree.check_room(OVERLAY_BYTES)?;
            tree.ensure_folder(&folder_name(server))?;
            tree.remove_file(&made)?;
            let file = tree.create_file(&made)?;
            file.set_len(bytes).during("making", tree.path(&made))?;
            if role == DiskRole::Swap
                && let Some(header) = swap_header(bytes)
            {
                file.write_all_at(&header, 0).during("writing", tree.path(&made))?;
            }
            Ok(())
        })
        .await?;
        if let DiskRole::Ephemeral(number) = role {
            make_file_system(&self.tree.path(&new), number).await?;
        }
        let tree = Arc::clone(&self.tree);
        blocking(move || {
            publish(&tree, &new, &name)?;
            Ok(Disk { path: tree.path(&name), format: role.format(), virtual_size: bytes })
        })
        .await
    }

    /// A disk that is there already.
    pub async fn disk(&self, server: ServerId, role: DiskRole) -> Result<Option<Disk>, DiskError> {
        match role.format() {
            DiskFormat::Qcow2 => Ok(self.overlay(server, role).await?.map(|(disk, _)| disk)),
            DiskFormat::Raw => {
                if let Some(layer) = self.top_layer(server, role).await? {
                    return Ok(Some(layer));
                }
                let tree = Arc::clone(&self.tree);
                blocking(move || {
                    let name = disk_name(server, role);
                    let path = tree.path(&name);
                    let Some(file) = tree.open_file(&name)? else { return Ok(None) };
                    let virtual_size = ReadAt::size(&file).during("looking at", &path)?;
                    Ok(Some(Disk { path, format: DiskFormat::Raw, virtual_size }))
                })
                .await
            }
        }
    }

    /// Ensures that there is no such disk, and nothing of its layers.
    pub async fn remove_disk(&self, server: ServerId, role: DiskRole) -> Result<(), DiskError> {
        let tree = Arc::clone(&self.tree);
        blocking(move || {
            layers::remove_all(&tree, server, role)?;
            tree.remove_file(&disk_name(server, role)).map(drop)
        })
        .await
    }

    pub(super) async fn root_disk(
        &self,
        server: ServerId,
    ) -> Result<(Disk, Option<BackingReference>), DiskError> {
        let found = self.overlay(server, DiskRole::Root).await?;
        found.ok_or_else(|| DiskError::NotFound(format!("the root disk of server {server}")))
    }

    /// Ensures that the config drive has these bytes.
    pub async fn ensure_config_drive(&self, server: ServerId, bytes: Vec<u8>) -> Result<PathBuf, DiskError> {
        self.write_config_drive(server, CONFIG_DRIVE, bytes).await
    }

    pub(super) async fn write_config_drive(
        &self,
        server: ServerId,
        name: &'static str,
        bytes: Vec<u8>,
    ) -> Result<PathBuf, DiskError> {
        let tree = Arc::clone(&self.tree);
        blocking(move || {
            let folder = folder_name(server);
            tree.check_room(bytes.len() as u64)?;
            tree.ensure_folder(&folder)?;
            let name = folder.join(name);
            tree.write_file(&name, &bytes).map_err(|error| tree.name_full(error))?;
            Ok(tree.path(&name))
        })
        .await
    }

    /// The absolute path of the config drive, whether it exists or not.
    pub fn config_drive(&self, server: ServerId) -> PathBuf {
        self.tree.path(&folder_name(server).join(CONFIG_DRIVE))
    }

    /// The absolute path of the file that collects what the guest writes on its first serial port.
    pub fn console_log(&self, server: ServerId) -> PathBuf {
        self.tree.path(&console_name(server))
    }

    /// Ensures that nothing of the server is on the disk.
    pub async fn remove_server(&self, server: ServerId) -> Result<(), DiskError> {
        let tree = Arc::clone(&self.tree);
        blocking(move || {
            let folder = folder_name(server);
            let deleted = with_suffix(&folder, DELETED);
            remove_if_there(&tree, &deleted)?;
            // Without its name no later look at the server finds half of it.
            if tree.exists(&folder)? {
                tree.rename(&folder, &deleted)?;
            }
            remove_if_there(&tree, &deleted)?;
            if let Err(error) = tree.restore_ballast() {
                tracing::warn!(%error, "the ballast could not be brought back");
            }
            Ok(())
        })
        .await
    }

    /// The servers that have a folder, or half of one since its removal was interrupted.
    pub async fn list_servers(&self) -> Result<Vec<ServerId>, DiskError> {
        let tree = Arc::clone(&self.tree);
        blocking(move || {
            let names = tree.list(Path::new(SERVERS))?;
            let server = |name: &OsString| name.to_str()?.trim_end_matches(DELETED).parse().ok();
            let servers: BTreeSet<ServerId> = names.iter().filter_map(server).collect();
            Ok(servers.into_iter().collect())
        })
        .await
    }

    /// Bytes that a server takes up on the disk, its bases not counted.
    pub async fn disk_usage(&self, server: ServerId) -> Result<u64, DiskError> {
        let tree = Arc::clone(&self.tree);
        blocking(move || {
            let folder = folder_name(server);
            tree.list(&folder)?.iter().map(|name| tree.allocated(&folder.join(name))).sum()
        })
        .await
    }

    /// Size of the file system that disks are on, and what is free of it, in bytes.
    pub async fn capacity(&self) -> Result<(u64, u64), DiskError> {
        let tree = Arc::clone(&self.tree);
        blocking(move || tree.capacity()).await
    }
}

/// All complete disks of servers that may stand on something, inside the tree.
pub(super) fn overlays(tree: &Tree) -> Result<Vec<PathBuf>, DiskError> {
    let mut found = Vec::new();
    for server in tree.list(Path::new(SERVERS))? {
        let folder = Path::new(SERVERS).join(server);
        let names = tree.list(&folder)?;
        let stacked = |name: &OsString| {
            let name = name.to_string_lossy();
            name == "disk"
                || name == "disk.rescue"
                || (name.starts_with("disk.before-") && !name.ends_with(".new"))
        };
        found.extend(names.iter().filter(|name| stacked(name)).map(|name| folder.join(name)));
    }
    Ok(found)
}

pub(super) fn folder_name(server: ServerId) -> PathBuf {
    Path::new(SERVERS).join(server.to_string())
}

pub(super) fn disk_name(server: ServerId, role: DiskRole) -> PathBuf {
    folder_name(server).join(role.file_name())
}

pub(super) fn console_name(server: ServerId) -> PathBuf {
    folder_name(server).join(CONSOLE_LOG)
}

/// The virtual size of an overlay in bytes.
pub(super) fn overlay_size(image: u64, size_gib: u64) -> Result<u64, DiskError> {
    // QEMU rounds a raw file of odd length up to a whole sector.
    let needed = image.next_multiple_of(SECTOR);
    match size_gib.saturating_mul(GIB) {
        0 => Ok(needed),
        asked if asked < needed => Err(DiskError::TooSmall { asked, needed: image }),
        asked => Ok(asked),
    }
}

pub(super) fn stands_on(backing: Option<&BackingReference>, path: &Path, format: DiskFormat) -> bool {
    backing.is_some_and(|backing| {
        backing.name == path.as_os_str().as_bytes()
            && backing.format.as_deref() == Some(qemu_img::name(format).as_bytes())
    })
}

/// Makes a finished file durable and gives it its name.
pub(super) fn publish(tree: &Tree, new: &Path, name: &Path) -> Result<(), DiskError> {
    let file =
        tree.open_file(new)?.ok_or_else(|| DiskError::NotFound(tree.path(new).display().to_string()))?;
    file.sync_all().during("syncing", tree.path(new)).map_err(|error| tree.name_full(error))?;
    tree.rename(new, name)
}

fn remove_if_there(tree: &Tree, folder: &Path) -> Result<(), DiskError> {
    if tree.exists(folder)? { tree.remove_folder(folder) } else { Ok(()) }
}

/// What `mkswap` writes; `None` for a disk too small to swap on. Guests find their swap space by it.
fn swap_header(bytes: u64) -> Option<Vec<u8>> {
    const PAGE: u64 = 4096;
    let last_page = u32::try_from(bytes / PAGE - u64::from(bytes >= PAGE)).unwrap_or(u32::MAX);
    if last_page < 9 {
        return None;
    }
    let mut header = vec![0; 4096];
    header[1024..1028].copy_from_slice(&1_u32.to_le_bytes());
    header[1028..1032].copy_from_slice(&last_page.to_le_bytes());
    header[4086..].copy_from_slice(b"SWAPSPACE2");
    Some(header)
}

/// Gives an ephemeral disk the file system that guests expect to find on it. Without `mkfs.ext4` on the host it stays blank.
async fn make_file_system(path: &Path, number: u8) -> Result<(), DiskError> {
    let command = Command::new("mkfs.ext4").timeout(Duration::from_secs(300));
    let command = command.args(["-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", "-L"]);
    match command.arg(format!("ephemeral{number}")).arg(path).run().await {
        Ok(_) => Ok(()),
        Err(CommandError::NotFound { program }) => {
            tracing::warn!(program, "not installed: ephemeral disks have no file system");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
#[path = "server_disks_tests.rs"]
mod tests;
