//! The ledger against golden bodies: one for every version at which the form of an answer changes, in
//! `tests/golden/compute`. Every response change has to change a body, every request change what is accepted.

use crate::api::compute::aggregates::AggregateView;
use crate::api::compute::changes::{self, Input, LEDGER, NEWEST, Resource, shape};
use crate::api::compute::flavors::view::{FlavorSummary, FlavorView};
use crate::api::compute::hypervisors::{HypervisorView, Page as HypervisorPage};
use crate::api::compute::keypairs::{Extent, KeypairView, Page as KeypairPage};
use crate::api::compute::limits::Absolute;
use crate::api::compute::links::{Base, NextLink};
use crate::api::compute::migrations::{MigrationView, Page as MigrationPage};
use crate::api::compute::quotas::QuotaView;
use crate::api::compute::server_groups::ServerGroupView;
use crate::api::compute::servers::history::{ActionView, EventView, Page as ActionPage};
use crate::api::compute::servers::interfaces::InterfaceView;
use crate::api::compute::servers::view::{Scene, ServerView};
use crate::api::compute::services::{Ids, ServiceView};
use crate::api::version::ledger::Change;
use crate::core::aggregate::Aggregate;
use crate::core::clock::from_micros;
use crate::core::flavor::{Flavor, NewFlavor, defaults};
use crate::core::ids::{NetworkId, PortId, ServerGroupId, ServerId, SubnetId};
use crate::core::keypair::{Keypair, KeypairKind};
use crate::core::port::{FixedIp, NicAddress, Port, PortStatus, ServerNic};
use crate::core::quota::{Limits, Usage};
use crate::core::server::migration::{Migration, MigrationKind, MigrationStatus};
use crate::core::server::{
    ActionEvent, ActionRecord, AttachedVolume, Lock, LockHolder, Server, ServerDetail, ServerKey, sample,
};
use crate::core::server_group::{Policy, ServerGroup};
use crate::core::service::node::{Hardware, NodeRows};
use crate::host::hypervisor::HostFacts;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

const AT: i64 = 1_700_000_000_000_042;

fn flavor() -> Flavor {
    let NewFlavor { name, vcpus, ram_mib, disk_gib, .. } = defaults().remove(0);
    Flavor {
        number: 1,
        id: "1".into(),
        name,
        description: Some("small".into()),
        vcpus,
        ram_mib,
        disk_gib,
        ephemeral_gib: 0,
        swap_mib: 0,
        rxtx_factor: 1.0,
        is_public: true,
        disabled: false,
        extra_specs: [("hw:cpu_policy".to_owned(), "shared".to_owned())].into(),
        created_at: from_micros(AT),
        updated_at: None,
    }
}

fn migration() -> Migration {
    Migration {
        number: 1,
        uuid: uuid(7),
        server: ServerId(uuid(8)),
        user_id: Some("u".into()),
        project_id: Some("p".into()),
        kind: MigrationKind::Resize,
        status: MigrationStatus::Finished,
        source: Some("node".into()),
        destination: Some("node".into()),
        old_flavor: Some(1),
        new_flavor: Some(2),
        created_at: from_micros(AT),
        updated_at: from_micros(AT),
    }
}

fn port() -> Port {
    Port {
        id: PortId(uuid(8)),
        network_id: NetworkId(uuid(9)),
        project_id: "p".into(),
        name: String::new(),
        description: String::new(),
        admin_state_up: true,
        mac: "fa:16:3e:00:00:01".parse().unwrap(),
        status: PortStatus::Active,
        device_id: uuid(1).to_string(),
        device_owner: "compute:nova".into(),
        made_for_server: true,
        nic_index: 1,
        nic_tag: Some("public".into()),
        port_security_enabled: true,
        allowed_pairs: Vec::new(),
        host_id: "node".into(),
        tags: Vec::new(),
        created_at: from_micros(AT),
        updated_at: from_micros(AT),
        revision: 1,
        fixed_ips: vec![FixedIp { subnet_id: SubnetId(uuid(10)), address: [192, 0, 2, 3].into() }],
        security_groups: Vec::new(),
    }
}

fn server_group() -> ServerGroup {
    ServerGroup {
        id: ServerGroupId(uuid(9)),
        project_id: "p".into(),
        user_id: "u".into(),
        name: "apart".into(),
        policy: Policy::AntiAffinity,
        max_server_per_host: Some(3),
        members: vec![ServerId(uuid(1))],
        created_at: from_micros(AT),
    }
}

fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

pub fn nic() -> ServerNic {
    ServerNic {
        bound: true,
        port_id: PortId(uuid(3)),
        network_id: NetworkId(uuid(4)),
        network_name: "private".into(),
        mac: "fa:16:3e:00:00:01".parse().unwrap(),
        status: PortStatus::Active,
        made_for_server: true,
        nic_index: 0,
        tag: None,
        mtu: 1500,
        port_security_enabled: true,
        security_groups: vec!["default".into()],
        addresses: vec![NicAddress {
            address: "10.0.0.5".parse().unwrap(),
            subnet_id: SubnetId(uuid(5)),
            cidr: "10.0.0.0/24".parse().unwrap(),
            gateway: None,
            dhcp: true,
            dns_nameservers: Vec::new(),
            host_routes: Vec::new(),
        }],
    }
}

pub fn detail() -> ServerDetail {
    let server = Server {
        id: crate::core::ids::ServerId(uuid(1)),
        image_id: Some(crate::core::ids::ImageId(uuid(2))),
        image_properties: [("hw_disk_bus".to_owned(), "virtio".to_owned())].into(),
        host: Some("node".into()),
        key: Some(ServerKey { name: "k".into(), kind: "ssh".into(), public: "ssh-ed25519 A".into() }),
        user_data: Some("IyEvYmluL3No".into()),
        tags: vec!["blue".into()],
        lock: Some(Lock { by: LockHolder::Owner, reason: Some("mine".into()) }),
        pinned_zone: Some("nova".into()),
        description: Some("a server".into()),
        scheduler_hints: r#"{"group":"x"}"#.into(),
        launched_at: Some(from_micros(AT)),
        ..sample()
    };
    ServerDetail {
        server,
        fault: None,
        security_groups: vec!["default".into()],
        nics: vec![nic()],
        volumes: vec![AttachedVolume { volume_id: uuid(6).to_string(), delete_on_termination: true }],
        standing: node_rows().standing.into(),
        server_group: Some(ServerGroupId(uuid(9))),
    }
}

fn node_rows() -> NodeRows {
    NodeRows::sample("node", "nova")
}

fn hardware() -> Hardware {
    Hardware {
        facts: HostFacts {
            hostname: "node".into(),
            virt_type: "kvm".into(),
            hypervisor_version: 8_002_000,
            libvirt_version: 9_000_000,
            cpus: 4,
            memory_mib: 8192,
            cpu_model: "Nehalem".into(),
            cpu_vendor: "Intel".into(),
            cpu_sockets: 1,
            cpu_cores: 4,
            cpu_threads: 1,
        },
        disk_bytes: 100 << 30,
        free_disk_bytes: 50 << 30,
    }
}

fn value(view: &impl Serialize) -> Value {
    serde_json::to_value(view).unwrap()
}

fn server(resource: Resource, minor: u16, admin: bool) -> Value {
    let scene = Scene {
        base: Base::at("http://cloud"),
        resource,
        shape: shape(resource, minor),
        admin,
        reads_specs: true,
    };
    let password = (resource == Resource::ServerRebuild).then_some("secret");
    value(&ServerView { detail: &detail(), scene: &scene, admin_password: password })
}

fn record() -> ActionRecord {
    ActionRecord {
        number: 1,
        server_id: crate::core::ids::ServerId(uuid(1)),
        request_id: "req-1".into(),
        action: "stop".into(),
        user_id: Some("u".into()),
        project_id: Some("p".into()),
        started_at: from_micros(AT),
        updated_at: from_micros(AT),
        message: None,
    }
}

fn event() -> ActionEvent {
    ActionEvent {
        event: "compute_stop_instance".into(),
        host: Some("node".into()),
        started_at: from_micros(AT),
        finished_at: None,
        result: None,
        traceback: None,
        details: None,
    }
}

fn action(minor: u16, admin: bool) -> Value {
    let of_action = shape(Resource::Action, minor);
    let (record, event) = (record(), event());
    let shown = admin || of_action.newest("events");
    let project = "p".into();
    let events = vec![EventView {
        event: &event,
        project: &project,
        admin,
        shape: shape(Resource::ActionEvent, minor),
    }];
    value(&ActionView { action: &record, events: shown.then_some(events), shape: of_action })
}

/// What an answer looks like at a version: as an administrator sees it, and as its owner does.
fn body(resource: Resource, minor: u16) -> Value {
    let base = Base::at("http://cloud");
    let keypair = Keypair {
        number: 1,
        user_id: "u".into(),
        name: "k".into(),
        kind: KeypairKind::Ssh,
        public_key: "ssh-ed25519 A".into(),
        fingerprint: "00:11".into(),
        created_at: from_micros(AT),
    };
    let shape = shape(resource, minor);
    match resource {
        Resource::ServerShow | Resource::ServerDetail | Resource::ServerUpdate | Resource::ServerRebuild => {
            json!({"admin": server(resource, minor, true), "owner": server(resource, minor, false)})
        }
        Resource::Flavor => value(&FlavorView { flavor: &flavor(), base: &base, shape, with_specs: true }),
        Resource::FlavorSummary => value(&FlavorSummary { flavor: &flavor(), base: &base, shape }),
        Resource::Keypair => {
            let view =
                |extent, private_key| value(&KeypairView { keypair: &keypair, private_key, extent, shape });
            json!({
                "listed": view(Extent::Listed, None),
                "created": view(Extent::Created, Some("private")),
                "shown": view(Extent::Shown, None),
            })
        }
        Resource::KeypairList => {
            let links = Some([NextLink::to("http://cloud/v2.1/os-keypairs?marker=k")]);
            value(&KeypairPage { keypairs: &[keypair], links, minor })
        }
        Resource::ServerGroup => {
            let group = server_group();
            let plain =
                ServerGroup { policy: Policy::SoftAffinity, max_server_per_host: None, ..group.clone() };
            let view = |group| value(&ServerGroupView { group, shape });
            json!({"ruled": view(&group), "plain": view(&plain)})
        }
        Resource::Limits => value(&Absolute { limits: &Limits::default(), usage: Usage::default(), shape }),
        Resource::QuotaSet | Resource::QuotaClassSet => {
            let view = |id, usage| value(&QuotaView { id, limits: &Limits::default(), usage, shape });
            json!({
                "shown": view(Some("p"), None),
                "detail": view(Some("p"), Some(Usage::default())),
                "changed": view(None, None),
            })
        }
        Resource::Aggregate => {
            let aggregate = Aggregate {
                number: 1,
                uuid: uuid(7),
                name: "a".into(),
                metadata: [("availability_zone".to_owned(), "north".to_owned())].into(),
                hosts: vec!["node".into()],
                created_at: from_micros(AT),
                updated_at: None,
            };
            let view = |whole| value(&AggregateView { aggregate: &aggregate, whole, shape });
            json!({"shown": view(true), "made": view(false)})
        }
        Resource::Service => value(&ServiceView {
            binary: "nova-compute",
            ids: Ids::of_compute(&node_rows()),
            host: "node",
            zone: "nova",
            state: &node_rows().standing.compute,
            seen_at: from_micros(AT),
            shape,
        }),
        Resource::Hypervisor | Resource::HypervisorSummary => {
            let (rows, hardware) = (node_rows(), hardware());
            let detailed = resource == Resource::Hypervisor;
            let view = |servers| {
                value(&HypervisorView {
                    rows: &rows,
                    hardware: detailed.then_some(&hardware),
                    servers,
                    uptime: detailed.then_some(" 00:00:00 up  0:00"),
                    shape,
                })
            };
            json!({"plain": view(None), "empty": view(Some(&[])), "busy": view(Some(&[detail().server]))})
        }
        Resource::HypervisorList => value(&HypervisorPage {
            hypervisors: Vec::new(),
            links: Some([NextLink::to("http://cloud/v2.1/os-hypervisors?marker=1")]),
            shape,
        }),
        Resource::ActionSummary => value(&ActionView { action: &record(), events: None, shape }),
        Resource::ActionList => {
            let links = Some([NextLink::to("http://cloud/v2.1/servers/1/os-instance-actions?marker=req-1")]);
            value(&ActionPage { actions: &[record()], links, minor })
        }
        Resource::Action | Resource::ActionEvent => {
            json!({"admin": action(minor, true), "owner": action(minor, false)})
        }
        Resource::Interface => value(&InterfaceView { port: &port(), shape }),
        Resource::Migration => {
            let view = |hosts| value(&MigrationView { migration: &migration(), hosts, shape });
            json!({"admin": view(true), "manager": view(false)})
        }
        Resource::MigrationList => value(&MigrationPage {
            migrations: Vec::new(),
            links: Some([NextLink::to("http://cloud/v2.1/os-migrations?marker=1")]),
            shape,
        }),
    }
}

#[test]
fn bodies_at_every_version_where_they_change() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/compute"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_sort_maps(true);
    settings.bind(|| {
        for resource in Resource::ALL {
            let mut before = None;
            for minor in 1..=NEWEST {
                let now = body(resource, minor);
                if before.as_ref() != Some(&now) {
                    insta::assert_json_snapshot!(format!("{resource:?}.2.{minor:03}"), now);
                }
                before = Some(now);
            }
        }
    });
}

#[test]
fn every_response_change_changes_a_body() {
    for entry in LEDGER {
        for change in entry.changes {
            if let Change::Shown(resources, _)
            | Change::Hidden(resources, _)
            | Change::Reshaped(resources, _) = change
            {
                for resource in *resources {
                    assert_ne!(
                        body(*resource, entry.minor),
                        body(*resource, entry.minor - 1),
                        "2.{}: {resource:?}",
                        entry.minor
                    );
                }
            }
        }
    }
}

#[test]
fn every_request_change_changes_what_is_accepted() {
    for entry in LEDGER {
        let (old, new) = (entry.minor - 1, entry.minor);
        for change in entry.changes {
            match change {
                Change::Accepted(inputs, keys) | Change::Refused(inputs, keys) => {
                    each(inputs, keys, |input, key| {
                        assert_ne!(
                            changes::accepts(input, key, old),
                            changes::accepts(input, key, new),
                            "{key}"
                        );
                    });
                }
                Change::Required(inputs, keys) => each(inputs, keys, |input, key| {
                    let required = |minor| changes::required(input, minor).any(|name| name == key);
                    assert!(!required(old) && required(new), "{key}");
                }),
                Change::Restricted(inputs, keys) => each(inputs, keys, |input, key| {
                    assert_eq!(changes::form(input, key, old) + 1, changes::form(input, key, new), "{key}");
                }),
                Change::Closed(inputs) => {
                    for input in *inputs {
                        assert!(!changes::closed(*input, old) && changes::closed(*input, new), "{input:?}");
                    }
                }
                Change::Shown(..)
                | Change::Hidden(..)
                | Change::Reshaped(..)
                | Change::Operations
                | Change::Behaviour => {}
            }
        }
    }
}

fn each(inputs: &[Input], keys: &[&str], check: impl Fn(Input, &str)) {
    for input in inputs {
        for key in keys {
            check(*input, key);
        }
    }
}

/// Each has a test of its own, named here so that a new entry cannot go without.
#[test]
fn behaviour_changes_are_known() {
    let behaviours: Vec<u16> = LEDGER
        .iter()
        .filter(|entry| entry.changes.iter().any(|change| matches!(change, Change::Behaviour)))
        .map(|entry| entry.minor)
        .collect();
    // 5, 38, 83: tests::servers::filters_by_version; 7, 86: tests::making_and_changing_flavors;
    // 17: tests::power::each_action_has_its_states_and_records; 21: tests::servers::the_history_of_a_server
    // 34: tests::resize::moves_are_checked_and_find_no_host
    // 45: tests::server_images::an_image_is_named_by_location_and_later_by_body
    assert_eq!(behaviours, [5, 7, 17, 21, 34, 38, 45, 83, 86]);
}
