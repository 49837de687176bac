//! The packet filter against rows: tables in the words in which `nft -s -n list` shows them.

use super::Verdict;
use crate::facts::{Facts, Group, Guard, Port, Rule};
use ipnet::Ipv4Net;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// Sets, maps and chains that every network's table has, but for the elements that rows bring in.
const FRAME: [(&str, &[&str]); 14] = [
    ("set macs", &["type ifname . ether_addr"]),
    ("set addresses", &["type ifname . ipv4_addr", "flags interval"]),
    ("map senders", &["type ifname : verdict"]),
    ("map receivers", &["type ifname : verdict"]),
    (
        "set flows",
        &[
            "type ipv4_addr . ipv4_addr . inet_proto . inet_service . inet_service",
            "size 65536",
            "flags dynamic,timeout",
            "timeout 180s",
        ],
    ),
    (
        "set echoes",
        &["typeof ip saddr . ip daddr . icmp id", "size 65536", "flags dynamic,timeout", "timeout 60s"],
    ),
    (
        "set pairs",
        &["type ipv4_addr . ipv4_addr . inet_proto", "size 65536", "flags dynamic,timeout", "timeout 180s"],
    ),
    ("chain sent", &["type filter hook prerouting priority -300; policy accept;", "iifname vmap @senders"]),
    (
        "chain received",
        &["type filter hook postrouting priority -300; policy accept;", "oifname vmap @receivers"],
    ),
    (
        "chain honest",
        &[
            "iifname . ether saddr != @macs drop",
            "ether type 0x8035 accept",
            "iifname . arp saddr ether != @macs drop",
            "iifname . arp saddr ip @addresses accept",
            "arp saddr ip 0.0.0.0 accept",
            "ether type != 0x0800 drop",
            "udp sport 67 drop",
            "ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept",
            "iifname . ip saddr != @addresses drop",
            "udp sport 68 udp dport 67 accept",
            "ip daddr 169.254.169.254 tcp dport 80 accept",
            "goto answers",
        ],
    ),
    (
        "chain arriving",
        &[
            "ether type { 0x0806, 0x8035 } accept",
            "ether type != 0x0800 drop",
            "udp sport 67 udp dport 68 accept",
            "ip saddr 169.254.169.254 tcp sport 80 accept",
            "goto answers",
        ],
    ),
    (
        "chain answers",
        &[
            "ip frag-off & 8191 != 0 accept",
            "icmp type { 3, 11, 12 } accept",
            "ip daddr . ip saddr . meta l4proto . th dport . th sport @flows goto renew",
            "icmp type 0 ip daddr . ip saddr . icmp id @echoes accept",
            "ip daddr . ip saddr . meta l4proto @pairs update @pairs { ip daddr . ip saddr . meta l4proto timeout 180s } accept",
        ],
    ),
    (
        "chain renew",
        &[
            "tcp flags 0x1,0x2,0x4 update @flows { ip daddr . ip saddr . meta l4proto . tcp dport . tcp sport timeout 300s } accept",
            "tcp flags 0x8 update @flows { ip daddr . ip saddr . meta l4proto . tcp dport . tcp sport timeout 86400s } accept",
            "meta l4proto != 6 update @flows { ip daddr . ip saddr . meta l4proto . th dport . th sport timeout 180s } accept",
            "accept",
        ],
    ),
    (
        "chain keep",
        &[
            "tcp flags 0x1,0x2,0x4 update @flows { ip saddr . ip daddr . meta l4proto . tcp sport . tcp dport timeout 300s } accept",
            "tcp flags 0x8 update @flows { ip saddr . ip daddr . meta l4proto . tcp sport . tcp dport timeout 86400s } accept",
            "meta l4proto { 17, 33, 132, 136 } update @flows { ip saddr . ip daddr . meta l4proto . th sport . th dport timeout 180s } accept",
            "icmp type 8 update @echoes { ip saddr . ip daddr . icmp id timeout 60s } accept",
            "meta l4proto != { 1, 6, 17, 33, 132, 136 } update @pairs { ip saddr . ip daddr . meta l4proto timeout 180s } accept",
            "accept",
        ],
    ),
];

const PROTOCOLS: [(&str, u8); 25] = [
    ("ah", 51),
    ("dccp", 33),
    ("egp", 8),
    ("esp", 50),
    ("gre", 47),
    ("hopopt", 0),
    ("icmp", 1),
    ("icmpv6", 58),
    ("igmp", 2),
    ("ip", 0),
    ("ipip", 4),
    ("ipv6-encap", 41),
    ("ipv6-frag", 44),
    ("ipv6-icmp", 58),
    ("ipv6-nonxt", 59),
    ("ipv6-opts", 60),
    ("ipv6-route", 43),
    ("ospf", 89),
    ("pgm", 113),
    ("rsvp", 46),
    ("sctp", 132),
    ("tcp", 6),
    ("udp", 17),
    ("udplite", 136),
    ("vrrp", 112),
];

pub fn settled(facts: &Facts, verdict: &mut Verdict) {
    let wanted = wanted(facts);
    let tables: BTreeSet<&String> = facts.host.guards.keys().chain(wanted.keys()).collect();
    for table in tables {
        match (facts.host.guards.get(table), wanted.get(table)) {
            (None, _) => verdict.add(11, table, "the packet filter has no such table"),
            (_, None) => verdict.add(11, table, "the table is of no network that has guests"),
            (Some(found), Some(wanted)) => compare(table, &comparable(found), wanted, verdict),
        }
    }
}

fn compare(table: &str, found: &Guard, wanted: &Guard, verdict: &mut Verdict) {
    for name in found.keys().chain(wanted.keys()).collect::<BTreeSet<_>>() {
        let (found, wanted) = (found.get(name), wanted.get(name));
        verdict
            .unless(found == wanted, 11, table, || format!("{name} is {found:?}, and should be {wanted:?}"));
    }
}

/// A table without what means nothing: the order of what allows, and how a set of addresses is put into words.
fn comparable(guard: &Guard) -> Guard {
    let block = |(name, lines): (&String, &Vec<String>)| {
        let mut lines = lines.clone();
        if name.starts_with("chain group_") {
            lines = lines.iter().map(|line| by_spans(line).unwrap_or_else(|| line.clone())).collect();
            lines.sort();
        } else if name.starts_with("set members_") {
            lines = members_by_spans(lines);
        } else if name.starts_with("chain port_") && lines.len() > 2 {
            let last = lines.len() - 1;
            lines[1..last].sort();
        }
        (name.clone(), lines)
    };
    guard.iter().map(block).collect()
}

/// A set of addresses that are told as spans, in one line if there are any.
fn members_by_spans(mut lines: Vec<String>) -> Vec<String> {
    let first = lines.iter().position(|line| line.starts_with("element ")).unwrap_or(lines.len());
    let told = lines[first..].iter().map(|line| span(line.strip_prefix("element ")?));
    if let Some(spans) = told.collect::<Option<Vec<_>>>().filter(|spans| !spans.is_empty()) {
        lines.truncate(first);
        lines.push(spans_in_words(spans));
    }
    lines
}

/// A rule whose addresses are told as spans. `None` for rules that name no addresses.
fn by_spans(line: &str) -> Option<String> {
    let (end, rest) =
        ["ip saddr ", "ip daddr "].iter().find_map(|end| Some((end, line.strip_prefix(end)?)))?;
    let (addresses, rest) = match rest.strip_prefix('{') {
        Some(rest) => rest.split_once('}')?,
        None => rest.split_once(' ')?,
    };
    let spans = addresses.split(',').map(|text| span(text.trim())).collect::<Option<Vec<_>>>()?;
    Some(format!("{end}{} {}", spans_in_words(spans), rest.trim()))
}

/// The first and the last address of a range in any of nft's forms.
fn span(text: &str) -> Option<(u32, u32)> {
    let number = |text: &str| text.parse::<Ipv4Addr>().map(u32::from).ok();
    if let Some((first, last)) = text.split_once('-') {
        return Some((number(first)?, number(last)?));
    }
    match text.parse::<Ipv4Net>() {
        Ok(range) => Some(ends(range)),
        Err(_) => number(text).map(|address| (address, address)),
    }
}

fn ends(range: Ipv4Net) -> (u32, u32) {
    (range.network().into(), range.broadcast().into())
}

/// Neighbours are one.
fn spans_in_words(mut spans: Vec<(u32, u32)>) -> String {
    spans.sort_unstable();
    let mut joined: Vec<(u32, u32)> = Vec::new();
    for (first, last) in spans {
        match joined.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    let words: Vec<String> = joined
        .iter()
        .map(|(first, last)| format!("{}-{}", Ipv4Addr::from(*first), Ipv4Addr::from(*last)))
        .collect();
    format!("[{}]", words.join(" "))
}

/// The tables as they should be: one for each network with ports that are filtered.
fn wanted(facts: &Facts) -> BTreeMap<String, Guard> {
    let mut networks: BTreeMap<&str, Vec<&Port>> = BTreeMap::new();
    for port in facts.rows.ports.iter().filter(|port| port.is_compute() && port.bound && port.secured) {
        networks.entry(&port.network).or_default().push(port);
    }
    let short = |id: &str| id.get(..8).unwrap_or_default().to_owned();
    let table = |network: &str| format!("dwarfnova_{}_{}", short(&facts.rows.installation), short(network));
    networks.iter().map(|(network, ports)| (table(network), table_of(facts, ports))).collect()
}

fn table_of(facts: &Facts, ports: &[&Port]) -> Guard {
    let mut guard: Guard = FRAME
        .iter()
        .map(|(name, lines)| ((*name).to_owned(), lines.iter().map(ToString::to_string).collect()))
        .collect();
    for port in ports {
        let (tap, id) = (port.tap(), port.id.replace('-', ""));
        let mut add = |set: &str, element: String| {
            guard.entry(set.to_owned()).or_default().push(format!("element \"{tap}\" {element}"));
        };
        let macs: BTreeSet<&String> = port.pairs.iter().map(|(mac, _)| mac).chain([&port.mac]).collect();
        for mac in macs {
            add("set macs", format!(". {mac}"));
        }
        for range in ranges(port) {
            let text = if range.prefix_len() == 32 { range.addr().to_string() } else { range.to_string() };
            add("set addresses", format!(". {text}"));
        }
        add("map senders", format!(": goto port_egress_{id}"));
        add("map receivers", format!(": goto port_ingress_{id}"));
        for (way, first) in [("egress", "honest"), ("ingress", "arriving")] {
            let mut lines: Vec<String> = port
                .groups
                .iter()
                .map(|group| format!("jump group_{way}_{}", group.replace('-', "")))
                .collect();
            lines.sort();
            lines.insert(0, format!("jump {first}"));
            lines.push("drop".into());
            guard.insert(format!("chain port_{way}_{id}"), lines);
        }
    }
    let used = |group: &&Group| ports.iter().any(|port| port.groups.contains(&group.id));
    for group in facts.rows.groups.iter().filter(used) {
        for way in ["egress", "ingress"] {
            let verdict = if group.stateful { "goto keep" } else { "accept" };
            let rules = group.rules.iter().filter(|rule| rule.direction == way);
            let mut lines: Vec<String> =
                rules.clone().filter_map(|rule| Some(condition(rule)? + verdict)).collect();
            lines.sort();
            guard.insert(format!("chain group_{way}_{}", group.id.replace('-', "")), lines);
            let remotes = rules.filter(|rule| rule.ethertype == "IPv4" && rule.remote_prefix.is_none());
            for remote in remotes.filter_map(|rule| rule.remote_group.as_ref()) {
                guard.insert(format!("set {}", members(remote)), members_of(ports, remote));
            }
        }
    }
    for lines in guard.values_mut() {
        if let Some(first) = lines.iter().position(|line| line.starts_with("element ")) {
            lines[first..].sort();
        }
    }
    guard
}

/// All addresses that a port may use: ranges, none of them within another.
fn ranges(port: &Port) -> Vec<Ipv4Net> {
    let own = port.addresses.iter().map(|address| Ipv4Net::from(*address));
    let all: BTreeSet<Ipv4Net> = own.chain(port.pairs.iter().map(|(_, range)| range.trunc())).collect();
    let within = |one: &Ipv4Net| all.iter().any(|other| other != one && other.contains(one));
    all.iter().filter(|one| !within(one)).copied().collect()
}

/// The name of the set of a group's members.
fn members(group: &str) -> String {
    format!("members_{}", group.replace('-', ""))
}

fn members_of(ports: &[&Port], group: &String) -> Vec<String> {
    let members = ports.iter().filter(|port| port.groups.contains(group));
    let spans: Vec<(u32, u32)> = members.flat_map(|port| ranges(port)).map(ends).collect();
    let words = (!spans.is_empty()).then(|| spans_in_words(spans));
    ["type ipv4_addr".to_owned(), "flags interval".to_owned()].into_iter().chain(words).collect()
}

/// What a packet has to be; `None` when there is no such packet.
fn condition(rule: &Rule) -> Option<String> {
    if rule.ethertype != "IPv4" {
        return None;
    }
    let others = match (&rule.remote_prefix, &rule.remote_group) {
        (Some(prefix), _) => Some(spans_in_words(vec![span(prefix)?])),
        (None, Some(group)) => Some(format!("@{}", members(group))),
        (None, None) => None,
    };
    let end = if rule.direction == "ingress" { "ip saddr " } else { "ip daddr " };
    let mut text = others.map(|others| format!("{end}{others} ")).unwrap_or_default();
    let number = rule.protocol.as_ref().map(|protocol| {
        let named = PROTOCOLS.iter().find(|(name, _)| name == protocol);
        named.map_or_else(|| protocol.parse().unwrap_or(0), |(_, number)| *number)
    });
    let carrier = match number {
        Some(6) => Some("tcp"),
        Some(17) => Some("udp"),
        Some(33) => Some("dccp"),
        Some(132) => Some("sctp"),
        Some(136) => Some("udplite"),
        _ => None,
    };
    match (number.filter(|number| *number != 0), carrier, rule.port_min, rule.port_max) {
        (None, ..) => {}
        (Some(1), _, Some(kind), code) => {
            text += &format!("icmp type {kind} ");
            text += &code.map(|code| format!("icmp code {code} ")).unwrap_or_default();
        }
        (_, Some(carrier), Some(min), Some(max)) if min == max => {
            text += &format!("{carrier} dport {min} ");
        }
        (_, Some(carrier), Some(min), Some(max)) => text += &format!("{carrier} dport {min}-{max} "),
        (Some(number), ..) => text += &format!("meta l4proto {number} "),
    }
    Some(text)
}
