//! What can be said about identity's things when they are made or changed. Absent is `None`; where a value can be taken
//! away, `Some(None)` takes it away.

use super::{AccessRule, Extra};
use crate::core::ids::{DomainId, ProjectId, RoleId};
use crate::core::{Error, Result};
use jiff::Timestamp;
use secrecy::SecretString;

#[derive(Debug, Default)]
pub struct DomainInput {
    /// The id wanted for a new domain.
    pub id: Option<DomainId>,
    pub name: Option<String>,
    pub description: Option<String>,
    pub enabled: Option<bool>,
    pub extra: Extra,
}

#[derive(Debug, Default)]
pub struct ProjectInput {
    pub name: Option<String>,
    pub domain_id: Option<DomainId>,
    pub parent_id: Option<String>,
    pub description: Option<String>,
    pub enabled: Option<bool>,
    pub tags: Option<Vec<String>>,
    pub extra: Extra,
}

#[derive(Debug, Default)]
pub struct UserInput {
    pub name: Option<String>,
    pub domain_id: Option<DomainId>,
    pub password: Option<Option<SecretString>>,
    pub default_project_id: Option<Option<ProjectId>>,
    pub description: Option<Option<String>>,
    pub enabled: Option<bool>,
    /// Those that are named; null takes one away.
    pub options: Extra,
    pub extra: Extra,
}

#[derive(Debug, Default)]
pub struct GroupInput {
    pub name: Option<String>,
    pub domain_id: Option<DomainId>,
    pub description: Option<String>,
    pub extra: Extra,
}

#[derive(Debug, Default)]
pub struct RoleInput {
    pub name: Option<String>,
    pub domain_id: Option<DomainId>,
    pub description: Option<Option<String>>,
    pub extra: Extra,
}

#[derive(Debug, Default)]
pub struct RegionInput {
    /// The id wanted for a new region.
    pub id: Option<String>,
    pub description: Option<String>,
    pub parent_region_id: Option<Option<String>>,
    pub extra: Extra,
}

#[derive(Debug, Default)]
pub struct ServiceInput {
    pub kind: Option<String>,
    pub enabled: Option<bool>,
    pub extra: Extra,
}

#[derive(Debug, Default)]
pub struct EndpointInput {
    pub service_id: Option<String>,
    pub interface: Option<String>,
    pub region_id: Option<Option<String>>,
    /// The older way to name a region, which makes it when it is not there.
    pub region: Option<String>,
    pub url: Option<String>,
    pub enabled: Option<bool>,
    pub extra: Extra,
}

/// A role by id or by name.
#[derive(Debug)]
pub enum RoleSelector {
    Id(RoleId),
    Name(String),
}

#[derive(Debug)]
pub struct NewApplicationCredential {
    pub name: String,
    pub description: Option<String>,
    /// One is made when none is given.
    pub secret: Option<SecretString>,
    pub expires_at: Option<Timestamp>,
    /// Those of the caller's token when none are given.
    pub roles: Option<Vec<RoleSelector>>,
    pub unrestricted: bool,
    pub access_rules: Vec<AccessRule>,
}

#[derive(Debug, Default)]
pub struct CredentialInput {
    pub user_id: Option<String>,
    pub project_id: Option<Option<String>>,
    pub kind: Option<String>,
    pub blob: Option<SecretString>,
    pub extra: Extra,
}

/// A name that was given for something new.
pub fn required<T>(value: Option<T>, field: &str) -> Result<T> {
    value.ok_or_else(|| Error::invalid(format!("'{field}' is a required property")))
}

/// A name with something to read in it, of at most `longest` characters.
pub fn check_name(name: &str, longest: usize) -> Result<()> {
    if name.trim().is_empty() {
        return Err(Error::invalid(format!(
            "Invalid input for field 'name': '{name}' does not match '[\\\\S]+'"
        )));
    }
    if name.chars().count() > longest {
        return Err(Error::invalid(format!("Invalid input for field 'name': '{name}' is too long")));
    }
    Ok(())
}

/// What is wanted when a property that cannot change is given again: the same value.
pub fn unchanged<T: PartialEq>(given: Option<&T>, have: &T, what: &str) -> Result<()> {
    match given {
        Some(given) if given != have => Err(Error::invalid(format!("Cannot change {what}"))),
        Some(_) | None => Ok(()),
    }
}

/// Tags: at most 80, each up to 255 characters without `/` or `,`, none twice.
pub fn check_tags(tags: &[String]) -> Result<()> {
    const MOST: usize = 80;
    if tags.len() > MOST {
        return Err(Error::invalid(format!("A project may have {MOST} tags at most.")));
    }
    for (index, tag) in tags.iter().enumerate() {
        if tag.is_empty() || tag.chars().count() > 255 || tag.contains(['/', ',']) {
            return Err(Error::invalid(format!("Invalid input for field 'tags': '{tag}' is not a tag")));
        }
        if tags[..index].contains(tag) {
            return Err(Error::invalid("Invalid input for field 'tags': the tags are not unique"));
        }
    }
    Ok(())
}

/// The clash that two of the same name in one domain are.
pub fn duplicate(what: &str, name: &str, domain: Option<&DomainId>) -> Error {
    let place = domain.map(|domain| format!(" at domain ID {domain}")).unwrap_or_default();
    Error::conflict(format!(
        "Conflict occurred attempting to store {what} - Duplicate entry found with name {name}{place}."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_tags() {
        assert!(check_name("x", 64).is_ok());
        assert!(check_name("  ", 64).is_err());
        assert!(check_name(&"x".repeat(65), 64).is_err());
        let tags = |tags: &[&str]| check_tags(&tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>());
        assert!(tags(&["a", "b"]).is_ok());
        assert!(tags(&["a", "a"]).is_err());
        assert!(tags(&["a/b"]).is_err());
    }
}
