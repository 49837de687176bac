//! `/v2.0/ports`.

use super::super::call::{Call, Outcome, Reply};
use super::attributes::{self, Attributes, Shape, bad};
use super::id;
use super::lists::{self, View};
use crate::core::actor::Actor;
use crate::core::clock::seconds_z;
use crate::core::ids::{SecurityGroupId, SubnetId};
use crate::core::network::{Mac, address_not_on_network};
use crate::core::port::{
    AddressPair, AddressPairRequest, FixedIpRequest, NewPort, Port, PortChanges, port_not_found,
};
use crate::core::{Error, Result};
use actix_web::http::StatusCode;
use ipnet::Ipv4Net;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::net::{IpAddr, Ipv4Addr};

const SHAPE: Shape = Shape {
    singular: "port",
    plural: "ports",
    on_create: &[
        "network_id",
        "name",
        "description",
        "admin_state_up",
        "mac_address",
        "fixed_ips",
        "security_groups",
        "port_security_enabled",
        "allowed_address_pairs",
        "device_id",
        "device_owner",
        "binding:host_id",
        "binding:vnic_type",
        "binding:profile",
        "tenant_id",
        "project_id",
    ],
    on_update: &[
        "name",
        "description",
        "admin_state_up",
        "mac_address",
        "fixed_ips",
        "security_groups",
        "port_security_enabled",
        "allowed_address_pairs",
        "device_id",
        "device_owner",
        "binding:host_id",
        "binding:vnic_type",
        "binding:profile",
    ],
    read_only: &[
        "id",
        "status",
        "tags",
        "created_at",
        "updated_at",
        "revision_number",
        "binding:vif_type",
        "binding:vif_details",
    ],
};

#[derive(Serialize)]
struct PortView {
    id: String,
    name: String,
    network_id: String,
    tenant_id: String,
    project_id: String,
    mac_address: String,
    admin_state_up: bool,
    status: &'static str,
    device_id: String,
    device_owner: String,
    fixed_ips: Vec<FixedIpView>,
    security_groups: Vec<SecurityGroupId>,
    port_security_enabled: bool,
    allowed_address_pairs: Vec<AddressPairView>,
    #[serde(rename = "binding:vnic_type")]
    vnic_type: &'static str,
    description: String,
    tags: Vec<String>,
    created_at: String,
    updated_at: String,
    revision_number: i64,
    #[serde(flatten)]
    binding: Option<BindingView>,
}

#[derive(Serialize)]
struct FixedIpView {
    subnet_id: SubnetId,
    ip_address: Ipv4Addr,
}

#[derive(Serialize)]
struct AddressPairView {
    mac_address: String,
    ip_address: String,
}

/// What only admins see.
#[derive(Serialize)]
struct BindingView {
    #[serde(rename = "binding:host_id")]
    host_id: String,
    #[serde(rename = "binding:profile")]
    profile: Value,
    #[serde(rename = "binding:vif_type")]
    vif_type: &'static str,
    #[serde(rename = "binding:vif_details")]
    vif_details: Value,
}

impl View for PortView {
    fn id(&self) -> String {
        self.id.clone()
    }
}

fn view(port: Port, actor: &Actor) -> PortView {
    let fixed_ip = |fixed: crate::core::port::FixedIp| FixedIpView {
        subnet_id: fixed.subnet_id,
        ip_address: fixed.address,
    };
    PortView {
        id: port.id.to_string(),
        name: port.name,
        network_id: port.network_id.to_string(),
        tenant_id: port.project_id.to_string(),
        project_id: port.project_id.to_string(),
        mac_address: port.mac.to_string(),
        admin_state_up: port.admin_state_up,
        status: port.status.as_str(),
        device_id: port.device_id,
        device_owner: port.device_owner,
        fixed_ips: port.fixed_ips.into_iter().map(fixed_ip).collect(),
        security_groups: port.security_groups,
        port_security_enabled: port.port_security_enabled,
        allowed_address_pairs: port.allowed_pairs.iter().map(pair_view).collect(),
        vnic_type: "normal",
        description: port.description,
        tags: port.tags,
        created_at: seconds_z(port.created_at),
        updated_at: seconds_z(port.updated_at),
        revision_number: port.revision,
        binding: actor.is_admin().then(|| BindingView {
            vif_type: if port.host_id.is_empty() { "unbound" } else { "bridge" },
            host_id: port.host_id,
            profile: json!({}),
            vif_details: json!({}),
        }),
    }
}

fn pair_view(pair: &AddressPair) -> AddressPairView {
    let single = pair.range.prefix_len() == 32;
    AddressPairView {
        mac_address: pair.mac.to_string(),
        ip_address: if single { pair.range.addr().to_string() } else { pair.range.to_string() },
    }
}

pub(super) async fn list(call: Call) -> Outcome {
    let listing = lists::listing(&call.query)?;
    let actor = call.actor()?;
    let found = call.state.services.networks.list_ports(actor, listing.clone()).await?;
    let views: Vec<PortView> = found.into_iter().map(|port| view(port, actor)).collect();
    lists::reply(&call, "ports", &listing, &views)
}

pub(super) async fn show(call: Call) -> Outcome {
    let id = id(&call, |text| port_not_found(text))?;
    let actor = call.actor()?;
    let port = call.state.services.networks.show_port(actor, id).await?;
    lists::reply_one(&call, StatusCode::OK, "port", &view(port, actor))
}

pub(super) async fn create(mut call: Call) -> Outcome {
    let (objects, bulk) = attributes::new_objects(&mut call, &SHAPE).await?;
    let wanted = objects.into_iter().map(new_port).collect::<Result<_>>()?;
    let actor = call.actor()?;
    let made = call.state.services.networks.create_ports(actor, wanted).await?;
    let views: Vec<PortView> = made.into_iter().map(|port| view(port, actor)).collect();
    lists::reply_created(&call, ("port", "ports"), bulk, &views)
}

pub(super) async fn update(mut call: Call) -> Outcome {
    let id = id(&call, |text| port_not_found(text))?;
    let mut given = attributes::changes(&mut call, &SHAPE).await?;
    check_binding(&mut given)?;
    let fixed_ips = fixed_ips(&mut given)?;
    let changes = PortChanges {
        name: given.text("name")?,
        description: given.text("description")?,
        admin_state_up: given.flag("admin_state_up")?,
        mac: mac(&mut given)?,
        fixed_ips,
        security_groups: given.list("security_groups", "UUID")?,
        port_security: given.flag("port_security_enabled")?,
        allowed_pairs: given.objects("allowed_address_pairs", pair)?,
        device_id: given.text("device_id")?,
        device_owner: given.text("device_owner")?,
        host_id: host_id(&mut given)?,
    };
    let actor = call.actor()?;
    let port = call.state.services.networks.update_port(actor, id, changes).await?;
    lists::reply_one(&call, StatusCode::OK, "port", &view(port, actor))
}

pub(super) async fn delete(call: Call) -> Outcome {
    let id = id(&call, |text| port_not_found(text))?;
    call.state.services.networks.delete_port(call.actor()?, id).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

fn new_port(mut given: Attributes) -> Result<NewPort> {
    check_binding(&mut given)?;
    let network_id = given.parsed("network_id", "UUID")?;
    Ok(NewPort {
        network_id: Attributes::required("network_id", network_id)?,
        project_id: given.project()?,
        name: given.text("name")?.unwrap_or_default(),
        description: given.text("description")?.unwrap_or_default(),
        admin_state_up: given.flag("admin_state_up")?.unwrap_or(true),
        mac: mac(&mut given)?,
        fixed_ips: fixed_ips(&mut given)?,
        security_groups: given.list("security_groups", "UUID")?,
        port_security: given.flag("port_security_enabled")?,
        allowed_pairs: given.objects("allowed_address_pairs", pair)?.unwrap_or_default(),
        device_id: given.text("device_id")?.unwrap_or_default(),
        device_owner: given.text("device_owner")?.unwrap_or_default(),
        host_id: host_id(&mut given)?,
    })
}

fn mac(given: &mut Attributes) -> Result<Option<Mac>> {
    given.parsed("mac_address", "MAC address")
}

/// Null unbinds, as an empty name does.
fn host_id(given: &mut Attributes) -> Result<Option<String>> {
    if given.is_null("binding:host_id") {
        given.take("binding:host_id");
        return Ok(Some(String::new()));
    }
    given.text("binding:host_id")
}

/// There is one kind of NIC, without options.
fn check_binding(given: &mut Attributes) -> Result<()> {
    if let Some(kind) = given.text("binding:vnic_type")?
        && kind != "normal"
    {
        return Err(bad(format!(
            "Invalid input for binding:vnic_type. Reason: '{kind}' is not in ['normal']."
        )));
    }
    match given.take("binding:profile") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(profile)) if profile.is_empty() => Ok(()),
        Some(_) => {
            Err(bad("Invalid input for binding:profile. Reason: bindings have no options in this cloud."))
        }
    }
}

fn fixed_ips(given: &mut Attributes) -> Result<Option<Vec<FixedIpRequest>>> {
    let mut not_v4: Option<Error> = None;
    let requests = given.objects("fixed_ips", |object| request(object, &mut not_v4))?;
    not_v4.map_or(Ok(requests), Err)
}

/// One wanted pair; `None` when it is malformed or not of IPv4, which is all that there is here.
fn pair(object: &Map<String, Value>) -> Option<AddressPairRequest> {
    let mut mac = None;
    let mut range = None;
    for (key, value) in object {
        match (key.as_str(), value) {
            ("mac_address", Value::Null) => {}
            ("mac_address", value) => mac = Some(value.as_str()?.parse().ok()?),
            ("ip_address", value) => range = Some(parse_range(value.as_str()?)?),
            _ => return None,
        }
    }
    Some(AddressPairRequest { mac, range: range? })
}

fn parse_range(text: &str) -> Option<Ipv4Net> {
    text.parse::<Ipv4Addr>().ok().map(Ipv4Net::from).or_else(|| text.parse().ok())
}

/// One wanted address; `None` when it is malformed. A well-formed address that no subnet can have is noted apart.
fn request(object: &Map<String, Value>, not_v4: &mut Option<Error>) -> Option<FixedIpRequest> {
    let mut request = FixedIpRequest { subnet_id: None, address: None };
    for (key, value) in object {
        let text = value.as_str()?;
        match key.as_str() {
            "subnet_id" => request.subnet_id = Some(text.parse().ok()?),
            "ip_address" => match text.parse().ok()? {
                IpAddr::V4(address) => request.address = Some(address),
                IpAddr::V6(address) => {
                    *not_v4 = Some(address_not_on_network(address));
                }
            },
            _ => return None,
        }
    }
    Some(request)
}
