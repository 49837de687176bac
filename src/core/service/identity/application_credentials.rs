//! Application credentials: a secret for a program that acts as a user in one project.

use super::IdentityService;
use super::bootstrap::simple_id;
use crate::core::identity::change::{NewApplicationCredential, RoleSelector, check_name};
use crate::core::identity::{
    AccessRule, ApplicationCredential, Role, RoleRef, Scope, Session, Target, denied, missing,
};
use crate::core::ids::{ApplicationCredentialId, RoleId, UserId};
use crate::core::{Error, Result, secret};
use crate::store::identity::{application_credentials, grants, roles};
use rusqlite::Connection;
use secrecy::SecretString;

const LONGEST_NAME: usize = 255;

impl IdentityService {
    pub async fn application_credentials(
        &self,
        user: UserId,
        name: Option<String>,
    ) -> Result<Vec<ApplicationCredential>> {
        self.read(move |c| {
            super::users::find(c, &user)?;
            Ok(application_credentials::list(c, &user, name.as_deref())?)
        })
        .await
    }

    pub async fn application_credential(
        &self,
        user: UserId,
        id: ApplicationCredentialId,
    ) -> Result<ApplicationCredential> {
        self.read(move |c| find(c, &user, &id)).await
    }

    /// Makes a credential for the session's user in the session's project. The secret is known to nobody afterwards
    /// but to who gets this answer.
    pub async fn create_application_credential(
        &self,
        session: &Session,
        input: NewApplicationCredential,
    ) -> Result<(ApplicationCredential, SecretString)> {
        if session.is_restricted() {
            return Err(denied("identity:create_application_credential"));
        }
        let Scope::Project { id: project, .. } = &session.scope else {
            return Err(Error::invalid("Application credentials are made with a token for a project."));
        };
        check_name(&input.name, LONGEST_NAME)?;
        if input.expires_at.is_some_and(|end| end <= self.deps.clock.now()) {
            return Err(Error::invalid("The expiration date of the application credential is in the past."));
        }
        let secret = match input.secret {
            Some(secret) => secret,
            None => secret::random()?,
        };
        let hash = self.passwords.hash(secret.clone()).await?;
        let (user, project, own) = (session.user_id.clone(), project.clone(), session.roles.clone());
        let made = self
            .change(move |c| {
                if !application_credentials::list(c, &user, Some(&input.name))?.is_empty() {
                    return Err(Error::conflict(format!(
                        "Conflict occurred attempting to store application_credential - Duplicate entry found \
                         with name {}.",
                        input.name
                    )));
                }
                let has = grants::effective_roles(c, &user, &Target::Project(project.clone()))?;
                let roles = match input.roles {
                    Some(wanted) => chosen(c, &wanted, &has)?,
                    None => own.iter().map(|role| super::roles::find(c, &role.id)).collect::<Result<_>>()?,
                };
                let access_rules = input
                    .access_rules
                    .into_iter()
                    .map(|rule| Ok(application_credentials::ensure_access_rule(c, &user, rule)?))
                    .collect::<Result<_>>()?;
                let credential = ApplicationCredential {
                    id: ApplicationCredentialId::random(),
                    user_id: user,
                    project_id: project,
                    name: input.name,
                    description: input.description,
                    unrestricted: input.unrestricted,
                    expires_at: input.expires_at,
                    roles,
                    access_rules,
                };
                application_credentials::insert(c, &credential, &hash)?;
                Ok(credential)
            })
            .await?;
        Ok((made, secret))
    }

    /// Deletes a credential, and with it its tokens.
    pub async fn delete_application_credential(
        &self,
        user: UserId,
        id: ApplicationCredentialId,
    ) -> Result<()> {
        self.change(move |c| {
            find(c, &user, &id)?;
            Ok(application_credentials::delete(c, &id)?)
        })
        .await
    }

    pub async fn access_rules(&self, user: UserId) -> Result<Vec<AccessRule>> {
        self.read(move |c| Ok(application_credentials::access_rules(c, &user)?)).await
    }

    pub async fn access_rule(&self, user: UserId, id: String) -> Result<AccessRule> {
        self.read(move |c| find_rule(c, &user, &id)).await
    }

    pub async fn delete_access_rule(&self, user: UserId, id: String) -> Result<()> {
        self.change(move |c| {
            find_rule(c, &user, &id)?;
            if application_credentials::access_rule_in_use(c, &id)? {
                return Err(Error::forbidden(format!(
                    "Access rule {id} is in use by one or more application credentials."
                )));
            }
            Ok(application_credentials::delete_access_rule(c, &id)?)
        })
        .await
    }
}

/// A rule with an id of its own, from what was asked for.
pub fn new_access_rule(service: String, method: String, path: String) -> AccessRule {
    AccessRule { id: simple_id(), service, method, path }
}

/// The roles that were chosen, all of which the user has.
fn chosen(c: &Connection, wanted: &[RoleSelector], has: &[RoleRef]) -> Result<Vec<Role>> {
    wanted
        .iter()
        .map(|selector| {
            let role = match selector {
                RoleSelector::Id(id) => super::roles::find(c, id)?,
                RoleSelector::Name(name) => {
                    roles::by_name(c, None, name)?.ok_or_else(|| missing("role", name))?
                }
            };
            let mine = has.iter().any(|own| own.id == role.id);
            if mine { Ok(role) } else { Err(no_role(&role.id)) }
        })
        .collect()
}

fn no_role(role: &RoleId) -> Error {
    Error::invalid(format!(
        "Invalid application credential: Could not find role assignment with role: {role}, user or group, project."
    ))
}

fn find(c: &Connection, user: &UserId, id: &ApplicationCredentialId) -> Result<ApplicationCredential> {
    application_credentials::get(c, user, id)?.ok_or_else(|| missing("Application Credential", id))
}

fn find_rule(c: &Connection, user: &UserId, id: &str) -> Result<AccessRule> {
    let rules = application_credentials::access_rules(c, user)?;
    rules.into_iter().find(|rule| rule.id == id).ok_or_else(|| missing("Access Rule", id))
}
