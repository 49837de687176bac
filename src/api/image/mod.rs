//! Image API v2.
//!
//! Paths in answers begin with `/v2`, wherever the API is mounted: clients put them after the endpoint of the catalog, which
//! names the mount.

mod attributes;
mod data;
mod images;
mod info;
mod list;
mod members;
mod patch;
mod schemas;
mod tasks;
mod views;

use super::call::Call;
use super::pipeline::{self, Api};
use super::router::{ALWAYS, Router};
use super::{State, error::Dialect};
use crate::core::ids::ImageId;
use crate::core::policy::Rule;
use crate::core::{Error, Result};
use crate::route;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use serde_json::Value;
use std::sync::LazyLock;

/// Where the API is mounted.
pub const MOUNT: &str = "/image";

static API: LazyLock<Api> = LazyLock::new(|| Api { dialect: Dialect::Image, mount: MOUNT, router: router() });

/// Answers a request under [`MOUNT`].
pub async fn serve(state: State, request: HttpRequest, payload: Payload) -> HttpResponse {
    pipeline::serve(&API, state, request, payload).await
}

fn router() -> Router {
    Router::new(vec![
        route!(GET "/", ALWAYS, Rule::Open, info::choices),
        route!(GET "/versions", ALWAYS, Rule::Open, info::versions),
        route!(GET "/v2", ALWAYS, Rule::Open, info::versions),
        route!(GET "/v2/schemas/image", ALWAYS, Rule::Token, schemas::image),
        route!(GET "/v2/schemas/images", ALWAYS, Rule::Token, schemas::images),
        route!(GET "/v2/schemas/member", ALWAYS, Rule::Token, schemas::member),
        route!(GET "/v2/schemas/members", ALWAYS, Rule::Token, schemas::members),
        route!(GET "/v2/info/import", ALWAYS, Rule::Token, info::import),
        route!(GET "/v2/info/stores", ALWAYS, Rule::Token, info::stores),
        route!(GET "/v2/info/usage", ALWAYS, Rule::Reader("get_usage"), info::usage),
        route!(GET "/v2/tasks", ALWAYS, Rule::Admin("tasks_api_access"), tasks::list),
        route!(GET "/v2/tasks/{task_id}", ALWAYS, Rule::Admin("tasks_api_access"), tasks::show),
        route!(GET "/v2/images", ALWAYS, Rule::Reader("get_images"), list::list),
        route!(POST "/v2/images", ALWAYS, Rule::Member("add_image"), images::create),
        route!(GET "/v2/images/{image_id}", ALWAYS, Rule::Token, images::show),
        route!(PATCH "/v2/images/{image_id}", ALWAYS, Rule::Token, images::update),
        route!(DELETE "/v2/images/{image_id}", ALWAYS, Rule::Token, images::delete),
        route!(PUT "/v2/images/{image_id}/file", ALWAYS, Rule::Token, data::upload),
        route!(GET "/v2/images/{image_id}/file", ALWAYS, Rule::Token, data::download),
        route!(PUT "/v2/images/{image_id}/stage", ALWAYS, Rule::Token, data::stage),
        route!(POST "/v2/images/{image_id}/import", ALWAYS, Rule::Token, data::import),
        route!(GET "/v2/images/{image_id}/tasks", ALWAYS, Rule::Token, data::tasks),
        route!(POST "/v2/images/{image_id}/actions/deactivate", ALWAYS, Rule::Token, images::deactivate),
        route!(POST "/v2/images/{image_id}/actions/reactivate", ALWAYS, Rule::Token, images::reactivate),
        route!(PUT "/v2/images/{image_id}/tags/{tag}", ALWAYS, Rule::Token, images::add_tag),
        route!(DELETE "/v2/images/{image_id}/tags/{tag}", ALWAYS, Rule::Token, images::remove_tag),
        route!(GET "/v2/images/{image_id}/members", ALWAYS, Rule::Token, members::list),
        route!(POST "/v2/images/{image_id}/members", ALWAYS, Rule::Token, members::create),
        route!(GET "/v2/images/{image_id}/members/{member_id}", ALWAYS, Rule::Token, members::show),
        route!(PUT "/v2/images/{image_id}/members/{member_id}", ALWAYS, Rule::Token, members::update),
        route!(DELETE "/v2/images/{image_id}/members/{member_id}", ALWAYS, Rule::Token, members::delete),
    ])
}

/// The image in the path. What is not an id at all is as unknown as any other.
fn image_id(call: &Call, unknown: impl FnOnce(&str) -> String) -> Result<ImageId> {
    let text = call.params.get("image_id");
    text.parse().map_err(|_| Error::not_found(unknown(text)))
}

fn no_image(text: &str) -> String {
    format!("No image found with ID {text}")
}

fn image_not_found(text: &str) -> String {
    format!("Image {text} not found.")
}

/// The body as a JSON object or array, which has to be there.
async fn body(call: &mut Call) -> Result<Value> {
    let bytes: Bytes = call.bytes(super::call::JSON_LIMIT).await?;
    if bytes.is_empty() {
        return Err(Error::invalid("Body expected in request."));
    }
    match serde_json::from_slice(&bytes) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => Ok(value),
        Ok(_) => Err(Error::invalid("Unexpected body type. Expected list/dict.")),
        Err(error) => Err(Error::invalid("Malformed JSON in request body.").with_source(error)),
    }
}

#[cfg(test)]
mod tests;
