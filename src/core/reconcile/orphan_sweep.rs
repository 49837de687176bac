//! Finds what carries our mark but belongs to no living server: domains, and folders of files. It is named in the log, and
//! removed when it has been seen for long enough. What does not carry our mark is never seen here, let alone touched.

use crate::core::ids::ServerId;
use crate::core::workflow::ServerEnv;
use crate::host::disk::DiskError;
use crate::host::hypervisor::HypervisorError;
use crate::store::{StoreError, servers};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// For how long an orphan is left alone.
#[derive(Debug, Clone, Copy)]
pub struct Grace {
    /// Of a server that was deleted.
    pub deleted: SignedDuration,
    /// Of a server that the database does not know at all: the database may be an old copy, and the guest somebody's.
    pub unknown: SignedDuration,
}

impl Default for Grace {
    fn default() -> Self {
        Self { deleted: SignedDuration::from_mins(10), unknown: SignedDuration::from_hours(24) }
    }
}

/// Why the orphans could not be looked for.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Hypervisor(#[from] HypervisorError),
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The orphans that were seen, each with the time when it was first seen.
#[derive(Debug, Default)]
pub struct Orphans {
    seen: BTreeMap<ServerId, Timestamp>,
}

impl Orphans {
    /// Those that are known now.
    pub fn ids(&self) -> impl Iterator<Item = ServerId> {
        self.seen.keys().copied()
    }

    /// Looks for orphans, names new ones, and removes those whose time is over.
    pub async fn sweep(&mut self, env: &ServerEnv, grace: Grace, now: Timestamp) -> Result<(), SweepError> {
        let mut found: BTreeSet<ServerId> =
            env.hypervisor.domains().await?.into_iter().map(|(id, _)| id).collect();
        found.extend(env.storage.servers().await?);
        // Rows last: whatever was made before it was looked for here has its row by now.
        let found: Vec<ServerId> = found.into_iter().collect();
        let orphans = env.store.read(move |c| servers::without_living_row(c, &found)).await?;
        self.seen.retain(|id, _| orphans.iter().any(|orphan| orphan.id == *id));
        for orphan in orphans {
            let (id, known) = (orphan.id, orphan.was_deleted);
            let first = *self.seen.entry(id).or_insert_with(|| {
                tracing::warn!(server = %id, was_deleted = known, "something on this host belongs to no server");
                now
            });
            let patience = if known { grace.deleted } else { grace.unknown };
            if now.duration_since(first) < patience {
                continue;
            }
            env.hypervisor.destroy(id).await?;
            env.hypervisor.undefine(id).await?;
            env.storage.remove(id).await?;
            self.seen.remove(&id);
            tracing::warn!(server = %id, "what was left of it on this host was removed");
        }
        Ok(())
    }
}
