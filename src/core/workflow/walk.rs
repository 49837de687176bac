//! A random walk: actions of owners, events of the host, crashes and faults in any order, against a small model.
//!
//! After each move everything is let come to rest, and then: no row is in an illegal state, a task state is set exactly
//! while a task is open, and the host has exactly what the living servers should have. Deleted servers own nothing.

use super::testing::{Bench, FLAVOR, Process, WIDE, owner};
use crate::core::ids::ServerId;
use crate::core::reconcile::power_sync::sync_all;
use crate::core::server::node::Node;
use crate::core::server::state::{PowerState, VmState};
use crate::core::service::servers::{Destination, NewImage};
use crate::core::{Kind, Result};
use crate::host::faults::{Call, Failure, Fault};
use crate::host::hypervisor::DomainState;
use crate::host::hypervisor::fake::Manners;
use crate::store::{StoreError, servers, tasks};
use crate::task::failpoint::{Effect, Moment};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use std::collections::BTreeMap;

/// What is expected of a server once all is at rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Active,
    Stopped,
    Paused,
    Suspended,
    Rescued,
    /// Shelved, and nothing of it on the host.
    Shelved,
    /// Deleted, and still to be had back.
    SoftDeleted,
    /// Resized, and not yet confirmed.
    Resized {
        /// Whether it was active before.
        active: bool,
        /// Whether its guest runs.
        on: bool,
    },
    /// A fault of the host was met: whatever the failure rules allow.
    Unsure,
    Deleted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Start,
    Stop,
    RebootSoft,
    RebootHard,
    Pause,
    Unpause,
    Suspend,
    Resume,
    CrashDump,
    Rebuild,
    Rescue,
    Unrescue,
    Snapshot,
    Shelve,
    Unshelve,
    Resize,
    Confirm,
    Revert,
    SoftDelete,
    Restore,
    /// For good.
    Delete,
}

impl Verb {
    const ALL: [Self; 21] = [
        Self::Start,
        Self::Stop,
        Self::RebootSoft,
        Self::RebootHard,
        Self::Pause,
        Self::Unpause,
        Self::Suspend,
        Self::Resume,
        Self::CrashDump,
        Self::Rebuild,
        Self::Rescue,
        Self::Unrescue,
        Self::Snapshot,
        Self::Shelve,
        Self::Unshelve,
        Self::Resize,
        Self::Confirm,
        Self::Revert,
        Self::SoftDelete,
        Self::Restore,
        Self::Delete,
    ];

    fn workflow(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Start => ("server_start", &["power_on"]),
            Self::Stop => ("server_stop", &["power_off"]),
            Self::RebootSoft | Self::RebootHard => ("server_reboot", &["pending", "started"]),
            Self::Pause => ("server_pause", &["pause"]),
            Self::Unpause => ("server_unpause", &["unpause"]),
            Self::Suspend => ("server_suspend", &["save"]),
            Self::Resume => ("server_resume", &["restore"]),
            Self::CrashDump => ("server_crash_dump", &["interrupt"]),
            Self::Rebuild => {
                ("server_rebuild", &["image", "power_off", "block_device_mapping", "spawning", "stopped"])
            }
            Self::Rescue => ("server_rescue", &["disk", "power_off", "power_on"]),
            Self::Unrescue => ("server_unrescue", &["power_off", "power_on", "remains"]),
            Self::Snapshot => ("server_snapshot", &["settle", "copy", "publish", "rotate"]),
            Self::Shelve => ("server_shelve", &["power_off", "copy", "publish"]),
            Self::Unshelve => ("server_unshelve", &["networking", "disks", "spawning"]),
            Self::Resize => ("server_resize", &["prep", "migrating", "migrated", "finish"]),
            Self::Confirm => ("server_resize_confirm", &["confirm"]),
            Self::Revert => ("server_resize_revert", &["power_off", "disks", "finish", "stopped"]),
            Self::SoftDelete => ("server_soft_delete", &["power_off"]),
            Self::Restore => ("server_restore", &["power_on"]),
            Self::Delete => ("server_delete", &["domain", "remains"]),
        }
    }

    /// Where the verb leads from a state; `None` where it is refused.
    fn leads(self, from: Expected) -> Option<Expected> {
        match (self, from) {
            (_, Expected::Deleted) => None,
            // What is not on the host has nothing to come back to.
            (Self::Delete, _) | (Self::SoftDelete, Expected::Shelved) => Some(Expected::Deleted),
            (_, Expected::Unsure) => Some(Expected::Unsure),
            (Self::SoftDelete, _) => Some(Expected::SoftDeleted),
            (Self::Unrescue, Expected::Rescued) | (Self::Restore, Expected::SoftDeleted) => {
                Some(Expected::Active)
            }
            (_, Expected::Rescued | Expected::SoftDeleted) => None,
            (Self::Rebuild, Expected::Active | Expected::Stopped) => Some(from),
            (Self::Rescue, Expected::Active | Expected::Stopped) => Some(Expected::Rescued),
            (Self::RebootHard, Expected::Resized { .. }) => None,
            (Self::Start, Expected::Stopped)
            | (Self::RebootSoft, Expected::Active)
            | (Self::Unpause, Expected::Paused)
            | (Self::Resume, Expected::Suspended)
            | (
                Self::RebootHard,
                Expected::Active | Expected::Stopped | Expected::Paused | Expected::Suspended,
            ) => Some(Expected::Active),
            (Self::Stop, Expected::Active) => Some(Expected::Stopped),
            (Self::Pause, Expected::Active) => Some(Expected::Paused),
            (Self::Suspend, Expected::Active) => Some(Expected::Suspended),
            (Self::Unshelve, Expected::Shelved) => Some(Expected::Active),
            (_, Expected::Shelved) | (Self::Snapshot | Self::Shelve, Expected::Resized { .. }) => None,
            (Self::Snapshot, _) => Some(from),
            (Self::Shelve, _) => Some(Expected::Shelved),
            (Self::CrashDump, Expected::Active | Expected::Paused | Expected::Resized { .. }) => Some(from),
            (Self::Resize, Expected::Active) => Some(Expected::Resized { active: true, on: true }),
            (Self::Resize, Expected::Stopped) => Some(Expected::Resized { active: false, on: false }),
            (Self::Confirm, Expected::Resized { on: true, .. })
            | (Self::Revert, Expected::Resized { active: true, .. }) => Some(Expected::Active),
            (Self::Confirm, Expected::Resized { on: false, .. })
            | (Self::Revert, Expected::Resized { active: false, .. }) => Some(Expected::Stopped),
            _ => None,
        }
    }
}

/// One move of the walk. Servers are named by the order in which they were made.
#[derive(Debug, Clone)]
enum Move {
    Create,
    /// The process dies at this step and moment of the create.
    CreateCrashing(usize, usize),
    CreateFailing(Call, Failure),
    /// Two requests with nothing between them.
    CreateThenDelete,
    Act(usize, Verb),
    ActCrashing(usize, Verb, usize, usize),
    ActFailing(usize, Verb, Call, Failure),
    /// A delete before the action had time.
    ActThenDelete(usize, Verb),
    GuestGoesOff(usize, DomainState),
    GuestIsStarted(usize),
    BecomeDeaf(usize),
    Restart,
}

const MOMENTS: [Moment; 5] =
    [Moment::BeforeStart, Moment::AfterStart, Moment::AfterRun, Moment::BeforeClose, Moment::AfterClose];
const CALLS: [Call; 12] = [
    Call::Define,
    Call::Start,
    Call::Destroy,
    Call::State,
    Call::Pause,
    Call::Unpause,
    Call::Save,
    Call::DiscardSaved,
    Call::EnsurePort,
    Call::BeginCopy,
    Call::LookAtCopy,
    Call::Thaw,
];
const FAILURES: [Failure; 3] = [Failure::Failed, Failure::Unreachable, Failure::Deadline];

struct Model;

impl ReferenceStateMachine for Model {
    type State = Vec<Expected>;
    type Transition = Move;

    fn init_state() -> BoxedStrategy<Self::State> {
        Just(Vec::new()).boxed()
    }

    fn transitions(state: &Self::State) -> BoxedStrategy<Move> {
        let verb = || prop::sample::select(Verb::ALL.to_vec());
        let call = || (prop::sample::select(CALLS.to_vec()), prop::sample::select(FAILURES.to_vec()));
        let creates = prop_oneof![
            4 => Just(Move::Create),
            1 => (0..3usize, 0..MOMENTS.len()).prop_map(|(step, moment)| Move::CreateCrashing(step, moment)),
            1 => call().prop_map(|(call, failure)| Move::CreateFailing(call, failure)),
            1 => Just(Move::CreateThenDelete),
        ];
        if state.is_empty() {
            return creates.boxed();
        }
        let which = || 0..state.len();
        let off = prop::sample::select(vec![DomainState::ShutOff, DomainState::Crashed]);
        prop_oneof![
            2 => creates,
            6 => (which(), verb()).prop_map(|(id, verb)| Move::Act(id, verb)),
            3 => (which(), verb(), 0..5usize, 0..MOMENTS.len())
                .prop_map(|(id, verb, step, moment)| Move::ActCrashing(id, verb, step, moment)),
            1 => (which(), verb(), call()).prop_map(|(id, verb, (c, f))| Move::ActFailing(id, verb, c, f)),
            1 => (which(), verb()).prop_map(|(id, verb)| Move::ActThenDelete(id, verb)),
            2 => (which(), off).prop_map(|(id, state)| Move::GuestGoesOff(id, state)),
            2 => which().prop_map(Move::GuestIsStarted),
            1 => which().prop_map(Move::BecomeDeaf),
            1 => Just(Move::Restart),
        ]
        .boxed()
    }

    fn apply(mut state: Self::State, transition: &Move) -> Self::State {
        match transition {
            Move::Create | Move::CreateCrashing(..) => state.push(Expected::Active),
            Move::CreateFailing(..) => state.push(Expected::Unsure),
            Move::CreateThenDelete => state.push(Expected::Deleted),
            Move::Act(id, verb) | Move::ActCrashing(id, verb, ..) => {
                state[*id] = verb.leads(state[*id]).unwrap_or(state[*id]);
            }
            Move::ActFailing(id, verb, ..) => match verb.leads(state[*id]) {
                None => {}
                Some(Expected::Deleted) => state[*id] = Expected::Deleted,
                Some(_) => state[*id] = Expected::Unsure,
            },
            Move::ActThenDelete(id, _) => state[*id] = Expected::Deleted,
            Move::GuestGoesOff(id, _) => {
                state[*id] = match state[*id] {
                    Expected::Active | Expected::Paused => Expected::Stopped,
                    Expected::Resized { active, .. } => Expected::Resized { active, on: false },
                    other => other,
                };
            }
            Move::GuestIsStarted(id) => {
                if let Expected::Resized { on, .. } = &mut state[*id] {
                    *on = true;
                }
            }
            Move::BecomeDeaf(_) | Move::Restart => {}
        }
        state
    }

    fn preconditions(state: &Self::State, transition: &Move) -> bool {
        match transition {
            Move::Act(id, _)
            | Move::ActCrashing(id, ..)
            | Move::ActFailing(id, ..)
            | Move::ActThenDelete(id, _)
            | Move::BecomeDeaf(id) => *id < state.len(),
            // There is no guest that could do anything by itself while its memory is on the disk.
            Move::GuestGoesOff(id, _) | Move::GuestIsStarted(id) => {
                *id < state.len() && state[*id] != Expected::Suspended
            }
            Move::Create
            | Move::CreateCrashing(..)
            | Move::CreateFailing(..)
            | Move::CreateThenDelete
            | Move::Restart => true,
        }
    }
}

/// The compute service with its machine.
struct System {
    runtime: tokio::runtime::Runtime,
    bench: Bench,
    process: Option<Process>,
    ids: Vec<ServerId>,
}

impl System {
    fn process(&self) -> &Process {
        self.process.as_ref().unwrap()
    }

    fn create(&mut self) {
        let command = self.bench.command("web");
        let id = self.runtime.block_on(self.process().create(command));
        self.ids.push(id);
    }

    fn ask(&self, id: usize, verb: Verb) -> Result<()> {
        let (servers, owner, id) = (&self.process().servers, owner(), self.ids[id]);
        self.runtime.block_on(async {
            match verb {
                Verb::Start => servers.start(&owner, id).await,
                Verb::Stop => servers.stop(&owner, id).await,
                Verb::RebootSoft => servers.reboot(&owner, id, false).await,
                Verb::RebootHard => servers.reboot(&owner, id, true).await,
                Verb::Pause => servers.pause(&owner, id).await,
                Verb::Unpause => servers.unpause(&owner, id).await,
                Verb::Suspend => servers.suspend(&owner, id).await,
                Verb::Resume => servers.resume(&owner, id).await,
                Verb::CrashDump => servers.trigger_crash_dump(&owner, id).await,
                Verb::Rebuild => {
                    let command = super::tests::rebuild(&self.bench);
                    servers.rebuild(&owner, id, command).await.map(drop)
                }
                Verb::Rescue => servers.rescue(&owner, id, None, None).await.map(drop),
                Verb::Unrescue => servers.unrescue(&owner, id).await,
                Verb::Snapshot => {
                    let wanted = NewImage { name: "image".into(), metadata: BTreeMap::new(), limited: false };
                    servers.create_image(&owner, id, wanted).await.map(drop)
                }
                Verb::Shelve => servers.shelve(&owner, id).await,
                Verb::Unshelve => servers.unshelve(&owner, id, Destination::default()).await,
                Verb::Resize => {
                    let row = self.process().row(id).await;
                    let other = if row.flavor.id == FLAVOR { WIDE } else { FLAVOR };
                    servers.resize(&owner, id, other.into(), None).await
                }
                Verb::Confirm => servers.confirm_resize(&owner, id).await,
                Verb::Revert => servers.revert_resize(&owner, id).await,
                Verb::SoftDelete => servers.delete(&owner, id, false).await,
                Verb::Restore => servers.restore(&owner, id).await,
                Verb::Delete => servers.delete(&owner, id, true).await,
            }
        })
    }

    /// Lets everything come to rest, through crashes, and follows what the host did.
    fn rest(&mut self) {
        for _ in 0..2 {
            let process = self.process.take().unwrap();
            let process = self.runtime.block_on(self.bench.settle(process));
            self.bench.points.clear();
            self.bench.hypervisor.faults().clear();
            self.bench.network.faults().clear();
            self.runtime.block_on(async {
                sync_all(&process.env, &std::collections::BTreeSet::new(), process.clock.now())
                    .await
                    .unwrap();
                process.tasks.wake();
            });
            self.process = Some(process);
        }
        let process = self.process.take().unwrap();
        self.process = Some(self.runtime.block_on(self.bench.settle(process)));
    }

    fn fail_next(&self, call: Call, failure: Failure) {
        let fault = Fault::FailBefore(failure);
        if call == Call::EnsurePort {
            self.bench.network.faults().nth(call, 1, fault);
        } else {
            self.bench.hypervisor.faults().nth(call, 1, fault);
        }
    }
}

struct Walk;

impl StateMachineTest for Walk {
    type SystemUnderTest = System;
    type Reference = Model;

    fn init_test(_: &Vec<Expected>) -> System {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // Longer than any time that can be told: nothing is ever due.
        let bench = Bench::with_node(Node { reclaim_seconds: i64::MAX, ..Node::roomy() });
        let process = Some(runtime.block_on(bench.start()));
        System { runtime, bench, process, ids: Vec::new() }
    }

    fn apply(mut system: System, expected: &Vec<Expected>, transition: Move) -> System {
        match transition {
            Move::Create => system.create(),
            Move::CreateCrashing(step, moment) => {
                let step = ["networking", "block_device_mapping", "spawning"][step];
                system.bench.want("server_create", step, MOMENTS[moment], Effect::Halt);
                system.create();
            }
            Move::CreateFailing(call, failure) => {
                system.fail_next(call, failure);
                system.create();
            }
            Move::CreateThenDelete => {
                system.create();
                system.ask(system.ids.len() - 1, Verb::Delete).unwrap();
            }
            Move::Act(id, verb) => check(system.ask(id, verb), expected[id]),
            Move::ActCrashing(id, verb, step, moment) => {
                let (workflow, steps) = verb.workflow();
                let step = steps[step.min(steps.len() - 1)];
                system.bench.want(workflow, step, MOMENTS[moment], Effect::Halt);
                check(system.ask(id, verb), expected[id]);
            }
            Move::ActFailing(id, verb, call, failure) => {
                system.fail_next(call, failure);
                check(system.ask(id, verb), expected[id]);
            }
            Move::ActThenDelete(id, verb) => {
                // Whether the first is admitted depends on the state; the second always is while there is a server.
                let _first = system.ask(id, verb);
                let second = system.ask(id, Verb::Delete);
                assert!(second.as_ref().is_ok() || second.is_err_and(|e| e.kind() == Kind::NotFound));
            }
            Move::GuestGoesOff(id, state) => system.bench.hypervisor.set_state(system.ids[id], state),
            Move::GuestIsStarted(id) => {
                system.bench.hypervisor.set_state(system.ids[id], DomainState::Running);
            }
            Move::BecomeDeaf(id) => system.bench.hypervisor.set_manners(system.ids[id], Manners::Deaf),
            Move::Restart => {
                let process = system.process.take().unwrap();
                system.runtime.block_on(process.kill());
                system.process = Some(system.runtime.block_on(system.bench.start()));
            }
        }
        system.rest();
        system
    }

    fn check_invariants(system: &System, expected: &Vec<Expected>) {
        let process = system.process();
        let (rows, open) = system.runtime.block_on(async {
            let ids = system.ids.clone();
            process
                .store
                .read::<_, StoreError, _>(move |c| {
                    let rows: Vec<_> = ids
                        .iter()
                        .map(|id| servers::get_any(c, *id))
                        .collect::<std::result::Result<_, _>>()?;
                    Ok((rows, tasks::runnable(c)?))
                })
                .await
                .unwrap()
        });
        assert!(open.is_empty());
        let host = system.bench.on_host();
        assert!(host.domains.copies.is_empty() && host.domains.frozen.is_empty() && host.captures.is_empty());
        let layers = system.bench.storage.layers();
        let mut living = 0;
        for (row, expected) in rows.into_iter().zip(expected) {
            let row = row.unwrap();
            let domain = host.domains.domains.get(&row.id).map(|domain| domain.state);
            let has_files = host.files.contains_key(&row.id);
            assert_eq!(row.task_state, None, "{row:?}");
            assert_eq!(row.vm_state == VmState::Deleted, row.deleted_at.is_some());
            assert_eq!(row.vm_state == VmState::Rescued, row.rescue.is_some() && row.deleted_at.is_none());
            match expected {
                Expected::Deleted => {
                    assert!(row.deleted_at.is_some(), "{row:?}");
                    assert!(domain.is_none() && !has_files, "{row:?} {domain:?}");
                    assert!(!layers.contains(&row.id), "{row:?}");
                    continue;
                }
                Expected::Active => {
                    assert_eq!((row.vm_state, domain), (VmState::Active, Some(DomainState::Running)));
                    assert_eq!(row.power_state, PowerState::Running);
                }
                Expected::Stopped => {
                    assert_eq!(row.vm_state, VmState::Stopped, "{row:?}");
                    assert!(
                        matches!(domain, Some(DomainState::ShutOff | DomainState::Crashed)),
                        "{domain:?}"
                    );
                }
                Expected::Paused => {
                    assert_eq!(row.vm_state, VmState::Paused, "{row:?}");
                    // Somebody may have let it go on behind our back.
                    assert!(matches!(domain, Some(DomainState::Paused | DomainState::Running)), "{domain:?}");
                }
                Expected::Suspended => {
                    assert_eq!((row.vm_state, domain), (VmState::Suspended, Some(DomainState::Saved)));
                    assert_eq!(row.power_state, PowerState::Shutdown);
                }
                Expected::Rescued => {
                    assert_eq!(row.vm_state, VmState::Rescued, "{row:?}");
                    assert!(host.files.get(&row.id).is_some_and(|plan| plan.rescue.is_some()));
                }
                Expected::Shelved => {
                    assert_eq!(row.vm_state, VmState::ShelvedOffloaded, "{row:?}");
                    assert!(row.host.is_none() && domain.is_none() && !has_files, "{row:?} {domain:?}");
                }
                Expected::SoftDeleted => {
                    assert_eq!(row.vm_state, VmState::SoftDelete, "{row:?}");
                    assert!(row.soft_deleted_at.is_some() && domain.is_some() && has_files, "{row:?}");
                }
                Expected::Resized { on, .. } => {
                    assert_eq!(row.vm_state, VmState::Resized, "{row:?}");
                    assert_eq!(domain == Some(DomainState::Running), *on, "{row:?} {domain:?}");
                    assert!(layers.contains(&row.id) && row.resize.is_some(), "{row:?}");
                }
                Expected::Unsure => match row.vm_state {
                    VmState::ShelvedOffloaded => assert!(domain.is_none() && !has_files),
                    VmState::Resized => assert!(domain.is_some() && row.resize.is_some()),
                    VmState::Active => assert_eq!(domain, Some(DomainState::Running)),
                    VmState::Stopped => {
                        assert!(matches!(domain, Some(DomainState::ShutOff | DomainState::Crashed)));
                    }
                    VmState::Deleted => {
                        assert!(domain.is_none() && !has_files);
                        continue;
                    }
                    VmState::SoftDelete => assert!(domain.is_some() && has_files),
                    VmState::Error if row.host.is_none() => assert!(domain.is_none() && !has_files),
                    VmState::Error | VmState::Paused | VmState::Suspended | VmState::Rescued => {}
                    other => panic!("{other} after a fault"),
                },
            }
            if *expected != Expected::Unsure {
                assert_eq!(row.resize.is_some(), row.vm_state == VmState::Resized, "{row:?}");
            }
            living += usize::from(row.host.is_some());
        }
        let reservations: usize = host.networks.networks.values().map(|network| network.ports.len()).sum();
        assert_eq!(reservations, living, "a reservation for each living server, and no other");
        assert!(host.domains.domains.len() <= living && host.files.len() <= living);
    }
}

fn check(result: Result<()>, expected: Expected) {
    match result {
        Ok(()) => {}
        Err(error) => assert!(
            matches!(error.kind(), Kind::InvalidState | Kind::NotFound),
            "{error:?} where {expected:?} is expected"
        ),
    }
}

/// `DWARFNOVA_WALKS` makes it longer: each walk is about forty moves.
fn walks() -> u32 {
    std::env::var("DWARFNOVA_WALKS").ok().and_then(|text| text.parse().ok()).unwrap_or(6)
}

prop_state_machine! {
    #![proptest_config(ProptestConfig {
        cases: walks(),
        max_shrink_iters: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn a_random_walk_never_leaves_the_map(sequential 1..40 => Walk);
}
