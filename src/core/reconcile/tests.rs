//! The reconciler on a host in memory: what guests do by themselves shows in their rows.

use super::orphan_sweep::Grace;
use super::{Pace, Reconciler};
use crate::core::ids::ServerId;
use crate::core::server::state::{PowerState, TaskState, VmState};
use crate::core::service::servers::{ActionQuery, Among};
use crate::core::workflow::testing::{Bench, Process, owner};
use crate::host::hypervisor::DomainState;
use crate::host::hypervisor::fake::Manners;
use crate::host::storage::{BootSource, DiskPlan};
use jiff::SignedDuration;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

fn pace() -> Pace {
    Pace {
        gather: Duration::from_millis(1),
        busy: Duration::from_millis(10),
        sweep: Duration::from_secs(3600),
        grace: Grace::default(),
    }
}

/// Starts a reconciler beside a process.
fn reconcile(process: &Process, pace: Pace) -> CancellationToken {
    let stop = CancellationToken::new();
    let reconciler = Reconciler::new(process.env.clone(), process.clock.clone(), process.tasks.clone(), pace);
    tokio::spawn(reconciler.run(stop.clone()));
    stop
}

/// Waits until a row is as wished.
async fn until(
    process: &Process,
    id: ServerId,
    wish: impl Fn(VmState, Option<TaskState>, PowerState) -> bool,
) {
    for _ in 0..2000 {
        let row = process.row(id).await;
        if wish(row.vm_state, row.task_state, row.power_state) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{:?}", process.row(id).await);
}

async fn a_server(bench: &Bench, process: &Process) -> ServerId {
    let id = process.create(bench.command("web")).await;
    process.tasks.settled().await.unwrap();
    id
}

#[tokio::test]
async fn a_guest_that_shuts_itself_down_is_stopped_and_one_that_virsh_starts_is_not_left_running() {
    let bench = Bench::new();
    let process = bench.start().await;
    let id = a_server(&bench, &process).await;
    let _stop = reconcile(&process, pace());
    for off in [DomainState::ShutOff, DomainState::Crashed] {
        // Events of the create may still be on their way: the reconciler looks, it does not trust.
        bench.hypervisor.set_state(id, off);
        until(&process, id, |vm, task, power| {
            vm == VmState::Stopped && task.is_none() && power == PowerState::Shutdown
        })
        .await;
        process.servers.start(&owner(), id).await.unwrap();
        process.tasks.settled().await.unwrap();
    }
    process.servers.stop(&owner(), id).await.unwrap();
    process.tasks.settled().await.unwrap();
    bench.hypervisor.set_state(id, DomainState::Running);
    for _ in 0..2000 {
        if bench.hypervisor.inventory().domains[&id].state == DomainState::ShutOff {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    until(&process, id, |vm, task, _| vm == VmState::Stopped && task.is_none()).await;
    let query = ActionQuery { limit: 100, ..ActionQuery::default() };
    let actions = process.servers.actions(&owner(), id, Among::Living, query).await.unwrap();
    let unasked = actions.iter().filter(|action| action.user_id.is_none()).count();
    assert!(unasked >= 3, "{unasked}");
}

#[tokio::test]
async fn a_change_during_a_task_is_noticed_after_it() {
    let bench = Bench::new();
    let process = bench.start().await;
    let id = a_server(&bench, &process).await;
    bench.hypervisor.set_manners(id, Manners::Deaf);
    let _stop = reconcile(&process, pace());
    process.servers.reboot(&owner(), id, false).await.unwrap();
    until(&process, id, |_, task, _| task == Some(TaskState::RebootPending)).await;
    bench.hypervisor.set_state(id, DomainState::Paused);
    process.tasks.settled().await.unwrap();
    bench.hypervisor.set_state_silently(id, DomainState::ShutOff);
    until(&process, id, |vm, task, _| vm == VmState::Stopped && task.is_none()).await;
}

#[tokio::test]
async fn lost_events_are_made_up_for_at_start_and_at_reconnect() {
    let bench = Bench::new();
    let process = bench.start().await;
    let (one, two) = (a_server(&bench, &process).await, a_server(&bench, &process).await);
    bench.hypervisor.set_state_silently(one, DomainState::ShutOff);
    let _stop = reconcile(&process, pace());
    until(&process, one, |vm, task, _| vm == VmState::Stopped && task.is_none()).await;
    bench.hypervisor.disconnect();
    bench.hypervisor.set_state_silently(two, DomainState::Crashed);
    bench.hypervisor.reconnect();
    until(&process, two, |vm, task, _| vm == VmState::Stopped && task.is_none()).await;
}

#[tokio::test]
async fn orphans_are_reaped_after_their_grace_and_strangers_never() {
    let bench = Bench::new();
    let process = bench.start().await;
    let id = a_server(&bench, &process).await;
    let before = bench.on_host();
    let stranger = ServerId::random();
    bench.hypervisor.plant_foreign(stranger, "pet");
    let orphan = ServerId::random();
    bench.storage.plant(DiskPlan {
        server: orphan,
        boot: BootSource::Cd { image: bench.image },
        root_gib: 1,
        ephemeral_gib: 0,
        swap_mib: 0,
        config_drive: None,
    });
    let mut orphans = super::orphan_sweep::Orphans::default();
    let now = process.clock.now();
    orphans.sweep(&process.env, Grace::default(), now).await.unwrap();
    assert_eq!(orphans.ids().collect::<Vec<_>>(), [orphan]);
    let later = now.checked_add(SignedDuration::from_hours(25)).unwrap();
    orphans.sweep(&process.env, Grace::default(), later).await.unwrap();
    let mut expected = before;
    expected.domains.foreign.insert(stranger, "pet".into());
    assert_eq!(bench.on_host(), expected);
    assert!(bench.on_host().domains.domains.contains_key(&id));
}

#[tokio::test]
async fn a_sweep_writes_nothing_when_nothing_has_changed() {
    let bench = Bench::new();
    let process = bench.start().await;
    for _ in 0..3 {
        a_server(&bench, &process).await;
    }
    let changes = || {
        process.store.read::<_, crate::store::StoreError, _>(|c| {
            Ok(c.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0))?)
        })
    };
    super::power_sync::sync_all(&process.env, process.clock.now()).await.unwrap();
    let before = changes().await.unwrap();
    let synced = super::power_sync::sync_all(&process.env, process.clock.now()).await.unwrap();
    assert_eq!(synced, super::power_sync::Synced::default());
    assert_eq!(changes().await.unwrap(), before);
}

#[tokio::test]
async fn a_task_state_without_a_task_does_not_lock_its_server_for_ever() {
    let bench = Bench::new();
    let process = bench.start().await;
    let id = a_server(&bench, &process).await;
    let now = process.clock.now();
    process
        .store
        .write(move |c| crate::store::servers::begin(c, id, TaskState::Rescuing, now))
        .await
        .unwrap();
    let _stop = reconcile(&process, pace());
    until(&process, id, |vm, task, _| vm == VmState::Error && task.is_none()).await;
}
