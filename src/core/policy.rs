//! Who may call what: role rules as data. Whether the target belongs to the caller's project is asked by the services,
//! which load it; a target that the caller may not see is answered as unknown.

use super::actor::Actor;
use super::{Error, Result};

/// What an operation asks of its caller before it looks at anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Nobody has to say who he is.
    Open,
    /// Any valid token, scoped or not.
    Token,
    /// Any token of a project.
    Any(&'static str),
    Reader(&'static str),
    Member(&'static str),
    Manager(&'static str),
    Admin(&'static str),
    /// The service role or admin.
    Service(&'static str),
}

impl Rule {
    /// Whether a token is needed at all.
    pub fn needs_token(self) -> bool {
        self != Self::Open
    }

    /// The name of the rule, as 403 answers show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open | Self::Token => "",
            Self::Any(name)
            | Self::Reader(name)
            | Self::Member(name)
            | Self::Manager(name)
            | Self::Admin(name)
            | Self::Service(name) => name,
        }
    }

    /// Whether the caller's roles satisfy the rule.
    pub fn allows(self, actor: &Actor) -> bool {
        let roles = actor.roles;
        if roles.admin {
            return true;
        }
        match self {
            Self::Open | Self::Token => true,
            Self::Any(_) => actor.project_id.is_some(),
            Self::Reader(_) => roles.reader && actor.project_id.is_some(),
            Self::Member(_) => roles.member && actor.project_id.is_some(),
            Self::Manager(_) => roles.manager && actor.project_id.is_some(),
            Self::Admin(_) => false,
            Self::Service(_) => roles.service,
        }
    }
}

/// `Ok` when the caller may, else the 403 that compute gives.
pub fn check(rule: Rule, actor: &Actor) -> Result<()> {
    if rule.allows(actor) {
        return Ok(());
    }
    Err(Error::forbidden(format!("Policy doesn't allow {} to be performed.", rule.name())))
}
