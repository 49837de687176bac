//! Availability zones: `nova` for servers, and `internal`, which only administrators see, for the services.

use super::request;
use super::schema::query;
use crate::api::call::{Call, Outcome, Reply};
use actix_web::http::StatusCode;
use serde::Serialize;

#[derive(Serialize)]
struct Zone {
    #[serde(rename = "zoneName")]
    name: &'static str,
    #[serde(rename = "zoneState")]
    state: ZoneState,
    /// Null in the short list.
    hosts: Option<()>,
}

#[derive(Serialize)]
struct ZoneState {
    available: bool,
}

#[derive(Serialize)]
struct Zones {
    #[serde(rename = "availabilityZoneInfo")]
    zones: Vec<Zone>,
}

/// The zone that servers are in.
pub const DEFAULT_ZONE: &str = "nova";

pub async fn list(mut call: Call) -> Outcome {
    request::query(&mut call, &query::NONE)?;
    request::authorize(&call)?;
    Ok(Reply::json(
        StatusCode::OK,
        &Zones {
            zones: vec![Zone { name: DEFAULT_ZONE, state: ZoneState { available: true }, hosts: None }],
        },
    )?)
}
