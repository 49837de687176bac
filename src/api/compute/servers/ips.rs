//! A server's addresses, by network.

use super::view::OnNetwork;
use super::{authorize, id};
use crate::api::call::{Call, Outcome, Reply};
use crate::api::compute::request;
use crate::api::compute::schema::query::NONE;
use crate::core::Error;
use actix_web::http::StatusCode;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
struct All<'a> {
    addresses: BTreeMap<&'a str, OnNetwork<'a>>,
}

pub async fn list(mut call: Call) -> Outcome {
    request::query(&mut call, &NONE)?;
    let id = id(&call)?;
    authorize(&call, id).await?;
    let detail = call.state.services.servers.show(call.actor()?, id).await?;
    let nics = detail.nics.as_slice();
    let addresses = nics
        .iter()
        .map(|nic| nic.network_name.as_str())
        .map(|label| (label, OnNetwork { nics, label, shape: None }))
        .collect();
    Ok(Reply::json(StatusCode::OK, &All { addresses })?)
}

pub async fn show(mut call: Call) -> Outcome {
    request::query(&mut call, &NONE)?;
    let id = id(&call)?;
    authorize(&call, id).await?;
    let detail = call.state.services.servers.show(call.actor()?, id).await?;
    let label = call.params.get("label");
    if !detail.nics.iter().any(|nic| nic.network_name == label) {
        return Err(Error::not_found("Instance is not a member of specified network").into());
    }
    let body = BTreeMap::from([(label, OnNetwork { nics: &detail.nics, label, shape: None })]);
    Ok(Reply::json(StatusCode::OK, &body)?)
}
