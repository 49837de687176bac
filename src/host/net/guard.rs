//! Keeps guests from speaking in another's name: an nftables table that lets each port send only with its own MAC
//! and IPv4 address.
//!
//! One table for each installation, and in it a chain and two sets for each network. A port's rules stand before its
//! guest starts, since the name of its device is known beforehand. libvirt's filters do the same with some sixty runs of
//! ebtables, which costs each start of a guest two seconds; this is one run of nft, and all of a change happens
//! at once.

use super::{HostPortSpec, NetError, tap_name};
use crate::core::ids::NetworkId;
use crate::host::command::{Command, CommandError};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use tokio::sync::Mutex;
use uuid::Uuid;

/// One port that may send.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permit {
    /// The port's device on the host.
    pub tap: String,
    /// Lower case.
    pub mac: String,
    pub address: Ipv4Addr,
}

impl From<&HostPortSpec> for Permit {
    fn from(port: &HostPortSpec) -> Self {
        Self { tap: tap_name(port.id), mac: port.mac.to_lowercase(), address: port.address }
    }
}

/// The table of one installation.
pub struct Guard {
    table: String,
    /// Changes read first and write then, so they go one by one.
    turn: Mutex<()>,
}

impl Guard {
    pub fn new(installation: Uuid) -> Self {
        let table = format!("dwarfnova_{}", &installation.simple().to_string()[..8]);
        Self { table, turn: Mutex::new(()) }
    }

    /// Ensures that the ports of this network are exactly these.
    pub async fn ensure(&self, id: NetworkId, permits: &BTreeSet<Permit>) -> Result<(), NetError> {
        let _turn = self.turn.lock().await;
        let old = self.read(id).await?.unwrap_or_default();
        self.write(id, &old, permits).await
    }

    /// Lets one port send; takes the permit from whoever had its device, MAC or address.
    pub async fn permit(&self, id: NetworkId, permit: Permit) -> Result<(), NetError> {
        let _turn = self.turn.lock().await;
        let old = self.read(id).await?.unwrap_or_default();
        if old.contains(&permit) {
            return Ok(());
        }
        let mut new = old.clone();
        new.retain(|other| {
            other.tap != permit.tap && other.mac != permit.mac && other.address != permit.address
        });
        new.insert(permit);
        self.write(id, &old, &new).await
    }

    /// Ensures that there are no rules for a port with this MAC. Its guest must be gone.
    pub async fn forget(&self, id: NetworkId, mac: &str) -> Result<(), NetError> {
        let _turn = self.turn.lock().await;
        let Some(old) = self.read(id).await? else { return Ok(()) };
        let mut new = old.clone();
        new.retain(|permit| permit.mac != mac);
        if new == old { Ok(()) } else { self.write(id, &old, &new).await }
    }

    /// Ensures that there are no rules for the network, and no table when it was the last one.
    pub async fn remove(&self, id: NetworkId) -> Result<(), NetError> {
        let _turn = self.turn.lock().await;
        let Some(old) = self.read(id).await? else { return Ok(()) };
        let (table, names) = (&self.table, Names::of(id));
        let mut script = String::new();
        forget_devices(&mut script, table, &names, &old);
        writeln!(script, "delete chain bridge {table} {}", names.chain).ok();
        writeln!(script, "delete set bridge {table} {}", names.macs).ok();
        writeln!(script, "delete set bridge {table} {}", names.addresses).ok();
        nft(script).await?;
        if self.networks().await? == 0 {
            nft(format!("delete table bridge {table}\n")).await?;
        }
        Ok(())
    }

    async fn write(
        &self,
        id: NetworkId,
        old: &BTreeSet<Permit>,
        new: &BTreeSet<Permit>,
    ) -> Result<(), NetError> {
        nft(render(&self.table, id, old, new)).await
    }

    /// The ports that may send now; `None` if there are no rules for the network.
    async fn read(&self, id: NetworkId) -> Result<Option<BTreeSet<Permit>>, NetError> {
        let names = Names::of(id);
        let Some(macs) = self.elements(&names.macs).await? else { return Ok(None) };
        let Some(addresses) = self.elements(&names.addresses).await? else { return Ok(None) };
        Ok(Some(join(&macs, &addresses)))
    }

    /// How many networks have rules.
    async fn networks(&self) -> Result<usize, NetError> {
        let chains = self.list(&["table", "bridge", &self.table]).await?.unwrap_or_default();
        Ok(chains
            .iter()
            .filter_map(|object| object["chain"]["name"].as_str())
            .filter(|name| name.starts_with("from_"))
            .count())
    }

    /// The elements of a set, or `None` if it does not exist.
    async fn elements(&self, name: &str) -> Result<Option<Vec<Value>>, NetError> {
        let objects = self.list(&["set", "bridge", &self.table, name]).await?;
        Ok(objects.as_deref().map(elements_in))
    }

    /// What nft lists, or `None` if it does not exist.
    async fn list(&self, what: &[&str]) -> Result<Option<Vec<Value>>, NetError> {
        let command =
            Command::new("nft").args(["-j", "list"]).args(what.iter().copied()).max_stdout(16 << 20);
        let output = match command.run().await {
            Ok(output) => output,
            Err(CommandError::Failed { stderr, .. }) if stderr.contains("No such file or directory") => {
                return Ok(None);
            }
            Err(error) => return Err(failed(&error)),
        };
        read_objects(&output.stdout).map(Some).map_err(|error| NetError::Failed(format!("nft: {error}")))
    }
}

/// The names of a network's parts of the table.
struct Names {
    chain: String,
    macs: String,
    addresses: String,
}

impl Names {
    fn of(id: NetworkId) -> Self {
        let short = &id.0.simple().to_string()[..11];
        Self {
            chain: format!("from_{short}"),
            macs: format!("macs_{short}"),
            addresses: format!("addresses_{short}"),
        }
    }
}

/// Takes the devices out of the map. Added first, since deleting what is not there would fail the whole script.
/// Writing into a string cannot fail.
fn forget_devices(script: &mut String, table: &str, names: &Names, permits: &BTreeSet<Permit>) {
    for Permit { tap, .. } in permits {
        let element = format!("bridge {table} by_port {{ \"{tap}\" : jump {} }}", names.chain);
        writeln!(script, "add element {element}\ndelete element {element}").ok();
    }
}

/// The script that makes the network's rules what they should be, whatever was there. nft applies all or nothing.
fn render(table: &str, id: NetworkId, old: &BTreeSet<Permit>, new: &BTreeSet<Permit>) -> String {
    let names = Names::of(id);
    let Names { chain, macs, addresses } = &names;
    let mut script = format!(
        "add table bridge {table}\n\
         add map bridge {table} by_port {{ type ifname : verdict; }}\n\
         add chain bridge {table} guard {{ type filter hook prerouting priority -300; policy accept; }}\n\
         flush chain bridge {table} guard\n\
         add rule bridge {table} guard iifname vmap @by_port\n\
         add set bridge {table} {macs} {{ type ifname . ether_addr; }}\n\
         add set bridge {table} {addresses} {{ type ifname . ipv4_addr; }}\n\
         flush set bridge {table} {macs}\n\
         flush set bridge {table} {addresses}\n\
         add chain bridge {table} {chain}\n\
         flush chain bridge {table} {chain}\n"
    );
    // The MAC; announcements after a restore; ARP for one's own or while asking whether an address is free; no DHCP
    // server; IPv4 from one's own address; asking DHCP for one. Nothing else, IPv6 included.
    let rules = [
        format!("iifname . ether saddr != @{macs} drop"),
        "ether type 0x8035 accept".into(),
        format!("ether type arp iifname . arp saddr ether != @{macs} drop"),
        format!("ether type arp iifname . arp saddr ip @{addresses} accept"),
        "ether type arp arp saddr ip 0.0.0.0 accept".into(),
        "ether type ip udp sport 67 drop".into(),
        format!("ether type ip iifname . ip saddr @{addresses} accept"),
        "ether type ip ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept".into(),
        "drop".into(),
    ];
    for rule in rules {
        writeln!(script, "add rule bridge {table} {chain} {rule}").ok();
    }
    forget_devices(&mut script, table, &names, old);
    for Permit { tap, mac, address } in new {
        writeln!(script, "add element bridge {table} {macs} {{ \"{tap}\" . {mac} }}").ok();
        writeln!(script, "add element bridge {table} {addresses} {{ \"{tap}\" . {address} }}").ok();
        writeln!(script, "add element bridge {table} by_port {{ \"{tap}\" : jump {chain} }}").ok();
    }
    script
}

/// Reads the answer to `nft -j list`.
fn read_objects(answer: &[u8]) -> Result<Vec<Value>, serde_json::Error> {
    let answer: Value = serde_json::from_slice(answer)?;
    Ok(answer["nftables"].as_array().cloned().unwrap_or_default())
}

fn elements_in(objects: &[Value]) -> Vec<Value> {
    objects.iter().flat_map(|object| object["set"]["elem"].as_array().cloned().unwrap_or_default()).collect()
}

/// Puts the pairs of device and MAC and the pairs of device and address together.
fn join(macs: &[Value], addresses: &[Value]) -> BTreeSet<Permit> {
    let pair = |element: &Value| {
        let parts = element["concat"].as_array()?;
        Some((parts.first()?.as_str()?.to_owned(), parts.get(1)?.as_str()?.to_owned()))
    };
    let macs: Vec<(String, String)> = macs.iter().filter_map(pair).collect();
    addresses
        .iter()
        .filter_map(pair)
        .filter_map(|(tap, address)| {
            let (_, mac) = macs.iter().find(|(device, _)| *device == tap)?;
            Some(Permit { tap, mac: mac.clone(), address: address.parse().ok()? })
        })
        .collect()
}

/// Whether this host's kernel and nft can do it. Changes nothing.
pub async fn check() -> Result<(), NetError> {
    let permit = Permit { tap: "tap0".into(), mac: "fa:16:3e:00:00:01".into(), address: Ipv4Addr::LOCALHOST };
    let script = render("dwarfnova_check", NetworkId(Uuid::nil()), &BTreeSet::new(), &[permit].into());
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
    use std::path::Path;

    fn permits() -> BTreeSet<Permit> {
        [1u8, 2]
            .map(|last| Permit {
                tap: format!("tap0000000{last}-aa"),
                mac: format!("fa:16:3e:00:00:{last:02x}"),
                address: Ipv4Addr::new(10, 71, 71, last),
            })
            .into()
    }

    #[test]
    fn the_script() {
        let id = NetworkId(Uuid::from_u128(0x0a1b2c3d_4e5f_4071_8293_a4b5c6d7e8f9));
        let text = render("dwarfnova_00000000", id, &BTreeSet::new(), &permits());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/network/guard.nft");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(path).unwrap());
    }

    #[test]
    fn nfts_answers_are_read() {
        let answer = |second: [&str; 2]| {
            format!(
                "{{\"nftables\":[{{\"metainfo\":{{}}}},{{\"set\":{{\"name\":\"x\",\"elem\":[\
                 {{\"concat\":[\"tap00000001-aa\",\"{}\"]}},{{\"concat\":[\"tap00000002-aa\",\"{}\"]}}]}}}}]}}",
                second[0], second[1]
            )
        };
        let elements = |answer: String| elements_in(&read_objects(answer.as_bytes()).unwrap());
        let macs = elements(answer(["fa:16:3e:00:00:01", "fa:16:3e:00:00:02"]));
        let addresses = elements(answer(["10.71.71.1", "10.71.71.2"]));
        assert_eq!(join(&macs, &addresses), permits());
        assert!(elements("{\"nftables\":[{\"set\":{\"name\":\"x\"}}]}".into()).is_empty());
        assert!(read_objects(b"nft").is_err());
    }
}
