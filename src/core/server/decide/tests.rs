//! The table again, written as text, and each cell of it tried; and properties that hold for all of them.

use super::*;
use crate::core::actor::Roles;
use crate::core::ids::RequestId;
use crate::core::server::{Lock, sample};
use proptest::prelude::*;

/// action; vm states; task states; launched; lock; host.
pub(super) const TABLE: &str = "
Delete;any;any;no;yes;no
ForceDelete;any;any;no;yes;no
SoftDelete;any;any;yes;yes;no
Restore;soft-delete;idle;yes;yes;no
Start;stopped;idle;yes;yes;yes
Stop;active,error;idle;yes;yes;yes
RebootSoft;active;idle;yes;yes;no
RebootHard;active,stopped,paused,suspended,error;idle,rebooting,reboot_pending,reboot_started,rebooting_hard,resuming,unpausing,pausing,suspending;yes;yes;no
Rebuild;active,stopped,error;idle;yes;yes;no
Resize;active,stopped;idle;yes;yes;yes
Migrate;active,stopped;idle;yes;yes;yes
ConfirmResize;resized;idle;yes;yes;no
RevertResize;resized;idle;yes;yes;no
Pause;active;idle;yes;yes;no
Unpause;paused;idle;yes;yes;no
Suspend;active;idle;yes;yes;no
Resume;suspended;idle;yes;yes;no
Rescue;active,stopped,error;idle;yes;yes;no
Unrescue;rescued;idle;yes;yes;no
Shelve;active,stopped,paused,suspended;idle;yes;yes;no
ShelveOffload;shelved;idle;yes;yes;no
Unshelve;shelved,shelved_offloaded;idle;yes;yes;no
UnshelveTo;shelved_offloaded;idle;yes;yes;no
ChangePassword;active;idle;yes;yes;no
TriggerCrashDump;active,paused,rescued,resized,error;idle;yes;yes;yes
CreateImage;active,stopped,paused,suspended;idle;yes;no;no
CreateBackup;active,stopped,paused,suspended;idle;yes;no;no
AttachVolume;active,paused,stopped,resized,soft-delete;idle;yes;yes;no
AttachVolumeShelved;active,paused,stopped,resized,soft-delete,shelved,shelved_offloaded;idle;yes;yes;no
DetachVolume;active,paused,stopped,resized,soft-delete;idle;yes;yes;yes
DetachVolumeShelved;active,paused,stopped,resized,soft-delete,shelved,shelved_offloaded;idle;yes;yes;no
SwapVolume;active,paused,resized;idle;yes;yes;no
AttachInterface;active,paused,stopped;idle;yes;yes;no
DetachInterface;active,paused,stopped;idle;yes;yes;no
UpdateMetadata;active,paused,suspended,stopped;any;yes;yes;no
DeleteMetadata;active,paused,suspended,stopped;any;yes;yes;no
UpdateTag;active,paused,suspended,stopped;any;no;no;no
UpdateTags;active,paused,suspended,stopped;any;no;no;no
DeleteTag;active,paused,suspended,stopped;any;no;no;no
DeleteTags;active,paused,suspended,stopped;any;no;no;no
LiveMigrate;active,paused;idle;yes;yes;no
ForceComplete;active;migrating;yes;yes;no
AbortMigration;any;migrating;yes;yes;no
Evacuate;active,stopped,error;any;yes;no;no
AddFixedIp;any;any;no;yes;no
RemoveFixedIp;any;any;no;yes;no
InjectNetworkInfo;any;any;no;yes;no
Console;any;but deleting,migrating;no;no;yes
ConsoleOutput;any;any;no;no;yes
Diagnostics;any;any;no;no;yes
AddSecurityGroup;any;any;no;no;no
RemoveSecurityGroup;any;any;no;no;no
AddFloatingIp;any;any;no;no;no
RemoveFloatingIp;any;any;no;no;no
ResetState;any;any;no;no;no
Update;any;any;no;no;no
UpdateAttachment;any;any;no;no;no
Lock;any;any;no;no;no
Unlock;any;any;no;no;no
ReadPassword;any;any;no;no;no
ClearPassword;any;any;no;no;no
CreateShare;stopped;any;no;no;no
DeleteShare;stopped,error;any;no;no;no
";

pub(super) fn actor(roles: &[&str]) -> Actor {
    Actor {
        user_id: "u".into(),
        user_name: "u".into(),
        user_domain: "default".into(),
        project_id: Some("p".into()),
        roles: Roles::from_names(roles.iter().copied()),
        request_id: RequestId("req-1".into()),
    }
}

pub(super) fn all_tasks() -> impl Iterator<Item = Option<TaskState>> {
    std::iter::once(None).chain(TaskState::ALL.iter().copied().map(Some))
}

pub(super) fn holds(cell: &str, value: Option<&str>) -> bool {
    if cell == "any" {
        return true;
    }
    let value = value.unwrap_or("idle");
    match cell.strip_prefix("but ") {
        Some(but) => !but.split(',').any(|word| word == value),
        None => cell.split(',').any(|word| word == value),
    }
}

#[test]
fn every_cell_of_the_table() {
    let (owner, admin) = (actor(&["member"]), actor(&["admin"]));
    let mut seen = Vec::new();
    for line in TABLE.lines().filter(|line| !line.is_empty()) {
        let cells: Vec<&str> = line.split(';').collect();
        let [name, vm_cell, task_cell, launched, lock, host] = cells[..] else { panic!("{line}") };
        let action = Action::ALL.iter().copied().find(|action| format!("{action:?}") == name).unwrap();
        seen.push(action);
        for vm in VmState::ALL.iter().copied() {
            for task in all_tasks() {
                let mut server = sample();
                (server.vm_state, server.task_state) = (vm, task);
                let fits = holds(vm_cell, Some(vm.as_str())) && holds(task_cell, task.map(TaskState::as_str));
                assert_eq!(decide(&server, action, &owner).is_ok(), fits, "{name} {vm} {task:?}");
                let mut young = server.clone();
                young.launched_at = None;
                let expected = fits && launched == "no";
                assert_eq!(decide(&young, action, &owner).is_ok(), expected, "{name} {vm} {task:?} young");
                let mut homeless = server.clone();
                homeless.host = None;
                let expected = fits && host == "no";
                assert_eq!(decide(&homeless, action, &owner).is_ok(), expected, "{name} {vm} {task:?} host");
                let mut locked = server.clone();
                locked.lock = Some(Lock { by: LockHolder::Owner, reason: None });
                let expected = fits && lock == "no";
                assert_eq!(decide(&locked, action, &owner).is_ok(), expected, "{name} {vm} {task:?} locked");
                assert_eq!(decide(&locked, action, &admin).is_ok(), fits, "{name} {vm} {task:?} admin");
            }
        }
    }
    assert_eq!(seen, Action::ALL, "each action has its line");
}

#[test]
fn the_words_of_refusals() {
    let owner = actor(&["member"]);
    let mut server = sample();
    let id = server.id;
    let words = |server: &Server, action| decide(server, action, &owner).unwrap_err().to_string();
    assert_eq!(
        words(&server, Action::Start),
        format!("Cannot 'start' instance {id} while it is in vm_state active")
    );
    server.task_state = Some(TaskState::PoweringOff);
    assert_eq!(
        words(&server, Action::Pause),
        format!("Cannot 'pause' instance {id} while it is in task_state powering-off")
    );
    assert_eq!(
        words(&server, Action::ForceComplete),
        format!("Cannot 'force_complete' instance {id} while it is in task_state powering-off")
    );
    server.task_state = None;
    server.launched_at = None;
    assert_eq!(words(&server, Action::Pause), format!("Instance {id} is in an invalid state for 'pause'"));
    server.host = None;
    assert_eq!(words(&server, Action::Stop), format!("Instance {id} is not ready"));
    server.lock = Some(Lock { by: LockHolder::Admin, reason: None });
    assert_eq!(words(&server, Action::Stop), format!("Instance {id} is locked"));
    assert_eq!(
        words(&server, Action::ChangePassword),
        format!("Instance {id} is in an invalid state for 'changePassword'")
    );
    assert_eq!(decide(&server, Action::Unlock, &owner), Err(Refusal::AdminHoldsLock));
    let mut shelved = sample();
    shelved.vm_state = VmState::Shelved;
    assert!(words(&shelved, Action::UnshelveTo).ends_with("must be SHELVED_OFFLOADED."));
}

proptest! {
    #[test]
    fn an_idle_action_never_meets_a_task_and_delete_is_always_open_to_the_owner(
        vm in prop::sample::select(VmState::ALL),
        task in prop::option::of(prop::sample::select(TaskState::ALL)),
        action in prop::sample::select(Action::ALL),
        launched in any::<bool>(),
    ) {
        let owner = actor(&["member"]);
        let mut server = sample();
        (server.vm_state, server.task_state) = (vm, task);
        if !launched {
            server.launched_at = None;
        }
        prop_assert!(decide(&server, Action::Delete, &owner).is_ok());
        if let Ok(plan) = decide(&server, action, &owner) {
            let takes_over = plan.task_state.is_some() && task.is_some();
            let may_take_over = matches!(
                action,
                Action::Delete | Action::ForceDelete | Action::SoftDelete | Action::RebootHard | Action::Evacuate
            );
            prop_assert!(!takes_over || may_take_over, "{action:?} over {task:?}");
        }
    }
}
