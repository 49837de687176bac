//! The status that the API shows, computed from the states and never stored; and its inverse, for filters.

use super::Server;
use super::query::Filter;
use super::state::{TaskState, UnknownState, VmState, spelled};

spelled! {
    /// The `status` of a server in answers.
    Status {
        Active = "ACTIVE",
        Build = "BUILD",
        Deleted = "DELETED",
        Error = "ERROR",
        HardReboot = "HARD_REBOOT",
        Migrating = "MIGRATING",
        Password = "PASSWORD",
        Paused = "PAUSED",
        Reboot = "REBOOT",
        Rebuild = "REBUILD",
        Rescue = "RESCUE",
        Resize = "RESIZE",
        RevertResize = "REVERT_RESIZE",
        Shelved = "SHELVED",
        ShelvedOffloaded = "SHELVED_OFFLOADED",
        Shutoff = "SHUTOFF",
        SoftDeleted = "SOFT_DELETED",
        Suspended = "SUSPENDED",
        VerifyResize = "VERIFY_RESIZE",
    }
}

/// The status of a server. One that is deleted shows so, whatever its vm state.
pub fn status(server: &Server) -> Status {
    if server.deleted_at.is_some() {
        return Status::Deleted;
    }
    of_states(server.vm_state, server.task_state)
}

/// The status of a pair of states: a default for the vm state, and tasks that override it.
pub fn of_states(vm: VmState, task: Option<TaskState>) -> Status {
    task.and_then(|task| of_task(vm, task)).unwrap_or(match vm {
        VmState::Active => Status::Active,
        VmState::Building => Status::Build,
        VmState::Paused => Status::Paused,
        VmState::Suspended => Status::Suspended,
        VmState::Stopped => Status::Shutoff,
        VmState::Rescued => Status::Rescue,
        VmState::Resized => Status::VerifyResize,
        VmState::SoftDelete => Status::SoftDeleted,
        VmState::Deleted => Status::Deleted,
        VmState::Error => Status::Error,
        VmState::Shelved => Status::Shelved,
        VmState::ShelvedOffloaded => Status::ShelvedOffloaded,
    })
}

/// Where a task shows in the status.
fn of_task(vm: VmState, task: TaskState) -> Option<Status> {
    let kind = kind(task)?;
    let shows = match vm {
        VmState::Active => true,
        VmState::Stopped => matches!(kind, Status::Resize | Status::Rebuild),
        VmState::Paused => kind == Status::Migrating,
        VmState::Error => kind == Status::Rebuild,
        VmState::Resized => return (task == TaskState::ResizeReverting).then_some(Status::RevertResize),
        VmState::Building
        | VmState::Suspended
        | VmState::Rescued
        | VmState::SoftDelete
        | VmState::Deleted
        | VmState::Shelved
        | VmState::ShelvedOffloaded => false,
    };
    (shows && kind != Status::RevertResize).then_some(kind)
}

/// What a task looks like where it shows; most never do.
fn kind(task: TaskState) -> Option<Status> {
    match task {
        TaskState::Rebooting | TaskState::RebootPending | TaskState::RebootStarted => Some(Status::Reboot),
        TaskState::RebootingHard | TaskState::RebootPendingHard | TaskState::RebootStartedHard => {
            Some(Status::HardReboot)
        }
        TaskState::UpdatingPassword => Some(Status::Password),
        TaskState::Rebuilding | TaskState::RebuildBlockDeviceMapping | TaskState::RebuildSpawning => {
            Some(Status::Rebuild)
        }
        TaskState::Migrating => Some(Status::Migrating),
        TaskState::ResizePrep
        | TaskState::ResizeMigrating
        | TaskState::ResizeMigrated
        | TaskState::ResizeFinish => Some(Status::Resize),
        TaskState::ResizeReverting => Some(Status::RevertResize),
        TaskState::Scheduling
        | TaskState::Networking
        | TaskState::BlockDeviceMapping
        | TaskState::Spawning
        | TaskState::ImageSnapshotPending
        | TaskState::ImageSnapshot
        | TaskState::ImagePendingUpload
        | TaskState::ImageUploading
        | TaskState::ImageBackup
        | TaskState::ResizeConfirming
        | TaskState::Pausing
        | TaskState::Unpausing
        | TaskState::Suspending
        | TaskState::Resuming
        | TaskState::PoweringOff
        | TaskState::PoweringOn
        | TaskState::Rescuing
        | TaskState::Unrescuing
        | TaskState::Deleting
        | TaskState::SoftDeleting
        | TaskState::Restoring
        | TaskState::Shelving
        | TaskState::ShelvingImagePendingUpload
        | TaskState::ShelvingImageUploading
        | TaskState::ShelvingOffloading
        | TaskState::Unshelving => None,
    }
}

impl Status {
    /// The status that a caller names, in any case of letters.
    pub fn from_caller(text: &str) -> Result<Self, UnknownState> {
        text.to_uppercase().parse()
    }

    /// Whether views of a server of this status carry `progress`.
    pub fn shows_progress(self) -> bool {
        matches!(
            self,
            Self::Active | Self::Build | Self::Rebuild | Self::Resize | Self::VerifyResize | Self::Migrating
        )
    }

    /// Whether views of a server of this status carry its fault.
    pub fn shows_fault(self) -> bool {
        matches!(self, Self::Error | Self::Deleted)
    }
}

/// The filter that `status=` means: all vm states that can show one of the statuses, and the task states only when
/// none of the statuses is one that an idle server shows. So ACTIVE finds rebooting servers too.
pub fn filter(statuses: &[Status]) -> Filter {
    let mut vm = Vec::new();
    let mut tasks = Vec::new();
    let mut any_idle = false;
    for state in VmState::ALL.iter().copied() {
        let shown = |status| statuses.contains(&status);
        let idle = shown(of_states(state, None));
        let busy: Vec<TaskState> =
            TaskState::ALL.iter().copied().filter(|task| of_task(state, *task).is_some_and(shown)).collect();
        if idle || !busy.is_empty() {
            vm.push(state);
        }
        any_idle |= idle;
        tasks.extend(busy);
    }
    if any_idle {
        tasks.clear();
    }
    tasks.sort_unstable();
    tasks.dedup();
    Filter::States { vm, tasks }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tasks_show_where_the_table_says() {
        let shown = |vm, task| of_states(vm, Some(task)).as_str();
        assert_eq!(shown(VmState::Active, TaskState::RebootStarted), "REBOOT");
        assert_eq!(shown(VmState::Active, TaskState::RebootPendingHard), "HARD_REBOOT");
        assert_eq!(shown(VmState::Active, TaskState::PoweringOff), "ACTIVE");
        assert_eq!(shown(VmState::Active, TaskState::ResizeReverting), "ACTIVE");
        assert_eq!(shown(VmState::Stopped, TaskState::ResizeFinish), "RESIZE");
        assert_eq!(shown(VmState::Stopped, TaskState::RebootingHard), "SHUTOFF");
        assert_eq!(shown(VmState::Stopped, TaskState::RebuildSpawning), "REBUILD");
        assert_eq!(shown(VmState::Resized, TaskState::ResizeReverting), "REVERT_RESIZE");
        assert_eq!(shown(VmState::Resized, TaskState::Deleting), "VERIFY_RESIZE");
        assert_eq!(shown(VmState::Paused, TaskState::Migrating), "MIGRATING");
        assert_eq!(shown(VmState::Error, TaskState::Rebuilding), "REBUILD");
        assert_eq!(shown(VmState::Error, TaskState::Deleting), "ERROR");
        assert_eq!(shown(VmState::Building, TaskState::Spawning), "BUILD");
    }

    #[test]
    fn the_inverse_drops_tasks_where_idle_servers_count() {
        assert_eq!(filter(&[Status::Active]), Filter::States { vm: vec![VmState::Active], tasks: vec![] });
        assert_eq!(
            filter(&[Status::Reboot]),
            Filter::States {
                vm: vec![VmState::Active],
                tasks: vec![TaskState::Rebooting, TaskState::RebootPending, TaskState::RebootStarted],
            }
        );
        let Filter::States { vm, tasks } = filter(&[Status::Rebuild]) else { panic!() };
        assert_eq!(vm, [VmState::Active, VmState::Stopped, VmState::Error]);
        assert_eq!(tasks.len(), 3);
        assert!(Status::from_caller("active").is_ok());
        assert!(Status::from_caller("bogus").is_err());
    }

    proptest! {
        #[test]
        fn a_filter_finds_each_server_that_shows_the_status(
            vm in prop::sample::select(VmState::ALL),
            task in prop::option::of(prop::sample::select(TaskState::ALL)),
        ) {
            let Filter::States { vm: vms, tasks } = filter(&[of_states(vm, task)]) else { panic!() };
            prop_assert!(vms.contains(&vm));
            prop_assert!(tasks.is_empty() || task.is_some_and(|task| tasks.contains(&task)));
        }
    }
}
