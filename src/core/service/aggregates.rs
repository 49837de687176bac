//! Host aggregates: what administrators make of the hosts, of which there is one.

use super::Deps;
use crate::core::actor::Actor;
use crate::core::aggregate::{Aggregate, ZONE, zone_conflict};
use crate::core::ids::ImageId;
use crate::core::image::Status;
use crate::core::server::node::Node;
use crate::core::workflow::image_prefetch;
use crate::core::{Error, Result};
use crate::store::{Connection, aggregates, images, node, server_usage};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

/// The aggregate use cases; cheap to clone.
#[derive(Clone)]
pub struct AggregateService {
    deps: Deps,
    node: Arc<Node>,
}

/// A change of an aggregate. `None` leaves a part as it is.
#[derive(Debug, Clone, Default)]
pub struct AggregateChange {
    pub name: Option<String>,
    /// Items with their values; those without one are deleted.
    pub metadata: BTreeMap<String, Option<String>>,
}

/// What is refused, as its words name it.
#[derive(Debug, Clone, Copy)]
pub enum Attempt {
    Update,
    UpdateMetadata,
}

impl Attempt {
    fn refuse(self, number: i64, reason: &str) -> Error {
        let what = match self {
            Self::Update => "update aggregate",
            Self::UpdateMetadata => "update metadata of aggregate",
        };
        Error::invalid(format!("Cannot {what} {number}. Reason: {reason}."))
    }
}

const OCCUPIED: &str = "One or more hosts contain instances in this zone";

fn unknown(number: i64) -> Error {
    Error::not_found(format!("Aggregate {number} could not be found."))
}

fn find(c: &Connection, number: i64) -> Result<Aggregate> {
    aggregates::get(c, number)?.ok_or_else(|| unknown(number))
}

/// Whether no other aggregate has the name.
fn check_name(c: &Connection, name: &str, own: Option<i64>) -> Result<()> {
    match aggregates::by_name(c, name)? {
        Some(number) if Some(number) != own => {
            Err(Error::conflict(format!("Aggregate {name} already exists.")))
        }
        _ => Ok(()),
    }
}

/// Why the aggregate's zone cannot be this one for these hosts, besides the servers that they have.
fn zone_obstacle(
    c: &Connection,
    aggregate: &Aggregate,
    zone: &str,
    hosts: &[String],
) -> Result<Option<String>> {
    if zone.is_empty() {
        let name = &aggregate.name;
        return Ok(Some(format!("Aggregate {name} does not support empty named availability zone")));
    }
    let mut others = aggregates::list(c)?;
    others.retain(|other| other.number != aggregate.number);
    Ok(zone_conflict(&others, hosts, zone))
}

impl AggregateService {
    pub fn new(deps: Deps, node: Arc<Node>) -> Self {
        Self { deps, node }
    }

    pub async fn list(&self) -> Result<Vec<Aggregate>> {
        Ok(self.deps.store.read(aggregates::list).await?)
    }

    /// # Errors
    /// Unknown aggregate.
    pub async fn get(&self, number: i64) -> Result<Aggregate> {
        self.deps.store.read(move |c| find(c, number)).await
    }

    /// # Errors
    /// Conflict where the name is taken.
    pub async fn create(&self, name: String, zone: Option<String>) -> Result<Aggregate> {
        let mut new = Aggregate {
            number: 0,
            uuid: Uuid::new_v4(),
            name,
            metadata: zone.into_iter().map(|zone| (ZONE.to_owned(), zone)).collect(),
            hosts: Vec::new(),
            created_at: self.deps.clock.now(),
            updated_at: None,
        };
        self.deps
            .store
            .write(move |c| {
                check_name(c, &new.name, None)?;
                new.number = aggregates::insert(c, &new)?;
                Ok(new)
            })
            .await
    }

    /// Changes the name, metadata, and with it the zone of the hosts.
    ///
    /// # Errors
    /// Unknown aggregate, a name that is taken, a zone that its hosts cannot change to.
    pub async fn change(&self, number: i64, change: AggregateChange, attempt: Attempt) -> Result<Aggregate> {
        let node = self.node.clone();
        self.write(number, move |c, mut aggregate, now| {
            if let Some(name) = change.name {
                check_name(c, &name, Some(number))?;
                aggregate.name = name;
            }
            if let Some(zone) = change.metadata.get(ZONE) {
                let zone = zone.as_deref().unwrap_or_default();
                if let Some(reason) = zone_obstacle(c, &aggregate, zone, &aggregate.hosts)? {
                    return Err(attempt.refuse(number, &reason));
                }
                if aggregate.zone() != Some(zone)
                    && aggregate.has(&node.name)
                    && server_usage::of_host(c, &node.name)?.instances > 0
                {
                    return Err(attempt.refuse(number, OCCUPIED));
                }
            }
            aggregate.change_metadata(change.metadata);
            aggregate.updated_at = Some(now);
            Ok(aggregate)
        })
        .await
    }

    /// # Errors
    /// Unknown aggregate, one that has hosts.
    pub async fn delete(&self, number: i64) -> Result<()> {
        self.deps
            .store
            .write(move |c| {
                if !find(c, number)?.hosts.is_empty() {
                    return Err(Error::invalid(format!(
                        "Cannot remove host from aggregate {number}. Reason: Host aggregate is not empty."
                    )));
                }
                Ok(aggregates::delete(c, number)?)
            })
            .await
    }

    /// # Errors
    /// Unknown host or aggregate; conflict where the host is in it already, or would come into another zone than that of
    /// another aggregate or of its servers.
    pub async fn add_host(&self, number: i64, host: String) -> Result<Aggregate> {
        let node = self.node.clone();
        self.deps
            .store
            .write(move |c| {
                let standing = node::standing(c, &node)?;
                if host != node.name || standing.compute.removed {
                    return Err(Error::not_found(format!("Compute host {host} could not be found.")));
                }
                let mut aggregate = find(c, number)?;
                let refuse = |reason: &str| {
                    Error::conflict(format!("Cannot add host to aggregate {number}. Reason: {reason}."))
                };
                if let Some(zone) = aggregate.zone() {
                    if let Some(reason) = zone_obstacle(c, &aggregate, zone, std::slice::from_ref(&host))? {
                        return Err(refuse(&reason));
                    }
                    let moves = standing.zone != zone;
                    if moves && server_usage::of_host(c, &node.name)?.instances > 0 {
                        return Err(refuse(OCCUPIED));
                    }
                }
                if aggregate.has(&host) {
                    return Err(Error::conflict(format!("Aggregate {number} already has host {host}.")));
                }
                aggregate.hosts.push(host);
                aggregates::update(c, &aggregate)?;
                Ok(aggregate)
            })
            .await
    }

    /// # Errors
    /// Unknown host or aggregate, a host that is not in it; conflict where its servers would change their zone.
    pub async fn remove_host(&self, number: i64, host: String) -> Result<Aggregate> {
        let node = self.node.clone();
        self.deps
            .store
            .write(move |c| {
                let words = format!("Cannot remove host {host} in aggregate {number}");
                let mut aggregate = aggregates::get(c, number)?
                    .filter(|aggregate| aggregate.has(&host))
                    .ok_or_else(|| Error::not_found(words.clone()))?;
                let before = node::standing(c, &node)?.zone;
                aggregate.hosts.retain(|other| *other != host);
                aggregates::update(c, &aggregate)?;
                let moves = host == node.name && node::standing(c, &node)?.zone != before;
                if moves && server_usage::of_host(c, &node.name)?.instances > 0 {
                    return Err(Error::conflict(words));
                }
                Ok(aggregate)
            })
            .await
    }

    /// Begins to make images ready on the hosts of an aggregate, so that the first server of each starts as fast as later ones.
    ///
    /// # Errors
    /// Images that are named twice, unknown or without bytes; unknown aggregate.
    pub async fn prefetch(&self, actor: &Actor, number: i64, wanted: Vec<ImageId>) -> Result<()> {
        if wanted.iter().collect::<BTreeSet<_>>().len() != wanted.len() {
            return Err(Error::invalid("Duplicate images in request"));
        }
        let (actor, node, now) = (actor.clone(), self.node.clone(), self.deps.clock.now());
        self.deps
            .store
            .write(move |c| {
                let aggregate = find(c, number)?;
                for id in wanted {
                    let image = images::get(c, id)?
                        .filter(|image| image.visible_to(&actor))
                        .ok_or_else(|| Error::invalid(format!("Image {id} could not be found.")))?;
                    let format = image.boot_format().filter(|_| image.status == Status::Active);
                    let format =
                        format.ok_or_else(|| Error::invalid(format!("Image {id} is not active.")))?;
                    if aggregate.has(&node.name) {
                        image_prefetch::arrange(c, id, format, &actor.request_id.0, now)?;
                    }
                }
                Ok::<_, Error>(())
            })
            .await?;
        Ok(())
    }

    /// Changes one aggregate in one transaction.
    async fn write(
        &self,
        number: i64,
        work: impl FnOnce(&Connection, Aggregate, Timestamp) -> Result<Aggregate> + Send + 'static,
    ) -> Result<Aggregate> {
        let now = self.deps.clock.now();
        self.deps
            .store
            .write(move |c| {
                let changed = work(c, find(c, number)?, now)?;
                aggregates::update(c, &changed)?;
                Ok(changed)
            })
            .await
    }
}
