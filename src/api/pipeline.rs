//! What happens to a request, whichever API it is for: find the route, ask who calls, run the handler, write the answer.

use super::call::{Call, Outcome, Reply};
use super::error::{self, Dialect, Fault};
use super::router::{Match, Router};
use super::{State, context, fault};
use crate::core::ids::RequestId;
use crate::core::policy::Rule;
use actix_web::http::header::{ALLOW, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use tracing::Instrument;

/// One API: how it speaks, where it is, what it serves.
pub struct Api {
    pub dialect: Dialect,
    /// The prefix of its paths, without a slash at the end.
    pub mount: &'static str,
    pub router: Router,
}

/// Answers one request for an API that has no versions inside.
pub async fn serve(api: &Api, state: State, request: HttpRequest, payload: Payload) -> HttpResponse {
    let request_id = RequestId::fresh();
    let call = Call::new(state, &request, request_id.clone(), payload);
    let span = tracing::info_span!("request", id = %request_id, method = %call.method, path = %call.path);
    let accept = call.header("accept").map(str::to_owned);
    let base = call.base.clone();
    let outcome = answer(api, call).instrument(span.clone()).await;
    let _entered = span.entered();
    finish(outcome, api.dialect, accept.as_deref(), &base, &request_id)
}

async fn answer(api: &Api, mut call: Call) -> Outcome {
    let path = call.path.strip_prefix(api.mount).unwrap_or(&call.path).to_owned();
    if api.dialect == Dialect::Image && is_empty_name(&path) {
        ask_first(&mut call, api.dialect, &path).await?;
        return Err(Fault::NoRoute);
    }
    match find(&api.router, &call.method, without_format(api.dialect, &path)) {
        Match::Found(route, params) => {
            call.params = params;
            context::admit(&mut call, route.rule, api.dialect, &path).await?;
            (route.handler)(call).await
        }
        Match::OtherMethods(methods) => {
            ask_first(&mut call, api.dialect, &path).await?;
            Ok(not_allowed(&methods, api.dialect, &call))
        }
        Match::OutsideWindow | Match::Nothing => {
            ask_first(&mut call, api.dialect, &path).await?;
            Err(Fault::NoRoute)
        }
    }
}

/// A path that does not exist is told only to those with a token, except by identity, where tokens are made.
async fn ask_first(call: &mut Call, dialect: Dialect, path: &str) -> Result<(), Fault> {
    if dialect == Dialect::Identity {
        return Ok(());
    }
    context::admit(call, Rule::Token, dialect, path).await
}

/// Whether a path ends with a slash where a name should be: images have none that is empty, and it is not their list that
/// is asked for then. The slash after a version is only that.
fn is_empty_name(path: &str) -> bool {
    path.ends_with('/') && path.trim_end_matches('/').len() > "/v2".len()
}

/// The path without the format of the answer, which the network API's paths may end with: there is only one.
fn without_format(dialect: Dialect, path: &str) -> &str {
    match path.strip_suffix(".json") {
        Some(stem) if dialect == Dialect::Network && !stem.ends_with('/') => stem,
        Some(_) | None => path,
    }
}

/// The route for a path; HEAD is served by GET where it has no route of its own.
fn find<'r>(router: &'r Router, method: &Method, path: &str) -> Match<'r> {
    match router.find(method, path, 1) {
        Match::OtherMethods(methods) if method == Method::HEAD && methods.contains(&Method::GET) => {
            router.find(&Method::GET, path, 1)
        }
        other => other,
    }
}

/// 405 with the methods that there are.
pub fn not_allowed(methods: &[Method], dialect: Dialect, call: &Call) -> Reply {
    let fault = Fault::Status(
        StatusCode::METHOD_NOT_ALLOWED,
        "The method is not allowed for the requested URL.".into(),
    );
    let mut response = fault::render(&fault, dialect, call.header("accept"), &call.base);
    let mut names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    if let Some(get) = names.iter().position(|name| *name == "GET")
        && !names.contains(&"HEAD")
    {
        names.insert(get + 1, "HEAD");
    }
    if let Ok(value) = HeaderValue::from_str(&names.join(", ")) {
        response.headers_mut().insert(ALLOW, value);
    }
    response.into()
}

/// The outcome as HTTP, with the headers that all answers have.
pub fn finish(
    outcome: Outcome,
    dialect: Dialect,
    accept: Option<&str>,
    base: &str,
    request_id: &RequestId,
) -> HttpResponse {
    let mut response = match outcome {
        Ok(reply) => reply.response,
        Err(fault) => {
            error::log(&fault);
            fault::render(&fault, dialect, accept, base)
        }
    };
    if let Ok(value) = HeaderValue::from_str(request_id.as_str()) {
        response.headers_mut().insert(HeaderName::from_static("x-openstack-request-id"), value);
    }
    tracing::debug!(status = response.status().as_u16(), "answered");
    response
}

#[cfg(test)]
#[path = "pipeline_tests.rs"]
mod tests;
