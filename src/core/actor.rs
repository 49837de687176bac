//! Who asks.

use super::ids::{DomainId, ProjectId, RequestId, UserId};

/// The four nested roles and the service role, as flags. `admin` implies `manager` implies `member` implies `reader`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles {
    pub admin: bool,
    pub manager: bool,
    pub member: bool,
    pub reader: bool,
    pub service: bool,
}

impl Roles {
    /// Flags from role names, implied roles included. Names that mean nothing here are passed over.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut roles = Self::default();
        for name in names {
            match name {
                "admin" => roles.admin = true,
                "manager" => roles.manager = true,
                "member" => roles.member = true,
                "reader" => roles.reader = true,
                "service" => roles.service = true,
                _ => {}
            }
        }
        roles.manager |= roles.admin;
        roles.member |= roles.manager;
        roles.reader |= roles.member;
        roles
    }
}

/// The authenticated caller of one request.
#[derive(Debug, Clone)]
pub struct Actor {
    pub user_id: UserId,
    pub user_name: String,
    pub user_domain: DomainId,
    /// The project of the token's scope; `None` for unscoped, domain and system scope.
    pub project_id: Option<ProjectId>,
    pub roles: Roles,
    pub request_id: RequestId,
}

impl Actor {
    /// Whether the token carries the admin role: such callers pass every check.
    pub fn is_admin(&self) -> bool {
        self.roles.admin
    }

    /// Whether the caller acts inside `project`.
    pub fn owns(&self, project: &ProjectId) -> bool {
        self.project_id.as_ref() == Some(project)
    }
}
