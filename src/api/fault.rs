//! The envelopes: how each API writes what went wrong.

use super::error::{self, Dialect, Fault};
use crate::core::Kind;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::json;

/// The answer for a fault. `accept` is the request's header, by which the image API chooses the form; `base` is the
/// address that the client used.
pub fn render(fault: &Fault, dialect: Dialect, accept: Option<&str>, base: &str) -> HttpResponse {
    if let Fault::Error(error) = fault
        && error.kind() == Kind::Unauthenticated
    {
        return error::unauthorized(base);
    }
    let status = fault.status(dialect);
    let message = fault.message();
    let mut answer = HttpResponse::build(status);
    match dialect {
        Dialect::Identity => answer.json(error::identity_body(status, message)),
        Dialect::Compute => {
            answer.json(json!({compute_name(status): {"code": status.as_u16(), "message": message}}))
        }
        Dialect::Network => {
            let class = match fault {
                Fault::Error(error) => error.class(),
                Fault::Status(..) | Fault::NoRoute => None,
            };
            answer.json(json!({"NeutronError": {
                "type": class.unwrap_or_else(|| network_class(status)),
                "message": message,
                "detail": "",
            }}))
        }
        Dialect::Image => match accept {
            Some(accept) if accept.contains("application/json") => answer.json(json!({
                "message": format!("{message}<br /><br />\n\n\n"),
                "code": status_line(status),
                "title": title(status),
            })),
            Some(accept) if !accept.contains("html") && !accept.contains("*/*") => answer
                .content_type("text/plain; charset=UTF-8")
                .body(format!("{}\n\n{message}\n\n\n", status_line(status))),
            Some(_) | None => answer.content_type("text/html; charset=UTF-8").body(html(status, message)),
        },
    }
}

fn title(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}

fn status_line(status: StatusCode) -> String {
    format!("{} {}", status.as_u16(), title(status))
}

fn html(status: StatusCode, message: &str) -> String {
    let line = status_line(status);
    let message = message.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(
        "<html>\n <head>\n  <title>{line}</title>\n </head>\n <body>\n  <h1>{line}</h1>\n  \
         {message}<br /><br />\n\n\n\n </body>\n</html>"
    )
}

/// What compute calls a status.
pub fn compute_name(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "badRequest",
        401 => "unauthorized",
        403 => "forbidden",
        404 => "itemNotFound",
        405 => "badMethod",
        409 => "conflictingRequest",
        413 | 429 => "overLimit",
        415 => "badMediaType",
        501 => "notImplemented",
        503 => "serviceUnavailable",
        _ => "computeFault",
    }
}

/// What the network API calls a status when no class of its own is known.
fn network_class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "HTTPBadRequest",
        403 => "HTTPForbidden",
        404 => "HTTPNotFound",
        405 => "HTTPMethodNotAllowed",
        409 => "HTTPConflict",
        413 => "HTTPRequestEntityTooLarge",
        415 => "HTTPUnsupportedMediaType",
        501 => "HTTPNotImplemented",
        503 => "HTTPServiceUnavailable",
        _ => "HTTPInternalServerError",
    }
}
