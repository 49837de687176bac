//! Whom an image is shared with.

use super::{body, image_id, image_not_found, views};
use crate::api::call::{Call, Outcome, Reply};
use crate::core::ids::ProjectId;
use crate::core::{Error, Result};
use actix_web::http::StatusCode;
use serde_json::{Value, json};

pub async fn list(call: Call) -> Outcome {
    let id = image_id(&call, image_not_found)?;
    let members = call.state.services.images.members(call.actor()?, id).await?;
    let members: Vec<Value> = members.iter().map(views::member).collect();
    Ok(Reply::json(StatusCode::OK, &json!({"members": members, "schema": "/v2/schemas/members"}))?)
}

pub async fn create(mut call: Call) -> Outcome {
    let body = body(&mut call).await?;
    let project = text(&body, "member", "Member to be added not specified")?;
    if project.is_empty() {
        return Err(Error::invalid("Member can't be empty").into());
    }
    let id = image_id(&call, image_not_found)?;
    let member = call.state.services.images.add_member(call.actor()?, id, ProjectId::from(project)).await?;
    Ok(Reply::json(StatusCode::OK, &views::member(&member))?)
}

pub async fn show(call: Call) -> Outcome {
    let id = image_id(&call, image_not_found)?;
    let member = call.state.services.images.member(call.actor()?, id, project(&call)).await?;
    Ok(Reply::json(StatusCode::OK, &views::member(&member))?)
}

pub async fn update(mut call: Call) -> Outcome {
    let body = body(&mut call).await?;
    let status = text(&body, "status", "Status not specified")?;
    let id = image_id(&call, image_not_found)?;
    let status = status.parse().map_err(|_| {
        Error::invalid("Incorrect request: Status must be \"pending\", \"accepted\" or \"rejected\".")
    });
    // Whoever may not answer for the member is told that first.
    let images = &call.state.services.images;
    let member = match status {
        Ok(status) => images.answer_membership(call.actor()?, id, project(&call), status).await?,
        Err(error) => {
            images.member(call.actor()?, id, project(&call)).await?;
            return Err(error.into());
        }
    };
    Ok(Reply::json(StatusCode::OK, &views::member(&member))?)
}

pub async fn delete(call: Call) -> Outcome {
    let id = image_id(&call, image_not_found)?;
    call.state.services.images.remove_member(call.actor()?, id, project(&call)).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

fn project(call: &Call) -> ProjectId {
    ProjectId::from(call.params.get("member_id"))
}

/// The text under `key`.
fn text<'b>(body: &'b Value, key: &str, missing: &str) -> Result<&'b str> {
    let Value::Object(body) = body else {
        return Err(Error::invalid(format!("Expected a {key} in the form: {{\"{key}\": \"...\"}}")));
    };
    match body.get(key) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Error::invalid(format!("Expected a {key} in the form: {{\"{key}\": \"...\"}}"))),
        None => Err(Error::invalid(missing)),
    }
}
