//! `os-instance-actions`: what was asked of a server, and what came of it.

use super::{authorize, id};
use crate::api::call::{Call, Outcome, Reply};
use crate::api::compute::changes::{Input, Resource, shape};
use crate::api::compute::links::{self, NextLink};
use crate::api::compute::request;
use crate::api::compute::schema::iso8601;
use crate::api::compute::schema::query::{LIMIT, MARKER, NONE, Parameters, single};
use crate::api::compute::schema::types::DATE_TIME;
use crate::api::version::shape::{Shape, Writer};
use crate::core::Error;
use crate::core::clock::micros_naive;
use crate::core::ids::ProjectId;
use crate::core::server::{ActionEvent, ActionRecord, host_id};
use crate::core::service::servers::{ActionQuery, Among};
use actix_web::http::StatusCode;
use serde::Serialize;
use serde::ser::Serializer;

static LIST: Parameters = Parameters {
    input: Input::ActionsQuery,
    known: &[LIMIT, MARKER, single("changes-since", &[&DATE_TIME]), single("changes-before", &[&DATE_TIME])],
    kept_prefix: None,
};

/// An action, with its events where one is asked for.
pub struct ActionView<'a> {
    pub action: &'a ActionRecord,
    pub events: Option<Vec<EventView<'a>>>,
    pub shape: &'static Shape,
}

impl Serialize for ActionView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let action = self.action;
        let mut out = Writer::new(serializer.serialize_map(None)?, self.shape);
        out.field("action", &action.action)?;
        out.field("instance_uuid", &action.server_id)?;
        out.field("request_id", &action.request_id)?;
        out.field("user_id", &action.user_id)?;
        out.field("project_id", &action.project_id)?;
        out.field("start_time", &micros_naive(action.started_at))?;
        out.field("message", &action.message)?;
        out.field("updated_at", &micros_naive(action.updated_at))?;
        out.optional("events", self.events.as_ref())?;
        out.end()
    }
}

pub struct EventView<'a> {
    pub event: &'a ActionEvent,
    pub project: &'a ProjectId,
    pub admin: bool,
    pub shape: &'static Shape,
}

impl Serialize for EventView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = self.event;
        let mut out = Writer::new(serializer.serialize_map(None)?, self.shape);
        out.field("event", &event.event)?;
        out.field("start_time", &micros_naive(event.started_at))?;
        out.field("finish_time", &event.finished_at.map(micros_naive))?;
        out.field("result", &event.result)?;
        out.field("hostId", &host_id(self.project, event.host.as_deref()))?;
        if self.admin {
            out.field("traceback", &event.traceback)?;
            out.field("host", &event.host)?;
            out.field("details", &event.details)?;
        }
        out.end()
    }
}

pub struct Page<'a> {
    pub actions: &'a [ActionRecord],
    pub links: Option<[NextLink; 1]>,
    pub minor: u16,
}

impl Serialize for Page<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let one = shape(Resource::ActionSummary, self.minor);
        let view = |action| ActionView { action, events: None, shape: one };
        let list = shape(Resource::ActionList, self.minor);
        let mut out = Writer::new(serializer.serialize_map(None)?, list);
        out.field("instanceActions", &self.actions.iter().map(view).collect::<Vec<_>>())?;
        out.optional("links", self.links.as_ref())?;
        out.end()
    }
}

#[derive(Serialize)]
struct One<'a> {
    #[serde(rename = "instanceAction")]
    action: ActionView<'a>,
}

/// Deleted servers have a history too, from 2.21 on.
fn among(call: &Call) -> Among {
    if call.minor >= 21 { Among::All } else { Among::Living }
}

pub async fn list(mut call: Call) -> Outcome {
    request::query(&mut call, &LIST)?;
    let id = id(&call)?;
    authorize(&call, id).await?;
    let (limit, marker) = request::page(&call)?;
    // Before there were pages, the list was whole.
    let limit = if call.minor >= 58 { limit } else { usize::MAX };
    let time = |name: &str| call.query.get(name).and_then(iso8601::parse);
    let (changes_since, changes_before) = (time("changes-since"), time("changes-before"));
    if let (Some(since), Some(before)) = (changes_since, changes_before)
        && since > before
    {
        return Err(Error::invalid(
            "The value of changes-since must be less than or equal to changes-before.",
        )
        .into());
    }
    let query = ActionQuery { limit, marker, changes_since, changes_before };
    let actions = call.state.services.servers.actions(call.actor()?, id, among(&call), query).await?;
    let last = actions.last().map(|action| action.request_id.as_str());
    let links = links::next(&call, actions.len(), limit, last);
    Ok(Reply::json(StatusCode::OK, &Page { actions: &actions, links, minor: call.minor })?)
}

pub async fn show(mut call: Call) -> Outcome {
    request::query(&mut call, &NONE)?;
    let id = id(&call)?;
    authorize(&call, id).await?;
    let actor = call.actor()?;
    let request = call.params.get("request");
    let (action, events) = call.state.services.servers.action(actor, id, among(&call), request).await?;
    let server = call.state.services.servers.find(actor, id, Among::All).await?;
    let of_action = shape(Resource::Action, call.minor);
    let of_event = shape(Resource::ActionEvent, call.minor);
    // Administrators always saw the events, others see them since they have lost what is confidential.
    let shown = actor.is_admin() || of_action.newest("events");
    let events = shown.then(|| {
        events
            .iter()
            .map(|event| EventView {
                event,
                project: &server.project_id,
                admin: actor.is_admin(),
                shape: of_event,
            })
            .collect()
    });
    let view = ActionView { action: &action, events, shape: of_action };
    Ok(Reply::json(StatusCode::OK, &One { action: view })?)
}
