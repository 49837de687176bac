//! What is particular to deletes that can be taken back: what they end, and that they come at any moment.

use super::super::testing::{Bench, LARGE, Process, owner};
use super::cases::{Case, outcome};
use crate::core::ids::ServerId;
use crate::core::server::migration::MigrationStatus;
use crate::core::server::node::Node;
use crate::core::server::state::{PowerState, VmState};
use crate::host::hypervisor::DomainState;
use crate::task::failpoint::{Effect, Moment};

/// A machine on which nothing that was deleted is ever due.
fn patient() -> Bench {
    Bench::with_node(Node { reclaim_seconds: i64::MAX, ..Node::roomy() })
}

/// Deletes the server and restores it: it runs on its own disks, and nothing of what it was before is left.
async fn there_and_back(bench: &Bench, process: &Process, id: ServerId, what: &str) {
    process.servers.restore(&owner(), id).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    process.tasks.settled().await.unwrap();
    let row = process.row(id).await;
    assert_eq!((row.vm_state, row.power_state), (VmState::Active, PowerState::Running), "{what}");
    assert!(row.rescue.is_none() && row.resize.is_none() && row.shelved.is_none(), "{what}: {row:?}");
    let host = bench.on_host();
    assert_eq!(host.domains.domains[&id].state, DomainState::Running, "{what}");
    assert!(host.files[&id].rescue.is_none() && host.images.is_empty(), "{what}");
}

#[tokio::test]
async fn it_ends_whatever_the_server_was_in() {
    let bench = patient();
    let process = bench.start().await;
    let mut made = Vec::new();
    for name in ["resized", "rescued", "suspended"] {
        made.push(process.create(bench.command(name)).await);
    }
    let (resized, rescued, suspended) = (made[0], made[1], made[2]);
    process.tasks.settled().await.unwrap();
    process.servers.suspend(&owner(), suspended).await.unwrap();
    process.servers.resize(&owner(), resized, LARGE.into(), None).await.unwrap();
    process.servers.rescue(&owner(), rescued, None, None).await.map(drop).unwrap();
    process.tasks.settled().await.unwrap();
    for (id, what) in [(resized, "resized"), (rescued, "rescued"), (suspended, "suspended")] {
        process.servers.delete(&owner(), id, false).await.unwrap();
        process.tasks.settled().await.unwrap();
        let row = process.row(id).await;
        assert_eq!(row.vm_state, VmState::SoftDelete);
        assert!(row.rescue.is_none() && row.resize.is_none(), "{what}: {row:?}");
        assert_eq!(bench.on_host().domains.domains[&id].state, DomainState::ShutOff, "{what}");
        there_and_back(&bench, &process, id, what).await;
    }
    assert_eq!(process.row(resized).await.flavor.id, LARGE);
    assert_eq!(outcome(&bench, &process, resized).await.migrations, [MigrationStatus::Confirmed]);
}

#[tokio::test]
async fn it_takes_the_place_of_anything_at_any_moment() {
    let cases = [
        Case::Snapshot,
        Case::Shelve,
        Case::Offload,
        Case::Unshelve,
        Case::UnshelveOffloaded,
        Case::Restore,
        Case::Rescue,
        Case::Unrescue,
        Case::Rebuild,
        Case::Resize,
        Case::Confirm,
        Case::Revert,
    ];
    for case in cases {
        for step in case.workflow().1 {
            for moment in [Moment::BeforeStart, Moment::AfterStart, Moment::AfterRun] {
                let what = format!("{case:?} {step} {moment:?}");
                let mut node = Node { reclaim_seconds: i64::MAX, ..Node::roomy() };
                if matches!(case, Case::Offload | Case::Unshelve) {
                    node.shelved_offload_seconds = -1;
                }
                let bench = Bench::with_node(node);
                let (process, id) = case.prepare(&bench).await;
                bench.want(case.workflow().0, step, moment, Effect::Halt);
                let id = case.ask(&bench, &process, id).await;
                process.tasks.settled().await.unwrap();
                assert!(process.tasks.halted(), "{what}");
                process.servers.delete(&owner(), id, false).await.unwrap();
                process.kill().await;
                let process = bench.start().await;
                process.tasks.settled().await.unwrap();
                // What is leaving the host or coming back to it has nothing to be restored to.
                if matches!(case, Case::Offload | Case::UnshelveOffloaded) {
                    assert_eq!(process.row(id).await.vm_state, VmState::Deleted, "{what}");
                    assert!(bench.on_host().domains.domains.is_empty(), "{what}");
                    continue;
                }
                let row = process.row(id).await;
                assert_eq!((row.vm_state, row.task_state), (VmState::SoftDelete, None), "{what}");
                assert!(row.host.is_some(), "{what}");
                there_and_back(&bench, &process, id, &what).await;
            }
        }
    }
}

#[tokio::test]
async fn a_shelving_lets_saved_memory_go_only_when_it_succeeds() {
    let bench = Bench::with_node(Node { shelved_offload_seconds: -1, ..Node::roomy() });
    let process = bench.start().await;
    let id = process.create(bench.command("web")).await;
    process.tasks.settled().await.unwrap();
    process.servers.suspend(&owner(), id).await.unwrap();
    process.tasks.settled().await.unwrap();
    let states = [
        (Effect::Fail, VmState::Suspended, DomainState::Saved),
        (Effect::Repeat, VmState::Shelved, DomainState::ShutOff),
    ];
    for (effect, vm, domain) in states {
        bench.want("server_shelve", "publish", Moment::AfterStart, effect);
        process.servers.shelve(&owner(), id).await.unwrap();
        process.tasks.settled().await.unwrap();
        let found = (process.row(id).await.vm_state, bench.on_host().domains.domains[&id].state);
        assert_eq!(found, (vm, domain), "{effect:?}");
    }
}
