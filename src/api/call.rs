//! One request on its way to a handler, and the handler's answer.

use super::State;
use super::error::Fault;
use super::router::Params;
use crate::core::actor::Actor;
use crate::core::identity::unauthenticated;
use crate::core::ids::RequestId;
use crate::core::policy::Rule;
use crate::core::{Error, Kind};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, BytesMut, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::StreamExt;
use serde::Serialize;
use serde_json::Value;

/// The largest JSON body that is read, in bytes: Nova's `max_request_body_size`.
pub const JSON_LIMIT: usize = 114_688;

/// A request that found its route.
pub struct Call {
    pub state: State,
    /// The caller; a route that is open to everybody gets `None`.
    pub actor: Option<Actor>,
    pub request_id: RequestId,
    pub params: Params,
    /// What the route asks of its caller, for handlers that ask only after they checked the request.
    pub rule: Rule,
    pub query: Query,
    /// Whether the query, percent-decoded, is text.
    pub query_is_text: bool,
    pub headers: HeaderMap,
    /// Scheme, host and port as the client used them, for example `http://127.0.0.1:8774`. No slash at the end.
    pub base: String,
    pub method: Method,
    /// The path as asked, without query.
    pub path: String,
    /// The minor part of the microversion; 1 where an API has none.
    pub minor: u16,
    /// Whether the request came by the legacy mount `/v2` of the compute API.
    pub legacy: bool,
    /// The project in the URL, where the API puts one there.
    pub url_project: Option<String>,
    payload: Option<Payload>,
}

impl Call {
    /// Everything that the dispatcher knows before a route is found.
    pub fn new(state: State, request: &HttpRequest, request_id: RequestId, payload: Payload) -> Self {
        Self {
            base: public_base(&state, request),
            state,
            actor: None,
            request_id,
            params: Params::default(),
            rule: Rule::Token,
            query: Query::parse(request.query_string()),
            query_is_text: Query::is_text(request.query_string()),
            headers: request.headers().clone(),
            method: request.method().clone(),
            path: request.path().to_owned(),
            minor: 1,
            legacy: false,
            url_project: None,
            payload: Some(payload),
        }
    }

    /// The caller of a route that needs a token.
    pub fn actor(&self) -> Result<&Actor, Error> {
        self.actor.as_ref().ok_or_else(unauthenticated)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as it streams in; a second call gets nothing.
    pub fn take_payload(&mut self) -> Option<Payload> {
        self.payload.take()
    }

    /// The whole body, at most `limit` bytes.
    pub async fn bytes(&mut self, limit: usize) -> Result<Bytes, Error> {
        let mut body = BytesMut::new();
        let Some(mut payload) = self.payload.take() else {
            return Ok(body.freeze());
        };
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|e| {
                Error::invalid("The request body could not be read.").with_source(e.to_string())
            })?;
            if body.len() + chunk.len() > limit {
                return Err(Error::new(Kind::TooLarge, "Request is too large."));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// The body as JSON; an empty body is `Value::Null`.
    pub async fn json(&mut self) -> Result<Value, Error> {
        let body = self.bytes(JSON_LIMIT).await?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|e| Error::invalid("cannot understand JSON").with_source(e))
    }
}

/// Scheme and host as the client used them, behind a proxy too.
pub fn public_base(state: &State, request: &HttpRequest) -> String {
    if let Some(base) = &state.public_base {
        return base.clone();
    }
    let info = request.connection_info();
    // The socket's own TLS is not known to actix behind our acceptor; a proxy's word comes first.
    let scheme = if state.tls && info.scheme() == "http" { "https" } else { info.scheme() };
    format!("{scheme}://{}", info.host())
}

/// A parsed query string: pairs in their order, percent-decoded. What is no UTF-8 has marks in its place.
#[derive(Debug, Default, Clone)]
pub struct Query(pub Vec<(String, String)>);

impl Query {
    pub fn parse(text: &str) -> Self {
        let decode = |part: &str| {
            percent_encoding::percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned()
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Self(pairs.collect())
    }

    /// Whether all of it, percent-decoded, is UTF-8.
    pub fn is_text(text: &str) -> bool {
        percent_encoding::percent_decode_str(text).decode_utf8().is_ok()
    }

    /// The last value of a key, which is the one that counts.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }
}

/// A handler's answer.
pub struct Reply {
    pub response: HttpResponse,
}

impl Reply {
    pub fn empty(status: StatusCode) -> Self {
        Self { response: HttpResponse::new(status) }
    }

    /// A JSON body, written straight from the view.
    pub fn json<T: Serialize>(status: StatusCode, body: &T) -> Result<Self, Error> {
        let text = serde_json::to_vec(body).map_err(Error::internal)?;
        Ok(Self { response: HttpResponse::build(status).content_type("application/json").body(text) })
    }

    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        // A value with a line break in it cannot be sent; it is left out rather than cut in two.
        if let Ok(value) = HeaderValue::from_str(value) {
            self.response.headers_mut().insert(HeaderName::from_static(name), value);
        }
        self
    }
}

impl From<HttpResponse> for Reply {
    fn from(response: HttpResponse) -> Self {
        Self { response }
    }
}

pub type Outcome = Result<Reply, Fault>;
