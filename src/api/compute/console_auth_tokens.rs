//! `/os-console-auth-tokens`: what a console's token opens, for administrators who run a proxy of their own.

use super::changes::Input;
use super::request;
use super::schema::query::Parameters;
use crate::api::call::{Call, Outcome, Reply};
use crate::core::Error;
use crate::core::ids::ServerId;
use actix_web::http::{StatusCode, Uri};
use serde::Serialize;

static QUERY: Parameters = Parameters { input: Input::ConsoleTokenQuery, known: &[], kept_prefix: None };

/// Where the console is to be had. Displays and serial ports listen nowhere by themselves: the only way in is this
/// program, so it is its own address that is told.
#[derive(Serialize)]
struct Place<'a> {
    instance_uuid: ServerId,
    host: &'a str,
    port: u16,
    internal_access_path: Option<&'a str>,
}

#[derive(Serialize)]
struct Answer<'a> {
    console: Place<'a>,
}

/// What older versions answered for RDP consoles, which nobody has any more.
pub async fn refuse(_call: Call) -> Outcome {
    Err(Error::invalid(
        "The server could not comply with the request since it is either malformed or otherwise incorrect.",
    )
    .into())
}

pub async fn show(mut call: Call) -> Outcome {
    request::query(&mut call, &QUERY)?;
    request::authorize(&call)?;
    let found = call.state.services.consoles.look_up(call.params.get("token")).await?;
    let Some((instance_uuid, _)) = found else { return Err(Error::not_found("Token not found").into()) };
    let base: Uri = call.base.parse().map_err(Error::internal)?;
    let port = base.port_u16().unwrap_or(if base.scheme_str() == Some("https") { 443 } else { 80 });
    let host = base.host().unwrap_or_default();
    let console = Place { instance_uuid, host, port, internal_access_path: None };
    Ok(Reply::json(StatusCode::OK, &Answer { console })?)
}
