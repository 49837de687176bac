//! `/v2.0/networks`.

use super::super::call::{Call, Outcome, Reply};
use super::attributes::{self, Attributes, Shape, bad, not_available};
use super::lists::{self, View};
use super::{ZONE, id};
use crate::core::actor::Actor;
use crate::core::clock::seconds_z;
use crate::core::ids::SubnetId;
use crate::core::network::{
    DEFAULT_MTU, Network, NetworkChanges, NewNetwork, invalid_input, network_not_found, not_authorized,
};
use crate::core::{Error, Result};
use actix_web::http::StatusCode;
use serde::Serialize;

const SHAPE: Shape = Shape {
    singular: "network",
    plural: "networks",
    on_create: &[
        "name",
        "description",
        "admin_state_up",
        "shared",
        "router:external",
        "is_default",
        "mtu",
        "port_security_enabled",
        "availability_zone_hints",
        "provider:network_type",
        "provider:physical_network",
        "provider:segmentation_id",
        "tenant_id",
        "project_id",
    ],
    on_update: &[
        "name",
        "description",
        "admin_state_up",
        "shared",
        "router:external",
        "is_default",
        "mtu",
        "port_security_enabled",
    ],
    read_only: &[
        "id",
        "status",
        "subnets",
        "tags",
        "created_at",
        "updated_at",
        "revision_number",
        "availability_zones",
        "ipv4_address_scope",
        "ipv6_address_scope",
    ],
};

/// The smallest and the largest MTU of an IPv4 network, in bytes.
const MTU: std::ops::RangeInclusive<i64> = 68..=65_535;

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

pub(super) async fn create(mut call: Call) -> Outcome {
    let (objects, bulk) = attributes::new_objects(&mut call, &SHAPE).await?;
    let actor = call.actor()?;
    let wanted = objects.into_iter().map(|given| new_network(given, actor)).collect::<Result<_>>()?;
    let made = call.state.services.networks.create(actor, wanted).await?;
    let views: Vec<NetworkView> = made.into_iter().map(|network| view(network, actor)).collect();
    lists::reply_created(&call, ("network", "networks"), bulk, &views)
}

pub(super) async fn update(mut call: Call) -> Outcome {
    let id = id(&call, |text| network_not_found(text))?;
    let mut given = attributes::changes(&mut call, &SHAPE).await?;
    let actor = call.actor()?;
    check_unavailable(&mut given, actor)?;
    let changes = NetworkChanges {
        name: given.text("name")?,
        description: given.text("description")?,
        admin_state_up: given.flag("admin_state_up")?,
        shared: given.flag("shared")?,
        is_default: given.flag("is_default")?,
        port_security: given.flag("port_security_enabled")?,
        mtu: mtu(&mut given)?,
    };
    let changed = call.state.services.networks.update(actor, id, changes).await?;
    lists::reply_one(&call, StatusCode::OK, "network", &view(changed, actor))
}

pub(super) async fn delete(call: Call) -> Outcome {
    let id = id(&call, |text| network_not_found(text))?;
    call.state.services.networks.delete(call.actor()?, id).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

fn new_network(mut given: Attributes, actor: &Actor) -> Result<NewNetwork> {
    check_unavailable(&mut given, actor)?;
    check_provider(&mut given, actor)?;
    for zone in given.list::<String>("availability_zone_hints", "string")?.unwrap_or_default() {
        if zone != ZONE {
            return Err(Error::not_found(format!("AvailabilityZone {zone} could not be found."))
                .with_class("AvailabilityZoneNotFound"));
        }
    }
    Ok(NewNetwork {
        project_id: given.project()?,
        name: given.text("name")?.unwrap_or_default(),
        description: given.text("description")?.unwrap_or_default(),
        admin_state_up: given.flag("admin_state_up")?.unwrap_or(true),
        shared: given.flag("shared")?.unwrap_or(false),
        is_default: given.flag("is_default")?.unwrap_or(false),
        port_security: given.flag("port_security_enabled")?.unwrap_or(true),
        mtu: mtu(&mut given)?.unwrap_or(DEFAULT_MTU),
    })
}

fn check_unavailable(given: &mut Attributes, actor: &Actor) -> Result<()> {
    match given.flag("router:external")? {
        Some(true) if !actor.is_admin() => Err(not_authorized("create_network:router:external")),
        Some(true) => Err(not_available(
            "External networks are not available in this cloud: every network here has NAT of its own.",
        )),
        Some(false) | None => Ok(()),
    }
}

/// Admins may say what is the case anyway: a network is local to this host.
fn check_provider(given: &mut Attributes, actor: &Actor) -> Result<()> {
    let kind = given.parsed::<String>("provider:network_type", "string")?;
    let physical = given.parsed::<String>("provider:physical_network", "string")?;
    let segment = given.integer("provider:segmentation_id")?;
    if !actor.is_admin() && (kind.is_some() || physical.is_some() || segment.is_some()) {
        return Err(not_authorized("create_network:provider:network_type"));
    }
    if let Some(kind) = kind.filter(|kind| kind != "local") {
        return Err(invalid_input(format!("network_type value '{kind}' not supported")));
    }
    if physical.is_some() || segment.is_some() {
        return Err(invalid_input(
            "physical_network and segmentation_id are not supported for local networks",
        ));
    }
    Ok(())
}

fn mtu(given: &mut Attributes) -> Result<Option<u32>> {
    match given.integer("mtu")? {
        None => Ok(None),
        Some(mtu) if MTU.contains(&mtu) => Ok(u32::try_from(mtu).ok()),
        Some(mtu) => Err(bad(format!(
            "Invalid input for mtu. Reason: '{mtu}' is not from {} to {}.",
            MTU.start(),
            MTU.end()
        ))),
    }
}
