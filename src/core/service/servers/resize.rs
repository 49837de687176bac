//! Resizes: asked for, confirmed, taken back.

use super::{Servers, actions, admission, neighbours};
use crate::core::actor::Actor;
use crate::core::ids::{ProjectId, ServerId};
use crate::core::server::action::Action;
use crate::core::server::decide::decide;
use crate::core::server::image_meta;
use crate::core::server::migration::{MigrationKind, MigrationStatus};
use crate::core::server::node::{Claim, Node};
use crate::core::server::standing::NO_HOST;
use crate::core::server::state::{TaskState, VmState};
use crate::core::server::{DiskConfig, Resize, Server, ServerFlavor};
use crate::core::workflow::server_resize::{ResizeState, ServerResize};
use crate::core::workflow::server_resize_confirm::{ConfirmState, ServerResizeConfirm};
use crate::core::workflow::server_resize_revert::{RevertState, ServerResizeRevert};
use crate::core::workflow::{ServerTask, enqueue};
use crate::core::{Error, Result};
use crate::store::server_migrations::{self, NewMigration};
use crate::store::{Connection, node, server_actions, server_usage, servers};
use jiff::Timestamp;

/// The events in which a host is looked for.
const SCHEDULING: [&str; 2] = ["conductor_migrate_server", "cold_migrate"];

impl Servers {
    /// Begins to give a server another flavor. Where this host has no room for it, that is recorded and the server stays
    /// as it is.
    pub async fn resize(
        &self,
        actor: &Actor,
        id: ServerId,
        flavor: String,
        disk_config: Option<DiskConfig>,
    ) -> Result<()> {
        let node = self.node.clone();
        self.change(actor, id, move |c, actor, server, now| {
            begin(c, actor, server, &node, &flavor, disk_config, now)
        })
        .await
    }

    /// Keeps the new size for good.
    pub async fn confirm_resize(&self, actor: &Actor, id: ServerId) -> Result<()> {
        self.change(actor, id, move |c, actor, server, now| {
            decide(&server, Action::ConfirmResize, actor)?;
            let resize = finished(c, &server)?;
            server_migrations::set_status(c, resize.number, MigrationStatus::Confirming, now)?;
            let state = |task| ConfirmState::new(task, resize.number);
            actions::set_going::<ServerResizeConfirm, _>(c, actor, &server, Action::ConfirmResize, now, state)
        })
        .await
    }

    /// Goes back to the old size; what the guest wrote since is lost.
    pub async fn revert_resize(&self, actor: &Actor, id: ServerId) -> Result<()> {
        self.change(actor, id, move |c, actor, server, now| {
            decide(&server, Action::RevertResize, actor)?;
            let Resize { number, old_flavor, old_vm_state, .. } = finished(c, &server)?;
            admission::check_growth(c, &server, &server.flavor, &old_flavor)?;
            server_migrations::set_status(c, number, MigrationStatus::Reverting, now)?;
            actions::set_going::<ServerResizeRevert, _>(
                c,
                actor,
                &server,
                Action::RevertResize,
                now,
                |task| RevertState {
                    task,
                    migration: number,
                    old_flavor,
                    active: old_vm_state != VmState::Stopped,
                    back: false,
                },
            )
        })
        .await
    }
}

/// The resize that waits for its owner's decision.
fn finished(c: &Connection, server: &Server) -> Result<Resize> {
    let none = || Error::invalid("Instance has not been resized.");
    let resize = server.resize.clone().ok_or_else(none)?;
    server_migrations::get(c, resize.number, server.id)?
        .filter(|migration| migration.status == MigrationStatus::Finished)
        .map(|_| resize)
        .ok_or_else(none)
}

fn begin(
    c: &Connection,
    actor: &Actor,
    mut server: Server,
    node: &Node,
    flavor: &str,
    disk_config: Option<DiskConfig>,
    now: Timestamp,
) -> Result<()> {
    decide(&server, Action::Resize, actor)?;
    if let Some(image) = server.image_id {
        image_meta::check_disk_config(&server.image_properties, image, disk_config)
            .map_err(Error::invalid)?;
    }
    let new = admission::flavor(c, actor, &server.project_id, flavor)?;
    admission::check_change(&server.flavor, &new)?;
    admission::check_growth(c, &server, &server.flavor, &new)?;
    admission::check_minimums(&server, &new, actor)?;

    server.disk_config = disk_config.unwrap_or(DiskConfig::Manual);
    servers::update(c, &server, now)?;
    // A resize that can no longer be taken back, since an administrator reset the server's state.
    if let Some(stale) = &server.resize {
        server_migrations::set_status(c, stale.number, MigrationStatus::Confirmed, now)?;
        servers::set_resize(c, server.id, None)?;
    }
    let action = actions::record(c, actor, &server, "resize", now)?;
    let obstacle = match lacks_room(c, node, &server.flavor, &new)? {
        Some(reason) => Some(reason),
        None => neighbours::refuse_stay(c, node, &server)?,
    };
    match obstacle {
        Some(reason) => {
            let words = format!("No valid host was found. {reason}");
            refuse_move(c, actor, &server, &new, MigrationKind::Resize, now)?;
            actions::refuse(c, &server, action, &SCHEDULING, &words, now)
        }
        None => set_going(c, actor, &server, node, &new, action, now),
    }
}

fn set_going(
    c: &Connection,
    actor: &Actor,
    server: &Server,
    node: &Node,
    new: &ServerFlavor,
    action: i64,
    now: Timestamp,
) -> Result<()> {
    let record = NewMigration {
        destination: server.host.as_deref(),
        status: MigrationStatus::PreMigrating,
        ..a_move(actor, server, new, MigrationKind::Resize)
    };
    let migration = server_migrations::insert(c, &record, now)?;
    let old = server.flavor.clone();
    let resize = Resize {
        number: migration,
        old_flavor: old.clone(),
        old_vm_state: server.vm_state,
        finished_at: None,
    };
    servers::set_flavor(c, server.id, new, now)?;
    servers::set_resize(c, server.id, Some(&resize))?;
    servers::begin(c, server.id, TaskState::ResizePrep, now)?;
    for event in SCHEDULING {
        server_actions::begin_event(c, action, event, server.host.as_deref(), now)?;
    }
    let state = ResizeState {
        task: ServerTask { server: server.id, action, host: server.host.clone() },
        migration,
        old_flavor: old,
        active: server.vm_state != VmState::Stopped,
        touched: false,
        window_seconds: node.resize_confirm_window.as_secs(),
    };
    enqueue::<ServerResize>(c, server.id, &state, &actor.request_id.0, now)?;
    Ok(())
}

/// Why this host cannot hold both sizes.
fn lacks_room(c: &Connection, node: &Node, old: &ServerFlavor, new: &ServerFlavor) -> Result<Option<String>> {
    if !node::standing(c, node)?.takes_servers() {
        return Ok(Some(NO_HOST.to_owned()));
    }
    let used = server_usage::of_host(c, &node.name)?;
    let promised = Claim { cores: used.cores, ram_mib: used.ram_mib, disk_mib: used.disk_mib };
    Ok(node.capacity.lacks(promised, Claim::of_resize(old, new)))
}

/// The record of an attempt that found no host.
fn a_move<'a>(
    actor: &'a Actor,
    server: &'a Server,
    new: &'a ServerFlavor,
    kind: MigrationKind,
) -> NewMigration<'a> {
    NewMigration {
        server: server.id,
        user_id: actor.user_id.as_str(),
        project_id: actor.project_id.as_ref().map(ProjectId::as_str),
        kind,
        status: MigrationStatus::Error,
        source: server.host.as_deref(),
        destination: None,
        old_flavor: &server.flavor.id,
        new_flavor: &new.id,
    }
}

/// Notes an attempt that found no host.
pub(super) fn refuse_move(
    c: &Connection,
    actor: &Actor,
    server: &Server,
    new: &ServerFlavor,
    kind: MigrationKind,
    now: Timestamp,
) -> Result<()> {
    server_migrations::insert(c, &a_move(actor, server, new, kind), now)?;
    Ok(())
}
