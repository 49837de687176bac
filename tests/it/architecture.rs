//! The import table of ARCHITECTURE.md, checked from the `crate::` paths in the sources.

use std::fs;
use std::path::{Path, PathBuf};

/// A room (a prefix of the path below `src`), and the rooms of the crate that it may not name.
/// The longest prefix that fits a file counts.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("core/service", &["api", "app", "cli", "host::hypervisor::libvirt", "host::net::libvirt"]),
    ("core/workflow", &["api", "app", "cli", "host::hypervisor::libvirt", "host::net::libvirt"]),
    ("core/reconcile", &["api", "app", "cli", "host::hypervisor::libvirt", "host::net::libvirt"]),
    ("core", &["api", "app", "cli", "store", "task", "host", "config", "lifecycle"]),
    ("task", &["core", "host", "api", "app", "cli", "config"]),
    ("store", &["task", "host", "api", "app", "cli", "config", "core::service", "core::workflow"]),
    ("host", &["store", "task", "api", "app", "cli", "config", "core::service", "core::workflow"]),
    ("api", &["store", "task", "host", "app", "cli", "config", "core::workflow"]),
];

/// Libraries that belong to some rooms alone.
const LIBRARIES: &[(&str, &[&str])] = &[
    (
        "rusqlite",
        &["bin/dwarfnova-check", "store", "core/service", "core/workflow", "core/reconcile", "task"],
    ),
    ("virt", &["bin/dwarfnova-check", "host/hypervisor/libvirt", "host/net"]),
    ("actix_web", &["api", "app.rs"]),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The part of a source that ships: without its tests.
fn shipped(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

/// Every source, as (its path below `src`, what ships of it).
fn all() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    paths
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path).unwrap();
            (path.strip_prefix(&root).unwrap().to_string_lossy().into_owned(), shipped(&text).to_owned())
        })
        .filter(|(name, _)| !is_test(name))
        .collect()
}

fn is_test(name: &str) -> bool {
    name.contains("tests") || name.ends_with("testing.rs")
}

#[test]
fn every_room_uses_only_what_it_may() {
    let mut broken = Vec::new();
    for (name, text) in all() {
        let Some((_, forbidden)) =
            FORBIDDEN.iter().filter(|(room, _)| name.starts_with(room)).max_by_key(|(room, _)| room.len())
        else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            for room in *forbidden {
                let named = format!("crate::{room}");
                if line.contains(&format!("{named}::")) || line.trim_end().ends_with(&format!("{named};")) {
                    broken.push(format!("src/{name}:{}: {}", number + 1, line.trim()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "imports that the table of ARCHITECTURE.md forbids:\n{}", broken.join("\n"));
}

#[test]
fn libraries_stay_in_their_rooms() {
    let mut broken = Vec::new();
    for (name, text) in all() {
        for (library, rooms) in LIBRARIES {
            if rooms.iter().any(|room| name.starts_with(room)) {
                continue;
            }
            for (number, line) in text.lines().enumerate() {
                if line.trim_start().starts_with("use ") && line.contains(&format!(" {library}::")) {
                    broken.push(format!("src/{name}:{}: {}", number + 1, line.trim()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "libraries outside their rooms:\n{}", broken.join("\n"));
}

#[test]
fn the_checker_shares_nothing_with_what_it_checks() {
    for (name, text) in all() {
        let named =
            text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains("dwarfnova::"));
        assert!(!(name.starts_with("bin/dwarfnova-check") && named), "src/{name} uses the daemon's code");
    }
}

#[test]
fn unsafe_code_lies_at_the_edge_to_c() {
    for (name, text) in all() {
        let has = text.lines().any(|line| line.contains("unsafe {") || line.contains("unsafe extern"));
        let edge =
            ["host/hypervisor/libvirt/ffi.rs", "host/exit.rs", "host/heap.rs"].contains(&name.as_str());
        assert!(!has || edge, "unsafe code in src/{name}");
    }
}
