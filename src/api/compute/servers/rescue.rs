//! The actions around getting into a server that nobody can get into: `rescue`, `unrescue`, `changePassword`.

use super::actions::accepted;
use crate::api::call::{Call, Outcome, Reply};
use crate::api::compute::schema::wire;
use crate::core::ids::{ImageId, ServerId};
use crate::core::secret::Secret;
use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Deserialize, Default)]
struct Rescue {
    #[serde(rename = "adminPass")]
    admin_password: Option<Secret>,
    rescue_image_ref: Option<ImageId>,
}

#[derive(Serialize)]
struct Rescued<'a> {
    #[serde(rename = "adminPass")]
    admin_password: &'a str,
}

pub async fn rescue(call: Call, id: ServerId, value: Value) -> Outcome {
    let asked: Option<Rescue> = wire::read(value)?;
    let Rescue { admin_password, rescue_image_ref } = asked.unwrap_or_default();
    let servers = &call.state.services.servers;
    let password = servers.rescue(call.actor()?, id, rescue_image_ref, admin_password).await?;
    Ok(Reply::json(StatusCode::OK, &Rescued { admin_password: password.expose() })?)
}

pub async fn unrescue(call: Call, id: ServerId, _value: Value) -> Outcome {
    call.state.services.servers.unrescue(call.actor()?, id).await?;
    Ok(accepted())
}

#[derive(Deserialize)]
struct ChangePassword {
    #[serde(rename = "adminPass")]
    admin_password: Secret,
}

pub async fn change_password(call: Call, id: ServerId, value: Value) -> Outcome {
    let asked: ChangePassword = wire::read(value)?;
    call.state.services.servers.change_password(call.actor()?, id, asked.admin_password).await?;
    Ok(accepted())
}
