//! What a list of images may be narrowed, sorted and cut by.

use super::{Image, MemberStatus, Visibility};
use crate::core::actor::Actor;
use crate::core::ids::ProjectId;
use std::cmp::Ordering;

/// Columns of text that a filter may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextField {
    Id,
    Name,
    Status,
    ContainerFormat,
    DiskFormat,
    Owner,
    Md5,
    Sha512,
}

/// Columns of whole numbers that a filter may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberField {
    /// Bytes.
    Size,
    /// Bytes.
    VirtualSize,
    /// GiB.
    MinDisk,
    /// MiB.
    MinRam,
    /// Whole seconds since the epoch.
    CreatedAt,
    /// Whole seconds since the epoch.
    UpdatedAt,
}

/// How a number relates to the one in the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Is(Ordering),
    IsNot(Ordering),
}

impl Comparison {
    pub const EQUAL: Self = Self::Is(Ordering::Equal);
    pub const AT_LEAST: Self = Self::IsNot(Ordering::Less);
    pub const AT_MOST: Self = Self::IsNot(Ordering::Greater);
}

/// One thing that every image in the list has to satisfy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The text is one of these.
    OneOf(TextField, Vec<String>),
    Number(NumberField, Comparison, i64),
    Protected(bool),
    Property(String, String),
    Tag(String),
    /// Satisfied by no image: the filter asks for something that none can have.
    Never,
}

/// Which of the visible images a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// All that are visible, but of community images only the caller's own.
    #[default]
    Usual,
    /// Community images of others as well.
    Everything,
    Only(Visibility),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortKey {
    Name,
    Status,
    ContainerFormat,
    DiskFormat,
    Size,
    Id,
    CreatedAt,
    UpdatedAt,
}

impl SortKey {
    /// By the API's names, in the order in which it lists them.
    pub const NAMES: [(&'static str, Self); 8] = [
        ("name", Self::Name),
        ("status", Self::Status),
        ("container_format", Self::ContainerFormat),
        ("disk_format", Self::DiskFormat),
        ("size", Self::Size),
        ("id", Self::Id),
        ("created_at", Self::CreatedAt),
        ("updated_at", Self::UpdatedAt),
    ];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Ascending,
    Descending,
}

/// In whose name a list is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer {
    pub project: Option<ProjectId>,
    pub admin: bool,
}

impl From<&Actor> for Viewer {
    fn from(actor: &Actor) -> Self {
        Self { project: actor.project_id.clone(), admin: actor.is_admin() }
    }
}

/// One page of a list of images.
#[derive(Debug, Clone)]
pub struct ImageQuery {
    pub conditions: Vec<Condition>,
    pub scope: Scope,
    /// What the caller's project answered for images shared with it; `None` for any answer.
    pub member_status: Option<MemberStatus>,
    pub hidden: bool,
    /// The keys in their order; creation time and id are added by the store where they are missing.
    pub sort: Vec<(SortKey, Direction)>,
    /// The direction of the keys that are added.
    pub tie_direction: Direction,
    /// The last image of the page before.
    pub after: Option<Image>,
    pub limit: usize,
}

impl Default for ImageQuery {
    fn default() -> Self {
        Self {
            conditions: Vec::new(),
            scope: Scope::Usual,
            member_status: Some(MemberStatus::Accepted),
            hidden: false,
            sort: Vec::new(),
            tie_direction: Direction::Descending,
            after: None,
            limit: 25,
        }
    }
}
