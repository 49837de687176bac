//! `/servers/{id}/shares`: folders of a file service that a server has mounted.
//!
//! There is no such service here: no server has a share, and none is found that could be mounted.

use super::{Among, authorize, id};
use crate::api::call::{Call, Outcome, Reply};
use crate::api::compute::request;
use crate::api::compute::schema::query::NONE;
use crate::api::compute::schema::types::UUID;
use crate::api::compute::schema::{Object, Rule, Schema, Type, property};
use crate::core::server::action::Action;
use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};

const TAG: Schema = Schema(&[
    Rule::Types(&[Type::Text]),
    Rule::MinLength(1),
    Rule::MaxLength(255),
    Rule::Pattern("^[a-zA-Z0-9-]*$"),
]);

static CREATE: Schema = Schema(&[
    Rule::Types(&[Type::Object]),
    Rule::Object(&Object {
        input: None,
        properties: &[property(
            "share",
            &[&Schema(&[
                Rule::Types(&[Type::Object]),
                Rule::Object(&Object {
                    input: None,
                    properties: &[property("share_id", &[&UUID]), property("tag", &[&TAG])],
                    required: &["share_id"],
                    open: false,
                }),
            ])],
        )],
        required: &["share"],
        open: false,
    }),
]);

#[derive(Deserialize)]
struct Body {
    share: Wanted,
}

#[derive(Deserialize)]
struct Wanted {
    share_id: String,
}

#[derive(Serialize)]
struct Shares {
    shares: [(); 0],
}

pub async fn list(mut call: Call) -> Outcome {
    request::query(&mut call, &NONE)?;
    let id = id(&call)?;
    authorize(&call, id).await?;
    call.state.services.servers.find(call.actor()?, id, Among::Living).await?;
    Ok(Reply::json(StatusCode::OK, &Shares { shares: [] })?)
}

pub async fn show(mut call: Call) -> Outcome {
    request::query(&mut call, &NONE)?;
    absent(&call, None, call.params.get("share")).await
}

pub async fn create(mut call: Call) -> Outcome {
    let body: Body = request::body(&mut call, &CREATE).await?;
    absent(&call, Some(Action::CreateShare), &body.share.share_id).await
}

pub async fn delete(call: Call) -> Outcome {
    absent(&call, Some(Action::DeleteShare), call.params.get("share")).await
}

/// The answer about one share, after all that is asked before it is looked for.
async fn absent(call: &Call, action: Option<Action>, share: &str) -> Outcome {
    let id = id(call)?;
    authorize(call, id).await?;
    Err(call.state.services.servers.absent_share(call.actor()?, id, action, share).await.into())
}
