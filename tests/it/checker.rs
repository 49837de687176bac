//! `dwarfnova-check` against a real installation: silent when all is well, and loud about what was broken on purpose.

use crate::harness::{Daemon, Options, domains, guest_image, virsh};
use crate::sandbox;
use reqwest::Method;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const NEWEST: [(&str, &str); 1] = [("openstack-api-version", "compute 2.37")];

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

/// Defines a domain that carries the mark of an owner, or none.
fn define(folder: &Path, name: &str, owner: Option<&str>) {
    let mark = owner.map_or_else(String::new, |owner| {
        format!("<metadata><d:instance xmlns:d='urn:dwarfnova:domain:1' owner='{owner}'/></metadata>")
    });
    let xml = format!(
        "<domain type='qemu'><name>{name}</name>{mark}<memory unit='MiB'>32</memory>\
         <os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"
    );
    let path = folder.join("foreign.xml");
    fs::write(&path, xml).unwrap();
    assert!(virsh(&["define", path.to_str().unwrap()]).is_some());
}

#[test]
fn the_checker_sees_what_is_planted() {
    sandbox!();
    let mut daemon = Daemon::start(&Options::default());
    let http = daemon.http();
    let image = http.image("guest", &guest_image());
    let wish = json!({"server": {"name": "v", "imageRef": image, "flavorRef": "42", "networks": "auto"}});
    let answer = http.send(Method::POST, "/v2.1/servers", &NEWEST, Some(&wish)).expect(202);
    let id = answer["server"]["id"].as_str().unwrap().to_owned();
    http.wait_for(&id, "ACTIVE", 60);
    daemon.check("a create");
    assert_eq!(daemon.look(&["--live"]), (0, String::new()));
    let nobody = "/var/tmp/there-is-no-such-folder";
    let output = Command::new(env!("CARGO_BIN_EXE_dwarfnova-check")).args(["--state-dir", nobody]).output();
    assert_eq!(output.unwrap().status.code(), Some(2));

    on_the_host(&daemon, &id, &image);
    daemon.kill();
    in_the_database(&daemon, &id, &image);
    // A guest that went off while nobody looked.
    let name = domains(&daemon.state()).remove(0);
    assert!(virsh(&["destroy", &name]).is_some());
    daemon.finds(2, &[], "a guest that is off");
    daemon.resume(&Options::default());
    let http = daemon.http();
    http.wait_for(&id, "SHUTOFF", 20);
    daemon.check("the daemon saw it");
    let disk = daemon.state().join(format!("servers/{id}/disk"));
    run("qemu-img", &["resize", "-q", "-f", "qcow2", disk.to_str().unwrap(), "+1M"]);
    daemon.finds(7, &["--quick"], "a larger disk");
    http.send(Method::DELETE, &format!("/v2.1/servers/{id}"), &[], None).expect(204);
    http.wait_gone(&id, 60);
    daemon.check("a delete");
    fs::create_dir(daemon.state().join(format!("servers/{id}"))).unwrap();
    daemon.finds(4, &[], "the folder of a deleted server");
}

/// What can be broken while the daemon runs, without it noticing, and mended again.
fn on_the_host(daemon: &Daemon, id: &str, image: &str) {
    let state = daemon.state();
    let connection = rusqlite::Connection::open(state.join("dwarfnova.db")).unwrap();
    let value = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    let installation = value("SELECT value FROM setting WHERE key = 'installation'");
    let (port, network) = (value("SELECT id FROM port"), value("SELECT id FROM network"));
    let group = value("SELECT security_group_id FROM port_security_group");
    daemon.finds(18, &[], "two processes with the database");
    drop(connection);
    daemon.check("there is one again");

    define(&state, "foreign", None);
    daemon.check("a domain of somebody else");
    define(&state, "marked", Some(&installation));
    daemon.finds(3, &[], "a foreign domain with our mark");
    daemon.finds(3, &["--live"], "a foreign domain with our mark");
    for name in ["foreign", "marked"] {
        assert!(virsh(&["undefine", name]).is_some());
    }
    fs::remove_file(state.join("foreign.xml")).unwrap();

    let stray = state.join(format!("servers/{id}/junk"));
    fs::write(&stray, "x").unwrap();
    daemon.finds(5, &[], "a stray file");
    fs::remove_file(stray).unwrap();

    let base = state.join(format!("bases/{image}"));
    let mode = fs::metadata(&base).unwrap().permissions();
    fs::set_permissions(&base, fs::Permissions::from_mode(0o640)).unwrap();
    daemon.finds(6, &[], "a base that can be written");
    fs::set_permissions(&base, mode).unwrap();

    let table = format!("dwarfnova_{}_{}", &installation[..8], &network[..8]);
    for (map, way) in [("senders", "egress"), ("receivers", "ingress")] {
        let chain = format!("port_{way}_{}", port.replace('-', ""));
        let element = format!("{{ \"tap{}\" : goto {chain} }}", &port[..11]);
        run("nft", &["delete", "element", "bridge", &table, map, &element]);
        daemon.finds(11, &[], "a port that nobody watches");
        run("nft", &["add", "element", "bridge", &table, map, &element]);
        daemon.check("the port is watched again");
        run("nft", &["insert", "rule", "bridge", &table, &chain, "accept"]);
        daemon.finds(11, &[], "a port for which everything passes");
        run("nft", &["flush", "chain", "bridge", &table, &chain]);
        let first = if way == "egress" { "honest" } else { "arriving" };
        let group = format!("group_{way}_{}", group.replace('-', ""));
        for rule in [&["jump", first][..], &["jump", group.as_str()], &["drop"]] {
            let place = ["add", "rule", "bridge", table.as_str(), chain.as_str()];
            run("nft", &[&place[..], rule].concat());
        }
        daemon.check("the port's rules are back");
    }

    let folder = format!("/var/lib/libvirt/dnsmasq/dwarfnova-{}.reservations", &network[..8]);
    let file = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let content = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    daemon.finds(10, &[], "a lost reservation");
    fs::write(&file, content).unwrap();
    run("ip", &["tuntap", "add", "tap-stray", "mode", "tap"]);
    run("ip", &["link", "set", "tap-stray", "master", &format!("dn-{}", &network.replace('-', "")[..11])]);
    daemon.finds(19, &[], "a device of nobody on the bridge");
    run("ip", &["link", "delete", "tap-stray"]);

    let name = domains(&state).remove(0);
    assert!(virsh(&["setvcpus", &name, "1", "--config"]).is_some());
    assert!(virsh(&["setmaxmem", &name, "262144", "--config"]).is_some());
    daemon.finds(8, &[], "a guest that will have more memory");
    assert!(virsh(&["setmaxmem", &name, "131072", "--config"]).is_some());
    assert!(virsh(&["setmem", &name, "131072", "--config"]).is_some());
    daemon.check("all was mended");
}

/// What can be broken in the database of a daemon that does not run. Each time it is put back as it was.
fn in_the_database(daemon: &Daemon, id: &str, image: &str) {
    let database = daemon.state().join("dwarfnova.db");
    let open = || rusqlite::Connection::open(&database).unwrap();
    // Closing it takes the log into the file.
    open().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    daemon.check("the daemon died");
    let sound = fs::read(&database).unwrap();
    for (invariant, sql) in [
        (1, format!("UPDATE server SET rescue = '{{}}' WHERE id = '{id}'")),
        (4, format!("UPDATE server SET vm_state = 'deleted', deleted_at = 1 WHERE id = '{id}'")),
        (5, format!("UPDATE server SET config_drive = 1 WHERE id = '{id}'")),
        (7, format!("UPDATE server SET disk_gib = disk_gib + 1 WHERE id = '{id}'")),
        (8, format!("UPDATE server SET vcpus = vcpus + 1 WHERE id = '{id}'")),
        (9, "DELETE FROM port".into()),
        (10, "UPDATE server SET hostname = 'another'".into()),
        (11, "UPDATE port_address SET ip_address = '10.255.255.254'".into()),
        (12, "UPDATE server_usage SET cores = 7 WHERE scope = 'project'".into()),
        (13, "UPDATE server_usage SET cores = 7 WHERE scope = 'host'".into()),
        (14, format!("UPDATE server SET task_state = 'powering-off' WHERE id = '{id}'")),
        (14, "UPDATE task SET status = 'stuck'".into()),
        (15, format!("UPDATE server SET vm_state = 'error' WHERE id = '{id}'")),
        (15, "UPDATE server_action_event SET finished_at = NULL".into()),
        (17, format!("UPDATE image SET size_bytes = 1 WHERE id = '{image}'")),
        (17, format!("UPDATE image SET sha512 = 'x' WHERE id = '{image}'")),
        (
            17,
            format!(
                "UPDATE image SET status = 'queued' WHERE id = '{image}'; UPDATE server SET image_id = NULL"
            ),
        ),
        (18, "PRAGMA user_version = 99".into()),
        (18, "PRAGMA foreign_keys = 0; DELETE FROM network".into()),
    ] {
        open().execute_batch(&sql).unwrap();
        daemon.finds(invariant, &[], &sql);
        fs::write(&database, &sound).unwrap();
    }
    daemon.check("the database was put back");
}
