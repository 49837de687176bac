//! Beside which servers a server may be put: what server groups and hints ask for, on one host.
//!
//! Asked in the transaction that puts the server on the host, so that of two at once the second one sees the first.

use crate::core::actor::Actor;
use crate::core::ids::UserId;
use crate::core::quota::{Limits, Resource};
use crate::core::server::Server;
use crate::core::server::hints::Hints;
use crate::core::server::node::Node;
use crate::core::server_group::ServerGroup;
use crate::core::service::server_groups::{find, unknown_words};
use crate::core::{Error, Result};
use crate::store::{Connection, server_groups, servers};

/// The group that a new server is to be in.
///
/// # Errors
/// Invalid, for one that does not exist or is not the caller's to see.
pub fn group(c: &Connection, actor: &Actor, hints: &Hints) -> Result<Option<ServerGroup>> {
    let Some(id) = hints.group else { return Ok(None) };
    match find(c, actor, id)? {
        Some(group) => Ok(Some(group)),
        None => Err(Error::invalid(unknown_words(&id.to_string()))),
    }
}

/// Whether a user may have this many more servers in the group.
///
/// # Errors
/// Quota.
pub fn check_members(
    c: &Connection,
    limits: &Limits,
    group: Option<&ServerGroup>,
    user: &UserId,
    more: u32,
) -> Result<()> {
    let Some(group) = group else { return Ok(()) };
    let there = server_groups::count_of_user(c, group.id, user)?;
    if limits.allows(Resource::ServerGroupMembers, there, i64::from(more)) {
        return Ok(());
    }
    Err(Error::quota("Quota exceeded, too many servers in group"))
}

/// Why this host is no place for so many new servers. They are placed together or not at all.
pub fn refuse_new(
    c: &Connection,
    node: &Node,
    hints: &Hints,
    group: Option<&ServerGroup>,
    count: u32,
) -> Result<Option<String>> {
    match refuse_group(c, node, group, i64::from(count))? {
        Some(reason) => Ok(Some(reason)),
        None => refuse_hints(c, node, hints),
    }
}

/// Why this host is no place for a server that comes back to it.
pub fn refuse_back(c: &Connection, node: &Node, server: &Server) -> Result<Option<String>> {
    let group = server_groups::of_server(c, server.id)?;
    refuse_new(c, node, &kept(server)?, group.as_ref(), 1)
}

/// Why this host is no place for a server that is on it. Its group put up with it here, and still does.
pub fn refuse_stay(c: &Connection, node: &Node, server: &Server) -> Result<Option<String>> {
    refuse_hints(c, node, &kept(server)?)
}

fn kept(server: &Server) -> Result<Hints> {
    Hints::read(&server.scheduler_hints).map_err(Error::internal)
}

fn refuse_group(
    c: &Connection,
    node: &Node,
    group: Option<&ServerGroup>,
    more: i64,
) -> Result<Option<String>> {
    let Some((group, most)) = group.and_then(|group| Some((group, group.most_on_a_host()?))) else {
        return Ok(None);
    };
    let here = server_groups::count_on_host(c, group.id, &node.name)?;
    Ok((here.saturating_add(more) > most).then(|| {
        not_enough(&format!(
            "server group {} has room for {most} on a host; {here} are on this one, and {more} more are asked for",
            group.id
        ))
    }))
}

fn refuse_hints(c: &Connection, node: &Node, hints: &Hints) -> Result<Option<String>> {
    if servers::any_on_host(c, &hints.different_host, &node.name)? {
        return Ok(Some(not_enough("a server that it is to be apart from is on this one")));
    }
    if !hints.same_host.is_empty() && !servers::any_on_host(c, &hints.same_host, &node.name)? {
        return Ok(Some(not_enough("none of the servers that it is to be with is on this one")));
    }
    Ok(None)
}

fn not_enough(why: &str) -> String {
    format!("There are not enough hosts available: {why}.")
}
