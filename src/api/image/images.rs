//! One image: create, show, update, delete, tags, deactivate.

use super::views::{self, ImageView};
use super::{MOUNT, attributes, body, image_id, image_not_found, info, no_image, patch};
use crate::api::call::{Call, Outcome, Reply};
use crate::core::Error;
use crate::core::image::Image;
use actix_web::http::StatusCode;

pub async fn create(mut call: Call) -> Outcome {
    let body = body(&mut call).await?;
    let asked = attributes::create(&body)?;
    let image = call.state.services.images.create(call.actor()?, asked.id, &asked.attributes).await?;
    let location = format!("{}{MOUNT}{}", call.base, views::path(&image));
    let reply = Reply::json(StatusCode::CREATED, &ImageView(&image))?;
    Ok(reply.header("location", &location).header("openstack-image-import-methods", info::IMPORT_METHODS))
}

pub async fn show(call: Call) -> Outcome {
    let id = image_id(&call, no_image)?;
    view(&call.state.services.images.show(call.actor()?, id).await?)
}

pub async fn update(mut call: Call) -> Outcome {
    let Some(dialect) = patch::Dialect::of(call.header("content-type")) else {
        return Ok(patch::unsupported(&call));
    };
    let body = body(&mut call).await?;
    let changes = patch::changes(&body, dialect)?;
    let id = image_id(&call, no_image)?;
    view(&call.state.services.images.update(call.actor()?, id, changes).await?)
}

pub async fn delete(call: Call) -> Outcome {
    let id = image_id(&call, |text| format!("Failed to find image {text} to delete"))?;
    call.state.services.images.delete(call.actor()?, id).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

pub async fn deactivate(call: Call) -> Outcome {
    set_active(call, false).await
}

pub async fn reactivate(call: Call) -> Outcome {
    set_active(call, true).await
}

async fn set_active(call: Call, active: bool) -> Outcome {
    let id = image_id(&call, no_image)?;
    call.state.services.images.set_active(call.actor()?, id, active).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

pub async fn add_tag(call: Call) -> Outcome {
    let tag = call.params.get("tag").to_owned();
    attributes::check_tag(&tag)?;
    let id = image_id(&call, image_not_found)?;
    call.state.services.images.add_tag(call.actor()?, id, tag).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

pub async fn remove_tag(call: Call) -> Outcome {
    let tag = call.params.get("tag").to_owned();
    let id = image_id(&call, image_not_found)?;
    call.state.services.images.remove_tag(call.actor()?, id, tag).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

fn view(image: &Image) -> Outcome {
    Reply::json(StatusCode::OK, &ImageView(image)).map_err(|error: Error| error.into())
}
