//! A server's tags.

use super::{authorize, id, tables};
use crate::api::call::{Call, Outcome, Reply};
use crate::api::compute::links::Base;
use crate::api::compute::request;
use crate::api::compute::schema::query::NONE;
use crate::core::Error;
use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Tags {
    tags: Vec<String>,
}

/// The longest tag, in characters.
const LONGEST: usize = 60;

pub async fn list(mut call: Call) -> Outcome {
    request::query(&mut call, &NONE)?;
    let id = id(&call)?;
    authorize(&call, id).await?;
    let tags = call.state.services.servers.tags(call.actor()?, id).await?;
    Ok(Reply::json(StatusCode::OK, &Tags { tags })?)
}

pub async fn show(mut call: Call) -> Outcome {
    request::query(&mut call, &NONE)?;
    let id = id(&call)?;
    authorize(&call, id).await?;
    let tag = call.params.get("tag");
    let tags = call.state.services.servers.tags(call.actor()?, id).await?;
    if !tags.iter().any(|known| known == tag) {
        return Err(Error::not_found(format!("Server {id} has no tag '{tag}'")).into());
    }
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

pub async fn replace(mut call: Call) -> Outcome {
    let body: Tags = request::body(&mut call, &tables::TAGS_BODY).await?;
    let id = id(&call)?;
    authorize(&call, id).await?;
    let tags = call.state.services.servers.replace_tags(call.actor()?, id, body.tags).await?;
    Ok(Reply::json(StatusCode::OK, &Tags { tags })?)
}

/// Adds one tag: 201 when it is new, 204 when it was there.
pub async fn add(mut call: Call) -> Outcome {
    let _: () = request::body(&mut call, &tables::NO_BODY).await?;
    let id = id(&call)?;
    authorize(&call, id).await?;
    let tag = call.params.get("tag").to_owned();
    let problem = match tag.chars().count() {
        0 => Some("is too short"),
        length if length > LONGEST => Some("is too long"),
        _ if tag.contains([',', '/']) => Some("does not match '^[^,/]*$'"),
        _ => None,
    };
    if let Some(problem) = problem {
        return Err(Error::invalid(format!(
            "Tag '{tag}' is invalid. It must be a non empty string without characters '/' and ','. Validation error \
             message: '{tag}' {problem}"
        ))
        .into());
    }
    let location = Base::of(&call).url("servers", &format!("{id}/tags/{tag}"));
    if call.state.services.servers.add_tag(call.actor()?, id, tag).await? {
        return Ok(Reply::empty(StatusCode::CREATED).header("location", &location));
    }
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

pub async fn remove(call: Call) -> Outcome {
    let id = id(&call)?;
    authorize(&call, id).await?;
    let tag = call.params.get("tag").to_owned();
    call.state.services.servers.remove_tag(call.actor()?, id, tag).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

pub async fn clear(call: Call) -> Outcome {
    let id = id(&call)?;
    authorize(&call, id).await?;
    call.state.services.servers.clear_tags(call.actor()?, id).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}
