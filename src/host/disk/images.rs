//! The image store: uploads, downloads, and the proof that an image is safe to use.
//!
//! An upload of any length takes a fixed amount of memory. It grows in `staging/`, is inspected when it is complete, made
//! durable, and only then appears in `images/` by a rename: a file there is whole and was found harmless. What becomes of an
//! upload that is given up, in whatever way, is the same: nothing.

use super::blocking;
use super::error::{Context, DiskError};
use super::inspect::{self, ImageFormat};
use super::tree::{IMAGES, STAGING, Tree};
use crate::core::ids::ImageId;
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use md5::Md5;
use sha2::{Digest, Sha512};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// How much of an upload is gathered before it is hashed and written in one go, in bytes. Twice this is the memory an upload takes.
const BATCH: usize = 1 << 20;
/// How much a download reads at once, in bytes.
const CHUNK: u64 = 512 << 10;

/// What an image in the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    pub format: ImageFormat,
    /// Size of the file, in bytes.
    pub size: u64,
    /// Size of the disk that a guest sees, in bytes.
    pub virtual_size: u64,
    /// 32 hex digits.
    pub md5: String,
    /// 128 hex digits.
    pub sha512: String,
}

/// An image whose bytes have been inspected by the code that is running now.
///
/// Only [`ImageStore::vet`] makes one, and everything that lets QEMU open an image asks for one. Nothing is taken on trust from
/// an inspection that an older version made: inspecting again reads a few kilobytes.
#[derive(Debug, Clone)]
pub struct VettedImage {
    id: ImageId,
    format: ImageFormat,
    virtual_size: u64,
    /// Inside the tree.
    name: PathBuf,
}

impl VettedImage {
    pub fn id(&self) -> ImageId {
        self.id
    }

    pub fn format(&self) -> ImageFormat {
        self.format
    }

    /// Bytes.
    pub fn virtual_size(&self) -> u64 {
        self.virtual_size
    }

    pub(super) fn name(&self) -> &Path {
        &self.name
    }
}

/// Images on the disk, by id.
#[derive(Debug, Clone)]
pub struct ImageStore {
    pub(super) tree: Arc<Tree>,
    /// The largest virtual disk that an image may have, in bytes.
    pub(super) max_virtual: u64,
    /// One conversion at a time: they use a whole processor, and two of the same image would be wasted work.
    pub(super) conversions: Arc<Semaphore>,
}

impl ImageStore {
    /// Images whose virtual disk is larger than `max_virtual` bytes are refused.
    pub fn new(tree: Arc<Tree>, max_virtual: u64) -> Self {
        Self { tree, max_virtual, conversions: Arc::new(Semaphore::new(1)) }
    }

    /// Begins to receive an image of at most `max_bytes`.
    pub async fn begin_upload(
        &self,
        id: ImageId,
        declared: ImageFormat,
        max_bytes: u64,
    ) -> Result<Upload, DiskError> {
        let (tree, max_virtual) = (Arc::clone(&self.tree), self.max_virtual);
        let sink = blocking(move || {
            tree.check_room(0)?;
            let staging = StagingFile::reserve(tree, id);
            let file =
                staging.tree.create_file(&staging.name).map_err(|error| staging.tree.name_full(error))?;
            let (md5, sha512) = (Md5::new(), Sha512::new());
            Ok(Sink { file, staging, declared, max_virtual, length: 0, md5, sha512 })
        });
        let sink = Progress::Idle(Box::new(sink.await?));
        Ok(Upload { id, max_bytes, received: 0, pending: Vec::new(), pending_bytes: 0, progress: sink })
    }

    /// Opens a stored image for download.
    pub async fn open(&self, id: ImageId) -> Result<ImageReader, DiskError> {
        let tree = Arc::clone(&self.tree);
        blocking(move || {
            let name = image_name(id);
            let file = tree.open_file(&name)?.ok_or_else(|| DiskError::NotFound(format!("image {id}")))?;
            let size = file.metadata().during("looking at", tree.path(&name))?.len();
            Ok(ImageReader { file: Arc::new(file), path: tree.path(&name), size })
        })
        .await
    }

    /// Inspects a stored image, which is what makes it usable for servers.
    pub async fn vet(&self, id: ImageId, declared: ImageFormat) -> Result<VettedImage, DiskError> {
        let (tree, max_virtual) = (Arc::clone(&self.tree), self.max_virtual);
        blocking(move || {
            let name = image_name(id);
            let file = tree.open_file(&name)?.ok_or_else(|| DiskError::NotFound(format!("image {id}")))?;
            let found =
                inspect::inspect(&file, declared, max_virtual).during("inspecting", tree.path(&name))?;
            Ok(VettedImage { id, format: found.format, virtual_size: found.virtual_size, name })
        })
        .await
    }

    /// Ensures that there is no image of this id; says whether there was one. Servers that were made from it keep their base.
    pub async fn delete(&self, id: ImageId) -> Result<bool, DiskError> {
        let tree = Arc::clone(&self.tree);
        blocking(move || tree.remove_file(&image_name(id))).await
    }

    /// The ids of all stored images.
    pub async fn list(&self) -> Result<Vec<ImageId>, DiskError> {
        let tree = Arc::clone(&self.tree);
        blocking(move || ids_in(&tree, IMAGES)).await
    }

    /// Removes what unfinished uploads of an earlier process left; says how many files that were. To be called once, before the
    /// first upload.
    pub async fn sweep_staging(&self) -> Result<usize, DiskError> {
        let tree = Arc::clone(&self.tree);
        blocking(move || {
            let names = tree.list(Path::new(STAGING))?;
            for name in &names {
                tree.remove_file(&Path::new(STAGING).join(name))?;
            }
            Ok(names.len())
        })
        .await
    }
}

pub(super) fn image_name(id: ImageId) -> PathBuf {
    Path::new(IMAGES).join(id.to_string())
}

/// The files in a folder whose names are image ids.
pub(super) fn ids_in(tree: &Tree, folder: &str) -> Result<Vec<ImageId>, DiskError> {
    let names = tree.list(Path::new(folder))?;
    Ok(names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
}

/// A file in `staging/` that is removed when it is dropped, unless it was moved to where it belongs.
#[derive(Debug)]
pub(super) struct StagingFile {
    tree: Arc<Tree>,
    pub(super) name: PathBuf,
    kept: bool,
}

impl StagingFile {
    /// Takes a name that no other file of this process has. The file itself is not made.
    pub(super) fn reserve(tree: Arc<Tree>, id: ImageId) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = Path::new(STAGING).join(format!("{id}.{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        Self { tree, name, kept: false }
    }

    /// Makes the file what `name` is, durably.
    pub(super) fn publish(mut self, name: &Path) -> Result<(), DiskError> {
        self.tree.rename(&self.name, name)?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for StagingFile {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let (tree, name) = (Arc::clone(&self.tree), std::mem::take(&mut self.name));
        let remove = move || {
            if let Err(error) = tree.remove_file(&name) {
                tracing::warn!(%error, "an unfinished image could not be removed; the next start removes it");
            }
        };
        // Freeing the blocks of a large file takes long enough to be felt on an async worker.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// Where the bytes of an upload go. Lives on the blocking pool while there is something to do.
#[derive(Debug)]
struct Sink {
    file: File,
    staging: StagingFile,
    declared: ImageFormat,
    max_virtual: u64,
    length: u64,
    md5: Md5,
    sha512: Sha512,
}

impl Sink {
    fn write(&mut self, batch: &[Bytes]) -> Result<(), DiskError> {
        let tree = &self.staging.tree;
        let first = self.length == 0;
        tree.check_room(batch.iter().map(|chunk| chunk.len() as u64).sum())?;
        for chunk in batch {
            self.md5.update(chunk);
            self.sha512.update(chunk);
            // Zeros become holes: raw images are mostly zeros.
            if !is_zero(chunk) {
                let written = self.file.write_all_at(chunk, self.length);
                written
                    .during("writing", tree.path(&self.staging.name))
                    .map_err(|error| tree.name_full(error))?;
            }
            self.length += chunk.len() as u64;
        }
        if first {
            self.stretch()?;
            inspect::inspect_start(&self.file, self.declared)
                .during("inspecting", self.staging.tree.path(&self.staging.name))?;
        }
        Ok(())
    }

    /// Gives the file its length, which holes at its end do not do by themselves.
    fn stretch(&self) -> Result<(), DiskError> {
        self.file.set_len(self.length).during("writing", self.staging.tree.path(&self.staging.name))
    }

    fn finish(self, id: ImageId) -> Result<ImageFacts, DiskError> {
        self.stretch()?;
        let Self { file, staging, declared, max_virtual, md5, sha512, .. } = self;
        let found = inspect::inspect(&file, declared, max_virtual)
            .during("inspecting", staging.tree.path(&staging.name))?;
        publish(&file, staging, id)?;
        Ok(ImageFacts {
            format: found.format,
            size: found.size,
            virtual_size: found.virtual_size,
            md5: hex::encode(md5.finalize()),
            sha512: hex::encode(sha512.finalize()),
        })
    }
}

/// Whether there is nothing but zeros: comparing memory is much faster than looking at each byte.
fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: &[u8] = &[0; 4096];
    bytes.chunks(ZEROS.len()).all(|part| part == &ZEROS[..part.len()])
}

/// Turns a complete staging file into the image of this id, durably.
pub(super) fn publish(file: &File, staging: StagingFile, id: ImageId) -> Result<(), DiskError> {
    staging.tree.seal_file(file, &staging.name)?;
    let synced = file.sync_all().during("syncing", staging.tree.path(&staging.name));
    synced.map_err(|error| staging.tree.name_full(error))?;
    staging.publish(&image_name(id))
}

#[derive(Debug)]
enum Progress {
    Idle(Box<Sink>),
    /// A batch is being hashed and written while the next one comes in.
    Busy(JoinHandle<Result<Box<Sink>, DiskError>>),
    /// An error has been reported; the bytes are gone.
    Failed,
}

/// An image that is being received. Dropping it gives it up.
#[derive(Debug)]
pub struct Upload {
    id: ImageId,
    max_bytes: u64,
    received: u64,
    pending: Vec<Bytes>,
    pending_bytes: usize,
    progress: Progress,
}

impl Upload {
    /// Takes the next bytes. Waits while the disk is slower than the sender. After an error the upload is lost.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), DiskError> {
        self.received = self.received.saturating_add(chunk.len() as u64);
        if self.received > self.max_bytes {
            self.progress = Progress::Failed;
            return Err(DiskError::TooLarge { limit: self.max_bytes });
        }
        self.pending_bytes += chunk.len();
        self.pending.push(chunk);
        if self.pending_bytes >= BATCH { self.flush().await } else { Ok(()) }
    }

    /// Bytes taken so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Inspects and keeps what was received: on success the image is in the store, durably.
    pub async fn finish(mut self) -> Result<ImageFacts, DiskError> {
        self.flush().await?;
        let (sink, id) = (self.sink().await?, self.id);
        blocking(move || sink.finish(id)).await
    }

    async fn flush(&mut self) -> Result<(), DiskError> {
        let mut sink = self.sink().await?;
        let batch = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        self.progress =
            Progress::Busy(tokio::task::spawn_blocking(move || sink.write(&batch).map(|()| sink)));
        Ok(())
    }

    /// The sink, once it has nothing to do.
    async fn sink(&mut self) -> Result<Box<Sink>, DiskError> {
        match std::mem::replace(&mut self.progress, Progress::Failed) {
            Progress::Idle(sink) => Ok(sink),
            Progress::Busy(work) => work.await?,
            Progress::Failed => {
                Err(DiskError::NotFound(format!("the unfinished upload of image {}", self.id)))
            }
        }
    }
}

/// A stored image that is being read. It stays readable when the image is deleted meanwhile.
#[derive(Debug, Clone)]
pub struct ImageReader {
    file: Arc<File>,
    path: PathBuf,
    size: u64,
}

impl ImageReader {
    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes of a range, which is cut at the end of the image, in chunks of a bounded size.
    pub fn stream(
        &self,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, DiskError>> + Send + Unpin + 'static {
        let reader = self.clone();
        let end = range.end.min(self.size);
        Box::pin(stream::try_unfold(range.start, move |offset| {
            let reader = reader.clone();
            async move {
                if offset >= end {
                    return Ok(None);
                }
                let bytes = reader.read(offset, CHUNK.min(end - offset)).await?;
                let next = offset + bytes.len() as u64;
                Ok(Some((bytes, next)))
            }
        }))
    }

    async fn read(self, offset: u64, length: u64) -> Result<Bytes, DiskError> {
        blocking(move || {
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
            self.file.read_exact_at(&mut bytes, offset).during("reading", &self.path)?;
            Ok(Bytes::from(bytes))
        })
        .await
    }
}

#[cfg(test)]
#[path = "images_tests.rs"]
mod tests;
