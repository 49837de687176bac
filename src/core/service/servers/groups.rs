//! The security groups of a server: those of its ports, all of which a group is put on and taken from.

use super::{Among, Servers, find, project_of};
use crate::core::actor::Actor;
use crate::core::ids::{NetworkId, SecurityGroupId, ServerId};
use crate::core::port::Port;
use crate::core::security_group::{DEFAULT_GROUP, SecurityGroup, SecurityGroupRule};
use crate::core::server::action::Action;
use crate::core::server::decide::decide;
use crate::core::service::networks::follow;
use crate::core::{Error, Result};
use crate::store::{Connection, ports, security_groups};
use jiff::Timestamp;
use std::collections::{BTreeSet, HashMap};

/// The groups of a server's ports, a group as often as ports are in it.
#[derive(Debug, Clone)]
pub struct ServerGroups {
    pub groups: Vec<SecurityGroup>,
    /// Oldest first.
    pub rules: HashMap<SecurityGroupId, Vec<SecurityGroupRule>>,
    /// The groups whose members rules let in.
    pub remotes: HashMap<SecurityGroupId, SecurityGroup>,
}

impl Servers {
    /// The groups that the caller may see.
    pub async fn security_groups(&self, actor: &Actor, id: ServerId) -> Result<ServerGroups> {
        let actor = actor.clone();
        self.deps
            .store
            .read(move |c| {
                find(c, &actor, id, Among::Living)?;
                groups_of(c, &actor, id)
            })
            .await
    }

    /// Puts a group, by its id or name, on every port of the server.
    ///
    /// # Errors
    /// A group that is unknown or whose name is not its alone, a server without ports, a port that cannot have groups.
    pub async fn add_security_group(&self, actor: &Actor, id: ServerId, name: String) -> Result<()> {
        self.change(actor, id, move |c, actor, server, now| {
            decide(&server, Action::AddSecurityGroup, actor)?;
            let group = resolve(c, actor, &name, now)?;
            let mut ports = ports_of(c, id)?;
            if ports.iter().any(|port| !port.port_security_enabled || port.fixed_ips.is_empty()) {
                return Err(Error::invalid(
                    "Network requires port_security_enabled and subnet associated in order to apply security \
                     groups.",
                ));
            }
            ports.retain(|port| !port.security_groups.contains(&group));
            for port in &mut ports {
                port.security_groups.push(group);
            }
            save(c, actor, ports, now)
        })
        .await
    }

    /// Takes a group, by its id or name, from every port of the server that has it.
    ///
    /// # Errors
    /// A group that is unknown, or whose name is not its alone, or that none of the ports has.
    pub async fn remove_security_group(&self, actor: &Actor, id: ServerId, name: String) -> Result<()> {
        self.change(actor, id, move |c, actor, server, now| {
            decide(&server, Action::RemoveSecurityGroup, actor)?;
            let group = resolve(c, actor, &name, now)?;
            let mut ports = ports_of(c, id)?;
            ports.retain(|port| port.security_groups.contains(&group));
            if ports.is_empty() {
                return Err(Error::not_found(format!(
                    "Security group {name} not associated with the instance {id}"
                )));
            }
            for port in &mut ports {
                port.security_groups.retain(|other| *other != group);
            }
            save(c, actor, ports, now)
        })
        .await
    }
}

fn groups_of(c: &Connection, actor: &Actor, id: ServerId) -> Result<ServerGroups> {
    let seen = |group: &SecurityGroup| actor.is_admin() || actor.owns(&group.project_id);
    let mut found = ServerGroups { groups: Vec::new(), rules: HashMap::new(), remotes: HashMap::new() };
    let ports = ports::of_device(c, &id.to_string())?;
    for group in ports.iter().filter(|port| port.is_of_server()).flat_map(|port| &port.security_groups) {
        found.groups.extend(security_groups::get(c, *group)?.filter(seen));
    }
    let ids: Vec<SecurityGroupId> = found.groups.iter().map(|group| group.id).collect();
    found.rules = security_groups::rules_of(c, &ids)?;
    let rules = found.rules.values().flatten();
    let remotes: BTreeSet<SecurityGroupId> = rules.filter_map(|rule| rule.spec.remote_group()).collect();
    for remote in remotes {
        found.remotes.extend(security_groups::get(c, remote)?.filter(seen).map(|group| (remote, group)));
    }
    Ok(found)
}

/// The group that the caller means: by its id, else by a name that one group of the project has.
fn resolve(c: &Connection, actor: &Actor, name: &str, now: Timestamp) -> Result<SecurityGroupId> {
    let project = project_of(actor)?;
    if name == DEFAULT_GROUP {
        return Ok(security_groups::ensure_default(c, project, now)?);
    }
    if let Ok(id) = name.parse()
        && let Some(group) = security_groups::get(c, id)?
        && (actor.is_admin() || group.project_id == *project)
    {
        return Ok(id);
    }
    match security_groups::named(c, project, name)?.as_slice() {
        [] => Err(Error::not_found(format!("Security group {name} is not found for project {project}"))),
        [only] => Ok(only.id),
        _ => Err(Error::conflict(format!(
            "Multiple security_group matches found for name '{name}', use an ID to be more specific."
        ))),
    }
}

fn ports_of(c: &Connection, id: ServerId) -> Result<Vec<Port>> {
    let mut ports = ports::of_device(c, &id.to_string())?;
    ports.retain(Port::is_of_server);
    if ports.is_empty() {
        return Err(Error::not_found(format!(
            "instance_id {id} could not be found as device id on any ports"
        )));
    }
    Ok(ports)
}

/// Writes changed ports, and has the host follow.
pub(super) fn save(c: &Connection, actor: &Actor, changed: Vec<Port>, now: Timestamp) -> Result<()> {
    let networks: BTreeSet<NetworkId> = changed.iter().map(|port| port.network_id).collect();
    for mut port in changed {
        port.updated_at = now;
        port.revision += 1;
        ports::put(c, &port)?;
    }
    for network in networks {
        follow(c, network, actor, now)?;
    }
    Ok(())
}
