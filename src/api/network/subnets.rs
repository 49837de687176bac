//! `/v2.0/subnets`.

use super::super::call::{Call, Outcome};
use super::id;
use super::lists::{self, View};
use crate::core::clock::seconds_z;
use crate::core::network::{HostRoute, Pool, Subnet, subnet_not_found};
use actix_web::http::StatusCode;
use ipnet::Ipv4Net;
use serde::Serialize;
use std::net::Ipv4Addr;

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
