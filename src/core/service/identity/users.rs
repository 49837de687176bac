//! Users and their passwords.

use super::IdentityService;
use crate::core::identity::change::{UserInput, check_name, duplicate, required, unchanged};
use crate::core::identity::query::{Page, WantedGroups, WantedUsers};
use crate::core::identity::{Extra, Grantee, Group, Project, User, missing, unauthenticated};
use crate::core::ids::{DomainId, UserId};
use crate::core::{Error, Result};
use crate::store::identity::{grants, groups, projects, tokens, users};
use rusqlite::Connection;
use secrecy::{ExposeSecret, SecretString};

const LONGEST_NAME: usize = 255;

impl IdentityService {
    pub async fn users(&self, wanted: WantedUsers) -> Result<Vec<User>> {
        self.read(move |c| Ok(users::list(c, &wanted)?)).await
    }

    pub async fn user(&self, id: UserId) -> Result<User> {
        self.read(move |c| find(c, &id)).await
    }

    /// Adds a user; `domain` is where he goes when the input does not say.
    pub async fn create_user(&self, input: UserInput, domain: DomainId) -> Result<User> {
        let name = required(input.name, "name")?;
        check_name(&name, LONGEST_NAME)?;
        let hash = self.hash_new(input.password.flatten()).await?;
        let mut options = Extra::new();
        set_options(&mut options, input.options);
        let user = User {
            id: UserId::random(),
            domain_id: input.domain_id.unwrap_or(domain),
            name,
            default_project_id: input.default_project_id.flatten(),
            description: input.description.flatten(),
            enabled: input.enabled.unwrap_or(true),
            options,
            extra: input.extra,
        };
        self.change(move |c| {
            super::projects::find_domain(c, &user.domain_id)?;
            check_free(c, &user)?;
            users::insert(c, &user, hash.as_deref())?;
            Ok(user)
        })
        .await
    }

    pub async fn update_user(&self, id: UserId, input: UserInput) -> Result<User> {
        if let Some(name) = &input.name {
            check_name(name, LONGEST_NAME)?;
        }
        let password = match input.password {
            Some(password) => Some(self.hash_new(password).await?),
            None => None,
        };
        self.change(move |c| {
            let mut user = find(c, &id)?;
            unchanged(input.domain_id.as_ref(), &user.domain_id, "Domain ID")?;
            if let Some(name) = input.name {
                user.name = name;
            }
            if let Some(project) = input.default_project_id {
                user.default_project_id = project;
            }
            if let Some(description) = input.description {
                user.description = description;
            }
            if let Some(enabled) = input.enabled {
                user.enabled = enabled;
            }
            set_options(&mut user.options, input.options);
            merge(&mut user.extra, input.extra);
            check_free(c, &user)?;
            users::update(c, &user)?;
            if let Some(hash) = &password {
                users::set_password_hash(c, &id, hash.as_deref())?;
            }
            if password.is_some() || !user.enabled {
                tokens::delete_of_user(c, &id)?;
            }
            Ok(user)
        })
        .await
    }

    /// Lets a user who knows his password have another. His tokens end.
    pub async fn change_password(
        &self,
        id: UserId,
        original: SecretString,
        password: SecretString,
    ) -> Result<()> {
        let kept = {
            let id = id.clone();
            self.read(move |c| Ok(users::password_hash(c, &id)?)).await?
        };
        if !self.passwords.verify(original, kept.clone()).await? {
            return Err(unauthenticated());
        }
        let hash = self.hash_new(Some(password)).await?;
        self.change(move |c| {
            // Somebody else may have been faster.
            if users::password_hash(c, &id)? != kept {
                return Err(unauthenticated());
            }
            if find(c, &id)?.has_locked_password() {
                return Err(Error::invalid(
                    "You cannot change your password at this time due to password policy disallowing password \
                     changes. Please contact your administrator to reset your password.",
                ));
            }
            users::set_password_hash(c, &id, hash.as_deref())?;
            tokens::delete_of_user(c, &id)?;
            Ok(())
        })
        .await
    }

    /// Deletes a user with all that was given to him, his tokens and credentials.
    pub async fn delete_user(&self, id: UserId) -> Result<()> {
        self.change(move |c| {
            find(c, &id)?;
            grants::delete_of_grantee(c, &Grantee::User(id.clone()))?;
            users::delete(c, &id)?;
            Ok(())
        })
        .await
    }

    /// The enabled projects on which a user has a role.
    pub async fn projects_of(&self, id: UserId) -> Result<Vec<Project>> {
        self.read(move |c| {
            find(c, &id)?;
            let mine = grants::projects_of(c, &id)?;
            Ok(projects::by_ids(c, &mine)?.into_iter().filter(|project| project.enabled).collect())
        })
        .await
    }

    pub async fn groups_of(&self, id: UserId, name: Option<String>) -> Result<Vec<Group>> {
        self.read(move |c| {
            find(c, &id)?;
            let wanted = WantedGroups { name, member: Some(id), domain_id: None, page: Page::default() };
            Ok(groups::list(c, &wanted)?)
        })
        .await
    }

    async fn hash_new(&self, password: Option<SecretString>) -> Result<Option<String>> {
        match password {
            Some(password) if password.expose_secret().is_empty() => {
                Err(Error::invalid("Invalid input for field 'password': it is empty"))
            }
            Some(password) => self.passwords.hash(password).await.map(Some),
            None => Ok(None),
        }
    }
}

/// Sets the options that were given, and keeps the others; null takes one away.
fn set_options(options: &mut Extra, given: Extra) {
    options.extend(given);
    options.retain(|_, value| !value.is_null());
}

/// Sets the attributes that were given, and keeps the others.
pub(super) fn merge(extra: &mut Extra, given: Extra) {
    extra.extend(given);
}

pub(super) fn find(c: &Connection, id: &UserId) -> Result<User> {
    users::get(c, id)?.ok_or_else(|| missing("user", id))
}

fn check_free(c: &Connection, user: &User) -> Result<()> {
    match users::by_name(c, &user.domain_id, &user.name)? {
        Some(other) if other.id != user.id => Err(duplicate("user", &user.name, Some(&user.domain_id))),
        Some(_) | None => Ok(()),
    }
}
