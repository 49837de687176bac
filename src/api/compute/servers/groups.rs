//! A server's security groups: the list of them in the shape that Nova once kept them in, and the actions.

use super::actions::accepted;
use super::{authorize, id};
use crate::api::call::{Call, Outcome, Reply};
use crate::api::compute::request;
use crate::api::compute::schema::query::NONE;
use crate::api::compute::security_groups::view::{self, GroupView};
use crate::core::ids::ServerId;
use crate::core::security_group::SecurityGroup;
use crate::core::{Error, Result};
use actix_web::http::StatusCode;
use serde::Serialize;
use serde_json::Value;

#[derive(Serialize)]
struct Body<'a> {
    security_groups: Vec<GroupView<'a>>,
}

pub async fn list(mut call: Call) -> Outcome {
    request::query(&mut call, &NONE)?;
    let id = id(&call)?;
    authorize(&call, id).await?;
    let mut found = call.state.services.servers.security_groups(call.actor()?, id).await?;
    found.groups.sort_by(|a, b| (&a.project_id, &a.name).cmp(&(&b.project_id, &b.name)));
    let rules = |group: &SecurityGroup| found.rules.get(&group.id).map(Vec::as_slice).unwrap_or_default();
    let groups = found.groups.iter();
    let security_groups = groups.map(|group| view::group(group, rules(group), &found.remotes)).collect();
    Ok(Reply::json(StatusCode::OK, &Body { security_groups })?)
}

pub async fn add(call: Call, id: ServerId, value: Value) -> Outcome {
    call.state.services.servers.add_security_group(call.actor()?, id, name_in(&value)?).await?;
    Ok(accepted())
}

pub async fn remove(call: Call, id: ServerId, value: Value) -> Outcome {
    call.state.services.servers.remove_security_group(call.actor()?, id, name_in(&value)?).await?;
    Ok(accepted())
}

fn name_in(value: &Value) -> Result<String> {
    let Some(fields) = value.as_object() else { return Err(Error::invalid("Missing parameter dict")) };
    match fields.get("name") {
        None => Err(Error::invalid("Security group not specified")),
        Some(Value::String(name)) if !name.trim().is_empty() => Ok(name.clone()),
        Some(_) => Err(Error::invalid("Security group name cannot be empty")),
    }
}
