//! Logging in: proofs are checked, a scope is found, a token is made.
//!
//! Whatever is wrong, the answer is the same 401, after the same time.

use super::{IdentityService, token_hash};
use crate::core::identity::{Session, Target, User, denied, unauthenticated};
use crate::core::ids::{ApplicationCredentialId, DomainId, ProjectId, UserId};
use crate::core::{Error, Kind, Result, secret};
use crate::store::identity::tokens::{self, StoredToken};
use crate::store::identity::{application_credentials, grants, projects, users};
use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;

/// A domain by id or name.
#[derive(Debug, Clone)]
pub enum DomainSelector {
    Id(DomainId),
    Name(String),
}

/// A user by id, or by name within a domain.
#[derive(Debug, Clone)]
pub enum UserSelector {
    Id(UserId),
    Name(String, DomainSelector),
}

/// A project by id, or by name within a domain.
#[derive(Debug, Clone)]
pub enum ProjectSelector {
    Id(ProjectId),
    Name(String, DomainSelector),
}

/// What somebody shows to prove who he is.
#[derive(Debug)]
pub enum Proof {
    Password(UserSelector, SecretString),
    Token(SecretString),
    ApplicationCredential(CredentialSelector, SecretString),
}

/// An application credential by id, or by name and owner.
#[derive(Debug, Clone)]
pub enum CredentialSelector {
    Id(ApplicationCredentialId),
    Name(String, UserSelector),
}

/// What the token shall be good for.
#[derive(Debug, Clone)]
pub enum WantedScope {
    /// The user's default project if he has a role on it, else nothing.
    Default,
    Unscoped,
    Project(ProjectSelector),
    Domain(DomainSelector),
    System,
}

/// A new token. The text is known to nobody but its receiver.
pub struct Issued {
    pub token: SecretString,
    pub session: Arc<Session>,
}

/// What the proofs showed.
struct Proven {
    user_id: UserId,
    methods: Vec<String>,
    /// The hash that the password was compared with: a password changed meanwhile is not good any more.
    password_hash: Option<String>,
    /// The end and the audit chain of the token that was shown.
    parent: Option<(Timestamp, String)>,
    credential: Option<(ApplicationCredentialId, ProjectId)>,
}

impl IdentityService {
    /// Makes a token for whoever the proofs, at least one, show; all must show the same user.
    pub async fn log_in(&self, proofs: Vec<Proof>, scope: WantedScope) -> Result<Issued> {
        let mut all: Option<Proven> = None;
        for proof in proofs {
            let proven = self.prove(proof).await?;
            all = Some(match all {
                None => proven,
                Some(before) => combine(before, proven)?,
            });
        }
        let proven = all.ok_or_else(unauthenticated)?;
        if proven.credential.is_some() && !matches!(scope, WantedScope::Default) {
            return Err(unauthenticated());
        }
        self.issue(proven, scope).await
    }

    async fn issue(&self, proven: Proven, scope: WantedScope) -> Result<Issued> {
        let token = secret::random()?;
        let hash = token_hash(token.expose_secret());
        let audit_id = secret::random_short()?;
        let now = self.deps.clock.now();
        let (expires_at, audit_ids) = if let Some((expires_at, parent)) = proven.parent {
            (expires_at, vec![audit_id, parent])
        } else {
            let life = SignedDuration::from_secs(i64::from(self.settings.token_seconds));
            (now.checked_add(life).map_err(Error::internal)?, vec![audit_id])
        };
        let before = self.sessions.generation();
        // A new token changes nothing that other tokens say: the cache need not be emptied.
        let session = self
            .deps
            .store
            .write::<_, Error, _>(move |c| {
                let user = users::get(c, &proven.user_id)?.ok_or_else(unauthenticated)?;
                if let Some(hash) = &proven.password_hash
                    && users::password_hash(c, &user.id)?.as_ref() != Some(hash)
                {
                    return Err(unauthenticated());
                }
                if !user.may_log_in_by(&proven.methods) {
                    return Err(unauthenticated());
                }
                let target = match &proven.credential {
                    Some((_, project)) => Some(Target::Project(project.clone())),
                    None => target(c, &user, &scope)?,
                };
                let contents = || StoredToken {
                    user_id: user.id.clone(),
                    target: target.clone(),
                    credential_id: proven.credential.as_ref().map(|(id, _)| id.clone()),
                    methods: proven.methods.clone(),
                    audit_ids: audit_ids.clone(),
                    issued_at: now,
                    expires_at,
                };
                let session = tokens::describe(c, contents(), now)?.ok_or_else(unauthenticated)?;
                // The table is kept small by those who make it grow: nothing has to wake up for it.
                tokens::purge(c, now)?;
                tokens::insert(c, &hash, &contents())?;
                Ok(session)
            })
            .await?;
        let session = Arc::new(session);
        self.sessions.insert(hash, session.clone(), before, now);
        Ok(Issued { token, session })
    }

    async fn prove(&self, proof: Proof) -> Result<Proven> {
        match proof {
            Proof::Password(user, password) => {
                let found = self
                    .read(move |c| {
                        let Some(user) = find_user(c, &user)? else { return Ok(None) };
                        Ok(users::password_hash(c, &user.id)?.map(|hash| (user.id, hash)))
                    })
                    .await?;
                let kept = found.as_ref().map(|(_, hash)| hash.clone());
                let good = self.passwords.verify(password, kept).await?;
                match found {
                    Some((user_id, hash)) if good => Ok(Proven {
                        user_id,
                        methods: vec!["password".into()],
                        password_hash: Some(hash),
                        parent: None,
                        credential: None,
                    }),
                    Some(_) | None => Err(unauthenticated()),
                }
            }
            Proof::Token(token) => {
                let session = self.session(token.expose_secret()).await?;
                if session.credential.is_some() {
                    return Err(denied("rescope a token of an application credential"));
                }
                let mut methods = vec!["token".to_owned()];
                methods.extend(session.methods.iter().filter(|method| *method != "token").cloned());
                // The last of the chain is the one of the token that began it.
                let first = session.audit_ids.last().cloned().unwrap_or_default();
                Ok(Proven {
                    user_id: session.user_id.clone(),
                    methods,
                    password_hash: None,
                    parent: Some((session.expires_at, first)),
                    credential: None,
                })
            }
            Proof::ApplicationCredential(credential, secret) => {
                let found = self
                    .read(move |c| {
                        Ok(match credential {
                            CredentialSelector::Id(id) => application_credentials::with_secret(c, &id)?,
                            CredentialSelector::Name(name, user) => match find_user(c, &user)? {
                                Some(user) => {
                                    application_credentials::with_secret_by_name(c, &user.id, &name)?
                                }
                                None => None,
                            },
                        })
                    })
                    .await?;
                let kept = found.as_ref().map(|found| found.secret_hash.clone());
                let good = self.passwords.verify(secret, kept).await?;
                match found {
                    Some(found) if good => Ok(Proven {
                        user_id: found.user_id,
                        methods: vec!["application_credential".into()],
                        password_hash: None,
                        parent: None,
                        credential: Some((found.id, found.project_id)),
                    }),
                    Some(_) | None => Err(unauthenticated()),
                }
            }
        }
    }

    /// What somebody else's token says.
    pub async fn validate(&self, subject: &str) -> Result<Arc<Session>> {
        self.session(subject).await.map_err(|error| match error.kind() {
            Kind::Unauthenticated => no_token(),
            _ => error,
        })
    }

    /// Takes a token back: its user may, and the administrator.
    pub async fn revoke(&self, caller: &Session, subject: &str) -> Result<()> {
        let session = self.validate(subject).await?;
        if !caller.is_admin() && caller.user_id != session.user_id {
            return Err(denied("identity:revoke_token"));
        }
        let hash = token_hash(subject);
        self.change(move |c| if tokens::delete(c, &hash)? { Ok(()) } else { Err(no_token()) }).await
    }
}

fn no_token() -> Error {
    Error::not_found("Failed to validate token")
}

fn combine(before: Proven, next: Proven) -> Result<Proven> {
    let clash = before.user_id != next.user_id || before.credential.is_some() || next.credential.is_some();
    if clash {
        return Err(unauthenticated());
    }
    let mut methods = before.methods;
    methods.extend(next.methods);
    methods.sort_unstable();
    methods.dedup();
    Ok(Proven {
        user_id: before.user_id,
        methods,
        password_hash: before.password_hash.or(next.password_hash),
        parent: before.parent.or(next.parent),
        credential: None,
    })
}

fn find_domain(c: &Connection, domain: &DomainSelector) -> Result<Option<DomainId>> {
    let found = match domain {
        DomainSelector::Id(id) => projects::domain(c, id)?,
        DomainSelector::Name(name) => projects::domain_by_name(c, name)?,
    };
    Ok(found.map(|domain| domain.id))
}

fn find_user(c: &Connection, user: &UserSelector) -> Result<Option<User>> {
    Ok(match user {
        UserSelector::Id(id) => users::get(c, id)?,
        UserSelector::Name(name, domain) => match find_domain(c, domain)? {
            Some(domain) => users::by_name(c, &domain, name)?,
            None => None,
        },
    })
}

/// What the scope means; whether the user has a role there is seen when the session is described.
fn target(c: &Connection, user: &User, scope: &WantedScope) -> Result<Option<Target>> {
    let found = match scope {
        WantedScope::Unscoped => return Ok(None),
        WantedScope::Default => {
            let Some(project) = &user.default_project_id else { return Ok(None) };
            let target = Target::Project(project.clone());
            let usable = projects::scope(c, Some(&target))?.is_some()
                && !grants::effective_roles(c, &user.id, &target)?.is_empty();
            return Ok(usable.then_some(target));
        }
        WantedScope::System => Some(Target::System),
        WantedScope::Domain(domain) => find_domain(c, domain)?.map(Target::Domain),
        WantedScope::Project(ProjectSelector::Id(id)) => Some(Target::Project(id.clone())),
        WantedScope::Project(ProjectSelector::Name(name, domain)) => match find_domain(c, domain)? {
            Some(domain) => projects::by_name(c, &domain, name)?.map(|project| Target::Project(project.id)),
            None => None,
        },
    };
    found.map(Some).ok_or_else(unauthenticated)
}
