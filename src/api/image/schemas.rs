//! JSON schemas of what the API shows; clients build their models from them.

use super::attributes::ID_PATTERN;
use crate::api::call::{Call, Outcome, Reply};
use crate::core::image::{ContainerFormat, DiskFormat, MemberStatus, Status, Visibility};
use actix_web::http::StatusCode;
use serde_json::{Value, json};

pub async fn image(_: Call) -> Outcome {
    Ok(Reply::json(StatusCode::OK, &image_schema())?)
}

pub async fn images(_: Call) -> Outcome {
    let schema = json!({
        "name": "images",
        "properties": {
            "images": {"type": "array", "items": image_schema()},
            "first": {"type": "string"},
            "next": {"type": "string"},
            "schema": {"type": "string"},
        },
        "links": [
            {"rel": "first", "href": "{first}"},
            {"rel": "next", "href": "{next}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    });
    Ok(Reply::json(StatusCode::OK, &schema)?)
}

pub async fn member(_: Call) -> Outcome {
    Ok(Reply::json(StatusCode::OK, &member_schema())?)
}

pub async fn members(_: Call) -> Outcome {
    let schema = json!({
        "name": "members",
        "properties": {
            "members": {"type": "array", "items": member_schema()},
            "schema": {"type": "string"},
        },
        "links": [{"rel": "describedby", "href": "{schema}"}],
    });
    Ok(Reply::json(StatusCode::OK, &schema)?)
}

fn names<T: Copy>(all: &[T], name: fn(T) -> &'static str) -> Vec<&'static str> {
    all.iter().map(|word| name(*word)).collect()
}

fn nullable(names: Vec<&'static str>) -> Vec<Option<&'static str>> {
    std::iter::once(None).chain(names.into_iter().map(Some)).collect()
}

fn image_schema() -> Value {
    let disk_formats = nullable(names(DiskFormat::ALL, crate::core::image::DiskFormat::as_str));
    let container_formats =
        nullable(names(ContainerFormat::ALL, crate::core::image::ContainerFormat::as_str));
    json!({
        "name": "image",
        "properties": {
            "id": {"type": "string", "description": "The image's id", "pattern": ID_PATTERN},
            "name": {"type": ["null", "string"], "description": "A name for people", "maxLength": 255},
            "status": {
                "type": "string",
                "readOnly": true,
                "description": "Where the image is in its life",
                "enum": names(Status::ALL, crate::core::image::Status::as_str),
            },
            "visibility": {
                "type": "string",
                "description": "Who sees the image",
                "enum": names(Visibility::ALL, crate::core::image::Visibility::as_str),
            },
            "protected": {"type": "boolean", "description": "Whether the image is kept from being deleted"},
            "os_hidden": {"type": "boolean", "description": "Whether lists leave the image out unless asked"},
            "checksum": {
                "type": ["null", "string"],
                "readOnly": true,
                "description": "MD5 of the bytes",
                "maxLength": 32,
            },
            "os_hash_algo": {
                "type": ["null", "string"],
                "readOnly": true,
                "description": "The algorithm of os_hash_value",
                "maxLength": 64,
            },
            "os_hash_value": {
                "type": ["null", "string"],
                "readOnly": true,
                "description": "Digest of the bytes, in hexadecimal digits",
                "maxLength": 128,
            },
            "owner": {
                "type": ["null", "string"],
                "description": "The project that the image belongs to",
                "maxLength": 255,
            },
            "size": {"type": ["null", "integer"], "readOnly": true, "description": "Size of the file in bytes"},
            "virtual_size": {
                "type": ["null", "integer"],
                "readOnly": true,
                "description": "Size of the disk that a guest sees, in bytes",
            },
            "container_format": {
                "type": ["null", "string"],
                "description": "What is around the disk",
                "enum": container_formats,
            },
            "disk_format": {"type": ["null", "string"], "description": "Format of the disk", "enum": disk_formats},
            "created_at": {"type": "string", "readOnly": true, "description": "When the image was registered"},
            "updated_at": {"type": "string", "readOnly": true, "description": "When the image last changed"},
            "tags": {
                "type": "array",
                "description": "Words to find the image by",
                "items": {"type": "string", "maxLength": 255},
            },
            "direct_url": {"type": "string", "readOnly": true, "description": "Where a store keeps the file"},
            "min_ram": {"type": "integer", "description": "Memory that booting needs, in MiB"},
            "min_disk": {"type": "integer", "description": "Disk that booting needs, in GiB"},
            "self": {"type": "string", "readOnly": true, "description": "Path of the image"},
            "file": {"type": "string", "readOnly": true, "description": "Path of the image's bytes"},
            "schema": {"type": "string", "readOnly": true, "description": "Path of this schema"},
            "locations": {
                "type": "array",
                "description": "Where stores keep the file",
                "items": {
                    "type": "object",
                    "properties": {
                        "url": {"type": "string", "maxLength": 255},
                        "metadata": {"type": "object"},
                    },
                    "required": ["url", "metadata"],
                },
            },
            "kernel_id": reference("The image that holds the kernel"),
            "ramdisk_id": reference("The image that holds the initial memory disk"),
            "instance_uuid": property("The server that the image was made from"),
            "architecture": property("Processor architecture of the system inside"),
            "os_distro": property("Distribution of the system inside"),
            "os_version": property("Version of the system inside"),
        },
        "additionalProperties": {"type": "string"},
        "links": [
            {"rel": "self", "href": "{self}"},
            {"rel": "enclosure", "href": "{file}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    })
}

fn property(description: &str) -> Value {
    json!({"type": "string", "description": description, "is_base": false})
}

fn reference(description: &str) -> Value {
    json!({"type": ["null", "string"], "description": description, "pattern": ID_PATTERN, "is_base": false})
}

fn member_schema() -> Value {
    json!({
        "name": "member",
        "properties": {
            "member_id": {"type": "string", "description": "The project that the image is shared with"},
            "image_id": {"type": "string", "description": "The image's id", "pattern": ID_PATTERN},
            "created_at": {"type": "string", "description": "When the project was made a member"},
            "updated_at": {"type": "string", "description": "When the membership last changed"},
            "status": {
                "type": "string",
                "description": "What the project answered",
                "enum": names(MemberStatus::ALL, crate::core::image::MemberStatus::as_str),
            },
            "schema": {"type": "string", "readOnly": true},
        },
    })
}
