//! What an image is: its attributes, who may see it, and the states that it goes through.
//!
//! Data and rules only. The bytes lie with the host; their facts come in as [`Facts`].
//!
//! ```text
//! queued --upload--> saving --------> active <--> deactivated
//!    \----stage---> uploading --import--^
//! (a failed or interrupted upload goes back to queued; every state but deleted leads to deleted)
//! ```

mod change;
pub mod names;
pub mod query;

pub use change::{Attribute, Change};

use super::actor::Actor;
use super::ids::{ImageId, ImportId, ProjectId, RequestId, UserId};
use super::{Error, Result};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// The most custom properties, tags and members that one image may have.
pub const PROPERTY_LIMIT: usize = 128;
pub const TAG_LIMIT: usize = 128;
pub const MEMBER_LIMIT: usize = 128;
/// Properties with this prefix are the service's own.
pub const RESERVED_PREFIX: &str = "os_glance";

/// A word that is none of those that are known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not one of the known words")]
pub struct UnknownWord(pub String);

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$note:meta])* $variant:ident = $text:literal),+ $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$note])* $variant),+
        }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word that the API uses.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(UnknownWord(text.to_owned())),
                }
            }
        }
    )*};
}

words! {
    Status {
        /// Known by name; no bytes yet.
        Queued = "queued",
        /// Bytes are coming in.
        Saving = "saving",
        /// Bytes are coming in, or lie here, for an import that was not asked for yet.
        Uploading = "uploading",
        Importing = "importing",
        Active = "active",
        /// Has its bytes, but only administrators may read them.
        Deactivated = "deactivated",
        Killed = "killed",
        Deleted = "deleted",
    }

    Visibility {
        Community = "community",
        Public = "public",
        Private = "private",
        /// Private, and visible to the projects that are its members.
        Shared = "shared",
    }

    DiskFormat {
        Ami = "ami",
        Ari = "ari",
        Aki = "aki",
        Vhd = "vhd",
        Vhdx = "vhdx",
        Vmdk = "vmdk",
        Raw = "raw",
        Qcow2 = "qcow2",
        Vdi = "vdi",
        Iso = "iso",
        Ploop = "ploop",
    }

    ContainerFormat {
        Ami = "ami",
        Ari = "ari",
        Aki = "aki",
        Bare = "bare",
        Ovf = "ovf",
        Ova = "ova",
        Docker = "docker",
        Compressed = "compressed",
    }

    /// What a project answered to being made a member of a shared image.
    MemberStatus {
        Pending = "pending",
        Accepted = "accepted",
        Rejected = "rejected",
    }
}

impl Status {
    /// Whether the image may go from here to `next`.
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Queued => {
                matches!(
                    next,
                    Self::Saving | Self::Uploading | Self::Importing | Self::Active | Self::Deleted
                )
            }
            Self::Saving => matches!(next, Self::Active | Self::Killed | Self::Deleted | Self::Queued),
            Self::Uploading => matches!(next, Self::Importing | Self::Queued | Self::Deleted),
            Self::Importing => matches!(next, Self::Active | Self::Deleted | Self::Queued),
            Self::Active => matches!(next, Self::Deleted | Self::Deactivated),
            Self::Killed => next == Self::Deleted,
            Self::Deleted => false,
            Self::Deactivated => matches!(next, Self::Active | Self::Deleted),
        }
    }
}

impl ContainerFormat {
    /// Whether the bytes are the disk itself, and not an archive around it.
    pub fn is_bare(self) -> bool {
        matches!(self, Self::Bare | Self::Ami | Self::Ari | Self::Aki)
    }
}

/// What is known of an image's bytes once they are all here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Size of the file, in bytes.
    pub size: u64,
    /// Size of the disk that a guest sees, in bytes; `None` where the bytes are no disk.
    pub virtual_size: Option<u64>,
    /// In hexadecimal digits, as `checksum` shows it.
    pub md5: String,
    /// In hexadecimal digits, as `os_hash_value` shows it.
    pub sha512: String,
    /// The format that the file has, by the API's name: what disks over it are opened with.
    pub file_format: String,
}

/// An image: what is known of it, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub id: ImageId,
    /// The project that it belongs to; an image without an owner is visible to all.
    pub owner: Option<ProjectId>,
    pub name: Option<String>,
    pub status: Status,
    pub visibility: Visibility,
    pub disk_format: Option<DiskFormat>,
    pub container_format: Option<ContainerFormat>,
    /// The smallest root disk that it boots from, in GiB.
    pub min_disk: u32,
    /// The least memory that it boots with, in MiB.
    pub min_ram: u32,
    pub protected: bool,
    /// Left out of lists that do not ask for hidden images.
    pub hidden: bool,
    /// Size of the file, in bytes.
    pub size: Option<u64>,
    /// Size of the disk that a guest sees, in bytes.
    pub virtual_size: Option<u64>,
    pub md5: Option<String>,
    pub sha512: Option<String>,
    /// The format that the stored file has; set exactly while there is one.
    pub file_format: Option<String>,
    /// Custom properties. Only those that the API's schema allows to be null ever are.
    pub properties: BTreeMap<String, Option<String>>,
    pub tags: BTreeSet<String>,
    /// The projects that a shared image is shared with, whatever they answered.
    pub members: BTreeSet<ProjectId>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Image {
    /// A queued image without bytes, as `actor` asks for it.
    ///
    /// # Errors
    /// What `actor` may not set, and values out of bounds.
    pub fn new(id: ImageId, attributes: &[Attribute], actor: &Actor, now: Timestamp) -> Result<Self> {
        let mut image = Self {
            id,
            owner: actor.project_id.clone(),
            name: None,
            status: Status::Queued,
            visibility: Visibility::Shared,
            disk_format: None,
            container_format: None,
            min_disk: 0,
            min_ram: 0,
            protected: false,
            hidden: false,
            size: None,
            virtual_size: None,
            md5: None,
            sha512: None,
            file_format: None,
            properties: BTreeMap::new(),
            tags: BTreeSet::new(),
            members: BTreeSet::new(),
            created_at: now,
            updated_at: now,
        };
        for attribute in attributes {
            if let Attribute::Owner(owner) = attribute
                && !actor.is_admin()
                && *owner != image.owner
            {
                let owner = owner.as_ref().map_or("None", ProjectId::as_str);
                return Err(Error::forbidden(format!(
                    "You are not permitted to create images owned by '{owner}'"
                )));
            }
            attribute.check_visibility(actor)?;
            image.set(attribute.clone())?;
        }
        image.check_property_limit()?;
        Ok(image)
    }

    /// Whether the caller may know of the image at all. To everybody else it does not exist.
    pub fn visible_to(&self, actor: &Actor) -> bool {
        if actor.is_admin() {
            return true;
        }
        let Some(owner) = &self.owner else { return true };
        match self.visibility {
            Visibility::Public | Visibility::Community => true,
            Visibility::Private => actor.owns(owner),
            Visibility::Shared => {
                actor.owns(owner)
                    || actor.project_id.as_ref().is_some_and(|project| self.members.contains(project))
            }
        }
    }

    /// Whether the caller may change the image: its owner and administrators.
    pub fn mutable_by(&self, actor: &Actor) -> bool {
        actor.is_admin() || (actor.roles.member && self.owner.as_ref().is_some_and(|owner| actor.owns(owner)))
    }

    /// Applies one change as `actor`.
    ///
    /// # Errors
    /// What the caller may not change, what cannot be changed in this state, and values out of bounds.
    pub fn apply(&mut self, change: Change, actor: &Actor) -> Result<()> {
        if !self.mutable_by(actor) {
            return Err(not_authorized("modify_image"));
        }
        match change {
            Change::Add(attribute) => self.change(attribute, actor),
            Change::AddNew(attribute) => match attribute.property_name() {
                Some(name) if !self.properties.contains_key(name) => self.change(attribute, actor),
                _ => Err(Error::conflict(format!("Property {} already present.", attribute.name()))),
            },
            Change::Replace(attribute) => match attribute.property_name() {
                Some(name) if !self.properties.contains_key(name) => Err(missing_property(name)),
                _ => self.change(attribute, actor),
            },
            Change::RemoveProperty(name) => match self.properties.remove(&name) {
                Some(_) => Ok(()),
                None => Err(missing_property(&name)),
            },
            Change::RemoveBase(name) => Err(Error::forbidden(format!("Property {name} may not be removed."))),
        }
    }

    /// The file's format, for a caller that wants to boot a disk from it; `None` while there is nothing to boot.
    pub fn boot_format(&self) -> Option<&str> {
        let bare = self.container_format.is_some_and(ContainerFormat::is_bare);
        (bare && self.status == Status::Active).then_some(self.file_format.as_deref()).flatten()
    }

    /// What uploads and imports need to have been told first.
    ///
    /// # Errors
    /// Names the attributes that are missing.
    pub fn formats(&self) -> Result<(DiskFormat, ContainerFormat)> {
        match (self.disk_format, self.container_format) {
            (Some(disk), Some(container)) => Ok((disk, container)),
            (None, Some(_)) => Err(Error::invalid("Property disk_format must be set prior to saving data.")),
            (Some(_), None) => {
                Err(Error::invalid("Property container_format must be set prior to saving data."))
            }
            (None, None) => Err(Error::invalid(
                "Properties disk_format, container_format must be set prior to saving data.",
            )),
        }
    }

    /// Moves the image to another state.
    ///
    /// # Errors
    /// The state diagram does not have that way.
    pub fn become_status(&mut self, next: Status) -> Result<()> {
        if !self.status.may_become(next) {
            return Err(Error::invalid_state(format!(
                "Image status transition from {} to {next} is not allowed",
                self.status
            )));
        }
        self.status = next;
        Ok(())
    }

    /// Takes over what is known of the bytes, which are all here.
    pub fn take_facts(&mut self, facts: Facts) {
        self.size = Some(facts.size);
        self.virtual_size = facts.virtual_size;
        self.md5 = Some(facts.md5);
        self.sha512 = Some(facts.sha512);
        self.file_format = Some(facts.file_format);
    }

    /// Forgets the bytes.
    pub fn forget_facts(&mut self) {
        self.size = None;
        self.virtual_size = None;
        self.md5 = None;
        self.sha512 = None;
        self.file_format = None;
    }
}

/// One project that a shared image is shared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub image_id: ImageId,
    pub project_id: ProjectId,
    pub status: MemberStatus,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// An import that was asked for, and is done: what was staged was inspected when it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Import {
    pub id: ImportId,
    pub image_id: ImageId,
    pub project_id: Option<ProjectId>,
    pub user_id: UserId,
    pub request_id: RequestId,
    /// The request's body.
    pub request: Value,
    pub created_at: Timestamp,
}

/// What a project uses of an image resource, and how much it may; -1 is without limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    pub resource: &'static str,
    pub usage: u64,
    pub limit: i64,
}

/// The 403 for somebody who sees an image but may not do `action` to it.
pub fn not_authorized(action: &str) -> Error {
    Error::forbidden(format!("You are not authorized to complete {action} action."))
}

fn missing_property(name: &str) -> Error {
    Error::conflict(format!("Property {name} does not exist."))
}

#[cfg(test)]
mod tests;
