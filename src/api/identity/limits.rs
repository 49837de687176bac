//! Unified limits: there are none, since each service here keeps its own quotas, and that is what clients are told.

use super::views::{all, one};
use crate::api::call::{Call, Outcome};
use actix_web::http::StatusCode;
use serde_json::{Value, json};

const NONE: [Value; 0] = [];

pub(super) async fn limits(call: Call) -> Outcome {
    all(&call, "limits", &NONE)
}

pub(super) async fn registered_limits(call: Call) -> Outcome {
    all(&call, "registered_limits", &NONE)
}

pub(super) async fn model(_call: Call) -> Outcome {
    let model = json!({
        "name": "flat",
        "description": "Limit enforcement and validation does not take project hierarchy into consideration.",
    });
    one(StatusCode::OK, "model", model)
}
