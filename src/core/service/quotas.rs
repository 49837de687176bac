//! What projects may have and what they have.

use super::Deps;
use crate::core::ids::ProjectId;
use crate::core::quota::{Limits, Resource, Usage};
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
                Ok((rows::limits(connection, &project)?, rows::usage(connection, &project)?))
            })
            .await
    }

    /// As [`QuotaService::of`], for a project that has to exist.
    pub async fn of_existing(&self, project: ProjectId) -> Result<(Limits, Usage)> {
        self.deps
            .store
            .read(move |connection| {
                exists(connection, &project)?;
                Ok((rows::limits(connection, &project)?, rows::usage(connection, &project)?))
            })
            .await
    }

    /// What holds for a project without limits of its own.
    pub async fn defaults(&self) -> Result<Limits> {
        self.class(rows::DEFAULT_CLASS.to_owned()).await
    }

    /// Changes a project's limits; below what is in use only by `force`.
    pub async fn change(
        &self,
        project: ProjectId,
        changes: Vec<(Resource, i64)>,
        force: bool,
    ) -> Result<Limits> {
        self.deps
            .store
            .write(move |connection| {
                exists(connection, &project)?;
                let usage = rows::usage(connection, &project)?;
                for (resource, limit) in changes {
                    let in_use = usage.of(resource);
                    if !force && limit >= 0 && limit < in_use {
                        return Err(Error::invalid(format!(
                            "Quota limit {limit} for {} must be greater than or equal to already used and reserved \
                             {in_use}.",
                            resource.name()
                        )));
                    }
                    rows::set(connection, Scope::Project(&project), resource, limit)?;
                }
                Ok(rows::limits(connection, &project)?)
            })
            .await
    }

    /// Puts a project back to the defaults.
    pub async fn reset(&self, project: ProjectId) -> Result<()> {
        self.deps.store.write(move |connection| Ok(rows::clear(connection, &project)?)).await
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

fn exists(connection: &Connection, project: &ProjectId) -> Result<()> {
    if projects::get(connection, project)?.is_some() {
        return Ok(());
    }
    Err(Error::invalid(format!("Project ID {project} is not a valid project.")))
}
