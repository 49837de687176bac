//! `resize`, `confirmResize`, `revertResize`.

use super::actions::accepted;
use crate::api::call::{Call, Outcome, Reply};
use crate::api::compute::schema::Rule::{Object as Keys, Types};
use crate::api::compute::schema::types::{DISK_CONFIG, FLAVOR_REF};
use crate::api::compute::schema::{Object, Schema, Type, property, wire};
use crate::core::ids::ServerId;
use crate::core::server::DiskConfig;
use actix_web::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

pub static BODY: Schema = Schema(&[
    Types(&[Type::Object]),
    Keys(&Object {
        input: None,
        properties: &[property("resize", &[&RESIZE])],
        required: &["resize"],
        open: false,
    }),
]);
const RESIZE: Schema = Schema(&[
    Types(&[Type::Object]),
    Keys(&Object {
        input: None,
        properties: &[property("flavorRef", &[&FLAVOR_REF]), property("OS-DCF:diskConfig", &[&DISK_CONFIG])],
        required: &["flavorRef"],
        open: false,
    }),
]);

#[derive(Deserialize)]
struct Resize {
    #[serde(rename = "flavorRef", deserialize_with = "wire::text")]
    flavor: String,
    #[serde(rename = "OS-DCF:diskConfig")]
    disk_config: Option<DiskConfig>,
}

pub async fn resize(call: Call, id: ServerId, value: Value) -> Outcome {
    let wanted: Resize = wire::read(value)?;
    call.state.services.servers.resize(call.actor()?, id, wanted.flavor, wanted.disk_config).await?;
    Ok(accepted())
}

pub async fn confirm(call: Call, id: ServerId, _value: Value) -> Outcome {
    call.state.services.servers.confirm_resize(call.actor()?, id).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

pub async fn revert(call: Call, id: ServerId, _value: Value) -> Outcome {
    call.state.services.servers.revert_resize(call.actor()?, id).await?;
    Ok(accepted())
}
