//! How much of the network API's resources a project may have.

use super::{NetworksService, store};
use crate::core::Result;
use crate::core::actor::Actor;
use crate::core::ids::ProjectId;
use crate::core::network::{QUOTA_DEFAULTS, not_authorized};

/// One limit and what is used of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaUse {
    pub resource: &'static str,
    /// -1 is without limit.
    pub limit: i64,
    pub used: i64,
}

impl NetworksService {
    /// The limits of a project and what it uses: its own for everybody, any for admins. Nobody checks whether the
    /// project exists.
    pub async fn quota(&self, actor: &Actor, project: ProjectId) -> Result<Vec<QuotaUse>> {
        if !actor.is_admin() && !actor.owns(&project) {
            return Err(not_authorized("get_quota"));
        }
        self.read(move |c| {
            QUOTA_DEFAULTS
                .iter()
                .map(|(resource, _)| {
                    Ok(QuotaUse {
                        resource,
                        limit: store::quota_limit(c, &project, resource)?,
                        used: store::quota_used(c, &project, resource)?,
                    })
                })
                .collect()
        })
        .await
    }

    /// Changes limits of a project.
    pub async fn set_quota(&self, project: ProjectId, limits: Vec<(&'static str, i64)>) -> Result<()> {
        self.write(move |c| {
            for (resource, limit) in limits {
                store::set_quota_limit(c, &project, resource, limit)?;
            }
            Ok(())
        })
        .await
    }

    /// Gives a project the default limits again.
    pub async fn reset_quota(&self, project: ProjectId) -> Result<()> {
        self.write(move |c| Ok(store::reset_quota_limits(c, &project)?)).await
    }

    /// The projects whose limits are not all the default ones.
    pub async fn projects_with_quota(&self) -> Result<Vec<ProjectId>> {
        self.read(|c| Ok(store::projects_with_quota(c)?)).await
    }
}
