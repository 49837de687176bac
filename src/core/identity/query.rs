//! What can be asked of identity's lists. `None` is any.

use super::{Grantee, Target};
use crate::core::ids::{GroupId, RoleId, UserId};

/// Which part of a list is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    pub limit: Option<u32>,
    /// The id of the last member of the page before.
    pub marker: Option<String>,
}

#[derive(Debug, Default, Clone)]
pub struct WantedDomains {
    pub name: Option<String>,
    pub enabled: Option<bool>,
    pub page: Page,
}

#[derive(Debug, Default, Clone)]
pub struct WantedProjects {
    pub name: Option<String>,
    pub domain_id: Option<String>,
    pub parent_id: Option<String>,
    pub enabled: Option<bool>,
    /// All of these tags.
    pub tags: Vec<String>,
    /// At least one of these tags.
    pub tags_any: Vec<String>,
    /// Not all of these tags.
    pub not_tags: Vec<String>,
    /// None of these tags.
    pub not_tags_any: Vec<String>,
    pub page: Page,
}

#[derive(Debug, Default, Clone)]
pub struct WantedUsers {
    pub name: Option<String>,
    pub domain_id: Option<String>,
    pub enabled: Option<bool>,
    pub group: Option<GroupId>,
    pub page: Page,
}

#[derive(Debug, Default, Clone)]
pub struct WantedGroups {
    pub name: Option<String>,
    pub domain_id: Option<String>,
    /// Groups of this user.
    pub member: Option<UserId>,
    pub page: Page,
}

#[derive(Debug, Default, Clone)]
pub struct WantedRoles {
    pub name: Option<String>,
    /// The roles of this domain; without one, the roles that belong to none.
    pub domain_id: Option<String>,
    pub page: Page,
}

#[derive(Debug, Default, Clone)]
pub struct WantedGrants {
    pub grantee: Option<Grantee>,
    pub target: Option<Target>,
    pub role: Option<RoleId>,
    pub inherited: Option<bool>,
}

#[derive(Debug, Default, Clone)]
pub struct WantedServices {
    pub kind: Option<String>,
    pub name: Option<String>,
    pub page: Page,
}

#[derive(Debug, Default, Clone)]
pub struct WantedEndpoints {
    pub service_id: Option<String>,
    pub interface: Option<String>,
    pub region_id: Option<String>,
    pub enabled: Option<bool>,
    pub page: Page,
}
