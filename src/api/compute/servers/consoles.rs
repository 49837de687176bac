//! Consoles of servers: URLs that open them, by actions up to 2.5 and by a resource from 2.6 on.

use super::{authorize, id, tables};
use crate::api::call::{Call, Outcome, Reply};
use crate::api::compute::request;
use crate::api::compute::schema::wire;
use crate::api::console;
use crate::core::Error;
use crate::core::console::{ConsoleKind, unavailable};
use crate::core::ids::ServerId;
use crate::core::policy::Rule;
use actix_web::http::StatusCode;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub const RULE: Rule = Rule::Member("os_compute_api:os-remote-consoles");

#[derive(Deserialize)]
struct Wanted {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Serialize)]
struct Console<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    url: String,
}

#[derive(Serialize)]
struct ActionAnswer<'a> {
    console: Console<'a>,
}

/// A URL that opens the console, for as long as its token lives.
async fn url(call: &Call, id: ServerId, protocol: &str, kind: &str) -> Result<String, Error> {
    let (kind, token) = call.state.services.consoles.issue(call.actor()?, id, protocol, kind).await?;
    Ok(console::url(&call.base, kind, token.expose_secret()))
}

async fn answer(call: Call, id: ServerId, protocol: &str, value: Value) -> Outcome {
    let Wanted { kind } = wire::read(value)?;
    let url = url(&call, id, protocol, &kind).await?;
    Ok(Reply::json(StatusCode::OK, &ActionAnswer { console: Console { kind: &kind, url } })?)
}

pub async fn vnc(call: Call, id: ServerId, value: Value) -> Outcome {
    answer(call, id, "vnc", value).await
}

pub async fn spice(call: Call, id: ServerId, value: Value) -> Outcome {
    answer(call, id, "spice", value).await
}

pub async fn serial(call: Call, id: ServerId, value: Value) -> Outcome {
    answer(call, id, "serial", value).await
}

/// Nobody has these any more, whatever the server.
pub async fn rdp(_call: Call, _id: ServerId, value: Value) -> Outcome {
    let Wanted { kind } = wire::read(value)?;
    match ConsoleKind::of("rdp", &kind) {
        Err(refused) => Err(refused.into()),
        Ok(_) => Err(Error::internal("an RDP console exists").into()),
    }
}

#[derive(Deserialize)]
struct Body {
    remote_console: RemoteWanted,
}

#[derive(Deserialize)]
struct RemoteWanted {
    protocol: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Serialize)]
struct Remote<'a> {
    protocol: &'a str,
    #[serde(flatten)]
    console: Console<'a>,
}

#[derive(Serialize)]
struct RemoteAnswer<'a> {
    remote_console: Remote<'a>,
}

pub async fn create(mut call: Call) -> Outcome {
    let Body { remote_console: RemoteWanted { protocol, kind } } =
        request::body(&mut call, &tables::REMOTE_CONSOLE).await?;
    let id = id(&call)?;
    authorize(&call, id).await?;
    if protocol == "rdp" {
        return Err(unavailable(&protocol).into());
    }
    let url = url(&call, id, &protocol, &kind).await?;
    let console = Console { kind: &kind, url };
    let remote_console = Remote { protocol: &protocol, console };
    Ok(Reply::json(StatusCode::OK, &RemoteAnswer { remote_console })?)
}
