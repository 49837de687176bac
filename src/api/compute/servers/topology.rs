//! `/servers/{id}/topology`: the NUMA nodes that a guest sees.

use super::{Among, authorize, id};
use crate::api::call::{Call, Outcome, Reply};
use crate::api::compute::request;
use crate::api::compute::schema::query::NONE;
use actix_web::http::StatusCode;
use serde_json::json;

/// Guests here see one flat machine with the host's usual pages, for which there is nothing to tell.
pub async fn show(mut call: Call) -> Outcome {
    request::query(&mut call, &NONE)?;
    let id = id(&call)?;
    authorize(&call, id).await?;
    call.state.services.servers.find(call.actor()?, id, Among::Living).await?;
    Ok(Reply::json(StatusCode::OK, &json!({"nodes": [], "pagesize_kb": null}))?)
}
