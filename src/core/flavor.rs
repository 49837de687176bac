//! Flavors: the sizes that servers come in. Data only; servers keep a copy of their own.

use super::ids::ProjectId;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// A flavor as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Flavor {
    /// Counts flavors from 1; names the row.
    pub number: i64,
    /// The public id: any text without blanks at its ends.
    pub id: String,
    pub name: String,
    pub description: Option<String>,
    pub vcpus: u32,
    pub ram_mib: u64,
    /// The root disk; 0 leaves its size to the image.
    pub disk_gib: u64,
    pub ephemeral_gib: u64,
    pub swap_mib: u64,
    /// Means nothing here; kept because older clients read it.
    pub rxtx_factor: f64,
    pub is_public: bool,
    pub disabled: bool,
    pub extra_specs: BTreeMap<String, String>,
    pub created_at: Timestamp,
    pub updated_at: Option<Timestamp>,
}

/// What a new flavor is to be.
#[derive(Debug, Clone)]
pub struct NewFlavor {
    /// `None`: one is made.
    pub id: Option<String>,
    pub name: String,
    pub description: Option<String>,
    pub vcpus: u32,
    pub ram_mib: u64,
    pub disk_gib: u64,
    pub ephemeral_gib: u64,
    pub swap_mib: u64,
    pub rxtx_factor: f64,
    pub is_public: bool,
}

/// Which flavors a list shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visibility {
    /// Public ones and those that the project was given access to, unless disabled.
    Usable(ProjectId),
    /// As an administrator asked: public (with those of the own project), private, or all.
    Public(Option<ProjectId>),
    Private,
    All,
}

/// By what a list is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlavorSort {
    CreatedAt,
    Description,
    Disabled,
    EphemeralGib,
    Id,
    Number,
    IsPublic,
    RamMib,
    Name,
    DiskGib,
    RxtxFactor,
    SwapMib,
    UpdatedAt,
    Vcpus,
}

impl FlavorSort {
    /// The order that a `sort_key` names. `vcpu_weight` is never set and so orders nothing.
    pub fn from_key(key: &str) -> Option<Self> {
        Some(match key {
            "created_at" => Self::CreatedAt,
            "description" => Self::Description,
            "disabled" => Self::Disabled,
            "ephemeral_gb" => Self::EphemeralGib,
            "flavorid" => Self::Id,
            "id" | "vcpu_weight" => Self::Number,
            "is_public" => Self::IsPublic,
            "memory_mb" => Self::RamMib,
            "name" => Self::Name,
            "root_gb" => Self::DiskGib,
            "rxtx_factor" => Self::RxtxFactor,
            "swap" => Self::SwapMib,
            "updated_at" => Self::UpdatedAt,
            "vcpus" => Self::Vcpus,
            _ => return None,
        })
    }
}

/// One page of a list of flavors.
#[derive(Debug, Clone)]
pub struct FlavorQuery {
    pub visibility: Visibility,
    pub min_ram_mib: Option<i64>,
    pub min_disk_gib: Option<i64>,
    /// A regular expression on the name.
    pub name: Option<String>,
    pub sort: FlavorSort,
    pub descending: bool,
    pub limit: usize,
    /// The id of the last flavor of the page before.
    pub marker: Option<String>,
}

/// The flavors that a new cloud starts with: Nova's classic five, and two that suit small test images.
pub fn defaults() -> Vec<NewFlavor> {
    let rows: [(&str, &str, u32, u64, u64); 7] = [
        ("1", "m1.tiny", 1, 512, 1),
        ("2", "m1.small", 1, 2048, 20),
        ("3", "m1.medium", 2, 4096, 40),
        ("4", "m1.large", 4, 8192, 80),
        ("5", "m1.xlarge", 8, 16384, 160),
        ("42", "m1.nano", 1, 128, 1),
        ("84", "m1.micro", 1, 256, 2),
    ];
    rows.into_iter()
        .map(|(id, name, vcpus, ram_mib, disk_gib)| NewFlavor {
            id: Some(id.to_owned()),
            name: name.to_owned(),
            description: None,
            vcpus,
            ram_mib,
            disk_gib,
            ephemeral_gib: 0,
            swap_mib: 0,
            rxtx_factor: 1.0,
            is_public: true,
        })
        .collect()
}
