//! Tags of networks, subnets, ports and security groups.

use super::{Caller, NetworksService, ports as port_rules, security_groups as group_rules, store};
use super::{visible_network, visible_subnet};
use crate::core::actor::Actor;
use crate::core::ids::{NetworkId, PortId, SecurityGroupId, SubnetId};
use crate::core::network::not_authorized;
use crate::core::{Error, Result};
use crate::store::{Connection, ports, security_groups};
use jiff::Timestamp;

/// What has tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tagged {
    Network(NetworkId),
    Subnet(SubnetId),
    Port(PortId),
    SecurityGroup(SecurityGroupId),
}

impl NetworksService {
    pub async fn tags(&self, actor: &Actor, tagged: Tagged) -> Result<Vec<String>> {
        let caller = Caller::of(actor);
        self.read(move |c| load(c, &caller, tagged)).await
    }

    /// Puts these tags in place of all others.
    pub async fn replace_tags(
        &self,
        actor: &Actor,
        tagged: Tagged,
        tags: Vec<String>,
    ) -> Result<Vec<String>> {
        self.edit_tags(actor, tagged, move |_| Ok(tags)).await
    }

    pub async fn add_tag(&self, actor: &Actor, tagged: Tagged, tag: String) -> Result<Vec<String>> {
        self.edit_tags(actor, tagged, move |mut tags| {
            tags.push(tag);
            Ok(tags)
        })
        .await
    }

    pub async fn remove_tag(&self, actor: &Actor, tagged: Tagged, tag: String) -> Result<Vec<String>> {
        self.edit_tags(actor, tagged, move |mut tags| {
            let before = tags.len();
            tags.retain(|other| *other != tag);
            if tags.len() == before { Err(tag_not_found(&tag)) } else { Ok(tags) }
        })
        .await
    }

    async fn edit_tags(
        &self,
        actor: &Actor,
        tagged: Tagged,
        edit: impl FnOnce(Vec<String>) -> Result<Vec<String>> + Send + 'static,
    ) -> Result<Vec<String>> {
        let (caller, now) = (Caller::of(actor), self.deps.clock.now());
        self.write(move |c| {
            let mut tags = edit(load(c, &caller, tagged)?)?;
            tags.sort_unstable();
            tags.dedup();
            save(c, &caller, tagged, &tags, now)?;
            Ok(tags)
        })
        .await
    }
}

pub fn tag_not_found(tag: &str) -> Error {
    Error::not_found(format!("Tag {tag} could not be found.")).with_class("TagNotFound")
}

fn load(connection: &Connection, caller: &Caller, tagged: Tagged) -> Result<Vec<String>> {
    Ok(match tagged {
        Tagged::Network(id) => visible_network(connection, caller, id)?.tags,
        Tagged::Subnet(id) => visible_subnet(connection, caller, id)?.tags,
        Tagged::Port(id) => port_rules::visible(connection, caller, id)?.0.tags,
        Tagged::SecurityGroup(id) => group_rules::visible(connection, caller, id)?.tags,
    })
}

fn save(
    connection: &Connection,
    caller: &Caller,
    tagged: Tagged,
    tags: &[String],
    now: Timestamp,
) -> Result<()> {
    match tagged {
        Tagged::Network(id) => {
            let mut network = visible_network(connection, caller, id)?;
            if !caller.rules(&network.project_id) {
                return Err(not_authorized("update_networks_tags"));
            }
            network.tags = tags.to_vec();
            network.updated_at = now;
            network.revision += 1;
            store::put(connection, &network)?;
        }
        Tagged::Subnet(id) => {
            let mut subnet = visible_subnet(connection, caller, id)?;
            if !caller.rules(&subnet.project_id) {
                return Err(not_authorized("update_subnets_tags"));
            }
            subnet.tags = tags.to_vec();
            subnet.updated_at = now;
            subnet.revision += 1;
            store::put_subnet(connection, &subnet)?;
        }
        Tagged::Port(id) => {
            let (mut port, _) = port_rules::visible(connection, caller, id)?;
            port.tags = tags.to_vec();
            port.updated_at = now;
            port.revision += 1;
            ports::put(connection, &port)?;
        }
        Tagged::SecurityGroup(id) => {
            let mut group = group_rules::visible(connection, caller, id)?;
            group.tags = tags.to_vec();
            group.updated_at = now;
            group.revision += 1;
            security_groups::put(connection, &group)?;
        }
    }
    Ok(())
}
