//! Resizes and moves on a host in memory: refusals, what is counted while both sizes are held, and what is recorded.

use super::{ActionQuery, Among, LiveMigration};
use crate::core::Kind;
use crate::core::ids::ServerId;
use crate::core::server::DiskConfig;
use crate::core::server::migration::{MigrationKind, MigrationQuery, MigrationStatus};
use crate::core::server::node::{Capacity, Node};
use crate::core::server::state::VmState;
use crate::core::server::status::{Status, status};
use crate::core::workflow::testing::{BARE, Bench, FLAVOR, LARGE, Process, WIDE, admin, owner};
use crate::store::server_usage::{self, Usage};
use crate::store::{Connection, StoreError, servers, tasks};
use std::time::Duration;

async fn made(bench: &Bench) -> (Process, ServerId) {
    let process = bench.start().await;
    let id = process.create(bench.command("web")).await;
    process.tasks.settled().await.unwrap();
    (process, id)
}

async fn usage(process: &Process) -> (Usage, Usage) {
    process
        .store
        .read::<_, StoreError, _>(|c| {
            Ok((server_usage::of_project(c, &"owner".into())?, server_usage::of_host(c, "node")?))
        })
        .await
        .unwrap()
}

async fn sql(process: &Process, text: &'static str) {
    process.store.write::<_, StoreError, _>(move |c| Ok(c.execute_batch(text)?)).await.unwrap();
}

async fn refused(process: &Process, id: ServerId, flavor: &str) -> (Kind, String) {
    let error = process.servers.resize(&owner(), id, flavor.into(), None).await.unwrap_err();
    (error.kind(), error.message().to_owned())
}

/// Name and message of the last action, and its events, the oldest first, each with its result.
async fn last_action(
    process: &Process,
    id: ServerId,
) -> (String, Option<String>, Vec<(String, Option<String>, Option<String>)>) {
    let query = ActionQuery { limit: 1, ..ActionQuery::default() };
    let action = process.servers.actions(&owner(), id, Among::All, query).await.unwrap().remove(0);
    let number = action.number;
    let events = process.store.read(move |c| crate::store::server_actions::events(c, number)).await.unwrap();
    let events = events.into_iter().rev().map(|event| (event.event, event.result, event.details)).collect();
    (action.action, action.message, events)
}

#[tokio::test]
async fn what_cannot_be_is_refused_in_novas_words() {
    let bench = Bench::new();
    let (process, id) = made(&bench).await;
    sql(
        &process,
        "INSERT INTO flavor (id, name, vcpus, ram_mib, disk_gib, created_at) VALUES ('none', 'none', 1, 64, 0, 0); \
         INSERT INTO flavor (id, name, vcpus, ram_mib, disk_gib, ephemeral_gib, disabled, created_at) \
             VALUES ('off', 'off', 1, 64, 1, 1, 1, 0); \
         UPDATE server SET min_disk_gib = 2, min_ram_mib = 100",
    )
    .await;
    let cases = [
        ("no", "Flavor no could not be found."),
        ("off", "Flavor off could not be found."),
        (FLAVOR, "When resizing, instances must change flavor!"),
        ("none", "Server disk was unable to be resized because: Resize to zero disk flavor is not allowed."),
        (BARE, "Flavor's memory is too small for requested image."),
        (
            WIDE,
            "Flavor's disk is smaller than the minimum size specified in image metadata. Flavor disk is 1073741824 \
             bytes, minimum size is 2147483648 bytes.",
        ),
    ];
    for (flavor, words) in cases {
        assert_eq!(refused(&process, id, flavor).await, (Kind::Invalid, words.to_owned()), "{flavor}");
    }
    sql(&process, "UPDATE quota SET hard_limit = 2 WHERE resource = 'cores'; UPDATE quota SET hard_limit = 100 WHERE resource = 'ram'").await;
    assert_eq!(
        refused(&process, id, LARGE).await,
        (
            Kind::Quota,
            "Quota exceeded for cores, ram: Requested 3, 192, but already used 1, 64 of 2, 100 cores, ram"
                .into()
        )
    );
    for decision in [
        process.servers.confirm_resize(&owner(), id).await.unwrap_err(),
        process.servers.revert_resize(&owner(), id).await.unwrap_err(),
    ] {
        assert_eq!(decision.kind(), Kind::InvalidState);
        assert!(decision.message().ends_with("while it is in vm_state active"), "{}", decision.message());
    }
    sql(&process, "UPDATE server SET vm_state = 'resized'").await;
    for decision in [
        process.servers.confirm_resize(&owner(), id).await.unwrap_err(),
        process.servers.revert_resize(&owner(), id).await.unwrap_err(),
    ] {
        assert_eq!((decision.kind(), decision.message()), (Kind::Invalid, "Instance has not been resized."));
    }
    assert_eq!(last_action(&process, id).await.0, "create");
}

#[tokio::test]
async fn room_for_both_sizes_is_held_until_it_is_decided() {
    let bench = Bench::new();
    let (process, id) = made(&bench).await;
    let before = usage(&process).await;
    let figures = |usage: Usage| (usage.instances, usage.cores, usage.ram_mib, usage.disk_mib);
    assert_eq!(figures(before.0), (1, 1, 64, 2 * 1024 + 64));
    process.servers.resize(&owner(), id, LARGE.into(), Some(DiskConfig::Auto)).await.unwrap();
    let young = process.servers.show(&owner(), id).await.unwrap().server;
    assert_eq!((status(&young), young.disk_config), (Status::Resize, DiskConfig::Auto));
    assert_eq!(young.shown_flavor().id, FLAVOR);
    for _ in 0..2 {
        let (project, host) = usage(&process).await;
        assert_eq!(figures(project), (1, 4, 256, 5 * 1024));
        assert_eq!(figures(host), (1, 4, 256, 5 * 1024 + 2 * 1024 + 64));
        process.tasks.settled().await.unwrap();
    }
    let shown = process.servers.show(&owner(), id).await.unwrap().server;
    assert_eq!((status(&shown), shown.shown_flavor().id.as_str()), (Status::VerifyResize, LARGE));
    process.servers.revert_resize(&owner(), id).await.unwrap();
    process.tasks.settled().await.unwrap();
    assert_eq!(usage(&process).await, before);
    // The other way round the host keeps what a way back would need.
    process.servers.resize(&owner(), id, WIDE.into(), None).await.unwrap();
    process.tasks.settled().await.unwrap();
    process.servers.confirm_resize(&owner(), id).await.unwrap();
    process.tasks.settled().await.unwrap();
    process.servers.resize(&owner(), id, FLAVOR.into(), None).await.unwrap();
    process.tasks.settled().await.unwrap();
    let (project, host) = usage(&process).await;
    assert_eq!((project.cores, project.ram_mib), (1, 64));
    assert_eq!((host.cores, host.ram_mib), (2, 128));
    process.servers.delete(&owner(), id, false).await.unwrap();
    process.tasks.settled().await.unwrap();
    assert_eq!(usage(&process).await, (Usage::default(), Usage::default()));
}

#[tokio::test]
async fn a_disk_does_not_shrink_and_the_guest_is_left_alone() {
    let bench = Bench::new();
    let (process, id) = made(&bench).await;
    process.servers.resize(&owner(), id, BARE.into(), None).await.unwrap();
    process.tasks.settled().await.unwrap();
    let shown = process.servers.show(&owner(), id).await.unwrap();
    assert_eq!((shown.server.vm_state, shown.server.flavor.id.as_str()), (VmState::Active, FLAVOR));
    assert_eq!(shown.fault.unwrap().message, "Resize error: Unable to resize disk down.");
    let (_, message, events) = last_action(&process, id).await;
    assert_eq!(message.as_deref(), Some("Error"));
    assert_eq!((events[3].0.as_str(), events[3].1.as_deref()), ("compute_resize_instance", Some("Error")));
}

#[tokio::test]
async fn without_room_the_server_stays_as_it_is() {
    let mut node = Node::roomy();
    node.capacity = Capacity { cores: 3, ram_mib: 1024, disk_mib: 1 << 20 };
    let bench = Bench::with_node(node);
    let (process, id) = made(&bench).await;
    process.servers.resize(&owner(), id, LARGE.into(), None).await.unwrap();
    let shown = process.servers.show(&owner(), id).await.unwrap().server;
    assert_eq!((shown.vm_state, shown.task_state, shown.flavor.id.as_str()), (VmState::Active, None, FLAVOR));
    let (action, message, events) = last_action(&process, id).await;
    assert_eq!((action.as_str(), message.as_deref()), ("resize", Some("Error")));
    let names: Vec<_> = events.iter().map(|event| (event.0.as_str(), event.1.as_deref())).collect();
    assert_eq!(names, [("conductor_migrate_server", Some("Error")), ("cold_migrate", Some("Error"))]);
    let words = events[0].2.as_deref().unwrap();
    assert!(words.starts_with("No valid host was found. There is not enough vCPUs on this host"), "{words}");
    let found = process.servers.migrations(&admin(), MigrationQuery { limit: 9, ..Default::default() }).await;
    let found = found.unwrap().remove(0);
    assert_eq!((found.kind, found.status), (MigrationKind::Resize, MigrationStatus::Error));
    assert_eq!((found.source.as_deref(), found.destination), (Some("node"), None));
    process.servers.resize(&owner(), id, WIDE.into(), None).await.unwrap();
    process.tasks.settled().await.unwrap();
    assert_eq!(process.row(id).await.vm_state, VmState::Resized);
}

/// A machine on which a resize confirms itself after an hour.
fn hourly() -> Bench {
    let mut node = Node::roomy();
    node.resize_confirm_window = Duration::from_secs(3600);
    Bench::with_node(node)
}

/// Resizes the server, up to where it waits for a decision.
async fn resize(process: &Process, id: ServerId, flavor: &str) {
    process.servers.resize(&owner(), id, flavor.into(), None).await.unwrap();
    process
        .tasks
        .until(move |c| Ok(servers::get(c, id)?.is_some_and(|server| server.vm_state == VmState::Resized)))
        .await
        .unwrap();
}

/// Has everything that waits for its time be due now.
async fn make_due(process: &Process) {
    sql(process, "UPDATE task SET not_before = 0 WHERE status = 'pending'").await;
    process.store.new_tasks().notify_one();
}

#[tokio::test]
async fn a_resize_whose_time_is_over_while_its_server_is_busy_confirms_itself_afterwards() {
    let bench = hourly();
    let (process, id) = made(&bench).await;
    resize(&process, id, WIDE).await;
    sql(&process, "UPDATE server SET task_state = 'rebooting'").await;
    make_due(&process).await;
    let looked = |c: &Connection| {
        let fresh = "SELECT NOT EXISTS (SELECT 1 FROM task WHERE status = 'pending' AND attempts = 0)";
        Ok(c.query_row(fresh, [], |row| row.get(0))?)
    };
    process.tasks.until(looked).await.unwrap();
    assert_eq!(process.row(id).await.vm_state, VmState::Resized);
    sql(&process, "UPDATE server SET task_state = NULL").await;
    process.tasks.settled().await.unwrap();
    assert_eq!((process.row(id).await.vm_state, process.row(id).await.resize), (VmState::Active, None));
}

#[tokio::test]
async fn a_resize_confirms_itself_when_its_time_is_over() {
    let bench = hourly();
    let (process, id) = made(&bench).await;
    resize(&process, id, WIDE).await;
    let waiting = process.store.read(tasks::runnable).await.unwrap();
    assert_eq!(waiting.len(), 1);
    let wait = waiting[0].not_before - process.clock.now().as_microsecond();
    assert!((3_500_000_000..=3_600_000_000).contains(&wait), "{wait}");
    // A migration of the database writes this too.
    let since = process.row(id).await.resize.unwrap().finished_at.unwrap().as_microsecond();
    let state = format!(r#"{{"server":"{id}","occasion":"Confirm","since":{since}}}"#);
    assert_eq!((waiting[0].workflow.as_str(), &waiting[0].state), ("due", &state));
    process.kill().await;
    let process = bench.start().await;
    assert_eq!(process.row(id).await.vm_state, VmState::Resized);
    make_due(&process).await;
    process.tasks.settled().await.unwrap();
    assert_eq!((process.row(id).await.vm_state, process.row(id).await.resize), (VmState::Active, None));
    let (action, message, events) = last_action(&process, id).await;
    assert_eq!((action.as_str(), message), ("confirmResize", None));
    assert_eq!(events[0].0, "compute_confirm_resize");
    // One that the owner decided earlier leaves nothing to do.
    resize(&process, id, FLAVOR).await;
    process.servers.revert_resize(&owner(), id).await.unwrap();
    while process.row(id).await.vm_state != VmState::Active {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    make_due(&process).await;
    process.tasks.settled().await.unwrap();
    assert_eq!(last_action(&process, id).await.0, "revertResize");
}

#[tokio::test]
async fn moves_find_no_other_host() {
    let bench = Bench::new();
    let (process, id) = made(&bench).await;
    let refusal = async |host: &str| {
        process.servers.migrate(&admin(), id, Some(host.into())).await.unwrap_err().message().to_owned()
    };
    assert_eq!(refusal("node").await, "Cannot migrate to the host where the server exists.");
    assert_eq!(refusal("mars").await, "Compute host mars could not be found.");
    assert_eq!(last_action(&process, id).await.0, "create");
    process.servers.migrate(&admin(), id, None).await.unwrap();
    let (action, message, events) = last_action(&process, id).await;
    assert_eq!((action.as_str(), message.as_deref(), events.len()), ("migrate", Some("Error"), 2));

    let live =
        |host: Option<&str>, forced, waits| LiveMigration { host: host.map(str::to_owned), forced, waits };
    let error = process.servers.live_migrate(&admin(), id, live(None, false, true)).await.unwrap_err();
    assert_eq!(error.message(), "No valid host was found. There are not enough hosts available.");
    assert_eq!(last_action(&process, id).await.2[0].0, "conductor_migrate_server");
    let error = process.servers.live_migrate(&admin(), id, live(Some("node"), true, true)).await.unwrap_err();
    assert_eq!(error.message(), format!("Unable to migrate instance ({id}) to current host (node)."));
    process.servers.live_migrate(&admin(), id, live(Some("node"), false, false)).await.unwrap();
    let (action, message, events) = last_action(&process, id).await;
    assert_eq!((action.as_str(), message.as_deref()), ("live-migration", Some("Error")));
    assert_eq!(events[0].0, "conductor_live_migrate_instance");

    let evacuate = async |host: Option<&str>| {
        let error = process.servers.evacuate(&admin(), id, host.map(str::to_owned)).await.unwrap_err();
        (error.kind(), error.message().to_owned())
    };
    assert_eq!(evacuate(None).await, (Kind::Invalid, "Compute service of node is still in use.".into()));
    assert_eq!(
        evacuate(Some("node")).await,
        (Kind::Invalid, "The target host can't be the same one.".into())
    );
    assert_eq!(evacuate(Some("mars")).await, (Kind::NotFound, "Compute host mars not found.".into()));

    let error = process.servers.force_complete(&admin(), id, "1").await.unwrap_err();
    assert_eq!(
        error.message(),
        format!("Cannot 'force_complete' instance {id} while it is in task_state None")
    );
    let error = process.servers.abort_migration(&admin(), id, "1").await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidState);
    let shown = async |number: &str| {
        process.servers.migration_in_progress(&admin(), id, number).await.unwrap_err().message().to_owned()
    };
    assert_eq!(shown("1").await, format!("Migration 1 for server {id} is not live-migration."));
    assert_eq!(shown("2").await, format!("Live migration 2 for server {id} is not in progress."));
    assert_eq!(shown("x").await, format!("In-progress live migration x is not found for server {id}."));

    let row = process.row(id).await;
    assert_eq!((row.vm_state, row.task_state), (VmState::Active, None));
    let query = MigrationQuery { limit: 2, newest_first: true, ..Default::default() };
    let page = process.servers.migrations(&admin(), query.clone()).await.unwrap();
    assert_eq!(page.iter().map(|found| found.number).collect::<Vec<_>>(), [4, 3]);
    let marker = Some(page[1].uuid.to_string());
    let rest =
        process.servers.migrations(&admin(), MigrationQuery { marker, ..query.clone() }).await.unwrap();
    assert_eq!(
        rest.iter().map(|found| found.kind).collect::<Vec<_>>(),
        [MigrationKind::Live, MigrationKind::Cold]
    );
    let lost = MigrationQuery { marker: Some("m".into()), ..query };
    let error = process.servers.migrations(&admin(), lost).await.unwrap_err();
    assert_eq!(error.message(), "Marker m could not be found.");
}
