//! What libvirt says, through virsh: the tests do not believe the daemon.

use std::path::Path;
use std::process::Command;

/// What a virsh command printed, or `None` when it failed.
pub fn virsh(arguments: &[&str]) -> Option<String> {
    let output = Command::new("virsh").args(["-q", "-c", "qemu:///system"]).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The rules of all bridges: who may send as whom.
pub fn bridge_rules() -> String {
    let output = Command::new("nft").args(["list", "ruleset", "bridge"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Everything that DHCP would give out on a network of libvirt.
pub fn reservations(network: &str) -> Vec<String> {
    let folder = format!("/var/lib/libvirt/dnsmasq/{network}.reservations");
    let mut lines: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap().trim().to_owned())
        .collect();
    lines.sort();
    lines
}

/// The names of all domains whose definition mentions the folder.
pub fn domains(state: &Path) -> Vec<String> {
    mentioning(&["list", "--all", "--name"], "dumpxml", state)
}

fn mentioning(list: &[&str], dump: &str, state: &Path) -> Vec<String> {
    let needle = state.to_string_lossy().into_owned();
    virsh(list)
        .unwrap_or_default()
        .lines()
        .map(str::trim)
        .filter(|name| !name.is_empty() && virsh(&[dump, name]).is_some_and(|xml| xml.contains(&needle)))
        .map(str::to_owned)
        .collect()
}

/// Removes every domain and network of a daemon that is gone.
pub fn remove_all_of(state: &Path) {
    for name in domains(state) {
        let _ = virsh(&["destroy", &name]);
        let _ = virsh(&["undefine", &name, "--managed-save", "--nvram", "--snapshots-metadata"]);
    }
    let database = state.join("dwarfnova.db");
    let Ok(connection) = rusqlite::Connection::open(&database) else { return };
    let Ok(mut statement) = connection.prepare("SELECT id FROM network") else { return };
    let Ok(ids) = statement.query_map([], |row| row.get::<_, String>(0)) else { return };
    for id in ids.flatten() {
        let _ = virsh(&["net-destroy", &id]);
        let _ = virsh(&["net-undefine", &id]);
    }
}
