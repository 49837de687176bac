//! Server use cases: what is asked is authorised, decided and recorded here; the slow work is a task.
//!
//! Role rules are the router's; whether a server is the caller's is asked here. One that is not looks unknown.

mod actions;
mod addresses;
mod admission;
mod create;
pub mod diagnostics;
#[cfg(test)]
mod disk_tests;
mod events;
#[cfg(test)]
mod group_tests;
mod groups;
#[cfg(test)]
mod interface_tests;
mod interfaces;
mod labels;
mod moves;
mod neighbours;
mod password;
mod power;
mod rebuild;
mod rescue;
mod resize;
#[cfg(test)]
mod resize_tests;
mod shares;
mod shelve;
mod snapshot;
mod soft_delete;
#[cfg(test)]
mod tests;
mod usage;

use super::Deps;
use crate::core::actor::Actor;
use crate::core::ids::{ProjectId, ServerId};
use crate::core::port::ServerNic;
use crate::core::server::action::Action;
use crate::core::server::decide::decide;
use crate::core::server::node::Node;
use crate::core::server::query::ServerQuery;
use crate::core::server::{ActionEvent, ActionRecord, Server, ServerDetail, ServerListItem};
use crate::core::{Error, Result};
use crate::host::hypervisor::Hypervisor;
use crate::host::storage::Storage;
use crate::store::server_actions::ActionPage;
use crate::store::server_list::ListError;
use crate::store::{
    Connection, StoreError, node, server_actions, server_groups, server_list, server_ports, servers,
};
pub use actions::ResetTo;
pub use events::Told;
pub use groups::ServerGroups;
use jiff::Timestamp;
pub use moves::LiveMigration;
pub use shelve::Destination;
pub use snapshot::NewImage;
use std::sync::Arc;

/// The most of a console log that is answered, in bytes; Nova's figure.
const CONSOLE_BYTES: usize = 100 * 1024;

/// The server use cases; cheap to clone.
#[derive(Clone)]
pub struct Servers {
    deps: Deps,
    storage: Arc<dyn Storage>,
    hypervisor: Arc<dyn Hypervisor>,
    node: Arc<Node>,
}

/// Which servers a caller looks among.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Among {
    Living,
    /// Deleted ones too, as the list of actions does from microversion 2.21.
    All,
}

/// One page of a server's actions.
#[derive(Debug, Clone, Default)]
pub struct ActionQuery {
    pub limit: usize,
    /// The request id of the last action of the page before.
    pub marker: Option<String>,
    pub changes_since: Option<Timestamp>,
    pub changes_before: Option<Timestamp>,
}

impl From<ListError> for Error {
    fn from(error: ListError) -> Self {
        match error {
            ListError::UnknownMarker(_) => Self::invalid(error.to_string()),
            ListError::Store(cause) => cause.into(),
        }
    }
}

/// The 404 of a server that does not exist or is not the caller's to see.
pub fn unknown(id: ServerId) -> Error {
    Error::not_found(format!("Instance {id} could not be found."))
}

/// The server, if the caller may see it.
fn find(c: &Connection, actor: &Actor, id: ServerId, among: Among) -> Result<Server> {
    let found = match among {
        Among::Living => servers::get(c, id)?,
        Among::All => servers::get_any(c, id)?,
    };
    found.filter(|server| actor.is_admin() || actor.owns(&server.project_id)).ok_or_else(|| unknown(id))
}

fn project_of(actor: &Actor) -> Result<&ProjectId> {
    actor.project_id.as_ref().ok_or_else(|| Error::forbidden("The token has no project."))
}

/// Full views of servers, in a few more queries however many they are.
fn details(c: &Connection, node: &Node, found: Vec<Server>) -> Result<Vec<ServerDetail>, StoreError> {
    let ids: Vec<ServerId> = found.iter().map(|server| server.id).collect();
    let mut faults = server_list::faults(c, &ids)?;
    let mut nics = server_ports::server_nics(c, &ids)?;
    let standing = Arc::new(node::standing(c, node)?);
    Ok(found
        .into_iter()
        .map(|server| {
            let nics = nics.remove(&server.id).unwrap_or_default();
            ServerDetail {
                fault: faults.remove(&server.id),
                security_groups: group_names(&nics),
                nics,
                volumes: Vec::new(),
                standing: standing.clone(),
                server_group: None,
                server,
            }
        })
        .collect())
}

fn group_names(nics: &[ServerNic]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in nics.iter().flat_map(|nic| &nic.security_groups) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

fn detail(c: &Connection, node: &Node, server: Server) -> Result<ServerDetail> {
    let id = server.id;
    let mut detail = details(c, node, vec![server])?.pop().ok_or_else(|| unknown(id))?;
    detail.server_group = server_groups::of_server(c, id)?.map(|group| group.id);
    Ok(detail)
}

impl Servers {
    pub fn new(
        deps: Deps,
        storage: Arc<dyn Storage>,
        hypervisor: Arc<dyn Hypervisor>,
        node: Arc<Node>,
    ) -> Self {
        Self { deps, storage, hypervisor, node }
    }

    /// One page of servers by id and name. Whose servers are shown is the query's to say.
    pub async fn list(&self, query: ServerQuery) -> Result<Vec<ServerListItem>> {
        Ok(self.deps.store.read(move |c| server_list::items(c, &query)).await?)
    }

    /// One page of servers in full.
    pub async fn list_detail(&self, query: ServerQuery) -> Result<Vec<ServerDetail>> {
        let node = self.node.clone();
        self.deps
            .store
            .read(move |c| {
                let found = server_list::servers(c, &query)?;
                Ok::<_, Error>(details(c, &node, found)?)
            })
            .await
    }

    /// One server in full.
    pub async fn show(&self, actor: &Actor, id: ServerId) -> Result<ServerDetail> {
        let (actor, node) = (actor.clone(), self.node.clone());
        self.deps.store.read(move |c| detail(c, &node, find(c, &actor, id, Among::Living)?)).await
    }

    /// One server as it is stored.
    pub async fn find(&self, actor: &Actor, id: ServerId, among: Among) -> Result<Server> {
        let actor = actor.clone();
        self.deps.store.read(move |c| find(c, &actor, id, among)).await
    }

    /// The end of what the guest wrote on its console: the last `lines` lines, or all of it.
    pub async fn console_output(&self, actor: &Actor, id: ServerId, lines: Option<usize>) -> Result<String> {
        let server = self.find(actor, id, Among::Living).await?;
        decide(&server, Action::ConsoleOutput, actor)?;
        let bytes = self.storage.console_tail(id, lines, CONSOLE_BYTES).await?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.chars().filter(|c| matches!(c, '\t' | '\n') || *c >= ' ').collect())
    }

    /// A page of what was done to a server, newest first.
    pub async fn actions(
        &self,
        actor: &Actor,
        id: ServerId,
        among: Among,
        query: ActionQuery,
    ) -> Result<Vec<ActionRecord>> {
        let actor = actor.clone();
        self.deps
            .store
            .read(move |c| {
                find(c, &actor, id, among)?;
                let before = match &query.marker {
                    Some(marker) => Some(
                        server_actions::by_request(c, id, marker)?
                            .ok_or_else(|| Error::invalid(format!("marker [{marker}] not found")))?
                            .number,
                    ),
                    None => None,
                };
                let page = ActionPage {
                    limit: query.limit,
                    before,
                    changes_since: query.changes_since,
                    changes_before: query.changes_before,
                };
                Ok::<_, Error>(server_actions::list(c, id, &page)?)
            })
            .await
    }

    /// What one request did to a server, with its events, newest first.
    pub async fn action(
        &self,
        actor: &Actor,
        id: ServerId,
        among: Among,
        request_id: &str,
    ) -> Result<(ActionRecord, Vec<ActionEvent>)> {
        let (actor, request_id) = (actor.clone(), request_id.to_owned());
        self.deps
            .store
            .read(move |c| {
                find(c, &actor, id, among)?;
                let record = server_actions::by_request(c, id, &request_id)?
                    .ok_or_else(|| Error::not_found(format!("Action {request_id} not found")))?;
                let events = server_actions::events(c, record.number)?;
                Ok::<_, Error>((record, events))
            })
            .await
    }

    /// Runs a change of a server's row as one transaction.
    async fn change<T: Send + 'static>(
        &self,
        actor: &Actor,
        id: ServerId,
        work: impl FnOnce(&Connection, &Actor, Server, Timestamp) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (actor, now) = (actor.clone(), self.deps.clock.now());
        self.deps
            .store
            .write(move |c| {
                let server = find(c, &actor, id, Among::Living)?;
                work(c, &actor, server, now)
            })
            .await
    }
}
