//! Brings rows and reality together: wholly at start and when the hypervisor comes back, at once by events, and now and
//! then by a sweep, since an event can be lost.
//!
//! ```text
//!   event of a domain ----> a few moments, to gather more ----> look at those servers
//!   reconnected, lagged --> look at everything
//!   now and then ---------> look at everything; orphans
//!   the host was rebooted -> servers that ran are started again (`autostart`)
//!   no room for a disk ----> the guest stands still until there is some (`stalled`)
//! ```
//!
//! A server with a task is left to the task and looked at again when that is over. Where nothing has changed nothing is
//! written.

pub mod autostart;
pub mod host_networks;
pub mod orphan_sweep;
pub mod power_sync;
mod stalled;
#[cfg(test)]
mod tests;

use super::clock::Clock;
use super::ids::ServerId;
use super::workflow::ServerEnv;
use crate::host::hypervisor::HostEvent;
use crate::store::{servers, tasks};
use autostart::{Autostart, Policy};
use host_networks::ensure_host_networks;
use jiff::SignedDuration;
use orphan_sweep::{Grace, Orphans};
use power_sync::{SyncError, Synced, sync_all, sync_some};
use stalled::Stalled;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How soon and how often the reconciler looks.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How long events are gathered before the servers are looked at.
    pub gather: Duration,
    /// How soon a server that was busy is looked at again.
    pub busy: Duration,
    /// How often a guest is looked at that stands still for want of room on the disk.
    pub stalled: Duration,
    /// How often everything is looked at.
    pub sweep: Duration,
    pub grace: Grace,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            gather: Duration::from_millis(100),
            busy: Duration::from_secs(1),
            stalled: Duration::from_secs(5),
            // What no event told of is seen within a minute.
            sweep: Duration::from_secs(55),
            grace: Grace::default(),
        }
    }
}

/// Which boot of the host this is, and what follows from another one.
#[derive(Debug, Clone)]
pub struct Boot {
    pub id: String,
    pub policy: Policy,
}

/// How long closed tasks are kept.
const TASKS_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Keeps rows and host together for as long as it runs.
pub struct Reconciler {
    env: Arc<ServerEnv>,
    clock: Clock,
    pace: Pace,
    boot: Boot,
    /// `None` until the store and the host could be asked.
    autostart: Option<Autostart>,
    stalled: Stalled,
    orphans: Orphans,
    /// Servers to be looked at, and when.
    pending: BTreeSet<ServerId>,
    look_at: Option<Instant>,
}

impl Reconciler {
    pub fn new(env: Arc<ServerEnv>, clock: Clock, pace: Pace, boot: Boot) -> Self {
        Self {
            env,
            clock,
            pace,
            boot,
            autostart: None,
            stalled: Stalled::default(),
            orphans: Orphans::default(),
            pending: BTreeSet::new(),
            look_at: None,
        }
    }

    /// Looks at everything, then follows events until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut events = self.env.hypervisor.events();
        self.rescue_stranded().await;
        self.everything().await;
        let mut sweep_at = Instant::now() + self.pace.sweep;
        loop {
            let look_at = self.look_at;
            tokio::select! {
                () = stop.cancelled() => return,
                event = events.recv() => match event {
                    Ok(HostEvent::DomainChanged(id) | HostEvent::DomainRebooted(id)) => {
                        self.remember(id, self.pace.gather);
                    }
                    Ok(HostEvent::Disconnected) => {}
                    Ok(HostEvent::Reconnected) => {
                        self.networks().await;
                        self.everything().await;
                    }
                    Err(RecvError::Lagged(_)) => self.everything().await,
                    Err(RecvError::Closed) => {
                        tracing::error!("the host tells of no events any more; only sweeps are left");
                        events = self.env.hypervisor.events();
                        tokio::time::sleep(self.pace.busy).await;
                    }
                },
                () = sleep_until(look_at) => self.look().await,
                () = tokio::time::sleep_until(sweep_at) => {
                    self.everything().await;
                    sweep_at = Instant::now() + self.pace.sweep;
                }
            }
        }
    }

    fn remember(&mut self, id: ServerId, wait: Duration) {
        self.pending.insert(id);
        let at = Instant::now() + wait;
        self.look_at = Some(self.look_at.map_or(at, |earlier| earlier.min(at)));
    }

    async fn look(&mut self) {
        self.look_at = None;
        let ids = std::mem::take(&mut self.pending);
        let waiting = self.waiting();
        let result = sync_some(&self.env, &ids, &waiting, self.clock.now()).await;
        if result.is_err() {
            // A look that failed is made again, with everything else.
            self.pending.clone_from(&ids);
            self.look_at = Some(Instant::now() + self.pace.busy);
        }
        self.conclude(Some(&ids), result).await;
    }

    fn waiting(&self) -> BTreeSet<ServerId> {
        self.autostart.as_ref().map(Autostart::waiting).unwrap_or_default()
    }

    /// Starts what is to be started after a boot of the host, as far as there is room.
    async fn start_again(&mut self) {
        let now = self.clock.now();
        let result = async {
            if self.autostart.is_none() {
                let begun = Autostart::after_boot(&self.env, self.boot.policy, &self.boot.id).await?;
                self.autostart = Some(begun);
            }
            match &mut self.autostart {
                Some(autostart) => autostart.go_on(&self.env, now).await,
                None => Ok(()),
            }
        }
        .await;
        if let Err(error) = result {
            tracing::warn!(%error, "servers could not be started again after the host's boot");
        }
        let starting: Vec<ServerId> = self.autostart.iter().flat_map(Autostart::starting).collect();
        for id in starting {
            self.remember(id, self.pace.busy);
        }
    }

    async fn everything(&mut self) {
        let now = self.clock.now();
        // First: what ran before the host's boot is not to be taken for what has shut itself down.
        self.start_again().await;
        if self.autostart.is_none() {
            return;
        }
        let waiting = self.waiting();
        let result = sync_all(&self.env, &waiting, now).await;
        self.conclude(None, result).await;
        if let Err(error) = self.orphans.sweep(&self.env, self.pace.grace, now).await {
            tracing::warn!(%error, "orphans could not be looked for");
        }
        let before = now.checked_sub(TASKS_KEPT).unwrap_or(now);
        let store = &self.env.store;
        match store.read(move |c| tasks::any_before(c, before)).await {
            Ok(false) => {}
            Ok(true) => {
                if let Err(error) = store.write(move |c| tasks::purge(c, before)).await {
                    tracing::warn!(%error, "old tasks could not be forgotten");
                }
            }
            Err(error) => tracing::warn!(%error, "old tasks could not be looked for"),
        }
    }

    /// Does what follows from a look at some servers, or at all of them.
    async fn conclude(&mut self, looked_at: Option<&BTreeSet<ServerId>>, result: Result<Synced, SyncError>) {
        match result {
            Ok(synced) => {
                self.stalled.note(looked_at, &synced.stalled);
                self.stalled.relieve(&self.env, self.pace.stalled).await;
                let stalled: Vec<ServerId> = self.stalled.ids().collect();
                for id in stalled {
                    self.remember(id, self.pace.stalled);
                }
                for id in synced.busy {
                    self.remember(id, self.pace.busy);
                }
            }
            Err(error) => tracing::warn!(%error, "servers could not be compared with the host"),
        }
        self.start_again().await;
    }

    async fn networks(&self) {
        match ensure_host_networks(&self.env.store, &*self.env.network).await {
            Ok(unmade) => {
                for unmade in unmade {
                    tracing::warn!(network = %unmade.network, error = %unmade.cause, "a network could not be made");
                }
            }
            Err(error) => tracing::warn!(%error, "the host's networks could not be looked after"),
        }
    }

    /// A task state without a task would lock its server for ever.
    async fn rescue_stranded(&self) {
        let now = self.clock.now();
        match self.env.store.write(move |c| servers::rescue_stranded(c, now)).await {
            Ok(rescued) => {
                for id in rescued {
                    tracing::error!(server = %id, "its task was lost; it is in ERROR now and can be deleted");
                }
            }
            Err(error) => tracing::error!(%error, "servers without their tasks could not be looked for"),
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
