//! The metadata service: what guests ask at 169.254.169.254.
//!
//! A socket of its own, plain HTTP, no tokens: whoever asks is known by the address. What proxies claim in headers counts for nothing.

use super::State;
use crate::core::service::metadata::{Document, Found, MetadataService};
use crate::core::{Error, Kind};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{BytesMut, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use std::net::IpAddr;

/// The longest password that a guest may store, in bytes. Encrypted with a key of 4096 bits and written in base64, it
/// has 684.
const PASSWORD_LIMIT: usize = 1020;
const TEXT: &str = "text/plain; charset=UTF-8";
const JSON: &str = "application/json";

/// Answers one request of a guest.
pub fn answer(state: State, request: HttpRequest, payload: Payload) -> LocalBoxFuture<'static, HttpResponse> {
    Box::pin(async move {
        let peer = request.peer_addr().map(|address| address.ip());
        match respond(&state, &request, payload, peer).await {
            Ok(response) => response,
            Err(error) => failure(&error, request.path(), peer),
        }
    })
}

async fn respond(
    state: &State,
    request: &HttpRequest,
    payload: Payload,
    peer: Option<IpAddr>,
) -> Result<HttpResponse, Error> {
    let path = percent_encoding::percent_decode_str(request.path()).decode_utf8_lossy();
    let metadata = &state.services.metadata;
    if path.trim_matches('/').is_empty() {
        return Ok(body(TEXT, MetadataService::versions()));
    }
    let Some(peer) = peer else { return Err(nothing()) };
    let Found { server, document } = metadata.lookup(peer, &path).await?.ok_or_else(nothing)?;
    let password = match document {
        Document::Text(bytes) => return Ok(body(TEXT, bytes)),
        Document::Json(bytes) => return Ok(body(JSON, bytes)),
        Document::Password(password) => password,
    };
    match *request.method() {
        Method::GET | Method::HEAD => Ok(body(TEXT, password.into_bytes())),
        Method::POST => {
            let posted = String::from_utf8(read(payload).await?)
                .map_err(|error| Error::invalid("The password is not text.").with_source(error))?;
            if state.services.servers.post_guest_password(server, posted).await? {
                Ok(body(TEXT, Vec::new()))
            } else {
                Err(Error::conflict("There was a conflict when trying to complete your request."))
            }
        }
        _ => Err(Error::invalid("GET and POST only are supported.")),
    }
}

async fn read(mut payload: Payload) -> Result<Vec<u8>, Error> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk
            .map_err(|e| Error::invalid("The request body could not be read.").with_source(e.to_string()))?;
        if bytes.len() + chunk.len() > PASSWORD_LIMIT {
            return Err(Error::invalid("Request is too large."));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.to_vec())
}

fn nothing() -> Error {
    Error::not_found("The resource could not be found.")
}

fn body(content_type: &'static str, bytes: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok().content_type(content_type).body(bytes)
}

fn failure(error: &Error, path: &str, peer: Option<IpAddr>) -> HttpResponse {
    let status = match error.kind() {
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::Conflict => StatusCode::CONFLICT,
        _ => {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::error!(%error, cause, path, ?peer, "a guest's question could not be answered");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    let words = if status.is_server_error() {
        "An unknown error has occurred. Please try your request again."
    } else {
        error.message()
    };
    HttpResponse::build(status).content_type(TEXT).body(format!("{status}\n\n{words}\n\n   "))
}

#[cfg(test)]
mod tests;
