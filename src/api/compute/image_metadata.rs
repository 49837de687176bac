//! `/images/{id}/metadata`: the custom properties of an image as compute showed them. Ends at 2.39.

use super::images::{find, metadata};
use super::request;
use super::schema::types::METADATA;
use super::schema::{Object, Rule, Schema, Type, property};
use crate::api::call::{Call, Outcome, Reply};
use crate::core::image::{Attribute, Change, Image, PROPERTY_LIMIT, names};
use crate::core::{Error, Kind, Result};
use actix_web::http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;

static ALL: Schema = Schema(&[
    Rule::Types(&[Type::Object]),
    Rule::Object(&Object {
        input: None,
        properties: &[property("metadata", &[&METADATA])],
        required: &["metadata"],
        open: false,
    }),
]);

static ONE: Schema = Schema(&[
    Rule::Types(&[Type::Object]),
    Rule::Object(&Object {
        input: None,
        properties: &[property(
            "meta",
            &[&Schema(&[
                Rule::Types(&[Type::Object]),
                Rule::MinProperties(1),
                Rule::MaxProperties(1),
                Rule::Entries(KEY, &VALUE),
            ])],
        )],
        required: &["meta"],
        open: false,
    }),
]);

const KEY: &str = "^[a-zA-Z0-9-_:. ]{1,255}$";
const VALUE: Schema = Schema(&[Rule::Types(&[Type::Text]), Rule::MaxLength(255)]);

#[derive(Deserialize)]
struct AllBody {
    metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct OneBody {
    meta: BTreeMap<String, String>,
}

pub async fn list(call: Call) -> Outcome {
    request::authorize(&call)?;
    let image = find(&call).await?;
    Ok(Reply::json(StatusCode::OK, &json!({"metadata": metadata(&image)}))?)
}

pub async fn show(call: Call) -> Outcome {
    request::authorize(&call)?;
    let image = find(&call).await?;
    let key = call.params.get("key");
    let value = metadata(&image).remove(key);
    let value = value.ok_or_else(|| Error::not_found("The resource could not be found."))?;
    Ok(Reply::json(StatusCode::OK, &json!({"meta": {key: value}}))?)
}

/// Adds properties to those that are there.
pub async fn merge(mut call: Call) -> Outcome {
    let body: AllBody = request::body(&mut call, &ALL).await?;
    request::authorize(&call)?;
    let image = find(&call).await?;
    let count =
        image.properties.keys().filter(|key| !body.metadata.contains_key(*key)).count() + body.metadata.len();
    check_count(count)?;
    let image = change(&call, &image, body.metadata, Vec::new()).await?;
    Ok(Reply::json(StatusCode::OK, &json!({"metadata": metadata(&image)}))?)
}

/// Makes the properties what the body says, and nothing else.
pub async fn replace(mut call: Call) -> Outcome {
    let body: AllBody = request::body(&mut call, &ALL).await?;
    request::authorize(&call)?;
    check_count(body.metadata.len())?;
    let image = find(&call).await?;
    let gone = image.properties.keys().filter(|key| !body.metadata.contains_key(*key)).cloned().collect();
    change(&call, &image, body.metadata.clone(), gone).await?;
    Ok(Reply::json(StatusCode::OK, &json!({"metadata": body.metadata}))?)
}

pub async fn set(mut call: Call) -> Outcome {
    let body: OneBody = request::body(&mut call, &ONE).await?;
    request::authorize(&call)?;
    if !body.meta.contains_key(call.params.get("key")) {
        return Err(Error::invalid("Request body and URI mismatch").into());
    }
    let image = find(&call).await?;
    let added = body.meta.keys().filter(|key| !image.properties.contains_key(*key)).count();
    check_count(image.properties.len() + added)?;
    change(&call, &image, body.meta.clone(), Vec::new()).await?;
    Ok(Reply::json(StatusCode::OK, &json!({"meta": body.meta}))?)
}

pub async fn delete(call: Call) -> Outcome {
    request::authorize(&call)?;
    let image = find(&call).await?;
    let key = call.params.get("key").to_owned();
    if !image.properties.contains_key(&key) {
        return Err(Error::not_found("Invalid metadata key").into());
    }
    change(&call, &image, BTreeMap::new(), vec![key]).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

fn check_count(count: usize) -> Result<()> {
    if count <= PROPERTY_LIMIT { Ok(()) } else { Err(Error::forbidden("Image metadata limit exceeded")) }
}

/// Sets and removes properties at once. What every image has is no property, whatever the name.
async fn change(
    call: &Call,
    image: &Image,
    set: BTreeMap<String, String>,
    gone: Vec<String>,
) -> Result<Image> {
    let refused = || Error::forbidden(format!("Not authorized for image {}.", image.id));
    if set.keys().any(|key| names::is_settable(key) || names::check(key).is_err()) {
        return Err(refused());
    }
    let removals = gone.into_iter().map(Change::RemoveProperty);
    let additions = set.into_iter().map(|(key, value)| Change::Add(Attribute::Property(key, Some(value))));
    let changes = removals.chain(additions).collect();
    call.state.services.images.update(call.actor()?, image.id, changes).await.map_err(|error| {
        match error.kind() {
            Kind::Forbidden => refused(),
            Kind::NotFound => Error::not_found("Image not found."),
            _ => error,
        }
    })
}
