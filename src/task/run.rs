//! One task from where it stands to its end: step after step forward, or back.

use super::failpoint::{Effect, Moment};
use super::log::Progress;
use super::runner::Inner;
use super::workflow::{Cause, Direction, Step, StepContext, StepError, TaskInfo, Workflow};
use crate::store::tasks::{self, LogEvent, TaskRow, TaskStatus};
use crate::store::{Connection, StoreError};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How a run of a task ended, for this time.
pub(super) enum End {
    /// Closed, or parked until the next start, or postponed.
    Rest,
    /// A test wanted the engine dead.
    Halted,
}

/// What happened to the steps of a task, oldest first.
pub(super) type Log = Vec<(String, LogEvent)>;

pub(super) trait Runnable: Send + Sync {
    fn run<'a>(
        &'a self,
        inner: &'a Inner,
        row: TaskRow,
        log: Log,
        preempted: CancellationToken,
    ) -> BoxFuture<'a, Result<End, StoreError>>;

    fn steps(&self) -> Vec<&'static str>;
}

/// A workflow with what its steps work with.
pub(super) struct Registered<W: Workflow> {
    pub(super) env: Arc<W::Env>,
    pub(super) steps: Vec<Step<W>>,
}

impl<W: Workflow> Runnable for Registered<W> {
    fn run<'a>(
        &'a self,
        inner: &'a Inner,
        row: TaskRow,
        log: Log,
        preempted: CancellationToken,
    ) -> BoxFuture<'a, Result<End, StoreError>> {
        Box::pin(async move {
            let id = row.id;
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
            let attempt = if step.volatile && self.is_begun(index) {
                self.attempt(step).await
            } else {
                let begun = self.log_start(ended.take(), step)?;
                if step.volatile {
                    // If the process dies before this is committed, the step is merely run again.
                    let (begun, attempt) = tokio::join!(begun, self.attempt(step));
                    begun?;
                    attempt
                } else {
                    begun.await?;
                    self.attempt(step).await
                }
            };
            match attempt {
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
        self.close(TaskStatus::Done, |c, state, task, now| W::done(c, state, task, now)).await
    }

    /// Whether the log that the run began with ends in this step.
    fn is_begun(&self, index: usize) -> bool {
        index == self.progress.succeeded && self.progress.started.len() > index
    }

    async fn unwind(&mut self, cause: Cause) -> Result<End, StoreError> {
        let workflow = self.workflow;
        let left: Vec<String> = self.progress.to_undo().map(str::to_owned).collect();
        for name in left {
            let Some(step) = workflow.steps.iter().find(|step| step.name == name) else {
                tracing::error!(task = self.row.id, step = name, "a begun step is unknown to this program");
                return self
                    .close(TaskStatus::Stuck, move |c, s, t, now| W::stuck(c, s, t, &cause, now))
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
                            .close(TaskStatus::Stuck, move |c, s, t, now| W::stuck(c, s, t, &cause, now))
                            .await;
                    }
                }
            }
            self.append(step.name, LogEvent::UndoFinished).await?;
        }
        self.close(TaskStatus::Unwound, move |c, s, t, now| W::unwound(c, s, t, &cause, now)).await
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
    fn log_start(
        &self,
        ended: Option<&'static str>,
        step: &Step<W>,
    ) -> Result<impl Future<Output = Result<(), StoreError>> + use<W>, StoreError> {
        let (name, enter) = (step.name, step.enter);
        let (now, state, task) = (self.inner.now(), self.state_text()?, self.context.task.clone());
        let job = move |c: &Connection| {
            if let Some(ended) = ended {
                tasks::append(c, task.id, ended, LogEvent::Succeeded, None, now)?;
            }
            tasks::append(c, task.id, name, LogEvent::Started, None, now)?;
            tasks::save(c, task.id, TaskStatus::Running, &state, now)?;
            match enter {
                Some(enter) => enter(c, &parse::<W>(&state)?, &task, now),
                None => Ok(()),
            }
        };
        let (store, volatile) = (self.inner.store.clone(), step.volatile);
        Ok(async move { if volatile { store.write_unflushed(job).await } else { store.write(job).await } })
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

    /// Closes the task and lets the workflow write what it means, in one transaction. Without a flush: should the host lose
    /// power, the task ends again after it. Whatever is accepted later flushes this too.
    async fn close<F>(&self, status: TaskStatus, hook: F) -> Result<End, StoreError>
    where
        F: FnOnce(&Connection, &W::State, &TaskInfo, Timestamp) -> Result<(), StoreError> + Send + 'static,
    {
        let last = self.workflow.steps.last().map_or("", |step| step.name);
        if let Some(Effect::Halt) = self.meet(last, Moment::BeforeClose) {
            return Ok(End::Halted);
        }
        let (now, state, task) = (self.inner.now(), self.state_text()?, self.context.task.clone());
        self.inner
            .store
            .write_unflushed(move |c| {
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
