//! What this cloud does not have: lists are empty, look-ups find nothing, and making one is refused.

use super::super::call::{Call, Outcome, Reply};
use super::super::router::{ALWAYS, Route};
use super::attributes::not_available;
use crate::core::Error;
use crate::core::policy::Rule;
use crate::route;
use actix_web::http::StatusCode;
use serde_json::{Map, Value};

macro_rules! absent {
    ($collection:literal, $plural:literal, $name:literal, $class:literal) => {
        [
            route!(GET concat!("/v2.0/", $collection), ALWAYS, Rule::Reader(concat!("get_", $plural)), |call: Call| {
                empty(call, $plural)
            }),
            route!(POST concat!("/v2.0/", $collection), ALWAYS, Rule::Member(concat!("create_", $plural)), |call: Call| {
                refuse(call, $name)
            }),
            route!(GET concat!("/v2.0/", $collection, "/{id}"), ALWAYS, Rule::Reader(concat!("get_", $plural)), |call: Call| {
                unknown(call, $name, $class)
            }),
        ]
    };
}

pub(super) fn routes() -> Vec<Route> {
    let mut routes = Vec::new();
    routes.extend(absent!("routers", "routers", "Router", "RouterNotFound"));
    routes.extend(absent!("floatingips", "floatingips", "Floating IP", "FloatingIPNotFound"));
    routes.extend(absent!("subnetpools", "subnetpools", "Subnet pool", "SubnetPoolNotFound"));
    routes.extend(absent!("agents", "agents", "Agent", "AgentNotFound"));
    routes
}

async fn empty(_call: Call, plural: &'static str) -> Outcome {
    let body: Map<String, Value> = [(plural.to_owned(), Value::Array(Vec::new()))].into_iter().collect();
    Ok(Reply::json(StatusCode::OK, &body)?)
}

async fn refuse(_call: Call, name: &'static str) -> Outcome {
    let message =
        format!("{name} resources are not available in this cloud: every network here has NAT of its own.");
    Err(not_available(message).into())
}

async fn unknown(call: Call, name: &'static str, class: &'static str) -> Outcome {
    let id = call.params.get("id");
    Err(Error::not_found(format!("{name} {id} could not be found")).with_class(class).into())
}
