//! What owners write on their servers: names, metadata, tags, the password that the guest posted. Changed at once.

use super::{Among, Servers, admission, detail};
use crate::core::actor::Actor;
use crate::core::ids::ServerId;
use crate::core::server::action::Action;
use crate::core::server::create::{MetadataChange, UpdateServer};
use crate::core::server::decide::decide;
use crate::core::server::{Server, ServerDetail};
use crate::core::{Error, Result};
use crate::store::{node, quotas, servers};
use std::collections::BTreeMap;

/// The most tags that a server may have.
pub const TAG_LIMIT: usize = 50;

impl Servers {
    /// Changes plain fields, in any state of the server.
    pub async fn update(&self, actor: &Actor, id: ServerId, update: UpdateServer) -> Result<ServerDetail> {
        let node = self.node.clone();
        self.change(actor, id, move |c, actor, mut server, now| {
            decide(&server, Action::Update, actor)?;
            apply(&mut server, update, &node::standing(c, &node)?.zone)?;
            servers::update(c, &server, now)?;
            server.updated_at = now;
            detail(c, &node, server)
        })
        .await
    }

    pub async fn metadata(&self, actor: &Actor, id: ServerId) -> Result<BTreeMap<String, String>> {
        Ok(self.find(actor, id, Among::Living).await?.metadata)
    }

    /// Gives the whole map after the change.
    pub async fn change_metadata(
        &self,
        actor: &Actor,
        id: ServerId,
        change: MetadataChange,
    ) -> Result<BTreeMap<String, String>> {
        self.change(actor, id, move |c, actor, mut server, now| {
            decide(&server, Action::UpdateMetadata, actor)?;
            match change {
                MetadataChange::Merge(items) => server.metadata.extend(items),
                MetadataChange::Replace(items) => server.metadata = items,
            }
            let limits = quotas::user_limits(c, &server.project_id, &actor.user_id)?;
            admission::check_metadata(&limits, server.metadata.len())?;
            servers::update(c, &server, now)?;
            Ok(server.metadata)
        })
        .await
    }

    pub async fn delete_metadata_item(&self, actor: &Actor, id: ServerId, key: String) -> Result<()> {
        self.change(actor, id, move |c, actor, mut server, now| {
            // Nova looks for the item first.
            if server.metadata.remove(&key).is_none() {
                return Err(Error::not_found("Metadata item was not found"));
            }
            decide(&server, Action::DeleteMetadata, actor)?;
            Ok(servers::update(c, &server, now)?)
        })
        .await
    }

    pub async fn tags(&self, actor: &Actor, id: ServerId) -> Result<Vec<String>> {
        Ok(self.find(actor, id, Among::Living).await?.tags)
    }

    /// Gives the tags as they are stored.
    pub async fn replace_tags(&self, actor: &Actor, id: ServerId, tags: Vec<String>) -> Result<Vec<String>> {
        self.change(actor, id, move |c, actor, mut server, now| {
            decide(&server, Action::UpdateTags, actor)?;
            server.tags = tags;
            server.tags.sort_unstable();
            server.tags.dedup();
            check_tag_count(&server)?;
            servers::update(c, &server, now)?;
            Ok(server.tags)
        })
        .await
    }

    /// Says whether the tag is new.
    pub async fn add_tag(&self, actor: &Actor, id: ServerId, tag: String) -> Result<bool> {
        self.change(actor, id, move |c, actor, mut server, now| {
            decide(&server, Action::UpdateTag, actor)?;
            let Err(place) = server.tags.binary_search(&tag) else { return Ok(false) };
            server.tags.insert(place, tag);
            check_tag_count(&server)?;
            servers::update(c, &server, now)?;
            Ok(true)
        })
        .await
    }

    pub async fn remove_tag(&self, actor: &Actor, id: ServerId, tag: String) -> Result<()> {
        self.change(actor, id, move |c, actor, mut server, now| {
            decide(&server, Action::DeleteTag, actor)?;
            let Ok(place) = server.tags.binary_search(&tag) else {
                return Err(Error::not_found(format!("Server {id} has no tag '{tag}'")));
            };
            server.tags.remove(place);
            Ok(servers::update(c, &server, now)?)
        })
        .await
    }

    pub async fn clear_tags(&self, actor: &Actor, id: ServerId) -> Result<()> {
        self.change(actor, id, move |c, actor, mut server, now| {
            decide(&server, Action::DeleteTags, actor)?;
            server.tags.clear();
            Ok(servers::update(c, &server, now)?)
        })
        .await
    }

    /// What the guest posted, encrypted with the owner's key; empty if it did not.
    pub async fn guest_password(&self, actor: &Actor, id: ServerId) -> Result<String> {
        Ok(self.find(actor, id, Among::Living).await?.guest_password)
    }

    pub async fn clear_guest_password(&self, actor: &Actor, id: ServerId) -> Result<()> {
        self.change(actor, id, move |c, actor, mut server, now| {
            decide(&server, Action::ClearPassword, actor)?;
            server.guest_password.clear();
            Ok(servers::update(c, &server, now)?)
        })
        .await
    }

    /// Keeps what a guest posted to the metadata service. Says whether it was the first; a later one changes nothing.
    pub async fn post_guest_password(&self, id: ServerId, password: String) -> Result<bool> {
        let now = self.deps.clock.now();
        self.deps
            .store
            .write(move |c| {
                let mut server = servers::get(c, id)?.ok_or_else(|| super::unknown(id))?;
                if !server.guest_password.is_empty() {
                    return Ok(false);
                }
                server.guest_password = password;
                servers::update(c, &server, now)?;
                Ok::<_, Error>(true)
            })
            .await
    }
}

fn check_tag_count(server: &Server) -> Result<()> {
    if server.tags.len() > TAG_LIMIT {
        return Err(Error::invalid(format!("The number of tags exceeded the per-server limit {TAG_LIMIT}")));
    }
    Ok(())
}

fn apply(server: &mut Server, update: UpdateServer, zone: &str) -> Result<()> {
    if let Some(name) = update.name {
        server.name = name;
    }
    if let Some(description) = update.description {
        server.description = description;
    }
    if let Some(hostname) = update.hostname {
        server.hostname = hostname;
    }
    if let Some(address) = update.access_ip_v4 {
        server.access_ip_v4 = address;
    }
    if let Some(address) = update.access_ip_v6 {
        server.access_ip_v6 = address;
    }
    if let Some(disk_config) = update.disk_config {
        server.disk_config = disk_config;
    }
    if let Some(pin) = update.pinned_zone {
        let is_other = |pin: &str| server.pinned_zone.as_deref().unwrap_or(zone) != pin;
        if pin.as_deref().is_some_and(is_other) {
            return Err(Error::conflict(format!(
                "Instance {} can only be pinned to the availability zone that it is in.",
                server.id
            )));
        }
        server.pinned_zone = pin;
    }
    Ok(())
}
