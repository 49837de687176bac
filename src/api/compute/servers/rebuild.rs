//! The action `rebuild`.

use super::view::ServerView;
use super::{create, scene};
use crate::api::call::{Call, Outcome, Reply};
use crate::api::compute::changes::Resource;
use crate::api::compute::links::Base;
use crate::api::compute::schema::wire;
use crate::core::ids::ServerId;
use crate::core::secret::Secret;
use crate::core::server::DiskConfig;
use crate::core::server::rebuild::RebuildServer;
use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

#[derive(Deserialize)]
#[expect(clippy::option_option, reason = "missing, null and a value are three things to a client")]
struct Rebuild {
    #[serde(rename = "imageRef")]
    image: String,
    name: Option<String>,
    #[serde(rename = "adminPass")]
    admin_password: Option<Secret>,
    metadata: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "wire::maybe_flag")]
    preserve_ephemeral: Option<bool>,
    #[serde(rename = "OS-DCF:diskConfig")]
    disk_config: Option<DiskConfig>,
    #[serde(rename = "accessIPv4")]
    access_ip_v4: Option<Ipv4Addr>,
    #[serde(rename = "accessIPv6")]
    access_ip_v6: Option<Ipv6Addr>,
    #[serde(default)]
    personality: Vec<create::File>,
    #[serde(default, deserialize_with = "wire::present")]
    description: Option<Option<String>>,
    #[serde(default, deserialize_with = "wire::present")]
    key_name: Option<Option<String>>,
    #[serde(default, deserialize_with = "wire::present")]
    user_data: Option<Option<String>>,
    #[serde(default, deserialize_with = "wire::present")]
    trusted_image_certificates: Option<Option<Vec<String>>>,
    hostname: Option<String>,
}

#[derive(Serialize)]
struct Rebuilt<'a> {
    server: ServerView<'a>,
}

pub async fn rebuild(call: Call, id: ServerId, value: Value) -> Outcome {
    let asked: Rebuild = wire::read(value)?;
    let command = RebuildServer {
        image_id: create::last_part(&asked.image).parse().ok(),
        name: asked.name.map(|name| if call.legacy { name.trim().to_owned() } else { name }),
        description: asked.description,
        hostname: asked.hostname,
        admin_password: asked.admin_password,
        metadata: asked.metadata,
        personality: create::personality(asked.personality)?,
        keep_ephemeral: asked.preserve_ephemeral.unwrap_or(false),
        access_ip_v4: asked.access_ip_v4,
        access_ip_v6: asked.access_ip_v6,
        disk_config: asked.disk_config,
        key_name: asked.key_name,
        user_data: asked.user_data,
        trusted_certificates: asked.trusted_image_certificates,
    };
    let (detail, password) = call.state.services.servers.rebuild(call.actor()?, id, command).await?;
    let scene = scene(&call, Resource::ServerRebuild)?;
    let server = ServerView { detail: &detail, scene: &scene, admin_password: Some(password.expose()) };
    let location = Base::of(&call).url("servers", &id.to_string());
    Ok(Reply::json(StatusCode::ACCEPTED, &Rebuilt { server })?.header("location", &location))
}
