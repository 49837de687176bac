//! Looks at the machine: libvirt (read-only), the packet filter, dnsmasq's files, bridges, processes.

use crate::facts::{Domain, Guard, Host, Lease, Network, Power, Process};
use crate::{tree, xml};
use anyhow::Context;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use virt::connect::Connect;
use virt::domain::{
    DomainPausedReason, DomainShutoffReason, DomainState, DomainStateEnum, DomainStateReason,
    DomainStateReasonEnum,
};
use virt::enumutil::Enum;
use virt::error::ErrorNumber;
use virt::sys;

const DNSMASQ_FILES: &str = "/var/lib/libvirt/dnsmasq";

/// Looks at all of it. `installation` is the id in the marks of what is ours.
pub fn read(uri: &str, state: &Path, installation: &str) -> anyhow::Result<Host> {
    let bridged = !uri.ends_with("/session");
    let connect = Connect::open_read_only(Some(uri)).with_context(|| format!("libvirt at {uri}"))?;
    let domains = domains(&connect)?;
    let networks = if bridged { networks(&connect)? } else { Vec::new() };
    let ours = || networks.iter().filter(|network| network.owner.as_deref() == Some(installation));
    let mut host = Host { bridged, leftovers: leftovers(bridged), ..Host::default() };
    processes(state, &mut host);
    for network in ours() {
        host.dnsmasq.insert(network.name.clone(), servers_of(&host.processes, &network.name));
        host.bridges
            .insert(network.bridge.clone(), names_in(format!("/sys/class/net/{}/brif", network.bridge)));
        host.leases.insert(network.name.clone(), leases(&network.bridge));
    }
    if bridged {
        host.guards = guards(installation)?;
        host.reservations = reservations();
    }
    host.mounts = mounts(state);
    host.domains = domains;
    host.networks = networks;
    Ok(host)
}

fn domains(connect: &Connect) -> anyhow::Result<Vec<Domain>> {
    let mut found = Vec::new();
    for domain in connect.list_all_domains(0).context("the list of domains")? {
        // One that goes away while we look is as good as one that was never there.
        let look = || -> anyhow::Result<Domain> {
            let (state, reason) = domain.state()?;
            let active = domain.is_active()?;
            let (owner, stored) = xml::domain(&domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE)?)?;
            let live = if active { Some(xml::domain(&domain.xml_desc(0)?)?.1) } else { None };
            Ok(Domain {
                uuid: domain.uuid_string()?,
                name: domain.name()?,
                owner,
                persistent: domain.is_persistent()?,
                power: power(state, reason),
                has_managed_save: domain.has_managed_save(0)?,
                stored,
                live,
            })
        };
        match look() {
            Ok(domain) => found.push(domain),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error).context("a domain"),
        }
    }
    Ok(found)
}

fn is_gone(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<virt::error::Error>().map(virt::error::Error::code);
    code.is_some_and(|code| code.is_any(vec![ErrorNumber::NoDomain, ErrorNumber::NoNetwork]))
}

fn power(state: DomainStateEnum, reason: DomainStateReasonEnum) -> Power {
    let Enum::Known(state) = state else { return Power::Other };
    match state {
        DomainState::Running | DomainState::Blocked => Power::Running,
        DomainState::Paused => match reason {
            Enum::Known(DomainStateReason::Paused(why)) if why.is(DomainPausedReason::IOError) => {
                Power::PausedOnIoError
            }
            _ => Power::Paused,
        },
        DomainState::Shutdown => Power::ShuttingDown,
        DomainState::Shutoff => match reason {
            Enum::Known(DomainStateReason::Shutoff(why))
                if why.is_any(vec![DomainShutoffReason::Crashed, DomainShutoffReason::Daemon]) =>
            {
                Power::Crashed
            }
            _ => Power::Off,
        },
        DomainState::Crashed => Power::Crashed,
        DomainState::NoState | DomainState::PMSuspended => Power::Other,
    }
}

fn networks(connect: &Connect) -> anyhow::Result<Vec<Network>> {
    let mut found = Vec::new();
    for network in connect.list_all_networks(0).context("the list of networks")? {
        let look = || -> anyhow::Result<Network> {
            let read = xml::network(&network.xml_desc(0)?)?;
            Ok(Network { active: network.is_active()?, persistent: network.is_persistent()?, ..read })
        };
        match look() {
            Ok(network) => found.push(network),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error).context("a network"),
        }
    }
    Ok(found)
}

/// The tables of this installation.
fn guards(installation: &str) -> anyhow::Result<BTreeMap<String, Guard>> {
    let output = Command::new("nft")
        .args(["-s", "-n", "list", "ruleset", "bridge"])
        .stdin(Stdio::null())
        .output()
        .context("nft cannot be run")?;
    let words = tree::one_line(&String::from_utf8_lossy(&output.stderr));
    anyhow::ensure!(output.status.success(), "nft: {words}");
    let prefix = format!("dwarfnova_{}", installation.get(..8).unwrap_or_default());
    let mut tables = read_guards(&String::from_utf8_lossy(&output.stdout));
    tables.retain(|table, _| table.starts_with(&prefix));
    Ok(tables)
}

/// Takes nft's list apart.
pub fn read_guards(list: &str) -> BTreeMap<String, Guard> {
    let mut tables: BTreeMap<String, Guard> = BTreeMap::new();
    let mut place: (String, String) = Default::default();
    // What the lines up to the next closing brace belong to: elements, one to a line, when this is set.
    let mut elements = false;
    for line in list.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(table) = line.strip_prefix("table bridge ").and_then(|line| line.strip_suffix(" {")) {
            place = (table.to_owned(), String::new());
            tables.entry(table.to_owned()).or_default();
            continue;
        }
        let Some(table) = tables.get_mut(&place.0) else { continue };
        if place.1.is_empty() && line == "}" {
            place.0.clear();
        } else if place.1.is_empty() {
            place.1 = line.strip_suffix(" {").unwrap_or_default().to_owned();
            table.entry(place.1.clone()).or_default();
        } else if line == "}" {
            let dynamic = |lines: &Vec<String>| lines.iter().any(|line| line.starts_with("flags dynamic"));
            if let Some(lines) = table.get_mut(&place.1) {
                if dynamic(lines) {
                    lines.retain(|line| !line.starts_with("element "));
                }
                if let Some(first) = lines.iter().position(|line| line.starts_with("element ")) {
                    lines[first..].sort();
                }
            }
            place.1.clear();
        } else if let Some(lines) = table.get_mut(&place.1) {
            let begin = line.strip_prefix("elements = {");
            elements |= begin.is_some();
            if elements {
                let rest = begin.unwrap_or(line);
                let all = rest.strip_suffix('}').unwrap_or(rest).split(',').map(str::trim);
                lines.extend(all.filter(|one| !one.is_empty()).map(|one| format!("element {one}")));
                elements = !line.ends_with('}');
            } else {
                lines.push(line.to_owned());
            }
        }
    }
    tables
}

fn reservations() -> BTreeMap<String, BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for folder in names_in(DNSMASQ_FILES) {
        let Some(network) = folder.strip_suffix(".reservations") else { continue };
        let path = Path::new(DNSMASQ_FILES).join(&folder);
        let mut files = BTreeMap::new();
        for name in names_in(&path) {
            if let Ok(content) = fs::read_to_string(path.join(&name)) {
                files.insert(name, content);
            }
        }
        found.insert(network.to_owned(), files);
    }
    found
}

/// What libvirt's helper wrote down of dnsmasq's leases.
fn leases(bridge: &str) -> Vec<Lease> {
    let path = Path::new(DNSMASQ_FILES).join(format!("{bridge}.status"));
    let Ok(content) = fs::read(path) else { return Vec::new() };
    let Ok(Value::Array(leases)) = serde_json::from_slice(&content) else { return Vec::new() };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    leases
        .iter()
        .map(|lease| Lease {
            mac: text(&lease["mac-address"]),
            address: text(&lease["ip-address"]),
            expires: lease["expiry-time"].as_i64().unwrap_or(0),
        })
        .collect()
}

/// Files that libvirt names after a domain, by the domain's name.
fn leftovers(system: bool) -> BTreeMap<String, Vec<String>> {
    let base = if system {
        Some(PathBuf::from("/var/lib/libvirt/qemu"))
    } else {
        let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
        config
            .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")))
            .map(|config| config.join("libvirt/qemu"))
    };
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (folder, suffix) in
        [("nvram", "_VARS.fd"), ("nvram", "_VARS.qcow2"), ("save", ".save"), ("snapshot", "")]
    {
        let Some(folder) = base.as_ref().map(|base| base.join(folder)) else { continue };
        for name in names_in(&folder) {
            if let Some(domain) = name.strip_suffix(suffix) {
                found.entry(domain.to_owned()).or_default().push(folder.join(&name).display().to_string());
            }
        }
    }
    found
}

/// The names in a folder; none if it cannot be read.
fn names_in(folder: impl AsRef<Path>) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// How many times dnsmasq serves a network. It runs as two processes, of which the second writes leases for the first.
fn servers_of(processes: &[Process], network: &str) -> usize {
    let configuration = format!("/{network}.conf");
    let serves = |process: &&Process| {
        process.command.first().is_some_and(|program| program.ends_with("dnsmasq"))
            && process.command.iter().any(|word| word.ends_with(&configuration))
    };
    let all: Vec<&Process> = processes.iter().filter(serves).collect();
    all.iter().filter(|process| !all.iter().any(|other| other.pid == process.parent)).count()
}

fn processes(state: &Path, host: &mut Host) {
    let database = fs::metadata(state.join("dwarfnova.db")).map(|facts| (facts.dev(), facts.ino())).ok();
    let name = state.canonicalize().unwrap_or_else(|_| state.to_owned()).join("dwarfnova.db");
    for pid in names_in("/proc").iter().filter_map(|name| name.parse::<u32>().ok()) {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let Some((parent, zombie)) = parent(&folder) else { continue };
        let command = fs::read(folder.join("cmdline")).unwrap_or_default();
        let command = command.split(|byte| *byte == 0).filter(|word| !word.is_empty());
        let command = command.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        host.processes.push(Process { pid, parent, zombie, command });
        if pid == std::process::id() {
            continue;
        }
        for descriptor in names_in(folder.join("fd")) {
            let descriptor = folder.join("fd").join(descriptor);
            let Ok(target) = fs::read_link(&descriptor) else { continue };
            let target = target.to_string_lossy();
            let removed = target.strip_suffix(" (deleted)").is_some_and(|path| Path::new(path) == name);
            let same = fs::metadata(&descriptor).map(|facts| (facts.dev(), facts.ino())).ok() == database;
            if removed || (same && database.is_some()) {
                *host.openers.entry(pid).or_default() |= removed;
            }
        }
    }
}

/// The parent of a process, and whether it is a zombie.
fn parent(folder: &Path) -> Option<(u32, bool)> {
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let zombie = fields.next()? == "Z";
    Some((fields.next()?.parse().ok()?, zombie))
}

/// Loop devices and mounts that stand on something in the state folder.
fn mounts(state: &Path) -> Vec<String> {
    let state = state.canonicalize().unwrap_or_else(|_| state.to_owned());
    let inside = |path: &str| Path::new(path) != state && Path::new(path).starts_with(&state);
    let mut found = Vec::new();
    for device in names_in("/sys/block") {
        let file = fs::read_to_string(format!("/sys/block/{device}/loop/backing_file")).unwrap_or_default();
        if inside(file.trim()) {
            found.push(format!("/dev/{device} on {}", file.trim()));
        }
    }
    let mounted = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for point in mounted.lines().filter_map(|line| line.split_whitespace().nth(4)) {
        if inside(point) {
            found.push(format!("a mount on {point}"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nfts_list_is_taken_apart() {
        let list = r#"table bridge other {
	chain forward {
	}
}
table bridge dwarfnova_00000000_1 {
	set macs {
		type ifname . ether_addr
		elements = { "tap2" . fa:16:3e:00:00:02,
			     "tap1" . fa:16:3e:00:00:01 }
	}

	set addresses {
		type ifname . ipv4_addr
	}

	set flows {
		flags dynamic,timeout
		elements = { 10.0.0.1 . 10.0.0.2 expires 3s }
	}

	chain sent {
		type filter hook prerouting priority -300; policy accept;
		iifname vmap @senders
	}
}
"#;
        let tables = read_guards(list);
        assert_eq!(tables.keys().collect::<Vec<_>>(), ["dwarfnova_00000000_1", "other"]);
        let table = &tables["dwarfnova_00000000_1"];
        assert_eq!(
            table["set macs"],
            [
                "type ifname . ether_addr",
                "element \"tap1\" . fa:16:3e:00:00:01",
                "element \"tap2\" . fa:16:3e:00:00:02"
            ]
        );
        assert_eq!(table["set addresses"], ["type ifname . ipv4_addr"]);
        assert_eq!(table["set flows"], ["flags dynamic,timeout"]);
        assert_eq!(table["chain sent"].len(), 2);
        assert!(tables["other"]["chain forward"].is_empty());
    }

    #[test]
    fn the_helper_of_dnsmasq_is_not_counted() {
        let process = |pid, parent, file: &str| Process {
            pid,
            parent,
            zombie: false,
            command: vec!["/usr/sbin/dnsmasq".into(), format!("--conf-file=/x/{file}.conf")],
        };
        let all = [process(5, 1, "a"), process(6, 5, "a"), process(7, 1, "b")];
        assert_eq!((servers_of(&all, "a"), servers_of(&all, "b"), servers_of(&all, "c")), (1, 1, 0));
    }
}
