//! Attempts to give a server another size or another host, as `os-migrations` lists them.
//!
//! On one host only a change of size ever comes to its end.

use super::state::{UnknownState, spelled};
use crate::core::ids::{ProjectId, ServerId, UserId};
use jiff::Timestamp;
use uuid::Uuid;

spelled! {
    /// What was attempted.
    MigrationKind {
        Resize = "resize",
        /// A move of a server that is shut down for it.
        Cold = "migration",
        Live = "live-migration",
    }
}

spelled! {
    /// How far an attempt has come.
    MigrationStatus {
        PreMigrating = "pre-migrating",
        Migrating = "migrating",
        PostMigrating = "post-migrating",
        /// The new size is there to be looked at.
        Finished = "finished",
        Confirming = "confirming",
        Confirmed = "confirmed",
        Reverting = "reverting",
        Reverted = "reverted",
        Error = "error",
    }
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Counts attempts from 1.
    pub number: i64,
    pub uuid: Uuid,
    pub server: ServerId,
    /// Who asked for it.
    pub user_id: Option<UserId>,
    pub project_id: Option<ProjectId>,
    pub kind: MigrationKind,
    pub status: MigrationStatus,
    /// The host that the server was on.
    pub source: Option<String>,
    /// `None` where no host was found.
    pub destination: Option<String>,
    /// Numbers of flavors; `None` for one that is gone.
    pub old_flavor: Option<i64>,
    pub new_flavor: Option<i64>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Which attempts a list shows. `None` does not filter.
#[derive(Debug, Clone, Default)]
pub struct MigrationQuery {
    pub server: Option<String>,
    /// Source or destination.
    pub host: Option<String>,
    pub source: Option<String>,
    pub status: Option<String>,
    pub kind: Option<String>,
    pub user_id: Option<String>,
    pub project_id: Option<String>,
    /// Changed at or after.
    pub changes_since: Option<Timestamp>,
    /// Changed at or before.
    pub changes_before: Option<Timestamp>,
    pub newest_first: bool,
    pub limit: usize,
    /// The UUID of the last attempt of the page before.
    pub marker: Option<String>,
}
