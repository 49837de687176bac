//! What projects may have and what they have.

use super::Deps;
use crate::core::Result;
use crate::core::ids::ProjectId;
use crate::core::quota::{Limits, Usage};
use crate::store::quotas as rows;

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
}
