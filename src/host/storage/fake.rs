//! Disks in memory, with a scripted failure. For tests; nothing in the configuration leads here.

use super::{BootSource, DiskFile, DiskPlan, RescueFiles, RescuePlan, RescueRoot, ServerFiles, Storage};
use crate::core::ids::{ImageId, ServerId};
use crate::host::disk::{CopyFiles, DiskError, ImageFacts, ImageFormat};
use crate::host::hypervisor::spec::DiskFormat;
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Default)]
struct Inner {
    servers: BTreeMap<ServerId, DiskPlan>,
    /// What lies below the layers that resizes made.
    below: BTreeMap<(ServerId, i64), DiskPlan>,
    consoles: BTreeMap<ServerId, Vec<u8>>,
    /// How often the root disk of a server was replaced.
    replaced: BTreeMap<ServerId, u32>,
    /// Whether the copies of root disks are complete.
    captures: BTreeMap<ServerId, bool>,
    images: BTreeSet<ImageId>,
    /// The images that were made ready to be started from.
    prepared: BTreeSet<ImageId>,
    fail_next: u32,
    free: Option<u64>,
}

impl Inner {
    /// Fails where the server has no root disk.
    fn root(&self, server: ServerId) -> Result<(), DiskError> {
        if self.servers.contains_key(&server) {
            return Ok(());
        }
        Err(DiskError::NotFound(format!("the root disk of server {server}")))
    }
}

/// The in-memory storage.
#[derive(Default)]
pub struct FakeStorage {
    inner: Mutex<Inner>,
}

impl FakeStorage {
    /// Everything that exists.
    pub fn inventory(&self) -> BTreeMap<ServerId, DiskPlan> {
        self.lock().servers.clone()
    }

    /// How often the root disk of this server was replaced.
    pub fn replaced(&self, server: ServerId) -> u32 {
        self.lock().replaced.get(&server).copied().unwrap_or_default()
    }

    /// The images whose bytes were made from servers.
    pub fn images(&self) -> BTreeSet<ImageId> {
        self.lock().images.clone()
    }

    /// The images that were made ready to be started from.
    pub fn prepared(&self) -> BTreeSet<ImageId> {
        self.lock().prepared.clone()
    }

    /// The servers that have a copy of their root disk.
    pub fn captures(&self) -> BTreeSet<ServerId> {
        self.lock().captures.keys().copied().collect()
    }

    /// Whose disks lie below layers that resizes made, once for each.
    pub fn layers(&self) -> Vec<ServerId> {
        self.lock().below.keys().map(|(server, _)| *server).collect()
    }

    /// Lets the next `count` changes fail as on a full disk.
    pub fn fail_next(&self, count: u32) {
        self.lock().fail_next = count;
    }

    /// Says how much room is left, in bytes.
    pub fn set_free(&self, bytes: u64) {
        self.lock().free = Some(bytes);
    }

    /// Puts files of a server on the disk that nobody asked for.
    pub fn plant(&self, plan: DiskPlan) {
        self.lock().servers.insert(plan.server, plan);
    }

    /// What the guest wrote on its console.
    pub fn write_console(&self, server: ServerId, text: &[u8]) {
        self.lock().consoles.insert(server, text.to_vec());
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> Result<MutexGuard<'_, Inner>, DiskError> {
        let mut inner = self.lock();
        if inner.fail_next > 0 {
            inner.fail_next -= 1;
            return Err(DiskError::Full { free_mib: 0, reserve_mib: 1 });
        }
        Ok(inner)
    }
}

fn path(server: ServerId, name: &str) -> PathBuf {
    Path::new("/fake/servers").join(server.to_string()).join(name)
}

fn files(plan: &DiskPlan) -> ServerFiles {
    let file = |name: &str, format| DiskFile { path: path(plan.server, name), format };
    ServerFiles {
        root: Some(file("disk", DiskFormat::Qcow2)),
        cd: match plan.boot {
            BootSource::Disk { .. } => None,
            BootSource::Cd { image } => Some(Path::new("/fake/bases").join(image.to_string())),
        },
        ephemeral: plan
            .ephemeral()
            .filter(|(_, mib)| *mib > 0)
            .map(|(number, _)| (number, file(&format!("disk.eph{number}"), DiskFormat::Raw)))
            .collect(),
        swap: (plan.swap_mib > 0).then(|| file("disk.swap", DiskFormat::Raw)),
        config_drive: plan.config_drive.is_some().then(|| path(plan.server, "disk.config")),
        rescue: plan.rescue.as_ref().map(|rescue| RescueFiles {
            root: match rescue.boot {
                BootSource::Disk { .. } => RescueRoot::Disk(file("disk.rescue", DiskFormat::Qcow2)),
                BootSource::Cd { image } => RescueRoot::Cd(Path::new("/fake/bases").join(image.to_string())),
            },
            config_drive: path(plan.server, "disk.config.rescue"),
        }),
    }
}

#[async_trait]
impl Storage for FakeStorage {
    async fn ensure(&self, plan: &DiskPlan) -> Result<ServerFiles, DiskError> {
        let mut inner = self.change()?;
        inner.servers.entry(plan.server).or_insert_with(|| plan.clone());
        Ok(files(plan))
    }

    async fn find(&self, plan: &DiskPlan) -> Result<ServerFiles, DiskError> {
        let known = self.lock().servers.get(&plan.server).cloned();
        let Some(known) = known else { return Ok(ServerFiles::default()) };
        let asked = plan.rescue.is_some();
        Ok(files(&DiskPlan { rescue: known.rescue.clone().filter(|_| asked), ..known }))
    }

    async fn prepare(&self, boot: BootSource) -> Result<(), DiskError> {
        let (BootSource::Disk { image, .. } | BootSource::Cd { image }) = boot;
        self.change()?.prepared.insert(image);
        Ok(())
    }

    async fn replace(&self, plan: &DiskPlan, _keep_ephemeral: bool) -> Result<(), DiskError> {
        let mut inner = self.change()?;
        inner.servers.insert(plan.server, plan.clone());
        *inner.replaced.entry(plan.server).or_default() += 1;
        Ok(())
    }

    async fn write_config_drive(&self, server: ServerId, bytes: Vec<u8>) -> Result<(), DiskError> {
        let mut inner = self.change()?;
        let known = inner.servers.get_mut(&server);
        let known = known.ok_or_else(|| DiskError::NotFound(format!("the disks of server {server}")))?;
        known.config_drive = Some(bytes);
        Ok(())
    }

    async fn write_rescue_config_drive(&self, server: ServerId, bytes: Vec<u8>) -> Result<(), DiskError> {
        let mut inner = self.change()?;
        let rescue = inner.servers.get_mut(&server).and_then(|known| known.rescue.as_mut());
        let rescue =
            rescue.ok_or_else(|| DiskError::NotFound(format!("the rescue disk of server {server}")))?;
        rescue.config_drive = bytes;
        Ok(())
    }

    async fn make_rescue(&self, server: ServerId, plan: &RescuePlan) -> Result<(), DiskError> {
        let mut inner = self.change()?;
        let known = inner.servers.get_mut(&server);
        let known = known.ok_or_else(|| DiskError::NotFound(format!("the disks of server {server}")))?;
        known.rescue = Some(plan.clone());
        Ok(())
    }

    async fn remove_rescue(&self, server: ServerId) -> Result<(), DiskError> {
        if let Some(known) = self.change()?.servers.get_mut(&server) {
            known.rescue = None;
        }
        Ok(())
    }

    async fn begin_resize(&self, plan: &DiskPlan, resize: i64) -> Result<(), DiskError> {
        let mut inner = self.change()?;
        let Some(old) = inner.servers.get(&plan.server).cloned() else {
            return Err(DiskError::NotFound(format!("the root disk of server {}", plan.server)));
        };
        if inner.below.contains_key(&(plan.server, resize)) {
            return Ok(());
        }
        let new = DiskPlan { config_drive: old.config_drive.clone(), ..plan.clone() };
        inner.below.insert((plan.server, resize), old);
        inner.servers.insert(plan.server, new);
        Ok(())
    }

    async fn revert_resize(&self, plan: &DiskPlan, resize: i64) -> Result<(), DiskError> {
        let mut inner = self.change()?;
        if let Some(old) = inner.below.remove(&(plan.server, resize)) {
            inner.servers.insert(plan.server, old);
        }
        Ok(())
    }

    async fn merge_layers(&self, server: ServerId) -> Result<(), DiskError> {
        self.change()?.below.retain(|(owner, _), _| *owner != server);
        Ok(())
    }

    async fn remove(&self, server: ServerId) -> Result<(), DiskError> {
        let mut inner = self.change()?;
        inner.servers.remove(&server);
        inner.below.retain(|(owner, _), _| *owner != server);
        inner.consoles.remove(&server);
        inner.captures.remove(&server);
        Ok(())
    }

    async fn servers(&self) -> Result<Vec<ServerId>, DiskError> {
        Ok(self.lock().servers.keys().copied().collect())
    }

    fn console_log(&self, server: ServerId) -> PathBuf {
        path(server, "console.log")
    }

    async fn console_tail(
        &self,
        server: ServerId,
        lines: Option<usize>,
        max_bytes: usize,
    ) -> Result<Vec<u8>, DiskError> {
        let text = self.lock().consoles.get(&server).cloned().unwrap_or_default();
        let text = &text[text.len().saturating_sub(max_bytes)..];
        let kept = match lines {
            None => text.to_vec(),
            Some(lines) => {
                let pieces: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
                pieces[pieces.len().saturating_sub(lines)..].join(&b'\n')
            }
        };
        Ok(kept)
    }

    async fn capacity(&self) -> Result<(u64, u64), DiskError> {
        Ok((1 << 40, self.lock().free.unwrap_or(1 << 40)))
    }

    async fn begin_capture(&self, server: ServerId) -> Result<CopyFiles, DiskError> {
        let mut inner = self.change()?;
        inner.root(server)?;
        inner.captures.insert(server, false);
        Ok(CopyFiles { disk: path(server, "disk"), copy: path(server, "snapshot.new") })
    }

    async fn end_capture(&self, server: ServerId) -> Result<(), DiskError> {
        self.change()?.captures.insert(server, true);
        Ok(())
    }

    async fn capture(&self, server: ServerId) -> Result<(), DiskError> {
        let mut inner = self.change()?;
        inner.root(server)?;
        inner.captures.insert(server, true);
        Ok(())
    }

    async fn has_capture(&self, server: ServerId) -> Result<bool, DiskError> {
        Ok(self.lock().captures.get(&server) == Some(&true))
    }

    async fn publish_capture(&self, server: ServerId, image: ImageId) -> Result<ImageFacts, DiskError> {
        let mut inner = self.change()?;
        if inner.captures.get(&server) == Some(&true) {
            inner.captures.remove(&server);
            inner.images.insert(image);
        }
        if !inner.images.contains(&image) {
            return Err(DiskError::NotFound("the copy of the disk".into()));
        }
        Ok(ImageFacts {
            format: ImageFormat::Qcow2,
            size: 1 << 20,
            virtual_size: 1 << 30,
            md5: "0".repeat(32),
            sha512: "0".repeat(128),
        })
    }

    async fn drop_capture(&self, server: ServerId) -> Result<(), DiskError> {
        self.change()?.captures.remove(&server);
        Ok(())
    }

    async fn remove_image(&self, image: ImageId) -> Result<(), DiskError> {
        self.change()?.images.remove(&image);
        Ok(())
    }
}
