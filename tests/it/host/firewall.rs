//! Security groups as computers on the bridge and the host meet them.

use super::networks::{Computer, Surroundings};
use super::surroundings::{run, shared};
use crate::harness::Random;
use dwarfnova::core::firewall::{GroupRules, NetworkRules, PortRules, Reading};
use dwarfnova::core::ids::SecurityGroupId;
use dwarfnova::core::port::AddressPair;
use dwarfnova::core::security_group::{Direction, Ethertype, Remote, RuleSpec, first_rules};
use dwarfnova::host::net::{HostNetwork, HostPortSpec};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

/// Says everything back, by TCP and by UDP.
const SERVER: &str = "
import socket, sys, threading
port = int(sys.argv[1])
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(('0.0.0.0', port))
tcp = socket.create_server(('0.0.0.0', port))
def datagrams():
    while True:
        data, peer = udp.recvfrom(2000); udp.sendto(data, peer)
threading.Thread(target=datagrams, daemon=True).start()
print('ready', flush=True)
while True:
    peer, _ = tcp.accept(); peer.sendall(peer.recv(2000)); peer.close()
";

/// Ends well when what it says comes back.
const CLIENT: &str = "
import socket, sys
kind, host, port, seconds = sys.argv[1:]
end = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == 'tcp' else socket.SOCK_DGRAM)
end.settimeout(float(seconds))
end.connect((host, int(port))); end.sendall(b'hello')
assert end.recv(2000) == b'hello'
";

struct Server(Child);

impl Server {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut lines, &mut String::new()).unwrap();
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn serve(at: &Computer, port: &str) -> Server {
    Server::start(at.command(&["python3", "-c", SERVER, port]))
}

/// Whether there is an answer within some seconds; `None` asks from the host. A ping has a size in place of a port.
fn asks(from: Option<&Computer>, kind: &str, to: Ipv4Addr, port: &str, seconds: &str) -> bool {
    let to = to.to_string();
    let words = match kind {
        "ping" => vec!["busybox", "ping", "-c", "1", "-W", seconds, "-s", port, &to],
        _ => vec!["python3", "-c", CLIENT, kind, &to, port, seconds],
    };
    let mut command = if let Some(computer) = from {
        computer.command(&words)
    } else {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command
    };
    command.output().unwrap().status.success()
}

#[track_caller]
fn reaches(from: Option<&Computer>, kind: &str, to: Ipv4Addr, port: &str) {
    assert!(asks(from, kind, to, port, "5"), "no {kind} answer from {to}");
}

#[track_caller]
fn cut_off(from: Option<&Computer>, kind: &str, to: Ipv4Addr, port: &str) {
    assert!(!asks(from, kind, to, port, "1"), "a {kind} answer from {to}");
}

fn port(spec: &HostPortSpec, more: &[Ipv4Addr], groups: &[SecurityGroupId]) -> PortRules {
    let mut addresses = vec![spec.address];
    addresses.extend(more);
    let mac = spec.mac.parse().unwrap();
    PortRules { id: spec.id, mac, addresses, allowed_pairs: Vec::new(), groups: groups.to_vec() }
}

fn ingress(protocol: &str, port: u16) -> RuleSpec {
    let all = RuleSpec::all(Direction::Ingress, Ethertype::V4, Remote::Anyone);
    RuleSpec { protocol: Some(protocol.into()), port_min: Some(port), port_max: Some(port), ..all }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_decide_who_reaches_whom() {
    let Some(_turn) = shared("firewall::groups_decide_who_reaches_whom").await else { return };
    let it = Surroundings::new().await;
    let specs = [20, 21, 22, 23].map(|last| it.port(last, None));
    let second = it.port(40, None).address;
    let computers = [0, 1, 2, 3].map(|index| Computer::plug(&it.bridge(), &specs[index]));
    for (computer, spec) in computers.iter().zip(&specs) {
        // As DHCP tells a guest: what is larger does not pass the bridge.
        assert!(computer.inside(&["ip", "link", "set", "eth0", "mtu", &it.spec.mtu.to_string()]));
        computer.give(spec.address);
    }
    computers[0].give(second);
    let [a, b, lonely, open] = &computers;
    let [at_a, at_b, at_lonely, at_open] = specs.each_ref().map(|spec| spec.address);
    let gateway = it.spec.gateway;

    let default = SecurityGroupId::random();
    let (floating, router) = (it.port(60, None).address, "00:00:5e:00:01:01".parse().unwrap());
    let mut rules = NetworkRules {
        network: it.spec.id,
        // The last one has no port security: it is not named.
        ports: vec![
            port(&specs[0], &[second], &[default]),
            port(&specs[1], &[], &[default]),
            port(&specs[2], &[], &[]),
        ],
        groups: vec![GroupRules { id: default, stateful: true, rules: first_rules(default, true) }],
    };
    it.filter(&rules).await;
    let _servers = [serve(a, "22"), serve(b, "22"), serve(lonely, "22"), serve(open, "22")];

    // Members reach each other, in pieces too; others reach no member; members reach others, who may answer.
    for kind in ["tcp", "udp"] {
        reaches(Some(a), kind, at_b, "22");
        cut_off(None, kind, at_a, "22");
        cut_off(Some(open), kind, at_a, "22");
        reaches(Some(a), kind, at_open, "22");
        cut_off(Some(a), kind, at_lonely, "22");
        cut_off(Some(lonely), kind, at_open, "22");
        reaches(None, kind, at_open, "22");
    }
    reaches(Some(b), "ping", at_a, "5000");
    reaches(Some(b), "ping", second, "56");
    reaches(Some(a), "ping", gateway, "56");
    cut_off(None, "ping", at_a, "56");
    cut_off(Some(lonely), "ping", gateway, "56");

    // An address that is not its own, once it may use it.
    b.give(floating);
    cut_off(Some(a), "tcp", floating, "22");
    let range = format!("{floating}/30").parse().unwrap();
    rules.ports[1].allowed_pairs.push(AddressPair { mac: router, range });
    it.filter(&rules).await;
    reaches(Some(a), "tcp", floating, "22");

    // A rule more, at once; and what it does not say stays closed.
    rules.groups[0].rules.push(ingress("tcp", 22));
    rules.groups[0].rules.push(ingress("icmp", 8));
    rules.groups[0].rules.last_mut().unwrap().port_max = None;
    it.filter(&rules).await;
    reaches(None, "tcp", at_a, "22");
    cut_off(None, "udp", at_a, "22");
    cut_off(Some(open), "udp", at_a, "22");
    reaches(None, "ping", at_b, "56");

    // Only from some; and without it again.
    let prefix = format!("{at_open}/32").parse().unwrap();
    rules.groups[0].rules[4].remote = Remote::Prefix(prefix);
    it.filter(&rules).await;
    cut_off(None, "tcp", at_a, "22");
    reaches(Some(open), "tcp", at_a, "22");
    rules.groups[0].rules.truncate(4);
    it.filter(&rules).await;
    cut_off(Some(open), "tcp", at_a, "22");

    // Without the rule for sending, a member sends nothing on its own, and still answers.
    rules.groups[0].rules.retain(|rule| rule.direction == Direction::Ingress);
    rules.groups[0].rules.push(ingress("tcp", 22));
    it.filter(&rules).await;
    cut_off(Some(a), "udp", at_open, "22");
    reaches(None, "tcp", at_a, "22");

    // A member less is no member for the others either.
    rules.groups[0].rules = first_rules(default, true);
    rules.ports.remove(1);
    it.filter(&rules).await;
    cut_off(Some(b), "tcp", at_a, "22");
    assert!(!it.rules().contains(&specs[1].mac));
    it.network.remove_network(it.spec.id).await.unwrap();
    assert!(!run("nft", &["list", "tables"]).contains(&it.table()));
}

/// All that is in the network's table, in an order of its own, without the kernel's numbers.
fn contents(it: &Surroundings) -> BTreeMap<String, Vec<String>> {
    let text = run("nft", &["-j", "list", "table", "bridge", &it.table()]);
    let answer: Value = serde_json::from_str(&text).unwrap();
    let mut contents = BTreeMap::<String, Vec<String>>::new();
    for object in answer["nftables"].as_array().unwrap() {
        for (kind, what) in object.as_object().unwrap() {
            match kind.as_str() {
                "rule" => {
                    let rules = contents.entry(format!("chain {}", what["chain"])).or_default();
                    rules.push(what["expr"].to_string());
                }
                "set" | "map" => {
                    let elements = what["elem"].as_array().map(Vec::as_slice).unwrap_or_default();
                    let mut elements: Vec<String> = elements.iter().map(Value::to_string).collect();
                    elements.sort();
                    contents.insert(format!("set {}", what["name"]), elements);
                }
                "chain" => {
                    contents.entry(format!("chain {}", what["name"])).or_default();
                }
                _ => {}
            }
        }
    }
    contents
}

/// Ports and groups by chance; the ports' addresses and ranges lie within each other now and then.
fn some_rules(
    chance: &mut Random,
    it: &Surroundings,
    specs: &[HostPortSpec],
    ids: &[SecurityGroupId],
) -> NetworkRules {
    let count = 1 + chance.below(specs.len());
    let ports = chance.some(specs.iter().collect(), count);
    let group = |chance: &mut Random, id: &SecurityGroupId| {
        let mut rules = first_rules(*id, chance.below(2) == 0);
        if chance.below(2) == 0 {
            let remote = Remote::Group(*chance.choose(ids));
            rules.push(RuleSpec { remote, ..ingress("udp", 53) });
        }
        GroupRules { id: *id, stateful: chance.below(4) > 0, rules }
    };
    let count = chance.below(ids.len() + 1);
    let groups: Vec<GroupRules> =
        chance.some(ids.to_vec(), count).iter().map(|id| group(chance, id)).collect();
    let ports = ports.into_iter().map(|spec| {
        let known: Vec<SecurityGroupId> = groups.iter().map(|group| group.id).collect();
        let count = chance.below(known.len() + 1);
        let mut port = port(spec, &[], &chance.some(known, count));
        if chance.below(3) == 0 {
            let range = format!("{}/{}", spec.address, 24 + chance.below(9)).parse().unwrap();
            port.allowed_pairs.push(AddressPair { mac: port.mac, range });
        }
        port
    });
    let ports = ports.collect();
    NetworkRules { network: it.spec.id, ports, groups }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_come_to_the_same_as_writing_anew() {
    let Some(_turn) = shared("firewall::changes_come_to_the_same_as_writing_anew").await else { return };
    let it = Surroundings::new().await;
    let mut chance = Random::new("changes of rules");
    let specs: Vec<HostPortSpec> = (20..28).map(|last| it.port(last, None)).collect();
    let ids = [(); 3].map(|()| SecurityGroupId::random());
    let mut rules = some_rules(&mut chance, &it, &specs, &ids);
    it.filter(&rules).await;
    for round in 0..30 {
        if chance.below(4) > 0 {
            rules = some_rules(&mut chance, &it, &specs, &ids);
        }
        if chance.below(5) == 0 {
            run("nft", &["delete", "table", "bridge", &it.table()]);
        }
        it.filter(&rules).await;
        let changed = contents(&it);
        it.filter_anew(&rules).await;
        assert_eq!(changed, contents(&it), "round {round}: {rules:#?}");
    }
    it.network.remove_network(it.spec.id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_were_read_earlier_change_nothing() {
    let Some(_turn) = shared("firewall::rules_that_were_read_earlier_change_nothing").await else { return };
    let it = Surroundings::new().await;
    let specs: Vec<HostPortSpec> = (20..40).map(|last| it.port(last, None)).collect();
    let rules = |count: usize| NetworkRules {
        network: it.spec.id,
        ports: specs[..count].iter().map(|spec| port(spec, &[], &[])).collect(),
        groups: Vec::new(),
    };
    let early = Reading::begin();
    // All at once: each ends when what it read, or what was read later, stands.
    let readings: Vec<(Reading, usize)> = (1..=specs.len()).map(|count| (Reading::begin(), count)).collect();
    let last = specs.last().unwrap();
    futures_util::future::join_all(readings.into_iter().rev().map(|(reading, count)| {
        let (network, rules) = (&it.network, rules(count));
        async move { network.ensure_rules(reading, rules).await.unwrap() }
    }))
    .await;
    assert!(it.rules().contains(&last.mac));
    it.network.ensure_rules(early, rules(1)).await.unwrap();
    assert!(it.rules().contains(&last.mac));
    it.network.remove_network(it.spec.id).await.unwrap();
    it.network.ensure_rules(early, rules(1)).await.unwrap();
    assert!(!run("nft", &["list", "tables"]).contains(&it.table()));
}
