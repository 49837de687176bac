//! Tags below networks, subnets, ports and security groups.

use super::super::call::{Call, Outcome, Reply};
use super::super::error::Fault;
use super::super::router::{ALWAYS, Route};
use super::attributes::bad;
use super::id;
use crate::core::network::{network_not_found, subnet_not_found};
use crate::core::policy::Rule;
use crate::core::port::port_not_found;
use crate::core::security_group::group_not_found;
use crate::core::service::networks::{Tagged, tag_not_found};
use crate::core::{Error, Result};
use crate::route;
use actix_web::http::StatusCode;
use serde_json::{Value, json};

/// The longest tag, in characters.
const LONGEST: usize = 255;
/// The most tags that one object may have.
const MOST: usize = 50;

macro_rules! tag_routes {
    ($collection:literal, $target:expr, $name:literal) => {
        [
            route!(GET concat!("/v2.0/", $collection, "/{id}/tags"), ALWAYS, Rule::Reader(concat!("get_", $name, "_tags")),
                |call: Call| list(call, $target)),
            route!(PUT concat!("/v2.0/", $collection, "/{id}/tags"), ALWAYS, Rule::Member(concat!("update_", $name, "_tags")),
                |call: Call| replace(call, $target)),
            route!(DELETE concat!("/v2.0/", $collection, "/{id}/tags"), ALWAYS, Rule::Member(concat!("delete_", $name, "_tags")),
                |call: Call| clear(call, $target)),
            route!(GET concat!("/v2.0/", $collection, "/{id}/tags/{tag}"), ALWAYS, Rule::Reader(concat!("get_", $name, "_tags")),
                |call: Call| check(call, $target)),
            route!(PUT concat!("/v2.0/", $collection, "/{id}/tags/{tag}"), ALWAYS, Rule::Member(concat!("update_", $name, "_tags")),
                |call: Call| add(call, $target)),
            route!(DELETE concat!("/v2.0/", $collection, "/{id}/tags/{tag}"), ALWAYS, Rule::Member(concat!("delete_", $name, "_tags")),
                |call: Call| remove(call, $target)),
        ]
    };
}

pub(super) fn routes() -> Vec<Route> {
    let mut routes = Vec::new();
    routes.extend(tag_routes!("networks", network, "networks"));
    routes.extend(tag_routes!("subnets", subnet, "subnets"));
    routes.extend(tag_routes!("ports", port, "ports"));
    routes.extend(tag_routes!("security-groups", group, "security_groups"));
    routes
}

type Target = fn(&Call) -> Result<Tagged>;

fn network(call: &Call) -> Result<Tagged> {
    id(call, |text| network_not_found(text)).map(Tagged::Network)
}

fn subnet(call: &Call) -> Result<Tagged> {
    id(call, |text| subnet_not_found(text)).map(Tagged::Subnet)
}

fn port(call: &Call) -> Result<Tagged> {
    id(call, |text| port_not_found(text)).map(Tagged::Port)
}

fn group(call: &Call) -> Result<Tagged> {
    id(call, |text| group_not_found(text)).map(Tagged::SecurityGroup)
}

async fn list(call: Call, target: Target) -> Outcome {
    let tags = call.state.services.networks.tags(call.actor()?, target(&call)?).await?;
    Ok(Reply::json(StatusCode::OK, &json!({ "tags": tags }))?)
}

async fn check(call: Call, target: Target) -> Outcome {
    let tags = call.state.services.networks.tags(call.actor()?, target(&call)?).await?;
    let wanted = call.params.get("tag");
    if tags.iter().any(|tag| tag == wanted) {
        return Ok(Reply::empty(StatusCode::NO_CONTENT));
    }
    Err(tag_not_found(wanted).into())
}

async fn replace(mut call: Call, target: Target) -> Outcome {
    let target = target(&call)?;
    let body = call.json().await?;
    let Some(Value::Array(values)) = body.get("tags") else { return Err(invalid_body()) };
    let mut tags = Vec::with_capacity(values.len());
    for value in values {
        let tag = value.as_str().ok_or_else(invalid_body)?;
        check_tag(tag)?;
        tags.push(tag.to_owned());
    }
    if tags.len() > MOST {
        return Err(bad(format!("Invalid input for tags. Reason: more than {MOST} tags.")).into());
    }
    let tags = call.state.services.networks.replace_tags(call.actor()?, target, tags).await?;
    Ok(Reply::json(StatusCode::OK, &json!({ "tags": tags }))?)
}

async fn clear(call: Call, target: Target) -> Outcome {
    call.state.services.networks.replace_tags(call.actor()?, target(&call)?, Vec::new()).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

async fn add(call: Call, target: Target) -> Outcome {
    let tag = call.params.get("tag").to_owned();
    check_tag(&tag)?;
    call.state.services.networks.add_tag(call.actor()?, target(&call)?, tag).await?;
    Ok(Reply::empty(StatusCode::CREATED))
}

async fn remove(call: Call, target: Target) -> Outcome {
    let tag = call.params.get("tag").to_owned();
    call.state.services.networks.remove_tag(call.actor()?, target(&call)?, tag).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

fn invalid_body() -> Fault {
    Fault::Error(bad("Invalid tags body"))
}

fn check_tag(tag: &str) -> Result<(), Error> {
    if tag.is_empty() || tag.chars().count() > LONGEST {
        return Err(bad(format!(
            "Invalid input for tags. Reason: '{tag}' is not 1 to {LONGEST} characters long."
        )));
    }
    Ok(())
}
