//! What the workflows of a server's verbs have in common: a step that fails turns them back, and their end is written down in
//! the same way. Each says what its end means for the server.

use super::{ServerEnv, ServerTask, record};
use crate::store::servers::{self, Outcome};
use crate::store::{Connection, StoreError};
use crate::task::{Cause, Direction, Step, TaskInfo, Workflow};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A workflow of a server that goes back when a step fails.
pub trait Verb: Send + Sync + Sized + 'static {
    /// Stored with each task: never changed.
    const NAME: &'static str;
    /// What the steps know and have learnt.
    type State: Serialize + DeserializeOwned + Send + Sync + 'static;

    fn steps() -> Vec<Step<Self>>;

    /// What the state says of the server and the action.
    fn task(state: &Self::State) -> &ServerTask;

    /// What becomes of the server when all steps ran. Writes what else changes with it.
    fn done(
        c: &Connection,
        state: &Self::State,
        info: &TaskInfo,
        now: Timestamp,
    ) -> Result<Outcome, StoreError>;

    /// What becomes of it when the begun steps were undone; unless told otherwise it is what it was.
    fn undone(_: &Connection, _: &Self::State, _: &Cause, _: Timestamp) -> Result<Outcome, StoreError> {
        Ok(Outcome::default())
    }

    /// What becomes of it when they could not even be undone; unless told otherwise the same.
    fn stuck(
        c: &Connection,
        state: &Self::State,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<Outcome, StoreError> {
        Self::undone(c, state, cause, now)
    }

    /// Whether the events of the action end with this task, if it ends well.
    fn ends_events(_: &Self::State) -> bool {
        true
    }
}

impl<V: Verb> Workflow for V {
    const NAME: &'static str = <V as Verb>::NAME;
    const DIRECTION: Direction = Direction::Unwind;
    type Env = ServerEnv;
    type State = <V as Verb>::State;

    fn steps() -> Vec<Step<Self>> {
        <V as Verb>::steps()
    }

    fn done(c: &Connection, state: &Self::State, info: &TaskInfo, now: Timestamp) -> Result<(), StoreError> {
        let outcome = <V as Verb>::done(c, state, info, now)?;
        let task = V::task(state);
        if V::ends_events(state) {
            return record::succeed(c, task, info, outcome, now);
        }
        servers::finish(c, task.server, info.id, outcome, now)
    }

    fn unwound(
        c: &Connection,
        state: &Self::State,
        info: &TaskInfo,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let outcome = V::undone(c, state, cause, now)?;
        record::fail(c, V::task(state), info, cause, outcome, now)
    }

    fn stuck(
        c: &Connection,
        state: &Self::State,
        info: &TaskInfo,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let outcome = <V as Verb>::stuck(c, state, cause, now)?;
        record::fail(c, V::task(state), info, cause, outcome, now)
    }
}
