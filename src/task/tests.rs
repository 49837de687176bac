//! The engine on a toy workflow that counts what it did in a shared "world".

use super::failpoint::{Effect, Failpoint, Failpoints, Moment};
use super::*;
use crate::core::clock::Clock;
use crate::store::tasks::{self, NewTask, TaskStatus};
use crate::store::{Connection, Store, StoreError};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Default)]
struct World {
    things: Mutex<BTreeSet<String>>,
    /// How often `second` still fails with a transient error.
    hiccups: Mutex<u32>,
    gate: tokio::sync::Notify,
}

impl World {
    fn things(&self) -> Vec<String> {
        self.things.lock().unwrap().iter().cloned().collect()
    }
}

#[derive(Serialize, Deserialize, Default)]
struct ToyState {
    tag: String,
    wait: bool,
}

fn make<'a>(name: &'static str, world: &'a World, state: &'a ToyState) -> StepFuture<'a> {
    Box::pin(async move {
        world.things.lock().unwrap().insert(format!("{}/{name}", state.tag));
        Ok(())
    })
}

fn remove<'a>(name: &'static str, world: &'a World, state: &'a ToyState) -> StepFuture<'a> {
    Box::pin(async move {
        world.things.lock().unwrap().remove(&format!("{}/{name}", state.tag));
        Ok(())
    })
}

fn note(c: &Connection, key: &str, value: &str) -> Result<(), StoreError> {
    c.execute("INSERT OR REPLACE INTO setting VALUES (?1, ?2)", [key, value])?;
    Ok(())
}

struct Build;

impl Workflow for Build {
    const NAME: &'static str = "build";
    const DIRECTION: Direction = Direction::Unwind;
    type Env = World;
    type State = ToyState;

    fn steps() -> Vec<Step<Self>> {
        vec![
            Step::new("first", |w, s, _| make("first", w, s)).undo(|w, s, _| remove("first", w, s)),
            Step::new("second", |w: &World, s: &mut ToyState, context: &StepContext| {
                Box::pin(async move {
                    if s.wait {
                        tokio::select! {
                            () = w.gate.notified() => {}
                            () = context.preempted.cancelled() => {}
                        }
                    }
                    {
                        let mut hiccups = w.hiccups.lock().unwrap();
                        if *hiccups > 0 {
                            *hiccups -= 1;
                            return Err(StepError::new(500, "a hiccup").transient());
                        }
                    }
                    make("second", w, s).await
                })
            })
            .undo(|w, s, _| remove("second", w, s)),
            Step::new("third", |w, s, _| make("third", w, s)).undo(|w, s, _| remove("third", w, s)),
        ]
    }

    fn done(c: &Connection, state: &ToyState, _: &TaskInfo, _: Timestamp) -> Result<(), StoreError> {
        note(c, &state.tag, "done")
    }

    fn unwound(
        c: &Connection,
        s: &ToyState,
        _: &TaskInfo,
        cause: &Cause,
        _: Timestamp,
    ) -> Result<(), StoreError> {
        note(c, &s.tag, if *cause == Cause::Preempted { "preempted" } else { "failed" })
    }

    fn stuck(c: &Connection, s: &ToyState, _: &TaskInfo, _: &Cause, _: Timestamp) -> Result<(), StoreError> {
        note(c, &s.tag, "stuck")
    }
}

struct Raze;

impl Workflow for Raze {
    const NAME: &'static str = "raze";
    const DIRECTION: Direction = Direction::Forward;
    type Env = World;
    type State = ToyState;

    fn steps() -> Vec<Step<Self>> {
        vec![Step::new("all", |world: &World, state: &mut ToyState, _: &StepContext| {
            Box::pin(async move {
                world.things.lock().unwrap().retain(|thing| !thing.starts_with(&format!("{}/", state.tag)));
                Ok(())
            })
        })]
    }

    fn done(c: &Connection, state: &ToyState, _: &TaskInfo, _: Timestamp) -> Result<(), StoreError> {
        note(c, &state.tag, "razed")
    }

    fn unwound(
        _: &Connection,
        _: &ToyState,
        _: &TaskInfo,
        _: &Cause,
        _: Timestamp,
    ) -> Result<(), StoreError> {
        Err(StoreError::Corrupt("a forward workflow was unwound".into()))
    }

    fn stuck(_: &Connection, _: &ToyState, _: &TaskInfo, _: &Cause, _: Timestamp) -> Result<(), StoreError> {
        Err(StoreError::Corrupt("a forward workflow is stuck".into()))
    }
}

struct Bench {
    folder: tempfile::TempDir,
    world: Arc<World>,
    points: Failpoints,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), world: Arc::default(), points: Failpoints::default() }
    }

    /// A new process on the same state.
    async fn start(&self) -> (Store, Tasks) {
        let store = loop {
            match Store::open(self.folder.path()) {
                Ok(store) => break store,
                // The threads of the engine before let go of the lock a moment after it halted.
                Err(StoreError::Locked { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        let clock = Clock::system();
        let tuning = Tuning {
            retry_first: Duration::from_millis(1),
            retry_max: Duration::from_millis(4),
            undo_tries: 3,
            ..Tuning::default()
        };
        let tasks = Engine::new(store.clone(), Arc::new(move || clock.now()), tuning, self.points.clone())
            .register::<Build>(self.world.clone())
            .register::<Raze>(self.world.clone())
            .start();
        (store, tasks)
    }

    fn want(&self, workflow: &str, step: &str, moment: Moment, effect: Effect) {
        self.points.want(Failpoint { workflow: workflow.into(), step: step.into(), moment, effect });
    }
}

async fn submit(store: &Store, workflow: &'static str, state: ToyState, preempt: bool) -> i64 {
    store
        .write(move |c| {
            let text = serde_json::to_string(&state).unwrap();
            let subject = state.tag.as_str();
            tasks::enqueue(
                c,
                &NewTask { workflow, subject, state: &text, request_id: "req-1", preempt, begun: None },
                Clock::system().now(),
            )
        })
        .await
        .unwrap()
}

fn toy(tag: &str) -> ToyState {
    ToyState { tag: tag.into(), wait: false }
}

async fn outcome(store: &Store, tag: &'static str) -> Option<String> {
    store
        .read::<_, StoreError, _>(move |c| {
            Ok(c.prepare("SELECT value FROM setting WHERE key = ?1")?
                .query_map([tag], |row| row.get(0))?
                .next()
                .transpose()?)
        })
        .await
        .unwrap()
}

async fn status(store: &Store, id: i64) -> TaskStatus {
    store.read(move |c| tasks::get(c, id)).await.unwrap().unwrap().status
}

const ALL: [&str; 3] = ["a/first", "a/second", "a/third"];

#[tokio::test]
async fn a_workflow_runs_to_its_end() {
    let bench = Bench::new();
    let (store, tasks) = bench.start().await;
    let id = submit(&store, "build", toy("a"), false).await;
    tasks.settled().await.unwrap();
    assert_eq!(bench.world.things(), ALL);
    assert_eq!(outcome(&store, "a").await.as_deref(), Some("done"));
    assert_eq!(status(&store, id).await, TaskStatus::Done);
}

#[tokio::test]
async fn a_task_is_begun_though_its_caller_has_left() {
    let bench = Bench::new();
    let (store, tasks) = bench.start().await;
    assert!(tokio::time::timeout(Duration::ZERO, submit(&store, "build", toy("a"), false)).await.is_err());
    let said = |c: &Connection| Ok(c.query_row("SELECT count(*) FROM setting", [], |row| row.get(0))?);
    let begun = tasks.until(move |c| said(c).map(|count: i64| count == 1));
    tokio::time::timeout(Duration::from_secs(30), begun).await.unwrap().unwrap();
    assert_eq!(outcome(&store, "a").await.as_deref(), Some("done"));
}

#[tokio::test]
async fn a_failure_at_any_step_is_undone_wholly() {
    for step in ["first", "second", "third"] {
        for moment in [Moment::AfterStart, Moment::AfterRun] {
            let bench = Bench::new();
            bench.want("build", step, moment, Effect::Fail);
            let (store, tasks) = bench.start().await;
            let id = submit(&store, "build", toy("a"), false).await;
            tasks.settled().await.unwrap();
            assert!(bench.points.all_met());
            assert!(bench.world.things().is_empty(), "{step} {moment:?}: {:?}", bench.world.things());
            assert_eq!(outcome(&store, "a").await.as_deref(), Some("failed"));
            assert_eq!(status(&store, id).await, TaskStatus::Unwound);
        }
    }
}

#[tokio::test]
async fn a_crash_at_any_moment_changes_nothing_in_the_end() {
    for step in ["first", "second", "third"] {
        for moment in [
            Moment::BeforeStart,
            Moment::AfterStart,
            Moment::AfterRun,
            Moment::BeforeClose,
            Moment::AfterClose,
        ] {
            let bench = Bench::new();
            bench.want("build", step, moment, Effect::Halt);
            {
                let (store, tasks) = bench.start().await;
                submit(&store, "build", toy("a"), false).await;
                tasks.settled().await.unwrap();
                assert!(
                    tasks.halted()
                        || step != "third" && moment == Moment::BeforeClose
                        || moment == Moment::AfterClose
                );
                tasks.stop(Duration::from_secs(5)).await;
            }
            let (store, tasks) = bench.start().await;
            tasks.settled().await.unwrap();
            assert_eq!(bench.world.things(), ALL, "{step} {moment:?}");
            assert_eq!(outcome(&store, "a").await.as_deref(), Some("done"));
        }
    }
}

#[tokio::test]
async fn a_crash_while_unwinding_goes_on_unwinding() {
    for step in ["first", "second", "third"] {
        for moment in [Moment::BeforeUndo, Moment::AfterUndo] {
            let bench = Bench::new();
            bench.want("build", "third", Moment::AfterRun, Effect::Fail);
            bench.want("build", step, moment, Effect::Halt);
            {
                let (store, tasks) = bench.start().await;
                submit(&store, "build", toy("a"), false).await;
                tasks.settled().await.unwrap();
                assert!(tasks.halted());
                tasks.stop(Duration::from_secs(5)).await;
            }
            let (store, tasks) = bench.start().await;
            tasks.settled().await.unwrap();
            assert!(bench.world.things().is_empty());
            assert_eq!(outcome(&store, "a").await.as_deref(), Some("failed"));
        }
    }
}

#[tokio::test]
async fn transient_failures_are_tried_again() {
    let bench = Bench::new();
    *bench.world.hiccups.lock().unwrap() = 3;
    let (store, tasks) = bench.start().await;
    submit(&store, "build", toy("a"), false).await;
    tasks.settled().await.unwrap();
    assert_eq!(bench.world.things(), ALL);
}

#[tokio::test]
async fn an_undo_that_keeps_failing_leaves_the_task_stuck() {
    let bench = Bench::new();
    bench.want("build", "second", Moment::AfterRun, Effect::Fail);
    for _ in 0..3 {
        bench.want("build", "first", Moment::AfterUndo, Effect::Fail);
    }
    let (store, tasks) = bench.start().await;
    let id = submit(&store, "build", toy("a"), false).await;
    tasks.settled().await.unwrap();
    assert_eq!(status(&store, id).await, TaskStatus::Stuck);
    assert_eq!(outcome(&store, "a").await.as_deref(), Some("stuck"));
}

#[tokio::test]
async fn forward_workflows_are_tried_until_they_succeed() {
    let bench = Bench::new();
    for _ in 0..4 {
        bench.want("raze", "all", Moment::AfterRun, Effect::Fail);
    }
    let (store, tasks) = bench.start().await;
    submit(&store, "raze", toy("a"), false).await;
    tasks.settled().await.unwrap();
    assert!(bench.points.all_met());
    assert_eq!(outcome(&store, "a").await.as_deref(), Some("razed"));
}

#[tokio::test]
async fn tasks_of_one_subject_wait_for_each_other_and_delete_goes_first() {
    let bench = Bench::new();
    let (store, tasks) = bench.start().await;
    let build = submit(&store, "build", ToyState { tag: "a".into(), wait: true }, false).await;
    let other = submit(&store, "build", toy("b"), false).await;
    while status(&store, other).await != TaskStatus::Done {
        tokio::task::yield_now().await;
    }
    let second = submit(&store, "build", toy("a"), false).await;
    assert_eq!(status(&store, second).await, TaskStatus::Pending);
    submit(&store, "raze", toy("a"), true).await;
    tasks.settled().await.unwrap();
    assert_eq!(status(&store, build).await, TaskStatus::Unwound);
    assert_eq!(status(&store, second).await, TaskStatus::Unwound);
    assert_eq!(outcome(&store, "a").await.as_deref(), Some("razed"));
    assert_eq!(bench.world.things(), ["b/first", "b/second", "b/third"]);
}

#[tokio::test]
async fn a_stopped_engine_parks_its_tasks() {
    let bench = Bench::new();
    {
        let (store, tasks) = bench.start().await;
        submit(&store, "build", ToyState { tag: "a".into(), wait: true }, false).await;
        while bench.world.things().is_empty() {
            tokio::task::yield_now().await;
        }
        let stopping = tokio::spawn({
            let tasks = tasks.clone();
            async move { tasks.stop(Duration::from_secs(5)).await }
        });
        bench.world.gate.notify_one();
        stopping.await.unwrap();
        assert!(!bench.world.things().contains(&"a/third".to_owned()));
    }
    let (_store, tasks) = bench.start().await;
    bench.world.gate.notify_one();
    tasks.settled().await.unwrap();
    assert_eq!(bench.world.things(), ALL);
}
