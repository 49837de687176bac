//! Rescuing: another system on another disk looks after the server's own, and leaves again.

use super::Servers;
use super::actions::set_going;
use super::admission::checked_properties;
use crate::core::actor::Actor;
use crate::core::ids::{ImageId, ServerId, random_number};
use crate::core::secret::Secret;
use crate::core::server::action::Action;
use crate::core::server::decide::decide;
use crate::core::server::{Rescue, Server, naming};
use crate::core::workflow::server_rescue::{RescueState, ServerRescue};
use crate::core::workflow::server_unrescue::{ServerUnrescue, UnrescueState};
use crate::core::{Error, Result};
use crate::store::{Connection, images};

impl Servers {
    /// Accepts a rescue with an image, or with the one that the server was made from. Gives the password that the rescue
    /// system will have.
    pub async fn rescue(
        &self,
        actor: &Actor,
        id: ServerId,
        image: Option<ImageId>,
        password: Option<Secret>,
    ) -> Result<Secret> {
        let password = password.unwrap_or_else(|| naming::password(random_number()).into());
        let admin_password = password.clone();
        self.change(actor, id, move |c, actor, server, now| {
            decide(&server, Action::Rescue, actor)?;
            let rescue = match image {
                Some(image) => with_image(c, actor, image)?,
                None => with_own_image(&server)?,
            };
            set_going::<ServerRescue, _>(c, actor, &server, Action::Rescue, now, |task| RescueState {
                task,
                admin_password,
                rescue,
            })
        })
        .await?;
        Ok(password)
    }

    pub async fn unrescue(&self, actor: &Actor, id: ServerId) -> Result<()> {
        self.change(actor, id, move |c, actor, server, now| {
            set_going::<ServerUnrescue, _>(c, actor, &server, Action::Unrescue, now, |task| UnrescueState {
                task,
                runs: false,
            })
        })
        .await
    }
}

/// An image that the caller may not see, or that nothing can be started from, is as good as none.
fn unsupported(image: ImageId) -> Error {
    Error::invalid(format!("Requested rescue image '{image}' is not supported"))
}

fn with_image(c: &Connection, actor: &Actor, id: ImageId) -> Result<Rescue> {
    let image = images::get(c, id)?.filter(|image| image.visible_to(actor));
    let image = image.ok_or_else(|| unsupported(id))?;
    let format = image.boot_format().ok_or_else(|| unsupported(id))?;
    Ok(Rescue {
        image_id: id,
        image_format: format.to_owned(),
        image_properties: checked_properties(&image)?,
    })
}

/// The base of the server's image is there as long as the server, even if the image is not.
fn with_own_image(server: &Server) -> Result<Rescue> {
    let id = server.id;
    let image_id = server.image_id.ok_or_else(|| {
        Error::invalid(format!("Instance {id} cannot be rescued: it has no image of its own."))
    })?;
    Ok(Rescue {
        image_id,
        image_format: server.image_format.clone().unwrap_or_else(|| "raw".into()),
        image_properties: server.image_properties.clone(),
    })
}
