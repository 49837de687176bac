//! Server group use cases. Servers come into a group when they are made, and leave it when they are deleted.

use super::Deps;
use crate::core::actor::Actor;
use crate::core::ids::{ProjectId, ServerGroupId};
use crate::core::quota::Resource;
use crate::core::server_group::{Policy, ServerGroup, ServerGroupQuery};
use crate::core::{Error, Result};
use crate::store::{Connection, quotas, server_groups as rows};

/// The server group use cases; cheap to clone.
#[derive(Clone)]
pub struct ServerGroupService {
    deps: Deps,
}

/// What a new group is to be.
#[derive(Debug, Clone)]
pub struct NewServerGroup {
    pub name: String,
    pub policy: Policy,
    /// Only with [`Policy::AntiAffinity`]; at least 1.
    pub max_server_per_host: Option<i64>,
}

/// The 404 of a group that does not exist.
pub fn unknown(id: &str) -> Error {
    Error::not_found(unknown_words(id))
}

/// What is said of such a group.
pub fn unknown_words(id: &str) -> String {
    format!("Instance group {id} could not be found.")
}

/// The group, if the caller may see it.
pub fn find(c: &Connection, actor: &Actor, id: ServerGroupId) -> Result<Option<ServerGroup>> {
    let found = rows::get(c, id)?;
    Ok(found.filter(|group| actor.is_admin() || actor.owns(&group.project_id)))
}

fn project_of(actor: &Actor) -> Result<ProjectId> {
    actor.project_id.clone().ok_or_else(|| Error::forbidden("The token has no project."))
}

impl ServerGroupService {
    pub fn new(deps: Deps) -> Self {
        Self { deps }
    }

    /// Makes a group in the caller's project.
    ///
    /// # Errors
    /// Quota, when the project has as many as it may.
    pub async fn create(&self, actor: &Actor, new: NewServerGroup) -> Result<ServerGroup> {
        let group = ServerGroup {
            id: ServerGroupId::random(),
            project_id: project_of(actor)?,
            user_id: actor.user_id.clone(),
            name: new.name,
            policy: new.policy,
            max_server_per_host: new.max_server_per_host,
            members: Vec::new(),
            created_at: self.deps.clock.now(),
        };
        self.deps
            .store
            .write(move |c| {
                let (project, user) = (&group.project_id, &group.user_id);
                let limits = quotas::limits(c, project)?;
                let own = quotas::user_limits(c, project, user)?;
                if !limits.allows(Resource::ServerGroups, quotas::usage(c, project, None)?.server_groups, 1)
                    || !own.allows(
                        Resource::ServerGroups,
                        quotas::usage(c, project, Some(user))?.server_groups,
                        1,
                    )
                {
                    return Err(Error::quota("Quota exceeded, too many server groups."));
                }
                rows::insert(c, &group)?;
                Ok(group)
            })
            .await
    }

    /// One page of the groups of the caller's project. Administrators can have those of all projects; others who ask for
    /// them get their own.
    pub async fn list(
        &self,
        actor: &Actor,
        all_projects: bool,
        limit: usize,
        offset: usize,
    ) -> Result<Vec<ServerGroup>> {
        let project = if all_projects && actor.is_admin() { None } else { Some(project_of(actor)?) };
        let query = ServerGroupQuery { project, limit, offset };
        Ok(self.deps.store.read(move |c| rows::list(c, &query)).await?)
    }

    /// # Errors
    /// Not found; forbidden, when the group is another project's.
    pub async fn get(&self, actor: &Actor, id: &str) -> Result<ServerGroup> {
        let (actor, id) = (actor.clone(), id.to_owned());
        self.deps.store.read(move |c| own(c, &actor, &id, "show")).await
    }

    /// Removes a group; its servers stay as they are.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn delete(&self, actor: &Actor, id: &str) -> Result<()> {
        let (actor, id) = (actor.clone(), id.to_owned());
        self.deps
            .store
            .write(move |c| {
                let group = own(c, &actor, &id, "delete")?;
                if rows::delete(c, group.id)? { Ok(()) } else { Err(unknown(&id)) }
            })
            .await
    }
}

/// The group, for a caller who may do this with it.
fn own(c: &Connection, actor: &Actor, id: &str, deed: &str) -> Result<ServerGroup> {
    let found = match id.parse() {
        Ok(parsed) => rows::get(c, parsed)?,
        Err(_) => None,
    };
    let group = found.ok_or_else(|| unknown(id))?;
    if actor.is_admin() || actor.owns(&group.project_id) {
        return Ok(group);
    }
    Err(Error::forbidden(format!(
        "Policy doesn't allow os_compute_api:os-server-groups:{deed} to be performed."
    )))
}
