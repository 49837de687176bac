//! Images of servers: the image's row is made together with the task that fills it.

use super::Servers;
use super::actions::set_going;
use crate::core::actor::Actor;
use crate::core::ids::{ImageId, ServerId};
use crate::core::image::{Image, Member, MemberStatus};
use crate::core::quota::Resource;
use crate::core::server::Server;
use crate::core::server::action::Action;
use crate::core::server::decide::decide;
use crate::core::server::snapshot::{self, Origin, Rotation, Wanted};
use crate::core::service::images::check_count;
use crate::core::workflow::server_snapshot::{ServerSnapshot, SnapshotState};
use crate::core::{Error, Result};
use crate::store::identity::{projects, users};
use crate::store::{Connection, image_members, images, quotas};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// An image that is asked for.
#[derive(Debug, Clone)]
pub struct NewImage {
    pub name: String,
    /// Properties of the image.
    pub metadata: BTreeMap<String, String>,
    /// Whether the project's limit for metadata counts, as it did once.
    pub limited: bool,
}

impl Servers {
    /// Begins to make an image of the server's root disk. The guest goes on.
    ///
    /// # Errors
    /// Unknown server, a state that does not allow it, limits.
    pub async fn create_image(&self, actor: &Actor, id: ServerId, wanted: NewImage) -> Result<ImageId> {
        self.make_image(actor, id, Action::CreateImage, wanted, None).await
    }

    /// Begins to make an image as [`Servers::create_image`] does, and to delete the oldest of its kind beyond those kept.
    ///
    /// # Errors
    /// As [`Servers::create_image`].
    pub async fn create_backup(
        &self,
        actor: &Actor,
        id: ServerId,
        wanted: NewImage,
        rotation: Rotation,
    ) -> Result<ImageId> {
        self.make_image(actor, id, Action::CreateBackup, wanted, Some(rotation)).await
    }

    async fn make_image(
        &self,
        actor: &Actor,
        id: ServerId,
        action: Action,
        wanted: NewImage,
        rotation: Option<Rotation>,
    ) -> Result<ImageId> {
        let image = self
            .change(actor, id, move |c, actor, server, now| {
                if wanted.limited {
                    check_metadata(c, actor, &wanted)?;
                }
                decide(&server, action, actor)?;
                let mut properties = wanted.metadata;
                let mut kind = "snapshot";
                if let Some(rotation) = &rotation {
                    kind = "backup";
                    properties.insert("backup_type".into(), rotation.kind.clone());
                }
                let image =
                    insert_image(c, actor, &server, Wanted { name: wanted.name, kind, properties }, now)?;
                set_going::<ServerSnapshot, _>(c, actor, &server, action, now, |task| SnapshotState {
                    task,
                    image,
                    rotation,
                })?;
                Ok(image)
            })
            .await?;
        Ok(image)
    }
}

fn check_metadata(c: &Connection, actor: &Actor, wanted: &NewImage) -> Result<()> {
    let limits = quotas::user_limits(c, super::project_of(actor)?, &actor.user_id)?;
    let count = i64::try_from(wanted.metadata.len()).unwrap_or(i64::MAX);
    if limits.allows(Resource::MetadataItems, 0, count) {
        return Ok(());
    }
    Err(Error::quota("Image metadata limit exceeded"))
}

/// Makes the row of an image of the server, still without bytes.
pub(super) fn insert_image(
    c: &Connection,
    actor: &Actor,
    server: &Server,
    wanted: Wanted,
    now: Timestamp,
) -> Result<ImageId> {
    let (min_disk, min_ram) = match server.image_id {
        Some(id) => images::minimums(c, id)?.unwrap_or_default(),
        None => (0, 0),
    };
    let origin = Origin {
        min_disk,
        min_ram,
        user_name: users::get(c, &server.user_id)?.map(|user| user.name),
        project_name: projects::get(c, &server.project_id)?.map(|project| project.name),
    };
    let image: Image = snapshot::image(server, wanted, &origin, actor, now)?;
    check_count(c, &image)?;
    images::insert(c, &image)?;
    for project in &image.members {
        let member = Member {
            image_id: image.id,
            project_id: project.clone(),
            status: MemberStatus::Accepted,
            created_at: now,
            updated_at: now,
        };
        image_members::insert(c, &member)?;
    }
    Ok(image.id)
}
