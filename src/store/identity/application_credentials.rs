//! Application credentials and the access rules of users.

use super::{Result, roles, tokens};
use crate::core::identity::{AccessRule, ApplicationCredential, Role};
use crate::core::ids::{ApplicationCredentialId, ProjectId, UserId};
use crate::store::rows;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// What logging in by an application credential needs.
pub struct Secret {
    pub id: ApplicationCredentialId,
    pub user_id: UserId,
    pub project_id: ProjectId,
    pub secret_hash: String,
}

fn secret_row(row: &Row<'_>) -> rusqlite::Result<Secret> {
    Ok(Secret {
        id: row.get("id")?,
        user_id: row.get("user_id")?,
        project_id: row.get("project_id")?,
        secret_hash: row.get("secret_hash")?,
    })
}

pub fn with_secret(c: &Connection, id: &ApplicationCredentialId) -> Result<Option<Secret>> {
    Ok(c.prepare_cached("SELECT * FROM application_credential WHERE id = ?1")?
        .query_row([id], secret_row)
        .optional()?)
}

pub fn with_secret_by_name(c: &Connection, user: &UserId, name: &str) -> Result<Option<Secret>> {
    Ok(c.prepare_cached("SELECT * FROM application_credential WHERE user_id = ?1 AND name = ?2")?
        .query_row(params![user, name], secret_row)
        .optional()?)
}

/// The row alone; roles and rules are added by [`complete`].
fn bare_row(row: &Row<'_>) -> rusqlite::Result<ApplicationCredential> {
    Ok(ApplicationCredential {
        id: row.get("id")?,
        user_id: row.get("user_id")?,
        project_id: row.get("project_id")?,
        name: row.get("name")?,
        description: row.get("description")?,
        unrestricted: row.get("unrestricted")?,
        expires_at: rows::maybe_time(row, "expires_at")?,
        roles: Vec::new(),
        access_rules: Vec::new(),
    })
}

fn complete(c: &Connection, mut credential: ApplicationCredential) -> Result<ApplicationCredential> {
    let mut statement = c.prepare_cached(
        "SELECT r.* FROM role r JOIN application_credential_role l ON l.role_id = r.id
         WHERE l.application_credential_id = ?1 ORDER BY r.name",
    )?;
    credential.roles =
        statement.query_map([&credential.id], roles::role_row)?.collect::<rusqlite::Result<Vec<Role>>>()?;
    credential.access_rules = tokens::access_rules(c, &credential.id)?;
    Ok(credential)
}

pub fn get(
    c: &Connection,
    user: &UserId,
    id: &ApplicationCredentialId,
) -> Result<Option<ApplicationCredential>> {
    let found = c
        .prepare_cached("SELECT * FROM application_credential WHERE id = ?1 AND user_id = ?2")?
        .query_row(params![id, user], bare_row)
        .optional()?;
    found.map(|credential| complete(c, credential)).transpose()
}

/// The application credentials of a user, of one name if it is given.
pub fn list(c: &Connection, user: &UserId, name: Option<&str>) -> Result<Vec<ApplicationCredential>> {
    let mut statement = c.prepare_cached(
        "SELECT * FROM application_credential WHERE user_id = ?1 AND (?2 IS NULL OR name = ?2) ORDER BY id",
    )?;
    let found = statement.query_map(params![user, name], bare_row)?.collect::<rusqlite::Result<Vec<_>>>()?;
    found.into_iter().map(|credential| complete(c, credential)).collect()
}

/// Adds an application credential with its roles and rules; the rules exist already.
pub fn insert(c: &Connection, credential: &ApplicationCredential, secret_hash: &str) -> Result<()> {
    c.prepare_cached("INSERT INTO application_credential VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?.execute(
        params![
            credential.id,
            credential.user_id,
            credential.project_id,
            credential.name,
            credential.description,
            secret_hash,
            credential.unrestricted,
            credential.expires_at.map(jiff::Timestamp::as_microsecond),
        ],
    )?;
    for role in &credential.roles {
        c.prepare_cached("INSERT OR IGNORE INTO application_credential_role VALUES (?1, ?2)")?
            .execute(params![credential.id, role.id])?;
    }
    for rule in &credential.access_rules {
        c.prepare_cached("INSERT OR IGNORE INTO application_credential_access_rule VALUES (?1, ?2)")?
            .execute(params![credential.id, rule.id])?;
    }
    Ok(())
}

pub fn delete(c: &Connection, id: &ApplicationCredentialId) -> Result<()> {
    c.prepare_cached("DELETE FROM application_credential WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// Forgets what a user made for a project, his tokens by it included.
pub fn delete_of_user_in(c: &Connection, user: &UserId, project: &ProjectId) -> Result<()> {
    c.prepare_cached("DELETE FROM application_credential WHERE user_id = ?1 AND project_id = ?2")?
        .execute(params![user, project])?;
    Ok(())
}

pub fn access_rules(c: &Connection, user: &UserId) -> Result<Vec<AccessRule>> {
    let mut statement = c.prepare_cached("SELECT * FROM access_rule WHERE user_id = ?1 ORDER BY id")?;
    let rules = statement.query_map([user], tokens::access_rule)?.collect::<rusqlite::Result<_>>()?;
    Ok(rules)
}

/// The rule of a user with these contents, made now if there was none.
pub fn ensure_access_rule(c: &Connection, user: &UserId, rule: AccessRule) -> Result<AccessRule> {
    let found = c
        .prepare_cached(
            "SELECT * FROM access_rule WHERE user_id = ?1 AND service = ?2 AND method = ?3 AND path = ?4",
        )?
        .query_row(params![user, rule.service, rule.method, rule.path], tokens::access_rule)
        .optional()?;
    if let Some(found) = found {
        return Ok(found);
    }
    c.prepare_cached("INSERT INTO access_rule VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
        rule.id,
        user,
        rule.service,
        rule.method,
        rule.path
    ])?;
    Ok(rule)
}

pub fn access_rule_in_use(c: &Connection, id: &str) -> Result<bool> {
    let found = c
        .prepare_cached("SELECT 1 FROM application_credential_access_rule WHERE access_rule_id = ?1 LIMIT 1")?
        .query_row([id], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

pub fn delete_access_rule(c: &Connection, id: &str) -> Result<()> {
    c.prepare_cached("DELETE FROM access_rule WHERE id = ?1")?.execute([id])?;
    Ok(())
}
