//! A sound installation with one server, one network and one image; then each rule broken once.

use super::*;
use crate::facts::*;
use serde_json::json;

const SERVER: &str = "11111111-0000-4000-8000-000000000001";
const GONE: &str = "11111111-0000-4000-8000-000000000002";
const NETWORK: &str = "22222222-3333-4000-8000-000000000001";
const PORT: &str = "33333333-4444-4000-8000-000000000001";
const GROUP: &str = "66666666-0000-4000-8000-000000000001";
const IMAGE: &str = "44444444-0000-4000-8000-000000000001";
const OURS: &str = "55555555-0000-4000-8000-000000000001";
const MAC: &str = "fa:16:3e:00:00:01";
const ADDRESS: &str = "10.71.71.5";
const HOST_NAME: &str = "dwarfnova-22222222";
const NOW: i64 = 1_700_000_000_000_000;

fn server() -> Server {
    Server {
        number: 1,
        id: SERVER.into(),
        project: "p".into(),
        hostname: "web".into(),
        vm_state: "active".into(),
        power_state: 1,
        host: Some("node".into()),
        image: Some(IMAGE.into()),
        image_format: Some("qcow2".into()),
        vcpus: 1,
        ram_mib: 64,
        disk_gib: 1,
        launched: true,
        ..Server::default()
    }
}

fn file(bytes: u64, mode: u32) -> Entry {
    Entry { kind: Kind::File, bytes, mode, ..Entry::default() }
}

fn overlay(on: &str, format: &str) -> Entry {
    let (backing, backing_format) = (Some(on.to_owned()), Some(format.to_owned()));
    Entry {
        qcow2: Some(Qcow2 { virtual_bytes: 1 << 30, backing, backing_format, external_data: false }),
        ..file(196_616, 0o600)
    }
}

fn shape() -> Shape {
    Shape {
        memory_kib: 64 * 1024,
        vcpus: 1,
        disks: vec![Disk {
            target: "vda".into(),
            path: format!("/state/servers/{SERVER}/disk"),
            format: "qcow2".into(),
            below: vec![format!("/state/bases/{IMAGE}")],
            ..Disk::default()
        }],
        nics: vec![Nic {
            mac: MAC.into(),
            network: Some(HOST_NAME.into()),
            tap: Some("tap33333333-44".into()),
        }],
        endpoints: vec![format!("/state/servers/{SERVER}/console.sock")],
    }
}

const TABLE: &str = "dwarfnova_55555555_22222222";
const PORT_CHAIN: &str = "chain port_ingress_33333333444440008000000000000001";
const GROUP_CHAIN: &str = "chain group_ingress_66666666000040008000000000000001";

/// The one table, as nft lists it.
fn guard() -> Guard {
    let list = include_str!("packet_filter_table.txt");
    crate::machine::read_guards(list).remove(TABLE).unwrap_or_default()
}

fn group() -> Group {
    let rule =
        |direction: &str| Rule { direction: direction.into(), ethertype: "IPv4".into(), ..Rule::default() };
    Group {
        id: GROUP.into(),
        stateful: true,
        rules: vec![
            rule("egress"),
            Rule { ethertype: "IPv6".into(), ..rule("egress") },
            Rule { remote_group: Some(GROUP.into()), ..rule("ingress") },
            Rule {
                protocol: Some("tcp".into()),
                port_min: Some(22),
                port_max: Some(22),
                remote_prefix: Some("192.0.2.0/24".into()),
                ..rule("ingress")
            },
        ],
    }
}

fn rows() -> Rows {
    let gone = Server {
        number: 2,
        id: GONE.into(),
        vm_state: "deleted".into(),
        host: None,
        deleted_at: Some(NOW),
        ..server()
    };
    let event = Event {
        event: "compute__do_build_and_run_instance".into(),
        started_at: 10,
        finished_at: Some(20),
        result: Some("Success".into()),
    };
    let usage = |scope: &str, id: &str| Usage {
        scope: scope.into(),
        id: id.into(),
        instances: 1,
        cores: 1,
        ram_mib: 64,
        disk_mib: 1024,
    };
    Rows {
        installation: OURS.into(),
        schema: 4,
        servers: vec![server(), gone],
        ports: vec![Port {
            id: PORT.into(),
            network: NETWORK.into(),
            mac: MAC.into(),
            addresses: vec![ADDRESS.parse().unwrap()],
            device: SERVER.into(),
            device_owner: "compute:nova".into(),
            nic_index: 0,
            bound: true,
            secured: true,
            pairs: vec![("00:00:5e:00:01:01".into(), "10.71.71.4/32".parse().unwrap())],
            groups: vec![GROUP.into()],
        }],
        groups: vec![group()],
        subnets: vec![Subnet {
            network: NETWORK.into(),
            cidr: "10.71.71.0/24".into(),
            gateway: Some("10.71.71.1".parse().unwrap()),
            dhcp: true,
        }],
        images: vec![Image {
            id: IMAGE.into(),
            status: "active".into(),
            file_format: Some("qcow2".into()),
            size: Some(4096),
            sha512: Some("abc".into()),
            deleted_at: None,
        }],
        actions: vec![Action {
            number: 1,
            server: SERVER.into(),
            action: "create".into(),
            message: None,
            started_at: 10,
            events: vec![event],
        }],
        usage: vec![usage("project", "p"), usage("host", "node")],
        ..Rows::default()
    }
}

fn tree() -> Tree {
    let folder = Entry { kind: Kind::Folder, mode: 0o710, ..Entry::default() };
    let socket = Entry { kind: Kind::Socket, ..Entry::default() };
    let base = Entry { qcow2: Some(Qcow2::default()), ..file(4096, 0o440) };
    let entries = [
        ("images".into(), folder.clone()),
        ("bases".into(), folder.clone()),
        ("staging".into(), folder.clone()),
        ("servers".into(), folder.clone()),
        ("dwarfnova.db".into(), file(4096, 0o600)),
        (format!("images/{IMAGE}"), base.clone()),
        (format!("bases/{IMAGE}"), base),
        (format!("servers/{SERVER}"), folder),
        (format!("servers/{SERVER}/disk"), overlay(&format!("/state/bases/{IMAGE}"), "qcow2")),
        (format!("servers/{SERVER}/console.log"), file(0, 0o600)),
        (format!("servers/{SERVER}/console.sock"), socket),
    ];
    Tree {
        root: "/state".into(),
        entries: entries.into(),
        digests: [(IMAGE.into(), "abc".into())].into(),
        ..Tree::default()
    }
}

fn sound() -> Facts {
    let reservation = ("fa-16-3e-00-00-01".to_owned(), format!("{MAC},{ADDRESS},web\n"));
    let host = Host {
        bridged: true,
        domains: vec![Domain {
            uuid: SERVER.into(),
            name: "instance-00000001".into(),
            owner: Some(OURS.into()),
            persistent: true,
            power: Power::Running,
            has_managed_save: false,
            stored: shape(),
            live: Some(shape()),
        }],
        networks: vec![Network {
            name: HOST_NAME.into(),
            uuid: NETWORK.into(),
            owner: Some(OURS.into()),
            active: true,
            persistent: true,
            bridge: "dn-22222222333".into(),
            address: Some(("10.71.71.1".parse().unwrap(), 24)),
            dnsmasq: vec![format!("dhcp-hostsdir=/var/lib/libvirt/dnsmasq/{HOST_NAME}.reservations")],
        }],
        guards: [(TABLE.into(), guard())].into(),
        reservations: [(HOST_NAME.into(), [reservation].into())].into(),
        leases: [(
            HOST_NAME.into(),
            vec![Lease { mac: MAC.into(), address: ADDRESS.into(), expires: i64::MAX }],
        )]
        .into(),
        dnsmasq: [(HOST_NAME.into(), 1)].into(),
        bridges: [("dn-22222222333".into(), ["tap33333333-44".into()].into())].into(),
        openers: [(100, false)].into(),
        ..Host::default()
    };
    Facts { rows: rows(), tree: tree(), host, now: NOW }
}

/// Breaks something and tells which invariants are found broken.
fn broken(how: impl FnOnce(&mut Facts)) -> BTreeSet<u8> {
    let mut facts = sound();
    how(&mut facts);
    settled(&facts).into_iter().map(|violation| violation.invariant).collect()
}

#[track_caller]
fn finds(invariant: u8, how: impl FnOnce(&mut Facts)) {
    let found = broken(how);
    assert!(found.contains(&invariant), "I{invariant} is not in {found:?}");
}

fn domain(facts: &mut Facts) -> &mut Domain {
    &mut facts.host.domains[0]
}

/// Changes what is stored and what is live alike.
fn reshape(facts: &mut Facts, how: impl Fn(&mut Shape)) {
    let domain = domain(facts);
    how(&mut domain.stored);
    how(domain.live.as_mut().unwrap());
}

fn add_file(facts: &mut Facts, name: &str) {
    facts.tree.entries.insert(name.into(), file(1, 0o600));
}

#[test]
fn a_sound_installation_is_sound() {
    assert_eq!(settled(&sound()), BTreeSet::new());
    assert_eq!(live(&sound()), BTreeSet::new());
}

#[test]
fn i1_domains_of_states() {
    finds(1, |facts| facts.host.domains.clear());
    finds(1, |facts| domain(facts).persistent = false);
    finds(1, |facts| facts.rows.servers[0].vm_state = "shelved_offloaded".into());
    finds(1, |facts| facts.rows.servers[0].vm_state = "building".into());
    finds(1, |facts| facts.rows.servers[0].rescue = Some(json!({})));
    finds(1, |facts| facts.rows.servers[0].launched = false);
    finds(1, |facts| {
        let server = &mut facts.rows.servers[0];
        (server.vm_state, server.host) = ("error".into(), None);
    });
}

#[test]
fn i2_power_of_states() {
    for (vm_state, power, saved, power_state, fine) in [
        ("active", Power::Running, false, 1, true),
        ("active", Power::PausedOnIoError, false, 3, true),
        ("active", Power::Off, false, 4, false),
        ("active", Power::Paused, false, 3, false),
        ("active", Power::Running, false, 4, false),
        ("stopped", Power::Off, false, 4, true),
        ("stopped", Power::Crashed, false, 6, true),
        ("stopped", Power::Running, false, 1, false),
        ("stopped", Power::Off, true, 4, false),
        ("paused", Power::Paused, false, 3, true),
        ("paused", Power::Running, false, 1, false),
        ("suspended", Power::Off, true, 4, true),
        ("suspended", Power::Off, false, 4, false),
        ("soft-delete", Power::Running, false, 1, false),
    ] {
        let found = broken(|facts| {
            let server = &mut facts.rows.servers[0];
            (server.vm_state, server.power_state) = (vm_state.into(), power_state);
            server.soft_deleted = vm_state == "soft-delete";
            (domain(facts).power, domain(facts).has_managed_save) = (power, saved);
        });
        assert_eq!(found.is_empty(), fine, "{vm_state} {power:?} {power_state}: {found:?}");
        assert!(fine || found.contains(&2), "{vm_state} {power:?} {power_state}: {found:?}");
    }
}

#[test]
fn i3_foreign_domains_and_networks() {
    let stranger = || Domain { uuid: "other".into(), name: "stranger".into(), ..Domain::default() };
    assert_eq!(broken(|facts| facts.host.domains.push(stranger())), BTreeSet::new(), "others' are let alone");
    let marked = |facts: &mut Facts| {
        facts.host.domains.push(Domain { owner: Some(OURS.into()), ..stranger() });
    };
    finds(3, marked);
    let mut facts = sound();
    marked(&mut facts);
    assert_eq!(live(&facts).len(), 1);
    finds(3, |facts| domain(facts).owner = None);
    finds(3, |facts| domain(facts).name = "instance-00000009".into());
    finds(3, |facts| {
        let owner = Some(OURS.into());
        facts.host.networks.push(Network { uuid: "x".into(), owner, ..Network::default() });
    });
}

#[test]
fn i4_remains() {
    finds(4, |facts| add_file(facts, &format!("servers/{GONE}")));
    finds(4, |facts| add_file(facts, &format!("servers/{GONE}_del")));
    finds(4, |facts| facts.rows.ports[0].device = GONE.into());
    finds(4, |facts| facts.rows.console_tokens.push(GONE.into()));
    finds(4, |facts| {
        let save = vec!["/var/lib/libvirt/qemu/save/instance-00000002.save".into()];
        facts.host.leftovers.insert("instance-00000002".into(), save);
    });
    finds(4, |facts| {
        let domain = Domain { uuid: GONE.into(), name: "instance-00000002".into(), ..domain(facts).clone() };
        facts.host.domains.push(domain);
    });
}

#[test]
fn i5_files() {
    finds(5, |facts| add_file(facts, &format!("servers/{SERVER}/disk.new")));
    finds(5, |facts| add_file(facts, "servers/nobody"));
    finds(5, |facts| add_file(facts, &format!("servers/{SERVER}_del")));
    finds(5, |facts| add_file(facts, &format!("staging/{IMAGE}.0")));
    finds(5, |facts| add_file(facts, "bases/nobody"));
    finds(5, |facts| drop(facts.tree.entries.remove("staging")));
    finds(5, |facts| drop(facts.tree.entries.remove(&format!("servers/{SERVER}/disk"))));
    finds(5, |facts| facts.rows.servers[0].config_drive = true);
    finds(5, |facts| facts.tree.entries.get_mut("dwarfnova.db").unwrap().kind = Kind::Other);
    finds(5, |facts| {
        let server = &mut facts.rows.servers[0];
        (server.vm_state, server.host) = ("error".into(), None);
    });
    // What a rescue leaves behind, and what a layer below the disk is.
    finds(5, |facts| add_file(facts, &format!("servers/{SERVER}/disk.rescue")));
    finds(5, |facts| add_file(facts, &format!("servers/{SERVER}/disk.before-1")));
}

fn header(facts: &mut Facts) -> &mut Qcow2 {
    facts.tree.entries.get_mut(&format!("servers/{SERVER}/disk")).unwrap().qcow2.as_mut().unwrap()
}

#[test]
fn i6_overlays() {
    finds(6, |facts| header(facts).backing = Some("/etc/passwd".into()));
    finds(6, |facts| header(facts).backing = Some("/state/bases/lost".into()));
    finds(6, |facts| header(facts).backing = Some(format!("/state/servers/{SERVER}/disk")));
    finds(6, |facts| header(facts).backing = Some("/state/dwarfnova.db".into()));
    finds(6, |facts| header(facts).external_data = true);
    finds(6, |facts| {
        let words = "1 error was found".into();
        facts.tree.unclean.insert(format!("servers/{SERVER}/disk"), words);
    });
    let base = format!("bases/{IMAGE}");
    finds(6, |facts| facts.tree.entries.get_mut(&base).unwrap().mode = 0o644);
    finds(6, |facts| {
        let header = facts.tree.entries.get_mut(&base).unwrap().qcow2.as_mut().unwrap();
        header.backing = Some("/etc/passwd".into());
    });
    let pile = |facts: &mut Facts, height: u32| {
        let disk = |number: u32| {
            if number == 0 { "disk".to_owned() } else { format!("disk.before-{number}") }
        };
        for number in 0..=height {
            let on = if number == height {
                format!("/state/{base}")
            } else {
                format!("/state/servers/{SERVER}/{}", disk(number + 1))
            };
            let name = format!("servers/{SERVER}/{}", disk(number));
            facts.tree.entries.insert(name, overlay(&on, "qcow2"));
        }
        let below = (1..=height).map(|number| format!("/state/servers/{SERVER}/{}", disk(number)));
        let below: Vec<String> = below.chain([format!("/state/{base}")]).collect();
        reshape(facts, |shape| shape.disks[0].below = below.clone());
    };
    assert_eq!(broken(|facts| pile(facts, 5)), [].into(), "what resizes leave");
    finds(6, |facts| pile(facts, 6));
}

#[test]
fn i7_sizes_and_formats() {
    finds(7, |facts| header(facts).virtual_bytes += 512);
    finds(7, |facts| header(facts).backing_format = None);
    finds(7, |facts| header(facts).backing_format = Some("raw".into()));
    finds(7, |facts| facts.rows.servers[0].image = Some("another".into()));
    finds(7, |facts| facts.tree.entries.get_mut(&format!("servers/{SERVER}/disk")).unwrap().qcow2 = None);
    finds(7, |facts| {
        facts.rows.servers[0].swap_mib = 64;
        add_file(facts, &format!("servers/{SERVER}/disk.swap"));
    });
}

#[test]
fn i8_shapes() {
    finds(8, |facts| domain(facts).stored.memory_kib += 1);
    finds(8, |facts| domain(facts).stored.disks.clear());
    finds(8, |facts| reshape(facts, |shape| shape.memory_kib += 1));
    finds(8, |facts| reshape(facts, |shape| shape.vcpus += 1));
    finds(8, |facts| reshape(facts, |shape| shape.disks[0].path += "x"));
    finds(8, |facts| reshape(facts, |shape| shape.disks[0].format = "raw".into()));
    finds(8, |facts| reshape(facts, |shape| shape.disks[0].below.clear()));
    finds(8, |facts| reshape(facts, |shape| shape.nics[0].tap = None));
    finds(8, |facts| reshape(facts, |shape| shape.nics[0].network = Some("default".into())));
}

#[test]
fn i8_and_i5_rescues() {
    let rescued = |facts: &mut Facts, properties: serde_json::Value, order: [&str; 2]| {
        let server = &mut facts.rows.servers[0];
        server.vm_state = "rescued".into();
        server.rescue =
            Some(json!({"image_id": IMAGE, "image_format": "qcow2", "image_properties": properties}));
        let folder = format!("servers/{SERVER}");
        facts
            .tree
            .entries
            .insert(format!("{folder}/disk.rescue"), overlay(&format!("/state/bases/{IMAGE}"), "qcow2"));
        add_file(facts, &format!("{folder}/disk.config.rescue"));
        reshape(facts, |shape| {
            let root = shape.disks[0].clone();
            shape.disks = order
                .iter()
                .zip(["vda", "vdb"])
                .map(|(name, target)| Disk {
                    path: format!("/state/{folder}/{name}"),
                    target: target.into(),
                    ..root.clone()
                })
                .collect();
            if order[0] == "disk.rescue" {
                shape.disks.push(Disk {
                    target: "vdc".into(),
                    path: format!("/state/{folder}/disk.config.rescue"),
                    format: "raw".into(),
                    ..Disk::default()
                });
            }
        });
    };
    let usual = ["disk.rescue", "disk"];
    assert_eq!(broken(|facts| rescued(facts, json!({}), usual)), [].into());
    let device = json!({"hw_rescue_device": "disk"});
    assert_eq!(broken(|facts| rescued(facts, device.clone(), ["disk", "disk.rescue"])), [].into());
    assert_eq!(broken(|facts| rescued(facts, device, usual)), [8].into());
    finds(5, |facts| {
        rescued(facts, json!({}), usual);
        facts.tree.entries.remove(&format!("servers/{SERVER}/disk.config.rescue"));
    });
}

#[test]
fn i9_addresses() {
    let double = |facts: &mut Facts, how: fn(&mut Port)| {
        let mut port = Port { id: "other".into(), device: String::new(), ..facts.rows.ports[0].clone() };
        port.device_owner.clear();
        how(&mut port);
        facts.rows.ports.push(port);
    };
    finds(9, |facts| double(facts, |port| port.addresses.clear()));
    finds(9, |facts| double(facts, |port| port.mac = "fa:16:3e:00:00:02".into()));
    finds(9, |facts| facts.rows.ports[0].device = "nobody".into());
    finds(9, |facts| facts.rows.ports.clear());
    finds(9, |facts| reshape(facts, |shape| shape.nics[0].mac = "fa:16:3e:00:00:09".into()));
    finds(9, |facts| {
        let (uuid, name) = ("other".into(), "a-stranger".into());
        let stranger = Domain { uuid, name, owner: None, ..domain(facts).clone() };
        facts.host.domains.insert(0, stranger);
    });
}

#[test]
fn i10_networks() {
    finds(10, |facts| facts.host.networks.clear());
    finds(10, |facts| facts.host.networks[0].active = false);
    finds(10, |facts| facts.host.networks[0].address = None);
    finds(10, |facts| facts.host.networks[0].dnsmasq.clear());
    finds(10, |facts| facts.host.dnsmasq.clear());
    finds(10, |facts| *facts.host.dnsmasq.get_mut(HOST_NAME).unwrap() = 2);
    finds(10, |facts| facts.host.reservations.clear());
    finds(10, |facts| facts.rows.servers[0].hostname = "db".into());
    finds(10, |facts| {
        facts.host.reservations.get_mut(HOST_NAME).unwrap().insert("stray".into(), "x".into());
    });
    finds(10, |facts| facts.host.leases.get_mut(HOST_NAME).unwrap()[0].mac = "fa:16:3e:00:00:07".into());
}

#[test]
fn i11_the_packet_filter() {
    fn block<'g>(facts: &'g mut Facts, name: &str) -> &'g mut Vec<String> {
        facts.host.guards.get_mut(TABLE).unwrap().get_mut(name).unwrap()
    }
    finds(11, |facts| facts.host.guards.clear());
    finds(11, |facts| drop(facts.host.guards.insert("dwarfnova_55555555".into(), Guard::default())));
    for map in ["map senders", "map receivers", "set macs", "set addresses"] {
        finds(11, |facts| drop(block(facts, map).pop()));
    }
    finds(11, |facts| block(facts, "set addresses").push("element \"tap33333333-44\" . 10.71.71.9".into()));
    finds(11, |facts| block(facts, "chain sent")[0] = "type filter hook input priority -300;".into());
    finds(11, |facts| drop(block(facts, "chain received").pop()));
    finds(11, |facts| drop(block(facts, "chain honest").remove(0)));
    finds(11, |facts| block(facts, "chain honest").swap(0, 1));
    finds(11, |facts| drop(block(facts, PORT_CHAIN).pop()));
    finds(11, |facts| drop(block(facts, PORT_CHAIN).remove(1)));
    finds(11, |facts| block(facts, GROUP_CHAIN).push("accept".into()));
    finds(11, |facts| block(facts, GROUP_CHAIN)[0] = "ip saddr 10.71.71.4-10.71.71.6 goto keep".into());
    finds(11, |facts| facts.rows.ports[0].bound = false);
    finds(11, |facts| facts.rows.ports[0].secured = false);
    finds(11, |facts| facts.rows.ports[0].pairs.clear());
    finds(11, |facts| facts.rows.ports[0].groups.clear());
    finds(11, |facts| facts.rows.groups[0].stateful = false);
    finds(11, |facts| drop(facts.rows.groups[0].rules.pop()));

    // What means nothing is not looked at.
    let mut same = sound();
    block(&mut same, GROUP_CHAIN).reverse();
    block(&mut same, GROUP_CHAIN)[1] = "ip saddr { 10.71.71.4, 10.71.71.5 } goto keep".into();
    assert_eq!(settled(&same), BTreeSet::new());
}

#[test]
fn i12_and_i13_counters() {
    finds(12, |facts| facts.rows.usage[0].cores = 2);
    finds(12, |facts| drop(facts.rows.usage.remove(0)));
    finds(12, |facts| {
        facts.rows.usage.push(Usage {
            scope: "project".into(),
            id: "q".into(),
            instances: -1,
            ..Usage::default()
        });
    });
    finds(13, |facts| facts.rows.usage[1].ram_mib = 0);
    let old = json!({"vcpus": 3, "ram_mib": 32, "disk_gib": 2, "ephemeral_gib": 1, "swap_mib": 5});
    finds(13, |facts| facts.rows.servers[0].resize = Some(json!({"old_flavor": old})));
}

/// A resize that waits is paid for by the host alone, a server that can be restored by no project.
#[test]
fn what_waits_is_counted_where_it_is() {
    let found = broken(|facts| {
        let old = json!({"vcpus": 3, "ram_mib": 32, "disk_gib": 2, "ephemeral_gib": 1, "swap_mib": 5});
        facts.rows.servers[0].resize = Some(json!({"old_flavor": old}));
        facts.rows.servers[0].vm_state = "soft-delete".into();
        let host = &mut facts.rows.usage[1];
        (host.cores, host.disk_mib) = (host.cores + 2, host.disk_mib + 3 * 1024 + 5);
        facts.rows.usage[0] = Usage { scope: "project".into(), id: "p".into(), ..Usage::default() };
    });
    assert!(!found.contains(&12) && !found.contains(&13), "{found:?}");
}

#[test]
fn i14_tasks() {
    let task = |workflow: &str, subject: &str, status: &str| Task {
        id: 1,
        workflow: workflow.into(),
        subject: subject.into(),
        status: status.into(),
        updated_at: NOW,
        ..Task::default()
    };
    finds(14, |facts| facts.rows.servers[0].task_state = Some("powering-off".into()));
    finds(14, |facts| facts.rows.tasks.push(task("server_stop", "nobody", "running")));
    finds(14, |facts| facts.rows.tasks.push(task("server_stop", SERVER, "stuck")));
    finds(14, |facts| {
        facts.rows.tasks.push(Task { updated_at: 0, ..task("server_stop", SERVER, "running") });
    });
    assert_eq!(broken(|facts| facts.rows.tasks.push(task("server_stop", SERVER, "running"))), [].into());
}

#[test]
fn i15_records() {
    finds(15, |facts| facts.rows.servers[0].vm_state = "error".into());
    finds(15, |facts| facts.rows.actions[0].server = "nobody".into());
    let event = |facts: &mut Facts, how: fn(&mut Event)| how(&mut facts.rows.actions[0].events[0]);
    finds(15, |facts| event(facts, |event| event.finished_at = None));
    finds(15, |facts| event(facts, |event| event.result = None));
    finds(15, |facts| event(facts, |event| event.result = Some("Error".into())));
    finds(15, |facts| event(facts, |event| event.started_at = 5));
    finds(15, |facts| event(facts, |event| event.finished_at = Some(5)));
}

#[test]
fn i17_images() {
    let status = |facts: &mut Facts, status: &str| facts.rows.images[0].status = status.into();
    let bytes = format!("images/{IMAGE}");
    finds(17, |facts| drop(facts.tree.entries.remove(&bytes)));
    finds(17, |facts| facts.tree.entries.get_mut(&bytes).unwrap().bytes = 1);
    finds(17, |facts| facts.tree.digests.insert(IMAGE.into(), "abd".into()).map(drop).unwrap());
    finds(17, |facts| status(facts, "saving"));
    finds(17, |facts| {
        facts.rows.servers[0].image = None;
        status(facts, "queued");
    });
    finds(17, |facts| {
        facts.rows.servers[0].image = None;
        status(facts, "deleted");
        facts.rows.images[0].deleted_at = Some(5);
        facts.rows.servers[1].deleted_at = Some(5);
    });
    finds(17, |facts| add_file(facts, "images/nobody"));
}

#[test]
fn i18_the_database() {
    finds(18, |facts| facts.rows.damage.push("row 1 missing from index".into()));
    finds(18, |facts| facts.rows.schema = 99);
    finds(18, |facts| facts.rows.wal_bytes = 1 << 30);
    finds(18, |facts| facts.rows.lost_tokens = 1);
    finds(18, |facts| facts.host.openers.insert(101, false).map_or((), drop));
    finds(18, |facts| facts.host.openers.insert(100, true).map_or((), drop));
}

#[test]
fn i19_the_host() {
    let process = |command: &[&str]| Process {
        pid: 7,
        parent: 100,
        zombie: false,
        command: command.iter().map(|word| (*word).to_owned()).collect(),
    };
    finds(19, |facts| facts.host.processes.push(Process { zombie: true, ..process(&[]) }));
    finds(19, |facts| facts.host.processes.push(process(&["qemu-img", "convert", "/state/images/x"])));
    finds(19, |facts| {
        let words =
            ["/usr/bin/qemu-system-x86_64", "-uuid", "nobody", "-drive", "file=/state/servers/x/disk"];
        facts.host.processes.push(process(&words));
    });
    finds(19, |facts| facts.host.mounts.push("/dev/loop0 on /state/images/x".into()));
    finds(19, |facts| facts.host.bridges.get_mut("dn-22222222333").unwrap().extend(["tap-stray".into()]));
    finds(19, |facts| {
        let twin = Domain { name: "instance-00000007".into(), uuid: "x".into(), ..domain(facts).clone() };
        facts.host.domains.push(twin);
    });
}
