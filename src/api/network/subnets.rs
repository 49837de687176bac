//! `/v2.0/subnets`.

use super::super::call::{Call, Outcome, Reply};
use super::attributes::{self, Attributes, Shape, bad, not_available};
use super::id;
use super::lists::{self, View};
use crate::core::clock::seconds_z;
use crate::core::network::{HostRoute, NewSubnet, Pool, Subnet, SubnetChanges, subnet_not_found};
use crate::core::{Error, Result};
use actix_web::http::StatusCode;
use ipnet::Ipv4Net;
use serde::Serialize;
use serde_json::{Map, Value};
use std::net::Ipv4Addr;

const SHAPE: Shape = Shape {
    singular: "subnet",
    plural: "subnets",
    on_create: &[
        "network_id",
        "name",
        "description",
        "ip_version",
        "cidr",
        "gateway_ip",
        "enable_dhcp",
        "allocation_pools",
        "dns_nameservers",
        "host_routes",
        "ipv6_ra_mode",
        "ipv6_address_mode",
        "subnetpool_id",
        "use_default_subnetpool",
        "prefixlen",
        "service_types",
        "tenant_id",
        "project_id",
    ],
    on_update: &[
        "name",
        "description",
        "gateway_ip",
        "enable_dhcp",
        "allocation_pools",
        "dns_nameservers",
        "host_routes",
        "service_types",
    ],
    read_only: &["id", "tags", "created_at", "updated_at", "revision_number"],
};

#[derive(Serialize)]
struct SubnetView {
    id: String,
    name: String,
    tenant_id: String,
    project_id: String,
    network_id: String,
    ip_version: u8,
    subnetpool_id: (),
    enable_dhcp: bool,
    ipv6_ra_mode: (),
    ipv6_address_mode: (),
    gateway_ip: Option<Ipv4Addr>,
    cidr: Ipv4Net,
    allocation_pools: Vec<Pool>,
    host_routes: Vec<HostRoute>,
    dns_nameservers: Vec<Ipv4Addr>,
    description: String,
    service_types: [&'static str; 0],
    tags: Vec<String>,
    created_at: String,
    updated_at: String,
    revision_number: i64,
}

impl View for SubnetView {
    fn id(&self) -> String {
        self.id.clone()
    }
}

fn view(subnet: Subnet) -> SubnetView {
    SubnetView {
        id: subnet.id.to_string(),
        name: subnet.name,
        tenant_id: subnet.project_id.to_string(),
        project_id: subnet.project_id.to_string(),
        network_id: subnet.network_id.to_string(),
        ip_version: 4,
        subnetpool_id: (),
        enable_dhcp: subnet.enable_dhcp,
        ipv6_ra_mode: (),
        ipv6_address_mode: (),
        gateway_ip: subnet.gateway_ip,
        cidr: subnet.cidr,
        allocation_pools: subnet.allocation_pools,
        host_routes: subnet.host_routes,
        dns_nameservers: subnet.dns_nameservers,
        description: subnet.description,
        service_types: [],
        tags: subnet.tags,
        created_at: seconds_z(subnet.created_at),
        updated_at: seconds_z(subnet.updated_at),
        revision_number: subnet.revision,
    }
}

pub(super) async fn list(call: Call) -> Outcome {
    let listing = lists::listing(&call.query)?;
    let found = call.state.services.networks.list_subnets(call.actor()?, listing.clone()).await?;
    let views: Vec<SubnetView> = found.into_iter().map(view).collect();
    lists::reply(&call, "subnets", &listing, &views)
}

pub(super) async fn show(call: Call) -> Outcome {
    let id = id(&call, |text| subnet_not_found(text))?;
    let subnet = call.state.services.networks.show_subnet(call.actor()?, id).await?;
    lists::reply_one(&call, StatusCode::OK, "subnet", &view(subnet))
}

pub(super) async fn create(mut call: Call) -> Outcome {
    let (objects, bulk) = attributes::new_objects(&mut call, &SHAPE).await?;
    let wanted = objects.into_iter().map(new_subnet).collect::<Result<_>>()?;
    let made = call.state.services.networks.create_subnets(call.actor()?, wanted).await?;
    let views: Vec<SubnetView> = made.into_iter().map(view).collect();
    lists::reply_created(&call, ("subnet", "subnets"), bulk, &views)
}

pub(super) async fn update(mut call: Call) -> Outcome {
    let id = id(&call, |text| subnet_not_found(text))?;
    let mut given = attributes::changes(&mut call, &SHAPE).await?;
    check_unavailable(&mut given)?;
    let changes = SubnetChanges {
        name: given.text("name")?,
        description: given.text("description")?,
        gateway_ip: gateway(&mut given)?,
        enable_dhcp: given.flag("enable_dhcp")?,
        allocation_pools: given.objects("allocation_pools", pool)?,
        dns_nameservers: given.list("dns_nameservers", "IPv4 address")?,
    };
    let changed = call.state.services.networks.update_subnet(call.actor()?, id, changes).await?;
    lists::reply_one(&call, StatusCode::OK, "subnet", &view(changed))
}

pub(super) async fn delete(call: Call) -> Outcome {
    let id = id(&call, |text| subnet_not_found(text))?;
    call.state.services.networks.delete_subnet(call.actor()?, id).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

fn new_subnet(mut given: Attributes) -> Result<NewSubnet> {
    check_unavailable(&mut given)?;
    check_version(&mut given)?;
    check_pool(&mut given)?;
    let network_id = given.parsed("network_id", "UUID")?;
    let cidr = given.parsed("cidr", "IPv4 subnet")?.ok_or_else(|| {
        Error::invalid("Bad subnets request: a subnetpool must be specified in the absence of a cidr.")
            .with_class("BadRequest")
    })?;
    Ok(NewSubnet {
        network_id: Attributes::required("network_id", network_id)?,
        project_id: given.project()?,
        name: given.text("name")?.unwrap_or_default(),
        description: given.text("description")?.unwrap_or_default(),
        cidr,
        gateway_ip: gateway(&mut given)?,
        enable_dhcp: given.flag("enable_dhcp")?.unwrap_or(true),
        allocation_pools: given.objects("allocation_pools", pool)?.filter(|pools| !pools.is_empty()),
        dns_nameservers: given.list("dns_nameservers", "IPv4 address")?.unwrap_or_default(),
    })
}

fn check_version(given: &mut Attributes) -> Result<()> {
    match Attributes::required("ip_version", given.integer("ip_version")?)? {
        4 => {}
        6 => return Err(not_available("IPv6 subnets are not available in this cloud.")),
        other => {
            return Err(bad(format!("Invalid input for ip_version. Reason: '{other}' is not in [4, 6].")));
        }
    }
    for mode in ["ipv6_ra_mode", "ipv6_address_mode"] {
        if let Some(value) = given.parsed::<String>(mode, "string")? {
            return Err(Error::invalid(format!(
                "Invalid input for operation: {mode} '{value}' is not valid when ip_version is 4."
            ))
            .with_class("InvalidInput"));
        }
    }
    Ok(())
}

fn check_pool(given: &mut Attributes) -> Result<()> {
    let pool = given.parsed::<String>("subnetpool_id", "string")?;
    let default = given.flag("use_default_subnetpool")?.unwrap_or(false);
    let length = given.integer("prefixlen")?;
    if pool.is_some() || default || length.is_some() {
        return Err(not_available("Subnet pools are not available in this cloud: give the subnet a cidr."));
    }
    Ok(())
}

fn check_unavailable(given: &mut Attributes) -> Result<()> {
    if given.list::<String>("service_types", "string")?.is_some_and(|types| !types.is_empty()) {
        return Err(not_available("Service types of subnets are not available in this cloud."));
    }
    if given.objects("host_routes", |route| Some(route.len()))?.is_some_and(|routes| !routes.is_empty()) {
        return Err(not_available("Host routes are not available in this cloud."));
    }
    Ok(())
}

/// The host itself is the gateway of every subnet, so that there cannot be none.
fn gateway(given: &mut Attributes) -> Result<Option<Ipv4Addr>> {
    if given.is_null("gateway_ip") {
        return Err(not_available("Subnets without a gateway are not available in this cloud."));
    }
    given.parsed("gateway_ip", "IPv4 address")
}

fn pool(object: &Map<String, Value>) -> Option<Pool> {
    let end = |name: &str| object.get(name)?.as_str()?.parse().ok();
    (object.len() == 2).then_some(())?;
    Some(Pool { start: end("start")?, end: end("end")? })
}
