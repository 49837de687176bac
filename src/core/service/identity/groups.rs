//! Groups and their members.

use super::IdentityService;
use super::users::{find as find_user, merge};
use crate::core::Result;
use crate::core::identity::change::{GroupInput, check_name, duplicate, required, unchanged};
use crate::core::identity::query::{WantedGroups, WantedUsers};
use crate::core::identity::{Grantee, Group, User, missing};
use crate::core::ids::{DomainId, GroupId, UserId};
use crate::store::identity::{grants, groups, users};
use rusqlite::Connection;

const LONGEST_NAME: usize = 64;

impl IdentityService {
    pub async fn groups(&self, wanted: WantedGroups) -> Result<Vec<Group>> {
        self.read(move |c| Ok(groups::list(c, &wanted)?)).await
    }

    pub async fn group(&self, id: GroupId) -> Result<Group> {
        self.read(move |c| find(c, &id)).await
    }

    /// Adds a group; `domain` is where it goes when the input does not say.
    pub async fn create_group(&self, input: GroupInput, domain: DomainId) -> Result<Group> {
        let name = required(input.name, "name")?;
        check_name(&name, LONGEST_NAME)?;
        let group = Group {
            id: GroupId::random(),
            domain_id: input.domain_id.unwrap_or(domain),
            name,
            description: input.description.unwrap_or_default(),
            extra: input.extra,
        };
        self.change(move |c| {
            super::projects::find_domain(c, &group.domain_id)?;
            check_free(c, &group)?;
            groups::insert(c, &group)?;
            Ok(group)
        })
        .await
    }

    pub async fn update_group(&self, id: GroupId, input: GroupInput) -> Result<Group> {
        if let Some(name) = &input.name {
            check_name(name, LONGEST_NAME)?;
        }
        self.change(move |c| {
            let mut group = find(c, &id)?;
            unchanged(input.domain_id.as_ref(), &group.domain_id, "Domain ID")?;
            if let Some(name) = input.name {
                group.name = name;
            }
            if let Some(description) = input.description {
                group.description = description;
            }
            merge(&mut group.extra, input.extra);
            check_free(c, &group)?;
            groups::update(c, &group)?;
            Ok(group)
        })
        .await
    }

    /// Deletes a group with all that was given to it.
    pub async fn delete_group(&self, id: GroupId) -> Result<()> {
        self.change(move |c| {
            find(c, &id)?;
            grants::delete_of_grantee(c, &Grantee::Group(id.clone()))?;
            groups::delete(c, &id)?;
            Ok(())
        })
        .await
    }

    pub async fn members(&self, wanted: WantedUsers, group: GroupId) -> Result<Vec<User>> {
        self.read(move |c| {
            find(c, &group)?;
            Ok(users::list(c, &WantedUsers { group: Some(group), ..wanted })?)
        })
        .await
    }

    pub async fn add_member(&self, group: GroupId, user: UserId) -> Result<()> {
        self.change(move |c| {
            find_user(c, &user)?;
            find(c, &group)?;
            Ok(groups::add_member(c, &group, &user)?)
        })
        .await
    }

    pub async fn remove_member(&self, group: GroupId, user: UserId) -> Result<()> {
        self.change(move |c| {
            find_user(c, &user)?;
            find(c, &group)?;
            if groups::remove_member(c, &group, &user)? { Ok(()) } else { Err(not_member(&group, &user)) }
        })
        .await
    }

    /// `NotFound` unless the user is in the group.
    pub async fn check_member(&self, group: GroupId, user: UserId) -> Result<()> {
        self.read(move |c| {
            find_user(c, &user)?;
            find(c, &group)?;
            if groups::is_member(c, &group, &user)? { Ok(()) } else { Err(not_member(&group, &user)) }
        })
        .await
    }
}

fn not_member(group: &GroupId, user: &UserId) -> crate::core::Error {
    missing("user", format_args!("{user} in group {group}"))
}

pub(super) fn find(c: &Connection, id: &GroupId) -> Result<Group> {
    groups::get(c, id)?.ok_or_else(|| missing("group", id))
}

fn check_free(c: &Connection, group: &Group) -> Result<()> {
    match groups::by_name(c, &group.domain_id, &group.name)? {
        Some(other) if other.id != group.id => Err(duplicate("group", &group.name, Some(&group.domain_id))),
        Some(_) | None => Ok(()),
    }
}
