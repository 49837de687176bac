//! The state folder against rows.

use super::{Verdict, is_whole};
use crate::facts::{Entry, Facts, Kind, Server};
use std::collections::BTreeSet;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
const MICROS: i64 = 1_000_000;
/// What lies in the root of the folder. TLS material and the like may be added by hand, so other files are let be there.
const FOLDERS: [&str; 4] = ["images", "bases", "staging", "servers"];
/// Bytes of images that nobody needs any more may wait for the next sweep, in seconds.
const SWEEP: i64 = 900;
/// How many layers a disk may stand on: its base, those that resizes left, and the one of a resize that waits.
const DEPTH: usize = 6;

pub fn settled(facts: &Facts, verdict: &mut Verdict) {
    for name in FOLDERS {
        let is_folder = facts.tree.entries.get(name).is_some_and(|entry| entry.kind == Kind::Folder);
        verdict.unless(is_folder, 5, name, || "the folder is not there".into());
    }
    for (name, entry) in &facts.tree.entries {
        verdict
            .unless(entry.kind != Kind::Other, 5, name, || "neither a file nor a folder nor a socket".into());
    }
    strays(facts, verdict);
    for server in facts.rows.living() {
        of_server(facts, server, verdict);
    }
    bases(facts, verdict);
    images(facts, verdict);
}

/// What belongs to no row.
fn strays(facts: &Facts, verdict: &mut Verdict) {
    for name in facts.tree.list("staging") {
        let image = name.split('.').next().unwrap_or_default();
        let moves = facts.rows.images.iter().any(|row| {
            row.id == image && matches!(row.status.as_str(), "saving" | "uploading" | "importing")
        });
        let named = facts.rows.tasks.iter().any(|task| task.state.contains(image));
        verdict.unless(moves || named, 5, &format!("staging/{name}"), || {
            "no upload or import is going on".into()
        });
    }
    for name in facts.tree.list("servers") {
        let is_living = |id: &str| facts.rows.living().any(|server| server.id == id);
        let known = facts.rows.server(name.trim_end_matches("_del")).is_some();
        // Those of deleted servers are reported as such.
        let fine = is_living(name) || (known && !is_living(name.trim_end_matches("_del")));
        verdict.unless(fine, 5, &format!("servers/{name}"), || "belongs to no server".into());
    }
}

/// The files that a server should have.
fn wanted(server: &Server) -> BTreeSet<String> {
    let mut wanted = vec!["disk"];
    wanted.extend((server.swap_disk() > 0).then_some("disk.swap"));
    wanted.extend(server.config_drive.then_some("disk.config"));
    if let Some(rescue) = &server.rescue {
        wanted.push("disk.config.rescue");
        // A rescue CD is a base.
        wanted.extend((rescue["image_format"] != "iso").then_some("disk.rescue"));
    }
    wanted.into_iter().map(str::to_owned).chain(ephemeral(server)).collect()
}

/// The names of the server's ephemeral disks.
fn ephemeral(server: &Server) -> impl Iterator<Item = String> {
    (0..server.ephemeral_disks().len()).map(|number| format!("disk.eph{number}"))
}

fn of_server(facts: &Facts, server: &Server, verdict: &mut Verdict) {
    let folder = format!("servers/{}", server.id);
    if server.task_state.is_some() {
        return;
    }
    if server.host.is_none() || server.vm_state == "shelved_offloaded" {
        verdict
            .unless(!facts.tree.has(&folder), 5, &folder, || format!("{} and on no host", server.vm_state));
        return;
    }
    let wanted = wanted(server);
    if is_whole(server) {
        for name in wanted.iter().filter(|name| !facts.tree.has(&format!("{folder}/{name}"))) {
            verdict.add(5, format!("{folder}/{name}"), "missing");
        }
    }
    let layers = layers(facts, server, &folder, verdict);
    for name in facts.tree.list(&folder) {
        let console = name == "console.sock" || name == "console.log" || name.starts_with("console.log.");
        let fine = wanted.contains(name) || console || layers.contains(name);
        verdict
            .unless(fine, 5, &format!("{folder}/{name}"), || format!("a server that is {}", server.vm_state));
    }
    sizes(facts, server, &folder, verdict);
}

/// Goes down from the server's overlays to their bases. Gives the layers that lie in the server's own folder.
fn layers<'f>(facts: &'f Facts, server: &Server, folder: &str, verdict: &mut Verdict) -> BTreeSet<&'f str> {
    let mut own = BTreeSet::new();
    let tops: Vec<String> =
        ephemeral(server).filter_map(|disk| top_layer(facts, &server.id, &disk)).collect();
    for disk in ["disk", "disk.rescue"].into_iter().chain(tops.iter().map(String::as_str)) {
        let name = format!("{folder}/{disk}");
        let Some(entry) = facts.tree.entries.get(&name) else { continue };
        own.extend(facts.tree.list(folder).find(|file| *file == disk && disk.contains(".layer-")));
        let Some(mut header) = entry.qcow2.as_ref() else {
            verdict.add(7, name, "not a QCOW2 disk");
            continue;
        };
        let mut seen = vec![name.clone()];
        loop {
            verdict.unless(!header.external_data, 6, &name, || "its data is in another file".into());
            let Some(backing) = &header.backing else { break };
            let Some(below) = facts.tree.name(backing) else {
                verdict.add(6, name, format!("stands on {backing}, which is not ours"));
                break;
            };
            if seen.iter().any(|upper| upper == below) {
                verdict.add(6, name, format!("stands on itself, by {below}"));
                break;
            }
            seen.push(below.to_owned());
            verdict.unless(seen.len() <= DEPTH + 1, 6, &name, || format!("stands on too much: {seen:?}"));
            let Some(entry) = facts.tree.entries.get(below) else {
                verdict.add(6, name, format!("stands on {below}, which does not exist"));
                break;
            };
            let format = if entry.qcow2.is_some() { "qcow2" } else { "raw" };
            verdict.unless(header.backing_format.as_deref() == Some(format), 7, &name, || {
                format!("says that {below} is {:?}, which is {format}", header.backing_format)
            });
            if let Some(image) = below.strip_prefix("bases/") {
                let (what, expected) = match (disk, &server.rescue) {
                    ("disk.rescue", Some(rescue)) => ("rescued with", rescue["image_id"].as_str()),
                    _ => ("made from", server.image.as_deref()),
                };
                // What was shelved comes back on an image of its own disk.
                let moved = disk == "disk"
                    && facts
                        .rows
                        .actions
                        .iter()
                        .any(|one| one.server == server.id && one.action == "unshelve");
                verdict.unless(moved || expected == Some(image), 7, &name, || {
                    format!("stands on image {image}, but the server was {what} {expected:?}")
                });
            } else if let Some(layer) = below.strip_prefix(&format!("{folder}/")) {
                let layer = facts.tree.list(folder).find(|name| *name == layer);
                let made = |layer: &&str| layer.starts_with("disk.before-") || layer.contains(".layer-");
                own.extend(layer.filter(made));
            } else {
                verdict.add(
                    6,
                    name,
                    format!("stands on {below}, which is neither a base nor the server's own"),
                );
                break;
            }
            match &entry.qcow2 {
                Some(next) => header = next,
                None => break,
            }
        }
    }
    own
}

/// The uppermost layer that resizes put over an ephemeral disk.
pub fn top_layer(facts: &Facts, server: &str, disk: &str) -> Option<String> {
    let number = |name: &str| name.strip_prefix(disk)?.strip_prefix(".layer-")?.parse::<i64>().ok();
    let top = facts.tree.list(&format!("servers/{server}")).filter_map(number).max()?;
    Some(format!("{disk}.layer-{top}"))
}

fn sizes(facts: &Facts, server: &Server, folder: &str, verdict: &mut Verdict) {
    let entry = |name: &str| facts.tree.entries.get(&format!("{folder}/{name}"));
    if let Some(header) = entry("disk").and_then(|entry| entry.qcow2.as_ref()) {
        let size = header.virtual_bytes;
        let expected = server.disk_gib * GIB;
        // A flavor without a disk size leaves it to the image.
        verdict.unless(size == expected || (expected == 0 && size > 0), 7, &format!("{folder}/disk"), || {
            format!("{size} bytes large, not {} GiB", server.disk_gib)
        });
    }
    let blank = ephemeral(server).zip(server.ephemeral_disks().into_iter().map(|gib| gib * GIB));
    for (name, expected) in blank.chain([("disk.swap".to_owned(), server.swap_disk() * MIB)]) {
        let Some(Entry { bytes, .. }) = entry(&name) else { continue };
        // Above it may be a layer of another size, and no resize takes from a disk.
        let grown =
            name != "disk.swap" && (top_layer(facts, &server.id, &name).is_some() || *bytes > expected);
        verdict.unless(*bytes == expected || expected == 0 || grown, 7, &format!("{folder}/{name}"), || {
            format!("{bytes} bytes large, not {expected}")
        });
    }
    for (name, words) in &facts.tree.unclean {
        if name.starts_with(&format!("{folder}/")) {
            verdict.add(6, name, format!("not clean: {words}"));
        }
    }
}

fn bases(facts: &Facts, verdict: &mut Verdict) {
    for id in facts.tree.list("bases") {
        let name = format!("bases/{id}");
        let Some(entry) = facts.tree.entries.get(&name) else { continue };
        verdict
            .unless(entry.mode & 0o222 == 0, 6, &name, || format!("can be written: mode {:o}", entry.mode));
        let backing = entry.qcow2.as_ref().and_then(|header| header.backing.as_ref());
        verdict.unless(backing.is_none(), 6, &name, || format!("a base that stands on {backing:?}"));
        let used = is_named(facts, id);
        let alive = facts.rows.images.iter().any(|image| image.id == id && image.deleted_at.is_none());
        verdict.unless(used || alive || waits_for_sweep(facts, id, entry), 5, &name, || {
            "neither an image nor a server needs it".into()
        });
    }
}

/// Whether a living server, a disk or an open task speaks of the image.
fn is_named(facts: &Facts, image: &str) -> bool {
    let base = facts.tree.path(&format!("bases/{image}"));
    let stood_on = facts.tree.entries.iter().any(|(name, entry)| {
        let backing = entry.qcow2.as_ref().and_then(|header| header.backing.as_ref());
        name.starts_with("servers/") && backing == Some(&base)
    });
    if stood_on {
        return true;
    }
    facts.rows.living().any(|server| {
        let rescue = server.rescue.as_ref().and_then(|rescue| rescue["image_id"].as_str());
        server.image.as_deref() == Some(image) || rescue == Some(image)
    }) || facts.rows.tasks.iter().any(|task| task.state.contains(image))
}

/// Whether the image or one of its servers went away just now. Names that nobody ever knew do not wait.
fn waits_for_sweep(facts: &Facts, image: &str, entry: &Entry) -> bool {
    let row = facts.rows.images.iter().find(|row| row.id == image);
    let servers = facts.rows.servers.iter().filter(|server| server.image.as_deref() == Some(image));
    let gone = servers.filter_map(|server| server.deleted_at).chain(row.and_then(|row| row.deleted_at)).max();
    row.is_some() && gone.unwrap_or(0).max(entry.changed_at) > facts.now - SWEEP * MICROS
}

fn images(facts: &Facts, verdict: &mut Verdict) {
    for image in &facts.rows.images {
        let name = format!("images/{}", image.id);
        let entry = facts.tree.entries.get(&name);
        let object = image.id.as_str();
        match image.status.as_str() {
            "active" | "deactivated" => {
                // One whose bytes lie elsewhere, or that is made of nothing, says so.
                let Some(entry) = entry else {
                    verdict.unless(image.size.unwrap_or(0) == 0, 17, object, || {
                        "active without its bytes".into()
                    });
                    continue;
                };
                verdict.unless(image.size == Some(entry.bytes), 17, object, || {
                    format!("{} bytes, but the row says {:?}", entry.bytes, image.size)
                });
                verdict
                    .unless(image.file_format.is_some(), 17, object, || "bytes of an unknown format".into());
                if let (Some(said), Some(found)) = (&image.sha512, facts.tree.digests.get(object)) {
                    verdict.unless(said == found, 17, object, || {
                        format!("its bytes have SHA-512 {found}, the row says {said}")
                    });
                }
            }
            "saving" | "uploading" | "importing" => {
                let staged = facts.tree.list("staging").any(|file| file.starts_with(object));
                let named = facts.rows.tasks.iter().any(|task| task.state.contains(object));
                verdict.unless(staged || named, 17, object, || {
                    format!("{}, and nobody brings its bytes", image.status)
                });
            }
            status => {
                let named = facts.rows.tasks.iter().any(|task| task.state.contains(object));
                let fine = entry.is_none_or(|entry| {
                    named || (status == "deleted" && waits_for_sweep(facts, object, entry))
                });
                verdict.unless(fine, 17, object, || format!("{status}, but its bytes are there"));
            }
        }
    }
    for id in facts.tree.list("images") {
        let known = facts.rows.images.iter().any(|image| image.id == id);
        verdict.unless(known, 17, id, || "bytes of an image that is in no row".into());
    }
}
