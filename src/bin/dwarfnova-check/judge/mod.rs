//! The rules: from facts to what is wrong with them. Pure.
//!
//! | | rule | where |
//! |---|---|---|
//! | I1 | each server has the domain that its state asks for, and no other | servers |
//! | I2 | the domain's state, and the power state in the row, are those of the server's state | servers |
//! | I3 | each domain and network with our mark belongs to a row (live) | servers, networks |
//! | I4 | nothing is left of deleted servers | servers |
//! | I5 | each file belongs to a row, and each row's files are there | files |
//! | I6 | what overlays stand on is there, is ours, cannot be written, and is not too deep; disks are clean | files |
//! | I7 | disks have the size and format that rows say | files |
//! | I8 | what runs is what is stored is what rows say | servers |
//! | I9 | no MAC twice on the host, no address twice on a network, one NIC a port (live) | networks |
//! | I10 | the host's networks, reservations, leases and DHCP servers are those of the rows | networks |
//! | I11 | ports send as themselves only, and send and receive what their groups allow | packet filter |
//! | I12 | the counters of projects are right (live) | records |
//! | I13 | the counters of the host are right | records |
//! | I14 | each task state has its task, each task its subject, and none hangs (live) | records |
//! | I15 | servers in ERROR have a fault; records of actions are whole | records |
//! | I17 | images have their bytes, and only those that should | files |
//! | I18 | the database is sound and one process has it (live) | records |
//! | I19 | no process, mount, device or socket is left over or used twice | records |
//! | I27 | server groups have living servers, and no more on a host than they allow (live) | records |

mod files;
mod networks;
mod packet_filter;
mod records;
mod servers;
#[cfg(test)]
mod tests;

use crate::facts::{Facts, Server};
use std::collections::BTreeSet;
use std::fmt;

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    pub invariant: u8,
    /// What is concerned: an id, a path, a name.
    pub object: String,
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "I{} {} {}", self.invariant, self.object, self.detail)
    }
}

/// Collects what is wrong.
#[derive(Default)]
struct Verdict(BTreeSet<Violation>);

impl Verdict {
    fn add(&mut self, invariant: u8, object: impl Into<String>, detail: impl Into<String>) {
        let (object, detail) = (object.into(), detail.into());
        self.0.insert(Violation { invariant, object, detail });
    }

    fn unless(&mut self, fine: bool, invariant: u8, object: &str, detail: impl FnOnce() -> String) {
        if !fine {
            self.add(invariant, object, detail());
        }
    }
}

/// What is wrong while nothing is going on.
pub fn settled(facts: &Facts) -> BTreeSet<Violation> {
    let mut verdict = Verdict(live(facts));
    servers::settled(facts, &mut verdict);
    files::settled(facts, &mut verdict);
    networks::settled(facts, &mut verdict);
    if facts.host.bridged {
        packet_filter::settled(facts, &mut verdict);
    }
    records::settled(facts, &mut verdict);
    verdict.0
}

/// What is wrong at any time. Rows and host change while they are looked at, so a caller asks twice, with rows from
/// before and from after the look at the host, and believes what is in both answers.
pub fn live(facts: &Facts) -> BTreeSet<Violation> {
    let mut verdict = Verdict::default();
    servers::live(facts, &mut verdict);
    networks::live(facts, &mut verdict);
    records::live(facts, &mut verdict);
    verdict.0
}

/// The states of servers that are on the host and whole.
const PLACED: [&str; 8] =
    ["active", "stopped", "paused", "suspended", "rescued", "resized", "soft-delete", "shelved"];

/// Whether the host has everything of this server: its domain, its disks, its addresses.
fn is_whole(server: &Server) -> bool {
    server.deleted_at.is_none() && server.task_state.is_none() && PLACED.contains(&server.vm_state.as_str())
}
