//! Brings rows in line with what guests do by themselves: one that shut itself down becomes STOPPED, one that was started
//! behind our back is stopped again. Which sight leads to what is `core::server::observe`'s to say.

use crate::core::ids::ServerId;
use crate::core::server::observe::{Follow, observe};
use crate::core::server::state::{PowerState, TaskState, VmState};
use crate::core::workflow::server_stop::{ServerStop, StopState};
use crate::core::workflow::{ServerEnv, unasked};
use crate::host::hypervisor::{DomainState, HypervisorError};
use crate::store::servers::{self, States};
use crate::store::{Connection, StoreError};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Why the host could not be compared with the rows.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Hypervisor(#[from] HypervisorError),
}

/// What came of comparing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// Servers that have a task now: they are to be looked at again when it is over.
    pub busy: BTreeSet<ServerId>,
    /// Idle servers whose guest stands still because its disk could not be written.
    pub stalled: BTreeSet<ServerId>,
}

/// What a domain's state means for the power state.
pub fn power_state(seen: Option<DomainState>) -> PowerState {
    match seen {
        Some(DomainState::Running | DomainState::ShuttingDown) => PowerState::Running,
        Some(DomainState::Paused | DomainState::PausedOnIoError) => PowerState::Paused,
        Some(DomainState::ShutOff | DomainState::Saved) => PowerState::Shutdown,
        Some(DomainState::Crashed) => PowerState::Crashed,
        None => PowerState::NoState,
    }
}

/// Compares all servers with all domains: one look at each side, however many there are. Those in `waiting` are known not
/// to run yet.
pub async fn sync_all(
    env: &ServerEnv,
    waiting: &BTreeSet<ServerId>,
    now: Timestamp,
) -> Result<Synced, SyncError> {
    // Rows first: a server that was placed after this look is not missed but left to its task.
    let rows = env.store.read(servers::states).await?;
    let domains: BTreeMap<ServerId, DomainState> = env.hypervisor.domains().await?.into_iter().collect();
    let mut synced = Synced::default();
    for row in rows {
        if !waiting.contains(&row.id) {
            compare(env, &row, domains.get(&row.id).copied(), now, &mut synced).await?;
        }
    }
    Ok(synced)
}

/// Compares some servers with their domains.
pub async fn sync_some(
    env: &ServerEnv,
    ids: &BTreeSet<ServerId>,
    waiting: &BTreeSet<ServerId>,
    now: Timestamp,
) -> Result<Synced, SyncError> {
    let wanted: Vec<ServerId> = ids.difference(waiting).copied().collect();
    let rows = env.store.read(move |c| servers::states_of(c, &wanted)).await?;
    let mut synced = Synced::default();
    for row in rows {
        if row.task_state.is_some() {
            synced.busy.insert(row.id);
            continue;
        }
        let seen = env.hypervisor.state(row.id).await?;
        compare(env, &row, seen, now, &mut synced).await?;
    }
    Ok(synced)
}

async fn compare(
    env: &ServerEnv,
    row: &States,
    domain: Option<DomainState>,
    now: Timestamp,
    synced: &mut Synced,
) -> Result<(), SyncError> {
    let seen = power_state(domain);
    // One that its owner paused stays so.
    let should_run = row.task_state.is_none() && row.vm_state != VmState::Paused;
    if should_run && domain == Some(DomainState::PausedOnIoError) {
        synced.stalled.insert(row.id);
    }
    let Some(observation) = observe(row.vm_state, row.task_state, seen) else { return Ok(()) };
    match observation.follow {
        Follow::Nothing if row.power_state == observation.power_state => Ok(()),
        Follow::Nothing => {
            let (id, power) = (row.id, observation.power_state);
            env.store.write(move |c| servers::set_power_state(c, id, power, now)).await?;
            Ok(())
        }
        Follow::Report => {
            tracing::warn!(server = %row.id, vm_state = %row.vm_state, "a guest runs that should not");
            Ok(())
        }
        Follow::Stop => {
            // Looked at again: it may have been on its way through this state.
            let seen = power_state(env.hypervisor.state(row.id).await?);
            let id = row.id;
            Ok(env.store.write(move |c| stop(c, id, seen, now)).await?)
        }
    }
}

/// Records the stop that the owner did not ask for, if the row still wants it.
fn stop(c: &Connection, id: ServerId, seen: PowerState, now: Timestamp) -> Result<(), StoreError> {
    let Some(server) = servers::get(c, id)? else { return Ok(()) };
    let observation = observe(server.vm_state, server.task_state, seen);
    servers::set_power_state(c, id, observation.map_or(seen, |observation| observation.power_state), now)?;
    if observation.map(|observation| observation.follow) != Some(Follow::Stop) {
        return Ok(());
    }
    // An active guest that is off is merely to be recorded so; any other is not supposed to run.
    let force = server.vm_state != VmState::Active;
    let state = |task| StopState { task, force };
    unasked::<ServerStop>(c, &server, "stop", Some(TaskState::PoweringOff), state, now)?;
    tracing::info!(server = %id, vm_state = %server.vm_state, power_state = seen.number(), "following the host");
    Ok(())
}
