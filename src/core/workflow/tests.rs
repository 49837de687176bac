//! Every workflow under every fault: each step repeated, each step failed, each undo repeated, and a crash before and
//! after each entry of the log. Then the rows and the host are compared with those of a twin that nothing happened to.

use super::testing::{Bench, LARGE, OnHost, Process, admin, everything, owner};
use crate::core::ids::ServerId;
use crate::core::server::Server;
use crate::core::server::migration::{MigrationQuery, MigrationStatus};
use crate::core::server::node::Node;
use crate::core::server::rebuild::RebuildServer;
use crate::core::server::snapshot::Rotation;
use crate::core::server::state::{PowerState, VmState};
use crate::core::service::servers::{Destination, NewImage};
use crate::host::hypervisor::DomainState;
use crate::host::hypervisor::fake::Manners;
use crate::store::StoreError;
use crate::task::failpoint::{Effect, Moment};
use std::collections::BTreeMap;
use std::time::Duration;

mod images;

mod resize;

/// One workflow: its steps, what comes before it, and how it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Create,
    Delete,
    Start,
    Stop,
    StopDeaf,
    RebootSoft,
    RebootDeaf,
    RebootHard,
    RebootPaused,
    RebootSuspended,
    Pause,
    Unpause,
    Suspend,
    Resume,
    DeleteSuspended,
    CrashDump,
    Rebuild,
    RebuildStopped,
    Rescue,
    RescueStopped,
    Unrescue,
    Password,
    Snapshot,
    SnapshotStopped,
    Backup,
    Shelve,
    /// With an offload that is not due yet.
    ShelveOnly,
    Offload,
    Unshelve,
    UnshelveOffloaded,
    SoftDelete,
    Restore,
    Resize,
    ResizeStopped,
    Confirm,
    ConfirmStopped,
    Revert,
    RevertStopped,
}

impl Case {
    const ALL: [Self; 38] = [
        Self::Create,
        Self::Delete,
        Self::Start,
        Self::Stop,
        Self::StopDeaf,
        Self::RebootSoft,
        Self::RebootDeaf,
        Self::RebootHard,
        Self::RebootPaused,
        Self::RebootSuspended,
        Self::Pause,
        Self::Unpause,
        Self::Suspend,
        Self::Resume,
        Self::DeleteSuspended,
        Self::CrashDump,
        Self::Rebuild,
        Self::RebuildStopped,
        Self::Rescue,
        Self::RescueStopped,
        Self::Unrescue,
        Self::Password,
        Self::Snapshot,
        Self::SnapshotStopped,
        Self::Backup,
        Self::Shelve,
        Self::ShelveOnly,
        Self::Offload,
        Self::Unshelve,
        Self::UnshelveOffloaded,
        Self::SoftDelete,
        Self::Restore,
        Self::Resize,
        Self::ResizeStopped,
        Self::Confirm,
        Self::ConfirmStopped,
        Self::Revert,
        Self::RevertStopped,
    ];

    fn workflow(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Create => ("server_create", &["networking", "block_device_mapping", "spawning"]),
            Self::Pause => ("server_pause", &["pause"]),
            Self::Unpause => ("server_unpause", &["unpause"]),
            Self::Suspend => ("server_suspend", &["save"]),
            Self::Resume => ("server_resume", &["restore"]),
            Self::CrashDump => ("server_crash_dump", &["interrupt"]),
            Self::Delete | Self::DeleteSuspended => ("server_delete", &["domain", "remains"]),
            Self::Start => ("server_start", &["power_on"]),
            Self::Stop | Self::StopDeaf => ("server_stop", &["power_off"]),
            Self::RebootSoft
            | Self::RebootDeaf
            | Self::RebootHard
            | Self::RebootPaused
            | Self::RebootSuspended => ("server_reboot", &["pending", "started"]),
            Self::Rebuild | Self::RebuildStopped => {
                ("server_rebuild", &["image", "power_off", "block_device_mapping", "spawning", "stopped"])
            }
            Self::Rescue | Self::RescueStopped => ("server_rescue", &["disk", "power_off", "power_on"]),
            Self::Unrescue => ("server_unrescue", &["power_off", "power_on", "remains"]),
            Self::Password => ("server_password", &["set"]),
            Self::Snapshot | Self::SnapshotStopped | Self::Backup => {
                ("server_snapshot", &["settle", "copy", "publish", "rotate"])
            }
            Self::Shelve | Self::ShelveOnly => ("server_shelve", &["power_off", "copy", "publish"]),
            Self::Offload => ("server_offload", &["domain", "remains"]),
            Self::Unshelve => ("server_start", &["power_on"]),
            Self::UnshelveOffloaded => ("server_unshelve", &["networking", "disks", "spawning"]),
            Self::SoftDelete => ("server_soft_delete", &["power_off"]),
            Self::Restore => ("server_restore", &["power_on"]),
            Self::Resize | Self::ResizeStopped => {
                ("server_resize", &["prep", "migrating", "migrated", "finish"])
            }
            Self::Confirm | Self::ConfirmStopped => ("server_resize_confirm", &["confirm"]),
            Self::Revert | Self::RevertStopped => {
                ("server_resize_revert", &["power_off", "disks", "finish", "stopped"])
            }
        }
    }

    /// The machine that the case needs.
    fn bench(self) -> Bench {
        let mut node = Node::roomy();
        if matches!(self, Self::ShelveOnly | Self::Offload | Self::Unshelve) {
            node.shelved_offload_seconds = -1;
        }
        if matches!(self, Self::SoftDelete | Self::Restore) {
            // Longer than any time that can be told: nothing is ever due.
            node.reclaim_seconds = i64::MAX;
        }
        Bench::with_node(node)
    }

    /// Whether this is about a resize, which has tests of its own.
    fn resizes(self) -> bool {
        self.is_stopped() || matches!(self, Self::Resize | Self::Confirm | Self::Revert)
    }

    /// Whether the server is stopped before it is resized.
    fn is_stopped(self) -> bool {
        matches!(self, Self::ResizeStopped | Self::ConfirmStopped | Self::RevertStopped)
    }

    /// A server in the state that the workflow begins with.
    async fn prepare(self, bench: &Bench) -> (Process, Option<ServerId>) {
        let process = bench.start().await;
        if self == Self::Create {
            return (process, None);
        }
        let id = process.create(bench.command("web")).await;
        process.tasks.settled().await.unwrap();
        match self {
            Self::Start
            | Self::RebuildStopped
            | Self::RescueStopped
            | Self::SnapshotStopped
            | Self::ResizeStopped
            | Self::ConfirmStopped
            | Self::RevertStopped => {
                process.servers.stop(&owner(), id).await.unwrap();
            }
            Self::Offload | Self::Unshelve | Self::UnshelveOffloaded => {
                process.servers.shelve(&owner(), id).await.unwrap();
            }
            Self::Restore => process.servers.delete(&owner(), id, false).await.unwrap(),
            Self::Unpause | Self::RebootPaused => process.servers.pause(&owner(), id).await.unwrap(),
            Self::Resume | Self::RebootSuspended | Self::DeleteSuspended => {
                process.servers.suspend(&owner(), id).await.unwrap();
            }
            _ => {}
        }
        process.tasks.settled().await.unwrap();
        if matches!(self, Self::Confirm | Self::ConfirmStopped | Self::Revert | Self::RevertStopped) {
            process.servers.resize(&owner(), id, LARGE.into(), None).await.unwrap();
            process.tasks.settled().await.unwrap();
        }
        if matches!(self, Self::StopDeaf | Self::RebootDeaf) {
            bench.hypervisor.set_manners(id, Manners::Deaf);
        }
        if self == Self::Unrescue {
            process.servers.rescue(&owner(), id, None, None).await.unwrap();
            process.tasks.settled().await.unwrap();
        }
        if matches!(self, Self::Password | Self::Snapshot | Self::Backup) {
            bench.hypervisor.install_agent(id);
        }
        (process, Some(id))
    }

    async fn ask(self, bench: &Bench, process: &Process, id: Option<ServerId>) -> ServerId {
        let owner = owner();
        let Some(id) = id else { return process.create(bench.command("web")).await };
        match self {
            Self::Create => {}
            Self::Delete | Self::DeleteSuspended => process.servers.delete(&owner, id, false).await.unwrap(),
            Self::Pause => process.servers.pause(&owner, id).await.unwrap(),
            Self::Unpause => process.servers.unpause(&owner, id).await.unwrap(),
            Self::Suspend => process.servers.suspend(&owner, id).await.unwrap(),
            Self::Resume => process.servers.resume(&owner, id).await.unwrap(),
            Self::CrashDump => process.servers.trigger_crash_dump(&owner, id).await.unwrap(),
            Self::Start => process.servers.start(&owner, id).await.unwrap(),
            Self::Stop | Self::StopDeaf => process.servers.stop(&owner, id).await.unwrap(),
            Self::RebootSoft | Self::RebootDeaf => process.servers.reboot(&owner, id, false).await.unwrap(),
            Self::RebootHard | Self::RebootPaused | Self::RebootSuspended => {
                process.servers.reboot(&owner, id, true).await.unwrap();
            }
            Self::Rebuild | Self::RebuildStopped => {
                process.servers.rebuild(&owner, id, rebuild(bench)).await.map(drop).unwrap();
            }
            Self::Rescue | Self::RescueStopped => {
                process.servers.rescue(&owner, id, None, None).await.map(drop).unwrap();
            }
            Self::Unrescue => process.servers.unrescue(&owner, id).await.unwrap(),
            Self::Password => {
                let password = "open sesame".to_owned().into();
                // Whether it worked is seen by what is recorded.
                process.servers.change_password(&owner, id, password).await.ok();
            }
            Self::Snapshot | Self::SnapshotStopped => {
                process.servers.create_image(&owner, id, new_image()).await.unwrap();
            }
            Self::Backup => {
                let rotation = Rotation { kind: "daily".into(), keep: 1 };
                process.servers.create_backup(&owner, id, new_image(), rotation).await.unwrap();
            }
            Self::Shelve | Self::ShelveOnly => process.servers.shelve(&owner, id).await.unwrap(),
            Self::Offload => process.servers.shelve_offload(&admin(), id).await.unwrap(),
            Self::Unshelve | Self::UnshelveOffloaded => {
                process.servers.unshelve(&owner, id, Destination::default()).await.unwrap();
            }
            Self::SoftDelete => process.servers.delete(&owner, id, false).await.unwrap(),
            Self::Restore => process.servers.restore(&owner, id).await.unwrap(),
            Self::Resize | Self::ResizeStopped => {
                process.servers.resize(&owner, id, LARGE.into(), None).await.unwrap();
            }
            Self::Confirm | Self::ConfirmStopped => {
                process.servers.confirm_resize(&owner, id).await.unwrap();
            }
            Self::Revert | Self::RevertStopped => process.servers.revert_resize(&owner, id).await.unwrap(),
        }
        id
    }
}

/// A rebuild that asks for no change.
pub fn rebuild(bench: &Bench) -> RebuildServer {
    RebuildServer {
        image_id: Some(bench.image),
        name: None,
        description: None,
        hostname: None,
        admin_password: None,
        metadata: None,
        personality: Vec::new(),
        keep_ephemeral: false,
        access_ip_v4: None,
        access_ip_v6: None,
        disk_config: None,
        key_name: None,
        user_data: None,
        trusted_certificates: None,
    }
}

fn new_image() -> NewImage {
    NewImage { name: "image".into(), metadata: BTreeMap::new(), limited: true }
}

/// What is compared: ids, addresses and times differ between twins.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    vm_state: VmState,
    task: Option<crate::core::server::state::TaskState>,
    power: PowerState,
    placed: bool,
    launched: bool,
    deleted: bool,
    fault: bool,
    nics: usize,
    /// What the guest does, and how often it began from its disk.
    domain: Option<(crate::host::hypervisor::DomainState, u32)>,
    files: bool,
    /// In the row, on the disk, in the definition.
    rescue: (bool, bool, bool),
    password: Option<String>,
    reservations: usize,
    flavor: String,
    /// GiB of the root disk.
    disk: Option<u64>,
    vcpus: Option<u32>,
    layers: usize,
    migrations: Vec<MigrationStatus>,
    actions: Vec<(String, Option<String>, Vec<(String, Option<String>)>)>,
    /// The states of the images that were made of the server.
    images: Vec<String>,
    /// How many images have bytes.
    stored: usize,
}

async fn outcome(bench: &Bench, process: &Process, id: ServerId) -> Outcome {
    let row: Server = process.row(id).await;
    let store = &process.store;
    let (fault, nics, actions, images, migrations) = store
        .read::<_, crate::store::StoreError, _>(move |c| {
            use crate::store::{server_actions as rows, server_ports};
            let fault = rows::fault(c, id)?.is_some();
            let nics = server_ports::server_nics(c, &[id])?.remove(&id).map_or(0, |nics| nics.len());
            let page = rows::ActionPage { limit: 100, ..rows::ActionPage::default() };
            let mut actions = Vec::new();
            for action in rows::list(c, id, &page)? {
                let events = rows::events(c, action.number)?;
                let events = events.into_iter().map(|event| (event.event, event.result)).collect();
                actions.push((action.action, action.message, events));
            }
            let mut images = c.prepare(
                "SELECT status FROM image WHERE deleted_at IS NULL AND properties ->> '$.instance_uuid' = ?1",
            )?;
            let images = images.query_map([id.to_string()], |row| row.get(0))?;
            let images = images.collect::<Result<Vec<String>, _>>()?;
            let query = MigrationQuery { limit: 10, ..MigrationQuery::default() };
            let migrations = crate::store::server_migrations::list(c, &query)?.unwrap_or_default();
            let migrations = migrations.into_iter().map(|found| found.status).collect();
            Ok((fault, nics, actions, images, migrations))
        })
        .await
        .unwrap();
    let OnHost { domains, networks, files, images: stored, captures } = bench.on_host();
    assert!(domains.copies.is_empty() && domains.frozen.is_empty() && captures.is_empty(), "{domains:?}");
    Outcome {
        vm_state: row.vm_state,
        task: row.task_state,
        power: row.power_state,
        placed: row.host.is_some(),
        launched: row.launched_at.is_some(),
        deleted: row.deleted_at.is_some(),
        fault,
        nics,
        domain: domains.domains.get(&id).map(|domain| (domain.state, domain.boots)),
        vcpus: domains.domains.get(&id).map(|domain| domain.spec.vcpus),
        files: files.contains_key(&id),
        rescue: (
            row.rescue.is_some(),
            files.get(&id).is_some_and(|plan| plan.rescue.is_some()),
            domains.domains.get(&id).is_some_and(|domain| {
                domain.spec.disks.iter().any(|disk| disk.path.ends_with("disk.rescue"))
            }),
        ),
        password: bench.hypervisor.password_of(id, "root"),
        disk: files.get(&id).map(|plan| plan.root_gib),
        layers: bench.storage.layers().len(),
        flavor: row.flavor.id,
        migrations,
        reservations: networks.networks.values().map(|network| network.ports.len()).sum(),
        actions,
        images,
        stored: stored.len(),
    }
}

/// Runs a case with a fault wanted, restarts as often as it takes, and tells what came of it.
async fn run(case: Case, fault: Option<(&str, Moment, Effect)>) -> (Outcome, bool) {
    run_with(case, fault.into_iter().collect()).await
}

async fn run_with(case: Case, faults: Vec<(&str, Moment, Effect)>) -> (Outcome, bool) {
    let bench = case.bench();
    let (process, id) = case.prepare(&bench).await;
    for (step, moment, effect) in faults {
        bench.want(case.workflow().0, step, moment, effect);
    }
    let id = case.ask(&bench, &process, id).await;
    let process = bench.settle(process).await;
    let outcome = outcome(&bench, &process, id).await;
    (outcome, bench.points.all_met())
}

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
            | Case::RevertStopped => VmState::Stopped,
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
        assert_eq!(
            (outcome.domain.is_some(), outcome.files, outcome.reservations == 1, outcome.nics == 1),
            (there, there, there, vm != VmState::Deleted),
            "{case:?}"
        );
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
    for case in [Case::Snapshot, Case::Shelve, Case::UnshelveOffloaded, Case::SoftDelete] {
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
    bench.hypervisor.install_agent(id);
    refused().await.unwrap();
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
