//! What projects may have and what they have.

use super::Deps;
use crate::core::ids::{ProjectId, UserId};
use crate::core::quota::{Limits, Resource, UNLIMITED, Usage};
use crate::core::{Error, Result};
use crate::store::Connection;
use crate::store::identity::projects;
use crate::store::quotas::{self as rows, Scope};

/// The quota use cases; cheap to clone.
#[derive(Clone)]
pub struct QuotaService {
    deps: Deps,
}

impl QuotaService {
    pub fn new(deps: Deps) -> Self {
        Self { deps }
    }

    /// The limits and the usage of a project, at one moment.
    pub async fn of(&self, project: ProjectId) -> Result<(Limits, Usage)> {
        self.deps
            .store
            .read(move |connection| {
                Ok((rows::limits(connection, &project)?, rows::usage(connection, &project, None)?))
            })
            .await
    }

    /// As [`QuotaService::of`], for a project that has to exist, or a user of it.
    pub async fn of_existing(&self, project: ProjectId, user: Option<UserId>) -> Result<(Limits, Usage)> {
        self.deps
            .store
            .read(move |connection| {
                exists(connection, &project)?;
                let limits = limits(connection, &project, user.as_ref())?;
                Ok((limits, rows::usage(connection, &project, user.as_ref())?))
            })
            .await
    }

    /// What holds for a project without limits of its own.
    pub async fn defaults(&self) -> Result<Limits> {
        self.class(rows::DEFAULT_CLASS.to_owned()).await
    }

    /// Changes the limits of a project, or of a user within it. Below what is in use, or set aside for single users, and beyond
    /// what a project has left for a user, only by `force`.
    pub async fn change(
        &self,
        project: ProjectId,
        user: Option<UserId>,
        changes: Vec<(Resource, i64)>,
        force: bool,
    ) -> Result<Limits> {
        self.deps
            .store
            .write(move |connection| {
                exists(connection, &project)?;
                let usage = rows::usage(connection, &project, user.as_ref())?;
                let scope = match &user {
                    Some(user) => Scope::User(&project, user),
                    None => Scope::Project(&project),
                };
                for (resource, limit) in changes {
                    if !force {
                        let in_use = usage.of(resource);
                        if let Some(user) = &user {
                            at_least(resource, limit, in_use)?;
                            at_most(resource, limit, left_for(connection, &project, user, resource)?)?;
                        } else {
                            let aside = rows::set_aside(connection, &project, resource)?;
                            at_least(resource, limit, in_use.max(aside))?;
                        }
                    }
                    rows::set(connection, scope, resource, limit)?;
                }
                limits(connection, &project, user.as_ref())
            })
            .await
    }

    /// Puts a project back to the defaults, or a user within it back to the project's limits.
    pub async fn reset(&self, project: ProjectId, user: Option<UserId>) -> Result<()> {
        self.deps
            .store
            .write(move |connection| {
                match user {
                    Some(user) => rows::clear_user(connection, &project, &user)?,
                    None => rows::clear(connection, &project)?,
                }
                Ok(())
            })
            .await
    }

    /// The limits of a class.
    pub async fn class(&self, name: String) -> Result<Limits> {
        self.deps.store.read(move |connection| Ok(rows::class_limits(connection, &name)?)).await
    }

    /// Changes the limits of a class.
    pub async fn change_class(&self, name: String, changes: Vec<(Resource, i64)>) -> Result<Limits> {
        self.deps
            .store
            .write(move |connection| {
                for (resource, limit) in changes {
                    rows::set(connection, Scope::Class(&name), resource, limit)?;
                }
                Ok(rows::class_limits(connection, &name)?)
            })
            .await
    }
}

fn limits(connection: &Connection, project: &ProjectId, user: Option<&UserId>) -> Result<Limits> {
    Ok(match user {
        Some(user) => rows::user_limits(connection, project, user)?,
        None => rows::limits(connection, project)?,
    })
}

/// How much of a resource a user may get, what he has included; -1 where there is no end.
fn left_for(connection: &Connection, project: &ProjectId, user: &UserId, resource: Resource) -> Result<i64> {
    let all = rows::limits(connection, project)?.of(resource);
    if all == UNLIMITED {
        return Ok(UNLIMITED);
    }
    let own = rows::own_limit(connection, project, user, resource)?.unwrap_or_default();
    Ok(all - rows::set_aside(connection, project, resource)? + own.max(0))
}

fn at_least(resource: Resource, limit: i64, least: i64) -> Result<()> {
    if limit == UNLIMITED || limit >= least {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "Quota limit {limit} for {} must be greater than or equal to already used and reserved {least}.",
        resource.name()
    )))
}

fn at_most(resource: Resource, limit: i64, most: i64) -> Result<()> {
    if most == UNLIMITED || limit != UNLIMITED && limit <= most {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "Quota limit {limit} for {} must be less than or equal to {most}.",
        resource.name()
    )))
}

fn exists(connection: &Connection, project: &ProjectId) -> Result<()> {
    if projects::get(connection, project)?.is_some() {
        return Ok(());
    }
    Err(Error::invalid(format!("Project ID {project} is not a valid project.")))
}
