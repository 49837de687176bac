//! The workflows with what comes before them, and what came of them afterwards: what the tests of all of them share.

use super::super::testing::{Bench, LARGE, OnHost, Process, admin, owner};
use crate::core::ids::ServerId;
use crate::core::port::NicRequest;
use crate::core::server::Server;
use crate::core::server::migration::{MigrationQuery, MigrationStatus};
use crate::core::server::node::Node;
use crate::core::server::rebuild::RebuildServer;
use crate::core::server::snapshot::Rotation;
use crate::core::server::state::{PowerState, VmState};
use crate::core::service::servers::{Destination, NewImage};
use crate::host::hypervisor::fake::Manners;
use crate::task::failpoint::{Effect, Moment};
use std::collections::BTreeMap;

/// One workflow: its steps, what comes before it, and how it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
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
    Attach,
    AttachStopped,
    Detach,
    DetachStopped,
}

impl Case {
    pub const ALL: [Self; 42] = [
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
        Self::Attach,
        Self::AttachStopped,
        Self::Detach,
        Self::DetachStopped,
    ];

    pub fn workflow(self) -> (&'static str, &'static [&'static str]) {
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
            Self::Attach | Self::AttachStopped => ("server_attach_interface", &["addresses", "plug"]),
            Self::Detach | Self::DetachStopped => ("server_detach_interface", &["unplug", "addresses"]),
        }
    }

    /// The machine that the case needs.
    pub fn bench(self) -> Bench {
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
    pub fn resizes(self) -> bool {
        self.is_stopped() || matches!(self, Self::Resize | Self::Confirm | Self::Revert)
    }

    /// Whether the server is stopped before it is resized.
    pub fn is_stopped(self) -> bool {
        matches!(self, Self::ResizeStopped | Self::ConfirmStopped | Self::RevertStopped)
    }

    /// A server in the state that the workflow begins with.
    pub async fn prepare(self, bench: &Bench) -> (Process, Option<ServerId>) {
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
            | Self::RevertStopped
            | Self::AttachStopped
            | Self::DetachStopped => {
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

    pub async fn ask(self, bench: &Bench, process: &Process, id: Option<ServerId>) -> ServerId {
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
            Self::Attach | Self::AttachStopped => {
                // As for the password.
                process.servers.attach_interface(&owner, id, NicRequest::default()).await.ok();
            }
            Self::Detach | Self::DetachStopped => {
                let port = process.servers.interfaces(&owner, id).await.unwrap().remove(0).id.to_string();
                process.servers.detach_interface(&owner, id, &port).await.unwrap();
            }
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

pub fn new_image() -> NewImage {
    NewImage { name: "image".into(), metadata: BTreeMap::new(), limited: true }
}

/// An action with its message, and its events with their results.
type Recorded = (String, Option<String>, Vec<(String, Option<String>)>);

/// What is compared: ids, addresses and times differ between twins.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub vm_state: VmState,
    pub task: Option<crate::core::server::state::TaskState>,
    pub power: PowerState,
    pub placed: bool,
    pub launched: bool,
    pub deleted: bool,
    pub fault: bool,
    pub nics: usize,
    /// How many the definition has, and the guest.
    pub plugged: (usize, usize),
    /// What the guest does, and how often it began from its disk.
    pub domain: Option<(crate::host::hypervisor::DomainState, u32)>,
    pub files: bool,
    /// In the row, on the disk, in the definition.
    pub rescue: (bool, bool, bool),
    pub password: Option<String>,
    pub reservations: usize,
    pub flavor: String,
    /// GiB of the root disk.
    pub disk: Option<u64>,
    pub vcpus: Option<u32>,
    pub layers: usize,
    pub migrations: Vec<MigrationStatus>,
    pub actions: Vec<Recorded>,
    /// The states of the images that were made of the server.
    pub images: Vec<String>,
    /// How many images have bytes.
    pub stored: usize,
}

pub async fn outcome(bench: &Bench, process: &Process, id: ServerId) -> Outcome {
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
        plugged: domains.domains.get(&id).map_or((0, 0), |domain| {
            (domain.spec.nics.len(), domain.started_with.as_ref().map_or(0, |spec| spec.nics.len()))
        }),
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
pub async fn run(case: Case, fault: Option<(&str, Moment, Effect)>) -> (Outcome, bool) {
    run_with(case, fault.into_iter().collect()).await
}

pub async fn run_with(case: Case, faults: Vec<(&str, Moment, Effect)>) -> (Outcome, bool) {
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
