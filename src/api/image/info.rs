//! What the API says of itself: versions, import methods, stores, usage.

use crate::api::call::{Call, Outcome, Reply};
use crate::api::error::Fault;
use crate::core::Error;
use actix_web::http::StatusCode;
use serde_json::json;

/// The minor versions that are served, newest first. Later ones speak of several stores, caches and locations.
const MINORS: std::ops::RangeInclusive<u8> = 0..=9;
/// The ways to import an image. There is no fetching from elsewhere.
pub const IMPORT_METHODS: &str = "glance-direct";

/// The versions, as an answer to somebody who named none.
pub async fn choices(call: Call) -> Outcome {
    document(&call, StatusCode::MULTIPLE_CHOICES)
}

/// The versions, for somebody who asked for them.
pub async fn versions(call: Call) -> Outcome {
    document(&call, StatusCode::OK)
}

fn document(call: &Call, status: StatusCode) -> Outcome {
    let href = format!("{}{}/v2/", call.base, super::MOUNT);
    let versions: Vec<_> = MINORS
        .rev()
        .map(|minor| {
            json!({
                "id": format!("v2.{minor}"),
                "status": if minor == *MINORS.end() { "CURRENT" } else { "SUPPORTED" },
                "links": [{"rel": "self", "href": href}],
            })
        })
        .collect();
    Ok(Reply::json(status, &json!({"versions": versions}))?)
}

pub async fn import(_: Call) -> Outcome {
    let body = json!({"import-methods": {
        "description": "Import methods available.",
        "type": "array",
        "value": [IMPORT_METHODS],
    }});
    Ok(Reply::json(StatusCode::OK, &body)?)
}

pub async fn stores(_: Call) -> Outcome {
    Err(Fault::Error(Error::not_found("Multi backend is not supported at this site.")))
}

/// What the project's images take up, beside its limits; -1 is without limit.
pub async fn usage(call: Call) -> Outcome {
    let quotas = call.state.services.images.quotas(call.actor()?).await?;
    let usage: serde_json::Map<_, _> = quotas
        .into_iter()
        .map(|quota| (quota.resource.to_owned(), json!({"usage": quota.usage, "limit": quota.limit})))
        .collect();
    Ok(Reply::json(StatusCode::OK, &json!({"usage": usage}))?)
}
