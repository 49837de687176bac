//! Roles, and which role implies which.

use super::IdentityService;
use super::users::merge;
use crate::core::identity::change::{RoleInput, check_name, duplicate, required, unchanged};
use crate::core::identity::query::WantedRoles;
use crate::core::identity::{Role, missing};
use crate::core::ids::RoleId;
use crate::core::{Error, Result};
use crate::store::identity::{grants, roles};
use rusqlite::Connection;

const LONGEST_NAME: usize = 255;

/// A role and those that it implies.
#[derive(Debug)]
pub struct Inference {
    pub prior: Role,
    pub implied: Vec<Role>,
}

impl IdentityService {
    pub async fn roles(&self, wanted: WantedRoles) -> Result<Vec<Role>> {
        self.read(move |c| Ok(roles::list(c, &wanted)?)).await
    }

    pub async fn role(&self, id: RoleId) -> Result<Role> {
        self.read(move |c| find(c, &id)).await
    }

    pub async fn create_role(&self, input: RoleInput) -> Result<Role> {
        let name = required(input.name, "name")?;
        check_name(&name, LONGEST_NAME)?;
        let role = Role {
            id: RoleId::random(),
            name,
            domain_id: input.domain_id,
            description: input.description.flatten(),
            extra: input.extra,
        };
        self.change(move |c| {
            if let Some(domain) = &role.domain_id {
                super::projects::find_domain(c, domain)?;
            }
            check_free(c, &role)?;
            roles::insert(c, &role)?;
            Ok(role)
        })
        .await
    }

    pub async fn update_role(&self, id: RoleId, input: RoleInput) -> Result<Role> {
        if let Some(name) = &input.name {
            check_name(name, LONGEST_NAME)?;
        }
        self.change(move |c| {
            let mut role = find(c, &id)?;
            unchanged(input.domain_id.map(Some).as_ref(), &role.domain_id, "Domain ID")?;
            if let Some(name) = input.name {
                role.name = name;
            }
            if let Some(description) = input.description {
                role.description = description;
            }
            merge(&mut role.extra, input.extra);
            check_free(c, &role)?;
            roles::update(c, &role)?;
            Ok(role)
        })
        .await
    }

    /// Deletes a role, and takes it back from all who had it.
    pub async fn delete_role(&self, id: RoleId) -> Result<()> {
        self.change(move |c| {
            find(c, &id)?;
            Ok(roles::delete(c, &id)?)
        })
        .await
    }

    /// What one role implies directly.
    pub async fn inference(&self, prior: RoleId) -> Result<Inference> {
        self.read(move |c| {
            let prior = find(c, &prior)?;
            let implied = grants::implications(c)?.remove(&prior.id).unwrap_or_default();
            let implied = implied.iter().map(|id| find(c, id)).collect::<Result<_>>()?;
            Ok(Inference { prior, implied })
        })
        .await
    }

    /// All implications.
    pub async fn inferences(&self) -> Result<Vec<Inference>> {
        self.read(|c| {
            grants::implications(c)?
                .into_iter()
                .map(|(prior, implied)| {
                    let implied = implied.iter().map(|id| find(c, id)).collect::<Result<_>>()?;
                    Ok(Inference { prior: find(c, &prior)?, implied })
                })
                .collect()
        })
        .await
    }

    /// One implication; `NotFound` when the one role does not imply the other.
    pub async fn implication(&self, prior: RoleId, implied: RoleId) -> Result<Inference> {
        let found = self.inference(prior).await?;
        let id = implied.clone();
        self.read(move |c| find(c, &id)).await?;
        let Inference { prior, implied: all } = found;
        let implied: Vec<Role> = all.into_iter().filter(|role| role.id == implied).collect();
        if implied.is_empty() {
            return Err(not_implied(&prior.id));
        }
        Ok(Inference { prior, implied })
    }

    pub async fn imply(&self, prior: RoleId, implied: RoleId) -> Result<Inference> {
        self.change(move |c| {
            let (prior, implied) = (find(c, &prior)?, find(c, &implied)?);
            if implied.name == "admin" && implied.domain_id.is_none() {
                return Err(Error::forbidden("The role admin cannot be implied by another."));
            }
            // What is true everywhere cannot follow from one domain's own terms.
            if prior.domain_id.is_none() && implied.domain_id.is_some() {
                return Err(Error::forbidden(format!(
                    "The role {} of a domain cannot be implied by a role of none.",
                    implied.id
                )));
            }
            roles::insert_implication(c, &prior.id, &implied.id)?;
            Ok(Inference { prior, implied: vec![implied] })
        })
        .await
    }

    pub async fn stop_implying(&self, prior: RoleId, implied: RoleId) -> Result<()> {
        self.change(move |c| {
            let (prior, implied) = (find(c, &prior)?, find(c, &implied)?);
            if roles::delete_implication(c, &prior.id, &implied.id)? {
                return Ok(());
            }
            Err(not_implied(&prior.id))
        })
        .await
    }
}

fn not_implied(prior: &RoleId) -> Error {
    Error::not_found(format!("{prior} does not imply that role."))
}

pub(super) fn find(c: &Connection, id: &RoleId) -> Result<Role> {
    roles::get(c, id)?.ok_or_else(|| missing("role", id))
}

fn check_free(c: &Connection, role: &Role) -> Result<()> {
    match roles::by_name(c, role.domain_id.as_ref(), &role.name)? {
        Some(other) if other.id != role.id => Err(duplicate("role", &role.name, role.domain_id.as_ref())),
        Some(_) | None => Ok(()),
    }
}
