//! Flavor use cases: everybody reads those that he may use, administrators make and change them.

use super::Deps;
use crate::core::actor::Actor;
use crate::core::flavor::{Flavor, FlavorQuery, NewFlavor, defaults};
use crate::core::ids::ProjectId;
use crate::core::{Error, Result};
use crate::store::flavors::{self as rows, Taken};
use crate::store::identity::projects;
use rusqlite::Connection;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The flavor use cases; cheap to clone.
#[derive(Clone)]
pub struct FlavorService {
    deps: Deps,
}

/// The 404 of a flavor that does not exist or is not the caller's to see.
pub fn unknown(id: &str) -> Error {
    Error::not_found(format!("Flavor {id} could not be found."))
}

/// By whose eyes a flavor is looked for: administrators see all.
fn eyes(actor: &Actor) -> Option<ProjectId> {
    if actor.is_admin() {
        return None;
    }
    Some(actor.project_id.clone().unwrap_or_else(|| ProjectId::from("")))
}

fn find(connection: &Connection, id: &str, seen_by: Option<&ProjectId>) -> Result<Flavor> {
    rows::get(connection, id, seen_by)?.ok_or_else(|| unknown(id))
}

impl FlavorService {
    pub fn new(deps: Deps) -> Self {
        Self { deps }
    }

    /// Makes the first flavors where there are none.
    pub async fn bootstrap(&self) -> Result<()> {
        let now = self.deps.clock.now();
        self.deps
            .store
            .write(move |connection| {
                if rows::any(connection)? {
                    return Ok(());
                }
                for new in defaults() {
                    let id = new.id.clone().unwrap_or_default();
                    // Two defaults that clash would be a mistake in the list, which a test would show.
                    rows::insert(connection, &id, &new, now)?
                        .map_err(|taken| clash(taken, &id, &new.name))?;
                }
                Ok::<_, Error>(())
            })
            .await
    }

    /// One page of flavors.
    pub async fn list(&self, query: FlavorQuery) -> Result<Vec<Flavor>> {
        self.deps
            .store
            .read(move |connection| {
                rows::list(connection, &query)?.ok_or_else(|| {
                    Error::invalid(format!(
                        "marker [{}] not found",
                        query.marker.as_deref().unwrap_or_default()
                    ))
                })
            })
            .await
    }

    pub async fn get(&self, actor: &Actor, id: String) -> Result<Flavor> {
        let seen_by = eyes(actor);
        self.deps.store.read(move |connection| find(connection, &id, seen_by.as_ref())).await
    }

    pub async fn create(&self, new: NewFlavor) -> Result<Flavor> {
        let now = self.deps.clock.now();
        let id = new.id.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
        self.deps
            .store
            .write(move |connection| {
                rows::insert(connection, &id, &new, now)?.map_err(|taken| clash(taken, &id, &new.name))?;
                find(connection, &id, None)
            })
            .await
    }

    pub async fn describe(&self, id: String, description: Option<String>) -> Result<Flavor> {
        let now = self.deps.clock.now();
        self.deps
            .store
            .write(move |connection| {
                let flavor = find(connection, &id, None)?;
                rows::set_description(connection, flavor.number, description.as_deref(), now)?;
                find(connection, &id, None)
            })
            .await
    }

    /// Servers keep the copy that they were made with.
    pub async fn delete(&self, id: String) -> Result<()> {
        self.deps
            .store
            .write(move |connection| if rows::delete(connection, &id)? { Ok(()) } else { Err(unknown(&id)) })
            .await
    }

    /// The projects that may use a private flavor.
    pub async fn access(&self, id: String) -> Result<Vec<ProjectId>> {
        self.deps
            .store
            .read(move |connection| {
                let flavor = find(connection, &id, None)?;
                if flavor.is_public {
                    return Err(Error::not_found("Access list not available for public flavors."));
                }
                Ok(rows::access(connection, flavor.number)?)
            })
            .await
    }

    /// Lets a project use a flavor; gives all that may. A public one is refused unless `public_too`.
    pub async fn grant(&self, id: String, project: ProjectId, public_too: bool) -> Result<Vec<ProjectId>> {
        self.deps
            .store
            .write(move |connection| {
                let flavor = find(connection, &id, None)?;
                if flavor.is_public && !public_too {
                    return Err(Error::conflict("Can not add access to a public flavor."));
                }
                if !rows::grant(connection, flavor.number, &project)? {
                    return Err(Error::conflict(format!(
                        "Flavor access already exists for flavor {id} and project {project} combination."
                    )));
                }
                Ok(rows::access(connection, flavor.number)?)
            })
            .await
    }

    /// Ends a project's use of a flavor; gives all that still may.
    pub async fn revoke(&self, id: String, project: ProjectId) -> Result<Vec<ProjectId>> {
        self.deps
            .store
            .write(move |connection| {
                let flavor = find(connection, &id, None)?;
                if !rows::revoke(connection, flavor.number, &project)? {
                    return Err(Error::not_found(format!(
                        "Flavor access not found for {id} / {project} combination."
                    )));
                }
                Ok(rows::access(connection, flavor.number)?)
            })
            .await
    }

    /// Whether there is such a project.
    pub async fn is_project(&self, project: ProjectId) -> Result<bool> {
        self.deps.store.read(move |connection| Ok(projects::get(connection, &project)?.is_some())).await
    }

    /// Adds and overwrites extra specs.
    pub async fn merge_specs(&self, id: String, specs: BTreeMap<String, String>) -> Result<()> {
        let now = self.deps.clock.now();
        self.deps
            .store
            .write(move |connection| {
                let mut flavor = find(connection, &id, None)?;
                flavor.extra_specs.extend(specs);
                rows::set_extra_specs(connection, flavor.number, &flavor.extra_specs, now)?;
                Ok(())
            })
            .await
    }

    pub async fn delete_spec(&self, id: String, key: String) -> Result<()> {
        let now = self.deps.clock.now();
        self.deps
            .store
            .write(move |connection| {
                let mut flavor = find(connection, &id, None)?;
                if flavor.extra_specs.remove(&key).is_none() {
                    return Err(no_spec(&id, &key));
                }
                rows::set_extra_specs(connection, flavor.number, &flavor.extra_specs, now)?;
                Ok(())
            })
            .await
    }
}

/// The 404 of an extra spec that a flavor does not have.
pub fn no_spec(id: &str, key: &str) -> Error {
    Error::not_found(format!("Flavor {id} has no extra specs with key {key}."))
}

fn clash(taken: Taken, id: &str, name: &str) -> Error {
    Error::conflict(match taken {
        Taken::Id => format!("Flavor with ID {id} already exists."),
        Taken::Name => format!("Flavor with name {name} already exists."),
    })
}
