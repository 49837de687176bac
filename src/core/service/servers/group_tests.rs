//! Servers in groups and with hints, on a host in memory.

use super::tests::refusal;
use crate::core::Kind;
use crate::core::ids::{ServerGroupId, ServerId};
use crate::core::server::create::CreateServer;
use crate::core::server::state::VmState;
use crate::core::server_group::{Policy, ServerGroup};
use crate::core::service::Deps;
use crate::core::service::server_groups::{NewServerGroup, ServerGroupService};
use crate::core::workflow::testing::{Bench, Process, WIDE, actor, admin, owner};
use crate::store::StoreError;
use serde_json::{Value, json};

fn groups(process: &Process) -> ServerGroupService {
    ServerGroupService::new(Deps {
        store: process.store.clone(),
        clock: process.clock.clone(),
        tasks: process.tasks.clone(),
    })
}

async fn group(process: &Process, policy: Policy, max_server_per_host: Option<i64>) -> ServerGroup {
    let new = NewServerGroup { name: "g".into(), policy, max_server_per_host };
    groups(process).create(&owner(), new).await.unwrap()
}

fn hinted(bench: &Bench, hints: &Value) -> CreateServer {
    CreateServer { scheduler_hints: hints.to_string(), ..bench.command("web") }
}

fn in_group(bench: &Bench, id: ServerGroupId) -> CreateServer {
    hinted(bench, &json!({"group": id}))
}

/// Makes servers and waits for what becomes of them: their ids, and whether all or none run.
async fn make(process: &Process, command: CreateServer) -> (Vec<ServerId>, bool) {
    let ids = process.servers.create(&owner(), command).await.unwrap().ids;
    process.tasks.settled().await.unwrap();
    let mut runs = Vec::new();
    for id in &ids {
        let shown = process.servers.show(&owner(), *id).await.unwrap();
        let failed = shown.server.vm_state == VmState::Error;
        if failed {
            let words = shown.fault.unwrap().message;
            let nova = "No valid host was found. There are not enough hosts available";
            assert!(words.starts_with(nova), "{words}");
            assert_eq!(shown.server.host, None);
        }
        runs.push(!failed);
    }
    assert!(runs.windows(2).all(|pair| pair[0] == pair[1]), "{runs:?}");
    (ids, runs[0])
}

async fn runs(process: &Process, command: CreateServer) -> bool {
    make(process, command).await.1
}

async fn delete(process: &Process, id: ServerId) {
    process.servers.delete(&owner(), id, false).await.unwrap();
    process.tasks.settled().await.unwrap();
}

#[tokio::test]
async fn servers_that_are_to_be_apart_find_no_second_host() {
    let bench = Bench::new();
    let process = bench.start().await;
    let apart = group(&process, Policy::AntiAffinity, None).await.id;
    let members =
        async |id: ServerGroupId| groups(&process).get(&owner(), &id.to_string()).await.unwrap().members;
    let (first, ran) = make(&process, in_group(&bench, apart)).await;
    assert!(ran);
    let shown = process.servers.show(&owner(), first[0]).await.unwrap();
    assert_eq!(shown.server_group, Some(apart));
    let (second, ran) = make(&process, in_group(&bench, apart)).await;
    assert!(!ran);
    let on_host = bench.hypervisor.inventory().domains;
    assert_eq!(on_host.keys().collect::<Vec<_>>(), [&first[0]]);
    assert_eq!(members(apart).await, [first[0], second[0]]);

    // It stays where it is, whatever it becomes.
    process.servers.resize(&owner(), first[0], WIDE.into(), None).await.unwrap();
    process.tasks.settled().await.unwrap();
    process.servers.confirm_resize(&owner(), first[0]).await.unwrap();
    process.tasks.settled().await.unwrap();
    assert_eq!(process.row(first[0]).await.flavor.id, WIDE);

    delete(&process, first[0]).await;
    assert_eq!(members(apart).await, [second[0]]);
    let two = |id| CreateServer { min_count: 2, max_count: 2, ..in_group(&bench, id) };
    assert!(!runs(&process, two(apart)).await, "together or not at all");
    assert!(runs(&process, in_group(&bench, apart)).await);

    let ruled = group(&process, Policy::AntiAffinity, Some(3)).await.id;
    assert!(runs(&process, two(ruled)).await);
    assert!(!runs(&process, two(ruled)).await);
    assert!(runs(&process, in_group(&bench, ruled)).await);
    assert!(!runs(&process, in_group(&bench, ruled)).await);
    for policy in [Policy::Affinity, Policy::SoftAffinity, Policy::SoftAntiAffinity] {
        let id = group(&process, policy, None).await.id;
        assert!(runs(&process, two(id)).await && runs(&process, in_group(&bench, id)).await, "{policy:?}");
    }
}

#[tokio::test]
async fn a_server_comes_back_when_its_group_has_room() {
    let bench = Bench::new();
    let process = bench.start().await;
    let apart = group(&process, Policy::AntiAffinity, None).await.id;
    let away = make(&process, in_group(&bench, apart)).await.0[0];
    let settled = async || process.tasks.settled().await.unwrap();
    process.servers.shelve(&owner(), away).await.unwrap();
    settled().await;
    if process.row(away).await.vm_state == VmState::Shelved {
        process.servers.shelve_offload(&owner(), away).await.unwrap();
        settled().await;
    }
    let (other, ran) = make(&process, in_group(&bench, apart)).await;
    assert!(ran, "the first one is not on the host");
    let unshelve = async || {
        process.servers.unshelve(&owner(), away, super::Destination::default()).await.unwrap();
        settled().await;
        process.row(away).await.vm_state
    };
    assert_eq!(unshelve().await, VmState::ShelvedOffloaded);
    delete(&process, other[0]).await;
    assert_eq!(unshelve().await, VmState::Active);
    // A group that is gone asks nothing.
    groups(&process).delete(&owner(), &apart.to_string()).await.unwrap();
    let shown = process.servers.show(&owner(), away).await.unwrap();
    assert_eq!((shown.server_group, shown.server.vm_state), (None, VmState::Active));
    delete(&process, away).await;
}

#[tokio::test]
async fn hints_name_servers_to_be_with_or_apart_from() {
    let bench = Bench::new();
    let process = bench.start().await;
    let here = process.create(bench.command("here")).await;
    process.tasks.settled().await.unwrap();
    let nobody = ServerId::random();
    for (hints, expected) in [
        (json!({"same_host": here}), true),
        (json!({"same_host": [nobody, here]}), true),
        (json!({"same_host": nobody}), false),
        (json!({"same_host": []}), true),
        (json!({"different_host": [here]}), false),
        (json!({"different_host": nobody}), true),
        (json!({"query": "[\"=\", \"$host\", \"x\"]", "cidr": "/24", "other": {"a": 1}}), true),
    ] {
        assert_eq!(runs(&process, hinted(&bench, &hints)).await, expected, "{hints}");
    }
    let follower = make(&process, hinted(&bench, &json!({"same_host": here}))).await.0[0];
    delete(&process, here).await;
    process.servers.resize(&owner(), follower, WIDE.into(), None).await.unwrap();
    process.tasks.settled().await.unwrap();
    let row = process.row(follower).await;
    assert_eq!((row.vm_state, row.flavor.id == WIDE), (VmState::Active, false), "nobody to be with is left");
}

#[tokio::test]
async fn groups_are_counted_and_kept_from_strangers() {
    let bench = Bench::new();
    let process = bench.start().await;
    process
        .store
        .write::<_, StoreError, _>(|c| {
            Ok(c.execute_batch(
                "INSERT INTO quota VALUES ('owner', 'server_groups', 1), ('owner', 'server_group_members', 2)",
            )?)
        })
        .await
        .unwrap();
    let near = group(&process, Policy::Affinity, None).await;
    let new = || NewServerGroup { name: "g".into(), policy: Policy::Affinity, max_server_per_host: None };
    let error = groups(&process).create(&owner(), new()).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::Quota, "Quota exceeded, too many server groups."));
    let foreign = groups(&process).create(&actor("stranger", &["member"]), new()).await.unwrap();

    let three = CreateServer { min_count: 3, max_count: 3, ..in_group(&bench, near.id) };
    let full = (Kind::Quota, "Quota exceeded, too many servers in group".to_owned());
    assert_eq!(refusal(&process, three).await, full);
    assert!(runs(&process, CreateServer { min_count: 2, max_count: 2, ..in_group(&bench, near.id) }).await);
    assert_eq!(refusal(&process, in_group(&bench, near.id)).await, full);
    for id in [foreign.id, ServerGroupId::random()] {
        let words = format!("Instance group {id} could not be found.");
        assert_eq!(refusal(&process, in_group(&bench, id)).await, (Kind::Invalid, words));
    }
    let told = async |id: ServerGroupId| {
        let error = groups(&process).delete(&owner(), &id.to_string()).await.unwrap_err();
        (error.kind(), error.message().to_owned())
    };
    let words = "Policy doesn't allow os_compute_api:os-server-groups:delete to be performed.";
    assert_eq!(told(foreign.id).await, (Kind::Forbidden, words.to_owned()));
    let nobody = ServerGroupId::random();
    let words = format!("Instance group {nobody} could not be found.");
    assert_eq!(told(nobody).await, (Kind::NotFound, words));
    let ids = async |actor, all| {
        let found = groups(&process).list(&actor, all, 10, 0).await.unwrap();
        found.into_iter().map(|group| group.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(owner(), true).await, [near.id]);
    assert_eq!(ids(admin(), true).await, [near.id, foreign.id]);
    assert_eq!(ids(admin(), false).await, []);
}
