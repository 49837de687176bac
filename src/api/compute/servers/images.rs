//! Actions that make images of servers.

use crate::api::call::{Call, Outcome, Reply};
use crate::api::compute::schema::types::{METADATA, NAME, NON_NEGATIVE, PADDED_NAME, STRING};
use crate::api::compute::schema::{
    Object, Property, Rule::Object as Keys, Rule::Types, Schema, Type, property, property_with_legacy, wire,
};
use crate::api::image::MOUNT;
use crate::core::ids::{ImageId, ServerId};
use crate::core::server::snapshot::Rotation;
use crate::core::service::servers::NewImage;
use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

const NAMED: Property = property_with_legacy("name", &[&NAME], &PADDED_NAME);

pub static CREATE_IMAGE: Schema = Schema(&[
    Types(&[Type::Object]),
    Keys(&Object {
        input: None,
        properties: &[property(
            "createImage",
            &[&Schema(&[
                Types(&[Type::Object]),
                Keys(&Object {
                    input: None,
                    properties: &[NAMED, property("metadata", &[&METADATA])],
                    required: &["name"],
                    open: false,
                }),
            ])],
        )],
        required: &["createImage"],
        open: false,
    }),
]);

pub static CREATE_BACKUP: Schema = Schema(&[
    Types(&[Type::Object]),
    Keys(&Object {
        input: None,
        properties: &[property(
            "createBackup",
            &[&Schema(&[
                Types(&[Type::Object]),
                Keys(&Object {
                    input: None,
                    properties: &[
                        NAMED,
                        property("backup_type", &[&STRING]),
                        property("rotation", &[&NON_NEGATIVE]),
                        property("metadata", &[&METADATA]),
                    ],
                    required: &["name", "backup_type", "rotation"],
                    open: false,
                }),
            ])],
        )],
        required: &["createBackup"],
        open: false,
    }),
]);

#[derive(Deserialize)]
struct CreateImage {
    name: String,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct CreateBackup {
    #[serde(flatten)]
    image: CreateImage,
    backup_type: String,
    #[serde(deserialize_with = "wire::number")]
    rotation: i64,
}

/// Until 2.38 image properties counted as server metadata does.
fn new_image(call: &Call, image: CreateImage) -> NewImage {
    NewImage { name: image.name.trim().to_owned(), metadata: image.metadata, limited: call.minor < 39 }
}

#[derive(Serialize)]
struct Made {
    image_id: ImageId,
}

/// From 2.45 on the image is named in the body, before by its location.
fn made(call: &Call, image_id: ImageId, located: bool) -> Outcome {
    if call.minor >= 45 {
        return Ok(Reply::json(StatusCode::ACCEPTED, &Made { image_id })?);
    }
    let reply = Reply::empty(StatusCode::ACCEPTED);
    if !located {
        return Ok(reply);
    }
    Ok(reply.header("location", &format!("{}{MOUNT}/v2/images/{image_id}", call.base)))
}

pub async fn create_image(call: Call, id: ServerId, value: Value) -> Outcome {
    let wanted = new_image(&call, wire::read(value)?);
    let image = call.state.services.servers.create_image(call.actor()?, id, wanted).await?;
    made(&call, image, true)
}

pub async fn create_backup(call: Call, id: ServerId, value: Value) -> Outcome {
    let CreateBackup { image, backup_type, rotation } = wire::read(value)?;
    let wanted = new_image(&call, image);
    let keep = usize::try_from(rotation).unwrap_or(usize::MAX);
    let rotation = Rotation { kind: backup_type, keep };
    let image = call.state.services.servers.create_backup(call.actor()?, id, wanted, rotation).await?;
    // A backup that goes at once is nowhere to be found.
    made(&call, image, keep > 0)
}
