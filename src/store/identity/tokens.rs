//! Token rows, and what a token says at the moment: the roles are looked up, never copied into the token.

use super::{Result, grants, projects, users};
use crate::core::identity::{AccessRule, CredentialRef, RoleRef, Session, Target, with_implied};
use crate::core::ids::{ApplicationCredentialId, DomainId, ProjectId, RoleId, UserId};
use crate::store::rows;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::BTreeSet;

/// SHA-256 of a token.
pub type TokenHash = [u8; 32];

/// A token as it is kept.
pub struct StoredToken {
    pub user_id: UserId,
    /// `None` is unscoped.
    pub target: Option<Target>,
    pub credential_id: Option<ApplicationCredentialId>,
    pub methods: Vec<String>,
    pub audit_ids: Vec<String>,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}

pub fn insert(c: &Connection, hash: &TokenHash, token: &StoredToken) -> Result<()> {
    let (kind, id) = match &token.target {
        None => ("unscoped", None),
        Some(target) => {
            let (kind, id) = grants::target_columns(target);
            (kind, Some(id))
        }
    };
    c.prepare_cached("INSERT INTO token VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?.execute(params![
        hash,
        token.user_id,
        kind,
        id,
        token.credential_id,
        rows::to_json(&token.methods)?,
        rows::to_json(&token.audit_ids)?,
        token.issued_at.as_microsecond(),
        token.expires_at.as_microsecond(),
    ])?;
    Ok(())
}

fn stored(row: &Row<'_>) -> rusqlite::Result<StoredToken> {
    let kind: String = row.get("scope_kind")?;
    let id: Option<String> = row.get("scope_id")?;
    Ok(StoredToken {
        user_id: row.get("user_id")?,
        target: match id {
            Some(id) => Some(grants::target(&kind, id)?),
            None => None,
        },
        credential_id: row.get("application_credential_id")?,
        methods: rows::json(row, "methods")?,
        audit_ids: rows::json(row, "audit_ids")?,
        issued_at: rows::time(row, "issued_at")?,
        expires_at: rows::time(row, "expires_at")?,
    })
}

/// What the token with this hash says; `None` when it is unknown, expired, or no longer good for anything.
pub fn session(c: &Connection, hash: &TokenHash, now: Timestamp) -> Result<Option<Session>> {
    let token = c
        .prepare_cached("SELECT * FROM token WHERE hash = ?1 AND expires_at > ?2")?
        .query_row(params![hash, now.as_microsecond()], stored)
        .optional()?;
    match token {
        Some(token) => describe(c, token, now),
        None => Ok(None),
    }
}

/// What a token with these contents says; `None` when its user or scope is gone, disabled, or without any role.
pub fn describe(c: &Connection, token: StoredToken, now: Timestamp) -> Result<Option<Session>> {
    let Some(user) = users::get(c, &token.user_id)? else { return Ok(None) };
    let Some(domain) = projects::domain(c, &user.domain_id)? else { return Ok(None) };
    if !user.enabled || !domain.enabled {
        return Ok(None);
    }
    let Some(scope) = projects::scope(c, token.target.as_ref())? else { return Ok(None) };
    let mut roles = match &token.target {
        Some(target) => grants::effective_roles(c, &user.id, target)?,
        None => Vec::new(),
    };
    let mut credential = None;
    if let Some(id) = &token.credential_id {
        let Some(found) = credential_ref(c, id, now)? else { return Ok(None) };
        let allowed = with_implied(credential_roles(c, id)?, &grants::implications(c)?);
        roles.retain(|role: &RoleRef| allowed.contains(&role.id));
        credential = Some(found);
    }
    if token.target.is_some() && roles.is_empty() {
        return Ok(None);
    }
    Ok(Some(Session {
        user_id: user.id,
        user_name: user.name,
        user_domain: projects::domain_ref(domain),
        scope,
        roles,
        credential,
        methods: token.methods,
        audit_ids: token.audit_ids,
        issued_at: token.issued_at,
        expires_at: token.expires_at,
    }))
}

fn credential_ref(
    c: &Connection,
    id: &ApplicationCredentialId,
    now: Timestamp,
) -> Result<Option<CredentialRef>> {
    let found = c
        .prepare_cached(
            "SELECT name, unrestricted, expires_at FROM application_credential
             WHERE id = ?1 AND (expires_at IS NULL OR expires_at > ?2)",
        )?
        .query_row(params![id, now.as_microsecond()], |row| {
            Ok((row.get(0)?, row.get(1)?, rows::maybe_time(row, "expires_at")?))
        })
        .optional()?;
    let Some((name, unrestricted, expires_at)) = found else { return Ok(None) };
    let access_rules = access_rules(c, id)?;
    Ok(Some(CredentialRef { id: id.clone(), name, unrestricted, expires_at, access_rules }))
}

/// The access rules of an application credential.
pub(super) fn access_rules(c: &Connection, id: &ApplicationCredentialId) -> Result<Vec<AccessRule>> {
    let mut statement = c.prepare_cached(
        "SELECT r.* FROM access_rule r JOIN application_credential_access_rule l ON l.access_rule_id = r.id
         WHERE l.application_credential_id = ?1 ORDER BY r.id",
    )?;
    let rules = statement.query_map([id], access_rule)?.collect::<rusqlite::Result<_>>()?;
    Ok(rules)
}

pub(super) fn access_rule(row: &Row<'_>) -> rusqlite::Result<AccessRule> {
    Ok(AccessRule {
        id: row.get("id")?,
        service: row.get("service")?,
        method: row.get("method")?,
        path: row.get("path")?,
    })
}

fn credential_roles(c: &Connection, id: &ApplicationCredentialId) -> Result<BTreeSet<RoleId>> {
    let mut statement = c.prepare_cached(
        "SELECT role_id FROM application_credential_role WHERE application_credential_id = ?1",
    )?;
    let roles = statement.query_map([id], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(roles)
}

/// Takes one token back; says whether there was one.
pub fn delete(c: &Connection, hash: &TokenHash) -> Result<bool> {
    Ok(c.prepare_cached("DELETE FROM token WHERE hash = ?1")?.execute([hash])? > 0)
}

/// Takes all tokens of a user back.
pub fn delete_of_user(c: &Connection, user: &UserId) -> Result<()> {
    c.prepare_cached("DELETE FROM token WHERE user_id = ?1")?.execute([user])?;
    Ok(())
}

/// Takes all tokens for a project back.
pub fn delete_of_project(c: &Connection, project: &ProjectId) -> Result<()> {
    c.prepare_cached("DELETE FROM token WHERE scope_kind = 'project' AND scope_id = ?1")?
        .execute([project])?;
    Ok(())
}

/// Deletes what has expired; answers how many tokens that were.
pub fn purge(c: &Connection, now: Timestamp) -> Result<usize> {
    Ok(c.prepare_cached("DELETE FROM token WHERE expires_at <= ?1")?.execute([now.as_microsecond()])?)
}

/// Takes back the tokens of a domain's users, for its projects and for itself.
pub fn delete_of_domain(c: &Connection, domain: &DomainId) -> Result<()> {
    c.prepare_cached(
        "DELETE FROM token WHERE user_id IN (SELECT id FROM user WHERE domain_id = ?1)
         OR (scope_kind = 'domain' AND scope_id = ?1)
         OR (scope_kind = 'project' AND scope_id IN (SELECT id FROM project WHERE domain_id = ?1))",
    )?
    .execute([domain])?;
    Ok(())
}
