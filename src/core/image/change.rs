//! What can be changed on an image, and the checks that go with it.

use super::{
    ContainerFormat, DiskFormat, Image, PROPERTY_LIMIT, Status, TAG_LIMIT, Visibility, not_authorized,
};
use crate::core::actor::Actor;
use crate::core::ids::ProjectId;
use crate::core::{Error, Kind, Result};
use std::collections::BTreeSet;

/// One attribute with the value it is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    Name(Option<String>),
    Visibility(Visibility),
    Owner(Option<ProjectId>),
    DiskFormat(Option<DiskFormat>),
    ContainerFormat(Option<ContainerFormat>),
    /// In GiB.
    MinDisk(i64),
    /// In MiB.
    MinRam(i64),
    Protected(bool),
    Hidden(bool),
    Tags(BTreeSet<String>),
    Property(String, Option<String>),
}

impl Attribute {
    /// The attribute's name in the API.
    pub fn name(&self) -> &str {
        match self {
            Self::Name(_) => "name",
            Self::Visibility(_) => "visibility",
            Self::Owner(_) => "owner",
            Self::DiskFormat(_) => "disk_format",
            Self::ContainerFormat(_) => "container_format",
            Self::MinDisk(_) => "min_disk",
            Self::MinRam(_) => "min_ram",
            Self::Protected(_) => "protected",
            Self::Hidden(_) => "os_hidden",
            Self::Tags(_) => "tags",
            Self::Property(name, _) => name,
        }
    }

    /// The name of a custom property; `None` for what every image has.
    pub fn property_name(&self) -> Option<&str> {
        match self {
            Self::Property(name, _) => Some(name),
            _ => None,
        }
    }
}

/// One step of an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Sets, whether or not it was there.
    Add(Attribute),
    /// Sets what must not be there yet: how the older of the two patch formats means "add".
    AddNew(Attribute),
    /// Sets what must be there already.
    Replace(Attribute),
    RemoveProperty(String),
    /// Names something that every image has, and that cannot be removed.
    RemoveBase(String),
}

impl Attribute {
    /// Whether the actor may make an image so visible.
    pub(super) fn check_visibility(&self, actor: &Actor) -> Result<()> {
        match self {
            Self::Visibility(Visibility::Public) if !actor.is_admin() => {
                Err(not_authorized("publicize_image"))
            }
            _ => Ok(()),
        }
    }
}

impl Image {
    pub(super) fn change(&mut self, attribute: Attribute, actor: &Actor) -> Result<()> {
        match attribute {
            Attribute::Owner(_) if !actor.is_admin() => {
                return Err(Error::forbidden("Owner can't be updated by non admin."));
            }
            Attribute::DiskFormat(_) | Attribute::ContainerFormat(_)
                if !matches!(self.status, Status::Queued | Status::Importing) =>
            {
                return Err(Error::forbidden(format!(
                    "Attribute {} can be only replaced for a queued image.",
                    attribute.name()
                )));
            }
            _ => {}
        }
        attribute.check_visibility(actor)?;
        let new_property = attribute.property_name().is_some_and(|name| !self.properties.contains_key(name));
        self.set(attribute)?;
        if new_property { self.check_property_limit() } else { Ok(()) }
    }

    pub(super) fn set(&mut self, attribute: Attribute) -> Result<()> {
        match attribute {
            Attribute::Name(name) => self.name = name,
            Attribute::Visibility(visibility) => self.visibility = visibility,
            Attribute::Owner(owner) => self.owner = owner,
            Attribute::DiskFormat(format) => self.disk_format = format,
            Attribute::ContainerFormat(format) => self.container_format = format,
            Attribute::MinDisk(gib) => self.min_disk = minimum("min_disk", gib)?,
            Attribute::MinRam(mib) => self.min_ram = minimum("min_ram", mib)?,
            Attribute::Protected(protected) => self.protected = protected,
            Attribute::Hidden(hidden) => self.hidden = hidden,
            Attribute::Tags(tags) => {
                check_tag_limit(tags.len())?;
                self.tags = tags;
            }
            Attribute::Property(name, value) => {
                self.properties.insert(name, value);
            }
        }
        Ok(())
    }

    /// Adds one tag.
    ///
    /// # Errors
    /// There are too many already.
    pub fn add_tag(&mut self, tag: String) -> Result<()> {
        self.tags.insert(tag);
        check_tag_limit(self.tags.len())
    }

    pub(in crate::core) fn check_property_limit(&self) -> Result<()> {
        if self.properties.len() <= PROPERTY_LIMIT {
            return Ok(());
        }
        Err(Error::new(
            Kind::TooLarge,
            format!(
                "The limit has been exceeded on the number of allowed image properties. Attempted: {}, Maximum: {PROPERTY_LIMIT}",
                self.properties.len()
            ),
        ))
    }
}

fn check_tag_limit(count: usize) -> Result<()> {
    if count <= TAG_LIMIT {
        return Ok(());
    }
    Err(Error::new(
        Kind::TooLarge,
        format!(
            "The limit has been exceeded on the number of allowed image tags. Attempted: {count}, Maximum: {TAG_LIMIT}"
        ),
    ))
}

/// A `min_disk` or `min_ram`, which the API takes from 0 to 2^31 - 1.
fn minimum(name: &str, value: i64) -> Result<u32> {
    if value < 0 {
        return Err(Error::invalid(format!(
            "Invalid value '{value}' for parameter '{name}': Cannot be a negative value"
        )));
    }
    u32::try_from(value)
        .ok()
        .filter(|value| *value <= i32::MAX.cast_unsigned())
        .ok_or_else(|| Error::invalid(format!("'{name}' value out of range, must not exceed {}.", i32::MAX)))
}
