//! The blobs that users keep: EC2 keys, certificates, seeds.

use super::IdentityService;
use super::bootstrap::simple_id;
use super::users::merge;
use crate::core::identity::change::{CredentialInput, required};
use crate::core::identity::{Credential, Extra, Session, denied, missing};
use crate::core::ids::UserId;
use crate::core::{Error, Result, secret};
use crate::store::identity::credentials;
use rusqlite::Connection;
use secrecy::ExposeSecret;
use serde_json::json;
use sha2::{Digest, Sha256};

impl IdentityService {
    /// The credentials that match and that the caller may see: his own, and for the administrator all.
    pub async fn credentials(
        &self,
        caller: &Session,
        user: Option<String>,
        kind: Option<String>,
    ) -> Result<Vec<Credential>> {
        let own = (!caller.is_admin()).then(|| caller.user_id.clone());
        self.read(move |c| {
            let user = user.map(UserId);
            let mut found = credentials::list(c, user.as_ref(), kind.as_deref())?;
            found.retain(|credential| own.as_ref().is_none_or(|own| credential.user_id == *own));
            Ok(found)
        })
        .await
    }

    pub async fn credential(&self, caller: &Session, id: String) -> Result<Credential> {
        let found = self.read(move |c| find(c, &id)).await?;
        allowed(caller, &found, "identity:get_credential")?;
        Ok(found)
    }

    pub async fn create_credential(&self, caller: &Session, input: CredentialInput) -> Result<Credential> {
        let user_id = input.user_id.map_or_else(|| caller.user_id.clone(), UserId);
        let kind = required(input.kind, "type")?;
        let blob = required(input.blob, "blob")?.expose_secret().to_owned();
        let id = if kind == "ec2" { ec2_id(&blob)? } else { simple_id() };
        let project_id = input.project_id.flatten();
        if kind == "ec2" && project_id.is_none() {
            return Err(Error::invalid("'project_id' is a required property"));
        }
        let credential = Credential { id, user_id, project_id, kind, blob, extra: input.extra };
        allowed(caller, &credential, "identity:create_credential")?;
        self.insert_credential(credential).await
    }

    pub async fn update_credential(
        &self,
        caller: &Session,
        id: String,
        input: CredentialInput,
    ) -> Result<Credential> {
        let caller = caller.clone();
        self.change(move |c| {
            let mut credential = find(c, &id)?;
            allowed(&caller, &credential, "identity:update_credential")?;
            if let Some(user) = input.user_id {
                credential.user_id = UserId(user);
            }
            if let Some(project) = input.project_id {
                credential.project_id = project;
            }
            if let Some(kind) = input.kind {
                credential.kind = kind;
            }
            if let Some(blob) = input.blob {
                blob.expose_secret().clone_into(&mut credential.blob);
            }
            merge(&mut credential.extra, input.extra);
            // Nobody gives his own to somebody else.
            allowed(&caller, &credential, "identity:update_credential")?;
            super::users::find(c, &credential.user_id)?;
            credentials::update(c, &credential)?;
            Ok(credential)
        })
        .await
    }

    pub async fn delete_credential(&self, caller: &Session, id: String) -> Result<()> {
        let caller = caller.clone();
        self.change(move |c| {
            let credential = find(c, &id)?;
            allowed(&caller, &credential, "identity:delete_credential")?;
            Ok(credentials::delete(c, &id)?)
        })
        .await
    }

    /// Makes an EC2 key pair of a user for a project.
    pub async fn create_ec2_credential(&self, user_id: UserId, project_id: String) -> Result<Credential> {
        let access = simple_id();
        let secret = secret::random()?;
        let blob = json!({"access": access, "secret": secret.expose_secret(), "trust_id": null}).to_string();
        let credential = Credential {
            id: ec2_id(&blob)?,
            user_id,
            project_id: Some(project_id),
            kind: "ec2".into(),
            blob,
            extra: Extra::new(),
        };
        self.insert_credential(credential).await
    }

    /// The credential behind an EC2 access key.
    pub async fn ec2_credential(&self, user: UserId, access: &str) -> Result<Credential> {
        let id = hashed(access);
        let shown = access.to_owned();
        let found = self.read(move |c| Ok(credentials::get(c, &id)?)).await?;
        found.filter(|credential| credential.user_id == user).ok_or_else(|| missing("credential", shown))
    }

    async fn insert_credential(&self, credential: Credential) -> Result<Credential> {
        self.change(move |c| {
            super::users::find(c, &credential.user_id)?;
            if let Some(project) = &credential.project_id {
                super::projects::find(c, &project.as_str().into())?;
            }
            if credentials::get(c, &credential.id)?.is_some() {
                return Err(Error::conflict(format!(
                    "Conflict occurred attempting to store credential - Duplicate entry found with ID {}.",
                    credential.id
                )));
            }
            credentials::insert(c, &credential)?;
            Ok(credential)
        })
        .await
    }
}

/// EC2 keys are found by the hash of their access key.
fn ec2_id(blob: &str) -> Result<String> {
    let wrong = || Error::invalid("Invalid blob in credential");
    let blob: serde_json::Value = serde_json::from_str(blob).map_err(|e| wrong().with_source(e))?;
    let access = blob.get("access").and_then(serde_json::Value::as_str).ok_or_else(wrong)?;
    Ok(hashed(access))
}

fn hashed(access: &str) -> String {
    hex::encode(Sha256::digest(access.as_bytes()))
}

fn allowed(caller: &Session, credential: &Credential, rule: &str) -> Result<()> {
    if caller.is_admin() || credential.user_id == caller.user_id {
        return Ok(());
    }
    Err(denied(rule))
}

fn find(c: &Connection, id: &str) -> Result<Credential> {
    credentials::get(c, id)?.ok_or_else(|| missing("credential", id))
}
