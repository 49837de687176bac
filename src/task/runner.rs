//! Runs open tasks: finds what may run, keeps tasks of one subject apart, bounds how many run at once.

use super::failpoint::Failpoints;
use super::run::{End, Log, Registered, Runnable};
use super::workflow::Workflow;
use crate::store::tasks::{self, TaskRow, TaskStatus};
use crate::store::{Connection, Store, StoreError};
use jiff::Timestamp;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How patient the engine is.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// How many tasks run at once.
    pub parallel: usize,
    /// The first pause before something is tried again; it doubles up to `retry_max`.
    pub retry_first: Duration,
    pub retry_max: Duration,
    /// How often a step is tried again after a transient failure before its workflow unwinds.
    pub transient_tries: u32,
    /// How often an undo is tried before the task is stuck.
    pub undo_tries: u32,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            parallel: 20,
            retry_first: Duration::from_millis(500),
            retry_max: Duration::from_secs(30),
            transient_tries: 8,
            undo_tries: 8,
        }
    }
}

/// The engine before it runs: workflows are registered, then it is started.
pub struct Engine {
    inner: Inner,
}

/// How many tasks of a workflow ended with one result, and how long they ran in all since this process took them up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedTasks {
    pub workflow: &'static str,
    pub result: &'static str,
    pub count: u64,
    pub took: Duration,
}

/// Handle on the running engine; cheap to clone.
#[derive(Clone)]
pub struct Tasks {
    inner: Arc<Inner>,
}

/// How many tasks ended, and how long they ran, by workflow and result.
type Ended = HashMap<(&'static str, TaskStatus), (u64, Duration)>;

pub(super) struct Inner {
    pub(super) store: Store,
    now: Now,
    pub(super) tuning: Tuning,
    pub(super) failpoints: Failpoints,
    workflows: HashMap<&'static str, Box<dyn Runnable>>,
    live: Mutex<HashMap<String, Live>>,
    /// Told whenever tasks were added (by the store) or one ended.
    wake: Arc<Notify>,
    /// Told whenever a task ended or the list of tasks was looked through.
    changed: Notify,
    ended: Mutex<Ended>,
    permits: Arc<Semaphore>,
    pub(super) stop: CancellationToken,
    halt: CancellationToken,
    tracker: TaskTracker,
}

struct Live {
    task: i64,
    preempted: CancellationToken,
}

impl Engine {
    pub fn new(store: Store, now: Now, tuning: Tuning, failpoints: Failpoints) -> Self {
        let permits = Arc::new(Semaphore::new(tuning.parallel.max(1)));
        let wake = store.new_tasks();
        Self {
            inner: Inner {
                store,
                now,
                tuning,
                failpoints,
                workflows: HashMap::new(),
                live: Mutex::default(),
                wake,
                changed: Notify::new(),
                ended: Mutex::default(),
                permits,
                stop: CancellationToken::new(),
                halt: CancellationToken::new(),
                tracker: TaskTracker::new(),
            },
        }
    }

    /// Adds a kind of task with what its steps work with.
    #[must_use]
    pub fn register<W: Workflow>(mut self, env: Arc<W::Env>) -> Self {
        self.inner.workflows.insert(W::NAME, Box::new(Registered::<W> { env, steps: W::steps() }));
        self
    }

    /// The names of all workflows and their steps, for tests that go through all of them.
    pub fn catalogue(&self) -> Vec<(&'static str, Vec<&'static str>)> {
        self.inner.workflows.iter().map(|(name, workflow)| (*name, workflow.steps())).collect()
    }

    /// Starts to work, first on what an earlier process left open.
    pub fn start(self) -> Tasks {
        self.start_after(std::future::ready(()))
    }

    /// As [`Engine::start`], but begins only when `ready` is; tasks can be added at once.
    pub fn start_after(self, ready: impl Future<Output = ()> + Send + 'static) -> Tasks {
        let tasks = Tasks { inner: Arc::new(self.inner) };
        let inner = tasks.inner.clone();
        tasks.inner.tracker.spawn(async move {
            tokio::select! {
                () = ready => inner.dispatch_loop().await,
                () = inner.stop.cancelled() => {}
            }
        });
        tasks
    }
}

impl Tasks {
    /// Stops: running steps end, then their tasks are parked for the next start. Waits at most `patience`.
    pub async fn stop(&self, patience: Duration) {
        self.inner.stop.cancel();
        self.inner.tracker.close();
        if tokio::time::timeout(patience, self.inner.tracker.wait()).await.is_err() {
            tracing::warn!("some steps still run; their tasks go on at the next start");
            self.inner.halt.cancel();
        }
    }

    /// Waits until no task is open (or the engine halted).
    pub async fn settled(&self) -> Result<(), StoreError> {
        loop {
            let changed = self.inner.changed.notified();
            if self.inner.halt.is_cancelled() {
                return Ok(());
            }
            let open = self.inner.store.read(tasks::runnable).await?;
            if open.is_empty() && self.inner.live().is_empty() {
                return Ok(());
            }
            changed.await;
        }
    }

    /// The tasks that ended since the engine was made, by workflow and result.
    pub fn ended(&self) -> Vec<EndedTasks> {
        let ended = self.inner.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended
            .iter()
            .map(|((workflow, status), (count, took))| EndedTasks {
                workflow,
                result: status.as_str(),
                count: *count,
                took: *took,
            })
            .collect()
    }

    /// Waits until the store shows that something is so, as tasks bring it about (or the engine halted).
    pub async fn until<F>(&self, so: F) -> Result<(), StoreError>
    where
        F: Fn(&crate::store::Connection) -> Result<bool, StoreError> + Clone + Send + 'static,
    {
        loop {
            let changed = self.inner.changed.notified();
            if self.inner.halt.is_cancelled() || self.inner.store.read(so.clone()).await? {
                return Ok(());
            }
            changed.await;
        }
    }

    /// Whether a test's failpoint stopped the engine.
    pub fn halted(&self) -> bool {
        self.inner.halt.is_cancelled()
    }
}

impl Inner {
    fn live(&self) -> MutexGuard<'_, HashMap<String, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.now)()
    }

    pub(super) fn count(&self, workflow: &'static str, status: TaskStatus, took: Duration) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, sum) = ended.entry((workflow, status)).or_default();
        *count += 1;
        *sum += took;
    }

    pub(super) fn pause(&self, attempts: u32) -> Duration {
        self.tuning.retry_first.saturating_mul(1 << attempts.min(16)).min(self.tuning.retry_max)
    }

    async fn dispatch_loop(self: Arc<Self>) {
        loop {
            let pause = match self.dispatch().await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::error!(%error, "the list of tasks could not be read");
                    Some(self.tuning.retry_max)
                }
            };
            self.changed.notify_waiters();
            tokio::select! {
                biased;
                () = self.halt.cancelled() => return,
                () = self.stop.cancelled() => return,
                () = self.wake.notified() => {}
                () = sleep_if(pause) => {}
            }
        }
    }

    /// Starts what may run. Gives the time until a postponed task is due.
    async fn dispatch(self: &Arc<Self>) -> Result<Option<Duration>, StoreError> {
        // Whoever is at work now may be at its end before the rows are read, or after: its end wakes us again.
        let at_work: HashSet<String> = self.live().keys().cloned().collect();
        let read = move |c: &Connection| {
            let rows = tasks::runnable(c)?.into_iter();
            let found = rows.map(|row| {
                let log = if at_work.contains(&row.subject) { None } else { Some(tasks::log(c, row.id)?) };
                Ok((row, log))
            });
            found.collect::<Result<Vec<_>, StoreError>>()
        };
        let rows = self.store.read(read).await?;
        let now = self.now();
        let mut due: Option<Duration> = None;
        for (row, log) in rows {
            let mut live = self.live();
            if let Some(running) = live.get(&row.subject) {
                if row.preempted && running.task == row.id {
                    running.preempted.cancel();
                }
                continue;
            }
            let Some(log) = log else { continue };
            let wait = row.not_before.saturating_sub(now.as_microsecond());
            if wait > 0 {
                let wait = Duration::from_micros(wait.unsigned_abs());
                due = Some(due.map_or(wait, |other| other.min(wait)));
                continue;
            }
            let preempted = CancellationToken::new();
            if row.preempted {
                preempted.cancel();
            }
            live.insert(row.subject.clone(), Live { task: row.id, preempted: preempted.clone() });
            drop(live);
            let inner = self.clone();
            self.tracker.spawn(async move { inner.carry_out(row, log, preempted).await });
        }
        Ok(due)
    }

    async fn carry_out(self: Arc<Self>, row: TaskRow, log: Log, preempted: CancellationToken) {
        let subject = row.subject.clone();
        let (id, workflow) = (row.id, row.workflow.clone());
        let work = async {
            let Ok(_permit) = self.permits.acquire().await else { return };
            let Some(runnable) = self.workflows.get(row.workflow.as_str()) else {
                tracing::error!(task = id, workflow, "no such workflow; the task is left alone");
                return std::future::pending().await;
            };
            match runnable.run(&self, row, log, preempted).await {
                Ok(End::Rest) => {}
                Ok(End::Halted) => self.halt.cancel(),
                Err(error) => {
                    // What was not written will be done again: every step can be repeated.
                    tracing::error!(task = id, workflow, %error, "a task could not be recorded; trying again");
                    tokio::time::sleep(self.tuning.retry_first).await;
                }
            }
        };
        // In this order: a halted engine takes not one more step, also where the next one could be taken at once.
        tokio::select! {
            biased;
            () = self.halt.cancelled() => {}
            () = work => {}
        }
        self.live().remove(&subject);
        self.wake.notify_one();
        self.changed.notify_waiters();
    }
}

async fn sleep_if(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}
