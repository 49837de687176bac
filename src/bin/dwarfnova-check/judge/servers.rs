//! Servers against domains.

use super::{Verdict, is_whole};
use crate::facts::{Disk, Domain, Facts, Power, Server};
use crate::xml;
use std::collections::{BTreeMap, BTreeSet};

const NO_STATE: i64 = 0;
const RUNNING: i64 = 1;
const PAUSED: i64 = 3;
const SHUT_DOWN: i64 = 4;
const CRASHED: i64 = 6;

pub fn live(facts: &Facts, verdict: &mut Verdict) {
    for domain in ours(facts) {
        match facts.rows.server(&domain.uuid) {
            None => verdict.add(3, &domain.name, "the domain carries our mark and belongs to no server"),
            Some(server) if server.deleted_at.is_some() => {
                verdict.add(4, &server.id, format!("deleted, but its domain {} is there", domain.name));
            }
            Some(server) => verdict.unless(server.domain_name() == domain.name, 3, &server.id, || {
                format!("its domain is called {}, not {}", domain.name, server.domain_name())
            }),
        }
    }
}

fn ours(facts: &Facts) -> impl Iterator<Item = &Domain> {
    let installation = facts.rows.installation.as_str();
    facts.host.domains.iter().filter(move |domain| domain.owner.as_deref() == Some(installation))
}

pub fn settled(facts: &Facts, verdict: &mut Verdict) {
    for server in facts.rows.living() {
        let domain = facts.host.domain(&server.id);
        if let Some(domain) = domain {
            let marked = domain.owner.as_ref() == Some(&facts.rows.installation);
            verdict.unless(marked, 3, &server.id, || format!("{} does not carry our mark", domain.name));
            verdict.unless(domain.persistent, 1, &server.id, || format!("{} is transient", domain.name));
        }
        memory_of(server, verdict);
        if is_whole(server) {
            let Some(domain) = domain else {
                verdict.add(1, &server.id, format!("{} without a domain", server.vm_state));
                continue;
            };
            verdict.unless(server.host.is_some(), 1, &server.id, || {
                format!("{} and on no host", server.vm_state)
            });
            verdict
                .unless(server.launched, 1, &server.id, || format!("{} and never launched", server.vm_state));
            power(server, domain, verdict);
            shape(facts, server, domain, verdict);
        } else if server.vm_state == "shelved_offloaded" {
            verdict.unless(domain.is_none(), 1, &server.id, || "offloaded, but has a domain".into());
            verdict.unless(server.host.is_none(), 1, &server.id, || "offloaded, but on a host".into());
        } else if server.vm_state == "building" && server.task_state.is_none() {
            verdict.add(1, &server.id, "building, and nobody builds it");
        } else if server.vm_state == "error" && server.host.is_none() {
            verdict.unless(domain.is_none(), 1, &server.id, || "on no host, but has a domain".into());
        }
    }
    for server in facts.rows.servers.iter().filter(|server| server.deleted_at.is_some()) {
        remains(facts, server, verdict);
    }
}

/// What a server remembers fits its state.
fn memory_of(server: &Server, verdict: &mut Verdict) {
    if server.vm_state == "error" || server.task_state.is_some() {
        return;
    }
    let state = server.vm_state.as_str();
    for (what, has, should) in [
        ("a resize", server.resize.is_some(), state == "resized"),
        ("a rescue", server.rescue.is_some(), state == "rescued"),
        ("a shelving", server.shelved.is_some(), matches!(state, "shelved" | "shelved_offloaded")),
        ("a time of soft deletion", server.soft_deleted, state == "soft-delete"),
    ] {
        verdict.unless(has == should, 1, &server.id, || {
            format!("{state} and {} {what}", if has { "remembers" } else { "does not remember" })
        });
    }
}

fn power(server: &Server, domain: &Domain, verdict: &mut Verdict) {
    let seen = domain.power;
    let runs = matches!(seen, Power::Running | Power::PausedOnIoError | Power::ShuttingDown);
    let off = matches!(seen, Power::Off | Power::Crashed);
    let fits = match server.vm_state.as_str() {
        "active" => runs,
        "stopped" | "soft-delete" | "shelved" => off && !domain.has_managed_save,
        "paused" => seen == Power::Paused,
        "suspended" => off && domain.has_managed_save,
        // A server that was stopped before its resize stays so. What such a guest does by itself shows in the power state
        // alone, as in Nova: a reboot or a stop would end the rescue or decide on the resize.
        "rescued" | "resized" => runs || off || seen == Power::Paused,
        _ => true,
    };
    verdict.unless(fits, 2, &server.id, || {
        let saved = if domain.has_managed_save { " with saved memory" } else { "" };
        format!("{}, but its domain is {seen:?}{saved}", server.vm_state)
    });
    let expected: &[i64] = match seen {
        Power::Running | Power::ShuttingDown => &[RUNNING],
        Power::Paused | Power::PausedOnIoError => &[PAUSED],
        Power::Off => &[SHUT_DOWN],
        // What is known of a guest that crashed may be that it was stopped afterwards.
        Power::Crashed => &[CRASHED, SHUT_DOWN],
        Power::Other => &[NO_STATE],
    };
    verdict.unless(expected.contains(&server.power_state), 2, &server.id, || {
        format!("power state {}, but its domain is {seen:?}", server.power_state)
    });
}

fn shape(facts: &Facts, server: &Server, domain: &Domain, verdict: &mut Verdict) {
    for difference in xml::differences(domain) {
        verdict.add(8, &server.id, difference);
    }
    let stored = &domain.stored;
    verdict.unless(stored.memory_kib == server.ram_mib * 1024, 8, &server.id, || {
        format!("{} KiB of memory, not {} MiB", stored.memory_kib, server.ram_mib)
    });
    verdict.unless(stored.vcpus == server.vcpus, 8, &server.id, || {
        format!("{} vCPUs, not {}", stored.vcpus, server.vcpus)
    });
    // libvirt puts those on one bus together.
    let expected: BTreeSet<_> = disks(facts, server).into_iter().collect();
    let found: BTreeSet<_> = stored.disks.iter().map(names).collect();
    verdict.unless(found == expected, 8, &server.id, || {
        format!("the domain's disks are {found:?}, not {expected:?}")
    });
    for disk in &stored.disks {
        let below = chain(facts, &disk.path);
        verdict.unless(disk.below == below, 8, &server.id, || {
            format!("{} stands on {below:?}, the domain says {:?}", disk.path, disk.below)
        });
    }
}

fn names(disk: &Disk) -> (String, String, String) {
    (disk.target.clone(), disk.path.clone(), disk.format.clone())
}

/// The files below a disk, by the headers of the files.
fn chain(facts: &Facts, path: &str) -> Vec<String> {
    let mut below = Vec::new();
    let mut at = path.to_owned();
    while let Some(next) =
        facts.tree.name(&at).and_then(|name| facts.tree.entries.get(name)?.qcow2.as_ref()?.backing.clone())
    {
        if below.contains(&next) {
            break;
        }
        below.push(next.clone());
        at = next;
    }
    below
}

/// Gives disks their names on their buses.
#[derive(Default)]
struct Devices {
    counts: BTreeMap<&'static str, u8>,
    found: Vec<(String, String, String)>,
}

impl Devices {
    fn add(&mut self, bus: &str, path: String, format: &str) {
        let prefix = match bus {
            "virtio" => "vd",
            "ide" => "hd",
            _ => "sd",
        };
        let count = self.counts.entry(prefix).or_default();
        *count += 1;
        let target = format!("{prefix}{}", char::from(b'a' + *count - 1));
        self.found.push((target, path, format.to_owned()));
    }
}

/// The disks that a server's domain should have: device, path, format.
fn disks(facts: &Facts, server: &Server) -> Vec<(String, String, String)> {
    let rescue = server.rescue.as_ref();
    // An image that says which device it wants to be is added to the server as it is; others stand in for its own.
    let named = rescue.is_some_and(|rescue| {
        ["hw_rescue_device", "hw_rescue_bus"]
            .iter()
            .any(|name| rescue["image_properties"].get(name).is_some())
    });
    let of_rescue = |name: &str| rescue.and_then(|rescue| rescue["image_properties"][name].as_str());
    let property = |name: &str| match rescue {
        Some(_) if !named => of_rescue(name),
        _ => server.properties.get(name).map(String::as_str),
    };
    let known = |bus: &&str| matches!(*bus, "scsi" | "sata" | "usb" | "ide");
    let bus = property("hw_disk_bus").filter(known).unwrap_or("virtio");
    let cd_bus = property("hw_cdrom_bus").filter(known);
    let drive_bus = cd_bus.unwrap_or(if bus == "virtio" { bus } else { "sata" });
    let wished = |disk: &'_ serde_json::Value| {
        let wish = disk["bus"].as_str().filter(|bus| *bus == "virtio" || known(bus));
        wish.unwrap_or(bus).to_owned()
    };
    let wishes = &server.disks;
    let root_bus = wished(&wishes["root"]);
    let file = |name: &str| facts.tree.path(&format!("servers/{}/{name}", server.id));
    let base = |image: Option<&str>| facts.tree.path(&format!("bases/{}", image.unwrap_or_default()));
    let system = rescue.map(|rescue| {
        if rescue["image_format"] == "iso" {
            (base(rescue["image_id"].as_str()), "raw", true)
        } else {
            (file("disk.rescue"), "qcow2", false)
        }
    });
    let mut devices = Devices::default();
    if let Some((path, format, is_cd)) = system.clone().filter(|_| !named) {
        devices.add(if is_cd { cd_bus.unwrap_or("sata") } else { bus }, path, format);
        devices.add(&root_bus, file("disk"), "qcow2");
        devices.add(drive_bus, file("disk.config.rescue"), "raw");
        return devices.found;
    }
    devices.add(&root_bus, file("disk"), "qcow2");
    for number in 0..server.ephemeral_disks().len() {
        let on = wished(&wishes["ephemeral"][number]);
        let name = format!("disk.eph{number}");
        match super::files::top_layer(facts, &server.id, &name) {
            Some(layer) => devices.add(&on, file(&layer), "qcow2"),
            None => devices.add(&on, file(&name), "raw"),
        }
    }
    if server.swap_disk() > 0 {
        devices.add(&wished(&wishes["swap"]), file("disk.swap"), "raw");
    }
    if server.image_format.as_deref() == Some("iso") {
        devices.add(cd_bus.unwrap_or("sata"), base(server.image.as_deref()), "raw");
    }
    if server.config_drive {
        let on = cd_bus.unwrap_or(if root_bus == "virtio" { "virtio" } else { "sata" });
        devices.add(on, file("disk.config"), "raw");
    }
    if let Some((path, format, is_cd)) = system {
        let asked = of_rescue("hw_rescue_bus").filter(|bus| *bus == "virtio" || known(bus));
        let as_cd = is_cd || of_rescue("hw_rescue_device") == Some("cdrom");
        let usual = if as_cd { cd_bus.unwrap_or("sata") } else { bus };
        devices.add(asked.unwrap_or(usual), path, format);
    }
    devices.found
}

/// Nothing of a deleted server is on the host. Its domain is looked for elsewhere.
fn remains(facts: &Facts, server: &Server, verdict: &mut Verdict) {
    for folder in [server.id.clone(), format!("{}_del", server.id)] {
        let folder = format!("servers/{folder}");
        verdict.unless(!facts.tree.has(&folder), 4, &server.id, || format!("deleted, but {folder} is there"));
    }
    for port in facts.rows.nics(&server.id) {
        verdict.add(4, &server.id, format!("deleted, but port {} is its", port.id));
    }
    verdict.unless(!facts.rows.console_tokens.contains(&server.id), 4, &server.id, || {
        "deleted, but its console has a token".into()
    });
    // A server of another installation may have taken the name.
    let name = server.domain_name();
    if facts.host.domains.iter().any(|domain| domain.name == name) {
        return;
    }
    for path in facts.host.leftovers.get(&name).into_iter().flatten() {
        verdict.add(4, &server.id, format!("deleted, but {path} is there"));
    }
}
