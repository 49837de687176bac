//! Whom an image is shared with.
//!
//! The owner says with whom; only the other project says whether it wants it. A project that an image is shared with sees no
//! other members.

use super::{ImageService, must_see};
use crate::core::actor::Actor;
use crate::core::ids::{ImageId, ProjectId};
use crate::core::image::{Image, MEMBER_LIMIT, Member, MemberStatus, Visibility};
use crate::core::{Error, Kind, Result};
use crate::store::{image_members, images};
use rusqlite::Connection;

impl ImageService {
    /// The members that the caller sees.
    ///
    /// # Errors
    /// Unknown image, or one that is not shared.
    pub async fn members(&self, actor: &Actor, id: ImageId) -> Result<Vec<Member>> {
        let actor = actor.clone();
        let read = move |connection: &Connection| {
            let image = image(connection, &actor, id)?;
            if let Err(why) = shared(&image) {
                return Err(Error::forbidden(format!(
                    "Not allowed to list members for image {id}: {}",
                    why.message()
                )));
            }
            let mut members = image_members::list(connection, id)?;
            members.retain(|member| sees(&actor, &image, &member.project_id));
            Ok(members)
        };
        self.deps.store.read(read).await
    }

    /// One member.
    ///
    /// # Errors
    /// Unknown image or member, or an image that is not shared.
    pub async fn member(&self, actor: &Actor, id: ImageId, project: ProjectId) -> Result<Member> {
        let actor = actor.clone();
        let read = move |connection: &Connection| {
            let image = image(connection, &actor, id)?;
            shared(&image).map_err(|why| Error::not_found(why.message()))?;
            member(connection, &actor, &image, &project)
        };
        self.deps.store.read(read).await
    }

    /// Shares an image with a project, which has yet to accept.
    ///
    /// # Errors
    /// Unknown image, not the caller's or not shared, a project that is a member already, too many members.
    pub async fn add_member(&self, actor: &Actor, id: ImageId, project: ProjectId) -> Result<Member> {
        let actor = actor.clone();
        let now = self.deps.clock.now();
        let write = move |connection: &Connection| {
            let image = image(connection, &actor, id)?;
            if shared(&image).is_err() || !image.mutable_by(&actor) {
                return Err(Error::forbidden(format!("Not allowed to create members for image {id}.")));
            }
            let attempted = image.members.len() + 1;
            if attempted > MEMBER_LIMIT {
                return Err(Error::new(
                    Kind::TooLarge,
                    format!(
                        "Image member limit exceeded for image {id}: The limit has been exceeded on the number of \
                         allowed image members for this image. Attempted: {attempted}, Maximum: {MEMBER_LIMIT}:"
                    ),
                ));
            }
            let member = Member {
                image_id: id,
                project_id: project,
                status: MemberStatus::Pending,
                created_at: now,
                updated_at: now,
            };
            if image_members::insert(connection, &member)? {
                return Ok(member);
            }
            Err(Error::conflict(format!("Member {} is duplicated for image {id}", member.project_id)))
        };
        self.deps.store.write(write).await
    }

    /// Says whether the member wants the image in its lists; the member itself says so, or an administrator.
    ///
    /// # Errors
    /// Unknown image or member, an image that is not shared, or somebody else's membership.
    pub async fn answer_membership(
        &self,
        actor: &Actor,
        id: ImageId,
        project: ProjectId,
        status: MemberStatus,
    ) -> Result<Member> {
        let actor = actor.clone();
        let now = self.deps.clock.now();
        let write = move |connection: &Connection| {
            let image = image(connection, &actor, id)?;
            let refused = || Error::forbidden(format!("Not allowed to update members for image {id}."));
            let own = image.owner.as_ref().is_some_and(|owner| actor.owns(owner));
            if shared(&image).is_err() || (own && !actor.is_admin()) {
                return Err(refused());
            }
            let mut member = member(connection, &actor, &image, &project)?;
            if !actor.is_admin() && !actor.roles.member {
                return Err(refused());
            }
            image_members::set_status(connection, id, &project, status, now)?;
            member.status = status;
            member.updated_at = now;
            Ok(member)
        };
        self.deps.store.write(write).await
    }

    /// Shares an image with a project no longer.
    ///
    /// # Errors
    /// Unknown image or member, not the caller's image, or one that is not shared.
    pub async fn remove_member(&self, actor: &Actor, id: ImageId, project: ProjectId) -> Result<()> {
        let actor = actor.clone();
        let write = move |connection: &Connection| {
            let image = image(connection, &actor, id)?;
            if shared(&image).is_err() || !image.mutable_by(&actor) {
                return Err(Error::forbidden(format!("Not allowed to delete members for image {id}.")));
            }
            member(connection, &actor, &image, &project)?;
            image_members::delete(connection, id, &project)?;
            Ok(())
        };
        self.deps.store.write(write).await
    }
}

fn image(connection: &Connection, actor: &Actor, id: ImageId) -> Result<Image> {
    let unknown = || Error::not_found(format!("Image {id} not found."));
    let image = images::get(connection, id)?.ok_or_else(unknown)?;
    must_see(&image, actor, unknown)?;
    Ok(image)
}

fn shared(image: &Image) -> Result<()> {
    if image.visibility == Visibility::Shared {
        return Ok(());
    }
    Err(Error::forbidden("Only shared images have members."))
}

fn sees(actor: &Actor, image: &Image, project: &ProjectId) -> bool {
    actor.is_admin() || actor.owns(project) || image.owner.as_ref().is_some_and(|owner| actor.owns(owner))
}

fn member(connection: &Connection, actor: &Actor, image: &Image, project: &ProjectId) -> Result<Member> {
    image_members::get(connection, image.id, project)?.filter(|_| sees(actor, image, project)).ok_or_else(
        || Error::not_found(format!("{project} not found in the member list of the image {}.", image.id)),
    )
}
