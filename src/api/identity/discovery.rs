//! Which versions there are: what clients ask before anything else.

use super::views::ROOT;
use crate::api::call::{Call, Outcome, Reply};
use actix_web::http::StatusCode;
use serde_json::{Value, json};

fn version(base: &str) -> Value {
    json!({
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": format!("{base}{ROOT}/")}],
        "media-types": [{
            "base": "application/json",
            "type": "application/vnd.openstack.identity-v3+json",
        }],
    })
}

/// All versions: one.
pub(super) async fn versions(call: Call) -> Outcome {
    let body = json!({"versions": {"values": [version(&call.base)]}});
    Ok(Reply::json(StatusCode::MULTIPLE_CHOICES, &body)?.header("location", &format!("{}{ROOT}/", call.base)))
}

/// The one version.
pub(super) async fn version_3(call: Call) -> Outcome {
    Ok(Reply::json(StatusCode::OK, &json!({"version": version(&call.base)}))?)
}
