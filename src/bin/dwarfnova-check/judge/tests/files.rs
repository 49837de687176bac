//! Files of servers, images and bases.

use super::*;

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
    let several = |facts: &mut Facts, sizes: [u64; 2]| {
        facts.rows.servers[0].ephemeral_gib = 3;
        facts.rows.servers[0].disks = json!({
            "ephemeral": [{"size": 1}, {"size": 2, "bus": "scsi", "tag": "t"}], "swap": {},
        });
        for (number, gib) in sizes.into_iter().enumerate() {
            let name = format!("servers/{SERVER}/disk.eph{number}");
            add_file(facts, &name);
            facts.tree.entries.get_mut(&name).unwrap().bytes = gib << 30;
            reshape(facts, |shape| {
                let path = format!("/state/servers/{SERVER}/disk.eph{number}");
                let target = ["vdb", "sda"][number].to_owned();
                shape.disks.push(Disk { target, path, format: "raw".into(), ..shape.disks[0].clone() });
                shape.disks[1 + number].below.clear();
            });
        }
        for usage in &mut facts.rows.usage {
            usage.disk_mib += 3 * 1024;
        }
    };
    assert_eq!(broken(|facts| several(facts, [1, 2])), [].into());
    finds(7, |facts| several(facts, [1, 1]));
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
