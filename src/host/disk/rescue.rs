//! What a server is rescued with: a disk over a base of its own choice, and a config drive, beside the server's own files,
//! which stay as they are.

use super::bases::Base;
use super::blocking;
use super::error::DiskError;
use super::server_disks::{Disk, DiskRole, ServerDisks, folder_name, overlay_size};
use crate::core::ids::ServerId;
use std::path::PathBuf;
use std::sync::Arc;

const CONFIG_DRIVE: &str = "disk.config.rescue";

impl ServerDisks {
    /// Makes a fresh disk over the base, as large as it, that the server can be rescued with. One that is there is from a
    /// rescue that came to nothing.
    pub async fn make_rescue_disk(&self, server: ServerId, base: &Base) -> Result<Disk, DiskError> {
        let bytes = overlay_size(base.virtual_size, 0)?;
        self.make_overlay(server, DiskRole::Rescue, &base.path, base.format, bytes).await
    }

    /// Ensures that the rescue system's config drive has these bytes.
    pub async fn ensure_rescue_config_drive(
        &self,
        server: ServerId,
        bytes: Vec<u8>,
    ) -> Result<PathBuf, DiskError> {
        self.write_config_drive(server, CONFIG_DRIVE, bytes).await
    }

    /// The absolute path of the rescue system's config drive, whether it exists or not.
    pub fn rescue_config_drive(&self, server: ServerId) -> PathBuf {
        self.tree.path(&folder_name(server).join(CONFIG_DRIVE))
    }

    /// Ensures that nothing is left of what the server was rescued with.
    pub async fn remove_rescue(&self, server: ServerId) -> Result<(), DiskError> {
        self.remove_disk(server, DiskRole::Rescue).await?;
        let tree = Arc::clone(&self.tree);
        blocking(move || tree.remove_file(&folder_name(server).join(CONFIG_DRIVE)).map(drop)).await
    }
}
