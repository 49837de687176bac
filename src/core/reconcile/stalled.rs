//! Guests that stand still because the host's disk was full when they wrote: named in the log, and let go on when there is
//! room again. Their unfinished writes are made then; nothing is lost.

use crate::core::ids::ServerId;
use crate::core::workflow::ServerEnv;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// With less room than this a guest would stand still again at once, in bytes.
const ROOM: u64 = 64 << 20;

/// The guests that stand still, each with the time of the last attempt.
#[derive(Debug, Default)]
pub struct Stalled {
    guests: BTreeMap<ServerId, Option<Instant>>,
}

impl Stalled {
    /// Takes note of a look at some servers, or at all of them, among which `stalled` stood still.
    pub fn note(&mut self, looked_at: Option<&BTreeSet<ServerId>>, stalled: &BTreeSet<ServerId>) {
        let unseen = |id: &ServerId| looked_at.is_some_and(|ids| !ids.contains(id));
        self.guests.retain(|id, _| stalled.contains(id) || unseen(id));
        for id in stalled {
            self.guests.entry(*id).or_insert_with(|| {
                tracing::error!(server = %id, "its guest stands still: the disk of this host is full; make room");
                None
            });
        }
    }

    /// Those that stand still.
    pub fn ids(&self) -> impl Iterator<Item = ServerId> {
        self.guests.keys().copied()
    }

    /// Lets guests go on if there is room; each at most once in a `pause`, since something else may keep it standing.
    pub async fn relieve(&mut self, env: &ServerEnv, pause: Duration) {
        let now = Instant::now();
        let due = |last: &Option<Instant>| last.is_none_or(|last| now.duration_since(last) >= pause);
        if !self.guests.values().any(due) {
            return;
        }
        match env.storage.capacity().await {
            Ok((_, free)) if free >= ROOM => {}
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(%error, "the room on the disk is not known; guests that wait for it stand still");
                return;
            }
        }
        for (id, last) in self.guests.iter_mut().filter(|(_, last)| due(last)) {
            *last = Some(now);
            match env.hypervisor.unpause(*id).await {
                Ok(()) => tracing::info!(server = %id, "there is room on the disk again: its guest goes on"),
                Err(error) => tracing::warn!(server = %id, %error, "its guest could not be let go on"),
            }
        }
    }
}
