//! Moves to another host, of which there is none: what is asked for is checked and recorded as where there are many, and
//! ends with the words of a cloud that found no host.

use super::admission::{forbidden, unknown_host};
use super::resize::refuse_move;
use super::{Among, Servers, actions, find};
use crate::core::actor::Actor;
use crate::core::ids::ServerId;
use crate::core::server::action::Action;
use crate::core::server::decide::decide;
use crate::core::server::migration::{Migration, MigrationKind, MigrationQuery};
use crate::core::{Error, Result};
use crate::store::server_migrations;
use std::convert::Infallible;

/// What is asked of a move of a running server.
#[derive(Debug, Clone, Default)]
pub struct LiveMigration {
    /// Where to.
    pub host: Option<String>,
    /// Whether the host is taken without asking a scheduler.
    pub forced: bool,
    /// Whether the caller waits for what becomes of it, as clients did before 2.34.
    pub waits: bool,
}

impl Servers {
    /// A move of a server that is shut down for it. Accepted, and then recorded as failed.
    pub async fn migrate(&self, actor: &Actor, id: ServerId, host: Option<String>) -> Result<()> {
        let node = self.node.name.clone();
        self.change(actor, id, move |c, actor, server, now| {
            may_name_host(actor, host.as_deref(), "os_compute_api:os-migrate-server:migrate:host")?;
            decide(&server, Action::Migrate, actor)?;
            match host {
                Some(host) if host == node => {
                    return Err(Error::invalid("Cannot migrate to the host where the server exists."));
                }
                Some(host) => return Err(unknown_host(&host)),
                None => {}
            }
            let action = actions::record(c, actor, &server, "migrate", now)?;
            refuse_move(c, actor, &server, &server.flavor, MigrationKind::Cold, now)?;
            let events = ["conductor_migrate_server", "cold_migrate"];
            let words = "No valid host was found. No valid host found for cold migrate";
            actions::refuse(c, &server, action, &events, words, now)
        })
        .await
    }

    /// A move of a running server. Recorded as failed; who waits for it is told so.
    pub async fn live_migrate(&self, actor: &Actor, id: ServerId, wanted: LiveMigration) -> Result<()> {
        let node = self.node.name.clone();
        let waits = wanted.waits;
        let words = self
            .change(actor, id, move |c, actor, server, now| {
                let host = wanted.host.as_deref();
                may_name_host(actor, host, "os_compute_api:os-migrate-server:migrate_live:host")?;
                decide(&server, Action::LiveMigrate, actor)?;
                if let Some(host) = host
                    && host != node
                {
                    return Err(unknown_host(host));
                }
                let words = if wanted.forced {
                    format!("Unable to migrate instance ({id}) to current host ({node}).")
                } else {
                    "No valid host was found. There are not enough hosts available.".to_owned()
                };
                let action = actions::record(c, actor, &server, "live-migration", now)?;
                refuse_move(c, actor, &server, &server.flavor, MigrationKind::Live, now)?;
                let event =
                    if wanted.waits { "conductor_migrate_server" } else { "conductor_live_migrate_instance" };
                actions::refuse(c, &server, action, &[event], &words, now)?;
                Ok(words)
            })
            .await?;
        if waits { Err(Error::invalid(words)) } else { Ok(()) }
    }

    /// Brings a server up elsewhere when its host is down. This one answers, so it is not.
    pub async fn evacuate(&self, actor: &Actor, id: ServerId, host: Option<String>) -> Result<Infallible> {
        let server = self.find(actor, id, Among::Living).await?;
        let node = &self.node.name;
        if let Some(host) = host {
            if host != *node {
                return Err(Error::not_found(format!("Compute host {host} not found.")));
            }
            return Err(Error::invalid("The target host can't be the same one."));
        }
        decide(&server, Action::Evacuate, actor)?;
        Err(Error::invalid(format!("Compute service of {node} is still in use.")))
    }

    /// Tells a move of a running server to come to its end. None is ever going on.
    pub async fn force_complete(&self, actor: &Actor, id: ServerId, migration: &str) -> Result<Infallible> {
        let server = self.find(actor, id, Among::Living).await?;
        decide(&server, Action::ForceComplete, actor)?;
        Err(Error::invalid(no_such_move(id, migration)))
    }

    /// Gives up a move of a running server. None is ever going on.
    pub async fn abort_migration(&self, actor: &Actor, id: ServerId, migration: &str) -> Result<Infallible> {
        let server = self.find(actor, id, Among::Living).await?;
        decide(&server, Action::AbortMigration, actor)?;
        Err(Error::not_found(no_such_move(id, migration)))
    }

    /// A move of a running server that is going on: none ever is, and the refusal says what there is.
    pub async fn migration_in_progress(
        &self,
        actor: &Actor,
        id: ServerId,
        migration: &str,
    ) -> Result<Infallible> {
        let (actor, number) = (actor.clone(), migration.parse::<i64>().ok());
        let found = self
            .deps
            .store
            .read(move |c| {
                find(c, &actor, id, Among::Living)?;
                match number {
                    Some(number) => Ok::<_, Error>(server_migrations::get(c, number, id)?),
                    None => Ok(None),
                }
            })
            .await?;
        Err(Error::not_found(match found {
            None => format!("In-progress live migration {migration} is not found for server {id}."),
            Some(found) if found.kind != MigrationKind::Live => {
                format!("Migration {migration} for server {id} is not live-migration.")
            }
            Some(_) => format!("Live migration {migration} for server {id} is not in progress."),
        }))
    }

    /// One page of attempts: of all projects for administrators, of their own for others.
    pub async fn migrations(&self, actor: &Actor, mut query: MigrationQuery) -> Result<Vec<Migration>> {
        if !actor.is_admin() {
            let own = super::project_of(actor)?.as_str();
            if query.project_id.as_deref().is_some_and(|project| project != own) {
                return Ok(Vec::new());
            }
            query.project_id = Some(own.to_owned());
        }
        self.deps
            .store
            .read(move |c| {
                let found = server_migrations::list(c, &query)?;
                found.ok_or_else(|| {
                    let marker = query.marker.as_deref().unwrap_or_default();
                    Error::invalid(format!("Marker {marker} could not be found."))
                })
            })
            .await
    }
}

fn may_name_host(actor: &Actor, host: Option<&str>, rule: &str) -> Result<()> {
    if host.is_some() && !actor.is_admin() {
        return Err(forbidden(rule));
    }
    Ok(())
}

fn no_such_move(id: ServerId, migration: &str) -> String {
    format!("Migration {migration} not found for instance {id}")
}
