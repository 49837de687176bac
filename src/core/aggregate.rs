//! Host aggregates: groups of hosts with metadata, of which one item names the hosts' availability zone. Here there is one
//! host to be in them.

use jiff::Timestamp;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The item of the metadata that names a zone.
pub const ZONE: &str = "availability_zone";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate {
    /// Its id in the API.
    pub number: i64,
    pub uuid: Uuid,
    pub name: String,
    pub metadata: BTreeMap<String, String>,
    /// Names of hosts, in the order in which they were added.
    pub hosts: Vec<String>,
    pub created_at: Timestamp,
    /// `None` until its name or its metadata change.
    pub updated_at: Option<Timestamp>,
}

impl Aggregate {
    pub fn zone(&self) -> Option<&str> {
        self.metadata.get(ZONE).map(String::as_str)
    }

    pub fn has(&self, host: &str) -> bool {
        self.hosts.iter().any(|other| other == host)
    }

    /// Overwrites items, and deletes those without a value.
    pub fn change_metadata(&mut self, items: BTreeMap<String, Option<String>>) {
        for (key, value) in items {
            match value {
                Some(value) => self.metadata.insert(key, value),
                None => self.metadata.remove(&key),
            };
        }
    }
}

/// Why these hosts cannot be in the zone: those of the aggregates that they are in too are others.
pub fn zone_conflict(others: &[Aggregate], hosts: &[String], zone: &str) -> Option<String> {
    let zones: Vec<String> = others
        .iter()
        .filter(|other| hosts.iter().any(|host| other.has(host)))
        .filter_map(Aggregate::zone)
        .filter(|other| *other != zone)
        .map(|other| format!("'{other}'"))
        .collect();
    (!zones.is_empty())
        .then(|| format!("One or more hosts already in availability zone(s) [{}]", zones.join(", ")))
}
