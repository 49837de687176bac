//! `POST /os-server-external-events`: what other services tell of servers.

use super::changes::Input;
use super::request;
use super::schema::types::UUID;
use super::schema::{Literal, Object, Rule, Schema, Type, property};
use crate::api::call::{Call, Outcome, Reply};
use crate::core::Error;
use crate::core::ids::ServerId;
use crate::core::service::servers::Told;
use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};

/// The names in the order in which they came, cut to how many there are at a version.
const NAMES: &[Literal] = &[
    Literal::Text("network-changed"),
    Literal::Text("network-vif-plugged"),
    Literal::Text("network-vif-unplugged"),
    Literal::Text("network-vif-deleted"),
    Literal::Text("volume-extended"),
    Literal::Text("power-update"),
    Literal::Text("accelerator-request-bound"),
    Literal::Text("volume-reimaged"),
];

macro_rules! first_names {
    ($($form:ident = $count:literal),*) => {
        $(const $form: Schema = {
            const KNOWN: &[Literal] = NAMES.split_at($count).0;
            Schema(&[Rule::Types(&[Type::Text]), Rule::OneOfLiterals(KNOWN)])
        };)*
    };
}

first_names!(NAME = 4, NAME_51 = 5, NAME_76 = 6, NAME_82 = 7, NAME_93 = 8);

const STATUS: Schema = Schema(&[
    Rule::Types(&[Type::Text]),
    Rule::OneOfLiterals(&[Literal::Text("failed"), Literal::Text("completed"), Literal::Text("in-progress")]),
]);

const TAG: Schema = Schema(&[Rule::Types(&[Type::Text]), Rule::MaxLength(255)]);

const EVENT: Schema = Schema(&[
    Rule::Types(&[Type::Object]),
    Rule::Object(&Object {
        input: Some(Input::ExternalEvent),
        properties: &[
            property("server_uuid", &[&UUID]),
            property("name", &[&NAME, &NAME_51, &NAME_76, &NAME_82, &NAME_93]),
            property("status", &[&STATUS]),
            property("tag", &[&TAG]),
        ],
        required: &["server_uuid", "name"],
        open: false,
    }),
]);

static CREATE: Schema = Schema(&[
    Rule::Types(&[Type::Object]),
    Rule::Object(&Object {
        input: None,
        properties: &[property(
            "events",
            &[&Schema(&[Rule::Types(&[Type::List]), Rule::MinItems(1), Rule::Items(&EVENT)])],
        )],
        required: &["events"],
        open: false,
    }),
]);

/// Events that say nothing without a tag.
const TAGGED: [&str; 3] = ["volume-extended", "power-update", "accelerator-request-bound"];

#[derive(Deserialize)]
struct Body {
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    server_uuid: ServerId,
    name: String,
    tag: Option<String>,
}

#[derive(Serialize)]
struct Answer {
    events: Vec<Answered>,
}

#[derive(Serialize)]
struct Answered {
    name: String,
    server_uuid: ServerId,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    status: &'static str,
    code: u16,
}

pub async fn create(mut call: Call) -> Outcome {
    let body: Body = request::body(&mut call, &CREATE).await?;
    request::authorize(&call)?;
    let servers = body.events.iter().map(|event| event.server_uuid).collect();
    let reach = call.state.services.servers.reach(servers).await?;
    let answered = |event: Event| {
        let code = match reach.get(&event.server_uuid) {
            None | Some(Told::Unknown) => 404,
            Some(_) if event.tag.is_none() && TAGGED.contains(&event.name.as_str()) => 400,
            Some(Told::NoHost) => 422,
            Some(Told::Delivered) => 200,
        };
        tracing::info!(server_id = %event.server_uuid, event = event.name, tag = event.tag, code, "told of a server");
        Answered {
            name: event.name,
            server_uuid: event.server_uuid,
            tag: event.tag,
            status: if code == 200 { "completed" } else { "failed" },
            code,
        }
    };
    let events: Vec<_> = body.events.into_iter().map(answered).collect();
    if events.iter().all(|event| event.code != 200) {
        return Err(Error::not_found("No instances found for any event").into());
    }
    let all = events.iter().all(|event| event.code == 200);
    let status = if all { StatusCode::OK } else { StatusCode::MULTI_STATUS };
    Ok(Reply::json(status, &Answer { events })?)
}
