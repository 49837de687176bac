//! What the table of one network holds, and the scripts that bring it there.

use crate::core::firewall::{GroupRules, NetworkRules, PortRules};
use crate::core::ids::{PortId, SecurityGroupId};
use crate::core::security_group::{Direction, Ethertype, Remote, RuleSpec};
use crate::host::net::tap_name;
use ipnet::{IpNet, Ipv4Net};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Chains and sets that are the same for every network. `{table}` is put in.
pub const FRAME: &str = include_str!("frame.nft");

const BOTH: [Direction; 2] = [Direction::Ingress, Direction::Egress];

/// Sets and maps of the frame that are filled for each port.
const FILLED: [&str; 4] = ["macs", "addresses", "senders", "receivers"];

/// What is in a table besides its frame: chains of ports and groups with their rules, and the elements of sets and maps,
/// also of those that stand for the members of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    chains: BTreeMap<String, Vec<String>>,
    sets: BTreeMap<String, BTreeSet<String>>,
}

/// The names in a table that is there already.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub chains: BTreeSet<String>,
    pub sets: BTreeSet<String>,
}

impl Names {
    /// Reads the answers to `nft -j list chains` and `nft -j list sets`, each of which tells of all tables.
    pub fn read(table: &str, answer: &[u8]) -> Result<Self, serde_json::Error> {
        let answer: Value = serde_json::from_slice(answer)?;
        let objects = answer["nftables"].as_array().map(Vec::as_slice).unwrap_or_default();
        let named = |kind: &str| {
            let all = objects.iter().map(|object| &object[kind]);
            all.filter(|object| object["table"] == table)
                .filter_map(|object| object["name"].as_str().map(str::to_owned))
                .collect()
        };
        Ok(Self { chains: named("chain"), sets: named("set") })
    }
}

impl Table {
    pub fn of(rules: &NetworkRules) -> Self {
        let mut table = Self::default();
        for set in FILLED {
            table.sets.insert(set.into(), BTreeSet::new());
        }
        for group in &rules.groups {
            table.add_group(rules, group);
        }
        for port in &rules.ports {
            table.add_port(port);
        }
        table
    }

    fn add_group(&mut self, rules: &NetworkRules, group: &GroupRules) {
        for direction in BOTH {
            self.chains.insert(group_chain(direction, group.id), Vec::new());
        }
        let verdict = if group.stateful { "goto keep" } else { "accept" };
        for rule in &group.rules {
            let Some(condition) = condition(rule) else { continue };
            if let Remote::Group(other) = rule.remote {
                let members = rules.members(other).into_iter().map(range).collect();
                self.sets.insert(members_set(other), members);
            }
            let chain = self.chains.entry(group_chain(rule.direction, group.id)).or_default();
            chain.push(format!("{condition}{verdict}"));
        }
    }

    fn add_port(&mut self, port: &PortRules) {
        let tap = tap_name(port.id);
        for direction in BOTH {
            let chain = port_chain(direction, port.id);
            let (map, first) = match direction {
                Direction::Egress => ("senders", "honest"),
                Direction::Ingress => ("receivers", "arriving"),
            };
            self.fill(map, format!("\"{tap}\" : goto {chain}"));
            let groups = port.groups.iter().map(|group| format!("jump {}", group_chain(direction, *group)));
            let rules = std::iter::once(format!("jump {first}")).chain(groups);
            self.chains.insert(chain, rules.chain(["drop".into()]).collect());
        }
        for mac in port.macs() {
            self.fill("macs", format!("\"{tap}\" . {mac}"));
        }
        for addresses in port.ranges() {
            self.fill("addresses", format!("\"{tap}\" . {}", range(addresses)));
        }
    }

    fn fill(&mut self, set: &str, element: String) {
        self.sets.entry(set.into()).or_default().insert(element);
    }

    /// The script that makes the table `name` this one, whatever is there; `old` are the names that it has now.
    pub fn whole(&self, name: &str, old: &Names) -> String {
        let mut script = Script::new(name, FRAME.replace("{table}", name));
        for set in self.sets.keys().filter(|set| !FILLED.contains(&set.as_str())) {
            script.add_set(set);
            script.line("flush set", set, "");
        }
        for chain in self.chains.keys() {
            script.line("add chain", chain, "");
        }
        // All rules are gone by now, so nothing refers to these.
        for chain in
            old.chains.iter().filter(|old| !self.chains.contains_key(*old) && !in_frame("chain", old))
        {
            script.line("delete chain", chain, "");
        }
        for set in old.sets.iter().filter(|old| !self.sets.contains_key(*old) && !in_frame("set", old)) {
            script.line("delete set", set, "");
        }
        for (chain, rules) in &self.chains {
            script.add_rules(chain, rules);
        }
        for (set, elements) in &self.sets {
            script.elements("add element", set, elements.iter());
        }
        script.text
    }

    /// The script that makes a table that is exactly `old` this one. It fails where the table is not there any more, also
    /// when there is nothing to do.
    pub fn changes(&self, name: &str, old: &Self) -> String {
        let mut script = Script::new(name, String::new());
        script.line("list chain", "sent", "");
        let none = BTreeSet::new();
        for set in self.sets.keys().filter(|set| !old.sets.contains_key(*set)) {
            script.add_set(set);
        }
        for chain in self.chains.keys().filter(|chain| !old.chains.contains_key(*chain)) {
            script.line("add chain", chain, "");
        }
        for (set, elements) in &old.sets {
            let kept = self.sets.get(set).unwrap_or(&none);
            script.elements("delete element", set, elements.difference(kept));
        }
        for chain in old.chains.iter().filter(|(chain, rules)| self.chains.get(*chain) != Some(rules)) {
            script.line("flush chain", chain.0, "");
        }
        for (chain, rules) in &self.chains {
            if old.chains.get(chain) != Some(rules) {
                script.add_rules(chain, rules);
            }
        }
        for (set, elements) in &self.sets {
            let there = old.sets.get(set).unwrap_or(&none);
            script.elements("add element", set, elements.difference(there));
        }
        for chain in old.chains.keys().filter(|chain| !self.chains.contains_key(*chain)) {
            script.line("delete chain", chain, "");
        }
        for set in old.sets.keys().filter(|set| !self.sets.contains_key(*set)) {
            script.line("delete set", set, "");
        }
        script.text
    }
}

/// Commands on one table. Writing into a string cannot fail.
struct Script<'n> {
    table: &'n str,
    text: String,
}

impl<'n> Script<'n> {
    fn new(table: &'n str, text: String) -> Self {
        Self { table, text }
    }

    fn line(&mut self, command: &str, object: &str, rest: &str) {
        let space = if rest.is_empty() { "" } else { " " };
        writeln!(self.text, "{command} bridge {} {object}{space}{rest}", self.table).ok();
    }

    fn add_set(&mut self, set: &str) {
        self.line("add set", set, "{ type ipv4_addr; flags interval; }");
    }

    fn add_rules(&mut self, chain: &str, rules: &[String]) {
        for rule in rules {
            self.line("add rule", chain, rule);
        }
    }

    fn elements<'e>(&mut self, command: &str, set: &str, elements: impl Iterator<Item = &'e String>) {
        let elements: Vec<&str> = elements.map(String::as_str).collect();
        if !elements.is_empty() {
            self.line(command, set, &format!("{{ {} }}", elements.join(", ")));
        }
    }
}

fn in_frame(kind: &str, name: &str) -> bool {
    let start = ["add", kind, "bridge", "{table}", name];
    FRAME.lines().any(|line| line.split(' ').take(start.len()).eq(start))
}

fn port_chain(direction: Direction, id: PortId) -> String {
    format!("port_{}_{}", direction.as_str(), id.0.simple())
}

fn group_chain(direction: Direction, id: SecurityGroupId) -> String {
    format!("group_{}_{}", direction.as_str(), id.0.simple())
}

fn members_set(id: SecurityGroupId) -> String {
    format!("members_{}", id.0.simple())
}

/// What a packet has to be for the rule, with a space after it; `None` when no packet can be that.
fn condition(rule: &RuleSpec) -> Option<String> {
    if rule.ethertype != Ethertype::V4 {
        return None;
    }
    let other_end = match rule.direction {
        Direction::Ingress => "ip saddr",
        Direction::Egress => "ip daddr",
    };
    let mut text = match &rule.remote {
        Remote::Anyone => String::new(),
        Remote::Prefix(IpNet::V4(prefix)) => format!("{other_end} {prefix} "),
        Remote::Prefix(IpNet::V6(_)) => return None,
        Remote::Group(group) => format!("{other_end} @{} ", members_set(*group)),
    };
    match (rule.protocol_number(), rule.port_min, rule.port_max) {
        // 0 means all protocols to packet filters, and so to OpenStack.
        (None | Some(0), _, _) => {}
        (Some(1), Some(kind), code) => {
            write!(text, "icmp type {kind} ").ok();
            if let Some(code) = code {
                write!(text, "icmp code {code} ").ok();
            }
        }
        (Some(protocol @ (6 | 17 | 33 | 132 | 136)), Some(min), Some(max)) => {
            write!(text, "meta l4proto {protocol} th dport {min}").ok();
            text.push_str(&if max == min { " ".into() } else { format!("-{max} ") });
        }
        (Some(protocol), _, _) => {
            write!(text, "meta l4proto {protocol} ").ok();
        }
    }
    Some(text)
}

/// One address without its length, as nft shows it too.
fn range(range: Ipv4Net) -> String {
    if range.prefix_len() == 32 { range.addr().to_string() } else { range.trunc().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::NetworkId;
    use crate::core::port::AddressPair;
    use std::net::Ipv4Addr;
    use std::path::Path;
    use uuid::Uuid;

    const NAME: &str = "dwarfnova_00000000_0a1b2c3d";

    fn rules() -> NetworkRules {
        let (default, web) = (group_id(1), group_id(2));
        let mut ssh = RuleSpec::all(Direction::Ingress, Ethertype::V4, Remote::Anyone);
        ssh.protocol = Some("tcp".into());
        (ssh.port_min, ssh.port_max) = (Some(22), Some(22));
        let mut ping =
            RuleSpec::all(Direction::Ingress, Ethertype::V4, Remote::Prefix("192.0.2.0/24".parse().unwrap()));
        ping.protocol = Some("icmp".into());
        ping.port_min = Some(8);
        let mut gre = RuleSpec::all(Direction::Egress, Ethertype::V4, Remote::Group(web));
        gre.protocol = Some("47".into());
        NetworkRules {
            network: NetworkId(Uuid::from_u128(0x0a1b_2c3d_4e5f_4071_8293_a4b5_c6d7_e8f9)),
            ports: [(1u8, vec![default, web]), (2, vec![default]), (3, vec![])]
                .map(|(last, groups)| PortRules {
                    id: PortId(Uuid::from_u128(u128::from(last) << 96)),
                    mac: format!("fa:16:3e:00:00:{last:02x}").parse().unwrap(),
                    addresses: vec![Ipv4Addr::new(10, 71, 71, last), Ipv4Addr::new(10, 71, 72, last)],
                    allowed_pairs: vec![AddressPair {
                        mac: "00:00:5e:00:01:01".parse().unwrap(),
                        range: format!("10.71.{last}.7/24").parse().unwrap(),
                    }],
                    groups,
                })
                .into(),
            groups: vec![
                GroupRules {
                    id: default,
                    stateful: true,
                    rules: crate::core::security_group::first_rules(default, true),
                },
                GroupRules { id: web, stateful: false, rules: vec![ssh, ping, gre] },
            ],
        }
    }

    fn group_id(number: u128) -> SecurityGroupId {
        SecurityGroupId(Uuid::from_u128(number))
    }

    fn golden(name: &str, text: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/network").join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(path).unwrap());
    }

    #[test]
    fn the_whole_script() {
        let old = Names {
            chains: ["honest", "port_ingress_9"].map(str::to_owned).into(),
            sets: ["macs", "members_9"].map(str::to_owned).into(),
        };
        golden("guard.nft", &Table::of(&rules()).whole(NAME, &old));
    }

    #[test]
    fn the_script_of_a_change() {
        let mut rules = rules();
        let old = Table::of(&rules);
        assert_eq!(old.changes(NAME, &old), format!("list chain bridge {NAME} sent\n"));
        // A port goes, one comes, one changes its groups; a group that nobody is in goes, and what it had.
        rules.ports.remove(0);
        rules.groups.pop();
        let mut last = rules.ports[0].clone();
        last.id = PortId(Uuid::from_u128(4 << 96));
        last.mac = "fa:16:3e:00:00:04".parse().unwrap();
        last.addresses = vec![Ipv4Addr::new(10, 71, 71, 4)];
        last.allowed_pairs.clear();
        rules.ports.push(last);
        rules.ports[1].groups = vec![group_id(1)];
        golden("guard-change.nft", &Table::of(&rules).changes(NAME, &old));
    }

    #[test]
    fn rules_that_nothing_can_meet() {
        let mut v6 = RuleSpec::all(Direction::Ingress, Ethertype::V6, Remote::Anyone);
        assert_eq!(condition(&v6), None);
        v6.ethertype = Ethertype::V4;
        v6.remote = Remote::Prefix("2001:db8::/32".parse().unwrap());
        assert_eq!(condition(&v6), None);
    }

    #[test]
    fn members_of_groups() {
        let mut rules = rules();
        let members = |rules: &NetworkRules| {
            let set = Table::of(rules).sets.remove(&members_set(group_id(2))).unwrap();
            Vec::from_iter(set)
        };
        assert_eq!(members(&rules), ["10.71.1.0/24", "10.71.71.1", "10.71.72.1"]);
        rules.ports.remove(0);
        assert!(members(&rules).is_empty());
    }

    #[test]
    fn nfts_answers_are_read() {
        let answer = r#"{"nftables":[{"metainfo":{}},{"chain":{"family":"bridge","table":"a","name":"one"}},
            {"chain":{"family":"bridge","table":"b","name":"two"}},
            {"set":{"family":"bridge","table":"a","name":"three"}}]}"#;
        let names = Names::read("a", answer.as_bytes()).unwrap();
        let expected = |name: &str| BTreeSet::from([name.to_owned()]);
        assert_eq!(names, Names { chains: expected("one"), sets: expected("three") });
        assert_eq!(Names::read("a", b"{\"nftables\":[]}").unwrap(), Names::default());
        assert!(Names::read("a", b"nft").is_err());
    }
}
