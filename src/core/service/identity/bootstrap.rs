//! What a cloud has from its first start: a domain, an administrator, the roles and the catalog.

use super::IdentityService;
use crate::core::identity::query::WantedServices;
use crate::core::identity::{
    CatalogService, DEFAULT_DOMAIN, Domain, Endpoint, Extra, Grant, Grantee, Project, Region, Role, Target,
    User,
};
use crate::core::ids::{DomainId, ProjectId, RoleId, UserId};
use crate::core::{Error, Result};
use crate::store::identity::{catalog, grants, projects, roles, users};
use crate::store::setting;
use rusqlite::Connection;
use secrecy::SecretString;
use serde_json::Value;
use uuid::Uuid;

/// The user that may do everything.
pub const ADMIN_USER: &str = "admin";
/// The project that the administrator works in.
pub const ADMIN_PROJECT: &str = "admin";
const SERVICE_PROJECT: &str = "service";
/// The one region.
pub const REGION: &str = "RegionOne";

/// The roles, each implying the one after it where it says so.
const ROLES: [(&str, Option<&str>); 5] = [
    ("admin", Some("manager")),
    ("manager", Some("member")),
    ("member", Some("reader")),
    ("reader", None),
    ("service", None),
];

/// Type, name and address of each service. A service that is not served is not listed.
const CATALOG: [(&str, &str, &str); 5] = [
    ("identity", "keystone", "$(public_base)s/identity/v3"),
    ("compute", "nova", "$(public_base)s/v2.1"),
    ("compute_legacy", "nova_legacy", "$(public_base)s/v2/$(project_id)s"),
    ("image", "glance", "$(public_base)s/image"),
    ("network", "neutron", "$(public_base)s/network"),
];

/// Marks in the settings that the first start is done: what is deleted or renamed afterwards stays so.
const DONE: &str = "identity.bootstrapped";

impl IdentityService {
    /// Whether the first start has been done.
    pub async fn is_bootstrapped(&self) -> Result<bool> {
        self.read(|c| Ok(setting::get(c, DONE)?.is_some())).await
    }

    /// Makes what a cloud begins with, in one transaction, with this password for the administrator. After the first
    /// time only what the catalog lacks is added, since a newer program may serve more, and the password is not used.
    ///
    /// Answers the administrator's project, unless it was deleted since.
    pub async fn bootstrap(&self, admin_password: SecretString) -> Result<Option<ProjectId>> {
        let hash = if self.is_bootstrapped().await? {
            None
        } else {
            Some(self.passwords.hash(admin_password).await?)
        };
        self.change(move |c| {
            let domain = DomainId::from(DEFAULT_DOMAIN);
            if let Some(hash) = hash {
                ensure_people(c, &domain, &hash)?;
                setting::set(c, DONE, "true")?;
            }
            ensure_catalog(c)?;
            Ok(projects::by_name(c, &domain, ADMIN_PROJECT)?.map(|project| project.id))
        })
        .await
    }
}

fn ensure_people(c: &Connection, domain: &DomainId, admin_hash: &str) -> Result<()> {
    if projects::domain(c, domain)?.is_none() {
        let made = Domain {
            id: domain.clone(),
            name: "Default".into(),
            description: "The default domain".into(),
            enabled: true,
            extra: Extra::new(),
        };
        projects::insert_domain(c, &made)?;
    }
    let admin_project = ensure_project(c, domain, ADMIN_PROJECT, "The project of the administrator")?;
    ensure_project(c, domain, SERVICE_PROJECT, "The project of the services")?;
    let admin_role = ensure_roles(c)?;
    let admin = ensure_admin(c, domain, admin_hash)?;
    for target in [Target::Project(admin_project), Target::System] {
        let grantee = Grantee::User(admin.clone());
        grants::insert(c, &Grant { grantee, target, role: admin_role.clone(), inherited: false })?;
    }
    Ok(())
}

fn ensure_project(c: &Connection, domain: &DomainId, name: &str, description: &str) -> Result<ProjectId> {
    if let Some(project) = projects::by_name(c, domain, name)? {
        return Ok(project.id);
    }
    let project = Project {
        id: ProjectId::random(),
        domain_id: domain.clone(),
        parent_id: domain.0.clone(),
        name: name.into(),
        description: description.into(),
        enabled: true,
        tags: Vec::new(),
        extra: Extra::new(),
    };
    projects::insert(c, &project)?;
    Ok(project.id)
}

fn ensure_admin(c: &Connection, domain: &DomainId, hash: &str) -> Result<UserId> {
    if let Some(user) = users::by_name(c, domain, ADMIN_USER)? {
        return Ok(user.id);
    }
    let user = User {
        id: UserId::random(),
        domain_id: domain.clone(),
        name: ADMIN_USER.into(),
        default_project_id: None,
        description: None,
        enabled: true,
        options: Extra::new(),
        extra: Extra::new(),
    };
    users::insert(c, &user, Some(hash))?;
    Ok(user.id)
}

/// The id of the admin role.
fn ensure_roles(c: &Connection) -> Result<RoleId> {
    let mut admin = None;
    // From the end, so that what is implied is there before what implies it.
    for (name, implied) in ROLES.into_iter().rev() {
        let id = if let Some(role) = roles::by_name(c, None, name)? {
            role.id
        } else {
            let role = Role {
                id: RoleId::random(),
                name: name.into(),
                domain_id: None,
                description: None,
                extra: Extra::new(),
            };
            roles::insert(c, &role)?;
            if let Some(implied) = implied
                && let Some(implied) = roles::by_name(c, None, implied)?
            {
                roles::insert_implication(c, &role.id, &implied.id)?;
            }
            role.id
        };
        if name == "admin" {
            admin = Some(id);
        }
    }
    admin.ok_or_else(|| Error::internal("the admin role is not among the roles"))
}

fn ensure_catalog(c: &Connection) -> Result<()> {
    if catalog::region(c, REGION)?.is_none() {
        let region = Region {
            id: REGION.into(),
            description: String::new(),
            parent_region_id: None,
            extra: Extra::new(),
        };
        catalog::insert_region(c, &region)?;
    }
    for (kind, name, url) in CATALOG {
        let wanted = WantedServices { kind: Some(kind.into()), ..WantedServices::default() };
        if !catalog::services(c, &wanted)?.is_empty() {
            continue;
        }
        let service = CatalogService {
            id: simple_id(),
            kind: kind.into(),
            enabled: true,
            extra: Extra::from_iter([("name".to_owned(), Value::from(name))]),
        };
        catalog::insert_service(c, &service)?;
        for interface in ["public", "internal", "admin"] {
            let endpoint = Endpoint {
                id: simple_id(),
                service_id: service.id.clone(),
                interface: interface.into(),
                region_id: Some(REGION.into()),
                url: url.into(),
                enabled: true,
                extra: Extra::new(),
            };
            catalog::insert_endpoint(c, &endpoint)?;
        }
    }
    Ok(())
}

/// 32 hex digits, as the ids of this API are.
pub(super) fn simple_id() -> String {
    Uuid::new_v4().simple().to_string()
}
