//! Rebuilding: checked as a create is, in Nova's order, and written into the row at once.

use super::actions::set_going;
use super::{Servers, admission, detail, unknown};
use crate::core::actor::Actor;
use crate::core::ids::{ServerId, random_number};
use crate::core::secret::Secret;
use crate::core::server::action::Action;
use crate::core::server::decide::decide;
use crate::core::server::image_meta;
use crate::core::server::rebuild::RebuildServer;
use crate::core::server::state::VmState;
use crate::core::server::{Server, ServerDetail, naming};
use crate::core::workflow::server_rebuild::{FormerImage, RebuildState, ServerRebuild};
use crate::core::{Error, Result};
use crate::store::{Connection, images, quotas, server_rebuild, servers};

impl Servers {
    /// Accepts a rebuild. Gives the server as it is to be, and the password that its guest will have.
    pub async fn rebuild(
        &self,
        actor: &Actor,
        id: ServerId,
        mut command: RebuildServer,
    ) -> Result<(ServerDetail, Secret)> {
        let password =
            command.admin_password.take().unwrap_or_else(|| naming::password(random_number()).into());
        let (carried, node) = (password.clone(), self.node.clone());
        let shown = self
            .change(actor, id, move |c, actor, mut server, now| {
                // Before everything else that could be wrong with the request.
                decide(&server, Action::Rebuild, actor)?;
                let (before, was_stopped) = (FormerImage::of(&server), server.vm_state == VmState::Stopped);
                let keep_ephemeral = command.keep_ephemeral;
                apply(c, actor, &mut server, command)?;
                server_rebuild::begin(c, &server, now)?;
                set_going::<ServerRebuild, _>(c, actor, &server, Action::Rebuild, now, |task| {
                    RebuildState {
                        task,
                        admin_password: carried,
                        keep_ephemeral,
                        was_stopped,
                        before,
                        replacing: false,
                    }
                })?;
                detail(c, &node, servers::get(c, id)?.ok_or_else(|| unknown(id))?)
            })
            .await?;
        Ok((shown, password))
    }
}

/// Makes the server what it is to be.
fn apply(c: &Connection, actor: &Actor, server: &mut Server, command: RebuildServer) -> Result<()> {
    let key = match &command.key_name {
        None => server.key.take(),
        Some(name) => admission::key(c, actor, name.as_deref())?,
    };
    let image = match command.image_id {
        Some(id) => images::get(c, id)?.filter(|image| image.visible_to(actor)),
        None => None,
    };
    let image = image.ok_or_else(|| Error::invalid("Cannot find image for rebuild"))?;
    let limits = quotas::user_limits(c, &server.project_id, &actor.user_id)?;
    let items = command.metadata.as_ref().map_or(0, std::collections::BTreeMap::len);
    admission::check_contents(&limits, items, &command.personality)?;
    admission::check_fit(&image, &server.flavor, actor)?;
    let properties = admission::checked_properties(&image)?;
    image_meta::check_disk_config(&properties, image.id, command.disk_config).map_err(Error::invalid)?;
    server.key = key;
    server.image_id = Some(image.id);
    server.image_format = image.boot_format().map(str::to_owned);
    server.image_properties = properties;
    server.min_disk_gib = server.flavor.disk_gib.max(u64::from(image.min_disk));
    server.min_ram_mib = u64::from(image.min_ram);
    server.personality = command.personality;
    // What the old guest posted opens nothing any more, and the new one can post only where there is nothing.
    server.guest_password.clear();
    server.name = command.name.unwrap_or_else(|| std::mem::take(&mut server.name));
    if let Some(description) = command.description {
        server.description = description;
    }
    if let Some(hostname) = command.hostname {
        server.hostname = hostname;
    }
    if let Some(metadata) = command.metadata {
        server.metadata = metadata;
    }
    if let Some(user_data) = command.user_data {
        server.user_data = user_data;
    }
    if let Some(certificates) = command.trusted_certificates {
        server.trusted_certificates = certificates;
    }
    server.access_ip_v4 = command.access_ip_v4.or(server.access_ip_v4);
    server.access_ip_v6 = command.access_ip_v6.or(server.access_ip_v6);
    server.disk_config = command.disk_config.unwrap_or(server.disk_config);
    Ok(())
}
