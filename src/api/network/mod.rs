//! Network API v2.0.
//!
//! What this cloud does not have (routers, floating addresses) is listed as empty, since clients ask for it before they do
//! anything else, and is refused in plain words when somebody wants to make it.

mod absent;
mod attributes;
mod extensions;
mod lists;
mod networks;
mod ports;
mod quotas;
mod security_groups;
mod subnets;
mod tags;
#[cfg(test)]
mod tests;

use super::State;
use super::call::{Call, Outcome, Reply};
use super::error::Dialect;
use super::pipeline::{self, Api};
use super::router::{ALWAYS, Router};
use crate::core::policy::Rule;
use crate::core::{Error, Result};
use crate::route;
use actix_web::http::StatusCode;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;
use std::str::FromStr;
use std::sync::LazyLock;

/// Where the API is mounted.
pub const MOUNT: &str = "/network";

static API: LazyLock<Api> =
    LazyLock::new(|| Api { dialect: Dialect::Network, mount: MOUNT, router: router() });

/// Answers a request under [`MOUNT`].
pub async fn serve(state: State, request: HttpRequest, payload: Payload) -> HttpResponse {
    pipeline::serve(&API, state, request, payload).await
}

fn router() -> Router {
    let mut routes = vec![
        route!(GET "/", ALWAYS, Rule::Open, versions),
        route!(GET "/v2.0", ALWAYS, Rule::Open, resources),
        route!(GET "/v2.0/extensions", ALWAYS, Rule::Token, extensions::list),
        route!(GET "/v2.0/extensions/{alias}", ALWAYS, Rule::Token, extensions::show),
        route!(GET "/v2.0/networks", ALWAYS, Rule::Reader("get_network"), networks::list),
        route!(POST "/v2.0/networks", ALWAYS, Rule::Member("create_network"), networks::create),
        route!(GET "/v2.0/networks/{id}", ALWAYS, Rule::Reader("get_network"), networks::show),
        route!(PUT "/v2.0/networks/{id}", ALWAYS, Rule::Member("update_network"), networks::update),
        route!(DELETE "/v2.0/networks/{id}", ALWAYS, Rule::Member("delete_network"), networks::delete),
        route!(GET "/v2.0/subnets", ALWAYS, Rule::Reader("get_subnet"), subnets::list),
        route!(POST "/v2.0/subnets", ALWAYS, Rule::Member("create_subnet"), subnets::create),
        route!(GET "/v2.0/subnets/{id}", ALWAYS, Rule::Reader("get_subnet"), subnets::show),
        route!(PUT "/v2.0/subnets/{id}", ALWAYS, Rule::Member("update_subnet"), subnets::update),
        route!(DELETE "/v2.0/subnets/{id}", ALWAYS, Rule::Member("delete_subnet"), subnets::delete),
        route!(GET "/v2.0/ports", ALWAYS, Rule::Reader("get_port"), ports::list),
        route!(POST "/v2.0/ports", ALWAYS, Rule::Member("create_port"), ports::create),
        route!(GET "/v2.0/ports/{id}", ALWAYS, Rule::Reader("get_port"), ports::show),
        route!(PUT "/v2.0/ports/{id}", ALWAYS, Rule::Member("update_port"), ports::update),
        route!(DELETE "/v2.0/ports/{id}", ALWAYS, Rule::Member("delete_port"), ports::delete),
        route!(GET "/v2.0/quotas", ALWAYS, Rule::Admin("get_quota"), quotas::list),
        route!(GET "/v2.0/quotas/{project}", ALWAYS, Rule::Reader("get_quota"), quotas::show),
        route!(PUT "/v2.0/quotas/{project}", ALWAYS, Rule::Admin("update_quota"), quotas::update),
        route!(DELETE "/v2.0/quotas/{project}", ALWAYS, Rule::Admin("delete_quota"), quotas::reset),
        route!(GET "/v2.0/quotas/{project}/default", ALWAYS, Rule::Reader("get_quota"), quotas::defaults),
        route!(GET "/v2.0/quotas/{project}/details", ALWAYS, Rule::Reader("get_quota"), quotas::details),
        route!(GET "/v2.0/availability_zones", ALWAYS, Rule::Reader("get_availability_zone"), zones),
    ];
    routes.extend(security_groups::routes());
    routes.extend(tags::routes());
    routes.extend(absent::routes());
    Router::new(routes)
}

/// The id in a path; what is not even an id is unknown.
fn id<T: FromStr>(call: &Call, unknown: fn(&str) -> Error) -> Result<T> {
    let text = call.params.get("id");
    text.parse().map_err(|_| unknown(text))
}

async fn versions(call: Call) -> Outcome {
    Ok(Reply::json(
        StatusCode::OK,
        &json!({"versions": [{
            "id": "v2.0",
            "status": "CURRENT",
            "links": [{"rel": "self", "href": format!("{}{MOUNT}/v2.0/", call.base)}],
        }]}),
    )?)
}

async fn resources(call: Call) -> Outcome {
    let resource = |name: &str, collection: &str| {
        json!({
            "name": name,
            "collection": collection,
            "links": [{"rel": "self", "href": format!("{}{MOUNT}/v2.0/{collection}", call.base)}],
        })
    };
    let resources = [("network", "networks"), ("subnet", "subnets"), ("port", "ports")]
        .map(|(name, collection)| resource(name, collection));
    Ok(Reply::json(StatusCode::OK, &json!({ "resources": resources }))?)
}

/// The zone that everything here is in.
const ZONE: &str = "nova";

async fn zones(_call: Call) -> Outcome {
    let zone = json!({"name": ZONE, "resource": "network", "state": "available"});
    Ok(Reply::json(StatusCode::OK, &json!({ "availability_zones": [zone] }))?)
}
