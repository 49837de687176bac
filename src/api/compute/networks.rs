//! `/os-networks` and `/os-tenant-networks`: names and ids of networks, which is all that compute still knew about them
//! before clients asked the network service itself. Both end at 2.36.

use super::request;
use crate::api::call::{Call, Outcome, Reply};
use crate::core::listing::Listing;
use crate::core::network::Network;
use crate::core::{Error, Kind, Result};
use actix_web::http::StatusCode;
use serde_json::{Map, Value, json};

/// What was told about networks that Nova made itself, to everybody.
const UNKNOWN: [&str; 9] =
    ["broadcast", "cidr", "cidr_v6", "dns1", "dns2", "gateway", "gateway_v6", "netmask", "netmask_v6"];

/// And to administrators.
const UNKNOWN_TO_ADMINS: [&str; 21] = [
    "bridge",
    "bridge_interface",
    "created_at",
    "deleted",
    "deleted_at",
    "dhcp_server",
    "dhcp_start",
    "enable_dhcp",
    "host",
    "injected",
    "mtu",
    "multi_host",
    "priority",
    "project_id",
    "rxtx_base",
    "share_address",
    "updated_at",
    "vlan",
    "vpn_private_address",
    "vpn_public_address",
    "vpn_public_port",
];

pub async fn list(call: Call) -> Outcome {
    listed(&call, whole).await
}

pub async fn show(call: Call) -> Outcome {
    shown(&call, whole).await
}

pub async fn list_of_project(call: Call) -> Outcome {
    listed(&call, brief).await
}

pub async fn show_of_project(call: Call) -> Outcome {
    shown(&call, brief).await
}

type View = fn(&Network, admin: bool) -> Value;

async fn listed(call: &Call, view: View) -> Outcome {
    request::authorize(call)?;
    let actor = call.actor()?;
    let found = call.state.services.networks.list(actor, Listing::default()).await?;
    let views: Vec<Value> = found.iter().map(|(network, _)| view(network, actor.is_admin())).collect();
    Ok(Reply::json(StatusCode::OK, &json!({"networks": views}))?)
}

async fn shown(call: &Call, view: View) -> Outcome {
    request::authorize(call)?;
    let network = find(call).await?;
    let admin = call.actor()?.is_admin();
    Ok(Reply::json(StatusCode::OK, &json!({"network": view(&network, admin)}))?)
}

async fn find(call: &Call) -> Result<Network> {
    let unknown = || Error::not_found("Network not found");
    let id = call.params.get("id").parse().map_err(|_| unknown())?;
    let found = call.state.services.networks.show(call.actor()?, id).await;
    let found = found.map_err(|error| if error.kind() == Kind::NotFound { unknown() } else { error });
    Ok(found?.0)
}

fn whole(network: &Network, admin: bool) -> Value {
    let admins = if admin { &UNKNOWN_TO_ADMINS[..] } else { &[] };
    let unknown = UNKNOWN.iter().chain(admins).map(|key| ((*key).to_owned(), Value::Null));
    let mut fields: Map<String, Value> = unknown.collect();
    fields.insert("id".into(), json!(network.id));
    fields.insert("label".into(), json!(network.name));
    fields.into()
}

fn brief(network: &Network, _admin: bool) -> Value {
    // A Python `None` that was made a text.
    json!({"id": network.id, "label": network.name, "cidr": "None"})
}
