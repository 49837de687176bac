//! A server's interfaces: the ports that are plugged into its guest.

use super::{authorize, id};
use crate::api::call::{Call, Outcome, Reply};
use crate::api::compute::changes::{Input, Resource, shape};
use crate::api::compute::request;
use crate::api::compute::schema::Rule::{Items, MaxItems, MinItems, Object as Keys, Types};
use crate::api::compute::schema::query::NONE;
use crate::api::compute::schema::types::{IP_ADDRESS, TAG, UUID};
use crate::api::compute::schema::{Object, Schema, Type, property};
use crate::api::version::shape::{Shape, Writer};
use crate::core::ids::{NetworkId, PortId, SubnetId};
use crate::core::port::{FixedIp, NicRequest, Port};
use crate::core::{Error, Result};
use actix_web::http::StatusCode;
use serde::Deserialize;
use serde::ser::{Serialize, Serializer};
use std::net::{IpAddr, Ipv4Addr};

const FIXED_IP: Schema = Schema(&[
    Types(&[Type::Object]),
    Keys(&Object {
        input: None,
        properties: &[property("ip_address", &[&IP_ADDRESS])],
        required: &["ip_address"],
        open: false,
    }),
]);

/// One address, where there are any.
const FIXED_IPS: Schema = Schema(&[Types(&[Type::List]), Items(&FIXED_IP), MinItems(1), MaxItems(1)]);

static ATTACH: Schema = Schema(&[
    Types(&[Type::Object]),
    Keys(&Object {
        input: None,
        properties: &[property(
            "interfaceAttachment",
            &[&Schema(&[
                Types(&[Type::Object]),
                Keys(&Object {
                    input: Some(Input::InterfaceAttach),
                    properties: &[
                        property("net_id", &[&UUID]),
                        property("port_id", &[&UUID]),
                        property("fixed_ips", &[&FIXED_IPS]),
                        property("tag", &[&TAG]),
                    ],
                    required: &[],
                    open: false,
                }),
            ])],
        )],
        required: &[],
        open: false,
    }),
]);

pub struct InterfaceView<'a> {
    pub port: &'a Port,
    pub shape: &'static Shape,
}

impl<'a> InterfaceView<'a> {
    fn new(call: &Call, port: &'a Port) -> Self {
        Self { port, shape: shape(Resource::Interface, call.minor) }
    }
}

#[derive(serde::Serialize)]
struct AddressView<'a> {
    subnet_id: &'a SubnetId,
    ip_address: Ipv4Addr,
}

impl<'a> From<&'a FixedIp> for AddressView<'a> {
    fn from(fixed: &'a FixedIp) -> Self {
        Self { subnet_id: &fixed.subnet_id, ip_address: fixed.address }
    }
}

impl Serialize for InterfaceView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let port = self.port;
        let mut out = Writer::new(serializer.serialize_map(None)?, self.shape);
        out.field("net_id", &port.network_id)?;
        out.field("port_id", &port.id)?;
        out.field("mac_addr", &port.mac)?;
        out.field("port_state", port.status.as_str())?;
        out.field("fixed_ips", &port.fixed_ips.iter().map(AddressView::from).collect::<Vec<_>>())?;
        out.field("tag", &port.nic_tag)?;
        out.end()
    }
}

#[derive(serde::Serialize)]
struct All<'a> {
    #[serde(rename = "interfaceAttachments")]
    interfaces: Vec<InterfaceView<'a>>,
}

#[derive(serde::Serialize)]
struct One<'a> {
    #[serde(rename = "interfaceAttachment")]
    interface: InterfaceView<'a>,
}

pub async fn list(mut call: Call) -> Outcome {
    request::query(&mut call, &NONE)?;
    let id = id(&call)?;
    authorize(&call, id).await?;
    let ports = call.state.services.servers.interfaces(call.actor()?, id).await?;
    let interfaces = ports.iter().map(|port| InterfaceView::new(&call, port)).collect();
    Ok(Reply::json(StatusCode::OK, &All { interfaces })?)
}

pub async fn show(mut call: Call) -> Outcome {
    request::query(&mut call, &NONE)?;
    let id = id(&call)?;
    authorize(&call, id).await?;
    let port = call.state.services.servers.interface(call.actor()?, id, call.params.get("port")).await?;
    Ok(Reply::json(StatusCode::OK, &One { interface: InterfaceView::new(&call, &port) })?)
}

#[derive(Deserialize, Default)]
struct Body {
    #[serde(rename = "interfaceAttachment", default)]
    wanted: Wanted,
}

#[derive(Deserialize, Default)]
struct Wanted {
    net_id: Option<NetworkId>,
    port_id: Option<PortId>,
    #[serde(default)]
    fixed_ips: Vec<WantedAddress>,
    tag: Option<String>,
}

#[derive(Deserialize)]
struct WantedAddress {
    ip_address: IpAddr,
}

pub async fn attach(mut call: Call) -> Outcome {
    let Body { wanted } = request::body(&mut call, &ATTACH).await?;
    let id = id(&call)?;
    authorize(&call, id).await?;
    if wanted.net_id.is_some() && wanted.port_id.is_some() {
        return Err(Error::invalid("Must not input both network_id and port_id").into());
    }
    if !wanted.fixed_ips.is_empty() && wanted.net_id.is_none() {
        return Err(Error::invalid("Must input network_id when request IP address").into());
    }
    let request = NicRequest {
        network: wanted.net_id,
        port: wanted.port_id,
        fixed_ip: wanted.fixed_ips.first().map(|fixed| fixed.ip_address),
        tag: wanted.tag,
    };
    let port = call.state.services.servers.attach_interface(call.actor()?, id, request).await?;
    Ok(Reply::json(StatusCode::OK, &One { interface: InterfaceView::new(&call, &port) })?)
}

pub async fn detach(call: Call) -> Outcome {
    let id = id(&call)?;
    authorize(&call, id).await?;
    call.state.services.servers.detach_interface(call.actor()?, id, call.params.get("port")).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}
