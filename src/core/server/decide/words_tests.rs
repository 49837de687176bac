//! All that can come together — action, vm state, task state, launched, host, lock, caller — against the code and the words
//! that are owed, worked out here from tables of text, and what an admitted action shows first and is recorded as.

use super::tests::{TABLE, actor, all_tasks, holds};
use super::*;
use crate::core::Kind;
use crate::core::server::{Lock, sample};

/// action; its name in refusals. Those that are left out are never refused for a state.
const NAMES: &str = "
Delete;delete
ForceDelete;delete
SoftDelete;delete
Restore;restore
Start;start
Stop;stop
RebootSoft;reboot
RebootHard;reboot
Rebuild;rebuild
Resize;resize
Migrate;migrate
ConfirmResize;confirmResize
RevertResize;revertResize
Pause;pause
Unpause;unpause
Suspend;suspend
Resume;resume
Rescue;rescue
Unrescue;unrescue
Shelve;shelve
ShelveOffload;shelveOffload
Unshelve;unshelve
UnshelveTo;unshelve
ChangePassword;changePassword
TriggerCrashDump;trigger_crash_dump
CreateImage;createImage
CreateBackup;createBackup
AttachVolume;attach_volume
AttachVolumeShelved;attach_volume
DetachVolume;detach_volume
DetachVolumeShelved;detach_volume
SwapVolume;swap_volume
AttachInterface;attach_interface
DetachInterface;detach_interface
UpdateMetadata;update metadata
DeleteMetadata;delete metadata
UpdateTag;update tag
UpdateTags;update tags
DeleteTag;delete tag
DeleteTags;delete tags
LiveMigrate;os-migrateLive
ForceComplete;force_complete
AbortMigration;abort live migration
Evacuate;evacuate
Console;get_vnc_console
CreateShare;create share
DeleteShare;delete share
";

/// action; the task state that it begins with; the name of its record.
const BEGINNINGS: &str = "
Delete;deleting;delete
ForceDelete;deleting;delete
SoftDelete;soft-deleting;delete
Restore;restoring;restore
Start;powering-on;start
Stop;powering-off;stop
RebootSoft;rebooting;reboot
RebootHard;rebooting_hard;reboot
Rebuild;rebuilding;rebuild
Resize;resize_prep;resize
Migrate;resize_prep;migrate
ConfirmResize;;confirmResize
RevertResize;resize_reverting;revertResize
Pause;pausing;pause
Unpause;unpausing;unpause
Suspend;suspending;suspend
Resume;resuming;resume
Rescue;rescuing;rescue
Unrescue;unrescuing;unrescue
Shelve;shelving;shelve
ShelveOffload;shelving_offloading;shelveOffload
Unshelve;unshelving;unshelve
UnshelveTo;unshelving;unshelve
ChangePassword;updating_password;changePassword
TriggerCrashDump;;trigger_crash_dump
CreateImage;image_snapshot_pending;createImage
CreateBackup;image_backup;createBackup
AttachVolume;;attach_volume
AttachVolumeShelved;;attach_volume
DetachVolume;;detach_volume
DetachVolumeShelved;;detach_volume
SwapVolume;;swap_volume
AttachInterface;;attach_interface
DetachInterface;;detach_interface
LiveMigrate;migrating;live-migration
ForceComplete;;live_migration_force_complete
AbortMigration;;live_migration_cancel
Evacuate;rebuilding;evacuate
ResetState;;resetState
Lock;;lock
Unlock;;unlock
CreateShare;;attach_share
DeleteShare;;detach_share
";

/// These say that the server is unfit when it is locked.
const UNFIT_WHEN_LOCKED: [&str; 3] = ["Restore", "ChangePassword", "AbortMigration"];
/// These look for a host last.
const HOST_LAST: [&str; 2] = ["Resize", "Migrate"];

fn lines(table: &str) -> impl Iterator<Item = Vec<&str>> {
    table.lines().filter(|line| !line.is_empty()).map(|line| line.split(';').collect())
}

/// What has to come of a request: nothing, or a refusal with its code and words.
fn owed(line: &[&str], name: &str, server: &Server, admin: bool) -> Result<(), (Kind, String)> {
    let [action, vm_states, task_states, launched, lock, host] = *line else { panic!("{line:?}") };
    // Whether it is offloaded is asked after all else.
    let vm_states = if action == "UnshelveTo" { "shelved,shelved_offloaded" } else { vm_states };
    let id = server.id;
    let conflict = |words: String| Err((Kind::InvalidState, words));
    let unfit = || conflict(format!("Instance {id} is in an invalid state for '{name}'"));
    let wrong = |property: &str, value: &str| {
        conflict(format!("Cannot '{name}' instance {id} while it is in {property} {value}"))
    };
    let held_by_admin = server.lock.as_ref().is_some_and(|lock| lock.by == LockHolder::Admin);
    if action == "Unlock" && held_by_admin && !admin {
        let rule = "os_compute_api:os-lock-server:unlock:unlock_override";
        return Err((Kind::Forbidden, format!("Policy doesn't allow {rule} to be performed.")));
    }
    if server.lock.is_some() && !admin && lock == "yes" {
        return if UNFIT_WHEN_LOCKED.contains(&action) {
            unfit()
        } else {
            conflict(format!("Instance {id} is locked"))
        };
    }
    let homeless = host == "yes" && server.host.is_none();
    let not_ready = || conflict(format!("Instance {id} is not ready"));
    if homeless && !HOST_LAST.contains(&action) {
        return not_ready();
    }
    if !holds(vm_states, Some(server.vm_state.as_str())) {
        return wrong("vm_state", server.vm_state.as_str());
    }
    if !holds(task_states, server.task_state.map(TaskState::as_str)) {
        return wrong("task_state", server.task_state.map_or("None", TaskState::as_str));
    }
    if launched == "yes" && server.launched_at.is_none() {
        return unfit();
    }
    if action == "UnshelveTo" && server.vm_state != VmState::ShelvedOffloaded {
        return conflict(format!(
            "Specifying an availability zone or a host when unshelving server \"{id}\" with status \"{}\" is not \
             supported. The server status must be SHELVED_OFFLOADED.",
            server.vm_state
        ));
    }
    if homeless { not_ready() } else { Ok(()) }
}

#[test]
fn every_combination_has_its_code_and_words() {
    let actors = [(actor(&["member"]), false), (actor(&["admin"]), true)];
    let names: Vec<Vec<&str>> = lines(NAMES).collect();
    let beginnings: Vec<Vec<&str>> = lines(BEGINNINGS).collect();
    for line in lines(TABLE) {
        let action = *Action::ALL.iter().find(|action| format!("{action:?}") == line[0]).unwrap();
        let name = names.iter().find(|name| name[0] == line[0]).map_or("", |name| name[1]);
        let begins = beginnings.iter().find(|begins| begins[0] == line[0]);
        let begins = begins.map_or((None, None), |begins| {
            (Some(begins[1]).filter(|state| !state.is_empty()), Some(begins[2]))
        });
        let mut server = sample();
        let (launched_at, host) = (server.launched_at, server.host.clone());
        for vm in VmState::ALL.iter().copied() {
            for task in all_tasks() {
                for bits in 0..12_u8 {
                    (server.vm_state, server.task_state) = (vm, task);
                    server.launched_at = launched_at.filter(|_| bits & 1 == 0);
                    server.host = host.clone().filter(|_| bits & 2 == 0);
                    server.lock = [None, Some(LockHolder::Owner), Some(LockHolder::Admin)]
                        [usize::from(bits >> 2)]
                    .map(|by| Lock { by, reason: None });
                    for (actor, admin) in &actors {
                        let given = decide(&server, action, actor);
                        let seen = given.as_ref().map(|_| ()).map_err(|refusal| {
                            let error = Error::from(refusal.clone());
                            (error.kind(), error.to_string())
                        });
                        let owed = owed(&line, name, &server, *admin);
                        assert_eq!(seen, owed, "{action:?} {vm} {task:?} {bits} {admin}");
                        if let Ok(plan) = given {
                            let plan = (plan.task_state.map(TaskState::as_str), plan.record);
                            assert_eq!(plan, begins, "{action:?}");
                        }
                    }
                }
            }
        }
    }
}
