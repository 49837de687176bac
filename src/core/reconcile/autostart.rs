//! After a reboot of the host, the servers that ran before it run again: a few at a time, each by an ordinary start with
//! its record. Those that were stopped stay so, and those that were suspended keep their memory on the disk.
//!
//! ```text
//!   another boot than the last one? -- one transaction --> the list of servers to start, and this boot's id
//!   room for one more? ------------- one transaction --> its start, and the list without it
//! ```
//!
//! So a crash of the daemon in between starts none twice and forgets none. A server that waits for its turn is not taken
//! for one that has shut itself down.

use crate::core::ids::ServerId;
use crate::core::server::Server;
use crate::core::server::state::{TaskState, VmState};
use crate::core::workflow::server_start::ServerStart;
use crate::core::workflow::{ServerEnv, unasked};
use crate::host::hypervisor::{DomainState, HypervisorError};
use crate::store::rows::to_json;
use crate::store::{Connection, StoreError, servers, setting, tasks};
use jiff::Timestamp;
use std::collections::{BTreeSet, VecDeque};

/// The metadata key by which an owner overrides the host's policy for one server: `true` or `false`.
pub const METADATA_KEY: &str = "dwarfnova:autostart";

/// The id of the boot in which servers were last looked after.
const BOOT: &str = "host_boot";
/// The servers that are still to be started, as a JSON list.
const WAITING: &str = "autostart_waiting";

/// Whether servers come back by themselves, and how many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    pub enabled: bool,
    pub parallel: usize,
}

/// Why a server could not be started now; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum AutostartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Hypervisor(#[from] HypervisorError),
}

/// The servers that wait for their turn, and those whose turn it is.
#[derive(Debug, Default)]
pub struct Autostart {
    waiting: VecDeque<ServerId>,
    starting: BTreeSet<ServerId>,
    parallel: usize,
}

impl Autostart {
    /// Finds out whether the host has booted since, and which servers are to be started then.
    pub async fn after_boot(env: &ServerEnv, policy: Policy, boot: &str) -> Result<Self, AutostartError> {
        let recorded = env.store.read(|c| setting::get(c, BOOT)).await?;
        let waiting = if recorded.as_deref() == Some(boot) {
            env.store.read(waiting).await?
        } else {
            let boot = boot.to_owned();
            env.store.write(move |c| note_boot(c, policy, &boot)).await?
        };
        if !waiting.is_empty() {
            tracing::info!(
                servers = waiting.len(),
                "the host was rebooted: servers that ran are started again"
            );
        }
        Ok(Self { waiting: waiting.into(), starting: BTreeSet::new(), parallel: policy.parallel.max(1) })
    }

    /// The servers that are not running although they should, and wait for their turn.
    pub fn waiting(&self) -> BTreeSet<ServerId> {
        self.waiting.iter().copied().collect()
    }

    /// The servers whose start has been asked for and may not have ended.
    pub fn starting(&self) -> impl Iterator<Item = ServerId> {
        self.starting.iter().copied()
    }

    /// Starts as many as there is room for.
    pub async fn go_on(&mut self, env: &ServerEnv, now: Timestamp) -> Result<(), AutostartError> {
        if self.waiting.is_empty() && self.starting.is_empty() {
            return Ok(());
        }
        let asked: Vec<ServerId> = self.starting.iter().copied().collect();
        self.starting = env
            .store
            .read::<_, StoreError, _>(move |c| {
                let busy = |id: &ServerId| tasks::is_busy(c, &id.to_string());
                asked
                    .into_iter()
                    .filter_map(|id| busy(&id).map(|busy| busy.then_some(id)).transpose())
                    .collect()
            })
            .await?;
        while self.starting.len() < self.parallel
            && let Some(id) = self.waiting.front().copied()
        {
            // Before anything is written: if the host cannot be asked, the server keeps its place.
            let runs = match env.hypervisor.state(id).await? {
                Some(DomainState::ShutOff | DomainState::Crashed | DomainState::Saved) | None => false,
                Some(
                    DomainState::Running
                    | DomainState::Paused
                    | DomainState::PausedOnIoError
                    | DomainState::ShuttingDown,
                ) => true,
            };
            let rest: Vec<ServerId> = self.waiting.iter().skip(1).copied().collect();
            let started = env
                .store
                .write::<_, StoreError, _>(move |c| {
                    setting::set(c, WAITING, &to_json(&rest)?)?;
                    if runs { Ok(false) } else { start(c, id, now) }
                })
                .await?;
            self.waiting.pop_front();
            if started {
                self.starting.insert(id);
            }
        }
        Ok(())
    }
}

fn waiting(c: &Connection) -> Result<Vec<ServerId>, StoreError> {
    let Some(text) = setting::get(c, WAITING)? else { return Ok(Vec::new()) };
    serde_json::from_str(&text).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// Notes the boot and, if there was one before, the servers that ran then. Those left over from a boot that was cut short
/// are still rows that ran.
fn note_boot(c: &Connection, policy: Policy, boot: &str) -> Result<Vec<ServerId>, StoreError> {
    let known = setting::get(c, BOOT)?.is_some();
    let mut found = Vec::new();
    if known {
        for states in servers::states(c)? {
            if ran(states.vm_state)
                && states.task_state.is_none()
                && let Some(server) = servers::get(c, states.id)?
                && wanted(&server, policy)
            {
                found.push((server.number, server.id));
            }
        }
    }
    found.sort_unstable();
    let ids: Vec<ServerId> = found.into_iter().map(|(_, id)| id).collect();
    setting::set(c, BOOT, boot)?;
    setting::set(c, WAITING, &to_json(&ids)?)?;
    Ok(ids)
}

/// Whether servers in this state run, be it on what they are rescued with.
fn ran(state: VmState) -> bool {
    matches!(state, VmState::Active | VmState::Rescued)
}

fn wanted(server: &Server, policy: Policy) -> bool {
    match server.metadata.get(METADATA_KEY).map(|value| value.trim().to_ascii_lowercase()).as_deref() {
        Some("true") => true,
        Some("false") => false,
        _ => policy.enabled,
    }
}

/// Records the start, if the server still wants it.
fn start(c: &Connection, id: ServerId, now: Timestamp) -> Result<bool, StoreError> {
    let Some(server) = servers::get(c, id)? else { return Ok(false) };
    if !ran(server.vm_state) || server.task_state.is_some() {
        return Ok(false);
    }
    unasked::<ServerStart>(c, &server, "start", Some(TaskState::PoweringOn), |task| task, now)?;
    Ok(true)
}
