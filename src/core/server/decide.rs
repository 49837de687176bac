//! Whether an action is admitted, and what it sets going: one exhaustive table, pure.
//!
//! The order of the checks is the order in which their refusals win: the lock, a host (where one is needed first), the
//! vm state, the task state, whether the server was ever launched, and a host (where one is needed last).

use super::action::Action;
use super::state::{TaskState, VmState};
use super::{LockHolder, Server};
use crate::core::Error;
use crate::core::actor::Actor;
use crate::core::ids::ServerId;

/// What an admitted action does at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The task state that the server enters when the task is recorded; `None` leaves it as it is.
    pub task_state: Option<TaskState>,
    /// Under which name the action is recorded; `None` for those that are not.
    pub record: Option<&'static str>,
}

/// Why an action is not admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("Instance {0} is locked")]
    Locked(ServerId),
    #[error("Instance {0} is not ready")]
    NoHost(ServerId),
    #[error("Cannot '{action}' instance {id} while it is in {property} {value}")]
    WrongState { id: ServerId, action: Action, property: &'static str, value: &'static str },
    #[error("Instance {id} is in an invalid state for '{action}'")]
    Unfit { id: ServerId, action: Action },
    #[error(
        "Specifying an availability zone or a host when unshelving server \"{id}\" with status \"{vm_state}\" is not \
         supported. The server status must be SHELVED_OFFLOADED."
    )]
    NotOffloaded { id: ServerId, vm_state: VmState },
    /// An owner may not lift an admin's lock.
    #[error("Policy doesn't allow os_compute_api:os-lock-server:unlock:unlock_override to be performed.")]
    AdminHoldsLock,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let words = refusal.to_string();
        match refusal {
            Refusal::AdminHoldsLock => Self::forbidden(words),
            Refusal::Locked(_)
            | Refusal::NoHost(_)
            | Refusal::WrongState { .. }
            | Refusal::Unfit { .. }
            | Refusal::NotOffloaded { .. } => Self::invalid_state(words),
        }
    }
}

/// In which vm states an action is admitted.
#[derive(Debug, Clone, Copy)]
enum Vm {
    Any,
    In(&'static [VmState]),
}

/// In which task states an action is admitted.
#[derive(Debug, Clone, Copy)]
enum Task {
    Any,
    Idle,
    /// Idle or one of these.
    IdleOr(&'static [TaskState]),
    Only(TaskState),
    AnyBut(&'static [TaskState]),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    NotNeeded,
    First,
    Last,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LockRule {
    Free,
    Refuses,
    /// Refuses with the words of an invalid state.
    RefusesAsUnfit,
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
struct Admission {
    vm: Vm,
    task: Task,
    launched: bool,
    lock: LockRule,
    host: Host,
}

const ACTIVE_TO_STOPPED: &[VmState] =
    &[VmState::Active, VmState::Paused, VmState::Suspended, VmState::Stopped];
const ACTIVE_STOPPED_ERROR: &[VmState] = &[VmState::Active, VmState::Stopped, VmState::Error];
const ATTACHABLE: &[VmState] =
    &[VmState::Active, VmState::Paused, VmState::Stopped, VmState::Resized, VmState::SoftDelete];
const ATTACHABLE_SHELVED: &[VmState] = &[
    VmState::Active,
    VmState::Paused,
    VmState::Stopped,
    VmState::Resized,
    VmState::SoftDelete,
    VmState::Shelved,
    VmState::ShelvedOffloaded,
];
const HARD_REBOOT_MAY_INTERRUPT: &[TaskState] = &[
    TaskState::Rebooting,
    TaskState::RebootPending,
    TaskState::RebootStarted,
    TaskState::RebootingHard,
    TaskState::Resuming,
    TaskState::Unpausing,
    TaskState::Pausing,
    TaskState::Suspending,
];

impl Admission {
    /// The usual: idle, launched, not locked.
    const fn idle(vm: &'static [VmState]) -> Self {
        Self {
            vm: Vm::In(vm),
            task: Task::Idle,
            launched: true,
            lock: LockRule::Refuses,
            host: Host::NotNeeded,
        }
    }

    const fn always() -> Self {
        Self { vm: Vm::Any, task: Task::Any, launched: false, lock: LockRule::Free, host: Host::NotNeeded }
    }

    const fn of(action: Action) -> Self {
        use VmState as S;
        match action {
            Action::Delete | Action::ForceDelete | Action::InjectNetworkInfo => {
                Self { lock: LockRule::Refuses, ..Self::always() }
            }
            Action::AddFixedIp | Action::RemoveFixedIp => Self { lock: LockRule::Refuses, ..Self::always() },
            Action::SoftDelete => Self { launched: true, lock: LockRule::Refuses, ..Self::always() },
            Action::Restore => Self { lock: LockRule::RefusesAsUnfit, ..Self::idle(&[S::SoftDelete]) },
            Action::Start => Self { host: Host::First, ..Self::idle(&[S::Stopped]) },
            Action::Stop => Self { host: Host::First, ..Self::idle(&[S::Active, S::Error]) },
            Action::RebootSoft | Action::Pause | Action::Suspend => Self::idle(&[S::Active]),
            Action::RebootHard => Self {
                task: Task::IdleOr(HARD_REBOOT_MAY_INTERRUPT),
                ..Self::idle(&[S::Active, S::Stopped, S::Paused, S::Suspended, S::Error])
            },
            Action::Rebuild | Action::Rescue => Self::idle(ACTIVE_STOPPED_ERROR),
            Action::Resize | Action::Migrate => {
                Self { host: Host::Last, ..Self::idle(&[S::Active, S::Stopped]) }
            }
            Action::ConfirmResize | Action::RevertResize => Self::idle(&[S::Resized]),
            Action::Unpause => Self::idle(&[S::Paused]),
            Action::Resume => Self::idle(&[S::Suspended]),
            Action::Unrescue => Self::idle(&[S::Rescued]),
            Action::Shelve => Self::idle(ACTIVE_TO_STOPPED),
            Action::ShelveOffload => Self::idle(&[S::Shelved]),
            Action::Unshelve | Action::UnshelveTo => Self::idle(&[S::Shelved, S::ShelvedOffloaded]),
            Action::ChangePassword => Self { lock: LockRule::RefusesAsUnfit, ..Self::idle(&[S::Active]) },
            Action::TriggerCrashDump => Self {
                host: Host::First,
                ..Self::idle(&[S::Active, S::Paused, S::Rescued, S::Resized, S::Error])
            },
            Action::CreateImage | Action::CreateBackup => {
                Self { lock: LockRule::Free, ..Self::idle(ACTIVE_TO_STOPPED) }
            }
            Action::AttachVolume => Self::idle(ATTACHABLE),
            Action::AttachVolumeShelved => Self::idle(ATTACHABLE_SHELVED),
            Action::DetachVolume => Self { host: Host::First, ..Self::idle(ATTACHABLE) },
            Action::DetachVolumeShelved => Self::idle(ATTACHABLE_SHELVED),
            Action::SwapVolume => Self::idle(&[S::Active, S::Paused, S::Resized]),
            Action::AttachInterface | Action::DetachInterface => {
                Self::idle(&[S::Active, S::Paused, S::Stopped])
            }
            Action::UpdateMetadata | Action::DeleteMetadata => {
                Self { task: Task::Any, ..Self::idle(ACTIVE_TO_STOPPED) }
            }
            Action::UpdateTag | Action::UpdateTags | Action::DeleteTag | Action::DeleteTags => {
                Self { vm: Vm::In(ACTIVE_TO_STOPPED), ..Self::always() }
            }
            Action::LiveMigrate => Self::idle(&[S::Active, S::Paused]),
            Action::ForceComplete => {
                Self { task: Task::Only(TaskState::Migrating), ..Self::idle(&[S::Active]) }
            }
            Action::AbortMigration => Self {
                vm: Vm::Any,
                task: Task::Only(TaskState::Migrating),
                launched: true,
                lock: LockRule::RefusesAsUnfit,
                host: Host::NotNeeded,
            },
            Action::Evacuate => {
                Self { task: Task::Any, lock: LockRule::Free, ..Self::idle(ACTIVE_STOPPED_ERROR) }
            }
            Action::Console => Self {
                task: Task::AnyBut(&[TaskState::Deleting, TaskState::Migrating]),
                host: Host::First,
                ..Self::always()
            },
            Action::ConsoleOutput | Action::Diagnostics => Self { host: Host::First, ..Self::always() },
            Action::AddSecurityGroup
            | Action::RemoveSecurityGroup
            | Action::AddFloatingIp
            | Action::RemoveFloatingIp
            | Action::ResetState
            | Action::Update
            | Action::UpdateAttachment
            | Action::Lock
            | Action::Unlock
            | Action::ReadPassword
            | Action::ClearPassword => Self::always(),
            Action::CreateShare => Self { vm: Vm::In(&[S::Stopped]), ..Self::always() },
            Action::DeleteShare => Self { vm: Vm::In(&[S::Stopped, S::Error]), ..Self::always() },
        }
    }
}

impl Plan {
    /// The first task state of an action and the name of its record.
    const fn of(action: Action) -> Self {
        use TaskState as T;
        let (task_state, record) = match action {
            Action::Delete | Action::ForceDelete => (Some(T::Deleting), Some("delete")),
            Action::SoftDelete => (Some(T::SoftDeleting), Some("delete")),
            Action::Restore => (Some(T::Restoring), Some("restore")),
            Action::Start => (Some(T::PoweringOn), Some("start")),
            Action::Stop => (Some(T::PoweringOff), Some("stop")),
            Action::RebootSoft => (Some(T::Rebooting), Some("reboot")),
            Action::RebootHard => (Some(T::RebootingHard), Some("reboot")),
            Action::Rebuild => (Some(T::Rebuilding), Some("rebuild")),
            Action::Resize => (Some(T::ResizePrep), Some("resize")),
            Action::Migrate => (Some(T::ResizePrep), Some("migrate")),
            Action::ConfirmResize => (None, Some("confirmResize")),
            Action::RevertResize => (Some(T::ResizeReverting), Some("revertResize")),
            Action::Pause => (Some(T::Pausing), Some("pause")),
            Action::Unpause => (Some(T::Unpausing), Some("unpause")),
            Action::Suspend => (Some(T::Suspending), Some("suspend")),
            Action::Resume => (Some(T::Resuming), Some("resume")),
            Action::Rescue => (Some(T::Rescuing), Some("rescue")),
            Action::Unrescue => (Some(T::Unrescuing), Some("unrescue")),
            Action::Shelve => (Some(T::Shelving), Some("shelve")),
            Action::ShelveOffload => (Some(T::ShelvingOffloading), Some("shelveOffload")),
            Action::Unshelve | Action::UnshelveTo => (Some(T::Unshelving), Some("unshelve")),
            Action::ChangePassword => (Some(T::UpdatingPassword), Some("changePassword")),
            Action::TriggerCrashDump => (None, Some("trigger_crash_dump")),
            Action::CreateImage => (Some(T::ImageSnapshotPending), Some("createImage")),
            Action::CreateBackup => (Some(T::ImageBackup), Some("createBackup")),
            Action::AttachVolume | Action::AttachVolumeShelved => (None, Some("attach_volume")),
            Action::DetachVolume | Action::DetachVolumeShelved => (None, Some("detach_volume")),
            Action::SwapVolume => (None, Some("swap_volume")),
            Action::AttachInterface => (None, Some("attach_interface")),
            Action::DetachInterface => (None, Some("detach_interface")),
            Action::LiveMigrate => (Some(T::Migrating), Some("live-migration")),
            Action::ForceComplete => (None, Some("live_migration_force_complete")),
            Action::AbortMigration => (None, Some("live_migration_cancel")),
            Action::Evacuate => (Some(T::Rebuilding), Some("evacuate")),
            Action::ResetState => (None, Some("resetState")),
            Action::Lock => (None, Some("lock")),
            Action::Unlock => (None, Some("unlock")),
            Action::CreateShare => (None, Some("attach_share")),
            Action::DeleteShare => (None, Some("detach_share")),
            Action::UpdateMetadata
            | Action::DeleteMetadata
            | Action::UpdateTag
            | Action::UpdateTags
            | Action::DeleteTag
            | Action::DeleteTags
            | Action::AddFixedIp
            | Action::RemoveFixedIp
            | Action::InjectNetworkInfo
            | Action::Console
            | Action::ConsoleOutput
            | Action::Diagnostics
            | Action::AddSecurityGroup
            | Action::RemoveSecurityGroup
            | Action::AddFloatingIp
            | Action::RemoveFloatingIp
            | Action::Update
            | Action::UpdateAttachment
            | Action::ReadPassword
            | Action::ClearPassword => (None, None),
        };
        Self { task_state, record }
    }
}

/// Admits the action, or says why not.
pub fn decide(server: &Server, action: Action, actor: &Actor) -> Result<Plan, Refusal> {
    let id = server.id;
    let admission = Admission::of(action);
    if action == Action::Unlock {
        let admin_holds = server.lock.as_ref().is_some_and(|lock| lock.by == LockHolder::Admin);
        if admin_holds && !actor.is_admin() {
            return Err(Refusal::AdminHoldsLock);
        }
    }
    if server.lock.is_some() && !actor.is_admin() {
        match admission.lock {
            LockRule::Free => {}
            LockRule::Refuses => return Err(Refusal::Locked(id)),
            LockRule::RefusesAsUnfit => return Err(Refusal::Unfit { id, action }),
        }
    }
    if admission.host == Host::First && server.host.is_none() {
        return Err(Refusal::NoHost(id));
    }
    if let Vm::In(states) = admission.vm
        && !states.contains(&server.vm_state)
    {
        let value = server.vm_state.as_str();
        return Err(Refusal::WrongState { id, action, property: "vm_state", value });
    }
    let task_fits = match admission.task {
        Task::Any => true,
        Task::Idle => server.task_state.is_none(),
        Task::IdleOr(states) => server.task_state.is_none_or(|state| states.contains(&state)),
        Task::Only(state) => server.task_state == Some(state),
        Task::AnyBut(states) => !server.task_state.is_some_and(|state| states.contains(&state)),
    };
    if !task_fits {
        let value = server.task_state.map_or("None", TaskState::as_str);
        return Err(Refusal::WrongState { id, action, property: "task_state", value });
    }
    if admission.launched && server.launched_at.is_none() {
        return Err(Refusal::Unfit { id, action });
    }
    if action == Action::UnshelveTo && server.vm_state != VmState::ShelvedOffloaded {
        return Err(Refusal::NotOffloaded { id, vm_state: server.vm_state });
    }
    if admission.host == Host::Last && server.host.is_none() {
        return Err(Refusal::NoHost(id));
    }
    Ok(Plan::of(action))
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod words_tests;
