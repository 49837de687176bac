//! The password that the guest posted to the metadata service, encrypted with the owner's key.

use super::{authorize, id};
use crate::api::call::{Call, Outcome, Reply};
use crate::api::compute::request;
use crate::api::compute::schema::query::NONE;
use actix_web::http::StatusCode;
use serde::Serialize;

#[derive(Serialize)]
struct Body {
    password: String,
}

pub async fn show(mut call: Call) -> Outcome {
    request::query(&mut call, &NONE)?;
    let id = id(&call)?;
    authorize(&call, id).await?;
    let password = call.state.services.servers.guest_password(call.actor()?, id).await?;
    Ok(Reply::json(StatusCode::OK, &Body { password })?)
}

pub async fn clear(call: Call) -> Outcome {
    let id = id(&call)?;
    authorize(&call, id).await?;
    call.state.services.servers.clear_guest_password(call.actor()?, id).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}
