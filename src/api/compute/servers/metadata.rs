//! A server's metadata.

use super::{authorize, id, tables};
use crate::api::call::{Call, Outcome, Reply};
use crate::api::compute::request;
use crate::api::compute::schema::query::NONE;
use crate::core::Error;
use crate::core::server::create::MetadataChange;
use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

type Items = BTreeMap<String, String>;

#[derive(Serialize, Deserialize)]
struct All {
    metadata: Items,
}

#[derive(Serialize, Deserialize)]
struct One {
    meta: Items,
}

fn missing() -> Error {
    Error::not_found("Metadata item was not found")
}

pub async fn list(mut call: Call) -> Outcome {
    request::query(&mut call, &NONE)?;
    let id = id(&call)?;
    authorize(&call, id).await?;
    let metadata = call.state.services.servers.metadata(call.actor()?, id).await?;
    Ok(Reply::json(StatusCode::OK, &All { metadata })?)
}

pub async fn show(mut call: Call) -> Outcome {
    request::query(&mut call, &NONE)?;
    let id = id(&call)?;
    authorize(&call, id).await?;
    let mut metadata = call.state.services.servers.metadata(call.actor()?, id).await?;
    let pair = metadata.remove_entry(call.params.get("key")).ok_or_else(missing)?;
    Ok(Reply::json(StatusCode::OK, &One { meta: Items::from([pair]) })?)
}

/// `POST`: adds and overwrites.
pub async fn merge(call: Call) -> Outcome {
    change(call, MetadataChange::Merge).await
}

/// `PUT`: nothing of what was there stays.
pub async fn replace(call: Call) -> Outcome {
    change(call, MetadataChange::Replace).await
}

async fn change(mut call: Call, kind: fn(Items) -> MetadataChange) -> Outcome {
    let body: All = request::body(&mut call, &tables::METADATA_BODY).await?;
    let id = id(&call)?;
    authorize(&call, id).await?;
    let servers = &call.state.services.servers;
    let metadata = servers.change_metadata(call.actor()?, id, kind(body.metadata)).await?;
    Ok(Reply::json(StatusCode::OK, &All { metadata })?)
}

/// `PUT` of one item, which the path and the body have to name alike.
pub async fn set(mut call: Call) -> Outcome {
    let body: One = request::body(&mut call, &tables::META_BODY).await?;
    let id = id(&call)?;
    authorize(&call, id).await?;
    if !body.meta.contains_key(call.params.get("key")) {
        return Err(Error::invalid("Request body and URI mismatch").into());
    }
    let change = MetadataChange::Merge(body.meta.clone());
    call.state.services.servers.change_metadata(call.actor()?, id, change).await?;
    Ok(Reply::json(StatusCode::OK, &body)?)
}

pub async fn delete(call: Call) -> Outcome {
    let id = id(&call)?;
    authorize(&call, id).await?;
    let key = call.params.get("key").to_owned();
    call.state.services.servers.delete_metadata_item(call.actor()?, id, key).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}
