//! What a server has on the disk, as workflows see it: all of it at once, ensured or gone.
//!
//! Two implementations: [`DiskStorage`] over real files and `qemu-img`, and `fake` in memory, for crash and property
//! tests; nothing in the configuration leads to the latter. Decides nothing about what a server should have.

pub mod fake;

use super::disk::{
    Base, CopyFiles, Disk, DiskError, DiskRole, ImageFacts, ImageFormat, ImageStore, ServerDisks, VettedImage,
};
use super::hypervisor::spec::DiskFormat;
use crate::core::ids::{ImageId, ServerId};
use async_trait::async_trait;
use futures_util::future::try_join_all;
use std::collections::BTreeMap;
use std::path::PathBuf;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The disks that a server should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskPlan {
    pub server: ServerId,
    pub boot: BootSource,
    /// Size of the root disk in GiB; 0 leaves it to the image.
    pub root_gib: u64,
    /// Of the ephemeral disks in their order; 0 for one that is not there.
    pub ephemeral_gib: Vec<u64>,
    /// 0 for none.
    pub swap_mib: u64,
    /// The bytes of the config drive, for a server that has one.
    pub config_drive: Option<Vec<u8>>,
    /// What the server is rescued with, while it is.
    pub rescue: Option<RescuePlan>,
}

impl DiskPlan {
    /// The numbers of the ephemeral disks, and their sizes in MiB.
    fn ephemeral(&self) -> impl Iterator<Item = (u8, u64)> {
        (0..).zip(self.ephemeral_gib.iter().map(|gib| gib.saturating_mul(1024)))
    }
}

/// What a server is rescued with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RescuePlan {
    pub boot: BootSource,
    /// The bytes of the rescue system's own config drive.
    pub config_drive: Vec<u8>,
}

/// What a server boots from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootSource {
    /// The root disk is an overlay over the image.
    Disk { image: ImageId, format: ImageFormat },
    /// The image is a CD in a drive, the root disk is blank.
    Cd { image: ImageId },
}

/// A file that a domain uses as a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskFile {
    /// Absolute.
    pub path: PathBuf,
    pub format: DiskFormat,
}

/// What a server has on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerFiles {
    pub root: Option<DiskFile>,
    /// The CD that the server boots from.
    pub cd: Option<PathBuf>,
    /// By their numbers, from 0.
    pub ephemeral: BTreeMap<u8, DiskFile>,
    pub swap: Option<DiskFile>,
    pub config_drive: Option<PathBuf>,
    pub rescue: Option<RescueFiles>,
}

/// What a server that is rescued has besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RescueFiles {
    pub root: RescueRoot,
    pub config_drive: PathBuf,
}

/// What the rescue system boots from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RescueRoot {
    Disk(DiskFile),
    Cd(PathBuf),
}

/// Makes the files of servers what they should be.
#[async_trait]
pub trait Storage: Send + Sync {
    /// Ensures everything in the plan; what is there already stays as it is.
    async fn ensure(&self, plan: &DiskPlan) -> Result<ServerFiles, DiskError>;

    /// What is there of the plan, without making anything.
    async fn find(&self, plan: &DiskPlan) -> Result<ServerFiles, DiskError>;

    /// Makes an image ready to be started from. May take as long as copying it, so it is done while the guest still runs.
    async fn prepare(&self, boot: BootSource) -> Result<(), DiskError>;

    /// Puts fresh disks in the place of all that the server has, of which nothing is left but its ephemeral disk if that is
    /// to be kept. The guest is off.
    async fn replace(&self, plan: &DiskPlan, keep_ephemeral: bool) -> Result<(), DiskError>;

    /// Ensures that the config drive has these bytes. The guest is off.
    async fn write_config_drive(&self, server: ServerId, bytes: Vec<u8>) -> Result<(), DiskError>;

    /// As [`Storage::write_config_drive`], for that of the rescue system.
    async fn write_rescue_config_drive(&self, server: ServerId, bytes: Vec<u8>) -> Result<(), DiskError>;

    /// Makes what a server is rescued with, afresh if it is there; its own files stay as they are. No rescue system runs.
    async fn make_rescue(&self, server: ServerId, plan: &RescuePlan) -> Result<(), DiskError>;

    /// Ensures that nothing is left of what the server was rescued with. The rescue system is off.
    async fn remove_rescue(&self, server: ServerId) -> Result<(), DiskError>;

    /// Puts new layers over the disks, of the sizes in the plan, and leaves what is below untouched; it costs the same
    /// whatever the disks hold. What is on a swap disk is lost. `resize` names this one resize among all of the server.
    /// The guest is off.
    async fn begin_resize(&self, plan: &DiskPlan, resize: i64) -> Result<(), DiskError>;

    /// Ensures that the disks are those from before this resize, of which `plan` tells. The guest is off.
    async fn revert_resize(&self, plan: &DiskPlan, resize: i64) -> Result<(), DiskError>;

    /// Brings the layers of confirmed resizes together. The guest is off, and no resize waits to be taken back.
    async fn merge_layers(&self, server: ServerId) -> Result<(), DiskError>;

    /// Ensures that nothing of the server is on the disk.
    async fn remove(&self, server: ServerId) -> Result<(), DiskError>;

    /// The servers that have something on the disk.
    async fn servers(&self) -> Result<Vec<ServerId>, DiskError>;

    /// The file that collects what the guest writes on its first serial port.
    fn console_log(&self, server: ServerId) -> PathBuf;

    /// The last `max_bytes` bytes of the console log, and of these the last `lines` lines if a number is given.
    async fn console_tail(
        &self,
        server: ServerId,
        lines: Option<usize>,
        max_bytes: usize,
    ) -> Result<Vec<u8>, DiskError>;

    /// Size of the file system that disks are on, and what is free of it, in bytes.
    async fn capacity(&self) -> Result<(u64, u64), DiskError>;

    /// Makes the file that the hypervisor copies the root disk of a running server into.
    async fn begin_capture(&self, server: ServerId) -> Result<CopyFiles, DiskError>;

    /// Notes that the hypervisor's copy is complete.
    async fn end_capture(&self, server: ServerId) -> Result<(), DiskError>;

    /// Copies the root disk of a server that does not run.
    async fn capture(&self, server: ServerId) -> Result<(), DiskError>;

    /// Whether there is a complete copy of the root disk.
    async fn has_capture(&self, server: ServerId) -> Result<bool, DiskError>;

    /// Makes the complete copy the bytes of an image; where that was done already, tells of these bytes.
    async fn publish_capture(&self, server: ServerId, image: ImageId) -> Result<ImageFacts, DiskError>;

    /// Ensures that there is no copy of the root disk, complete or not.
    async fn drop_capture(&self, server: ServerId) -> Result<(), DiskError>;

    /// Ensures that the image has no bytes. Servers that were made from it keep what they stand on.
    async fn remove_image(&self, image: ImageId) -> Result<(), DiskError>;
}

/// Real files.
pub struct DiskStorage {
    images: ImageStore,
    disks: ServerDisks,
}

impl DiskStorage {
    pub fn new(images: ImageStore, disks: ServerDisks) -> Self {
        Self { images, disks }
    }

    async fn ensure_root(&self, plan: &DiskPlan) -> Result<(DiskFile, Option<PathBuf>), DiskError> {
        match plan.boot {
            BootSource::Disk { image, format } => {
                let vetted = self.images.vet(image, format).await?;
                let root = self.disks.ensure_root_disk(plan.server, &vetted, plan.root_gib).await?;
                Ok((file(&root), None))
            }
            BootSource::Cd { image } => {
                let vetted: VettedImage = self.images.vet(image, ImageFormat::Iso).await?;
                let cd = self.images.ensure_base(&vetted).await?;
                let root = self.disks.ensure_empty_root_disk(plan.server, plan.root_gib.max(1)).await?;
                Ok((file(&root), Some(cd.path)))
            }
        }
    }

    /// The base of an image, also where all that is left of the image is that base.
    async fn base(&self, image: ImageId, format: ImageFormat) -> Result<Base, DiskError> {
        match self.images.vet(image, format).await {
            Ok(vetted) => self.images.ensure_base(&vetted).await,
            Err(DiskError::NotFound(what)) => {
                self.images.find_base(image, format).await?.ok_or(DiskError::NotFound(what))
            }
            Err(error) => Err(error),
        }
    }

    async fn find_rescue(
        &self,
        server: ServerId,
        plan: &RescuePlan,
    ) -> Result<Option<RescueFiles>, DiskError> {
        let root = match plan.boot {
            BootSource::Disk { .. } => {
                let found = self.disks.disk(server, DiskRole::Rescue).await?;
                found.as_ref().map(|disk| RescueRoot::Disk(file(disk)))
            }
            BootSource::Cd { image } => Some(RescueRoot::Cd(self.images.base_path(image))),
        };
        let config_drive = self.disks.rescue_config_drive(server);
        Ok(root.map(|root| RescueFiles { root, config_drive }))
    }

    async fn ensure_blank(
        &self,
        server: ServerId,
        role: DiskRole,
        size_mib: u64,
    ) -> Result<Option<DiskFile>, DiskError> {
        if size_mib == 0 {
            return Ok(None);
        }
        Ok(Some(file(&self.disks.ensure_blank_disk(server, role, size_mib).await?)))
    }

    async fn ensure_ephemeral(&self, plan: &DiskPlan) -> Result<BTreeMap<u8, DiskFile>, DiskError> {
        let disks = plan.ephemeral().map(|(number, mib)| async move {
            let disk = self.ensure_blank(plan.server, DiskRole::Ephemeral(number), mib).await?;
            Ok::<_, DiskError>(disk.map(|disk| (number, disk)))
        });
        Ok(try_join_all(disks).await?.into_iter().flatten().collect())
    }

    async fn find_ephemeral(&self, plan: &DiskPlan) -> Result<BTreeMap<u8, DiskFile>, DiskError> {
        let mut found = BTreeMap::new();
        for (number, _) in plan.ephemeral() {
            let disk = self.disks.disk(plan.server, DiskRole::Ephemeral(number)).await?;
            found.extend(disk.as_ref().map(|disk| (number, file(disk))));
        }
        Ok(found)
    }

    /// Ensures a swap disk of this size, and a fresh one if it had another: nothing on it outlives a shut down.
    async fn resize_swap(&self, server: ServerId, size_mib: u64) -> Result<(), DiskError> {
        let found = self.disks.disk(server, DiskRole::Swap).await?;
        if found.is_some_and(|disk| disk.virtual_size() != size_mib.saturating_mul(MIB)) {
            self.disks.remove_disk(server, DiskRole::Swap).await?;
        }
        self.ensure_blank(server, DiskRole::Swap, size_mib).await.map(drop)
    }

    async fn ensure_config_drive(&self, plan: &DiskPlan) -> Result<Option<PathBuf>, DiskError> {
        match &plan.config_drive {
            Some(bytes) => Ok(Some(self.disks.ensure_config_drive(plan.server, bytes.clone()).await?)),
            None => Ok(None),
        }
    }
}

fn file(disk: &Disk) -> DiskFile {
    DiskFile { path: disk.path().to_owned(), format: disk.format() }
}

#[async_trait]
impl Storage for DiskStorage {
    async fn ensure(&self, plan: &DiskPlan) -> Result<ServerFiles, DiskError> {
        self.disks.ensure_server(plan.server).await?;
        // They do not depend on one another, and each waits for the disk or for a program.
        let (root, ephemeral, swap, config_drive) = tokio::try_join!(
            self.ensure_root(plan),
            self.ensure_ephemeral(plan),
            self.ensure_blank(plan.server, DiskRole::Swap, plan.swap_mib),
            self.ensure_config_drive(plan),
        )?;
        let (root, cd) = root;
        Ok(ServerFiles { root: Some(root), cd, ephemeral, swap, config_drive, rescue: None })
    }

    async fn find(&self, plan: &DiskPlan) -> Result<ServerFiles, DiskError> {
        let found = |disk: Option<Disk>| disk.as_ref().map(file);
        let cd = match plan.boot {
            BootSource::Disk { .. } => None,
            BootSource::Cd { image } => Some(self.images.base_path(image)),
        };
        Ok(ServerFiles {
            root: found(self.disks.disk(plan.server, DiskRole::Root).await?),
            cd,
            ephemeral: self.find_ephemeral(plan).await?,
            swap: found(self.disks.disk(plan.server, DiskRole::Swap).await?),
            config_drive: plan.config_drive.is_some().then(|| self.disks.config_drive(plan.server)),
            rescue: match &plan.rescue {
                Some(rescue) => self.find_rescue(plan.server, rescue).await?,
                None => None,
            },
        })
    }

    async fn prepare(&self, boot: BootSource) -> Result<(), DiskError> {
        let (image, format) = match boot {
            BootSource::Disk { image, format } => (image, format),
            BootSource::Cd { image } => (image, ImageFormat::Iso),
        };
        self.base(image, format).await.map(drop)
    }

    async fn replace(&self, plan: &DiskPlan, keep_ephemeral: bool) -> Result<(), DiskError> {
        let server = plan.server;
        match plan.boot {
            BootSource::Disk { image, format } => {
                let vetted = self.images.vet(image, format).await?;
                self.disks.replace_root_disk(server, &vetted, plan.root_gib).await?;
            }
            BootSource::Cd { .. } => {
                self.disks.empty_root_disk(server, plan.root_gib.max(1)).await?;
            }
        }
        if !keep_ephemeral {
            for (number, mib) in plan.ephemeral() {
                self.disks.remove_disk(server, DiskRole::Ephemeral(number)).await?;
                self.ensure_blank(server, DiskRole::Ephemeral(number), mib).await?;
            }
        }
        self.disks.remove_disk(server, DiskRole::Swap).await?;
        self.ensure_blank(server, DiskRole::Swap, plan.swap_mib).await?;
        self.ensure_config_drive(plan).await.map(drop)
    }

    async fn write_config_drive(&self, server: ServerId, bytes: Vec<u8>) -> Result<(), DiskError> {
        self.disks.ensure_config_drive(server, bytes).await.map(drop)
    }

    async fn write_rescue_config_drive(&self, server: ServerId, bytes: Vec<u8>) -> Result<(), DiskError> {
        self.disks.ensure_rescue_config_drive(server, bytes).await.map(drop)
    }

    async fn make_rescue(&self, server: ServerId, plan: &RescuePlan) -> Result<(), DiskError> {
        match plan.boot {
            BootSource::Disk { image, format } => {
                let base = self.base(image, format).await?;
                self.disks.make_rescue_disk(server, &base).await?;
            }
            BootSource::Cd { image } => {
                self.base(image, ImageFormat::Iso).await?;
            }
        }
        self.disks.ensure_rescue_config_drive(server, plan.config_drive.clone()).await.map(drop)
    }

    async fn remove_rescue(&self, server: ServerId) -> Result<(), DiskError> {
        self.disks.remove_rescue(server).await
    }

    async fn begin_resize(&self, plan: &DiskPlan, resize: i64) -> Result<(), DiskError> {
        let server = plan.server;
        let root = plan.root_gib.saturating_mul(GIB);
        self.disks.begin_resize(server, DiskRole::Root, resize, root).await?;
        for (number, mib) in plan.ephemeral() {
            let ephemeral = DiskRole::Ephemeral(number);
            if self.disks.disk(server, ephemeral).await?.is_some() {
                self.disks.begin_resize(server, ephemeral, resize, mib.saturating_mul(MIB)).await?;
            } else {
                self.ensure_blank(server, ephemeral, mib).await?;
            }
        }
        self.resize_swap(server, plan.swap_mib).await
    }

    async fn revert_resize(&self, plan: &DiskPlan, resize: i64) -> Result<(), DiskError> {
        let server = plan.server;
        self.disks.revert_resize(server, DiskRole::Root, resize).await?;
        for (number, mib) in plan.ephemeral() {
            let ephemeral = DiskRole::Ephemeral(number);
            if mib == 0 {
                self.disks.remove_disk(server, ephemeral).await?;
            } else {
                self.disks.revert_resize(server, ephemeral, resize).await?;
            }
        }
        self.resize_swap(server, plan.swap_mib).await
    }

    async fn merge_layers(&self, server: ServerId) -> Result<(), DiskError> {
        self.disks.merge_layers(server, DiskRole::Root).await?;
        for ephemeral in (0..=u8::MAX).map(DiskRole::Ephemeral) {
            if self.disks.disk(server, ephemeral).await?.is_none() {
                break;
            }
            self.disks.merge_layers(server, ephemeral).await?;
        }
        Ok(())
    }

    async fn remove(&self, server: ServerId) -> Result<(), DiskError> {
        self.disks.remove_server(server).await
    }

    async fn servers(&self) -> Result<Vec<ServerId>, DiskError> {
        self.disks.list_servers().await
    }

    fn console_log(&self, server: ServerId) -> PathBuf {
        self.disks.console_log(server)
    }

    async fn console_tail(
        &self,
        server: ServerId,
        lines: Option<usize>,
        max_bytes: usize,
    ) -> Result<Vec<u8>, DiskError> {
        self.disks.read_console_tail(server, lines, max_bytes).await
    }

    async fn capacity(&self) -> Result<(u64, u64), DiskError> {
        self.disks.capacity().await
    }

    async fn begin_capture(&self, server: ServerId) -> Result<CopyFiles, DiskError> {
        self.disks.begin_capture(server).await
    }

    async fn end_capture(&self, server: ServerId) -> Result<(), DiskError> {
        self.disks.end_capture(server).await
    }

    async fn capture(&self, server: ServerId) -> Result<(), DiskError> {
        self.disks.capture(server).await
    }

    async fn has_capture(&self, server: ServerId) -> Result<bool, DiskError> {
        self.disks.has_capture(server).await
    }

    async fn publish_capture(&self, server: ServerId, image: ImageId) -> Result<ImageFacts, DiskError> {
        self.disks.publish_capture(server, image).await
    }

    async fn drop_capture(&self, server: ServerId) -> Result<(), DiskError> {
        self.disks.drop_capture(server).await
    }

    async fn remove_image(&self, image: ImageId) -> Result<(), DiskError> {
        self.images.delete(image).await.map(drop)
    }
}
