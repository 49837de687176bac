//! Interfaces that a server gets or loses while it exists: ports of its networks, plugged into its guest.

use super::actions::set_going;
use super::{Among, Servers};
use crate::core::actor::Actor;
use crate::core::ids::{PortId, ServerId};
use crate::core::port::{Networking, NicRequest, Port, refusal};
use crate::core::server::action::Action;
use crate::core::server::decide::decide;
use crate::core::workflow::server_attach_interface::{InterfaceState, ServerAttachInterface};
use crate::core::workflow::server_detach_interface::ServerDetachInterface;
use crate::core::{Error, Kind, Result};
use crate::store::server_ports::{PortOwner, plan_server_ports};
use crate::store::{Connection, StoreError, node, ports, tasks};
use crate::task::Workflow;
use std::time::Duration;

/// How long a caller waits for the NIC to be plugged in.
const PATIENCE: Duration = Duration::from_secs(120);

impl Servers {
    /// The ports of a server, in the order of its NICs.
    pub async fn interfaces(&self, actor: &Actor, id: ServerId) -> Result<Vec<Port>> {
        self.find(actor, id, Among::Living).await?;
        Ok(self.deps.store.read(move |c| ports_of(c, id)).await?)
    }

    /// One port of a server.
    ///
    /// # Errors
    /// A port that is not there, or not the server's.
    pub async fn interface(&self, actor: &Actor, id: ServerId, port: &str) -> Result<Port> {
        let known: Option<PortId> = port.parse().ok();
        let ports = self.interfaces(actor, id).await?;
        if let Some(found) = ports.into_iter().find(|port| Some(port.id) == known) {
            return Ok(found);
        }
        let elsewhere = match known {
            Some(known) => self.deps.store.read(move |c| ports::get(c, known)).await?,
            None => None,
        };
        // Ports of strangers are as unknown as those that are not there.
        let visible = |port: &Port| actor.is_admin() || actor.owns(&port.project_id);
        Err(Error::not_found(if elsewhere.as_ref().is_some_and(visible) {
            format!("Instance {id} does not have a port with id {port}")
        } else {
            format!("Port id {port} could not be found.")
        }))
    }

    /// Gives a server one more interface, and answers when its guest has it: on a port, on a network, or on the only one that
    /// its project has.
    ///
    /// # Errors
    /// Those of [`refusal`] with the statuses that they have here; a state in which a server gets none; a NIC that could not be
    /// plugged in, which leaves no trace.
    pub async fn attach_interface(&self, actor: &Actor, id: ServerId, request: NicRequest) -> Result<Port> {
        let node = self.node.clone();
        let going = self.change(actor, id, move |c, actor, server, now| {
            decide(&server, Action::AttachInterface, actor)?;
            let zone = node::standing(c, &node)?.zone;
            let owner = PortOwner {
                server: id,
                project: &server.project_id,
                admin: actor.is_admin(),
                zone: &zone,
                host: server.host.as_deref().unwrap_or_default(),
                security_groups: &[],
                now,
            };
            let port = plan(c, &owner, request)?;
            set_going::<ServerAttachInterface, _>(c, actor, &server, Action::AttachInterface, now, |task| {
                InterfaceState { task, port: port.id }
            })?;
            Ok(port.id)
        });
        let port = going.await?;
        let failed =
            || Error::new(Kind::Internal, format!("Failed to attach network adapter device to {id}"));
        let subject = id.to_string();
        let over =
            self.deps.tasks.until(move |c| Ok(!tasks::is_open(c, &subject, ServerAttachInterface::NAME)?));
        match tokio::time::timeout(PATIENCE, over).await {
            Ok(ended) => ended?,
            Err(_) => return Err(failed()),
        }
        let ports = self.deps.store.read(move |c| ports_of(c, id)).await?;
        ports.into_iter().find(|found| found.id == port).ok_or_else(failed)
    }

    /// Takes an interface from a server. A port that was made for the server goes; others are free again.
    ///
    /// # Errors
    /// A port that is not the server's, a state in which a server loses none.
    pub async fn detach_interface(&self, actor: &Actor, id: ServerId, port: &str) -> Result<()> {
        let unknown = Error::not_found(format!("Port id {port} could not be found."));
        let port: Option<PortId> = port.parse().ok();
        self.change(actor, id, move |c, actor, server, now| {
            decide(&server, Action::DetachInterface, actor)?;
            let found = ports_of(c, id)?.into_iter().find(|found| Some(found.id) == port);
            let port = found.ok_or(unknown)?.id;
            set_going::<ServerDetachInterface, _>(c, actor, &server, Action::DetachInterface, now, |task| {
                InterfaceState { task, port }
            })
        })
        .await
    }
}

fn ports_of(c: &Connection, id: ServerId) -> Result<Vec<Port>, StoreError> {
    let mut ports = ports::of_device(c, &id.to_string())?;
    ports.retain(Port::is_of_server);
    Ok(ports)
}

/// The port, with the statuses that refusals have here, which are others than at a create.
fn plan(c: &Connection, owner: &PortOwner<'_>, request: NicRequest) -> Result<Port> {
    let tag = request.tag.clone();
    let networking = if request.network.is_none() && request.port.is_none() {
        Networking::Absent
    } else {
        Networking::List(vec![request])
    };
    let planned = plan_server_ports(c, owner, &networking).map_err(|error| {
        let words = error.message().to_owned();
        match error.class() {
            Some("NetworkAmbiguous") => Error::invalid(words),
            Some("NetworkNotFound" | "PortNotFound") => Error::not_found(words),
            Some("FixedIpAlreadyInUse") => Error::conflict(words),
            _ => error,
        }
    })?;
    let mut port = planned.into_iter().next().ok_or_else(|| refusal::no_network(owner.project))?;
    // A network that was not named has not taken the tag either.
    if port.nic_tag != tag {
        port.nic_tag = tag;
        ports::put(c, &port)?;
    }
    Ok(port)
}
