//! `/os-aggregates`: groups of hosts, whose zone and metadata administrators choose.

use super::changes::{Resource, shape};
use super::request;
use super::schema::types::{FQDN, METADATA_KEY, NAME, NULL, PADDED_NAME, UUID};
use super::schema::{self, Format, Object, Rule, Schema, Type, property, property_with_legacy, query, wire};
use crate::api::call::{Call, Outcome, Reply};
use crate::api::version::shape::{Shape, Writer};
use crate::core::Error;
use crate::core::aggregate::{Aggregate, ZONE};
use crate::core::clock::micros_naive;
use crate::core::ids::ImageId;
use crate::core::policy;
use crate::core::service::aggregates::{AggregateChange, Attempt};
use actix_web::http::StatusCode;
use serde::Deserialize;
use serde::ser::{Serialize, Serializer};
use std::collections::BTreeMap;

const ZONE_OR_NULL: Schema = Schema(&[Rule::AnyOf(&[
    Schema(&[
        Rule::Types(&[Type::Text]),
        Rule::MinLength(1),
        Rule::MaxLength(255),
        Rule::Format(Format::ZoneName),
    ]),
    NULL,
])]);

/// Padded, as at `/v2`.
const PADDED_ZONE_OR_NULL: Schema = Schema(&[Rule::AnyOf(&[
    Schema(&[
        Rule::Types(&[Type::Text]),
        Rule::MinLength(1),
        Rule::MaxLength(255),
        Rule::Pattern("^[^:]*$"),
        Rule::Format(Format::PaddedName),
    ]),
    NULL,
])]);

/// A table of one key, whose value is this object.
macro_rules! around {
    ($key:literal, $inner:expr) => {
        Schema(&[
            Rule::Types(&[Type::Object]),
            Rule::Object(&Object {
                input: None,
                properties: &[property($key, &[&$inner])],
                required: &[$key],
                open: false,
            }),
        ])
    };
}

static CREATE: Schema = around!(
    "aggregate",
    Schema(&[
        Rule::Types(&[Type::Object]),
        Rule::Object(&Object {
            input: None,
            properties: &[
                property_with_legacy("name", &[&NAME], &PADDED_NAME),
                property_with_legacy("availability_zone", &[&ZONE_OR_NULL], &PADDED_ZONE_OR_NULL),
            ],
            required: &["name"],
            open: false,
        }),
    ])
);

/// Any object with the key.
macro_rules! has {
    ($key:literal) => {
        Schema(&[Rule::Object(&Object { input: None, properties: &[], required: &[$key], open: true })])
    };
}

static UPDATE: Schema = around!(
    "aggregate",
    Schema(&[
        Rule::Types(&[Type::Object]),
        Rule::Object(&Object {
            input: None,
            properties: &[
                property("name", &[&PADDED_NAME]),
                property_with_legacy("availability_zone", &[&ZONE_OR_NULL], &PADDED_ZONE_OR_NULL),
            ],
            required: &[],
            open: false,
        }),
        Rule::AnyOf(&[has!("name"), has!("availability_zone")]),
    ])
);

static ADD_HOST: Schema = around!("add_host", around!("host", FQDN));
static REMOVE_HOST: Schema = around!("remove_host", around!("host", FQDN));
static SET_METADATA: Schema = around!(
    "set_metadata",
    around!(
        "metadata",
        Schema(&[
            Rule::Types(&[Type::Object]),
            Rule::Entries(
                METADATA_KEY,
                &Schema(&[Rule::Types(&[Type::Text, Type::Null]), Rule::MaxLength(255)]),
            ),
        ])
    )
);
static IMAGES: Schema = around!(
    "cache",
    Schema(&[Rule::Types(&[Type::List]), Rule::MinItems(1), Rule::Items(&around!("id", UUID))])
);

pub struct AggregateView<'a> {
    pub aggregate: &'a Aggregate,
    /// Whether hosts and metadata are told. They are not of an aggregate that was just made.
    pub whole: bool,
    pub shape: &'static Shape,
}

impl Serialize for AggregateView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let aggregate = self.aggregate;
        let mut out = Writer::new(serializer.serialize_map(None)?, self.shape);
        out.field("id", &aggregate.number)?;
        out.field("uuid", &aggregate.uuid)?;
        out.field("name", &aggregate.name)?;
        out.field("availability_zone", &aggregate.zone())?;
        if self.whole {
            out.field("hosts", &aggregate.hosts)?;
            out.field("metadata", &aggregate.metadata)?;
        }
        out.field("created_at", &micros_naive(aggregate.created_at))?;
        out.field("updated_at", &aggregate.updated_at.map(micros_naive))?;
        // What is deleted is gone.
        out.field("deleted", &false)?;
        out.field("deleted_at", &None::<()>)?;
        out.end()
    }
}

#[derive(serde::Serialize)]
struct One<'a> {
    aggregate: AggregateView<'a>,
}

#[derive(serde::Serialize)]
struct List<'a> {
    aggregates: Vec<AggregateView<'a>>,
}

fn answer(call: &Call, aggregate: &Aggregate, whole: bool) -> Outcome {
    let shape = shape(Resource::Aggregate, call.minor);
    Ok(Reply::json(StatusCode::OK, &One { aggregate: AggregateView { aggregate, whole, shape } })?)
}

pub async fn list(mut call: Call) -> Outcome {
    request::query(&mut call, &query::NONE)?;
    request::authorize(&call)?;
    let found = call.state.services.aggregates.list().await?;
    let shape = shape(Resource::Aggregate, call.minor);
    let aggregates = found.iter().map(|aggregate| AggregateView { aggregate, whole: true, shape }).collect();
    Ok(Reply::json(StatusCode::OK, &List { aggregates })?)
}

#[derive(Deserialize)]
struct Body<T> {
    aggregate: T,
}

#[derive(Deserialize)]
struct New {
    name: String,
    availability_zone: Option<String>,
}

pub async fn create(mut call: Call) -> Outcome {
    let Body::<New> { aggregate } = request::body(&mut call, &CREATE).await?;
    request::authorize(&call)?;
    let zone = aggregate.availability_zone.map(|zone| zone.trim().to_owned());
    let name = aggregate.name.trim().to_owned();
    let made = call.state.services.aggregates.create(name, zone).await?;
    answer(&call, &made, false)
}

pub async fn show(mut call: Call) -> Outcome {
    request::query(&mut call, &query::NONE)?;
    request::authorize(&call)?;
    let id = request::integer_id(&call)?;
    let found = call.state.services.aggregates.get(id).await?;
    answer(&call, &found, true)
}

#[derive(Deserialize)]
struct Update {
    name: Option<String>,
    #[serde(default, deserialize_with = "wire::present")]
    availability_zone: Option<Option<String>>,
}

pub async fn update(mut call: Call) -> Outcome {
    let Body::<Update> { aggregate } = request::body(&mut call, &UPDATE).await?;
    request::authorize(&call)?;
    let id = request::integer_id(&call)?;
    let change = AggregateChange {
        name: aggregate.name.map(|name| name.trim().to_owned()),
        metadata: aggregate.availability_zone.into_iter().map(|zone| (ZONE.to_owned(), zone)).collect(),
    };
    let changed = call.state.services.aggregates.change(id, change, Attempt::Update).await?;
    answer(&call, &changed, true)
}

pub async fn delete(call: Call) -> Outcome {
    request::authorize(&call)?;
    let id = request::integer_id(&call)?;
    call.state.services.aggregates.delete(id).await?;
    Ok(Reply::empty(StatusCode::OK))
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    AddHost { host: String },
    RemoveHost { host: String },
    SetMetadata { metadata: BTreeMap<String, Option<String>> },
}

/// `add_host`, `remove_host` and `set_metadata`.
pub async fn act(mut call: Call) -> Outcome {
    let mut value = request::json(&mut call).await?;
    let name = schema::single_key(&value)?.to_owned();
    let (table, rule) = match name.as_str() {
        "add_host" => (&ADD_HOST, policy::Rule::Admin("os_compute_api:os-aggregates:add_host")),
        "remove_host" => (&REMOVE_HOST, policy::Rule::Admin("os_compute_api:os-aggregates:remove_host")),
        "set_metadata" => (&SET_METADATA, policy::Rule::Admin("os_compute_api:os-aggregates:set_metadata")),
        _ => return Err(Error::invalid(format!("There is no such action: {name}")).into()),
    };
    schema::body(table, &mut value, request::context(&call))?;
    call.rule = rule;
    request::authorize(&call)?;
    let id = request::integer_id(&call)?;
    let aggregates = &call.state.services.aggregates;
    let changed = match wire::read(value)? {
        Action::AddHost { host } => aggregates.add_host(id, host).await?,
        Action::RemoveHost { host } => aggregates.remove_host(id, host).await?,
        Action::SetMetadata { metadata } => {
            let change = AggregateChange { name: None, metadata };
            aggregates.change(id, change, Attempt::UpdateMetadata).await?
        }
    };
    answer(&call, &changed, true)
}

#[derive(Deserialize)]
struct Images {
    cache: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    id: ImageId,
}

/// Has images made ready on the hosts.
pub async fn images(mut call: Call) -> Outcome {
    let body: Images = request::body(&mut call, &IMAGES).await?;
    request::authorize(&call)?;
    let id = request::integer_id(&call)?;
    let wanted = body.cache.into_iter().map(|image| image.id).collect();
    call.state.services.aggregates.prefetch(call.actor()?, id, wanted).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}
