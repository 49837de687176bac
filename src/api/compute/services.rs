//! `/os-services`: the three that Nova would have on this host. All of them are this process, so that switching one off is
//! a matter of what is said of it: a node whose `nova-compute` is disabled or forced down takes no more servers.

use super::changes::{Input, Resource, shape};
use super::request;
use super::schema::query::{Parameters, parameter};
use super::schema::types::{BOOLEAN, FQDN, STRING};
use super::schema::{Literal, Object, Rule, Schema, Type, property, wire};
use super::zones;
use crate::api::call::{Call, Outcome, Reply};
use crate::api::error::Fault;
use crate::api::version::shape::{Shape, Writer};
use crate::core::Error;
use crate::core::clock::micros_naive;
use crate::core::server::standing::{COMPUTE, SERVICES, ServiceChange, ServiceState, ServiceStatus};
use crate::core::service::node::NodeRows;
use actix_web::http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde::ser::{Serialize, Serializer};
use uuid::Uuid;

static LIST: Parameters = Parameters {
    input: Input::ServicesQuery,
    known: &[parameter("host", &[&STRING]), parameter("binary", &[&STRING])],
    kept_prefix: None,
};

const NAME: Schema = Schema(&[Rule::Types(&[Type::Text]), Rule::MinLength(1), Rule::MaxLength(255)]);

/// What is done to a service that is named by its host and program.
static ACTION: Schema = Schema(&[
    Rule::Types(&[Type::Object]),
    Rule::Object(&Object {
        input: Some(Input::ServiceAction),
        properties: &[
            property("host", &[&FQDN]),
            property("binary", &[&NAME]),
            property("disabled_reason", &[&NAME]),
            property("forced_down", &[&BOOLEAN]),
        ],
        required: &["host", "binary"],
        open: false,
    }),
]);

static UPDATE: Schema = Schema(&[
    Rule::Types(&[Type::Object]),
    Rule::Object(&Object {
        input: None,
        properties: &[
            property(
                "status",
                &[&Schema(&[
                    Rule::Types(&[Type::Text]),
                    Rule::OneOfLiterals(&[Literal::Text("enabled"), Literal::Text("disabled")]),
                ])],
            ),
            property("disabled_reason", &[&NAME]),
            property("forced_down", &[&BOOLEAN]),
        ],
        required: &[],
        open: false,
    }),
]);

/// Both ids of one thing: a number up to 2.52, a service's place in the list, and a UUID from 2.53 on.
#[derive(Clone, Copy)]
pub struct Ids {
    pub number: usize,
    pub uuid: Uuid,
}

impl Ids {
    /// Those of the service that runs guests.
    pub fn of_compute(rows: &NodeRows) -> Self {
        Self { number: SERVICES.len(), uuid: rows.id_of(COMPUTE) }
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

/// What administrators said a service is to be.
pub fn enabled_or_disabled(state: &ServiceState) -> &'static str {
    if state.disabled { "disabled" } else { "enabled" }
}

/// Whether a service lives: one that could not be reached could not answer, so it does unless it is to be taken for dead.
pub fn up_or_down(state: &ServiceState) -> &'static str {
    if state.forced_down { "down" } else { "up" }
}

pub struct ServiceView<'a> {
    pub binary: &'a str,
    pub ids: Ids,
    pub host: &'a str,
    pub zone: &'a str,
    pub state: &'a ServiceState,
    /// When it was last heard of.
    pub seen_at: Timestamp,
    pub shape: &'static Shape,
}

impl<'a> ServiceView<'a> {
    fn new(rows: &'a NodeRows, index: usize, call: &Call) -> Self {
        let binary = SERVICES[index];
        Self {
            binary,
            ids: Ids { number: index + 1, uuid: rows.id_of(binary) },
            host: &rows.name,
            zone: zones::of_service(rows, binary),
            state: &rows.services[index],
            seen_at: call.state.services.deps.clock.now(),
            shape: shape(Resource::Service, call.minor),
        }
    }
}

impl Serialize for ServiceView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = Writer::new(serializer.serialize_map(None)?, self.shape);
        out.field("id", &IdView { ids: self.ids, as_uuid: self.shape.newest("id") })?;
        out.field("binary", self.binary)?;
        out.field("host", self.host)?;
        out.field("zone", self.zone)?;
        out.field("status", enabled_or_disabled(self.state))?;
        out.field("state", up_or_down(self.state))?;
        out.field("updated_at", &micros_naive(self.seen_at))?;
        out.field("disabled_reason", &self.state.disabled_reason)?;
        out.field("forced_down", &self.state.forced_down)?;
        out.end()
    }
}

#[derive(serde::Serialize)]
struct Services<'a> {
    services: Vec<ServiceView<'a>>,
}

#[derive(serde::Serialize)]
struct One<T> {
    service: T,
}

pub async fn list(mut call: Call) -> Outcome {
    request::query(&mut call, &LIST)?;
    request::authorize(&call)?;
    let rows = call.state.services.node.rows().await?;
    let wanted = |name: &str, value: &str| call.query.get(name).is_none_or(|asked| asked == value);
    let services = (0..SERVICES.len())
        .map(|index| ServiceView::new(&rows, index, &call))
        .filter(|view| !view.state.removed && wanted("binary", view.binary) && wanted("host", view.host))
        .collect();
    Ok(Reply::json(StatusCode::OK, &Services { services })?)
}

#[derive(Deserialize)]
struct Action {
    host: String,
    binary: String,
    disabled_reason: Option<String>,
    #[serde(default, deserialize_with = "wire::maybe_flag")]
    forced_down: Option<bool>,
}

/// What is told of a service after something was done to it: what it was named by, and what was done.
#[derive(serde::Serialize)]
struct Acted {
    host: String,
    binary: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forced_down: Option<bool>,
}

/// `enable`, `disable`, `disable-log-reason` and, from 2.11 on, `force-down`.
pub async fn act(mut call: Call) -> Outcome {
    let Action { host, binary, disabled_reason, forced_down } = request::body(&mut call, &ACTION).await?;
    request::authorize(&call)?;
    let change = match call.params.get("id") {
        "enable" => ServiceChange { status: Some(ServiceStatus::Enabled), forced_down: None },
        "disable" => ServiceChange { status: Some(ServiceStatus::Disabled(None)), forced_down: None },
        "disable-log-reason" => {
            let reason = disabled_reason.ok_or_else(|| Error::invalid("Missing disabled reason field"))?;
            ServiceChange { status: Some(ServiceStatus::Disabled(Some(reason))), forced_down: None }
        }
        "force-down" if call.minor >= 11 => {
            let down = forced_down.ok_or_else(|| Error::invalid("Missing forced_down field"))?;
            ServiceChange { status: None, forced_down: Some(down) }
        }
        _ => return Err(Error::not_found("Unknown action").into()),
    };
    if binary != COMPUTE {
        return Err(only_compute(&binary).into());
    }
    let unmapped = || Error::not_found(format!("Host '{host}' is not mapped to any cell"));
    let node = &call.state.services.node;
    if host != node.name() {
        return Err(unmapped().into());
    }
    let (status, disabled_reason) = match &change.status {
        None => (None, None),
        Some(ServiceStatus::Enabled) => (Some("enabled"), None),
        Some(ServiceStatus::Disabled(reason)) => (Some("disabled"), reason.clone()),
    };
    let forced_down = change.forced_down;
    node.change_compute(change).await?.ok_or_else(unmapped)?;
    let service = Acted { host, binary, status, disabled_reason, forced_down };
    Ok(Reply::json(StatusCode::OK, &One { service })?)
}

fn only_compute(binary: &str) -> Error {
    Error::invalid(format!(
        "Updating a {binary} service is not supported. Only nova-compute services can be updated."
    ))
}

#[derive(Deserialize)]
struct Update {
    status: Option<String>,
    disabled_reason: Option<String>,
    #[serde(default, deserialize_with = "wire::maybe_flag")]
    forced_down: Option<bool>,
}

impl Update {
    fn change(self) -> Result<ServiceChange, Error> {
        let status = match self.status.as_deref() {
            None => None,
            Some("enabled") if self.disabled_reason.is_some() => {
                return Err(Error::invalid("Specifying 'disabled_reason' with status 'enabled' is invalid."));
            }
            Some("enabled") => Some(ServiceStatus::Enabled),
            Some(_) => Some(ServiceStatus::Disabled(self.disabled_reason)),
        };
        if status.is_none() && self.forced_down.is_none() {
            return Err(Error::invalid(
                "No updates were requested. Fields 'status' or 'forced_down' should be specified.",
            ));
        }
        Ok(ServiceChange { status, forced_down: self.forced_down })
    }
}

/// The id in the path, if it is a UUID.
fn uuid(call: &Call) -> Result<Uuid, Error> {
    let asked = call.params.get("id");
    Uuid::try_parse(asked).map_err(|_| Error::invalid(format!("Invalid uuid {asked}")))
}

/// The place in the list of the service that an id names at this version, if it names one that is there.
fn place(rows: &NodeRows, wanted: impl Fn(Ids) -> bool) -> Option<usize> {
    (0..SERVICES.len()).find(|&index| {
        let ids = Ids { number: index + 1, uuid: rows.id_of(SERVICES[index]) };
        wanted(ids) && !rows.services[index].removed
    })
}

/// A service by its UUID.
pub async fn update(mut call: Call) -> Outcome {
    let body: Update = request::body(&mut call, &UPDATE).await?;
    let asked = uuid(&call)?;
    request::authorize(&call)?;
    let node = &call.state.services.node;
    let unknown = || Error::not_found(format!("Service {} could not be found.", call.params.get("id")));
    let index = place(&node.rows().await?, |ids| ids.uuid == asked).ok_or_else(unknown)?;
    if SERVICES[index] != COMPUTE {
        return Err(only_compute(SERVICES[index]).into());
    }
    let rows = node.change_compute(body.change()?).await?.ok_or_else(unknown)?;
    Ok(Reply::json(StatusCode::OK, &One { service: ServiceView::new(&rows, index, &call) })?)
}

pub async fn delete(call: Call) -> Outcome {
    request::authorize(&call)?;
    let text = call.params.get("id");
    let node = &call.state.services.node;
    let rows = node.rows().await?;
    let found = if call.minor >= 53 {
        let asked = uuid(&call)?;
        place(&rows, |ids| ids.uuid == asked)
    } else {
        let asked = request::integer_id(&call)?;
        place(&rows, |ids| i64::try_from(ids.number) == Ok(asked))
    };
    let unknown = || Fault::from(Error::not_found(format!("Service {text} not found.")));
    let index = found.ok_or_else(unknown)?;
    if !node.remove_service(SERVICES[index]).await? {
        return Err(unknown());
    }
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}
