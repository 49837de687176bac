//! How images, members and imports look to clients.

use crate::core::clock::seconds_z;
use crate::core::image::{Image, Import, Member};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

/// An image: flat, its custom properties beside its own attributes.
pub struct ImageView<'a>(pub &'a Image);

impl Serialize for ImageView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let image = self.0;
        let path = path(image);
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in &image.properties {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("name", &image.name)?;
        map.serialize_entry("disk_format", &image.disk_format.map(crate::core::image::DiskFormat::as_str))?;
        map.serialize_entry(
            "container_format",
            &image.container_format.map(crate::core::image::ContainerFormat::as_str),
        )?;
        map.serialize_entry("visibility", image.visibility.as_str())?;
        map.serialize_entry("size", &image.size)?;
        map.serialize_entry("virtual_size", &image.virtual_size)?;
        map.serialize_entry("status", image.status.as_str())?;
        map.serialize_entry("checksum", &image.md5)?;
        map.serialize_entry("protected", &image.protected)?;
        map.serialize_entry("min_ram", &image.min_ram)?;
        map.serialize_entry("min_disk", &image.min_disk)?;
        map.serialize_entry("owner", &image.owner)?;
        map.serialize_entry("os_hidden", &image.hidden)?;
        map.serialize_entry("os_hash_algo", &image.sha512.as_ref().map(|_| "sha512"))?;
        map.serialize_entry("os_hash_value", &image.sha512)?;
        map.serialize_entry("id", &image.id)?;
        map.serialize_entry("created_at", &seconds_z(image.created_at))?;
        map.serialize_entry("updated_at", &seconds_z(image.updated_at))?;
        map.serialize_entry("tags", &image.tags)?;
        map.serialize_entry("self", &path)?;
        map.serialize_entry("file", &format!("{path}/file"))?;
        map.serialize_entry("schema", "/v2/schemas/image")?;
        map.end()
    }
}

/// The path of an image, after the mount.
pub fn path(image: &Image) -> String {
    format!("/v2/images/{}", image.id)
}

pub fn member(member: &Member) -> Value {
    json!({
        "member_id": member.project_id,
        "image_id": member.image_id,
        "status": member.status.as_str(),
        "created_at": seconds_z(member.created_at),
        "updated_at": seconds_z(member.updated_at),
        "schema": "/v2/schemas/member",
    })
}

/// What the tasks of imports are called, and what has become of them.
pub const TASK_TYPE: &str = "api_image_import";
pub const TASK_STATUS: &str = "success";

/// An import as a task of its image.
pub fn task(import: &Import) -> Value {
    let at = seconds_z(import.created_at);
    json!({
        "id": import.id,
        "image_id": import.image_id,
        "request_id": import.request_id,
        "user_id": import.user_id,
        "type": TASK_TYPE,
        "status": TASK_STATUS,
        "owner": import.project_id,
        "expires_at": null,
        "created_at": at,
        "updated_at": at,
        "deleted_at": null,
        "deleted": false,
        "input": {"image_id": import.image_id, "import_req": import.request, "backend": [null]},
        "result": {"image_id": import.image_id},
        "message": "",
    })
}
