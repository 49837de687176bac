//! Networks and ports against rows.

use super::{Verdict, is_whole};
use crate::facts::{Facts, Network, Port, Server, Subnet};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

pub fn live(facts: &Facts, verdict: &mut Verdict) {
    let rows = &facts.rows;
    let mut macs: BTreeMap<&str, &str> = BTreeMap::new();
    let mut addresses: BTreeMap<(&str, Ipv4Addr), &str> = BTreeMap::new();
    for port in &rows.ports {
        if let Some(other) = macs.insert(&port.mac, &port.id) {
            verdict.add(9, &port.id, format!("has MAC {} like port {other}", port.mac));
        }
        for address in &port.addresses {
            if let Some(other) = addresses.insert((&port.network, *address), &port.id) {
                verdict.add(9, &port.id, format!("has address {address} like port {other}"));
            }
        }
        let owned = rows.living().any(|server| server.id == port.device);
        // Ports of deleted servers are reported as such.
        let known = rows.server(&port.device).is_some();
        verdict.unless(!port.is_compute() || owned || known, 9, &port.id, || {
            format!("belongs to server {}, which does not exist", port.device)
        });
    }
    let mut on_host: BTreeMap<&str, &str> = BTreeMap::new();
    for domain in &facts.host.domains {
        for nic in &domain.stored.nics {
            match on_host.insert(&nic.mac, &domain.name) {
                Some(other) if domain.owner.as_ref() == Some(&rows.installation) => {
                    verdict.add(9, &domain.name, format!("has MAC {} like domain {other}", nic.mac));
                }
                _ => {}
            }
        }
    }
}

pub fn settled(facts: &Facts, verdict: &mut Verdict) {
    for server in facts.rows.living().filter(|server| is_whole(server)) {
        nics(facts, server, verdict);
    }
    if facts.host.bridged {
        let networks = expected(facts);
        for network in &networks {
            on_host(facts, network, verdict);
        }
        for found in &facts.host.networks {
            let ours = found.owner.as_ref() == Some(&facts.rows.installation);
            let wanted = networks.iter().any(|network| network.id == found.uuid);
            verdict.unless(!ours || wanted, 3, &found.name, || "the network is ours and in no row".into());
        }
    }
}

/// The domain's NICs are the server's ports, in their order.
fn nics(facts: &Facts, server: &Server, verdict: &mut Verdict) {
    let Some(domain) = facts.host.domain(&server.id) else { return };
    let expected: Vec<(&str, Option<String>, Option<String>)> = facts
        .rows
        .nics(&server.id)
        .iter()
        .map(|port| {
            let bridged = facts.host.bridged;
            (port.mac.as_str(), bridged.then(|| host_name(&port.network)), bridged.then(|| port.tap()))
        })
        .collect();
    let found: Vec<_> = domain
        .stored
        .nics
        .iter()
        .map(|nic| (nic.mac.as_str(), nic.network.clone(), nic.tap.clone()))
        .collect();
    let macs = |nics: &[(&str, _, _)]| nics.iter().map(|nic| nic.0.to_owned()).collect::<Vec<_>>();
    if macs(&found) == macs(&expected) {
        verdict.unless(found == expected, 8, &server.id, || {
            format!("the domain's NICs are {found:?}, not {expected:?}")
        });
    } else {
        verdict.add(9, &server.id, format!("the domain's NICs are {found:?}, its ports {expected:?}"));
    }
}

fn host_name(network: &str) -> String {
    format!("dwarfnova-{}", network.get(..8).unwrap_or_default())
}

/// A network that the host should have.
struct Expected<'f> {
    id: &'f str,
    subnet: &'f Subnet,
    gateway: Ipv4Addr,
    /// Each port with the server that it is bound to.
    ports: Vec<(&'f Port, Option<&'f Server>)>,
}

/// Those that have a subnet with a gateway.
fn expected(facts: &Facts) -> Vec<Expected<'_>> {
    let mut found: Vec<Expected> = Vec::new();
    for subnet in &facts.rows.subnets {
        let Some(gateway) = subnet.gateway else { continue };
        if found.iter().any(|network| network.id == subnet.network) {
            continue;
        }
        let ports =
            facts.rows.ports.iter().filter(|port| {
                port.network == subnet.network && port.is_compute() && !port.addresses.is_empty()
            });
        let owner = |port: &Port| facts.rows.living().find(|server| server.id == port.device);
        // Those of a server that was taken off the host wait for it to come back.
        let here = |server: Option<&Server>| server.is_none_or(|server| server.host.is_some());
        let ports = ports.map(|port| (port, owner(port))).filter(|(_, server)| here(*server)).collect();
        found.push(Expected { id: &subnet.network, subnet, gateway, ports });
    }
    found
}

fn on_host(facts: &Facts, network: &Expected<'_>, verdict: &mut Verdict) {
    let name = host_name(network.id);
    let Some(found) = facts.host.networks.iter().find(|found| found.uuid == network.id) else {
        verdict.add(10, &name, "the network is not on the host");
        return;
    };
    verdict
        .unless(found.owner.as_ref() == Some(&facts.rows.installation), 3, &name, || "not our mark".into());
    verdict.unless(found.active && found.persistent && found.name == name, 10, &name, || {
        format!("called {}, active: {}, persistent: {}", found.name, found.active, found.persistent)
    });
    let prefix = network.subnet.cidr.split('/').nth(1).and_then(|prefix| prefix.parse().ok()).unwrap_or(0);
    verdict.unless(found.address == Some((network.gateway, prefix)), 10, &name, || {
        format!("has address {:?}, not {}/{prefix}", found.address, network.gateway)
    });
    let hosts = format!("dhcp-hostsdir=/var/lib/libvirt/dnsmasq/{name}.reservations");
    verdict.unless(found.dnsmasq.contains(&hosts) == network.subnet.dhcp, 10, &name, || {
        format!("DHCP should be {}: {:?}", network.subnet.dhcp, found.dnsmasq)
    });
    let servers = facts.host.dnsmasq.get(&name).copied().unwrap_or(0);
    verdict.unless(servers == 1, 10, &name, || format!("{servers} processes of dnsmasq"));
    reservations(facts, network, &name, verdict);
    devices(facts, found, verdict);
}

/// A host name as DHCP can give it out: its first part, if that is a label.
fn label(hostname: &str) -> Option<&str> {
    let label = hostname.split('.').next()?;
    let fits = label.len() <= 63
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-');
    (fits && !label.is_empty()).then_some(label)
}

fn reservations(facts: &Facts, network: &Expected<'_>, name: &str, verdict: &mut Verdict) {
    let mut expected: BTreeMap<String, String> = BTreeMap::new();
    for (port, server) in &network.ports {
        let hostname = server.and_then(|server| label(&server.hostname));
        let hostname = hostname.map(|label| format!(",{label}")).unwrap_or_default();
        let line = format!("{},{}{hostname}", port.mac, port.addresses[0]);
        expected.insert(port.mac.replace(':', "-"), line);
    }
    let none = BTreeMap::new();
    let found = facts.host.reservations.get(name).unwrap_or(&none);
    for (file, line) in &expected {
        let is = found.get(file).map(|content| content.trim_end());
        verdict.unless(is == Some(line), 10, name, || format!("reservation {file} is {is:?}, not {line:?}"));
    }
    for file in found.keys().filter(|file| !expected.contains_key(*file)) {
        verdict.add(10, name, format!("reservation {file} is of no port"));
    }
    for lease in facts.host.leases.get(name).into_iter().flatten() {
        let reserved = network.ports.iter().any(|(port, _)| {
            port.mac == lease.mac && port.addresses.iter().any(|address| address.to_string() == lease.address)
        });
        let over = lease.expires.saturating_mul(1_000_000) < facts.now;
        verdict.unless(reserved || over, 10, name, || {
            format!("a lease of {} to {}, who has no reservation", lease.address, lease.mac)
        });
    }
}

/// What is on the bridge is NICs of guests that run.
fn devices(facts: &Facts, network: &Network, verdict: &mut Verdict) {
    let live = || facts.host.domains.iter().filter_map(|domain| domain.live.as_ref());
    for device in facts.host.bridges.get(&network.bridge).into_iter().flatten() {
        let used = live().any(|shape| shape.nics.iter().any(|nic| nic.tap.as_ref() == Some(device)));
        verdict
            .unless(used, 19, device, || format!("on bridge {}, and of no guest that runs", network.bridge));
    }
}
