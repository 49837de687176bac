//! Figures of the daemon and of what it looks after, for whoever watches over it. Gathered when asked for.

use super::Deps;
use crate::core::Result;
use crate::core::ids::ServerId;
use crate::host::hypervisor::Hypervisor;
pub use crate::host::hypervisor::statistics::{Statistics, Traffic};
pub use crate::store::StoreFigures;
pub use crate::store::servers::States;
pub use crate::store::tasks::OpenTasks;
use crate::store::{StoreError, servers, tasks};
pub use crate::task::EndedTasks;
use std::sync::Arc;

/// Gathers figures; cheap to clone.
#[derive(Clone)]
pub struct FiguresService {
    deps: Deps,
    hypervisor: Arc<dyn Hypervisor>,
}

/// What is known at one moment.
#[derive(Debug)]
pub struct Figures {
    /// The tasks that ended since the daemon was started.
    pub ended: Vec<EndedTasks>,
    /// The tasks that are not over, and those that are stuck.
    pub open: Vec<OpenTasks>,
    pub store: StoreFigures,
    pub servers: Vec<States>,
    /// Of running guests; `None` while the hypervisor does not answer.
    pub statistics: Option<Vec<(ServerId, Statistics)>>,
}

impl FiguresService {
    pub fn new(deps: Deps, hypervisor: Arc<dyn Hypervisor>) -> Self {
        Self { deps, hypervisor }
    }

    pub async fn gather(&self) -> Result<Figures> {
        let (open, servers) =
            self.deps.store.read::<_, StoreError, _>(|c| Ok((tasks::open(c)?, servers::states(c)?))).await?;
        let statistics = match self.hypervisor.all_statistics().await {
            Ok(statistics) => Some(statistics),
            Err(error) => {
                tracing::warn!(%error, "the figures of the guests are not known");
                None
            }
        };
        Ok(Figures {
            ended: self.deps.tasks.ended(),
            open,
            store: self.deps.store.figures(),
            servers,
            statistics,
        })
    }
}
