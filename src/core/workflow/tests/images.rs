//! What is particular to images of servers, and to servers that are put away.

use super::super::image_prefetch;
use super::super::testing::{Bench, owner};
use super::cases::{Case, new_image, outcome};
use crate::core::server::node::Node;
use crate::core::server::snapshot::Rotation;
use crate::core::server::state::VmState;
use crate::core::service::servers::Destination;
use crate::host::hypervisor::DomainState;
use crate::store::StoreError;
use crate::task::failpoint::{Effect, Moment};
use std::time::Duration;

#[tokio::test]
async fn a_copy_that_breaks_off_leaves_the_guest_and_no_image() {
    let bench = Bench::new();
    let process = bench.start().await;
    let id = process.create(bench.command("web")).await;
    process.tasks.settled().await.unwrap();
    bench.hypervisor.set_copies_fail(id, true);
    process.servers.create_image(&owner(), id, new_image()).await.unwrap();
    process.tasks.settled().await.unwrap();
    let outcome = outcome(&bench, &process, id).await;
    assert_eq!((outcome.vm_state, outcome.task, outcome.fault), (VmState::Active, None, true));
    assert_eq!(outcome.domain, Some((DomainState::Running, 1)));
    assert!(outcome.images.is_empty() && outcome.stored == 0);
}

#[tokio::test]
async fn an_image_that_insists_on_peace_needs_an_agent() {
    let bench = Bench::new();
    let process = bench.start().await;
    let id = process.create(bench.command("web")).await;
    process.tasks.settled().await.unwrap();
    for (insists, images) in [(true, 0), (false, 1)] {
        let word = if insists { "yes" } else { "no" };
        process
            .store
            .write::<_, StoreError, _>(move |c| {
                let set = "UPDATE server SET image_properties = json_object('os_require_quiesce', ?1)";
                Ok(c.execute(set, [word])?)
            })
            .await
            .unwrap();
        process.servers.create_image(&owner(), id, new_image()).await.unwrap();
        process.tasks.settled().await.unwrap();
        let outcome = outcome(&bench, &process, id).await;
        assert_eq!((outcome.images.len(), outcome.fault), (images, true), "{insists}");
    }
}

#[tokio::test]
async fn backups_are_rotated_by_their_kind() {
    let bench = Bench::new();
    let process = bench.start().await;
    let id = process.create(bench.command("web")).await;
    process.tasks.settled().await.unwrap();
    let owner = owner();
    let backup = |kind: &str, keep| {
        let rotation = Rotation { kind: kind.into(), keep };
        process.servers.create_backup(&owner, id, new_image(), rotation)
    };
    let mut made = Vec::new();
    for (kind, keep) in [("daily", 2), ("weekly", 1), ("daily", 2), ("daily", 2), ("daily", 2)] {
        made.push(backup(kind, keep).await.unwrap());
        process.tasks.settled().await.unwrap();
    }
    // The weekly one, and the last two of the daily ones.
    assert_eq!(bench.storage.images(), [made[1], made[3], made[4]].into());
    backup("daily", 0).await.unwrap();
    process.tasks.settled().await.unwrap();
    assert_eq!(bench.storage.images(), [made[1]].into());
}

#[tokio::test]
async fn a_delete_takes_the_place_of_anything_at_any_moment() {
    let cases = [
        Case::Snapshot,
        Case::Shelve,
        Case::Offload,
        Case::Unshelve,
        Case::UnshelveOffloaded,
        Case::SoftDelete,
        Case::Restore,
    ];
    for case in cases {
        for step in case.workflow().1 {
            for moment in [Moment::BeforeStart, Moment::AfterStart, Moment::AfterRun] {
                let bench = case.bench();
                let clean = {
                    let process = bench.start().await;
                    let clean = bench.on_host();
                    process.kill().await;
                    clean
                };
                let (process, id) = case.prepare(&bench).await;
                bench.want(case.workflow().0, step, moment, Effect::Halt);
                let id = case.ask(&bench, &process, id).await;
                process.tasks.settled().await.unwrap();
                assert!(process.tasks.halted(), "{case:?} {step} {moment:?}");
                process.servers.delete(&owner(), id, true).await.unwrap();
                process.kill().await;
                let process = bench.start().await;
                process.tasks.settled().await.unwrap();
                assert_eq!(bench.on_host(), clean, "{case:?} {step} {moment:?}");
                assert_eq!(process.row(id).await.vm_state, VmState::Deleted);
            }
        }
    }
}

#[tokio::test]
async fn what_is_due_is_done_in_its_time_and_only_then() {
    let mut node = Node::roomy();
    (node.shelved_offload_seconds, node.reclaim_seconds) = (2, 2);
    let bench = Bench::with_node(node);
    let process = bench.start().await;
    let (shelved, deleted, back) = (
        process.create(bench.command("shelved")).await,
        process.create(bench.command("deleted")).await,
        process.create(bench.command("back")).await,
    );
    process.tasks.settled().await.unwrap();
    for id in [shelved, back] {
        process.servers.shelve(&owner(), id).await.unwrap();
    }
    process.servers.delete(&owner(), deleted, false).await.unwrap();
    let states = [(shelved, VmState::Shelved), (back, VmState::Shelved), (deleted, VmState::SoftDelete)];
    for (id, state) in states {
        while process.row(id).await.task_state.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(process.row(id).await.vm_state, state);
    }
    process.servers.unshelve(&owner(), back, Destination::default()).await.unwrap();
    // What waits for its time waits through the end of the process, too.
    process.kill().await;
    let process = bench.start().await;
    process.tasks.settled().await.unwrap();
    for (id, state) in
        [(shelved, VmState::ShelvedOffloaded), (back, VmState::Active), (deleted, VmState::Deleted)]
    {
        assert_eq!(process.row(id).await.vm_state, state);
    }
    assert_eq!(bench.on_host().domains.domains.keys().collect::<Vec<_>>(), [&back]);
    assert_eq!(bench.storage.images().len(), 1);
}

#[tokio::test]
async fn an_image_is_made_ready_ahead_of_its_servers_or_not() {
    let bench = Bench::new();
    let process = bench.start().await;
    let (image, now) = (bench.image, process.clock.now());
    let prefetch = |format: &'static str| {
        let write = move |c: &rusqlite::Connection| image_prefetch::arrange(c, image, format, "req-1", now);
        process.store.write::<_, StoreError, _>(write)
    };
    bench.storage.fail_next(1);
    for ready in [false, true] {
        prefetch("qcow2").await.unwrap();
        process.tasks.settled().await.unwrap();
        assert_eq!(bench.storage.prepared().contains(&image), ready);
    }
    prefetch("unheard of").await.unwrap();
    process.tasks.settled().await.unwrap();
}
