//! Key pair use cases. A key pair belongs to a user, not to a project; making one is slow and never done on a worker
//! that answers requests.

mod certificate;
mod material;

use super::Deps;
use crate::core::actor::Actor;
use crate::core::ids::{ProjectId, UserId};
use crate::core::keypair::{Keypair, KeypairKind, KeypairQuery};
use crate::core::quota::Resource;
use crate::core::{Error, Kind, Result};
use crate::store::{keypairs as rows, quotas};
use material::Material;

/// The key pair use cases; cheap to clone.
#[derive(Clone)]
pub struct KeypairService {
    deps: Deps,
}

/// What a new key pair is to be.
#[derive(Debug, Clone)]
pub struct NewKeypair {
    pub user_id: UserId,
    pub name: String,
    pub kind: KeypairKind,
    /// `None`: one is made.
    pub public_key: Option<String>,
}

impl KeypairService {
    pub fn new(deps: Deps) -> Self {
        Self { deps }
    }

    /// Imports or makes a key pair; the second value is the private half of one that was made.
    pub async fn create(&self, actor: &Actor, new: NewKeypair) -> Result<(Keypair, Option<String>)> {
        let kind = new.kind;
        let user = new.user_id.clone();
        let public_key = new.public_key.clone();
        let material = tokio::task::spawn_blocking(move || match public_key {
            Some(public_key) => Material::import(kind, &public_key),
            None => Material::generate(kind, user.as_str()),
        })
        .await
        .map_err(Error::internal)??;
        let private = material.private_key;
        let keypair = Keypair {
            number: 0,
            user_id: new.user_id,
            name: new.name,
            kind,
            public_key: material.public_key,
            fingerprint: material.fingerprint,
            created_at: self.deps.clock.now(),
        };
        let project = actor.project_id.clone().unwrap_or_else(|| ProjectId::from(""));
        let stored = self
            .deps
            .store
            .write(move |connection| {
                let limits = quotas::user_limits(connection, &project, &keypair.user_id)?;
                let in_use = rows::count(connection, &keypair.user_id)?;
                if !limits.allows(Resource::KeyPairs, in_use, 1) {
                    return Err(Error::new(Kind::Quota, "Quota exceeded, too many key pairs."));
                }
                if !rows::insert(connection, &keypair)? {
                    return Err(Error::conflict(format!("Key pair '{}' already exists.", keypair.name)));
                }
                rows::get(connection, &keypair.user_id, &keypair.name)?
                    .ok_or_else(|| unknown(&keypair.user_id, &keypair.name))
            })
            .await?;
        Ok((stored, private))
    }

    pub async fn list(&self, query: KeypairQuery) -> Result<Vec<Keypair>> {
        self.deps
            .store
            .read(move |connection| {
                rows::list(connection, &query)?.ok_or_else(|| {
                    let marker = query.marker.as_deref().unwrap_or_default();
                    Error::invalid(format!("Marker {marker} could not be found."))
                })
            })
            .await
    }

    pub async fn get(&self, user: UserId, name: String) -> Result<Keypair> {
        self.deps
            .store
            .read(move |connection| rows::get(connection, &user, &name)?.ok_or_else(|| unknown(&user, &name)))
            .await
    }

    pub async fn delete(&self, user: UserId, name: String) -> Result<()> {
        self.deps
            .store
            .write(
                move |connection| {
                    if rows::delete(connection, &user, &name)? { Ok(()) } else { Err(unknown(&user, &name)) }
                },
            )
            .await
    }
}

fn unknown(user: &UserId, name: &str) -> Error {
    Error::not_found(format!("Keypair {name} not found for user {user}"))
}
