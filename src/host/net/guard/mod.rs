//! What guests may send and receive: nftables tables on the bridges, one for each network.
//!
//! A port sends only with its own MAC and addresses, and sends and receives what its security groups allow. Its rules
//! stand before its guest starts, since the name of its device is known beforehand. libvirt's filters do less with some
//! sixty runs of ebtables, which costs each start of a guest two seconds; this is one run of nft, and all of a change
//! happens at once. Its length is that of the change, not of the network.
//!
//! Whether a packet answers one that was allowed is kept in sets of the table itself: the kernel's connection tracking
//! on bridges is missing from many kernels. The sets outlive changes of the rules.

mod table;

use super::NetError;
use crate::core::firewall::{NetworkRules, Reading};
use crate::core::ids::NetworkId;
use crate::host::command::{Command, CommandError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use table::{FRAME, Names, Table};
use uuid::Uuid;

/// The tables of one installation.
pub struct Guard {
    prefix: String,
    /// Never let go of, since rules that were read before a network was removed may come after that.
    networks: Mutex<BTreeMap<NetworkId, Arc<Filtered>>>,
}

/// One network. Whoever has his turn writes the newest rules, for all who wait behind him too.
#[derive(Default)]
struct Filtered {
    newest: Mutex<Option<(Reading, Arc<NetworkRules>)>>,
    turn: tokio::sync::Mutex<Written>,
}

/// What was written last.
#[derive(Default)]
struct Written {
    reading: Option<Reading>,
    there: There,
}

/// What is known of a table.
#[derive(Default)]
enum There {
    #[default]
    Unknown,
    Nothing,
    Exactly(Table),
}

impl Guard {
    pub fn new(installation: Uuid) -> Self {
        let prefix = format!("dwarfnova_{}", &installation.simple().to_string()[..8]);
        Self { prefix, networks: Mutex::default() }
    }

    fn table(&self, id: NetworkId) -> String {
        format!("{}_{}", self.prefix, &id.0.simple().to_string()[..8])
    }

    fn network(&self, id: NetworkId) -> Arc<Filtered> {
        Arc::clone(locked(&self.networks).entry(id).or_default())
    }

    /// Ensures that what is filtered on the network is exactly this, or what was read later.
    pub async fn ensure(&self, reading: Reading, rules: NetworkRules) -> Result<(), NetError> {
        let name = self.table(rules.network);
        let network = self.network(rules.network);
        network.offer(reading, Arc::new(rules));
        let mut written = network.turn.lock().await;
        if written.reading >= Some(reading) {
            return Ok(());
        }
        let Some((newest, rules)) = locked(&network.newest).clone() else { return Ok(()) };
        // Who gives up halfway does not know what is there.
        let there = std::mem::take(&mut written.there);
        written.there = there.become_these(&name, &rules).await?;
        written.reading = Some(newest);
        Ok(())
    }

    /// Ensures that nothing is filtered on the network, whatever was read before.
    pub async fn remove(&self, id: NetworkId) -> Result<(), NetError> {
        let network = self.network(id);
        let mut written = network.turn.lock().await;
        remove_table(&self.table(id)).await?;
        *written = Written { reading: Some(Reading::begin()), there: There::Nothing };
        Ok(())
    }

    /// Ensures that there is not the one table for all networks any more that stood before each had its own. It knows one
    /// address a port.
    pub async fn forget_older(&self) -> Result<(), NetError> {
        remove_table(&self.prefix).await
    }
}

impl Filtered {
    fn offer(&self, reading: Reading, rules: Arc<NetworkRules>) {
        let mut newest = locked(&self.newest);
        if newest.as_ref().is_none_or(|(other, _)| *other < reading) {
            *newest = Some((reading, rules));
        }
    }
}

impl There {
    async fn become_these(self, name: &str, rules: &NetworkRules) -> Result<Self, NetError> {
        if rules.ports.is_empty() {
            if !matches!(self, Self::Nothing) {
                remove_table(name).await?;
            }
            return Ok(Self::Nothing);
        }
        let table = Table::of(rules);
        let names = match self {
            Self::Nothing => Names::default(),
            Self::Unknown => names(name).await?,
            Self::Exactly(old) => match nft(table.changes(name, &old)).await {
                Ok(()) => return Ok(Self::Exactly(table)),
                Err(error) => {
                    tracing::warn!(table = name, %error, "the packet filter was changed by others; it is written anew");
                    names(name).await?
                }
            },
        };
        nft(table.whole(name, &names)).await?;
        Ok(Self::Exactly(table))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A table is added first, since deleting what is not there would fail.
async fn remove_table(name: &str) -> Result<(), NetError> {
    nft(format!("add table bridge {name}\ndelete table bridge {name}\n")).await
}

/// The names that the table has now.
async fn names(table: &str) -> Result<Names, NetError> {
    let mut names = Names::default();
    for kind in ["chains", "sets"] {
        let command = Command::new("nft").args(["-j", "list", kind, "bridge"]).max_stdout(16 << 20);
        let output = command.run().await.map_err(|error| failed(&error))?;
        let read = Names::read(table, &output.stdout);
        let read = read.map_err(|error| NetError::Failed(format!("nft: {error}")))?;
        names.chains.extend(read.chains);
        names.sets.extend(read.sets);
    }
    Ok(names)
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
