//! What resizes come to: the sizes, the layers, the events; and that whatever goes wrong the old size is not lost.

use super::super::testing::{Bench, FLAVOR, LARGE, owner};
use super::cases::{Case, Outcome, outcome, run, run_with};
use crate::core::server::migration::MigrationStatus;
use crate::core::server::state::{PowerState, VmState};
use crate::host::hypervisor::DomainState;
use crate::task::failpoint::{Effect, Moment};

#[tokio::test]
async fn a_resize_is_what_it_says() {
    for case in [
        Case::Resize,
        Case::ResizeStopped,
        Case::Confirm,
        Case::ConfirmStopped,
        Case::Revert,
        Case::RevertStopped,
    ] {
        let (found, _) = run(case, None).await;
        let power = if case.is_stopped() { PowerState::Shutdown } else { PowerState::Running };
        let domain = if case.is_stopped() { DomainState::ShutOff } else { DomainState::Running };
        let state = found.domain.map(|(state, _)| state);
        assert_eq!((found.power, state), (power, Some(domain)), "{case:?}");
        let (flavor, disk, vcpus, status, layers) = match case {
            Case::Revert | Case::RevertStopped => (FLAVOR, 1, 1, MigrationStatus::Reverted, 0),
            Case::ConfirmStopped => (LARGE, 3, 4, MigrationStatus::Confirmed, 0),
            Case::Confirm => (LARGE, 3, 4, MigrationStatus::Confirmed, 1),
            _ => (LARGE, 3, 4, MigrationStatus::Finished, 1),
        };
        assert_eq!(
            (found.flavor.as_str(), found.disk, found.vcpus, &*found.migrations, found.layers),
            (flavor, Some(disk), Some(vcpus), &[status][..], layers),
            "{case:?}"
        );
        let events: Vec<&str> = found.actions[0].2.iter().rev().map(|(event, _)| event.as_str()).collect();
        let expected: &[&str] = match case {
            Case::Confirm | Case::ConfirmStopped => &["compute_confirm_resize"],
            Case::Revert => &["compute_revert_resize", "compute_finish_revert_resize"],
            Case::RevertStopped => {
                &["compute_revert_resize", "compute_finish_revert_resize", "compute_stop_instance"]
            }
            _ => &[
                "conductor_migrate_server",
                "cold_migrate",
                "compute_prep_resize",
                "compute_resize_instance",
                "compute_finish_resize",
            ],
        };
        assert_eq!(events, expected, "{case:?}");
    }
}

/// Whatever goes wrong, the old size is back and runs if it ran; the server shows the failure once its guest was touched.
fn assert_as_before(case: Case, found: &Outcome, touched: bool, what: &str) {
    let (vm, domain) = if case == Case::Resize {
        (VmState::Active, DomainState::Running)
    } else {
        (VmState::Stopped, DomainState::ShutOff)
    };
    assert_eq!(found.vm_state, if touched { VmState::Error } else { vm }, "{case:?} {what}");
    let state = found.domain.map(|(state, _)| state);
    assert_eq!((found.task, found.fault, state), (None, true, Some(domain)), "{case:?} {what}");
    assert_eq!(
        (found.flavor.as_str(), found.disk, found.vcpus, found.layers),
        (FLAVOR, Some(1), Some(1), 0),
        "{case:?} {what}"
    );
    assert_eq!(found.migrations, [MigrationStatus::Error], "{case:?} {what}");
    assert_eq!(found.actions[0].1.as_deref(), Some("Error"), "{case:?} {what}");
}

#[tokio::test]
async fn a_failed_resize_goes_back_to_the_old_size() {
    for case in [Case::Resize, Case::ResizeStopped] {
        let steps = case.workflow().1;
        for (index, step) in steps.iter().enumerate() {
            for moment in [Moment::AfterStart, Moment::AfterRun] {
                let (found, met) = run(case, Some((step, moment, Effect::Fail))).await;
                assert!(met, "{case:?} {step}");
                let touched = index > 1 || (index == 1 && moment == Moment::AfterRun);
                assert_as_before(case, &found, touched, step);
            }
        }
        let failed = ("finish", Moment::AfterRun, Effect::Fail);
        for step in &steps[1..] {
            for fault in [
                (*step, Moment::AfterUndo, Effect::Repeat),
                (*step, Moment::AfterUndo, Effect::Fail),
                (*step, Moment::BeforeUndo, Effect::Halt),
                (*step, Moment::AfterUndo, Effect::Halt),
            ] {
                let (found, met) = run_with(case, vec![failed, fault]).await;
                assert!(met, "{case:?} {step}");
                assert_as_before(case, &found, true, step);
            }
        }
    }
}

#[tokio::test]
async fn a_failed_decision_on_a_resize_loses_nothing() {
    for case in [Case::Confirm, Case::ConfirmStopped, Case::Revert, Case::RevertStopped] {
        for step in case.workflow().1 {
            for moment in [Moment::AfterStart, Moment::AfterRun] {
                let (found, met) = run(case, Some((step, moment, Effect::Fail))).await;
                assert!(met && found.fault, "{case:?} {step}");
                let confirms = matches!(case, Case::Confirm | Case::ConfirmStopped);
                let vm = if confirms { VmState::Resized } else { VmState::Error };
                assert_eq!((found.vm_state, found.task), (vm, None), "{case:?} {step}");
                let status = if confirms { MigrationStatus::Finished } else { MigrationStatus::Error };
                assert_eq!(found.migrations, [status], "{case:?} {step}");
                // The row says what the disks are.
                let disk = if found.flavor == FLAVOR { 1 } else { 3 };
                assert_eq!(found.disk, Some(disk), "{case:?} {step} {moment:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_delete_takes_the_place_of_a_resize_at_any_moment() {
    for case in [Case::Resize, Case::ResizeStopped, Case::Confirm, Case::Revert, Case::RevertStopped] {
        let (workflow, steps) = case.workflow();
        for step in steps {
            for moment in [Moment::BeforeStart, Moment::AfterStart, Moment::AfterRun] {
                let bench = Bench::new();
                let (process, id) = case.prepare(&bench).await;
                bench.want(workflow, step, moment, Effect::Halt);
                let id = case.ask(&bench, &process, id).await;
                process.tasks.settled().await.unwrap();
                assert!(process.tasks.halted());
                process.servers.delete(&owner(), id, false).await.unwrap();
                let process = bench.settle(process).await;
                let found = outcome(&bench, &process, id).await;
                assert!(found.deleted, "{case:?} {step} {moment:?}");
                assert_eq!(
                    (found.domain, found.files, found.layers, found.reservations),
                    (None, false, 0, 0),
                    "{case:?} {step} {moment:?}"
                );
                assert!(
                    matches!(found.migrations[..], [MigrationStatus::Error | MigrationStatus::Confirmed]),
                    "{case:?} {step} {moment:?}"
                );
            }
        }
    }
}
