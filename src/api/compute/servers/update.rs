//! `PUT /servers/{id}`.

use super::{id, one, tables};
use crate::api::call::{Call, Outcome};
use crate::api::compute::changes::Resource;
use crate::api::compute::request;
use crate::api::compute::schema::wire;
use crate::core::server::DiskConfig;
use crate::core::server::create::UpdateServer;
use serde::Deserialize;
use std::net::{Ipv4Addr, Ipv6Addr};

#[derive(Deserialize)]
struct Body {
    server: Change,
}

#[derive(Deserialize)]
#[expect(clippy::option_option, reason = "missing, null and a value are three things to a client")]
struct Change {
    name: Option<String>,
    #[serde(rename = "OS-DCF:diskConfig")]
    disk_config: Option<DiskConfig>,
    #[serde(rename = "accessIPv4")]
    access_ip_v4: Option<Ipv4Addr>,
    #[serde(rename = "accessIPv6")]
    access_ip_v6: Option<Ipv6Addr>,
    #[serde(default, deserialize_with = "wire::present")]
    description: Option<Option<String>>,
    hostname: Option<String>,
    #[serde(default, deserialize_with = "wire::present")]
    pinned_availability_zone: Option<Option<String>>,
}

pub async fn update(mut call: Call) -> Outcome {
    let body: Body = request::body(&mut call, &tables::UPDATE).await?;
    let id = id(&call)?;
    super::authorize(&call, id).await?;
    let change = body.server;
    let update = UpdateServer {
        name: change.name.map(|name| if call.legacy { name.trim().to_owned() } else { name }),
        description: change.description,
        hostname: change.hostname,
        access_ip_v4: change.access_ip_v4.map(Some),
        access_ip_v6: change.access_ip_v6.map(Some),
        disk_config: change.disk_config,
        pinned_zone: change.pinned_availability_zone,
    };
    let detail = call.state.services.servers.update(call.actor()?, id, update).await?;
    one(&call, Resource::ServerUpdate, &detail)
}
