//! What the walk expects: the verbs, where each leads from each state, and the moves that a walk is made of.

use crate::host::faults::{Call, Failure};
use crate::host::hypervisor::DomainState;
use crate::task::failpoint::Moment;
use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;

/// What is expected of a server once all is at rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
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
pub(super) enum Verb {
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
    AttachInterface,
    DetachInterface,
    SoftDelete,
    Restore,
    /// For good.
    Delete,
}

impl Verb {
    const ALL: [Self; 23] = [
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
        Self::AttachInterface,
        Self::DetachInterface,
        Self::SoftDelete,
        Self::Restore,
        Self::Delete,
    ];

    pub(super) fn workflow(self) -> (&'static str, &'static [&'static str]) {
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
            Self::AttachInterface => ("server_attach_interface", &["addresses", "plug"]),
            Self::DetachInterface => ("server_detach_interface", &["unplug", "addresses"]),
            Self::SoftDelete => ("server_soft_delete", &["power_off"]),
            Self::Restore => ("server_restore", &["power_on"]),
            Self::Delete => ("server_delete", &["domain", "remains"]),
        }
    }

    /// Where the verb leads from a state; `None` where it is refused.
    pub(super) fn leads(self, from: Expected) -> Option<Expected> {
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
            (Self::Rebuild, Expected::Active | Expected::Stopped)
            | (
                Self::AttachInterface | Self::DetachInterface,
                Expected::Active | Expected::Stopped | Expected::Paused,
            ) => Some(from),
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
pub(super) enum Move {
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

pub(super) const MOMENTS: [Moment; 5] =
    [Moment::BeforeStart, Moment::AfterStart, Moment::AfterRun, Moment::BeforeClose, Moment::AfterClose];
pub(super) const CALLS: [Call; 14] = [
    Call::Define,
    Call::Start,
    Call::Destroy,
    Call::State,
    Call::Pause,
    Call::Unpause,
    Call::Save,
    Call::DiscardSaved,
    Call::AttachNic,
    Call::DetachNic,
    Call::EnsurePort,
    Call::BeginCopy,
    Call::LookAtCopy,
    Call::Thaw,
];
pub(super) const FAILURES: [Failure; 3] = [Failure::Failed, Failure::Unreachable, Failure::Deadline];

pub(super) struct Model;

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
