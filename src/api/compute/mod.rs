//! The compute API: Nova's, version 2.1 with its microversions, and the older mount `/v2` of the same operations.
//!
//! ```text
//!   serve        mounts, token, version, media type, route: what no handler has to ask again
//!   routes       the table of operations with their windows and rules
//!   changes      THE ledger of microversions; views and schemas follow it
//!   request      body, query and policy, in the order in which handlers need them
//! ```
//!
//! Views write themselves through the shape of their version; nothing builds a tree of JSON values to answer.

mod aggregates;
mod audit_log;
mod baremetal;
pub mod changes;
mod console_auth_tokens;
mod extensions;
mod external_events;
mod flavors;
mod gone;
mod hosts;
mod hypervisors;
mod image_metadata;
#[cfg(test)]
mod image_tests;
mod images;
mod keypairs;
mod limits;
pub mod links;
mod migrations;
mod networks;
mod quotas;
pub mod request;
mod routes;
pub mod schema;
mod security_groups;
mod server_groups;
mod servers;
mod services;
#[cfg(test)]
mod tests;
mod usage;
mod versions;
mod zones;

use super::call::{Call, Outcome};
use super::error::{Dialect, Fault};
use super::router::Match;
use super::version::Microversion;
use super::{State, context, pipeline};
use crate::core::ids::RequestId;
use crate::core::{Error, Kind};
use actix_web::http::Method;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use changes::RANGE;
use tracing::Instrument;

/// Answers one request for a path that belongs to no other API.
pub async fn serve(state: State, request: HttpRequest, payload: Payload) -> HttpResponse {
    let request_id = RequestId::fresh();
    let call = Call::new(state, &request, request_id.clone(), payload);
    let path = without_secret(&call.path);
    let span = tracing::info_span!("request", id = %request_id, method = %call.method, path = %path);
    let base = call.base.clone();
    let mut agreed = Agreed::Nothing;
    let outcome = answer(call, &mut agreed).instrument(span.clone()).await;
    let _entered = span.entered();
    let mut response = pipeline::finish(outcome, Dialect::Compute, None, &base, &request_id);
    if let Ok(value) = HeaderValue::from_str(request_id.as_str()) {
        response.headers_mut().insert(HeaderName::from_static("x-compute-request-id"), value);
    }
    match agreed {
        Agreed::Legacy => {}
        Agreed::Nothing => RANGE.mark(response.headers_mut(), None),
        Agreed::On(version) => RANGE.mark(response.headers_mut(), Some(version)),
    }
    response
}

/// A path as logs may show it: what opens a console is cut off.
fn without_secret(path: &str) -> &str {
    const TOKENS: &str = "/os-console-auth-tokens/";
    path.find(TOKENS).map_or(path, |at| &path[..at + TOKENS.len()])
}

/// What is known of the version when the answer is written.
enum Agreed {
    Nothing,
    /// The mount that has no microversions.
    Legacy,
    On(Microversion),
}

/// A path below a mount, without it.
fn mounted<'p>(path: &'p str, mount: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(mount)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

async fn answer(mut call: Call, agreed: &mut Agreed) -> Outcome {
    let whole = call.path.clone();
    let rest = if let Some(rest) = mounted(&whole, "/v2.1") {
        rest
    } else if let Some(rest) = mounted(&whole, "/v2") {
        call.legacy = true;
        *agreed = Agreed::Legacy;
        rest
    } else if whole == "/" || whole.is_empty() {
        return versions::all(&call);
    } else {
        return versions::choices(&call);
    };
    if rest.trim_end_matches('/').is_empty() {
        if call.method != Method::GET {
            return Err(Fault::NoRoute);
        }
        if !call.legacy {
            *agreed = Agreed::On(RANGE.min);
        }
        return versions::document(&call);
    }
    context::authenticate(&mut call, Dialect::Compute, rest).await?;
    if !call.legacy {
        let version = RANGE.negotiate(&call.headers)?;
        call.minor = version.minor;
        *agreed = Agreed::On(version);
    }
    media_type(&call)?;
    let path = without_project(&mut call, rest);
    match routes::table().find(&call.method, path, call.minor) {
        Match::Found(route, params) => {
            own_project(&call)?;
            call.params = params;
            call.rule = route.rule;
            (route.handler)(call).await
        }
        Match::OutsideWindow => {
            own_project(&call)?;
            Err(Error::not_found("The resource could not be found.").into())
        }
        Match::OtherMethods(_) | Match::Nothing => Err(Fault::NoRoute),
    }
}

/// Takes the project out of the path, where there is one.
fn without_project<'p>(call: &mut Call, path: &'p str) -> &'p str {
    let inner = path.trim_start_matches('/');
    let (first, rest) = match inner.find('/') {
        Some(end) => inner.split_at(end),
        None => (inner, ""),
    };
    let is_project =
        !first.is_empty() && first.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-'));
    if !is_project {
        return path;
    }
    call.url_project = Some(first.to_owned());
    rest
}

/// A project in the URL has to be that of the token.
fn own_project(call: &Call) -> Result<(), Error> {
    let Some(asked) = &call.url_project else { return Ok(()) };
    let own = call.actor()?.project_id.as_ref();
    if own.is_some_and(|own| own.as_str() == asked) {
        return Ok(());
    }
    let own = own.map_or("None", |own| own.as_str());
    Err(Error::invalid(format!(
        "Malformed request URL: URL's project_id '{asked}' doesn't match Context's project_id '{own}'"
    )))
}

/// JSON, or nothing said of it.
fn media_type(call: &Call) -> Result<(), Error> {
    let Some(value) = call.header("content-type") else { return Ok(()) };
    let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "" | "text/plain" | "application/json" | "application/vnd.openstack.compute+json" => Ok(()),
        _ => Err(Error::new(Kind::UnsupportedMedia, "Unsupported Content-Type")),
    }
}

#[cfg(test)]
mod mount_tests {
    use super::*;

    #[test]
    fn tokens_of_consoles_are_not_logged() {
        assert_eq!(without_secret("/v2.1/os-console-auth-tokens/4f1c"), "/v2.1/os-console-auth-tokens/");
        assert_eq!(without_secret("/v2.1/servers/4f1c"), "/v2.1/servers/4f1c");
    }

    #[test]
    fn mounts() {
        assert_eq!(mounted("/v2.1/servers", "/v2.1"), Some("/servers"));
        assert_eq!(mounted("/v2.1", "/v2.1"), Some(""));
        assert_eq!(mounted("/v2.10/x", "/v2.1"), None);
        assert_eq!(mounted("/v2.1/x", "/v2"), None);
        assert_eq!(mounted("/v2/x", "/v2"), Some("/x"));
    }
}
