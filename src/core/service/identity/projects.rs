//! Domains and projects.

use super::IdentityService;
use super::users::merge;
use crate::core::identity::change::{
    DomainInput, ProjectInput, check_name, check_tags, duplicate, required, unchanged,
};
use crate::core::identity::query::{
    Page, WantedDomains, WantedGroups, WantedProjects, WantedRoles, WantedUsers,
};
use crate::core::identity::{DEFAULT_DOMAIN, Domain, Grantee, Project, Target, missing};
use crate::core::ids::{DomainId, ProjectId, UserId};
use crate::core::{Error, Result};
use crate::store::identity::{grants, groups, projects, roles, tokens, users};
use rusqlite::Connection;

const LONGEST_NAME: usize = 64;

impl IdentityService {
    pub async fn domains(&self, wanted: WantedDomains) -> Result<Vec<Domain>> {
        self.read(move |c| Ok(projects::domains(c, &wanted)?)).await
    }

    pub async fn domain(&self, id: DomainId) -> Result<Domain> {
        self.read(move |c| find_domain(c, &id)).await
    }

    pub async fn create_domain(&self, input: DomainInput) -> Result<Domain> {
        let name = required(input.name, "name")?;
        check_name(&name, LONGEST_NAME)?;
        let domain = Domain {
            id: input.id.unwrap_or_else(DomainId::random),
            name,
            description: input.description.unwrap_or_default(),
            enabled: input.enabled.unwrap_or(true),
            extra: input.extra,
        };
        self.change(move |c| {
            if projects::domain(c, &domain.id)?.is_some() {
                return Err(Error::conflict(format!(
                    "Conflict occurred attempting to store domain - Duplicate ID, {}.",
                    domain.id
                )));
            }
            check_free_domain(c, &domain)?;
            projects::insert_domain(c, &domain)?;
            Ok(domain)
        })
        .await
    }

    pub async fn update_domain(&self, id: DomainId, input: DomainInput) -> Result<Domain> {
        if let Some(name) = &input.name {
            check_name(name, LONGEST_NAME)?;
        }
        self.change(move |c| {
            let mut domain = find_domain(c, &id)?;
            if let Some(name) = input.name {
                domain.name = name;
            }
            if let Some(description) = input.description {
                domain.description = description;
            }
            if let Some(enabled) = input.enabled {
                domain.enabled = enabled;
            }
            merge(&mut domain.extra, input.extra);
            check_free_domain(c, &domain)?;
            projects::update_domain(c, &domain)?;
            if !domain.enabled {
                tokens::delete_of_domain(c, &id)?;
            }
            Ok(domain)
        })
        .await
    }

    /// Deletes a disabled domain with all its users, groups, projects and roles.
    pub async fn delete_domain(&self, id: DomainId) -> Result<()> {
        self.change(move |c| {
            let domain = find_domain(c, &id)?;
            if domain.enabled {
                return Err(Error::forbidden(
                    "Cannot delete a domain that is enabled, please disable it first.",
                ));
            }
            if id.as_str() == DEFAULT_DOMAIN {
                return Err(Error::forbidden("The default domain cannot be deleted."));
            }
            empty_domain(c, &id)?;
            projects::delete_domain(c, &id)?;
            Ok(())
        })
        .await
    }

    /// The enabled domains on which a user has a role.
    pub async fn domains_of(&self, user: UserId) -> Result<Vec<Domain>> {
        self.read(move |c| {
            let mine = grants::domains_of(c, &user)?;
            let mut found = Vec::new();
            for id in mine {
                found.extend(projects::domain(c, &id)?.filter(|domain| domain.enabled));
            }
            Ok(found)
        })
        .await
    }

    pub async fn projects(&self, wanted: WantedProjects) -> Result<Vec<Project>> {
        self.read(move |c| Ok(projects::list(c, &wanted)?)).await
    }

    pub async fn project(&self, id: ProjectId) -> Result<Project> {
        self.read(move |c| find(c, &id)).await
    }

    /// The projects above one, the nearest first.
    pub async fn projects_above(&self, id: ProjectId) -> Result<Vec<Project>> {
        self.read(move |c| Ok(projects::above(c, &find(c, &id)?)?)).await
    }

    /// The projects below one, at any depth.
    pub async fn projects_below(&self, id: ProjectId) -> Result<Vec<Project>> {
        self.read(move |c| {
            find(c, &id)?;
            Ok(projects::below(c, &id)?)
        })
        .await
    }

    /// Adds a project; `domain` is where it goes when neither the input nor its parent says.
    pub async fn create_project(&self, input: ProjectInput, domain: DomainId) -> Result<Project> {
        let name = required(input.name, "name")?;
        check_name(&name, LONGEST_NAME)?;
        let tags = input.tags.unwrap_or_default();
        check_tags(&tags)?;
        let (given_domain, parent_id) = (input.domain_id, input.parent_id);
        let mut project = Project {
            id: ProjectId::random(),
            domain_id: domain,
            parent_id: String::new(),
            name,
            description: input.description.unwrap_or_default(),
            enabled: input.enabled.unwrap_or(true),
            tags,
            extra: input.extra,
        };
        self.change(move |c| {
            (project.domain_id, project.parent_id) = place(c, given_domain, parent_id, project.domain_id)?;
            check_free(c, &project)?;
            projects::insert(c, &project)?;
            Ok(project)
        })
        .await
    }

    pub async fn update_project(&self, id: ProjectId, input: ProjectInput) -> Result<Project> {
        if let Some(name) = &input.name {
            check_name(name, LONGEST_NAME)?;
        }
        if let Some(tags) = &input.tags {
            check_tags(tags)?;
        }
        self.change(move |c| {
            let mut project = find(c, &id)?;
            unchanged(input.domain_id.as_ref(), &project.domain_id, "Domain ID")?;
            if input.parent_id.as_ref().is_some_and(|parent| *parent != project.parent_id) {
                return Err(Error::forbidden(format!(
                    "Update of `parent_id` is not allowed for project {id}."
                )));
            }
            if let Some(name) = input.name {
                project.name = name;
            }
            if let Some(description) = input.description {
                project.description = description;
            }
            if let Some(tags) = input.tags {
                project.tags = tags;
            }
            if let Some(enabled) = input.enabled {
                project.enabled = enabled;
            }
            merge(&mut project.extra, input.extra);
            check_free(c, &project)?;
            projects::update(c, &project)?;
            if !project.enabled {
                tokens::delete_of_project(c, &id)?;
            }
            Ok(project)
        })
        .await
    }

    /// Replaces a project's tags by what `edit` makes of them; `edit` may refuse.
    pub async fn edit_tags<F>(&self, id: ProjectId, edit: F) -> Result<Project>
    where
        F: FnOnce(&mut Vec<String>) -> Result<()> + Send + 'static,
    {
        self.change(move |c| {
            let mut project = find(c, &id)?;
            edit(&mut project.tags)?;
            check_tags(&project.tags)?;
            projects::update(c, &project)?;
            Ok(project)
        })
        .await
    }

    /// Deletes a project, what was given on it and the tokens for it.
    pub async fn delete_project(&self, id: ProjectId) -> Result<()> {
        self.change(move |c| {
            find(c, &id)?;
            if projects::has_children(c, id.as_str())? {
                return Err(Error::forbidden(format!(
                    "Cannot delete the project {id} since it is not a leaf in the hierarchy."
                )));
            }
            forget_project(c, &id)
        })
        .await
    }
}

/// The domain and the parent of a new project.
fn place(
    c: &Connection,
    domain: Option<DomainId>,
    parent: Option<String>,
    otherwise: DomainId,
) -> Result<(DomainId, String)> {
    let Some(parent) = parent else {
        let domain = find_domain(c, &domain.unwrap_or(otherwise))?;
        return Ok((domain.id.clone(), domain.id.0));
    };
    let above = match projects::get(c, &ProjectId(parent.clone()))? {
        Some(project) => project.domain_id,
        None => projects::domain(c, &DomainId(parent.clone()))?
            .map(|domain| domain.id)
            .ok_or_else(|| missing("project", &parent))?,
    };
    if domain.is_some_and(|domain| domain != above) {
        return Err(Error::invalid("A project is in the domain of its parent."));
    }
    Ok((above, parent))
}

fn forget_project(c: &Connection, id: &ProjectId) -> Result<()> {
    tokens::delete_of_project(c, id)?;
    grants::delete_of_target(c, &Target::Project(id.clone()))?;
    users::clear_default_project(c, id)?;
    projects::delete(c, id)?;
    Ok(())
}

fn empty_domain(c: &Connection, id: &DomainId) -> Result<()> {
    tokens::delete_of_domain(c, id)?;
    grants::delete_of_target(c, &Target::Domain(id.clone()))?;
    let domain_id = Some(id.0.clone());
    for user in users::list(c, &WantedUsers { domain_id: domain_id.clone(), ..WantedUsers::default() })? {
        grants::delete_of_grantee(c, &Grantee::User(user.id.clone()))?;
        users::delete(c, &user.id)?;
    }
    for group in groups::list(c, &WantedGroups { domain_id: domain_id.clone(), ..WantedGroups::default() })? {
        grants::delete_of_grantee(c, &Grantee::Group(group.id.clone()))?;
        groups::delete(c, &group.id)?;
    }
    let wanted = WantedProjects { domain_id: domain_id.clone(), ..WantedProjects::default() };
    for project in projects::list(c, &wanted)? {
        forget_project(c, &project.id)?;
    }
    for role in roles::list(c, &WantedRoles { domain_id, name: None, page: Page::default() })? {
        roles::delete(c, &role.id)?;
    }
    Ok(())
}

pub(super) fn find(c: &Connection, id: &ProjectId) -> Result<Project> {
    projects::get(c, id)?.ok_or_else(|| missing("project", id))
}

pub(super) fn find_domain(c: &Connection, id: &DomainId) -> Result<Domain> {
    projects::domain(c, id)?.ok_or_else(|| missing("domain", id))
}

fn check_free(c: &Connection, project: &Project) -> Result<()> {
    match projects::by_name(c, &project.domain_id, &project.name)? {
        Some(other) if other.id != project.id => {
            Err(duplicate("project", &project.name, Some(&project.domain_id)))
        }
        Some(_) | None => Ok(()),
    }
}

fn check_free_domain(c: &Connection, domain: &Domain) -> Result<()> {
    match projects::domain_by_name(c, &domain.name)? {
        Some(other) if other.id != domain.id => Err(duplicate("domain", &domain.name, None)),
        Some(_) | None => Ok(()),
    }
}
