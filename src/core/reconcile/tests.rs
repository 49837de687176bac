//! The reconciler on a host in memory: what guests do by themselves shows in their rows.

use super::autostart::{METADATA_KEY, Policy};
use super::orphan_sweep::Grace;
use super::{Boot, Pace, Reconciler};
use crate::core::ids::ServerId;
use crate::core::server::node::Node;
use crate::core::server::state::{PowerState, TaskState, VmState};
use crate::core::service::servers::{ActionQuery, Among};
use crate::core::workflow::testing::{Bench, Process, owner};
use crate::host::hypervisor::DomainState;
use crate::host::hypervisor::fake::Manners;
use crate::host::storage::{BootSource, DiskPlan};
use jiff::SignedDuration;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

fn pace() -> Pace {
    Pace {
        gather: Duration::from_millis(1),
        busy: Duration::from_millis(10),
        stalled: Duration::from_millis(10),
        sweep: Duration::from_secs(3600),
        grace: Grace::default(),
    }
}

/// Starts a reconciler beside a process.
fn reconcile(process: &Process, pace: Pace) -> CancellationToken {
    after_boot(process, pace, "one", true)
}

/// As [`reconcile`], in a boot of the host of this name.
fn after_boot(process: &Process, pace: Pace, boot: &str, enabled: bool) -> CancellationToken {
    let stop = CancellationToken::new();
    let boot = Boot { id: boot.into(), policy: Policy { enabled, parallel: 1 } };
    let reconciler = Reconciler::new(process.env.clone(), process.clock.clone(), pace, boot);
    tokio::spawn(reconciler.run(stop.clone()));
    stop
}

/// Waits until the reconciler knows in which boot it is.
async fn boot_known(process: &Process) {
    let known = || process.store.read(|c| crate::store::setting::get(c, "host_boot"));
    while known().await.unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
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
    // Long enough for the change to fall into the task on a busy machine too.
    let bench = Bench::with_node(Node { shutdown_timeout: Duration::from_secs(2), ..Node::roomy() });
    let process = bench.start().await;
    let id = a_server(&bench, &process).await;
    bench.hypervisor.set_manners(id, Manners::Deaf);
    process.servers.reboot(&owner(), id, false).await.unwrap();
    until(&process, id, |_, task, _| task == Some(TaskState::RebootPending)).await;
    bench.hypervisor.set_state_silently(id, DomainState::Paused);
    let (ids, none) = (BTreeSet::from([id]), BTreeSet::new());
    let look = || super::power_sync::sync_some(&process.env, &ids, &none, process.clock.now());
    let during = look().await.unwrap();
    assert_eq!(during.busy, ids);
    process.tasks.settled().await.unwrap();
    bench.hypervisor.set_state_silently(id, DomainState::ShutOff);
    look().await.unwrap();
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
        ephemeral_gib: Vec::new(),
        swap_mib: 0,
        config_drive: None,
        rescue: None,
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
    super::power_sync::sync_all(&process.env, &BTreeSet::new(), process.clock.now()).await.unwrap();
    let before = changes().await.unwrap();
    let synced =
        super::power_sync::sync_all(&process.env, &BTreeSet::new(), process.clock.now()).await.unwrap();
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

#[tokio::test]
async fn what_virsh_does_shows_in_the_power_state() {
    let bench = Bench::new();
    let process = bench.start().await;
    let id = a_server(&bench, &process).await;
    let _stop = reconcile(&process, pace());
    let shows = |power| {
        move |vm, task: Option<TaskState>, seen| vm == VmState::Active && task.is_none() && seen == power
    };
    bench.hypervisor.set_state(id, DomainState::Paused);
    until(&process, id, shows(PowerState::Paused)).await;
    bench.hypervisor.set_state(id, DomainState::Running);
    until(&process, id, shows(PowerState::Running)).await;
    bench.hypervisor.vanish(id);
    until(&process, id, shows(PowerState::NoState)).await;
    // A hard reboot makes it anew.
    process.servers.reboot(&owner(), id, true).await.unwrap();
    process.tasks.settled().await.unwrap();
    until(&process, id, shows(PowerState::Running)).await;
    process.servers.pause(&owner(), id).await.unwrap();
    process.tasks.settled().await.unwrap();
    bench.hypervisor.set_state(id, DomainState::Crashed);
    until(&process, id, |vm, task, _| vm == VmState::Stopped && task.is_none()).await;
}

#[tokio::test]
async fn lost_events_are_made_up_for_by_the_sweep() {
    let bench = Bench::new();
    let process = bench.start().await;
    let id = a_server(&bench, &process).await;
    let _stop = reconcile(&process, Pace { sweep: Duration::from_millis(20), ..pace() });
    until(&process, id, |vm, _, _| vm == VmState::Active).await;
    bench.hypervisor.set_state_silently(id, DomainState::Crashed);
    until(&process, id, |vm, task, _| vm == VmState::Stopped && task.is_none()).await;
    assert!(Pace::default().sweep < Duration::from_secs(60));
}

#[tokio::test]
async fn a_guest_that_has_no_room_on_the_disk_goes_on_when_there_is_some() {
    let bench = Bench::new();
    let process = bench.start().await;
    let id = a_server(&bench, &process).await;
    bench.storage.set_free(0);
    let _stop = reconcile(&process, pace());
    bench.hypervisor.set_state(id, DomainState::PausedOnIoError);
    until(&process, id, |vm, _, power| vm == VmState::Active && power == PowerState::Paused).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(bench.hypervisor.inventory().domains[&id].state, DomainState::PausedOnIoError);
    bench.storage.set_free(1 << 30);
    until(&process, id, |vm, _, power| vm == VmState::Active && power == PowerState::Running).await;
}

#[tokio::test]
async fn what_ran_before_the_host_was_rebooted_runs_again() {
    let bench = Bench::new();
    let process = bench.start().await;
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(a_server(&bench, &process).await);
    }
    let [runs, other, stopped, suspended, saved, never, rescued] = ids[..] else { panic!() };
    process.servers.rescue(&owner(), rescued, None, None).await.unwrap();
    process.servers.stop(&owner(), stopped).await.unwrap();
    process.servers.suspend(&owner(), suspended).await.unwrap();
    let no = std::collections::BTreeMap::from([(METADATA_KEY.to_owned(), "false".to_owned())]);
    process
        .store
        .write::<_, crate::store::StoreError, _>(move |c| {
            let mut server = crate::store::servers::get(c, never)?.unwrap();
            server.metadata = no;
            crate::store::servers::update(c, &server, server.updated_at)
        })
        .await
        .unwrap();
    process.tasks.settled().await.unwrap();
    let stop = reconcile(&process, pace());
    boot_known(&process).await;
    stop.cancel();
    process.kill().await;

    for id in [runs, other, never, rescued] {
        bench.hypervisor.set_state_silently(id, DomainState::ShutOff);
    }
    bench.hypervisor.set_state_silently(saved, DomainState::Saved);
    let process = bench.start().await;
    let _stop = after_boot(&process, pace(), "two", true);
    let active = |vm, task: Option<TaskState>, power| {
        vm == VmState::Active && task.is_none() && power == PowerState::Running
    };
    until(&process, never, |vm, task, _| vm == VmState::Stopped && task.is_none()).await;
    for _ in 0..2000 {
        let domains = bench.hypervisor.inventory().domains;
        if [runs, other, saved, rescued].iter().all(|id| domains[id].state == DomainState::Running) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for id in [runs, other, saved] {
        until(&process, id, active).await;
        let query = ActionQuery { limit: 1, ..ActionQuery::default() };
        let actions = process.servers.actions(&owner(), id, Among::Living, query).await.unwrap();
        assert_eq!((actions[0].action.as_str(), actions[0].user_id.is_none()), ("start", true));
    }
    let domains = bench.hypervisor.inventory().domains;
    assert_eq!([runs, other, saved].map(|id| domains[&id].boots), [2, 2, 1]);
    assert_eq!([stopped, suspended].map(|id| domains[&id].state), [DomainState::ShutOff, DomainState::Saved]);
    assert_eq!(process.row(stopped).await.vm_state, VmState::Stopped);
    assert_eq!(process.row(suspended).await.vm_state, VmState::Suspended);
    until(&process, rescued, |vm, task, power| {
        vm == VmState::Rescued && task.is_none() && power == PowerState::Running
    })
    .await;
    let runs_on = domains[&rescued].started_with.as_ref().unwrap().disks[0].path.clone();
    assert!(runs_on.ends_with("disk.rescue"), "{}", runs_on.display());
}

#[tokio::test]
async fn a_host_may_leave_its_servers_off_after_a_boot() {
    let bench = Bench::new();
    let process = bench.start().await;
    let id = a_server(&bench, &process).await;
    let stop = reconcile(&process, pace());
    boot_known(&process).await;
    stop.cancel();
    bench.hypervisor.set_state_silently(id, DomainState::ShutOff);
    let _stop = after_boot(&process, pace(), "two", false);
    until(&process, id, |vm, task, _| vm == VmState::Stopped && task.is_none()).await;
}
