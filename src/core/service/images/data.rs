//! The bytes of images: uploads, imports, downloads.

use super::{ImageService, must_see, unknown, visible};
use crate::core::actor::Actor;
use crate::core::ids::{ImageId, ImportId, ProjectId};
use crate::core::image::{ContainerFormat, DiskFormat, Facts, Image, Import, Quota, Status, not_authorized};
use crate::core::{Error, Kind, Result};
use crate::host::disk::{self, DiskError, ImageFacts, ImageFormat, ImageReader, Refusal};
use crate::store::image_members;
use crate::store::images;
use bytes::Bytes;
use rusqlite::Connection;
use serde_json::Value;

const MIB: u64 = 1 << 20;

/// Why an image is being uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be used as soon as it is complete.
    Use,
    /// To be used once an import is asked for.
    Import,
}

impl Purpose {
    fn status(self) -> Status {
        match self {
            Self::Use => Status::Saving,
            Self::Import => Status::Uploading,
        }
    }
}

/// The bytes of an image for somebody who may read them.
pub struct Content {
    pub reader: ImageReader,
    /// Bytes.
    pub size: u64,
    /// In hexadecimal digits.
    pub md5: Option<String>,
}

impl ImageService {
    /// Opens an image for reading; `None` while it has no bytes.
    ///
    /// # Errors
    /// Unknown image, deactivated, or the caller may not read it.
    pub async fn content(&self, actor: &Actor, id: ImageId) -> Result<Option<Content>> {
        let asker = actor.clone();
        let image = self.deps.store.read(move |connection| visible(connection, &asker, id)).await?;
        if image.status == Status::Deactivated && !actor.is_admin() {
            return Err(Error::forbidden(
                "The requested image has been deactivated. Image data download is forbidden.",
            ));
        }
        if !actor.is_admin() && !actor.roles.member {
            return Err(not_authorized("download_image"));
        }
        if image.file_format.is_none() || !matches!(image.status, Status::Active | Status::Deactivated) {
            return Ok(None);
        }
        let reader = self.files.open(id).await.map_err(|error| match error {
            // Deleted between the look at the row and the look at the disk.
            DiskError::NotFound(_) => unknown(id),
            other => other.into(),
        })?;
        Ok(Some(Content { size: reader.size(), reader, md5: image.md5 }))
    }

    /// Begins to take the bytes of a queued image. `announced` is the size that the sender says they have.
    ///
    /// # Errors
    /// Unknown image, not the caller's, not queued, formats not set, no room.
    pub async fn begin_upload(
        &self,
        actor: &Actor,
        id: ImageId,
        purpose: Purpose,
        announced: Option<u64>,
    ) -> Result<Upload> {
        if !self.uploads.claim(id).await {
            // Whoever may not see the image must not learn of it this way.
            self.show(actor, id).await?;
            return Err(Error::invalid_state(format!(
                "Image status transition from {0} to {0} is not allowed",
                purpose.status()
            )));
        }
        // Made before the row is changed: whenever the caller goes away from here on, the row is looked after.
        let mut claim = Claim { images: self.clone(), id, open: true };
        let asker = actor.clone();
        let now = self.deps.clock.now();
        let size_limit = self.settings.max_bytes;
        let write = move |connection: &Connection| {
            let mut image = visible(connection, &asker, id)?;
            if !image.mutable_by(&asker) {
                return Err(not_authorized(match purpose {
                    Purpose::Use => "upload_image",
                    Purpose::Import => "modify_image",
                }));
            }
            image.become_status(purpose.status())?;
            let formats = image.formats()?;
            let room = room(connection, image.owner.as_ref(), size_limit)?;
            if let Some(size) = announced {
                room.check(size)?;
            }
            image.updated_at = now;
            images::update(connection, &image)?;
            Ok((formats, room))
        };
        let (formats, room) = match self.deps.store.write(write).await {
            Ok(found) => found,
            Err(error) => {
                claim.settle();
                return Err(error);
            }
        };
        let mut upload = Upload { claim, purpose, formats, announced, room, file: None };
        let begun = match declared(formats) {
            Some(format) => {
                self.files.begin_upload(id, format, room.bytes).await.map_err(|e| upload.words(e))
            }
            None => Err(unsupported(format!("The disk format {} is not supported", formats.0))),
        };
        match begun {
            Ok(file) => {
                upload.file = Some(file);
                Ok(upload)
            }
            Err(error) => Err(upload.give_up(error).await),
        }
    }

    /// Makes an image of what was staged. It was inspected when it came, so there is nothing left to wait for.
    ///
    /// # Errors
    /// Unknown image, not the caller's, nothing staged.
    pub async fn import(&self, actor: &Actor, id: ImageId, request: Value) -> Result<()> {
        let actor = actor.clone();
        let now = self.deps.clock.now();
        let write = move |connection: &Connection| {
            let mut image = visible(connection, &actor, id)?;
            if image.status == Status::Active {
                return Err(Error::conflict("Image with status active cannot be target for import"));
            }
            if image.status != Status::Uploading || image.file_format.is_none() {
                return Err(Error::conflict(
                    "Image needs to be staged before 'glance-direct' method can be used",
                ));
            }
            if !image.mutable_by(&actor) {
                return Err(not_authorized("modify_image"));
            }
            image.become_status(Status::Importing)?;
            image.become_status(Status::Active)?;
            image.updated_at = now;
            images::update(connection, &image)?;
            let import = Import {
                id: ImportId::random(),
                image_id: id,
                project_id: actor.project_id,
                user_id: actor.user_id,
                request_id: actor.request_id,
                request,
                created_at: now,
            };
            Ok(image_members::insert_import(connection, &import)?)
        };
        self.deps.store.write(write).await
    }

    /// The imports of an image.
    ///
    /// # Errors
    /// Unknown image.
    pub async fn imports(&self, actor: &Actor, id: ImageId) -> Result<Vec<Import>> {
        let actor = actor.clone();
        let read = move |connection: &Connection| {
            let image = images::get(connection, id)?.ok_or_else(|| unknown(id))?;
            must_see(&image, &actor, || unknown(id))?;
            Ok(image_members::imports(connection, id)?)
        };
        self.deps.store.read(read).await
    }
}

impl ImageService {
    /// One import of any image.
    ///
    /// # Errors
    /// Unknown.
    pub async fn import_task(&self, id: &str) -> Result<Import> {
        let unknown = || Error::not_found(format!("Task with the given id {id} was not found"));
        let import = id.parse().map_err(|_| unknown())?;
        let found =
            self.deps.store.read(move |c| Ok::<_, Error>(image_members::get_import(c, import)?)).await?;
        found.ok_or_else(unknown)
    }

    /// One page of the imports of all images, newest first. `marker` is the last one of the page before.
    ///
    /// # Errors
    /// An unknown marker.
    pub async fn import_tasks(&self, marker: Option<&str>, limit: usize) -> Result<Vec<Import>> {
        let after = match marker {
            Some(marker) => Some(self.import_task(marker).await.map_err(|e| Error::invalid(e.message()))?),
            None => None,
        };
        let limit = limit.min(super::PAGE_LIMIT);
        self.deps.store.read(move |c| Ok(image_members::all_imports(c, after.as_ref(), limit)?)).await
    }

    /// What the caller's project uses and may use.
    ///
    /// # Errors
    /// The store failed.
    pub async fn quotas(&self, actor: &Actor) -> Result<Vec<Quota>> {
        let Some(project) = actor.project_id.clone() else { return Ok(Vec::new()) };
        let read = move |connection: &Connection| {
            let usage = images::usage(connection, &project)?;
            [
                ("image_size_total", usage.bytes / MIB),
                ("image_stage_total", usage.staged_bytes / MIB),
                ("image_count_total", usage.count),
                ("image_count_uploading", usage.uploading),
            ]
            .into_iter()
            .map(|(resource, usage)| {
                let limit = images::limit(connection, &project, resource)?.unwrap_or(-1);
                Ok(Quota { resource, usage, limit })
            })
            .collect()
        };
        self.deps.store.read(read).await
    }
}

/// An image whose bytes are coming in. However it ends, the image has all of its bytes or waits for them again.
pub struct Upload {
    claim: Claim,
    purpose: Purpose,
    formats: (DiskFormat, ContainerFormat),
    announced: Option<u64>,
    room: Room,
    file: Option<disk::Upload>,
}

/// The right to fill an image, for one upload at a time.
struct Claim {
    images: ImageService,
    id: ImageId,
    /// Whether the row may say that bytes are coming.
    open: bool,
}

impl Claim {
    /// The row says how things are.
    fn settle(&mut self) {
        self.open = false;
        self.images.uploads.release(self.id);
    }

    /// Lets go of an image that got no bytes.
    async fn take_back(&mut self) -> Result<()> {
        self.images.take_back(self.id).await?;
        self.open = false;
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Nobody is left to wait, as when the sender hung up: the chore does what cannot be done here. Without it, the
        // next start does.
        if self.open {
            self.images.uploads.abandon(self.id);
        }
    }
}

impl Upload {
    /// Takes the next bytes; waits while the disk is slower than the sender. After an error the upload is over.
    ///
    /// # Errors
    /// Too many bytes, a full disk, bytes of another format.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let Some(file) = &mut self.file else {
            return Err(Error::internal("bytes for an upload that is over"));
        };
        match file.write(bytes).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let words = self.words(error);
                Err(self.give_up(words).await)
            }
        }
    }

    /// Inspects the bytes and gives them to the image.
    ///
    /// # Errors
    /// Not a harmless image of the declared format; not as many bytes as announced; the image was deleted meanwhile.
    pub async fn finish(mut self) -> Result<()> {
        let Some(file) = self.file.take() else { return Err(Error::internal("an upload that is over")) };
        if let Some(announced) = self.announced
            && announced != file.received()
        {
            let words = format!("Size mismatch: expected {announced} bytes, got {} bytes", file.received());
            return Err(self.give_up(Error::invalid(words)).await);
        }
        let found = match file.finish().await {
            Ok(found) => found,
            Err(error) => {
                let words = self.words(error);
                return Err(self.give_up(words).await);
            }
        };
        match self.take(found).await {
            Ok(()) => {
                self.claim.settle();
                Ok(())
            }
            Err(error) => {
                // The bytes are in the store by now, but no row speaks of them: they go with the rest.
                Err(self.give_up(error).await)
            }
        }
    }

    /// Ends the upload for a reason of the caller's and passes that on.
    pub async fn give_up(&mut self, why: Error) -> Error {
        self.file = None;
        match self.claim.take_back().await {
            Ok(()) => why,
            // The report made when this is dropped gets another try.
            Err(error) => error,
        }
    }

    async fn take(&self, found: ImageFacts) -> Result<()> {
        let facts = Facts {
            size: found.size,
            virtual_size: self.formats.1.is_bare().then_some(found.virtual_size),
            md5: found.md5,
            sha512: found.sha512,
            file_format: found.format.name().to_owned(),
        };
        let (id, purpose, size_limit) = (self.claim.id, self.purpose, self.claim.images.settings.max_bytes);
        let now = self.claim.images.deps.clock.now();
        let write = move |connection: &Connection| {
            let expected = images::get(connection, id)?.filter(|image| image.status == purpose.status());
            let mut image = expected.ok_or_else(|| {
                Error::new(
                    Kind::Gone,
                    format!(
                        "Image {id} could not be found after upload. The image may have been deleted during the \
                         upload, cleaning up the chunks uploaded."
                    ),
                )
            })?;
            // Others may have filled the project's room meanwhile.
            room(connection, image.owner.as_ref(), size_limit)?.check(facts.size)?;
            image.take_facts(facts);
            if purpose == Purpose::Use {
                image.become_status(Status::Active)?;
            }
            image.updated_at = now;
            images::update(connection, &image)?;
            Ok(())
        };
        self.claim.images.deps.store.write(write).await
    }

    /// What the sender is told of a failure on the disk.
    fn words(&self, error: DiskError) -> Error {
        let (kind, words) = match &error {
            DiskError::Full { .. } => (
                Kind::TooLarge,
                "Image storage media is full: There is not enough disk space on the image storage media."
                    .into(),
            ),
            DiskError::TooLarge { .. } => (Kind::TooLarge, self.room.words()),
            DiskError::Refused(Refusal::Mismatch { found, .. }) => (
                Kind::UnsupportedMedia,
                format!("Image disk_format {} does not match stream data {found}", self.formats.0),
            ),
            DiskError::Refused(refusal) => {
                (Kind::UnsupportedMedia, format!("Image failed safety checks: {refusal}"))
            }
            _ => return error.into(),
        };
        Error::new(kind, words).with_source(error)
    }
}

/// How many bytes an upload may have, and why not more.
#[derive(Debug, Clone, Copy)]
struct Room {
    bytes: u64,
    by_quota: bool,
}

impl Room {
    fn check(self, size: u64) -> Result<()> {
        if size <= self.bytes { Ok(()) } else { Err(Error::new(Kind::TooLarge, self.words())) }
    }

    fn words(self) -> String {
        if self.by_quota {
            format!(
                "Image exceeds the storage quota: The size of the data will exceed the limit. {} bytes remaining.",
                self.bytes
            )
        } else {
            "The incoming image is too large: The provided image is too large.".into()
        }
    }
}

/// What a project may still store: the host's limit for one image, or what is left of the project's own limit.
fn room(connection: &Connection, owner: Option<&ProjectId>, size_limit: u64) -> Result<Room> {
    let cap = Room { bytes: size_limit, by_quota: false };
    let Some(owner) = owner else { return Ok(cap) };
    let Some(limit) =
        images::limit(connection, owner, "image_size_total")?.and_then(|mib| u64::try_from(mib).ok())
    else {
        return Ok(cap);
    };
    let left = limit.saturating_mul(MIB).saturating_sub(images::usage(connection, owner)?.bytes);
    Ok(if left < size_limit { Room { bytes: left, by_quota: true } } else { cap })
}

/// Refuses one image more than the owner's project may have.
pub(in crate::core::service) fn check_count(connection: &Connection, image: &Image) -> Result<()> {
    let Some(owner) = &image.owner else { return Ok(()) };
    let Some(limit) =
        images::limit(connection, owner, "image_count_total")?.and_then(|n| u64::try_from(n).ok())
    else {
        return Ok(());
    };
    let count = images::usage(connection, owner)?.count;
    if count < limit {
        return Ok(());
    }
    Err(Error::quota(format!(
        "Project {owner} is over a limit for [Resource image_count_total is over limit of {limit} due to current \
         usage {count} and delta 1]"
    )))
}

/// The format that the bytes have to have. Archives are kept as they are: nothing here opens them.
fn declared((disk, container): (DiskFormat, ContainerFormat)) -> Option<ImageFormat> {
    if container.is_bare() { disk.as_str().parse().ok() } else { Some(ImageFormat::Raw) }
}

fn unsupported(words: String) -> Error {
    Error::new(Kind::UnsupportedMedia, words)
}
