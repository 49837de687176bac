//! Every workflow under every fault: each step repeated, each step failed, each undo repeated, and a crash before and
//! after each entry of the log. Then the rows and the host are compared with those of a twin that nothing happened to.

mod cases;
mod images;
mod reset;
mod resize;
mod soft_delete;

pub use cases::rebuild;

use super::testing::{Bench, everything, owner};
use crate::core::server::rebuild::RebuildServer;
use crate::core::server::state::VmState;
use crate::host::hypervisor::DomainState;
use crate::task::failpoint::{Effect, Moment};
use cases::{Case, outcome, run, run_with};

#[tokio::test]
async fn twins_end_where_the_table_says() {
    for case in Case::ALL {
        let (outcome, _) = run(case, None).await;
        let vm = match case {
            Case::Stop
            | Case::StopDeaf
            | Case::RebuildStopped
            | Case::SnapshotStopped
            | Case::ConfirmStopped
            | Case::RevertStopped
            | Case::AttachStopped
            | Case::DetachStopped => VmState::Stopped,
            Case::Resize | Case::ResizeStopped => VmState::Resized,
            Case::Delete | Case::DeleteSuspended => VmState::Deleted,
            Case::Pause => VmState::Paused,
            Case::Suspend => VmState::Suspended,
            Case::Rescue | Case::RescueStopped => VmState::Rescued,
            Case::Shelve | Case::Offload => VmState::ShelvedOffloaded,
            Case::ShelveOnly => VmState::Shelved,
            Case::SoftDelete => VmState::SoftDelete,
            _ => VmState::Active,
        };
        let boots = match case {
            Case::Start
            | Case::RebootSoft
            | Case::RebootDeaf
            | Case::RebootHard
            | Case::RebootPaused
            | Case::RebootSuspended
            | Case::Rebuild
            | Case::Rescue
            | Case::RescueStopped
            | Case::Unshelve
            | Case::Restore
            | Case::Resize
            | Case::Confirm => 2,
            Case::Unrescue | Case::Revert => 3,
            // What was in the guest's memory is still there, or the domain is a new one.
            _ => 1,
        };
        assert_eq!(outcome.vm_state, vm, "{case:?}");
        assert_eq!(outcome.task, None, "{case:?}");
        assert!(!outcome.fault, "{case:?}");
        let there = !matches!(vm, VmState::Deleted | VmState::ShelvedOffloaded);
        assert!(outcome.domain.is_none_or(|(_, begun)| begun == boots), "{case:?} {outcome:?}");
        let images = matches!(
            case,
            Case::Snapshot
                | Case::SnapshotStopped
                | Case::Backup
                | Case::Shelve
                | Case::ShelveOnly
                | Case::Offload
        );
        let images = usize::from(images);
        assert_eq!(
            (&outcome.images, outcome.stored),
            (&vec!["active".to_owned(); images], images),
            "{case:?}"
        );
        let nics = match case {
            Case::Attach | Case::AttachStopped => 2,
            Case::Detach | Case::DetachStopped => 0,
            _ => usize::from(vm != VmState::Deleted),
        };
        assert_eq!(
            (outcome.domain.is_some(), outcome.files, outcome.reservations, outcome.nics),
            (there, there, if there { nics } else { 0 }, nics),
            "{case:?}"
        );
        assert!(!there || outcome.plugged.0 == nics, "{case:?} {outcome:?}");
        let runs = outcome.domain.is_some_and(|(state, _)| state == DomainState::Running);
        assert!(!runs || outcome.plugged.1 == nics, "{case:?} {outcome:?}");
        let rescued = vm == VmState::Rescued;
        assert_eq!(outcome.rescue, (rescued, rescued, rescued), "{case:?}");
        for (action, message, events) in &outcome.actions {
            assert_eq!(*message, None, "{case:?} {action}");
            let count = match (action.as_str(), case) {
                ("rebuild", Case::RebuildStopped) => 3,
                ("rebuild", _) | ("revertResize", Case::Revert) => 2,
                ("unshelve", Case::UnshelveOffloaded) | ("revertResize", _) => 3,
                ("resize", _) => 5,
                _ => 1,
            };
            assert!(
                events.len() == count
                    && events.iter().all(|(_, result)| result.as_deref() == Some("Success")),
                "{case:?} {action} {events:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_repeated_step_changes_nothing() {
    for case in Case::ALL {
        let (twin, _) = run(case, None).await;
        for step in case.workflow().1 {
            let (outcome, met) = run(case, Some((step, Moment::AfterStart, Effect::Repeat))).await;
            assert!(met, "{case:?} {step}");
            assert_eq!(outcome, twin, "{case:?} {step}");
        }
    }
}

#[tokio::test]
async fn a_crash_at_any_moment_changes_nothing_in_the_end() {
    let moments = [Moment::BeforeStart, Moment::AfterStart, Moment::AfterRun];
    for case in Case::ALL {
        let (twin, _) = run(case, None).await;
        let steps = case.workflow().1;
        let last = steps[steps.len() - 1];
        let closing = [(last, Moment::BeforeClose), (last, Moment::AfterClose)];
        let all = steps.iter().flat_map(|step| moments.map(|moment| (*step, moment))).chain(closing);
        for (step, moment) in all {
            let (outcome, met) = run(case, Some((step, moment, Effect::Halt))).await;
            assert!(met, "{case:?} {step} {moment:?}");
            assert_eq!(outcome, twin, "{case:?} {step} {moment:?}");
        }
    }
}

#[tokio::test]
async fn a_failed_create_leaves_nothing_but_its_fault() {
    let steps = Case::Create.workflow().1;
    let mut outcomes = Vec::new();
    for step in steps {
        for moment in [Moment::AfterStart, Moment::AfterRun] {
            outcomes.push(run(Case::Create, Some((step, moment, Effect::Fail))).await);
        }
    }
    // Each undo twice, and a crash on both sides of each undo.
    let failed = (steps[steps.len() - 1], Moment::AfterRun, Effect::Fail);
    for step in steps {
        for fault in [
            (*step, Moment::AfterUndo, Effect::Repeat),
            (*step, Moment::AfterUndo, Effect::Fail),
            (*step, Moment::BeforeUndo, Effect::Halt),
            (*step, Moment::AfterUndo, Effect::Halt),
        ] {
            outcomes.push(run_with(Case::Create, vec![failed, fault]).await);
        }
    }
    for (outcome, met) in outcomes {
        assert!(met);
        assert_eq!(outcome.vm_state, VmState::Error);
        assert_eq!(outcome.task, None);
        assert!(outcome.fault && !outcome.placed && !outcome.launched && !outcome.files, "{outcome:?}");
        assert_eq!((outcome.domain, outcome.nics, outcome.reservations), (None, 0, 0));
        assert_eq!(outcome.actions[0].1.as_deref(), Some("Error"));
    }
}

#[tokio::test]
async fn an_undo_may_be_repeated_fail_once_or_be_interrupted() {
    for case in
        [Case::Snapshot, Case::Shelve, Case::UnshelveOffloaded, Case::SoftDelete, Case::Attach, Case::Detach]
    {
        let steps = case.workflow().1;
        let failed = (steps[steps.len() - 1], Moment::AfterRun, Effect::Fail);
        let (twin, _) = run(case, Some(failed)).await;
        // Not every step has something to undo.
        let undone = steps.iter().filter(|step| !matches!(**step, "settle" | "rotate"));
        for step in undone {
            for fault in [
                (*step, Moment::AfterUndo, Effect::Repeat),
                (*step, Moment::AfterUndo, Effect::Fail),
                (*step, Moment::BeforeUndo, Effect::Halt),
                (*step, Moment::AfterUndo, Effect::Halt),
            ] {
                let (outcome, met) = run_with(case, vec![failed, fault]).await;
                assert!(met, "{case:?} {fault:?}");
                assert_eq!(outcome, twin, "{case:?} {fault:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_failed_action_leaves_the_server_as_the_table_says() {
    let skipped = [
        Case::Create,
        Case::Delete,
        Case::DeleteSuspended,
        Case::RebootDeaf,
        Case::RebootPaused,
        Case::RebootSuspended,
        // It goes on until it is done.
        Case::Offload,
    ];
    for case in Case::ALL.into_iter().filter(|case| !skipped.contains(case) && !case.resizes()) {
        for step in case.workflow().1 {
            for moment in [Moment::AfterStart, Moment::AfterRun] {
                let (outcome, met) = run(case, Some((step, moment, Effect::Fail))).await;
                assert!(met, "{case:?} {step}");
                assert_eq!(outcome.task, None, "{case:?} {step}");
                assert!(outcome.fault, "{case:?} {step}");
                let vm = match case {
                    Case::Start | Case::SnapshotStopped => VmState::Stopped,
                    Case::Stop | Case::StopDeaf | Case::Pause | Case::CrashDump | Case::Password => {
                        VmState::Active
                    }
                    Case::Unpause => VmState::Paused,
                    // Once it runs on its own disks it is rescued no more, whatever fails then.
                    Case::Unrescue
                        if *step == "remains" || (*step, moment) == ("power_on", Moment::AfterRun) =>
                    {
                        VmState::Active
                    }
                    Case::Unrescue => VmState::Rescued,
                    Case::Snapshot | Case::Backup => VmState::Active,
                    Case::Shelve | Case::ShelveOnly | Case::SoftDelete => VmState::Active,
                    Case::Unshelve => VmState::Shelved,
                    Case::UnshelveOffloaded => VmState::ShelvedOffloaded,
                    Case::Restore => VmState::SoftDelete,
                    Case::Attach | Case::Detach => VmState::Active,
                    Case::AttachStopped | Case::DetachStopped => VmState::Stopped,
                    // The failpoint is the engine's: the step had no chance to see that the guest runs.
                    _ => VmState::Error,
                };
                assert_eq!(outcome.vm_state, vm, "{case:?} {step} {moment:?}");
                assert_eq!(outcome.actions[0].1.as_deref(), Some("Error"), "{case:?} {step}");
                let images = usize::from(matches!(case, Case::Unshelve | Case::UnshelveOffloaded));
                assert_eq!((outcome.images.len(), outcome.stored), (images, images), "{case:?} {step}");
                let domain = outcome.domain.map(|(state, _)| state);
                match case {
                    Case::Snapshot | Case::Backup | Case::Shelve | Case::ShelveOnly | Case::SoftDelete => {
                        assert_eq!(domain, Some(DomainState::Running), "{case:?} {step} {moment:?}");
                    }
                    Case::UnshelveOffloaded => assert_eq!(domain, None, "{case:?} {step} {moment:?}"),
                    Case::Attach | Case::AttachStopped | Case::Detach | Case::DetachStopped => {
                        let guest = usize::from(matches!(case, Case::Attach | Case::Detach));
                        assert_eq!(
                            (outcome.nics, outcome.plugged, outcome.reservations),
                            (1, (1, guest), 1),
                            "{case:?} {step} {moment:?}"
                        );
                    }
                    _ => {}
                }
                assert_eq!(outcome.placed, outcome.vm_state != VmState::ShelvedOffloaded, "{case:?} {step}");
            }
        }
    }
}

#[tokio::test]
async fn a_resume_whose_memory_is_damaged_says_how_to_go_on() {
    let bench = Bench::new();
    let (process, id) = Case::Resume.prepare(&bench).await;
    let id = id.unwrap();
    bench.hypervisor.damage_saved(id);
    process.servers.resume(&owner(), id).await.unwrap();
    process.tasks.settled().await.unwrap();
    assert_eq!(process.row(id).await.vm_state, VmState::Error);
    let detail = process.servers.show(&owner(), id).await.unwrap();
    let words = detail.fault.unwrap().message;
    assert!(
        words.starts_with("Restoring the guest's memory failed") && words.contains("Reboot the server hard"),
        "{words}"
    );
    process.servers.reboot(&owner(), id, true).await.unwrap();
    process.tasks.settled().await.unwrap();
    assert_eq!(process.row(id).await.vm_state, VmState::Active);
    assert_eq!(bench.hypervisor.inventory().domains[&id].boots, 2);
}

#[tokio::test]
async fn a_guest_that_was_saved_behind_our_back_goes_on_where_it_was() {
    let bench = Bench::new();
    let (process, id) = Case::Stop.prepare(&bench).await;
    let id = id.unwrap();
    bench.hypervisor.set_state(id, crate::host::hypervisor::DomainState::Saved);
    process.servers.stop(&owner(), id).await.unwrap();
    process.tasks.settled().await.unwrap();
    process.servers.start(&owner(), id).await.unwrap();
    process.tasks.settled().await.unwrap();
    assert_eq!(process.row(id).await.vm_state, VmState::Active);
    assert_eq!(bench.hypervisor.inventory().domains[&id].boots, 1);
}

#[tokio::test]
async fn a_delete_that_fails_goes_on_until_it_is_done() {
    for case in [Case::Delete, Case::Offload] {
        let (twin, _) = run(case, None).await;
        for step in case.workflow().1 {
            let faults = vec![(*step, Moment::AfterRun, Effect::Fail); 4];
            let (outcome, met) = run_with(case, faults).await;
            assert!(met, "{step}");
            assert_eq!(outcome, twin, "{step}");
        }
    }
}

#[tokio::test]
async fn a_delete_takes_the_place_of_a_create_at_any_moment() {
    for step in Case::Create.workflow().1 {
        for moment in [Moment::BeforeStart, Moment::AfterStart, Moment::AfterRun] {
            let bench = Bench::new();
            let clean = {
                let process = bench.start().await;
                let clean = bench.on_host();
                bench.want("server_create", step, moment, Effect::Halt);
                let id = process.create(bench.command("web")).await;
                process.tasks.settled().await.unwrap();
                assert!(process.tasks.halted());
                process.servers.delete(&owner(), id, false).await.unwrap();
                process.kill().await;
                clean
            };
            let process = bench.start().await;
            process.tasks.settled().await.unwrap();
            assert_eq!(bench.on_host(), clean, "{step} {moment:?}");
            assert!(process.servers.list_detail(everything()).await.unwrap().is_empty());
        }
    }
}

#[tokio::test]
async fn what_the_new_guest_of_a_rebuild_writes_is_never_lost() {
    for moment in [Moment::AfterStart, Moment::AfterRun, Moment::BeforeClose] {
        for case in [Case::Rebuild, Case::RebuildStopped] {
            let bench = Bench::new();
            let (process, id) = case.prepare(&bench).await;
            let step = if moment == Moment::BeforeClose { "stopped" } else { "spawning" };
            bench.want("server_rebuild", step, moment, Effect::Halt);
            let id = case.ask(&bench, &process, id).await;
            process.tasks.settled().await.unwrap();
            assert!(process.tasks.halted(), "{case:?} {moment:?}");
            process.kill().await;
            assert_eq!(bench.storage.replaced(id), 1);
            let process = bench.start().await;
            process.tasks.settled().await.unwrap();
            assert_eq!(bench.storage.replaced(id), 1, "{case:?} {moment:?}");
        }
    }
}

#[tokio::test]
async fn a_rebuild_that_fails_before_the_disks_are_touched_keeps_its_image() {
    for (step, restored) in [("image", true), ("block_device_mapping", false)] {
        let bench = Bench::new();
        let (process, id) = Case::Rebuild.prepare(&bench).await;
        let id = id.unwrap();
        let old = process.row(id).await.image_id;
        let other = process.another_image().await;
        bench.want("server_rebuild", step, Moment::AfterStart, Effect::Fail);
        let command = RebuildServer { image_id: Some(other), name: Some("new".into()), ..rebuild(&bench) };
        let (shown, _) = process.servers.rebuild(&owner(), id, command).await.unwrap();
        assert_eq!((shown.server.image_id, shown.server.name.as_str()), (Some(other), "new"));
        process.tasks.settled().await.unwrap();
        let row = process.row(id).await;
        assert_eq!((row.vm_state, row.image_id == old), (VmState::Error, restored), "{step}");
        // It can be rebuilt from there.
        process.servers.rebuild(&owner(), id, rebuild(&bench)).await.unwrap();
        process.tasks.settled().await.unwrap();
        assert_eq!(process.row(id).await.vm_state, VmState::Active);
    }
}

#[tokio::test]
async fn a_guest_without_an_agent_keeps_its_password() {
    use crate::core::Kind;
    let bench = Bench::new();
    let (process, id) = Case::Stop.prepare(&bench).await;
    let id = id.unwrap();
    let refused = async || process.servers.change_password(&owner(), id, "new".to_owned().into()).await;
    let told = |error: crate::core::Error| (error.kind(), error.message().to_owned());
    assert_eq!(
        told(refused().await.unwrap_err()),
        (Kind::InvalidState, "QEMU guest agent is not enabled".into())
    );
    let promise = move |c: &crate::store::Connection| {
        c.execute("UPDATE server SET image_properties = '{\"hw_qemu_guest_agent\": \"yes\"}'", [])?;
        Ok::<_, crate::store::StoreError>(())
    };
    process.store.write(promise).await.unwrap();
    assert_eq!(
        told(refused().await.unwrap_err()),
        (Kind::NotImplemented, "Unable to set password on instance".into())
    );
    // It may come while it is waited for.
    let comes = async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        bench.hypervisor.install_agent(id);
    };
    tokio::join!(refused(), comes).0.unwrap();
    assert_eq!(bench.hypervisor.password_of(id, "root").as_deref(), Some("new"));
    // The task that carried it has forgotten it.
    let left = process.store.read(|c| {
        let found = c.query_row("SELECT count(*) FROM task WHERE state LIKE '%new%'", [], |row| row.get(0));
        Ok::<i64, crate::store::StoreError>(found?)
    });
    assert_eq!(left.await.unwrap(), 0);
    bench.want("server_password", "set", Moment::AfterStart, Effect::Fail);
    let (kind, words) = told(refused().await.unwrap_err());
    assert_eq!(kind, Kind::Conflict);
    assert_eq!(words, format!("Failed to set admin password on {id} because error setting admin password"));
    assert_eq!(process.row(id).await.vm_state, VmState::Active);
}

#[tokio::test]
async fn a_rescued_server_whose_state_is_reset_comes_back_on_its_own_disk() {
    use super::testing::admin;
    use crate::core::service::servers::ResetTo;
    let bench = Bench::new();
    let (process, id) = Case::Unrescue.prepare(&bench).await;
    let id = id.unwrap();
    process.servers.reset_state(&admin(), id, ResetTo::Active).await.unwrap();
    process.servers.reboot(&owner(), id, true).await.unwrap();
    process.tasks.settled().await.unwrap();
    assert_eq!(outcome(&bench, &process, id).await.rescue, (false, true, false));
    process.servers.delete(&owner(), id, false).await.unwrap();
    process.tasks.settled().await.unwrap();
    assert!(!bench.on_host().files.contains_key(&id));
}

#[tokio::test]
async fn what_a_power_loss_undoes_is_begun_as_it_is_accepted() {
    use crate::core::service::servers::{ActionQuery, Among};
    use crate::store::tasks::{self, LogEvent, TaskStatus};
    let bench = Bench::new();
    let process = bench.start().await;
    let id = process.create(bench.command("web")).await;
    let process = bench.settle(process).await;
    bench.want("server_pause", "pause", Moment::BeforeStart, Effect::Halt);
    process.servers.pause(&owner(), id).await.unwrap();
    process.tasks.settled().await.unwrap();
    assert!(process.tasks.halted());
    let begun = process.store.read::<_, crate::store::StoreError, _>(|c| {
        let task = tasks::unfinished(c)?.remove(0);
        Ok((task.status, tasks::log(c, task.id)?))
    });
    assert_eq!(begun.await.unwrap(), (TaskStatus::Running, vec![("pause".to_owned(), LogEvent::Started)]));
    assert_eq!(bench.hypervisor.inventory().domains[&id].state, DomainState::Running);

    let process = bench.settle(process).await;
    assert_eq!(bench.hypervisor.inventory().domains[&id].state, DomainState::Paused);
    assert_eq!(process.row(id).await.vm_state, VmState::Paused);
    let newest = ActionQuery { limit: 1, ..ActionQuery::default() };
    let actions = process.servers.actions(&owner(), id, Among::Living, newest).await.unwrap();
    let (_, events) =
        process.servers.action(&owner(), id, Among::Living, &actions[0].request_id).await.unwrap();
    let results: Vec<_> = events.iter().map(|e| (e.event.as_str(), e.result.as_deref())).collect();
    assert_eq!(results, [("compute_pause_instance", Some("Success"))]);
}
