//! The image that is made from a server: what it is called, whose it is, and what it inherits. Pure.

use super::Server;
use crate::core::Result;
use crate::core::actor::Actor;
use crate::core::ids::ImageId;
use crate::core::image::{ContainerFormat, DiskFormat, Image, RESERVED_PREFIX, Visibility, names};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is true of one image alone and never of those that are made from its servers.
const NOT_INHERITED: [&str; 8] = [
    "cinder_encryption_key_id",
    "cinder_encryption_key_deletion_policy",
    "img_signature",
    "img_signature_hash_method",
    "img_signature_key_type",
    "img_signature_certificate_uuid",
    "cache_in_nova",
    "bittorrent",
];

/// What the caller says of the image that is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub name: String,
    /// `snapshot` or `backup`.
    pub kind: &'static str,
    /// Properties; they win over what the image would have by itself.
    pub properties: BTreeMap<String, String>,
}

/// How many backups of a kind a server keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// `daily`, `weekly`, or whatever its owner calls it.
    pub kind: String,
    pub keep: usize,
}

/// What is looked up about the server's surroundings.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// Of the image that the server was made from: the smallest root disk, in GiB.
    pub min_disk: u32,
    /// Of the image that the server was made from: the least memory, in MiB.
    pub min_ram: u32,
    /// Of the server's owner.
    pub user_name: Option<String>,
    /// Of the server's project.
    pub project_name: Option<String>,
}

/// The image, still without bytes and without the format that they will have.
///
/// # Errors
/// More properties than an image may have, and names that are the image service's own.
pub fn image(
    server: &Server,
    wanted: Wanted,
    origin: &Origin,
    actor: &Actor,
    now: Timestamp,
) -> Result<Image> {
    let mut image = Image::new(ImageId::random(), &[], actor, now)?;
    image.name = Some(wanted.name);
    image.visibility = if actor.owns(&server.project_id) { Visibility::Private } else { Visibility::Shared };
    let disk = u32::try_from(server.flavor.disk_gib).unwrap_or(u32::MAX);
    (image.min_disk, image.min_ram) = (origin.min_disk.max(disk), origin.min_ram);
    let mut properties: BTreeMap<String, String> = server
        .image_properties
        .iter()
        .filter(|(name, _)| !NOT_INHERITED.contains(&name.as_str()) && !name.starts_with(RESERVED_PREFIX))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    // A server from a snapshot still tells of the image that all began with.
    if let Some(base) = server.image_id {
        properties.entry("base_image_ref".into()).or_insert_with(|| base.to_string());
    }
    let mut set = |name: &str, value: &str| properties.insert(name.to_owned(), value.to_owned());
    for (name, value) in
        [("owner_user_name", &origin.user_name), ("owner_project_name", &origin.project_name)]
    {
        if let Some(value) = value {
            set(name, value);
        }
    }
    set("instance_uuid", &server.id.to_string());
    set("user_id", actor.user_id.as_str());
    set("image_type", wanted.kind);
    if image.visibility == Visibility::Shared {
        set("instance_owner", server.project_id.as_str());
        image.members.insert(server.project_id.clone());
    }
    for name in wanted.properties.keys() {
        if names::is_settable(name) {
            return Err(names::read_only(name));
        }
        names::check(name)?;
    }
    properties.extend(wanted.properties);
    image.properties = properties.into_iter().map(|(name, value)| (name, Some(value))).collect();
    image.check_property_limit()?;
    Ok(image)
}

/// Adds what an image says once it holds the server's disk.
pub fn complete(image: &mut Image, server: &Server) {
    image.disk_format = Some(DiskFormat::Qcow2);
    image.container_format = Some(ContainerFormat::Bare);
    let mut set = |name: &str, value: &str| image.properties.insert(name.to_owned(), Some(value.to_owned()));
    set("image_location", "snapshot");
    set("image_state", "available");
    set("owner_id", server.project_id.as_str());
    for (name, id) in [("kernel_id", &server.kernel_id), ("ramdisk_id", &server.ramdisk_id)] {
        if !id.is_empty() {
            set(name, id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::actor::Roles;
    use crate::core::ids::RequestId;
    use crate::core::server::sample;

    fn actor(project: &str) -> Actor {
        Actor {
            user_id: "me".into(),
            user_name: "me".into(),
            user_domain: "default".into(),
            project_id: Some(project.into()),
            roles: Roles::from_names(["member"]),
            request_id: RequestId::fresh(),
        }
    }

    fn wanted(properties: &[(&str, &str)]) -> Wanted {
        let properties = properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Wanted { name: "snap".into(), kind: "snapshot", properties }
    }

    #[test]
    fn an_image_inherits_from_the_server_and_its_image() {
        let mut server = sample();
        server.image_id = Some(ImageId::random());
        for (name, value) in [("hw_disk_bus", "scsi"), ("img_signature", "x"), ("os_glance_x", "y")] {
            server.image_properties.insert(name.into(), value.into());
        }
        let origin = Origin { min_ram: 64, user_name: Some("u".into()), ..Origin::default() };
        let made = image(
            &server,
            wanted(&[("colour", "blue"), ("user_id", "mine")]),
            &origin,
            &actor("p"),
            server.created_at,
        );
        let mut made = made.unwrap();
        complete(&mut made, &server);
        let of = |name: &str| made.properties.get(name).cloned().flatten();
        assert_eq!((made.min_disk, made.min_ram, made.visibility), (1, 64, Visibility::Private));
        assert_eq!(of("hw_disk_bus").as_deref(), Some("scsi"));
        assert_eq!((of("img_signature"), of("os_glance_x")), (None, None));
        assert_eq!(of("base_image_ref"), server.image_id.map(|id| id.to_string()));
        assert_eq!(of("instance_uuid"), Some(server.id.to_string()));
        assert_eq!((of("colour").as_deref(), of("user_id").as_deref()), (Some("blue"), Some("mine")));
        assert_eq!(of("owner_user_name").as_deref(), Some("u"));
        assert_eq!(of("image_location").as_deref(), Some("snapshot"));
    }

    #[test]
    fn an_image_that_an_administrator_makes_is_shared_with_the_owner() {
        let server = sample();
        let made =
            image(&server, wanted(&[]), &Origin::default(), &actor("admins"), server.created_at).unwrap();
        assert_eq!(made.visibility, Visibility::Shared);
        assert!(made.members.contains(&server.project_id));
        assert_eq!(made.properties.get("instance_owner"), Some(&Some("p".into())));
    }

    #[test]
    fn properties_do_not_overwrite_what_every_image_has() {
        let server = sample();
        for name in ["visibility", "status", "min_ram"] {
            let refused =
                image(&server, wanted(&[(name, "x")]), &Origin::default(), &actor("p"), server.created_at);
            assert!(refused.is_err(), "{name}");
        }
    }
}
