//! A sound installation with one server, one network and one image; then each rule broken once.

mod files;
mod networks;
mod records;
mod servers;

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
const MEMBERS: &str = "set members_66666666000040008000000000000001";
const GROUP_CHAIN: &str = "chain group_ingress_66666666000040008000000000000001";

/// The one table, as nft lists it.
fn guard() -> Guard {
    let list = include_str!("../packet_filter_table.txt");
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
        schema: 7,
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
