//! Servers and their domains.

use super::*;

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
