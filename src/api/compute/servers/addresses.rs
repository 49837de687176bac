//! Actions that give servers addresses and take them, which end with microversion 2.43.

use super::actions::accepted;
use crate::api::call::{Call, Outcome};
use crate::api::compute::schema::Rule::{MaxLength, MinLength, Object as Keys, Types};
use crate::api::compute::schema::types::IP_ADDRESS;
use crate::api::compute::schema::{Object, Schema, Type, property, wire};
use crate::core::ids::ServerId;
use serde::Deserialize;
use serde_json::Value;
use std::net::IpAddr;

/// An action whose value has these keys.
macro_rules! body {
    ($action:literal, $required:literal, [$($property:expr),*]) => {
        Schema(&[
            Types(&[Type::Object]),
            Keys(&Object {
                input: None,
                properties: &[property(
                    $action,
                    &[&Schema(&[
                        Types(&[Type::Object]),
                        Keys(&Object {
                            input: None,
                            properties: &[$($property),*],
                            required: &[$required],
                            open: false,
                        }),
                    ])],
                )],
                required: &[$action],
                open: false,
            }),
        ])
    };
}

const NETWORK_ID: Schema = Schema(&[Types(&[Type::Text, Type::Number]), MinLength(1), MaxLength(36)]);

pub static ADD_FIXED: Schema = body!("addFixedIp", "networkId", [property("networkId", &[&NETWORK_ID])]);
pub static REMOVE_FIXED: Schema = body!("removeFixedIp", "address", [property("address", &[&IP_ADDRESS])]);
pub static ADD_FLOATING: Schema = body!(
    "addFloatingIp",
    "address",
    [property("address", &[&IP_ADDRESS]), property("fixed_address", &[&IP_ADDRESS])]
);
pub static REMOVE_FLOATING: Schema =
    body!("removeFloatingIp", "address", [property("address", &[&IP_ADDRESS])]);

#[derive(Deserialize)]
struct Network {
    #[serde(rename = "networkId")]
    id: Value,
}

#[derive(Deserialize)]
struct Fixed {
    address: IpAddr,
}

#[derive(Deserialize)]
struct Floating {
    address: String,
    fixed_address: Option<IpAddr>,
}

pub async fn add_fixed(call: Call, id: ServerId, value: Value) -> Outcome {
    let network: Network = wire::read(value)?;
    let network = network.id.as_str().map_or_else(|| network.id.to_string(), str::to_owned);
    call.state.services.servers.add_fixed_ip(call.actor()?, id, network).await?;
    Ok(accepted())
}

pub async fn remove_fixed(call: Call, id: ServerId, value: Value) -> Outcome {
    let fixed: Fixed = wire::read(value)?;
    call.state.services.servers.remove_fixed_ip(call.actor()?, id, fixed.address).await?;
    Ok(accepted())
}

pub async fn add_floating(call: Call, id: ServerId, value: Value) -> Outcome {
    let wanted: Floating = wire::read(value)?;
    call.state.services.servers.add_floating_ip(call.actor()?, id, wanted.fixed_address).await?;
    Ok(accepted())
}

pub async fn remove_floating(call: Call, id: ServerId, value: Value) -> Outcome {
    let wanted: Floating = wire::read(value)?;
    call.state.services.servers.remove_floating_ip(call.actor()?, id, &wanted.address).await?;
    Ok(accepted())
}
