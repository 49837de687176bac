//! Who has which role where.

use super::IdentityService;
use crate::core::Result;
use crate::core::identity::query::WantedGrants;
use crate::core::identity::{
    Domain, Grant, Grantee, Group, Project, Role, Target, User, missing, with_implied,
};
use crate::core::ids::{DomainId, GroupId, ProjectId, RoleId, UserId};
use crate::store::identity::{application_credentials, grants, groups, projects, roles, users};
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};

/// What a list of role assignments shall hold.
#[derive(Debug, Default, Clone)]
pub struct AssignmentQuery {
    pub wanted: WantedGrants,
    /// What users may do in the end, instead of what was written down: groups, inheritance and implied roles are
    /// resolved.
    pub effective: bool,
    /// Also what was given on the projects below the wanted one.
    pub below: bool,
    pub names: bool,
}

/// One line of the list of role assignments.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Assignment {
    pub grantee: Grantee,
    pub target: Target,
    pub role: RoleId,
    /// What was written down, from which the line follows.
    pub source: Grant,
    /// The role that was given, when it implies this one.
    pub prior_role: Option<RoleId>,
}

/// What the ids in a list are called.
#[derive(Debug, Default)]
pub struct Names {
    pub users: BTreeMap<UserId, User>,
    pub groups: BTreeMap<GroupId, Group>,
    pub roles: BTreeMap<RoleId, Role>,
    pub projects: BTreeMap<ProjectId, Project>,
    pub domains: BTreeMap<DomainId, Domain>,
}

impl IdentityService {
    /// Gives a role; giving it again changes nothing.
    pub async fn grant(&self, grant: Grant) -> Result<()> {
        self.change(move |c| {
            check(c, &grant)?;
            Ok(grants::insert(c, &grant)?)
        })
        .await
    }

    /// `NotFound` unless the role was given.
    pub async fn check_grant(&self, grant: Grant) -> Result<()> {
        self.read(move |c| {
            check(c, &grant)?;
            if grants::exists(c, &grant)? { Ok(()) } else { Err(not_given(&grant)) }
        })
        .await
    }

    /// Takes a role back, and with it the application credentials that the user made where he had it.
    pub async fn take_back(&self, grant: Grant) -> Result<()> {
        self.change(move |c| {
            check(c, &grant)?;
            if !grants::delete(c, &grant)? {
                return Err(not_given(&grant));
            }
            if let Target::Project(project) = &grant.target {
                let affected = match &grant.grantee {
                    Grantee::User(user) => vec![user.clone()],
                    Grantee::Group(group) => groups::members(c, group)?,
                };
                for user in affected {
                    application_credentials::delete_of_user_in(c, &user, project)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// The roles that were given to somebody on something.
    pub async fn roles_given(&self, grantee: Grantee, target: Target, inherited: bool) -> Result<Vec<Role>> {
        self.read(move |c| {
            check_ends(c, &grantee, &target)?;
            let wanted = WantedGrants {
                grantee: Some(grantee),
                target: Some(target),
                role: None,
                inherited: Some(inherited),
            };
            grants::list(c, &wanted)?.iter().map(|grant| super::roles::find(c, &grant.role)).collect()
        })
        .await
    }

    /// Whether a user has any role on a target, in whatever way.
    pub async fn has_role_on(&self, user: UserId, target: Target) -> Result<bool> {
        self.read(move |c| Ok(!grants::effective_roles(c, &user, &target)?.is_empty())).await
    }

    /// The list of role assignments, with the names of what is in it when they are wanted.
    pub async fn assignments(&self, query: AssignmentQuery) -> Result<(Vec<Assignment>, Names)> {
        self.read(move |c| {
            let targets = match (&query.wanted.target, query.below) {
                (Some(Target::Project(project)), true) => {
                    let below = projects::below(c, project)?;
                    let below = below.into_iter().map(|project| Target::Project(project.id));
                    Some([Target::Project(project.clone())].into_iter().chain(below).collect())
                }
                (Some(target), _) => Some(BTreeSet::from([target.clone()])),
                (None, _) => None,
            };
            let assignments = if query.effective {
                effective(c, &query, targets.as_ref())?
            } else {
                written(c, &query, targets)?
            };
            let names = if query.names { names(c, &assignments)? } else { Names::default() };
            Ok((assignments, names))
        })
        .await
    }
}

/// What was written down.
fn written(
    c: &Connection,
    query: &AssignmentQuery,
    targets: Option<BTreeSet<Target>>,
) -> Result<Vec<Assignment>> {
    let mut found = Vec::new();
    let targets: Vec<Option<Target>> = match targets {
        Some(targets) => targets.into_iter().map(Some).collect(),
        None => vec![None],
    };
    for target in targets {
        found.extend(grants::list(c, &WantedGrants { target, ..query.wanted.clone() })?);
    }
    Ok(found
        .into_iter()
        .map(|grant| Assignment {
            grantee: grant.grantee.clone(),
            target: grant.target.clone(),
            role: grant.role.clone(),
            source: grant,
            prior_role: None,
        })
        .collect())
}

/// What follows from what was written down.
fn effective(
    c: &Connection,
    query: &AssignmentQuery,
    targets: Option<&BTreeSet<Target>>,
) -> Result<Vec<Assignment>> {
    let implications = grants::implications(c)?;
    let global: BTreeSet<RoleId> =
        roles::all(c)?.into_iter().filter(|role| role.domain_id.is_none()).map(|role| role.id).collect();
    let mut found = BTreeSet::new();
    for source in
        grants::list(c, &WantedGrants { inherited: query.wanted.inherited, ..WantedGrants::default() })?
    {
        let people = match &source.grantee {
            Grantee::User(user) => vec![user.clone()],
            Grantee::Group(group) => groups::members(c, group)?,
        };
        let places =
            if source.inherited { places_below(c, &source.target)? } else { vec![source.target.clone()] };
        let places = places.into_iter().filter(|place| targets.is_none_or(|targets| targets.contains(place)));
        for place in places {
            for role in with_implied([source.role.clone()], &implications) {
                let wanted_role = query.wanted.role.as_ref().is_none_or(|wanted| *wanted == role);
                if !wanted_role || !global.contains(&role) {
                    continue;
                }
                for user in &people {
                    let grantee = Grantee::User(user.clone());
                    if query.wanted.grantee.as_ref().is_some_and(|wanted| *wanted != grantee) {
                        continue;
                    }
                    found.insert(Assignment {
                        grantee,
                        target: place.clone(),
                        prior_role: (role != source.role).then(|| source.role.clone()),
                        role: role.clone(),
                        source: source.clone(),
                    });
                }
            }
        }
    }
    Ok(found.into_iter().collect())
}

/// The projects in which what is inherited from a target holds.
fn places_below(c: &Connection, target: &Target) -> Result<Vec<Target>> {
    let top = match target {
        Target::Project(id) => id.clone(),
        Target::Domain(id) => ProjectId(id.0.clone()),
        Target::System => return Ok(Vec::new()),
    };
    Ok(projects::below(c, &top)?.into_iter().map(|project| Target::Project(project.id)).collect())
}

fn names(c: &Connection, assignments: &[Assignment]) -> Result<Names> {
    let mut names = Names::default();
    for role in roles::all(c)? {
        names.roles.insert(role.id.clone(), role);
    }
    for assignment in assignments {
        match &assignment.grantee {
            Grantee::User(id) if !names.users.contains_key(id) => {
                names.users.extend(users::get(c, id)?.map(|user| (id.clone(), user)));
            }
            Grantee::Group(id) if !names.groups.contains_key(id) => {
                names.groups.extend(groups::get(c, id)?.map(|group| (id.clone(), group)));
            }
            Grantee::User(_) | Grantee::Group(_) => {}
        }
        match &assignment.target {
            Target::Project(id) if !names.projects.contains_key(id) => {
                names.projects.extend(projects::get(c, id)?.map(|project| (id.clone(), project)));
            }
            Target::Project(_) | Target::Domain(_) | Target::System => {}
        }
    }
    for domain in projects::domains(c, &crate::core::identity::query::WantedDomains::default())? {
        names.domains.insert(domain.id.clone(), domain);
    }
    Ok(names)
}

fn check(c: &Connection, grant: &Grant) -> Result<()> {
    let role = super::roles::find(c, &grant.role)?;
    check_ends(c, &grant.grantee, &grant.target)?;
    if role.domain_id.is_some() && grant.target == Target::System {
        return Err(crate::core::Error::invalid("A role of a domain cannot be given on the system."));
    }
    Ok(())
}

fn check_ends(c: &Connection, grantee: &Grantee, target: &Target) -> Result<()> {
    match target {
        Target::Project(id) => super::projects::find(c, id).map(|_| ())?,
        Target::Domain(id) => super::projects::find_domain(c, id).map(|_| ())?,
        Target::System => {}
    }
    match grantee {
        Grantee::User(id) => super::users::find(c, id).map(|_| ()),
        Grantee::Group(id) => super::groups::find(c, id).map(|_| ()),
    }
}

fn not_given(grant: &Grant) -> crate::core::Error {
    let what = format!(
        "role assignment with role: {}, user or group: {}, project, domain, or system",
        grant.role,
        grant.grantee.id()
    );
    missing(&what, grant.target.id())
}
