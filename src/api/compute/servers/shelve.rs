//! Actions that shelve servers and bring them back.

use super::actions::accepted;
use crate::api::call::{Call, Outcome};
use crate::api::compute::changes::Input;
use crate::api::compute::schema::types::{ANYTHING, NAME, NULL, STRING};
use crate::api::compute::schema::{
    Object, Rule::AnyOf, Rule::Object as Keys, Rule::Types, Schema, Type, property, wire,
};
use crate::core::ids::ServerId;
use crate::core::service::servers::Destination;
use serde::Deserialize;
use serde_json::Value;

/// Until 2.76 the value says nothing; then it may name a zone, and from 2.91 on a host.
pub static UNSHELVE: Schema = Schema(&[
    Types(&[Type::Object]),
    Keys(&Object {
        input: Some(Input::ServerAction),
        properties: &[property("unshelve", &[&ANYTHING, &TO_ZONE, &TO_HOST])],
        required: &["unshelve"],
        open: false,
    }),
]);

const TO_ZONE: Schema = Schema(&[
    Types(&[Type::Object, Type::Null]),
    Keys(&Object {
        input: None,
        properties: &[property("availability_zone", &[&NAME])],
        required: &["availability_zone"],
        open: false,
    }),
]);

const TO_HOST: Schema = Schema(&[AnyOf(&[
    Schema(&[
        Types(&[Type::Object]),
        Keys(&Object {
            input: None,
            properties: &[
                property("availability_zone", &[&Schema(&[AnyOf(&[NULL, STRING])])]),
                property("host", &[&STRING]),
            ],
            required: &[],
            open: false,
        }),
    ]),
    NULL,
])]);

#[derive(Deserialize, Default)]
struct Unshelve {
    #[serde(default, deserialize_with = "wire::present")]
    availability_zone: Option<Option<String>>,
    host: Option<String>,
}

pub async fn shelve(call: Call, id: ServerId, _value: Value) -> Outcome {
    call.state.services.servers.shelve(call.actor()?, id).await?;
    Ok(accepted())
}

pub async fn shelve_offload(call: Call, id: ServerId, _value: Value) -> Outcome {
    call.state.services.servers.shelve_offload(call.actor()?, id).await?;
    Ok(accepted())
}

pub async fn unshelve(call: Call, id: ServerId, value: Value) -> Outcome {
    let wanted: Option<Unshelve> = if call.minor >= 77 { wire::read(value)? } else { None };
    let Unshelve { availability_zone, host } = wanted.unwrap_or_default();
    let to = Destination { zone: availability_zone, host };
    call.state.services.servers.unshelve(call.actor()?, id, to).await?;
    Ok(accepted())
}

pub async fn restore(call: Call, id: ServerId, _value: Value) -> Outcome {
    call.state.services.servers.restore(call.actor()?, id).await?;
    Ok(accepted())
}
