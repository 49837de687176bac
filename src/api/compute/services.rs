//! `/os-services`: the three that Nova would have on this host. All of them are this process.

use super::changes::{Input, Resource, shape};
use super::request;
use super::schema::query::{Parameters, parameter};
use super::schema::types::STRING;
use crate::api::call::{Call, Outcome, Reply};
use crate::api::version::shape::{Shape, Writer};
use crate::core::clock::micros_naive;
use crate::core::service::node::NodeRows;
use actix_web::http::StatusCode;
use jiff::Timestamp;
use serde::ser::{Serialize, Serializer};
use uuid::Uuid;

static LIST: Parameters = Parameters {
    input: Input::ServicesQuery,
    known: &[parameter("host", &[&STRING]), parameter("binary", &[&STRING])],
    kept_prefix: None,
};

/// The program that runs guests.
pub const COMPUTE: &str = "nova-compute";

/// The id of a service before it was a UUID: its place in this list, from 1.
const BINARIES: [&str; 3] = ["nova-scheduler", "nova-conductor", COMPUTE];

/// Both ids of one thing: a number up to 2.52, a UUID from 2.53 on.
#[derive(Clone, Copy)]
pub struct Ids {
    pub number: usize,
    pub uuid: Uuid,
}

impl Ids {
    /// Those of the service that runs guests.
    pub fn of_compute(rows: &NodeRows) -> Self {
        Self { number: BINARIES.len(), uuid: rows.id_of(COMPUTE) }
    }
}

/// One id in the form of the version.
pub struct IdView {
    pub ids: Ids,
    pub as_uuid: bool,
}

impl Serialize for IdView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.as_uuid { self.ids.uuid.serialize(serializer) } else { self.ids.number.serialize(serializer) }
    }
}

pub struct ServiceView<'a> {
    pub binary: &'a str,
    pub ids: Ids,
    pub host: &'a str,
    pub zone: &'a str,
    /// When it was last heard of.
    pub seen_at: Timestamp,
    pub shape: &'static Shape,
}

impl Serialize for ServiceView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = Writer::new(serializer.serialize_map(None)?, self.shape);
        out.field("id", &IdView { ids: self.ids, as_uuid: self.shape.newest("id") })?;
        out.field("binary", self.binary)?;
        out.field("host", self.host)?;
        out.field("zone", self.zone)?;
        // A service that could not be reached could not answer.
        out.field("status", "enabled")?;
        out.field("state", "up")?;
        out.field("updated_at", &micros_naive(self.seen_at))?;
        out.field("disabled_reason", &None::<()>)?;
        out.field("forced_down", &false)?;
        out.end()
    }
}

#[derive(serde::Serialize)]
struct Services<'a> {
    services: Vec<ServiceView<'a>>,
}

pub async fn list(mut call: Call) -> Outcome {
    request::query(&mut call, &LIST)?;
    request::authorize(&call)?;
    let rows = call.state.services.node.rows().await?;
    let shape = shape(Resource::Service, call.minor);
    let seen_at = call.state.services.deps.clock.now();
    let wanted = |name: &str, value: &str| call.query.get(name).is_none_or(|asked| asked == value);
    let services = BINARIES
        .iter()
        .enumerate()
        .filter(|(_, binary)| wanted("binary", binary) && wanted("host", &rows.name))
        .map(|(index, binary)| ServiceView {
            binary,
            ids: Ids { number: index + 1, uuid: rows.id_of(binary) },
            host: &rows.name,
            zone: if *binary == COMPUTE { &rows.zone } else { "internal" },
            seen_at,
            shape,
        })
        .collect();
    Ok(Reply::json(StatusCode::OK, &Services { services })?)
}
