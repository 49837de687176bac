//! Networks: reservations as a DHCP client sees them, repairs, and those of others.

use super::surroundings::{Installation, PATIENCE, run, shared, virsh};
use dwarfnova::core::ids::{NetworkId, PortId};
use dwarfnova::host::hypervisor::spec::{NicAttachment, NicModel, NicSpec};
use dwarfnova::host::hypervisor::{DomainState, Hypervisor};
use dwarfnova::host::net::libvirt::LibvirtNetwork;
use dwarfnova::host::net::{HostNetwork, HostNetworkSpec, HostPortSpec, NetError};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Mutex;

/// Between choosing a free range and using it no other test may choose.
static CHOOSING: Mutex<()> = Mutex::const_new(());

struct Surroundings {
    here: Installation,
    network: Arc<LibvirtNetwork>,
    spec: HostNetworkSpec,
}

impl Surroundings {
    async fn new() -> Self {
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

    fn bridge(&self) -> String {
        let text = virsh(&["net-info", &self.name()]);
        text.lines().find(|line| line.starts_with("Bridge:")).unwrap()[7..].trim().to_owned()
    }

    fn port(&self, last: u8, hostname: Option<&str>) -> HostPortSpec {
        let host = self.spec.cidr.network().octets();
        HostPortSpec {
            id: PortId::random(),
            mac: format!("fa:16:3e:{:02x}:{:02x}:{last:02x}", host[1], host[2]),
            address: Ipv4Addr::new(host[0], host[1], host[2], last),
            hostname: hostname.map(str::to_owned),
        }
    }

    fn has_reservation(&self, port: &HostPortSpec) -> (bool, bool) {
        let holds = |text: String| {
            text.lines().any(|line| {
                line.contains(&format!("mac='{}'", port.mac))
                    && line.contains(&format!("ip='{}'", port.address))
            })
        };
        (
            holds(virsh(&["net-dumpxml", &self.name()])),
            holds(virsh(&["net-dumpxml", "--inactive", &self.name()])),
        )
    }

    fn leases(&self) -> String {
        virsh(&["net-dhcp-leases", &self.name()])
    }
}

/// A computer on the bridge: one end of a cable, with a DHCP client.
struct Cable(String);

impl Cable {
    fn plug(bridge: &str, mac: &str) -> Self {
        let name = format!("c{}", &mac.replace(':', "")[6..]);
        let far = format!("{name}x");
        run("ip", &["link", "add", &name, "address", mac, "type", "veth", "peer", "name", &far]);
        run("ip", &["link", "set", &far, "master", bridge, "up"]);
        run("ip", &["link", "set", &name, "up"]);
        Self(name)
    }

    /// The address that DHCP gives, if any within a few seconds.
    fn ask(&self, folder: &std::path::Path) -> Option<String> {
        let (script, answer) = (folder.join(format!("{}.sh", self.0)), folder.join(format!("{}.ip", self.0)));
        let text = format!("#!/bin/sh\n[ \"$1\" = bound ] && echo \"$ip\" >{}\nexit 0\n", answer.display());
        std::fs::write(&script, text).unwrap();
        run("chmod", &["0755", script.to_str().unwrap()]);
        let client = ["udhcpc", "-f", "-q", "-n", "-t", "4", "-T", "1", "-i", &self.0, "-s"];
        // Its exit code says whether there was an answer; the file says so, too.
        Command::new("busybox").args(client).arg(&script).output().unwrap();
        std::fs::read_to_string(answer).ok().map(|text| text.trim().to_owned())
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        run("ip", &["link", "delete", &self.0]);
    }
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
    assert_eq!(it.has_reservation(&port), (true, true));

    let cable = Cable::plug(&it.bridge(), &port.mac);
    assert_eq!(cable.ask(it.here.folder.path()), Some(port.address.to_string()));
    assert!(it.leases().contains(&port.mac), "{}", it.leases());
    let uninvited = Cable::plug(&it.bridge(), &stranger.mac);
    assert_eq!(uninvited.ask(it.here.folder.path()), None);
    drop(cable);

    // The address goes to another port while the first one's lease still runs.
    let successor = HostPortSpec { address: port.address, ..stranger.clone() };
    it.network.ensure_port(it.spec.id, &successor).await.unwrap();
    assert_eq!(it.has_reservation(&port), (false, false));
    assert_eq!(uninvited.ask(it.here.folder.path()), Some(port.address.to_string()));

    it.network.remove_port(it.spec.id, &successor.mac).await.unwrap();
    it.network.remove_port(it.spec.id, &successor.mac).await.unwrap();
    assert_eq!(it.has_reservation(&successor), (false, false));
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
    assert!(ports.iter().all(|port| it.has_reservation(port) == (true, true)));
    // One network for all to be compared with: what the store says.
    let spec = HostNetworkSpec { ports: ports[..3].to_vec(), ..it.spec.clone() };
    it.network.ensure_network(&spec).await.unwrap();
    assert_eq!(virsh(&["net-dumpxml", &it.name()]).matches("<host ").count(), 3);
    it.network.remove_network(it.spec.id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_broke_is_repaired() {
    let Some(_turn) = shared("networks::what_others_broke_is_repaired").await else { return };
    let it = Surroundings::new().await;
    let spec = HostNetworkSpec { ports: vec![it.port(10, Some("a")), it.port(11, None)], ..it.spec.clone() };
    it.network.ensure_network(&spec).await.unwrap();
    let good = virsh(&["net-dumpxml", "--inactive", &it.name()]);

    let host = format!("<host mac='{}' ip='{}'/>", spec.ports[0].mac, spec.ports[0].address);
    virsh(&["net-update", &it.name(), "delete", "ip-dhcp-host", &host, "--live"]);
    let stray = format!("<host mac='fa:16:3e:00:00:99' ip='{}'/>", it.port(99, None).address);
    virsh(&["net-update", &it.name(), "add", "ip-dhcp-host", &stray, "--config"]);
    it.network.ensure_network(&spec).await.unwrap();
    assert!(spec.ports.iter().all(|port| it.has_reservation(port) == (true, true)));
    assert_eq!(virsh(&["net-dumpxml", "--inactive", &it.name()]).lines().count(), good.lines().count());

    virsh(&["net-destroy", &it.name()]);
    it.network.ensure_network(&spec).await.unwrap();
    assert_eq!(it.has_reservation(&spec.ports[0]), (true, true));

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
async fn a_guest_attaches_with_its_filter() {
    let Some(_turn) = shared("networks::a_guest_attaches_with_its_filter").await else { return };
    let it = Surroundings::new().await;
    let port = it.port(30, Some("guest"));
    it.network.ensure_port(it.spec.id, &port).await.unwrap();
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
    let tap = format!("tap{}", &port.id.to_string()[..11]);
    let link = run("ip", &["link", "show", "dev", &tap]);
    assert!(link.contains("mtu 1400") && link.contains(&it.bridge()), "{link}");
    let rules = run("ebtables", &["-t", "nat", "-L"]);
    assert!(rules.contains(&tap) && rules.contains(&port.address.to_string()), "{rules}");

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
