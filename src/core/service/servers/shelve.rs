//! Shelving and its way back.

use super::actions::{self, set_going, set_going_as};
use super::admission::{forbidden, unknown_host};
use super::create::lacks_room;
use super::snapshot::insert_image;
use super::{Servers, neighbours};
use crate::core::actor::Actor;
use crate::core::ids::ServerId;
use crate::core::image::Status;
use crate::core::server::action::Action;
use crate::core::server::decide::decide;
use crate::core::server::node::Node;
use crate::core::server::snapshot::Wanted;
use crate::core::server::state::VmState;
use crate::core::server::{Fault, Server};
use crate::core::workflow::server_offload::{OffloadState, ServerOffload};
use crate::core::workflow::server_shelve::{ServerShelve, ShelveState};
use crate::core::workflow::server_start::ServerStart;
use crate::core::workflow::server_unshelve::ServerUnshelve;
use crate::core::{Error, Result};
use crate::store::{Connection, images, node, server_actions, server_ports, servers};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Where an unshelved server is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Destination {
    /// `Some(None)` frees the server of the zone that it is pinned to.
    pub zone: Option<Option<String>>,
    pub host: Option<String>,
}

impl Destination {
    fn is_anywhere(&self) -> bool {
        *self == Self::default()
    }
}

impl Servers {
    /// Begins to shelve a server: its guest goes off, and its root disk becomes the image `<name>-shelved`.
    ///
    /// # Errors
    /// Unknown server, a state that does not allow it, limits for images.
    pub async fn shelve(&self, actor: &Actor, id: ServerId) -> Result<()> {
        let offload_after = self.node.shelved_offload_seconds;
        self.change(actor, id, move |c, actor, server, now| {
            decide(&server, Action::Shelve, actor)?;
            let name = format!("{}-shelved", server.name);
            let wanted = Wanted { name, kind: "snapshot", properties: BTreeMap::new() };
            let image = insert_image(c, actor, &server, wanted, now)?;
            let ran = server.vm_state == VmState::Active;
            set_going::<ServerShelve, _>(c, actor, &server, Action::Shelve, now, |task| ShelveState {
                task,
                image,
                offload_after,
                ran,
            })
        })
        .await
    }

    /// Begins to give up what a shelved server takes of the host.
    ///
    /// # Errors
    /// Unknown server, a state that does not allow it.
    pub async fn shelve_offload(&self, actor: &Actor, id: ServerId) -> Result<()> {
        self.change(actor, id, move |c, actor, server, now| {
            set_going::<ServerOffload, _>(c, actor, &server, Action::ShelveOffload, now, |task| {
                OffloadState { task, event: true }
            })
        })
        .await
    }

    /// Begins to bring a shelved server back. One that this host has no room for stays as it is, with a fault.
    ///
    /// # Errors
    /// Unknown server, a state that does not allow it, a zone or a host that does not exist.
    pub async fn unshelve(&self, actor: &Actor, id: ServerId, to: Destination) -> Result<()> {
        let node = self.node.clone();
        self.change(actor, id, move |c, actor, server, now| unshelve(c, actor, server, &to, &node, now)).await
    }
}

fn unshelve(
    c: &Connection,
    actor: &Actor,
    mut server: Server,
    to: &Destination,
    node: &Node,
    now: Timestamp,
) -> Result<()> {
    let action = if to.is_anywhere() { Action::Unshelve } else { Action::UnshelveTo };
    decide(&server, action, actor)?;
    let standing = node::standing(c, node)?;
    if let Some(Some(zone)) = &to.zone
        && !standing.offers(zone)
    {
        return Err(Error::invalid("The requested availability zone is not available"));
    }
    if let Some(host) = &to.host {
        if !actor.is_admin() {
            return Err(forbidden("os_compute_api:os-shelve:unshelve_to_host"));
        }
        if *host != node.name {
            return Err(unknown_host(host));
        }
    }
    if server.vm_state == VmState::Shelved {
        return set_going::<ServerStart, _>(c, actor, &server, action, now, |task| task);
    }
    if let Some(zone) = &to.zone {
        server.pinned_zone.clone_from(zone);
        servers::update(c, &server, now)?;
    }
    let image = match &server.shelved {
        Some(shelved) => images::get(c, shelved.image_id)?.filter(|image| image.status == Status::Active),
        None => None,
    };
    if image.is_none() {
        let named = server.shelved.as_ref().map(|shelved| shelved.image_id.to_string()).unwrap_or_default();
        let reason = format!("Unshelve attempted but the image {named} cannot be found.");
        servers::reset(c, server.id, VmState::Error, false, now)?;
        let words = format!("Error during unshelve instance {}: {reason}", server.id);
        refuse(c, actor, &server, "get_image_info", &words, now)?;
        // What the server shows is what is wrong with its image.
        let fault = Fault { code: 404, message: reason, details: words, created_at: now };
        return Ok(server_actions::set_fault(c, server.id, &fault)?);
    }
    let obstacle = match lacks_room(c, node, &server.flavor)? {
        Some(reason) => Some(reason),
        None => neighbours::refuse_back(c, node, &server)?,
    };
    if let Some(reason) = obstacle {
        return refuse(
            c,
            actor,
            &server,
            "schedule_instances",
            &format!("No valid host was found. {reason}"),
            now,
        );
    }
    // Counted on the host from here on.
    servers::place(c, server.id, &node.name, now)?;
    server_ports::set_server_ports_host(c, server.id, &node.name)?;
    server.host = Some(node.name.clone());
    let number = set_going_as::<ServerUnshelve, _>(c, actor, &server, action, now, |task| task)?;
    for event in ["get_image_info", "schedule_instances"] {
        server_actions::begin_event(c, number, event, Some(&node.name), now)?;
        server_actions::finish_events(c, number, None, now)?;
    }
    Ok(())
}

/// Records an unshelving that ended before it began, with the event that ended it.
fn refuse(
    c: &Connection,
    actor: &Actor,
    server: &Server,
    event: &str,
    words: &str,
    now: Timestamp,
) -> Result<()> {
    let number = actions::record(c, actor, server, "unshelve", now)?;
    if event != "get_image_info" {
        server_actions::begin_event(c, number, "get_image_info", None, now)?;
        server_actions::finish_events(c, number, None, now)?;
    }
    actions::refuse(c, server, number, &[event], words, now)
}
