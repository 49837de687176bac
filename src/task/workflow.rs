//! What a workflow is: a plain list of named steps over a typed state.

use crate::store::{Connection, StoreError};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Why a step failed, in the form that is kept with the task and becomes the server's fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepError {
    /// HTTP-like code of the fault.
    pub code: u16,
    /// For the owner: what failed, why, and what to do. No secrets.
    pub message: String,
    /// For admins: the chain of causes.
    pub details: String,
    /// Whether the same step may succeed soon, as when the hypervisor restarts: it is then tried again for a while.
    pub transient: bool,
}

impl StepError {
    pub fn new(code: u16, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: String::new(), transient: false }
    }

    /// A fault whose words are the error's own and whose details are its chain of causes.
    pub fn of(error: &(dyn StdError + 'static)) -> Self {
        let mut details = vec![error.to_string()];
        let mut next = error.source();
        while let Some(cause) = next {
            details.push(cause.to_string());
            next = cause.source();
        }
        Self {
            code: 500,
            message: error.to_string(),
            details: details.join("\n  because: "),
            transient: false,
        }
    }

    #[must_use]
    pub fn transient(mut self) -> Self {
        self.transient = true;
        self
    }
}

impl From<StoreError> for StepError {
    fn from(error: StoreError) -> Self {
        let full = error.is_full();
        let mut step_error = Self::of(&error);
        if full {
            step_error.message = "The disk of this host is full.".into();
        }
        // A full or busy database is the host's trouble of the moment, not the task's.
        step_error.transient = true;
        step_error
    }
}

pub type StepFuture<'a> = Pin<Box<dyn Future<Output = Result<(), StepError>> + Send + 'a>>;

/// Does (or undoes) one step: looks first, then does only what is missing.
pub type StepFn<W> =
    for<'a> fn(&'a <W as Workflow>::Env, &'a mut <W as Workflow>::State, &'a StepContext) -> StepFuture<'a>;

/// Changes rows in the very transaction that logs the step's start (a task state, an action event).
pub type EnterFn<W> =
    fn(&Connection, &<W as Workflow>::State, &TaskInfo, Timestamp) -> Result<(), StoreError>;

/// One step. Its name is stored: names may be added, never changed.
pub struct Step<W: Workflow> {
    pub name: &'static str,
    pub enter: Option<EnterFn<W>>,
    pub run: StepFn<W>,
    /// Ensures that what the step makes is absent. `None` where a step makes nothing that outlives the task.
    pub undo: Option<StepFn<W>>,
    /// The longest that one try may take.
    pub deadline: Duration,
    /// Whether nothing of what it does is left when the host loses power.
    pub volatile: bool,
}

impl<W: Workflow> Step<W> {
    pub fn new(name: &'static str, run: StepFn<W>) -> Self {
        Self { name, enter: None, run, undo: None, deadline: Duration::from_secs(600), volatile: false }
    }

    #[must_use]
    pub fn undo(mut self, undo: StepFn<W>) -> Self {
        self.undo = Some(undo);
        self
    }

    #[must_use]
    pub fn enter(mut self, enter: EnterFn<W>) -> Self {
        self.enter = Some(enter);
        self
    }

    /// For a step that can be repeated at any time and only changes what the host forgets when it loses power: it is logged
    /// beside its run, not before it.
    #[must_use]
    pub fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

/// What a step may know of its task.
pub struct StepContext {
    pub task: TaskInfo,
    /// Cancelled when a later task of the subject wants this one to stop. Steps that wait should listen.
    pub preempted: CancellationToken,
}

#[derive(Debug, Clone)]
pub struct TaskInfo {
    pub id: i64,
    pub subject: String,
    /// The API request that made the task.
    pub request_id: String,
}

/// What happens to a workflow whose step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Every begun step is undone, the failed one included.
    Unwind,
    /// The step is tried again, with growing pauses, until it succeeds.
    Forward,
}

/// Why a workflow was unwound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    Failed(StepError),
    /// A later task of the subject took its place.
    Preempted,
}

/// A kind of task.
pub trait Workflow: Send + Sync + Sized + 'static {
    /// Stored with each task: never changed.
    const NAME: &'static str;
    const DIRECTION: Direction;
    /// What the steps work with (store, host, clock); given once, when the workflow is registered.
    type Env: Send + Sync + 'static;
    /// What the steps know and have learnt; saved after each step.
    type State: Serialize + DeserializeOwned + Send + Sync + 'static;

    fn steps() -> Vec<Step<Self>>;

    /// Closes a task whose steps all ran, in the transaction that closes it.
    fn done(c: &Connection, state: &Self::State, task: &TaskInfo, now: Timestamp) -> Result<(), StoreError>;

    /// Closes a task that was undone. To be written for every workflow that goes back.
    ///
    /// # Errors
    /// A `Forward` workflow is never undone.
    fn unwound(
        _: &Connection,
        _: &Self::State,
        task: &TaskInfo,
        _: &Cause,
        _: Timestamp,
    ) -> Result<(), StoreError> {
        Err(not_for_forward(Self::NAME, task))
    }

    /// Closes a task that could not even be undone. To be written for every workflow that goes back.
    ///
    /// # Errors
    /// A `Forward` workflow is never stuck.
    fn stuck(
        _: &Connection,
        _: &Self::State,
        task: &TaskInfo,
        _: &Cause,
        _: Timestamp,
    ) -> Result<(), StoreError> {
        Err(not_for_forward(Self::NAME, task))
    }
}

fn not_for_forward(workflow: &str, task: &TaskInfo) -> StoreError {
    StoreError::Corrupt(format!("task {} of {workflow}, which only goes forward, came back", task.id))
}
