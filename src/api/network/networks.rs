//! `/v2.0/networks`.

use super::super::call::{Call, Outcome};
use super::lists::{self, View};
use super::{ZONE, id};
use crate::core::actor::Actor;
use crate::core::clock::seconds_z;
use crate::core::ids::SubnetId;
use crate::core::network::{Network, network_not_found};
use actix_web::http::StatusCode;
use serde::Serialize;

#[derive(Serialize)]
struct NetworkView {
    id: String,
    name: String,
    tenant_id: String,
    project_id: String,
    admin_state_up: bool,
    mtu: u32,
    status: &'static str,
    subnets: Vec<SubnetId>,
    shared: bool,
    availability_zone_hints: [&'static str; 0],
    availability_zones: [&'static str; 1],
    ipv4_address_scope: (),
    ipv6_address_scope: (),
    #[serde(rename = "router:external")]
    external: bool,
    is_default: bool,
    description: String,
    port_security_enabled: bool,
    tags: Vec<String>,
    created_at: String,
    updated_at: String,
    revision_number: i64,
    #[serde(flatten)]
    provider: Option<ProviderView>,
}

/// What only admins see.
#[derive(Serialize)]
struct ProviderView {
    /// Local to this host.
    #[serde(rename = "provider:network_type")]
    network_type: &'static str,
    #[serde(rename = "provider:physical_network")]
    physical_network: (),
    #[serde(rename = "provider:segmentation_id")]
    segmentation_id: (),
}

impl View for NetworkView {
    fn id(&self) -> String {
        self.id.clone()
    }
}

fn view((network, subnets): (Network, Vec<SubnetId>), actor: &Actor) -> NetworkView {
    NetworkView {
        id: network.id.to_string(),
        name: network.name,
        tenant_id: network.project_id.to_string(),
        project_id: network.project_id.to_string(),
        admin_state_up: network.admin_state_up,
        mtu: network.mtu,
        status: "ACTIVE",
        subnets,
        shared: network.shared,
        availability_zone_hints: [],
        availability_zones: [ZONE],
        ipv4_address_scope: (),
        ipv6_address_scope: (),
        external: network.external,
        is_default: network.is_default,
        description: network.description,
        port_security_enabled: network.port_security_enabled,
        tags: network.tags,
        created_at: seconds_z(network.created_at),
        updated_at: seconds_z(network.updated_at),
        revision_number: network.revision,
        provider: actor.is_admin().then_some(ProviderView {
            network_type: "local",
            physical_network: (),
            segmentation_id: (),
        }),
    }
}

pub(super) async fn list(call: Call) -> Outcome {
    let listing = lists::listing(&call.query)?;
    let actor = call.actor()?;
    let found = call.state.services.networks.list(actor, listing.clone()).await?;
    let views: Vec<NetworkView> = found.into_iter().map(|network| view(network, actor)).collect();
    lists::reply(&call, "networks", &listing, &views)
}

pub(super) async fn show(call: Call) -> Outcome {
    let id = id(&call, |text| network_not_found(text))?;
    let actor = call.actor()?;
    let found = call.state.services.networks.show(actor, id).await?;
    lists::reply_one(&call, StatusCode::OK, "network", &view(found, actor))
}
