//! Runs open tasks: finds what may run, keeps tasks of one subject apart, bounds how many run at once.

use super::failpoint::{Effect, Failpoints, Moment};
use super::log::Progress;
use super::workflow::{Cause, Direction, Step, StepContext, StepError, TaskInfo, Workflow};
use crate::store::tasks::{self, LogEvent, TaskRow, TaskStatus};
use crate::store::{Connection, Store, StoreError};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
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

struct Inner {
    store: Store,
    now: Now,
    tuning: Tuning,
    failpoints: Failpoints,
    workflows: HashMap<&'static str, Box<dyn Runnable>>,
    live: Mutex<HashMap<String, Live>>,
    wake: Notify,
    /// Told whenever a task ended or the list of tasks was looked through.
    changed: Notify,
    ended: Mutex<HashMap<(&'static str, TaskStatus), (u64, Duration)>>,
    permits: Arc<Semaphore>,
    stop: CancellationToken,
    halt: CancellationToken,
    tracker: TaskTracker,
}

struct Live {
    task: i64,
    preempted: CancellationToken,
}

/// How a run of a task ended, for this time.
enum End {
    /// Closed, or parked until the next start, or postponed.
    Rest,
    /// A test wanted the engine dead.
    Halted,
}

trait Runnable: Send + Sync {
    fn run<'a>(
        &'a self,
        inner: &'a Inner,
        row: TaskRow,
        preempted: CancellationToken,
    ) -> BoxFuture<'a, Result<End, StoreError>>;

    fn steps(&self) -> Vec<&'static str>;
}

impl Engine {
    pub fn new(store: Store, now: Now, tuning: Tuning, failpoints: Failpoints) -> Self {
        let permits = Arc::new(Semaphore::new(tuning.parallel.max(1)));
        Self {
            inner: Inner {
                store,
                now,
                tuning,
                failpoints,
                workflows: HashMap::new(),
                live: Mutex::default(),
                wake: Notify::new(),
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
    /// Says that a task was added. Call it after the transaction was committed.
    pub fn wake(&self) {
        self.inner.wake.notify_one();
    }

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

    fn now(&self) -> Timestamp {
        (self.now)()
    }

    fn count(&self, workflow: &'static str, status: TaskStatus, took: Duration) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, sum) = ended.entry((workflow, status)).or_default();
        *count += 1;
        *sum += took;
    }

    fn pause(&self, attempts: u32) -> Duration {
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
                () = self.wake.notified() => {}
                () = sleep_if(pause) => {}
                () = self.stop.cancelled() => return,
                () = self.halt.cancelled() => return,
            }
        }
    }

    /// Starts what may run. Gives the time until a postponed task is due.
    async fn dispatch(self: &Arc<Self>) -> Result<Option<Duration>, StoreError> {
        let rows = self.store.read(tasks::runnable).await?;
        let now = self.now();
        let mut due: Option<Duration> = None;
        for row in rows {
            let mut live = self.live();
            if let Some(running) = live.get(&row.subject) {
                if row.preempted && running.task == row.id {
                    running.preempted.cancel();
                }
                continue;
            }
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
            self.tracker.spawn(async move { inner.carry_out(row, preempted).await });
        }
        Ok(due)
    }

    async fn carry_out(self: Arc<Self>, row: TaskRow, preempted: CancellationToken) {
        let subject = row.subject.clone();
        let (id, workflow) = (row.id, row.workflow.clone());
        let work = async {
            let Ok(_permit) = self.permits.acquire().await else { return };
            let Some(runnable) = self.workflows.get(row.workflow.as_str()) else {
                tracing::error!(task = id, workflow, "no such workflow; the task is left alone");
                return std::future::pending().await;
            };
            match runnable.run(&self, row, preempted).await {
                Ok(End::Rest) => {}
                Ok(End::Halted) => self.halt.cancel(),
                Err(error) => {
                    // What was not written will be done again: every step can be repeated.
                    tracing::error!(task = id, workflow, %error, "a task could not be recorded; trying again");
                    tokio::time::sleep(self.tuning.retry_first).await;
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = self.halt.cancelled() => {}
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

/// A workflow with what its steps work with.
struct Registered<W: Workflow> {
    env: Arc<W::Env>,
    steps: Vec<Step<W>>,
}

impl<W: Workflow> Runnable for Registered<W> {
    fn run<'a>(
        &'a self,
        inner: &'a Inner,
        row: TaskRow,
        preempted: CancellationToken,
    ) -> BoxFuture<'a, Result<End, StoreError>> {
        Box::pin(async move {
            let id = row.id;
            let read = move |c: &Connection| Ok::<_, StoreError>((tasks::get(c, id)?, tasks::log(c, id)?));
            let (now_row, log) = inner.store.read(read).await?;
            // The list that it was found in may be older than its end; from here on nobody else has it.
            let Some(row) = now_row.filter(|now| now.status.is_open() && now.not_before == row.not_before)
            else {
                return Ok(End::Rest);
            };
            let parsed = Progress::of(&log)
                .map_err(|e| e.to_string())
                .and_then(|p| serde_json::from_str(&row.state).map(|s| (p, s)).map_err(|e| e.to_string()));
            let (progress, state) = match parsed {
                Ok(parsed) => parsed,
                Err(reason) => {
                    tracing::error!(
                        task = id,
                        workflow = W::NAME,
                        reason,
                        "a task cannot be read; it is stuck"
                    );
                    let now = inner.now();
                    inner.store.write(move |c| tasks::close(c, id, TaskStatus::Stuck, now)).await?;
                    return Ok(End::Rest);
                }
            };
            let context = StepContext {
                task: TaskInfo { id, subject: row.subject.clone(), request_id: row.request_id.clone() },
                preempted,
            };
            let begun = Instant::now();
            Run { workflow: self, inner, row, context, progress, state, begun }.go().await
        })
    }

    fn steps(&self) -> Vec<&'static str> {
        self.steps.iter().map(|step| step.name).collect()
    }
}

/// One run of one task.
struct Run<'r, W: Workflow> {
    workflow: &'r Registered<W>,
    inner: &'r Inner,
    row: TaskRow,
    context: StepContext,
    progress: Progress,
    state: W::State,
    begun: Instant,
}

impl<W: Workflow> Run<'_, W> {
    async fn go(&mut self) -> Result<End, StoreError> {
        if self.row.status == TaskStatus::Unwinding {
            let cause = match &self.row.error {
                Some(text) => serde_json::from_str(text).map_err(|e| StoreError::Corrupt(e.to_string()))?,
                None => Cause::Preempted,
            };
            return self.unwind(cause).await;
        }
        self.forward().await
    }

    async fn forward(&mut self) -> Result<End, StoreError> {
        let workflow = self.workflow;
        let mut ended: Option<&'static str> = None;
        let mut index = self.progress.succeeded;
        let mut attempts = 0;
        while let Some(step) = workflow.steps.get(index) {
            if W::DIRECTION == Direction::Unwind && self.context.preempted.is_cancelled() {
                self.turn_back(ended, None, &Cause::Preempted).await?;
                return self.unwind(Cause::Preempted).await;
            }
            if self.inner.stop.is_cancelled() {
                self.log_end(ended).await?;
                return Ok(End::Rest);
            }
            if let Some(Effect::Halt) = self.meet(step.name, Moment::BeforeStart) {
                return Ok(End::Halted);
            }
            self.log_start(ended.take(), step).await?;
            match self.attempt(step).await {
                Attempt::Halted => return Ok(End::Halted),
                Attempt::Ended(Ok(())) => {
                    ended = Some(step.name);
                    index += 1;
                    attempts = 0;
                }
                Attempt::Ended(Err(error)) => match W::DIRECTION {
                    Direction::Forward => {
                        self.postpone(step.name, &error).await?;
                        return Ok(End::Rest);
                    }
                    Direction::Unwind if error.transient && attempts < self.inner.tuning.transient_tries => {
                        tracing::warn!(
                            task = self.row.id,
                            step = step.name,
                            error = error.message,
                            "a step is tried again"
                        );
                        let pause = self.inner.pause(attempts);
                        attempts += 1;
                        tokio::select! {
                            () = tokio::time::sleep(pause) => {}
                            () = self.context.preempted.cancelled() => {}
                            () = self.inner.stop.cancelled() => {}
                        }
                    }
                    Direction::Unwind => {
                        // A step that was told to give way and did so has not failed.
                        let cause = if self.context.preempted.is_cancelled() {
                            Cause::Preempted
                        } else {
                            Cause::Failed(error)
                        };
                        self.turn_back(None, Some(step.name), &cause).await?;
                        return self.unwind(cause).await;
                    }
                },
            }
        }
        self.close(ended, TaskStatus::Done, |c, state, task, now| W::done(c, state, task, now)).await
    }

    async fn unwind(&mut self, cause: Cause) -> Result<End, StoreError> {
        let workflow = self.workflow;
        let left: Vec<String> = self.progress.to_undo().map(str::to_owned).collect();
        for name in left {
            let Some(step) = workflow.steps.iter().find(|step| step.name == name) else {
                tracing::error!(task = self.row.id, step = name, "a begun step is unknown to this program");
                return self
                    .close(None, TaskStatus::Stuck, move |c, s, t, now| W::stuck(c, s, t, &cause, now))
                    .await;
            };
            if step.undo.is_some() {
                if self.inner.stop.is_cancelled() {
                    return Ok(End::Rest);
                }
                if let Some(Effect::Halt) = self.meet(step.name, Moment::BeforeUndo) {
                    return Ok(End::Halted);
                }
                self.append(step.name, LogEvent::UndoStarted).await?;
                match self.undo(step).await {
                    Attempt::Halted => return Ok(End::Halted),
                    Attempt::Ended(Ok(())) => {}
                    Attempt::Ended(Err(error)) => {
                        tracing::error!(
                            task = self.row.id,
                            step = step.name,
                            error = error.details,
                            "an undo failed for good"
                        );
                        self.append(step.name, LogEvent::UndoFailed).await?;
                        return self
                            .close(None, TaskStatus::Stuck, move |c, s, t, now| {
                                W::stuck(c, s, t, &cause, now)
                            })
                            .await;
                    }
                }
            }
            self.append(step.name, LogEvent::UndoFinished).await?;
        }
        self.close(None, TaskStatus::Unwound, move |c, s, t, now| W::unwound(c, s, t, &cause, now)).await
    }

    /// Tries a step once.
    async fn attempt(&mut self, step: &Step<W>) -> Attempt {
        let wanted = self.meet(step.name, Moment::AfterStart);
        match wanted {
            Some(Effect::Halt | Effect::Kill) => return Attempt::Halted,
            Some(Effect::Fail) => return Attempt::Ended(Err(StepError::new(500, "a wanted failure"))),
            Some(Effect::Repeat) | None => {}
        }
        let mut result = self.guarded(step.run, step.deadline).await;
        if wanted == Some(Effect::Repeat) && result.is_ok() {
            result = self.guarded(step.run, step.deadline).await;
        }
        match self.meet(step.name, Moment::AfterRun) {
            Some(Effect::Halt | Effect::Kill) => Attempt::Halted,
            Some(Effect::Fail) => Attempt::Ended(Err(StepError::new(500, "a wanted failure"))),
            Some(Effect::Repeat) | None => Attempt::Ended(result),
        }
    }

    /// Undoes a step, several times if need be.
    async fn undo(&mut self, step: &Step<W>) -> Attempt {
        let Some(undo) = step.undo else { return Attempt::Ended(Ok(())) };
        let mut attempts = 0;
        loop {
            let mut result = self.guarded(undo, step.deadline).await;
            match self.meet(step.name, Moment::AfterUndo) {
                Some(Effect::Halt | Effect::Kill) => return Attempt::Halted,
                Some(Effect::Repeat) if result.is_ok() => result = self.guarded(undo, step.deadline).await,
                Some(Effect::Fail) => result = Err(StepError::new(500, "a wanted failure")),
                Some(Effect::Repeat) | None => {}
            }
            let Err(error) = result else { return Attempt::Ended(Ok(())) };
            attempts += 1;
            if attempts >= self.inner.tuning.undo_tries || self.inner.stop.is_cancelled() {
                return Attempt::Ended(Err(error));
            }
            tokio::time::sleep(self.inner.pause(attempts)).await;
        }
    }

    /// Runs a step function with its deadline; a panic is a failure like another.
    async fn guarded(
        &mut self,
        run: super::workflow::StepFn<W>,
        deadline: Duration,
    ) -> Result<(), StepError> {
        let work = AssertUnwindSafe(run(&self.workflow.env, &mut self.state, &self.context)).catch_unwind();
        match tokio::time::timeout(deadline, work).await {
            Ok(Ok(result)) => result,
            Ok(Err(_panic)) => Err(StepError::new(500, "An unexpected error happened on the server.")),
            Err(_elapsed) => Err(StepError::new(
                500,
                format!("The operation did not end within {} s.", deadline.as_secs()),
            )),
        }
    }

    fn meet(&self, step: &str, moment: Moment) -> Option<Effect> {
        self.inner.failpoints.meet(W::NAME, step, moment)
    }

    fn state_text(&self) -> Result<String, StoreError> {
        serde_json::to_string(&self.state).map_err(|e| StoreError::Corrupt(e.to_string()))
    }

    /// One transaction: the end of the step before, the start of this one, the state, and the rows that show it.
    async fn log_start(&self, ended: Option<&'static str>, step: &Step<W>) -> Result<(), StoreError> {
        let (name, enter) = (step.name, step.enter);
        let (now, state, task) = (self.inner.now(), self.state_text()?, self.context.task.clone());
        self.inner
            .store
            .write(move |c| {
                if let Some(ended) = ended {
                    tasks::append(c, task.id, ended, LogEvent::Succeeded, None, now)?;
                }
                tasks::append(c, task.id, name, LogEvent::Started, None, now)?;
                tasks::save(c, task.id, TaskStatus::Running, &state, now)?;
                match enter {
                    Some(enter) => enter(c, &parse::<W>(&state)?, &task, now),
                    None => Ok(()),
                }
            })
            .await
    }

    async fn log_end(&self, ended: Option<&'static str>) -> Result<(), StoreError> {
        let Some(ended) = ended else { return Ok(()) };
        let (id, now, state) = (self.row.id, self.inner.now(), self.state_text()?);
        self.inner
            .store
            .write(move |c| {
                tasks::append(c, id, ended, LogEvent::Succeeded, None, now)?;
                tasks::save(c, id, TaskStatus::Running, &state, now)
            })
            .await
    }

    /// Notes that the task goes back from here, and why.
    async fn turn_back(
        &mut self,
        ended: Option<&'static str>,
        failed: Option<&'static str>,
        cause: &Cause,
    ) -> Result<(), StoreError> {
        let (id, now, state) = (self.row.id, self.inner.now(), self.state_text()?);
        let error = serde_json::to_string(cause).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        self.inner
            .store
            .write(move |c| {
                if let Some(ended) = ended {
                    tasks::append(c, id, ended, LogEvent::Succeeded, None, now)?;
                }
                if let Some(failed) = failed {
                    tasks::append(c, id, failed, LogEvent::Failed, None, now)?;
                }
                tasks::note_error(c, id, &error)?;
                tasks::save(c, id, TaskStatus::Unwinding, &state, now)
            })
            .await?;
        self.reload().await
    }

    /// A failed step of a `Forward` workflow is tried later.
    async fn postpone(&self, step: &'static str, error: &StepError) -> Result<(), StoreError> {
        tracing::warn!(
            task = self.row.id,
            workflow = W::NAME,
            step,
            error = error.details,
            "a step is tried again later"
        );
        let (id, now, state, attempts) =
            (self.row.id, self.inner.now(), self.state_text()?, self.row.attempts + 1);
        let detail = error.message.clone();
        let pause = jiff::SignedDuration::try_from(self.inner.pause(attempts)).unwrap_or_default();
        let due = now.checked_add(pause).unwrap_or(now);
        self.inner
            .store
            .write(move |c| {
                tasks::append(c, id, step, LogEvent::Failed, Some(&detail), now)?;
                tasks::save(c, id, TaskStatus::Running, &state, now)?;
                tasks::postpone(c, id, attempts, due, now)
            })
            .await
    }

    async fn append(&self, step: &'static str, event: LogEvent) -> Result<(), StoreError> {
        let (id, now) = (self.row.id, self.inner.now());
        self.inner.store.write(move |c| tasks::append(c, id, step, event, None, now)).await
    }

    /// Closes the task and lets the workflow write what it means, in one transaction.
    async fn close<F>(
        &self,
        ended: Option<&'static str>,
        status: TaskStatus,
        hook: F,
    ) -> Result<End, StoreError>
    where
        F: FnOnce(&crate::store::Connection, &W::State, &TaskInfo, Timestamp) -> Result<(), StoreError>
            + Send
            + 'static,
    {
        let last = self.workflow.steps.last().map_or("", |step| step.name);
        if let Some(Effect::Halt) = self.meet(last, Moment::BeforeClose) {
            return Ok(End::Halted);
        }
        let (now, state, task) = (self.inner.now(), self.state_text()?, self.context.task.clone());
        self.inner
            .store
            .write(move |c| {
                if let Some(ended) = ended {
                    tasks::append(c, task.id, ended, LogEvent::Succeeded, None, now)?;
                }
                hook(c, &parse::<W>(&state)?, &task, now)?;
                tasks::close(c, task.id, status, now)
            })
            .await?;
        self.inner.count(W::NAME, status, self.begun.elapsed());
        if let Some(Effect::Halt) = self.meet(last, Moment::AfterClose) {
            return Ok(End::Halted);
        }
        Ok(End::Rest)
    }

    async fn reload(&mut self) -> Result<(), StoreError> {
        let id = self.row.id;
        let log = self.inner.store.read(move |c| tasks::log(c, id)).await?;
        self.progress = Progress::of(&log).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        Ok(())
    }
}

enum Attempt {
    Ended(Result<(), StepError>),
    Halted,
}

fn parse<W: Workflow>(state: &str) -> Result<W::State, StoreError> {
    serde_json::from_str(state).map_err(|e| StoreError::Corrupt(e.to_string()))
}
