//! The use cases on a host in memory: what is admitted, what is refused and in which words, and what is recorded.

use super::{ActionQuery, Among, ResetTo};
use crate::core::Kind;
use crate::core::clock::micros_naive;
use crate::core::ids::ServerId;
use crate::core::port::Networking;
use crate::core::quota::Resource;
use crate::core::server::create::{CreateServer, MetadataChange, UpdateServer};
use crate::core::server::node::{Capacity, Node};
use crate::core::server::query::{Column, Deleted, Direction, Filter, Scope, ServerQuery, SortKey};
use crate::core::server::state::VmState;
use crate::core::server::status::{Status, filter, status};
use crate::core::workflow::testing::{Bench, Process, WIDE, actor, admin, everything, owner};
use crate::core::workflow::tests::rebuild;
use crate::store::{StoreError, quotas, server_usage};

pub(super) async fn refusal(process: &Process, command: CreateServer) -> (Kind, String) {
    let error = process.servers.create(&owner(), command).await.unwrap_err();
    (error.kind(), error.message().to_owned())
}

async fn set_quota(process: &Process, resource: &'static str, limit: i64) {
    process
        .store
        .write::<_, StoreError, _>(move |c| {
            c.execute(
                "UPDATE quota SET hard_limit = ?2 WHERE project_id = 'owner' AND resource = ?1",
                rusqlite::params![resource, limit],
            )?;
            Ok(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_server_is_created_shown_and_recorded() {
    let bench = Bench::new();
    let process = bench.start().await;
    let mut command = bench.command("My web_server");
    command.tags = vec!["b".into(), "a".into(), "b".into()];
    let created = process.servers.create(&owner(), command).await.unwrap();
    assert_eq!(created.admin_password.expose().len(), 12);
    let id = created.ids[0];
    let young = process.servers.show(&owner(), id).await.unwrap();
    assert_eq!(status(&young.server), Status::Build);
    process.tasks.settled().await.unwrap();
    let shown = process.servers.show(&owner(), id).await.unwrap();
    assert_eq!(status(&shown.server), Status::Active);
    assert_eq!(shown.server.hostname, "my-web-server");
    assert_eq!(shown.server.tags, ["a", "b"]);
    assert_eq!(shown.server.root_device_name.as_deref(), Some("/dev/vda"));
    assert!(shown.server.launched_at.is_some() && shown.server.config_drive);
    assert_eq!(shown.nics.len(), 1);
    assert_eq!(shown.security_groups, ["default"]);
    assert!(shown.fault.is_none());
    let query = ActionQuery { limit: 10, ..ActionQuery::default() };
    let actions = process.servers.actions(&owner(), id, Among::Living, query).await.unwrap();
    let (record, events) =
        process.servers.action(&owner(), id, Among::Living, &actions[0].request_id).await.unwrap();
    assert_eq!(record.action, "create");
    assert_eq!(events[0].event, "compute__do_build_and_run_instance");
    assert_eq!(events[0].result.as_deref(), Some("Success"));
    assert!(!micros_naive(record.started_at).is_empty());
    let stranger = process.servers.show(&actor("stranger", &["member"]), id).await.unwrap_err();
    assert_eq!(stranger.message(), format!("Instance {id} could not be found."));
    let domain = bench.hypervisor.inventory().domains[&id].spec.clone();
    assert_eq!(domain.disks.len(), 4, "root, ephemeral, swap, config drive");
    assert_eq!(domain.nics[0].mac, shown.nics[0].mac.to_string());
}

#[tokio::test]
async fn many_alike_are_numbered_and_fewer_come_when_the_quota_is_short() {
    let bench = Bench::new();
    let process = bench.start().await;
    set_quota(&process, "cores", 2).await;
    let command = CreateServer { min_count: 1, max_count: 3, ..bench.command("web") };
    let created = process.servers.create(&owner(), command).await.unwrap();
    assert_eq!(created.ids.len(), 2);
    let second = process.servers.show(&owner(), created.ids[1]).await.unwrap().server;
    assert_eq!((second.name.as_str(), second.hostname.as_str(), second.launch_index), ("web-2", "web-2", 1));
    assert_eq!(second.reservation_id, created.reservation_id);
    set_quota(&process, "ram", 128).await;
    let command = CreateServer { min_count: 2, max_count: 2, ..bench.command("web") };
    assert_eq!(
        refusal(&process, command).await,
        (
            Kind::Quota,
            "Quota exceeded for cores, ram: Requested 2, 128, but already used 2, 128 of 2, 128 cores, ram"
                .into()
        )
    );
}

#[tokio::test]
async fn a_user_has_no_more_than_his_own_limits_allow() {
    let bench = Bench::new();
    let process = bench.start().await;
    let set = |user: &'static str, resource: Resource, limit: i64| {
        process.store.write::<_, StoreError, _>(move |c| {
            quotas::set(c, quotas::Scope::User(&"owner".into(), &user.into()), resource, limit)
        })
    };
    set("owner-user", Resource::Cores, 2).await.unwrap();
    set("friend-user", Resource::Instances, 1).await.unwrap();
    let mut friend = actor("friend", &["member"]);
    friend.project_id = Some("owner".into());
    process.servers.create(&friend, bench.command("theirs")).await.unwrap();
    let command = CreateServer { min_count: 1, max_count: 3, ..bench.command("web") };
    let created = process.servers.create(&owner(), command).await.unwrap();
    assert_eq!(created.ids.len(), 2, "those of others in the project do not count");
    let words = "Quota exceeded for cores: Requested 1, but already used 2 of 2 cores";
    assert_eq!(refusal(&process, bench.command("web")).await, (Kind::Quota, words.into()));
    process.tasks.settled().await.unwrap();
    // Growth counts in the budget of the server's user, whoever asks for it.
    let grown = process.servers.resize(&friend, created.ids[0], WIDE.into(), None).await.unwrap_err();
    assert_eq!((grown.kind(), grown.message()), (Kind::Quota, words));
    let error = process.servers.create(&friend, bench.command("theirs")).await.unwrap_err();
    let words = "Quota exceeded for instances: Requested 1, but already used 1 of 1 instances";
    assert_eq!((error.kind(), error.message()), (Kind::Quota, words));
    set("friend-user", Resource::Instances, -1).await.unwrap();
    process.servers.create(&friend, bench.command("theirs")).await.unwrap();
}

#[tokio::test]
async fn refusals_speak_as_nova_does_and_leave_nothing() {
    let bench = Bench::new();
    let process = bench.start().await;
    let zone = |zone: &str| CreateServer { availability_zone: Some(zone.into()), ..bench.command("web") };
    let cases = [
        (
            CreateServer { flavor_id: "huge".into(), ..bench.command("web") },
            Kind::Invalid,
            "Flavor huge could not be found.",
        ),
        (
            CreateServer { image_id: Some(crate::core::ids::ImageId::random()), ..bench.command("web") },
            Kind::Invalid,
            "Can not find requested image",
        ),
        (
            CreateServer { key_name: Some("k".into()), ..bench.command("web") },
            Kind::Invalid,
            "Invalid key_name provided.",
        ),
        (zone("mars"), Kind::Invalid, "The requested availability zone is not available"),
        (zone("mars::"), Kind::Invalid, "The requested availability zone is not available"),
        (zone("nova:a:b:c"), Kind::Invalid, "Invalid input received: Unable to parse availability_zone"),
        (
            zone("nova:node"),
            Kind::Forbidden,
            "Policy doesn't allow os_compute_api:servers:create:forced_host to be performed.",
        ),
        (
            CreateServer { security_groups: vec!["x".into()], ..bench.command("web") },
            Kind::Invalid,
            "Unable to find security_group with name or id 'x'",
        ),
        (
            CreateServer {
                security_groups: vec!["x".into()],
                networks: Networking::None,
                ..bench.command("web")
            },
            Kind::Invalid,
            "Unable to find security_group with name or id 'x'",
        ),
        (
            CreateServer {
                metadata: (0..129).map(|n| (n.to_string(), String::new())).collect(),
                ..bench.command("web")
            },
            Kind::Quota,
            "Maximum number of metadata items exceeds 128",
        ),
    ];
    for (command, kind, words) in cases {
        assert_eq!(refusal(&process, command).await, (kind, words.to_owned()));
    }
    process
        .store
        .write::<_, StoreError, _>(|c| {
            c.execute("UPDATE image SET min_ram_mib = 1024", [])?;
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(
        refusal(&process, bench.command("web")).await.1,
        "Flavor's memory is too small for requested image."
    );
    assert!(process.servers.list(everything()).await.unwrap().is_empty());
    let used = process.store.read(|c| server_usage::of_project(c, &"owner".into())).await.unwrap();
    assert_eq!(used, server_usage::Usage::default());
}

/// Gives the image properties, as a JSON object.
async fn set_properties(process: &Process, properties: &'static str) {
    process
        .store
        .write::<_, StoreError, _>(move |c| {
            c.execute("UPDATE image SET properties = ?1", [properties])?;
            Ok(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn images_with_wrong_properties_are_refused_and_others_get_what_they_ask_for_or_a_fault() {
    let bench = Bench::new();
    let process = bench.start().await;
    let id = process.create(bench.command("web")).await;
    process.tasks.settled().await.unwrap();
    set_properties(&process, r#"{"hw_disk_bus": "foo"}"#).await;
    let words = "Invalid image metadata. Error: Field value foo is invalid";
    assert_eq!(refusal(&process, bench.command("web")).await, (Kind::Invalid, words.into()));
    let error = process.servers.rebuild(&owner(), id, rebuild(&bench)).await.unwrap_err();
    assert_eq!(error.message(), words);
    let error = process.servers.rescue(&owner(), id, Some(bench.image), None).await.unwrap_err();
    assert_eq!(error.message(), words);
    set_properties(&process, r#"{"img_config_drive": "zz"}"#).await;
    let words = "Invalid image metadata. Error: Field value zz is invalid";
    assert_eq!(refusal(&process, bench.command("web")).await.1, words);
    let error = process.servers.rebuild(&owner(), id, rebuild(&bench)).await.unwrap_err();
    assert_eq!(error.message(), "Image's config drive option 'zz' is invalid");
    for (properties, fault) in [
        (
            r#"{"hw_vif_model": "ne2k_pci"}"#,
            "Requested hardware 'ne2k_pci' is not supported by the 'libvirt' virt driver (image property hw_vif_model)",
        ),
        (
            r#"{"architecture": "aarch64"}"#,
            "No valid host was found. The image asks for a host with hw_architecture=aarch64; this one has x86_64 or i686.",
        ),
    ] {
        set_properties(&process, properties).await;
        let id = process.create(bench.command("web")).await;
        process.tasks.settled().await.unwrap();
        let shown = process.servers.show(&owner(), id).await.unwrap();
        assert_eq!(shown.server.vm_state, VmState::Error);
        assert_eq!(shown.fault.unwrap().message, fault);
    }
    process.servers.rebuild(&owner(), id, rebuild(&bench)).await.unwrap();
    process.tasks.settled().await.unwrap();
    let shown = process.servers.show(&owner(), id).await.unwrap();
    assert_eq!(shown.server.vm_state, VmState::Error);
    assert!(shown.server.image_properties.is_empty(), "it still runs on what it was made from");
}

/// What a request says of the sizes of some disks.
#[tokio::test]
async fn a_server_without_room_ends_in_error_and_can_be_deleted() {
    let capacity = Capacity { cores: 8, ram_mib: 100, disk_mib: 1 << 20 };
    let bench = Bench::with_node(Node { capacity, ..Node::roomy() });
    let process = bench.start().await;
    let first = process.create(bench.command("one")).await;
    let second = process.create(bench.command("two")).await;
    process.tasks.settled().await.unwrap();
    let shown = process.servers.show(&owner(), second).await.unwrap();
    assert_eq!(shown.server.vm_state, VmState::Error);
    let fault = shown.fault.unwrap();
    assert_eq!(fault.code, 500);
    assert_eq!(
        fault.message,
        "No valid host was found. There is not enough memory on this host: 64 MiB asked for, 36 MiB of 100 MiB free."
    );
    process.servers.delete(&owner(), second, false).await.unwrap();
    process.servers.delete(&owner(), first, false).await.unwrap();
    process.tasks.settled().await.unwrap();
    let third = process.create(bench.command("three")).await;
    process.tasks.settled().await.unwrap();
    assert_eq!(process.row(third).await.vm_state, VmState::Active);
}

#[tokio::test]
async fn locks_hold_against_owners_and_not_against_admins() {
    let bench = Bench::new();
    let process = bench.start().await;
    let id = process.create(bench.command("web")).await;
    process.tasks.settled().await.unwrap();
    let servers = &process.servers;
    servers.lock(&owner(), id, Some("mine".into())).await.unwrap();
    let refused = servers.stop(&owner(), id).await.unwrap_err();
    assert_eq!(
        (refused.kind(), refused.message()),
        (Kind::InvalidState, &*format!("Instance {id} is locked"))
    );
    servers.lock(&admin(), id, None).await.unwrap();
    assert_eq!(servers.unlock(&owner(), id).await.unwrap_err().kind(), Kind::Forbidden);
    servers.stop(&admin(), id).await.unwrap();
    process.tasks.settled().await.unwrap();
    servers.unlock(&admin(), id).await.unwrap();
    servers.start(&owner(), id).await.unwrap();
    process.tasks.settled().await.unwrap();
    assert_eq!(process.row(id).await.vm_state, VmState::Active);
}

#[tokio::test]
async fn a_reset_state_shows_at_once_and_ends_what_was_going_on() {
    let bench = Bench::new();
    let process = bench.start().await;
    let id = process.create(bench.command("web")).await;
    process.tasks.settled().await.unwrap();
    process.servers.reset_state(&admin(), id, ResetTo::Error).await.unwrap();
    assert_eq!(process.row(id).await.vm_state, VmState::Error);
    process.servers.reset_state(&admin(), id, ResetTo::Active).await.unwrap();
    bench.hypervisor.set_manners(id, crate::host::hypervisor::fake::Manners::Deaf);
    process.servers.stop(&owner(), id).await.unwrap();
    process.servers.reset_state(&admin(), id, ResetTo::Error).await.unwrap();
    let row = process.row(id).await;
    assert_eq!((row.vm_state, row.task_state), (VmState::Error, None));
    process.tasks.settled().await.unwrap();
    let row = process.row(id).await;
    assert_eq!((row.vm_state, row.task_state), (VmState::Error, None));
}

#[tokio::test]
async fn labels_and_console() {
    let bench = Bench::new();
    let process = bench.start().await;
    let id = process.create(bench.command("web")).await;
    process.tasks.settled().await.unwrap();
    let servers = &process.servers;
    let map = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    servers.change_metadata(&owner(), id, MetadataChange::Merge(map("a", "1"))).await.unwrap();
    let whole = servers.change_metadata(&owner(), id, MetadataChange::Merge(map("b", "2"))).await.unwrap();
    assert_eq!(whole.len(), 2);
    servers.delete_metadata_item(&owner(), id, "a".into()).await.unwrap();
    let missing = servers.delete_metadata_item(&owner(), id, "a".into()).await.unwrap_err();
    assert_eq!((missing.kind(), missing.message()), (Kind::NotFound, "Metadata item was not found"));
    assert!(servers.add_tag(&owner(), id, "x".into()).await.unwrap());
    assert!(!servers.add_tag(&owner(), id, "x".into()).await.unwrap());
    servers.remove_tag(&owner(), id, "x".into()).await.unwrap();
    assert_eq!(servers.remove_tag(&owner(), id, "x".into()).await.unwrap_err().kind(), Kind::NotFound);
    let many = (0..51).map(|n| n.to_string()).collect();
    assert_eq!(servers.replace_tags(&owner(), id, many).await.unwrap_err().kind(), Kind::Invalid);
    let update = UpdateServer { name: Some("new".into()), ..UpdateServer::default() };
    let updated = servers.update(&owner(), id, update).await.unwrap().server;
    assert_eq!((updated.name.as_str(), updated.hostname.as_str()), ("new", "web"));
    bench.storage.write_console(id, b"one\r\ntwo\x1b[0m\nthree\n");
    assert_eq!(servers.console_output(&owner(), id, None).await.unwrap(), "one\ntwo[0m\nthree\n");
    assert_eq!(servers.console_output(&owner(), id, Some(2)).await.unwrap(), "three\n");
}

async fn names(query: ServerQuery, process: &Process) -> String {
    let found = process.servers.list(query).await.unwrap();
    found.into_iter().map(|item| item.name).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn lists_are_filtered_ordered_and_paged() {
    let bench = Bench::new();
    let process = bench.start().await;
    let mut ids: Vec<ServerId> = Vec::new();
    for (name, tags) in [("a1", "x"), ("b2", "x,y"), ("a3", "y"), ("c4", "")] {
        let tags = tags.split(',').filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
        ids.push(process.create(CreateServer { tags, ..bench.command(name) }).await);
        // One after the other, so that the order of their launches is known.
        process.tasks.settled().await.unwrap();
    }
    process.servers.stop(&owner(), ids[1]).await.unwrap();
    process.servers.delete(&owner(), ids[3], false).await.unwrap();
    process.tasks.settled().await.unwrap();
    let address = process.servers.show(&owner(), ids[2]).await.unwrap().nics[0].addresses[0].address;
    let with = |filter| ServerQuery { filters: vec![filter], ..everything() };
    let tags = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let cases = [
        (everything(), "a3 b2 a1"),
        (ServerQuery { deleted: Deleted::Only, ..everything() }, "c4"),
        (ServerQuery { deleted: Deleted::Show, ..everything() }, "c4 a3 b2 a1"),
        (with(filter(&[Status::Shutoff])), "b2"),
        (with(filter(&[Status::Shutoff, Status::Active])), "a3 b2 a1"),
        (with(filter(&[Status::Reboot])), ""),
        (with(Filter::Column(Column::Name, tags(&["^a"]))), "a3 a1"),
        (with(Filter::Column(Column::Name, tags(&["1", "2"]))), "b2 a1"),
        (with(Filter::Column(Column::Uuid, vec![ids[0].to_string()])), "a1"),
        (with(Filter::Column(Column::Flavor, tags(&["tin"]))), ""),
        (with(Filter::Tags(tags(&["x", "y"]))), "b2"),
        (with(Filter::TagsAny(tags(&["x", "y"]))), "a3 b2 a1"),
        (with(Filter::NotTags(tags(&["x", "y"]))), "a3 a1"),
        (with(Filter::NotTagsAny(tags(&["x"]))), "a3"),
        (with(Filter::Ip(format!("^{}$", address.to_string().replace('.', "\\.")))), "a3"),
        (with(Filter::Ip6("f".into())), ""),
        (with(Filter::Locked(true)), ""),
        (with(Filter::ConfigDrive(true)), "a3 b2 a1"),
        (ServerQuery { sort: vec![(SortKey::Name, Direction::Ascending)], ..everything() }, "a1 a3 b2"),
        (
            ServerQuery {
                sort: vec![(SortKey::LaunchedAt, Direction::Descending)],
                limit: 1,
                ..everything()
            },
            "a3",
        ),
        (ServerQuery { scope: Scope::Project("other".into()), ..everything() }, ""),
        (ServerQuery { limit: 0, ..everything() }, ""),
        (ServerQuery { marker: Some(ids[2]), limit: 1, ..everything() }, "b2"),
    ];
    for (query, expected) in cases {
        assert_eq!(names(query.clone(), &process).await, expected, "{query:?}");
    }
    // Pages of one, in every order, are the whole list.
    for key in SortKey::ALL {
        for direction in [Direction::Ascending, Direction::Descending] {
            let whole = ServerQuery { sort: vec![(*key, direction)], ..everything() };
            let expected: Vec<ServerId> =
                process.servers.list(whole.clone()).await.unwrap().iter().map(|item| item.id).collect();
            let mut paged = Vec::new();
            while let Some(item) = {
                let page = ServerQuery { limit: 1, marker: paged.last().copied(), ..whole.clone() };
                process.servers.list(page).await.unwrap().pop()
            } {
                paged.push(item.id);
            }
            assert_eq!(paged, expected, "{key:?} {direction:?}");
        }
    }
    let unknown = ServerQuery { marker: Some(ServerId::random()), ..everything() };
    assert_eq!(process.servers.list(unknown).await.unwrap_err().kind(), Kind::Invalid);
    let project = ServerQuery { scope: Scope::Project("owner".into()), ..everything() };
    assert_eq!(process.servers.list_detail(project).await.unwrap().len(), 3);
}
