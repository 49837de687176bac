//! Server groups: which servers are to be near each other, and which apart.

use super::ids::{ProjectId, ServerGroupId, ServerId, UserId};
use jiff::Timestamp;
use serde::Deserialize;

/// What a group wants of its servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// All on one host.
    Affinity,
    /// On each host no more than the rule says.
    AntiAffinity,
    /// On one host where that can be.
    SoftAffinity,
    /// On different hosts where that can be.
    SoftAntiAffinity,
}

impl Policy {
    pub const ALL: [Self; 4] =
        [Self::Affinity, Self::AntiAffinity, Self::SoftAffinity, Self::SoftAntiAffinity];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Affinity => "affinity",
            Self::AntiAffinity => "anti-affinity",
            Self::SoftAffinity => "soft-affinity",
            Self::SoftAntiAffinity => "soft-anti-affinity",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == name)
    }
}

/// A server group with its servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerGroup {
    pub id: ServerGroupId,
    pub project_id: ProjectId,
    pub user_id: UserId,
    pub name: String,
    pub policy: Policy,
    /// The rule of an anti-affinity group, where its maker gave one; at least 1.
    pub max_server_per_host: Option<i64>,
    /// Neither those that are deleted nor those that could still be restored; in the order in which they came.
    pub members: Vec<ServerId>,
    pub created_at: Timestamp,
}

impl ServerGroup {
    /// How many of its servers may be on one host; `None` for any number.
    pub fn most_on_a_host(&self) -> Option<i64> {
        (self.policy == Policy::AntiAffinity).then(|| self.max_server_per_host.unwrap_or(1))
    }
}

/// One page of server groups, oldest first.
#[derive(Debug, Clone)]
pub struct ServerGroupQuery {
    /// `None` for those of all projects.
    pub project: Option<ProjectId>,
    pub limit: usize,
    /// How many come before the page.
    pub offset: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_have_one_name_everywhere() {
        for policy in Policy::ALL {
            let name = serde_json::to_string(policy.as_str()).unwrap();
            assert_eq!(serde_json::from_str::<Policy>(&name).unwrap(), policy);
            assert_eq!(Policy::from_name(policy.as_str()), Some(policy));
        }
        assert_eq!(Policy::from_name("legacy"), None);
    }
}
