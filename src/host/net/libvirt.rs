//! Networks through libvirt: a bridge with NAT each, with dnsmasq that gives out reserved addresses only.
//!
//! libvirt keeps bridge, NAT and dnsmasq; the reservations and what guests may send are kept here. All changes to
//! one network go one by one. Each call looks at what there is and does what is missing. Networks without our mark
//! are never changed.

use super::dhcp::{self, Reservation};
use super::guard::Guard;
pub use super::guard::check as check_guard;
use super::lease::{self, Lease};
use super::leftover;
use super::network_xml::{self, Found, Frame};
use super::{HostNetwork, HostNetworkSpec, HostPortSpec, NetError, NetworkMode, ranges};
use crate::core::firewall::{NetworkRules, Reading};
use crate::core::ids::NetworkId;
use crate::host::command::Command;
use crate::host::hypervisor::HypervisorError;
use crate::host::hypervisor::libvirt::connection::{Call, Connection, Lane};
use crate::host::hypervisor::libvirt::error::{is, translate};
use crate::host::hypervisor::libvirt::ffi;
use async_trait::async_trait;
use ipnet::Ipv4Net;
use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use uuid::Uuid;
use virt::connect::Connect;
use virt::error::{Error, ErrorNumber};
use virt::network::Network;
use virt::sys;

/// Where guests ask for their metadata.
const METADATA_ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// dnsmasq forgets a released lease within milliseconds.
const RELEASE_WAIT: Duration = Duration::from_secs(2);
const SECONDS: u64 = 60;

/// The networks of this installation.
pub struct LibvirtNetwork {
    connection: Connection,
    installation: Uuid,
    guard: Guard,
}

impl LibvirtNetwork {
    /// Uses the hypervisor's link. `installation` is the owner in the mark on each network.
    pub fn new(connection: Connection, installation: Uuid) -> Self {
        Self { connection, installation, guard: Guard::new(installation) }
    }

    /// What this host and libvirt's networks use already.
    async fn used_ranges(&self) -> Result<Vec<Ipv4Net>, NetError> {
        let call = Call { name: "free_range", seconds: SECONDS, lane: Lane::Slow };
        let used = self.connection.call(call, |connect| {
            let mut used = ranges_of_networks(connect)?;
            used.extend(ranges::of_this_host().map_err(|error| HypervisorError::Failed {
                call: "free_range",
                message: "the host's addresses and routes could not be read".into(),
                source: Some(Box::new(error)),
            })?);
            Ok(used)
        });
        Ok(used.await?)
    }

    /// Runs `work` while no other call changes the network.
    async fn call<T: Send + 'static>(
        &self,
        id: NetworkId,
        name: &'static str,
        work: impl FnOnce(&Host) -> Result<T, NetError> + Send + 'static,
    ) -> Result<T, NetError> {
        let (owner, call) = (self.installation, Call { name, seconds: SECONDS, lane: Lane::OneByOne(id.0) });
        let runtime = Handle::current();
        // The link's own errors are about the call; those about networks travel inside its result.
        self.connection
            .call(call, move |connect| {
                let host = Host { connect, id, owner, call: name, runtime };
                match work(&host) {
                    Err(NetError::Hypervisor(error)) => Err(error),
                    result => Ok(result),
                }
            })
            .await?
    }
}

/// One network, for the length of one call.
struct Host<'a> {
    connect: &'a Connect,
    id: NetworkId,
    owner: Uuid,
    call: &'static str,
    /// What programs are run on.
    runtime: Handle,
}

/// Which of a network's two faces: what runs, and what is stored for the next start.
#[derive(Clone, Copy)]
enum Face {
    Running,
    Stored,
}

impl Host<'_> {
    fn failed(&self, error: Error) -> NetError {
        translate(self.call, error).into()
    }

    fn document(&self, error: &impl ToString) -> NetError {
        NetError::Failed(format!("{}: the network's document: {}", self.call, error.to_string()))
    }

    /// Our network, if it exists. One of somebody else under our UUID is an error.
    fn find(&self) -> Result<Option<Network>, NetError> {
        let network = match self.connect.lookup_network_by_uuid(self.id.0) {
            Ok(network) => network,
            Err(error) if is(&error, ErrorNumber::NoNetwork) => return Ok(None),
            Err(error) => return Err(self.failed(error)),
        };
        if self.look(&network, Face::Stored)?.owner == Some(self.owner) {
            Ok(Some(network))
        } else {
            Err(NetError::Foreign(format!("network {} on this host is not ours", self.id)))
        }
    }

    fn look(&self, network: &Network, face: Face) -> Result<Found, NetError> {
        let flags = match face {
            Face::Running => 0,
            Face::Stored => sys::VIR_NETWORK_XML_INACTIVE,
        };
        let xml = network.xml_desc(flags).map_err(|error| self.failed(error))?;
        network_xml::read(&xml).map_err(|error| self.document(&error))
    }

    fn is_active(&self, network: &Network) -> Result<bool, NetError> {
        network.is_active().map_err(|error| self.failed(error))
    }

    fn define(&self, frame: &Frame) -> Result<Network, NetError> {
        let xml = network_xml::render(self.id, self.owner, frame).map_err(|error| self.document(&error))?;
        self.connect.define_network_xml(&xml).map_err(|error| self.failed(error))
    }

    /// Defines a network that does not exist yet.
    fn create(&self, frame: &Frame) -> Result<Network, NetError> {
        let name = super::host_name(self.id);
        match self.connect.lookup_network_by_name(&name) {
            Ok(_) => {
                return Err(NetError::Foreign(format!("a network {name} that is not ours is in the way")));
            }
            Err(error) if is(&error, ErrorNumber::NoNetwork) => {}
            Err(error) => return Err(self.failed(error)),
        }
        let network = self.define(frame)?;
        network.set_autostart(true).map_err(|error| self.failed(error))?;
        Ok(network)
    }

    /// Brings the stored frame up to date, and the running one if no guest would notice.
    fn ensure_frame(&self, network: Network, frame: &Frame) -> Result<Network, NetError> {
        let stored = self.look(&network, Face::Stored)?;
        let network = if stored.frame.as_ref() == Some(frame) { network } else { self.define(frame)? };
        if self.is_active(&network)? {
            let running = self.look(&network, Face::Running)?;
            if running.frame.as_ref() != Some(frame) {
                if running.connections == 0 {
                    network.destroy().map_err(|error| self.failed(error))?;
                } else {
                    tracing::warn!(
                        network = %self.id,
                        guests = running.connections,
                        "the network's new settings wait until it is started anew: guests use it"
                    );
                }
            }
        }
        Ok(network)
    }

    fn start(&self, network: &Network) -> Result<(), NetError> {
        if self.is_active(network)? {
            return Ok(());
        }
        let name = super::host_name(self.id);
        if leftover::end_dnsmasq(&name)
            .map_err(|error| NetError::Failed(format!("the old dnsmasq of {name}: {error}")))?
        {
            tracing::warn!(network = %self.id, "the dnsmasq of a network that did not run was ended");
        }
        let Err(error) = network.create() else { return Ok(()) };
        if self.is_active(network)? {
            return Ok(());
        }
        let again = if self.remove_abandoned_bridge()? { network.create() } else { Err(error) };
        again.map_err(|error| self.failed(error))
    }

    /// Removes the bridge that a libvirtd left which died while it started this network. The network must not run. Says
    /// whether there was one.
    fn remove_abandoned_bridge(&self) -> Result<bool, NetError> {
        let (bridge, mac) = (network_xml::bridge_name(self.id), network_xml::bridge_mac(self.id));
        let failed =
            |error: &dyn std::fmt::Display| NetError::Failed(format!("the bridge {bridge}: {error}"));
        if !leftover::is_abandoned_bridge(&bridge, &mac).map_err(|error| failed(&error))? {
            return Ok(false);
        }
        tracing::warn!(network = %self.id, bridge, "a bridge was left over from an earlier start and is removed");
        let command = Command::new("ip").args(["link", "delete", "dev", &bridge, "type", "bridge"]);
        self.runtime.block_on(command.run()).map_err(|error| failed(&error))?;
        Ok(true)
    }

    /// Starts a dnsmasq that died.
    fn revive_dnsmasq(&self, network: &Network) -> Result<(), NetError> {
        if dhcp::process(&super::host_name(self.id)).is_some() {
            return Ok(());
        }
        tracing::warn!(network = %self.id, "the network's dnsmasq has died and is started again");
        self.restart_dnsmasq(network)
    }

    /// libvirt restarts dnsmasq when it has to write its settings anew, hence the two changes that leave everything as
    /// it was.
    fn restart_dnsmasq(&self, network: &Network) -> Result<(), NetError> {
        for command in [sys::VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, sys::VIR_NETWORK_UPDATE_COMMAND_DELETE] {
            network
                .update(
                    command,
                    sys::VIR_NETWORK_SECTION_DNS_TXT,
                    -1,
                    "<txt name='dwarfnova' value='restart'/>",
                    sys::VIR_NETWORK_UPDATE_AFFECT_LIVE,
                )
                .map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    /// Makes the reservations those of `wanted`, but for others that `keep` lets stay.
    fn reserve(
        &self,
        network: &Network,
        wanted: &[Reservation],
        keep: impl Fn(&Reservation) -> bool,
    ) -> Result<(), NetError> {
        let name = super::host_name(self.id);
        let failed = |error: io::Error| NetError::Failed(format!("the reservations of {name}: {error}"));
        let folder = dhcp::folder(&name);
        let missing = dhcp::create(&folder).map_err(failed)?;
        let forget = dhcp::reconcile(&folder, wanted, keep).map_err(failed)?;
        if missing && self.is_active(network)? {
            self.restart_dnsmasq(network)
        } else if forget {
            dhcp::reload(&name).map_err(failed)
        } else {
            Ok(())
        }
    }

    /// Gives up the leases that `unwanted` picks. Says whether all of them are gone.
    fn release(&self, network: &Network, unwanted: impl Fn(&Lease) -> bool) -> Result<bool, NetError> {
        if !self.is_active(network)? {
            return Ok(true);
        }
        let leases = || -> Result<Vec<Lease>, NetError> {
            let all = ffi::dhcp_leases(network).map_err(|error| self.failed(error))?;
            Ok(all.iter().filter_map(read_lease).filter(&unwanted).collect())
        };
        let mut left = leases()?;
        if left.is_empty() {
            return Ok(true);
        }
        let frame = self.look(network, Face::Running)?.frame;
        let Some(frame) = frame else { return Ok(false) };
        for lease in &left {
            lease::release(&frame.bridge, frame.gateway, lease)
                .map_err(|error| NetError::Failed(format!("cannot release {}: {error}", lease.address)))?;
        }
        let deadline = Instant::now() + RELEASE_WAIT;
        while !left.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
            left = leases()?;
        }
        Ok(left.is_empty())
    }
}

fn read_lease(lease: &ffi::DhcpLease) -> Option<Lease> {
    Some(Lease {
        mac: lease::parse_bytes(&lease.mac)?.try_into().ok()?,
        address: lease.address.parse().ok()?,
        client_id: lease.client_id.as_deref().and_then(lease::parse_bytes),
    })
}

fn mac_bytes(mac: &str) -> Option<[u8; 6]> {
    lease::parse_bytes(mac)?.try_into().ok()
}

fn ensure_network(host: &Host, spec: &HostNetworkSpec) -> Result<(), NetError> {
    let frame = network_xml::frame(spec);
    let wanted: Vec<Reservation> = spec.ports.iter().map(Reservation::from).collect();
    let network = match host.find()? {
        Some(network) => host.ensure_frame(network, &frame)?,
        None => host.create(&frame)?,
    };
    // dnsmasq does not start without the folder.
    host.reserve(&network, &wanted, |old| wanted.contains(old))?;
    host.start(&network)?;
    host.revive_dnsmasq(&network)?;
    let reserved = |lease: &Lease| {
        wanted.iter().any(|one| one.address == lease.address && mac_bytes(&one.mac) == Some(lease.mac))
    };
    if !host.release(&network, |lease| !reserved(lease))? {
        tracing::warn!(network = %host.id, "some leases without a reservation could not be taken back");
    }
    Ok(())
}

fn remove_network(host: &Host) -> Result<(), NetError> {
    if let Some(network) = host.find()? {
        if host.is_active(&network)? {
            network.destroy().map_err(|error| host.failed(error))?;
        }
        match network.undefine() {
            Ok(()) => {}
            Err(error) if is(&error, ErrorNumber::NoNetwork) => {}
            Err(error) => return Err(host.failed(error)),
        }
    }
    let name = super::host_name(host.id);
    dhcp::delete(&dhcp::folder(&name))
        .map_err(|error| NetError::Failed(format!("the reservations of {name}: {error}")))
}

fn ensure_port(host: &Host, port: &HostPortSpec) -> Result<(), NetError> {
    let network = host.find()?.ok_or(NetError::NotFound(host.id))?;
    let wanted = Reservation::from(port);
    let keep = |old: &Reservation| *old == wanted || (old.mac != wanted.mac && old.address != wanted.address);
    host.reserve(&network, std::slice::from_ref(&wanted), keep)?;
    let mac = mac_bytes(&port.mac);
    if host.release(&network, |lease| lease.address == port.address && Some(lease.mac) != mac)? {
        Ok(())
    } else {
        Err(NetError::Failed(format!("{} is still leased to somebody else", port.address)))
    }
}

fn remove_port(host: &Host, mac: &str) -> Result<(), NetError> {
    let Some(network) = host.find()? else { return Ok(()) };
    host.reserve(&network, &[], |old| old.mac != mac)?;
    let bytes = mac_bytes(mac);
    if !host.release(&network, |lease| Some(lease.mac) == bytes)? {
        // Whoever gets the address next takes the lease back first.
        tracing::warn!(network = %host.id, mac, "the lease could not be taken back yet");
    }
    Ok(())
}

fn ranges_of_networks(connect: &Connect) -> Result<Vec<Ipv4Net>, HypervisorError> {
    const CALL: &str = "free_range";
    let failed = |error| translate(CALL, error);
    let mut used = Vec::new();
    for network in connect.list_all_networks(0).map_err(failed)? {
        let xml = match network.xml_desc(0) {
            Ok(xml) => xml,
            Err(error) if is(&error, ErrorNumber::NoNetwork) => continue,
            Err(error) => return Err(failed(error)),
        };
        let ranges = network_xml::ranges(&xml).map_err(|message| HypervisorError::Failed {
            call: CALL,
            message,
            source: None,
        })?;
        used.extend(ranges);
    }
    Ok(used)
}

#[async_trait]
impl HostNetwork for LibvirtNetwork {
    fn mode(&self) -> NetworkMode {
        NetworkMode::Bridged
    }

    fn host_name(&self, id: NetworkId) -> String {
        super::host_name(id)
    }

    async fn free_range(&self, taken: &[Ipv4Net]) -> Result<Ipv4Net, NetError> {
        let mut used = self.used_ranges().await?;
        used.extend_from_slice(taken);
        ranges::first_free(&used).ok_or(NetError::NoFreeRange)
    }

    async fn is_free(&self, range: Ipv4Net) -> Result<bool, NetError> {
        Ok(ranges::is_free(range, &self.used_ranges().await?))
    }

    async fn ensure_network(&self, spec: &HostNetworkSpec) -> Result<(), NetError> {
        let spec = spec.clone();
        self.call(spec.id, "ensure_network", move |host| ensure_network(host, &spec)).await
    }

    async fn remove_network(&self, id: NetworkId) -> Result<(), NetError> {
        self.call(id, "remove_network", remove_network).await?;
        self.guard.remove(id).await
    }

    async fn ensure_port(&self, network: NetworkId, port: &HostPortSpec) -> Result<(), NetError> {
        let port = port.clone();
        self.call(network, "ensure_port", move |host| ensure_port(host, &port)).await
    }

    async fn remove_port(&self, network: NetworkId, mac: &str) -> Result<(), NetError> {
        let mac = mac.to_lowercase();
        self.call(network, "remove_port", move |host| remove_port(host, &mac)).await
    }

    async fn ensure_rules(&self, reading: Reading, rules: NetworkRules) -> Result<(), NetError> {
        self.guard.ensure(reading, rules).await
    }

    async fn forget_older_rules(&self) -> Result<(), NetError> {
        self.guard.forget_older().await
    }

    async fn ensure_metadata_address(&self) -> Result<(), NetError> {
        let has_it =
            || ranges::has_address(METADATA_ADDRESS).map_err(|error| NetError::Failed(error.to_string()));
        if has_it()? {
            return Ok(());
        }
        let address = format!("{METADATA_ADDRESS}/32");
        Command::new("ip")
            .args(["address", "replace", &address, "dev", "lo"])
            .run()
            .await
            .map_err(|error| NetError::Failed(format!("cannot add {address} to lo: {error}")))?;
        Ok(())
    }
}
