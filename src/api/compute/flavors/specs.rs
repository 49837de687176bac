//! A flavor's extra specs.

use super::{rules, tables};
use crate::api::call::{Call, Outcome, Reply};
use crate::api::compute::request;
use crate::api::compute::schema::{python, query};
use crate::core::Error;
use crate::core::service::flavors::no_spec;
use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Serialize, Deserialize)]
struct Specs<T> {
    extra_specs: BTreeMap<String, T>,
}

/// The values as they are stored: numbers as their digits. From 2.86 they have to be what their names promise.
fn checked(call: &Call, specs: &BTreeMap<String, Value>) -> Result<BTreeMap<String, String>, Error> {
    let mut checked = BTreeMap::new();
    for (name, value) in specs {
        let value = python::text(value);
        if call.minor >= 86 {
            rules::check(name, &value).map_err(Error::invalid)?;
        }
        checked.insert(name.clone(), value);
    }
    Ok(checked)
}

pub async fn list(mut call: Call) -> Outcome {
    request::query(&mut call, &query::NONE)?;
    request::authorize(&call)?;
    let id = call.params.get("id").to_owned();
    let flavor = call.state.services.flavors.get(call.actor()?, id).await?;
    Ok(Reply::json(StatusCode::OK, &Specs { extra_specs: flavor.extra_specs })?)
}

pub async fn show(mut call: Call) -> Outcome {
    request::query(&mut call, &query::NONE)?;
    request::authorize(&call)?;
    let id = call.params.get("id").to_owned();
    let key = call.params.get("key").to_owned();
    let flavor = call.state.services.flavors.get(call.actor()?, id.clone()).await?;
    let value = flavor.extra_specs.get(&key).ok_or_else(|| no_spec(&id, &key))?;
    Ok(Reply::json(StatusCode::OK, &BTreeMap::from([(key.as_str(), value)]))?)
}

pub async fn create(mut call: Call) -> Outcome {
    let body: Specs<Value> = request::body(&mut call, &tables::CREATE_SPECS).await?;
    request::authorize(&call)?;
    let specs = checked(&call, &body.extra_specs)?;
    let id = call.params.get("id").to_owned();
    call.state.services.flavors.merge_specs(id, specs).await?;
    Ok(Reply::json(StatusCode::OK, &body)?)
}

pub async fn update(mut call: Call) -> Outcome {
    let body: BTreeMap<String, Value> = request::body(&mut call, &tables::UPDATE_SPEC).await?;
    request::authorize(&call)?;
    let specs = checked(&call, &body)?;
    if !body.contains_key(call.params.get("key")) {
        return Err(Error::invalid("Request body and URI mismatch").into());
    }
    let id = call.params.get("id").to_owned();
    call.state.services.flavors.merge_specs(id, specs).await?;
    Ok(Reply::json(StatusCode::OK, &body)?)
}

pub async fn delete(call: Call) -> Outcome {
    request::authorize(&call)?;
    let id = call.params.get("id").to_owned();
    let key = call.params.get("key").to_owned();
    call.state.services.flavors.delete_spec(id, key).await?;
    Ok(Reply::empty(StatusCode::OK))
}
