//! Images: what can be asked of them and by whom. Their bytes are in [`data`], whom they are shared with in [`members`],
//! and what is tidied up behind everybody's back in [`upkeep`].
//!
//! The image store on the disk is used directly: an upload is a stream that no queued task could hold. The rows stay the
//! truth: bytes are there for others only once a row says so.

mod data;
mod members;
mod upkeep;

pub(super) use data::check_count;
pub use data::{Content, Purpose, Upload};

use super::Deps;
use crate::core::actor::Actor;
use crate::core::ids::ImageId;
use crate::core::image::query::{ImageQuery, Viewer};
use crate::core::image::{Attribute, Change, Image, Status, not_authorized};
use crate::core::{Error, Result};
use crate::host::disk::ImageStore;
use crate::store::{image_list, images};
use std::sync::Arc;
use upkeep::Uploads;

/// The most images on one page.
pub const PAGE_LIMIT: usize = 1000;

/// What holds for all images of this host.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The largest file that an image may have, in bytes.
    pub max_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_bytes: 1 << 40 }
    }
}

/// The image use cases; cheap to clone.
#[derive(Clone)]
pub struct ImageService {
    deps: Deps,
    files: ImageStore,
    settings: Settings,
    uploads: Arc<Uploads>,
}

impl ImageService {
    pub fn new(deps: Deps, files: ImageStore, settings: Settings) -> Self {
        Self { deps, files, settings, uploads: Arc::default() }
    }

    /// One image.
    ///
    /// # Errors
    /// Unknown, or not visible to the caller.
    pub async fn show(&self, actor: &Actor, id: ImageId) -> Result<Image> {
        let actor = actor.clone();
        self.deps.store.read(move |connection| visible(connection, &actor, id)).await
    }

    /// One page of the images that the caller sees. `marker` is the last image of the page before.
    ///
    /// # Errors
    /// An unknown marker.
    pub async fn list(
        &self,
        actor: &Actor,
        mut query: ImageQuery,
        marker: Option<String>,
    ) -> Result<Vec<Image>> {
        let actor = actor.clone();
        query.limit = query.limit.min(PAGE_LIMIT);
        let read = move |connection: &rusqlite::Connection| {
            if let Some(marker) = marker {
                let unknown = || Error::invalid(unknown_words(&marker));
                let id = marker.parse().map_err(|_| unknown())?;
                let image = images::get(connection, id)?.filter(|image| image.visible_to(&actor));
                query.after = Some(image.ok_or_else(unknown)?);
            }
            Ok(image_list::list(connection, &Viewer::from(&actor), &query)?)
        };
        self.deps.store.read(read).await
    }

    /// Registers an image without bytes.
    ///
    /// # Errors
    /// What the caller may not set, an id that is or was taken, and the limits.
    pub async fn create(
        &self,
        actor: &Actor,
        id: Option<ImageId>,
        attributes: &[Attribute],
    ) -> Result<Image> {
        let image = Image::new(id.unwrap_or_else(ImageId::random), attributes, actor, self.deps.clock.now())?;
        let write = move |connection: &rusqlite::Connection| {
            data::check_count(connection, &image)?;
            if images::insert(connection, &image)? {
                return Ok(image);
            }
            Err(Error::conflict(format!("Image ID {} already exists!", image.id)))
        };
        self.deps.store.write(write).await
    }

    /// Applies changes one after another; all of them or none.
    ///
    /// # Errors
    /// Unknown image; what [`Image::apply`] refuses.
    pub async fn update(&self, actor: &Actor, id: ImageId, changes: Vec<Change>) -> Result<Image> {
        let actor = actor.clone();
        self.change(id, move |image| {
            must_see(image, &actor, || unknown(id))?;
            let changed = !changes.is_empty();
            for change in changes {
                image.apply(change, &actor)?;
            }
            Ok(changed)
        })
        .await
    }

    /// Deletes an image and its bytes. Servers that were made from it keep what they stand on.
    ///
    /// # Errors
    /// Unknown, protected, or not the caller's.
    pub async fn delete(&self, actor: &Actor, id: ImageId) -> Result<()> {
        let actor = actor.clone();
        let now = self.deps.clock.now();
        let write = move |connection: &rusqlite::Connection| {
            let unknown = || Error::not_found(format!("Failed to find image {id} to delete"));
            let image = images::get(connection, id)?.ok_or_else(unknown)?;
            must_see(&image, &actor, unknown)?;
            if !image.mutable_by(&actor) {
                return Err(not_authorized("delete_image"));
            }
            if image.protected {
                return Err(Error::forbidden(format!("Image {id} is protected and cannot be deleted.")));
            }
            images::delete(connection, id, now)?;
            Ok(())
        };
        self.deps.store.write(write).await?;
        // The image is gone already; bytes that stay behind, for whatever reason, are removed by the next sweep.
        if let Err(error) = self.remove_unwanted(id).await {
            tracing::error!(image = %id, %error, "the bytes of a deleted image could not be removed");
        }
        Ok(())
    }

    /// Adds one tag.
    ///
    /// # Errors
    /// Unknown image, not the caller's, too many tags.
    pub async fn add_tag(&self, actor: &Actor, id: ImageId, tag: String) -> Result<()> {
        let actor = actor.clone();
        self.change(id, move |image| {
            check_tags_mutable(image, &actor, "update")?;
            image.add_tag(tag)?;
            Ok(true)
        })
        .await
        .map(|_| ())
    }

    /// Removes one tag.
    ///
    /// # Errors
    /// Unknown image or tag, not the caller's.
    pub async fn remove_tag(&self, actor: &Actor, id: ImageId, tag: String) -> Result<()> {
        let actor = actor.clone();
        self.change(id, move |image| {
            check_tags_mutable(image, &actor, "delete")?;
            if image.tags.remove(&tag) {
                return Ok(true);
            }
            Err(Error::not_found("The resource could not be found."))
        })
        .await
        .map(|_| ())
    }

    /// Keeps an image from being read, or allows it again.
    ///
    /// # Errors
    /// Unknown image, not the caller's, or it has no bytes.
    pub async fn set_active(&self, actor: &Actor, id: ImageId, active: bool) -> Result<()> {
        let actor = actor.clone();
        let (verb, from, to) = if active {
            ("reactivate", Status::Deactivated, Status::Active)
        } else {
            ("deactivate", Status::Active, Status::Deactivated)
        };
        self.change(id, move |image| {
            must_see(image, &actor, || unknown(id))?;
            if !image.mutable_by(&actor) {
                return Err(not_authorized(verb));
            }
            if image.status == to {
                return Ok(false);
            }
            if image.status != from {
                return Err(Error::forbidden(format!(
                    "Not allowed to {verb} image in status '{}'",
                    image.status
                )));
            }
            image.become_status(to)?;
            Ok(true)
        })
        .await
        .map(|_| ())
    }

    /// Changes an image in one transaction. `change` says whether there is anything to write.
    async fn change(
        &self,
        id: ImageId,
        change: impl FnOnce(&mut Image) -> Result<bool> + Send + 'static,
    ) -> Result<Image> {
        let now = self.deps.clock.now();
        let write = move |connection: &rusqlite::Connection| {
            let mut image = images::get(connection, id)?.ok_or_else(|| unknown(id))?;
            if change(&mut image)? {
                image.updated_at = now;
                images::update(connection, &image)?;
            }
            Ok(image)
        };
        self.deps.store.write(write).await
    }
}

fn unknown_words(id: &str) -> String {
    format!("No image found with ID {id}")
}

fn unknown(id: ImageId) -> Error {
    Error::not_found(unknown_words(&id.to_string()))
}

/// What the caller may not see does not exist for him.
fn must_see(image: &Image, actor: &Actor, otherwise: impl FnOnce() -> Error) -> Result<()> {
    if image.visible_to(actor) { Ok(()) } else { Err(otherwise()) }
}

fn visible(connection: &rusqlite::Connection, actor: &Actor, id: ImageId) -> Result<Image> {
    images::get(connection, id)?.filter(|image| image.visible_to(actor)).ok_or_else(|| unknown(id))
}

fn check_tags_mutable(image: &Image, actor: &Actor, verb: &str) -> Result<()> {
    must_see(image, actor, || Error::not_found(format!("Image {} not found.", image.id)))?;
    if image.mutable_by(actor) {
        return Ok(());
    }
    Err(Error::forbidden(format!("Not allowed to {verb} tags for image {}.", image.id)))
}
