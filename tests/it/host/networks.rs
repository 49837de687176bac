//! Networks: reservations as a DHCP client sees them, repairs, and those of others.

use super::surroundings::{
    Installation, PATIENCE, alone, kill_libvirtd, run, shared, signal, start_libvirtd, virsh,
};
use dwarfnova::core::firewall::{GroupRules, NetworkRules, PortRules, Reading};
use dwarfnova::core::ids::{NetworkId, PortId, SecurityGroupId};
use dwarfnova::core::security_group::{Direction, Ethertype, Remote, RuleSpec};
use dwarfnova::host::hypervisor::spec::{NicAttachment, NicModel, NicSpec};
use dwarfnova::host::hypervisor::{DomainState, Hypervisor, HypervisorError};
use dwarfnova::host::net::libvirt::LibvirtNetwork;
use dwarfnova::host::net::{HostNetwork, HostNetworkSpec, HostPortSpec, NetError, tap_name};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Mutex;

/// Between choosing a free range and using it no other test may choose.
static CHOOSING: Mutex<()> = Mutex::const_new(());

pub(super) struct Surroundings {
    here: Installation,
    pub network: Arc<LibvirtNetwork>,
    pub spec: HostNetworkSpec,
}

impl Surroundings {
    pub async fn new() -> Self {
        let here = Installation::new();
        let network = Arc::new(LibvirtNetwork::new(here.host.connection().clone(), here.id));
        let _choosing = CHOOSING.lock().await;
        let cidr = network.free_range(&[]).await.unwrap();
        let spec = HostNetworkSpec {
            id: NetworkId::random(),
            cidr,
            gateway: cidr.hosts().next().unwrap(),
            dhcp: true,
            dns_servers: Vec::new(),
            mtu: 1400,
            ports: Vec::new(),
        };
        network.ensure_network(&spec).await.unwrap();
        Self { here, network, spec }
    }

    fn name(&self) -> String {
        self.network.host_name(self.spec.id)
    }

    pub fn bridge(&self) -> String {
        let text = virsh(&["net-info", &self.name()]);
        text.lines().find(|line| line.starts_with("Bridge:")).unwrap()[7..].trim().to_owned()
    }

    pub fn port(&self, last: u8, hostname: Option<&str>) -> HostPortSpec {
        let host = self.spec.cidr.network().octets();
        HostPortSpec {
            id: PortId::random(),
            mac: format!("fa:16:3e:{:02x}:{:02x}:{last:02x}", host[1], host[2]),
            address: Ipv4Addr::new(host[0], host[1], host[2], last),
            hostname: hostname.map(str::to_owned),
        }
    }

    /// Everything that DHCP would give out.
    fn reservations(&self) -> Vec<String> {
        let folder = format!("/var/lib/libvirt/dnsmasq/{}.reservations", self.name());
        let mut lines: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap().trim().to_owned())
            .collect();
        lines.sort();
        lines
    }

    /// The name of the network's table in the packet filter.
    pub fn table(&self) -> String {
        let id = self.spec.id.0.simple().to_string();
        format!("dwarfnova_{}_{}", &self.here.id.simple().to_string()[..8], &id[..8])
    }

    pub fn rules(&self) -> String {
        run("nft", &["list", "table", "bridge", &self.table()])
    }

    /// Filters by rules as if they had just been read.
    pub async fn filter(&self, rules: &NetworkRules) {
        self.network.ensure_rules(Reading::begin(), rules.clone()).await.unwrap();
    }

    /// Filters by the same rules as a daemon that has just been started does.
    pub async fn filter_anew(&self, rules: &NetworkRules) {
        let network = LibvirtNetwork::new(self.here.host.connection().clone(), self.here.id);
        network.ensure_rules(Reading::begin(), rules.clone()).await.unwrap();
    }

    /// These ports may send what they like in their own name, and receive everything.
    async fn open(&self, ports: &[&HostPortSpec]) {
        let group = SecurityGroupId::random();
        let both = [Direction::Egress, Direction::Ingress];
        let rules = NetworkRules {
            network: self.spec.id,
            ports: ports
                .iter()
                .map(|port| PortRules {
                    id: port.id,
                    mac: port.mac.parse().unwrap(),
                    addresses: vec![port.address],
                    allowed_pairs: Vec::new(),
                    groups: vec![group],
                })
                .collect(),
            groups: vec![GroupRules {
                id: group,
                stateful: true,
                rules: both.map(|way| RuleSpec::all(way, Ethertype::V4, Remote::Anyone)).into(),
            }],
        };
        self.filter(&rules).await;
    }

    fn leases(&self) -> String {
        virsh(&["net-dhcp-leases", &self.name()])
    }
}

/// A computer on the bridge, in a network namespace, with a DHCP client.
pub(super) struct Computer(String);

impl Computer {
    /// Plugs it in where a guest with this port would be.
    pub fn plug(bridge: &str, port: &HostPortSpec) -> Self {
        let (tap, name) = (tap_name(port.id), port.id.to_string()[..8].to_owned());
        run("ip", &["netns", "add", &name]);
        let computer = Self(name);
        let far = ["peer", "name", "eth0", "address", &port.mac, "netns", &computer.0];
        run("ip", &[&["link", "add", &tap, "type", "veth"], &far[..]].concat());
        run("ip", &["link", "set", &tap, "master", bridge, "up"]);
        computer.inside(&["ip", "link", "set", "eth0", "up"]);
        computer
    }

    pub fn command(&self, command: &[&str]) -> Command {
        let mut all = Command::new("ip");
        all.args(["netns", "exec", &self.0]).args(command);
        all
    }

    pub fn inside(&self, command: &[&str]) -> bool {
        self.command(command).output().unwrap().status.success()
    }

    /// Gives it an address more.
    pub fn give(&self, address: Ipv4Addr) {
        assert!(self.inside(&["ip", "address", "add", &format!("{address}/24"), "dev", "eth0"]));
    }

    /// The address that DHCP gives, if any within a few seconds.
    fn ask(&self, folder: &Path) -> Option<String> {
        let (script, answer) = (folder.join(format!("{}.sh", self.0)), folder.join(format!("{}.ip", self.0)));
        let text = format!("#!/bin/sh\n[ \"$1\" = bound ] && echo \"$ip\" >{}\nexit 0\n", answer.display());
        std::fs::write(&script, text).unwrap();
        run("chmod", &["0755", script.to_str().unwrap()]);
        let client = ["busybox", "udhcpc", "-f", "-q", "-n", "-t", "4", "-T", "1", "-i", "eth0", "-s"];
        // Its exit code says whether there was an answer; the file says so, too.
        self.command(&client).arg(&script).output().unwrap();
        std::fs::read_to_string(answer).ok().map(|text| text.trim().to_owned())
    }

    /// Whether the gateway answers when we call ourselves so.
    fn reaches(&self, gateway: Ipv4Addr, as_address: Ipv4Addr, as_mac: &str) -> bool {
        self.inside(&["ip", "address", "flush", "dev", "eth0"]);
        assert!(self.inside(&["ip", "link", "set", "eth0", "address", as_mac]));
        self.give(as_address);
        self.inside(&["busybox", "ping", "-c", "1", "-W", "1", &gateway.to_string()])
    }
}

impl Drop for Computer {
    fn drop(&mut self) {
        run("ip", &["netns", "delete", &self.0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_sends_only_in_its_own_name() {
    let Some(_turn) = shared("networks::a_port_sends_only_in_its_own_name").await else { return };
    let it = Surroundings::new().await;
    let (port, other) = (it.port(20, None), it.port(21, None));
    let gateway = it.spec.gateway;
    let computer = Computer::plug(&it.bridge(), &port);
    it.open(&[&port, &other]).await;
    assert!(computer.reaches(gateway, port.address, &port.mac));
    assert!(!computer.reaches(gateway, other.address, &port.mac));
    assert!(!computer.reaches(gateway, port.address, &other.mac));
    assert!(!computer.reaches(gateway, other.address, &other.mac));
    assert!(computer.reaches(gateway, port.address, &port.mac));

    // What somebody removed is back with the next look.
    run("nft", &["delete", "table", "bridge", &it.table()]);
    it.open(&[&port, &other]).await;
    assert!(!computer.reaches(gateway, other.address, &other.mac));
    assert!(computer.reaches(gateway, port.address, &port.mac));
    it.network.remove_network(it.spec.id).await.unwrap();
    assert!(!run("nft", &["list", "tables"]).contains(&it.table()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_dnsmasq_is_started_again() {
    let Some(_turn) = shared("networks::a_dead_dnsmasq_is_started_again").await else { return };
    let it = Surroundings::new().await;
    let port = it.port(20, None);
    it.network.ensure_port(it.spec.id, &port).await.unwrap();
    let file = format!("/run/libvirt/network/{}.pid", it.name());
    signal("-KILL", std::fs::read_to_string(&file).unwrap().trim());
    let spec = HostNetworkSpec { ports: vec![port.clone()], ..it.spec.clone() };
    let before = virsh(&["net-dumpxml", &it.name()]);
    it.network.ensure_network(&spec).await.unwrap();
    assert_eq!(virsh(&["net-dumpxml", &it.name()]), before);
    let computer = Computer::plug(&it.bridge(), &port);
    assert_eq!(computer.ask(it.here.folder.path()), Some(port.address.to_string()));
    it.network.remove_network(it.spec.id).await.unwrap();
}

/// A libvirtd that dies while it starts a network knows nothing of the bridge afterwards, nor of the dnsmasq.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_libvirtd_did_not_survive_is_made_up_for() {
    let Some(_turn) = alone("networks::a_start_that_libvirtd_did_not_survive_is_made_up_for").await else {
        return;
    };
    let it = Surroundings::new().await;
    let port = it.port(20, None);
    it.network.ensure_port(it.spec.id, &port).await.unwrap();
    let spec = HostNetworkSpec { ports: vec![port.clone()], ..it.spec.clone() };
    let (bridge, name) = (it.bridge(), it.name());
    let dnsmasq = std::fs::read_to_string(format!("/run/libvirt/network/{name}.pid")).unwrap();
    kill_libvirtd();
    std::fs::remove_file(format!("/run/libvirt/network/{name}.xml")).unwrap();
    start_libvirtd();
    assert!(!virsh(&["net-list", "--name"]).contains(&name), "libvirt has not forgotten that it runs");
    assert!(Path::new("/proc").join(dnsmasq.trim()).exists());

    // The first call finds out that the connection is gone, perhaps.
    let mut tried = it.network.ensure_network(&spec).await;
    for _ in 0..100 {
        if !matches!(&tried, Err(NetError::Hypervisor(error)) if matches!(error, HypervisorError::Unreachable(_)))
        {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        tried = it.network.ensure_network(&spec).await;
    }
    tried.unwrap();
    assert!(!Path::new("/proc").join(dnsmasq.trim()).exists(), "two answer guests");
    let computer = Computer::plug(&bridge, &port);
    assert_eq!(computer.ask(it.here.folder.path()), Some(port.address.to_string()));
    drop(computer);
    it.network.remove_network(spec.id).await.unwrap();
    assert!(!Path::new("/sys/class/net").join(&bridge).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_in_the_way_is_removed_only_if_it_is_ours_and_empty() {
    let Some(_turn) = shared("networks::a_bridge_in_the_way_is_removed_only_if_it_is_ours_and_empty").await
    else {
        return;
    };
    let it = Surroundings::new().await;
    let bridge = it.bridge();
    let mac = std::fs::read_to_string(format!("/sys/class/net/{bridge}/address")).unwrap();
    virsh(&["net-destroy", &it.name()]);
    run("ip", &["link", "add", "name", &bridge, "address", "52:54:00:ff:ff:ff", "type", "bridge"]);
    let refused = it.network.ensure_network(&it.spec).await.unwrap_err().to_string();
    assert!(refused.contains("File exists"), "{refused}");

    run("ip", &["link", "set", "dev", &bridge, "address", mac.trim()]);
    run("ip", &["link", "add", "name", "plugged", "type", "veth", "peer", "name", "far"]);
    run("ip", &["link", "set", "dev", "plugged", "master", &bridge]);
    let refused = it.network.ensure_network(&it.spec).await.unwrap_err().to_string();
    assert!(refused.contains("File exists"), "{refused}");

    run("ip", &["link", "delete", "dev", "plugged"]);
    it.network.ensure_network(&it.spec).await.unwrap();
    assert!(virsh(&["net-list", "--name"]).contains(&it.name()));
    it.network.remove_network(it.spec.id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_reserved_addresses_are_given_out_and_come_back() {
    let Some(_turn) = shared("networks::only_reserved_addresses_are_given_out_and_come_back").await else {
        return;
    };
    let it = Surroundings::new().await;
    let (port, stranger) = (it.port(20, Some("web")), it.port(21, None));
    it.network.ensure_port(it.spec.id, &port).await.unwrap();
    it.network.ensure_port(it.spec.id, &port).await.unwrap();
    assert_eq!(it.reservations(), [format!("{},{},web", port.mac, port.address)]);

    let computer = Computer::plug(&it.bridge(), &port);
    assert_eq!(computer.ask(it.here.folder.path()), Some(port.address.to_string()));
    assert!(it.leases().contains(&port.mac), "{}", it.leases());
    let uninvited = Computer::plug(&it.bridge(), &stranger);
    assert_eq!(uninvited.ask(it.here.folder.path()), None);
    drop(computer);

    // The address goes to another port while the first one's lease still runs.
    let successor = HostPortSpec { address: port.address, ..stranger.clone() };
    it.network.ensure_port(it.spec.id, &successor).await.unwrap();
    assert_eq!(it.reservations(), [format!("{},{}", successor.mac, successor.address)]);
    assert_eq!(uninvited.ask(it.here.folder.path()), Some(port.address.to_string()));

    it.network.remove_port(it.spec.id, &successor.mac).await.unwrap();
    it.network.remove_port(it.spec.id, &successor.mac).await.unwrap();
    assert_eq!(it.reservations(), Vec::<String>::new());
    assert!(!it.leases().contains(&successor.mac), "{}", it.leases());
    it.network.remove_network(it.spec.id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_ports_at_once() {
    let Some(_turn) = shared("networks::many_ports_at_once").await else { return };
    let it = Surroundings::new().await;
    let ports: Vec<HostPortSpec> = (10..40).map(|last| it.port(last, Some("same"))).collect();
    let begun = Instant::now();
    let calls: Vec<_> = ports
        .iter()
        .cloned()
        .map(|port| {
            let (network, id) = (Arc::clone(&it.network), it.spec.id);
            tokio::spawn(async move { network.ensure_port(id, &port).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert!(begun.elapsed() < PATIENCE);
    assert_eq!(it.reservations().len(), ports.len());
    // One network for all to be compared with: what the store says.
    let spec = HostNetworkSpec { ports: ports[..3].to_vec(), ..it.spec.clone() };
    it.network.ensure_network(&spec).await.unwrap();
    assert_eq!(it.reservations().len(), 3);
    it.network.remove_network(it.spec.id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_broke_is_repaired() {
    let Some(_turn) = shared("networks::what_others_broke_is_repaired").await else { return };
    let it = Surroundings::new().await;
    let spec = HostNetworkSpec { ports: vec![it.port(10, Some("a")), it.port(11, None)], ..it.spec.clone() };
    it.network.ensure_network(&spec).await.unwrap();
    let good = virsh(&["net-dumpxml", "--inactive", &it.name()]);

    let folder = format!("/var/lib/libvirt/dnsmasq/{}.reservations", it.name());
    let reservations = it.reservations();
    std::fs::remove_dir_all(&folder).unwrap();
    it.network.ensure_network(&spec).await.unwrap();
    assert_eq!(it.reservations(), reservations);
    let computer = Computer::plug(&it.bridge(), &spec.ports[0]);
    assert_eq!(computer.ask(it.here.folder.path()), Some(spec.ports[0].address.to_string()));
    drop(computer);
    std::fs::write(format!("{folder}/stray"), "fa:16:3e:00:00:99,10.9.9.9\n").unwrap();
    it.network.ensure_network(&spec).await.unwrap();
    assert_eq!(it.reservations(), reservations);

    virsh(&["net-destroy", &it.name()]);
    it.network.ensure_network(&spec).await.unwrap();
    assert!(virsh(&["net-list", "--name"]).contains(&it.name()));

    virsh(&["net-destroy", &it.name()]);
    virsh(&["net-undefine", &it.name()]);
    it.network.ensure_network(&spec).await.unwrap();
    assert_eq!(virsh(&["net-dumpxml", "--inactive", &it.name()]), good);

    // New settings are taken over at once while nobody is plugged in.
    let changed = HostNetworkSpec { mtu: 1300, ..spec.clone() };
    it.network.ensure_network(&changed).await.unwrap();
    assert!(virsh(&["net-dumpxml", &it.name()]).contains("<mtu size='1300'/>"));
    it.network.remove_network(spec.id).await.unwrap();
    it.network.remove_network(spec.id).await.unwrap();
    assert!(!virsh(&["net-list", "--all", "--name"]).contains(&it.name()));
    let missing = it.network.ensure_port(spec.id, &spec.ports[0]).await;
    assert!(matches!(missing, Err(NetError::NotFound(id)) if id == spec.id));
    it.network.remove_port(spec.id, &spec.ports[0].mac).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_of_others_are_not_touched() {
    let Some(_turn) = shared("networks::networks_of_others_are_not_touched").await else { return };
    let it = Surroundings::new().await;
    let other = Installation::new();
    let others = LibvirtNetwork::new(other.host.connection().clone(), other.id);
    let before = virsh(&["net-dumpxml", &it.name()]);
    assert!(matches!(others.ensure_network(&it.spec).await, Err(NetError::Foreign(_))));
    assert!(matches!(others.remove_network(it.spec.id).await, Err(NetError::Foreign(_))));
    assert!(matches!(others.ensure_port(it.spec.id, &it.port(9, None)).await, Err(NetError::Foreign(_))));
    assert_eq!(virsh(&["net-dumpxml", &it.name()]), before);

    let used: Ipv4Net = "192.168.122.0/24".parse().unwrap();
    let everything_else = ["10.0.0.0/8", "192.168.0.0/18", "192.168.64.0/19", "192.168.96.0/20"]
        .map(|range| range.parse::<Ipv4Net>().unwrap());
    let mut next = others.free_range(&everything_else).await.unwrap();
    let mut taken = everything_else.to_vec();
    while next.network() < used.network() {
        taken.push(next);
        next = others.free_range(&taken).await.unwrap();
    }
    assert_ne!(next, used, "Debian's default network uses this range");
    it.network.remove_network(it.spec.id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_attaches_to_its_port() {
    let Some(_turn) = shared("networks::a_guest_attaches_to_its_port").await else { return };
    let it = Surroundings::new().await;
    let port = it.port(30, Some("guest"));
    it.network.ensure_port(it.spec.id, &port).await.unwrap();
    it.open(&[&port]).await;
    let mut spec = it.here.guest();
    spec.nics.push(NicSpec {
        port: port.id,
        mac: port.mac.clone(),
        attachment: NicAttachment::HostNetwork { name: it.name() },
        addresses: vec![port.address.into()],
        mtu: Some(1400),
        model: NicModel::Virtio,
    });
    it.here.host.define(&spec).await.unwrap();
    it.here.host.start(spec.id).await.unwrap();
    it.here.wait_for_state(spec.id, DomainState::Running).await;
    let tap = tap_name(port.id);
    let link = run("ip", &["link", "show", "dev", &tap]);
    assert!(link.contains("mtu 1400") && link.contains(&it.bridge()), "{link}");
    let rules = it.rules();
    assert!(rules.contains(&format!("\"{tap}\" . {}", port.mac)), "{rules}");
    assert!(rules.contains(&format!("\"{tap}\" . {}", port.address)), "{rules}");

    // With a guest plugged in, new settings wait, and the guest keeps its network.
    let changed = HostNetworkSpec { mtu: 1300, ports: vec![port.clone()], ..it.spec.clone() };
    it.network.ensure_network(&changed).await.unwrap();
    assert!(run("ip", &["link", "show", "dev", &tap]).contains(&it.bridge()));
    it.here.remove(&spec).await;
    it.network.remove_network(it.spec.id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_address_is_added_once() {
    let Some(_turn) = shared("networks::the_metadata_address_is_added_once").await else { return };
    let here = Installation::new();
    let network = LibvirtNetwork::new(here.host.connection().clone(), here.id);
    network.ensure_metadata_address().await.unwrap();
    network.ensure_metadata_address().await.unwrap();
    let addresses = run("ip", &["-4", "address", "show", "dev", "lo"]);
    assert_eq!(addresses.matches("169.254.169.254/32").count(), 1, "{addresses}");
}
