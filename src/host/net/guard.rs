//! What guests may send and receive: nftables tables on the bridges, one for each network.
//!
//! A port sends only with its own MAC and addresses, and sends and receives what its security groups allow. Its rules
//! stand before its guest starts, since the name of its device is known beforehand. libvirt's filters do less with some
//! sixty runs of ebtables, which costs each start of a guest two seconds; this is two runs of nft, and all of a change
//! happens at once.
//!
//! Whether a packet answers one that was allowed is kept in sets of the table itself: the kernel's connection tracking
//! on bridges is missing from many kernels. The sets outlive changes of the rules.

use super::{NetError, tap_name};
use crate::core::firewall::{GroupRules, NetworkRules, PortRules};
use crate::core::ids::{NetworkId, PortId, SecurityGroupId};
use crate::core::security_group::{Direction, Ethertype, Remote, RuleSpec};
use crate::host::command::{Command, CommandError};
use ipnet::{IpNet, Ipv4Net};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use uuid::Uuid;

/// Chains and sets that are the same for every network. `{table}` is put in.
const FRAME: &str = include_str!("guard.nft");

/// The tables of one installation. Calls for one network have to come one by one.
pub struct Guard {
    prefix: String,
}

impl Guard {
    pub fn new(installation: Uuid) -> Self {
        Self { prefix: format!("dwarfnova_{}", &installation.simple().to_string()[..8]) }
    }

    fn table(&self, id: NetworkId) -> String {
        format!("{}_{}", self.prefix, &id.0.simple().to_string()[..8])
    }

    /// Ensures that what is filtered on the network is exactly this.
    pub async fn ensure(&self, rules: &NetworkRules) -> Result<(), NetError> {
        if rules.ports.is_empty() {
            return self.remove(rules.network).await;
        }
        let table = self.table(rules.network);
        let old = chains(&table).await?;
        nft(render(&table, rules, &old)).await
    }

    /// Ensures that nothing is filtered on the network.
    pub async fn remove(&self, id: NetworkId) -> Result<(), NetError> {
        remove_table(&self.table(id)).await
    }

    /// Ensures that there is not the one table for all networks any more that stood before each had its own. It knows one
    /// address a port.
    pub async fn forget_older(&self) -> Result<(), NetError> {
        remove_table(&self.prefix).await
    }
}

/// A table is added first, since deleting what is not there would fail.
async fn remove_table(table: &str) -> Result<(), NetError> {
    nft(format!("add table bridge {table}\ndelete table bridge {table}\n")).await
}

/// The chains that the table has now.
async fn chains(table: &str) -> Result<Vec<String>, NetError> {
    let command = Command::new("nft").args(["-j", "list", "chains", "bridge"]).max_stdout(16 << 20);
    let output = command.run().await.map_err(|error| failed(&error))?;
    read_chains(&output.stdout, table).map_err(|error| NetError::Failed(format!("nft: {error}")))
}

/// Reads the answer to `nft -j list chains`.
fn read_chains(answer: &[u8], table: &str) -> Result<Vec<String>, serde_json::Error> {
    let answer: Value = serde_json::from_slice(answer)?;
    let objects = answer["nftables"].as_array().map(Vec::as_slice).unwrap_or_default();
    let chains = objects.iter().map(|object| &object["chain"]);
    Ok(chains
        .filter(|chain| chain["table"] == table)
        .filter_map(|chain| chain["name"].as_str().map(str::to_owned))
        .collect())
}

fn port_chain(direction: Direction, id: PortId) -> String {
    format!("port_{}_{}", direction.as_str(), id.0.simple())
}

fn group_chain(direction: Direction, id: SecurityGroupId) -> String {
    format!("group_{}_{}", direction.as_str(), id.0.simple())
}

const BOTH: [Direction; 2] = [Direction::Ingress, Direction::Egress];

/// The script that makes the table what it should be, whatever was there; `old` are the chains that it had. nft
/// applies all or nothing. Writing into a string cannot fail.
fn render(table: &str, rules: &NetworkRules, old: &[String]) -> String {
    let mut script = FRAME.replace("{table}", table);
    let mut chains = BTreeSet::new();
    for direction in BOTH {
        chains.extend(rules.groups.iter().map(|group| group_chain(direction, group.id)));
        chains.extend(rules.ports.iter().map(|port| port_chain(direction, port.id)));
    }
    for chain in &chains {
        writeln!(script, "add chain bridge {table} {chain}").ok();
    }
    let common = |name: &str| FRAME.contains(&format!("add chain bridge {{table}} {name}"));
    for chain in old.iter().filter(|name| !chains.contains(*name) && !common(name)) {
        writeln!(script, "delete chain bridge {table} {chain}").ok();
    }
    for group in &rules.groups {
        write_group(&mut script, table, rules, group);
    }
    for port in &rules.ports {
        write_port(&mut script, table, port);
    }
    script
}

fn write_group(script: &mut String, table: &str, rules: &NetworkRules, group: &GroupRules) {
    let verdict = if group.stateful { "goto keep" } else { "accept" };
    for rule in &group.rules {
        if let Some(condition) = condition(rules, rule) {
            let chain = group_chain(rule.direction, group.id);
            writeln!(script, "add rule bridge {table} {chain} {condition}{verdict}").ok();
        }
    }
}

/// What a packet has to be for the rule, with a space after it; `None` when no packet can be that.
fn condition(rules: &NetworkRules, rule: &RuleSpec) -> Option<String> {
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
        Remote::Group(group) => {
            let members = rules.members(*group);
            if members.is_empty() {
                return None;
            }
            let members: Vec<String> = members.into_iter().map(range).collect();
            format!("{other_end} {{ {} }} ", members.join(", "))
        }
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

fn write_port(script: &mut String, table: &str, port: &PortRules) {
    let tap = tap_name(port.id);
    for direction in BOTH {
        let chain = port_chain(direction, port.id);
        let (map, first) = match direction {
            Direction::Egress => ("senders", "honest"),
            Direction::Ingress => ("receivers", "arriving"),
        };
        writeln!(script, "add rule bridge {table} {chain} jump {first}").ok();
        for group in &port.groups {
            writeln!(script, "add rule bridge {table} {chain} jump {}", group_chain(direction, *group)).ok();
        }
        writeln!(script, "add rule bridge {table} {chain} drop").ok();
        writeln!(script, "add element bridge {table} {map} {{ \"{tap}\" : goto {chain} }}").ok();
    }
    for mac in port.macs() {
        writeln!(script, "add element bridge {table} macs {{ \"{tap}\" . {mac} }}").ok();
    }
    for addresses in port.ranges() {
        writeln!(script, "add element bridge {table} addresses {{ \"{tap}\" . {} }}", range(addresses)).ok();
    }
}

/// One address without its length, as nft shows it too.
fn range(range: Ipv4Net) -> String {
    if range.prefix_len() == 32 { range.addr().to_string() } else { range.trunc().to_string() }
}

/// Whether this host's kernel and nft can do it. Changes nothing.
pub async fn check() -> Result<(), NetError> {
    let script = FRAME.replace("{table}", "dwarfnova_check");
    let command = Command::new("nft").args(["-c", "-f", "-"]).input(script);
    command.run().await.map(drop).map_err(|error| failed(&error))
}

async fn nft(script: String) -> Result<(), NetError> {
    Command::new("nft").args(["-f", "-"]).input(script).run().await.map(drop).map_err(|error| failed(&error))
}

fn failed(error: &CommandError) -> NetError {
    NetError::Failed(format!("the packet filter: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::port::AddressPair;
    use std::net::Ipv4Addr;
    use std::path::Path;

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

    #[test]
    fn the_script() {
        let text =
            render("dwarfnova_00000000_0a1b2c3d", &rules(), &["honest".into(), "port_ingress_9".into()]);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/network/guard.nft");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(path).unwrap());
    }

    #[test]
    fn rules_that_nothing_can_meet() {
        let mut rules = rules();
        let v6 = RuleSpec::all(Direction::Ingress, Ethertype::V6, Remote::Anyone);
        assert_eq!(condition(&rules, &v6), None);
        let members = RuleSpec::all(Direction::Ingress, Ethertype::V4, Remote::Group(group_id(2)));
        assert_eq!(
            condition(&rules, &members).as_deref(),
            Some("ip saddr { 10.71.1.0/24, 10.71.71.1, 10.71.72.1 } ")
        );
        rules.ports.remove(0);
        assert_eq!(condition(&rules, &members), None);
    }

    #[test]
    fn nfts_answers_are_read() {
        let answer = r#"{"nftables":[{"metainfo":{}},{"chain":{"family":"bridge","table":"a","name":"one"}},
            {"chain":{"family":"bridge","table":"b","name":"two"}}]}"#;
        assert_eq!(read_chains(answer.as_bytes(), "a").unwrap(), ["one"]);
        assert!(read_chains(b"{\"nftables\":[]}", "a").unwrap().is_empty());
        assert!(read_chains(b"nft", "a").is_err());
    }
}
