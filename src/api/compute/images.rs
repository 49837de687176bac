//! `/images`: the image API as compute showed it before clients asked the image service itself. Ends at 2.36.

use super::links::{Base, next};
use super::request;
use crate::api::call::{Call, Outcome, Query, Reply};
use crate::core::clock::seconds_z;
use crate::core::ids::{ImageId, ServerId};
use crate::core::image::query::{Comparison, Condition, ImageQuery, NumberField, TextField};
use crate::core::image::{Image, Status};
use crate::core::service::images::PAGE_LIMIT;
use crate::core::{Error, Kind, Result};
use actix_web::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

pub async fn list(call: Call) -> Outcome {
    page(call, summary).await
}

pub async fn detail(call: Call) -> Outcome {
    page(call, whole).await
}

pub async fn show(call: Call) -> Outcome {
    request::authorize(&call)?;
    let image = find(&call).await?;
    Ok(Reply::json(StatusCode::OK, &json!({"image": whole(&call, &image)}))?)
}

pub async fn delete(call: Call) -> Outcome {
    request::authorize(&call)?;
    let deleted = call.state.services.images.delete(call.actor()?, id(&call)?).await;
    deleted.map_err(|error| match error.kind() {
        Kind::NotFound => not_found(),
        Kind::Forbidden => Error::forbidden("You are not allowed to delete the image."),
        _ => error,
    })?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

async fn page(call: Call, view: fn(&Call, &Image) -> Value) -> Outcome {
    request::authorize(&call)?;
    let (limit, mut marker) = request::page(&call)?;
    let bounded = call.query.get("limit").is_some_and(|limit| limit != "0" && !limit.is_empty());
    let conditions = conditions(&call.query)?;
    let mut images: Vec<Image> = Vec::new();
    loop {
        let wanted = if bounded { limit } else { PAGE_LIMIT };
        let query = ImageQuery { conditions: conditions.clone(), limit: wanted, ..ImageQuery::default() };
        let part = call.state.services.images.list(call.actor()?, query, marker.take()).await?;
        let last_part = bounded || part.len() < PAGE_LIMIT;
        images.extend(part);
        if last_part {
            break;
        }
        marker = images.last().map(|image| image.id.to_string());
    }
    let last = images.last().map(|image| image.id.to_string());
    let links = next(&call, images.len(), if bounded { limit } else { PAGE_LIMIT }, last.as_deref());
    let mut body = Map::new();
    body.insert("images".into(), images.iter().map(|image| view(&call, image)).collect());
    if let Some(links) = links {
        body.insert("images_links".into(), json!(links));
    }
    Ok(Reply::json(StatusCode::OK, &body)?)
}

/// The filters; whatever else is in the query means nothing.
fn conditions(query: &Query) -> Result<Vec<Condition>> {
    let mut conditions = Vec::new();
    for (key, value) in &query.0 {
        conditions.push(match key.as_str() {
            "name" => Condition::OneOf(TextField::Name, vec![value.clone()]),
            "status" => Condition::OneOf(TextField::Status, vec![value.to_lowercase()]),
            // A server's URL does as well as its id.
            "server" => property("instance_uuid", value.rsplit('/').next().unwrap_or(value)),
            "type" => property("image_type", value),
            "minRam" => number(NumberField::MinRam, value),
            "minDisk" => number(NumberField::MinDisk, value),
            "changes-since" => {
                let at: Timestamp = value.parse().map_err(|_| {
                    Error::invalid("Bad \"updated_at\" query filter format. Use ISO 8601 DateTime notation.")
                })?;
                Condition::Number(NumberField::UpdatedAt, Comparison::AT_LEAST, at.as_second())
            }
            other => match other.strip_prefix("property-") {
                Some(name) => property(name, value),
                None => continue,
            },
        });
    }
    Ok(conditions)
}

fn property(name: &str, value: &str) -> Condition {
    Condition::Property(name.to_owned(), value.to_owned())
}

fn number(field: NumberField, value: &str) -> Condition {
    value.parse().map_or(Condition::Never, |number| Condition::Number(field, Comparison::EQUAL, number))
}

/// The image in the path.
pub(super) async fn find(call: &Call) -> Result<Image> {
    let found = call.state.services.images.show(call.actor()?, id(call)?).await;
    found.map_err(|error| if error.kind() == Kind::NotFound { not_found() } else { error })
}

fn id(call: &Call) -> Result<ImageId> {
    call.params.get("id").parse().map_err(|_| not_found())
}

fn not_found() -> Error {
    Error::not_found("Image not found.")
}

fn summary(call: &Call, image: &Image) -> Value {
    json!({"id": image.id, "name": image.name, "links": links(call, image.id)})
}

fn whole(call: &Call, image: &Image) -> Value {
    let mut view = json!({
        "id": image.id,
        "name": image.name,
        "minRam": image.min_ram,
        "minDisk": image.min_disk,
        "metadata": metadata(image),
        "created": seconds_z(image.created_at),
        "updated": seconds_z(image.updated_at),
        "status": status(image.status),
        "progress": progress(image.status),
        "OS-EXT-IMG-SIZE:size": image.size.unwrap_or(0),
        "links": links(call, image.id),
    });
    let text = |name: &str| image.properties.get(name).and_then(Option::as_deref);
    if let Some(server) = text("instance_uuid").and_then(|text| text.parse::<ServerId>().ok()) {
        let [own, bookmark] = both(call, "servers", &server);
        view["server"] = json!({"id": server, "links": [own, bookmark]});
    }
    if let Some(automatic) = text("auto_disk_config") {
        let automatic =
            matches!(automatic.trim().to_lowercase().as_str(), "1" | "t" | "true" | "on" | "y" | "yes");
        view["OS-DCF:diskConfig"] = json!(if automatic { "AUTO" } else { "MANUAL" });
    }
    view
}

/// The custom properties. Two of them hold JSON, which is shown as such.
pub(super) fn metadata(image: &Image) -> Map<String, Value> {
    let value = |name: &str, text: &String| match name {
        "mappings" | "block_device_mapping" => {
            serde_json::from_str(text).unwrap_or_else(|_| Value::from(text.as_str()))
        }
        _ => Value::from(text.as_str()),
    };
    let shown = |(name, text): (&String, &Option<String>)| {
        (name.clone(), text.as_ref().map_or(Value::Null, |text| value(name, text)))
    };
    image.properties.iter().map(shown).collect()
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Active => "ACTIVE",
        Status::Queued | Status::Saving => "SAVING",
        Status::Deleted => "DELETED",
        Status::Killed => "ERROR",
        Status::Uploading | Status::Importing | Status::Deactivated => "UNKNOWN",
    }
}

fn progress(status: Status) -> u8 {
    match status {
        Status::Queued => 25,
        Status::Saving => 50,
        Status::Active => 100,
        Status::Deleted | Status::Killed | Status::Uploading | Status::Importing | Status::Deactivated => 0,
    }
}

fn links(call: &Call, id: ImageId) -> [Value; 3] {
    let [own, bookmark] = both(call, "images", &id);
    let alternate = format!("{}/image/images/{id}", call.base);
    [own, bookmark, json!({"rel": "alternate", "type": "application/vnd.openstack.image", "href": alternate})]
}

fn both(call: &Call, collection: &'static str, id: &dyn std::fmt::Display) -> [Value; 2] {
    let base = Base::of(call);
    let id = id.to_string();
    [
        json!({"rel": "self", "href": base.url(collection, &id)}),
        json!({"rel": "bookmark", "href": base.bookmark(collection, &id)}),
    ]
}
