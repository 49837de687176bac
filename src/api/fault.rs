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
        Dialect::Image => match image_form(accept) {
            ImageForm::Json => answer.json(json!({
                "message": format!("{message}<br /><br />\n\n\n"),
                "code": status_line(status),
                "title": title(status),
            })),
            ImageForm::Plain => answer
                .content_type("text/plain; charset=UTF-8")
                .body(format!("{}\n\n{message}\n\n\n", status_line(status))),
            ImageForm::Html => answer.content_type("text/html; charset=UTF-8").body(html(status, message)),
        },
    }
}

/// The forms in which the image API says what went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ImageForm {
    Html,
    Json,
    Plain,
}

/// The form that a client likes best; a page where it does not say, and where it likes a page as much as JSON.
fn image_form(accept: Option<&str>) -> ImageForm {
    let Some(accept) = accept else { return ImageForm::Html };
    let (html, json) = (quality(accept, "text", "html"), quality(accept, "application", "json"));
    if html > 0.0 && html >= json {
        ImageForm::Html
    } else if json > 0.0 {
        ImageForm::Json
    } else {
        ImageForm::Plain
    }
}

/// How much an `Accept` header wants a media type: the `q` of the most specific entry that fits, 0 where none does.
fn quality(accept: &str, family: &str, kind: &str) -> f32 {
    let mut best = (0, 0.0);
    for entry in accept.split(',') {
        let mut parts = entry.split(';').map(str::trim);
        let Some((a, b)) = parts.next().and_then(|range| range.split_once('/')) else { continue };
        let specific = match (a.eq_ignore_ascii_case(family), b.eq_ignore_ascii_case(kind)) {
            (true, true) => 3,
            (true, false) if b == "*" => 2,
            (false, _) if a == "*" && b == "*" => 1,
            _ => continue,
        };
        let asked = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok());
        if specific > best.0 {
            best = (specific, asked.unwrap_or(0.0));
        }
    }
    best.1
}

fn title(status: StatusCode) -> &'static str {
    match status {
        // As these were called when the image API was made.
        StatusCode::PAYLOAD_TOO_LARGE => "Request Entity Too Large",
        StatusCode::RANGE_NOT_SATISFIABLE => "Request Range Not Satisfiable",
        _ => status.canonical_reason().unwrap_or("Error"),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_api_answers_in_the_form_that_is_wanted() {
        for (accept, form) in [
            (None, ImageForm::Html),
            (Some("*/*"), ImageForm::Html),
            (Some("application/json"), ImageForm::Json),
            (Some("text/html, application/json"), ImageForm::Html),
            (Some("text/html;q=0.1, application/*;q=0.5"), ImageForm::Json),
            (Some("application/json, */*;q=0.1"), ImageForm::Json),
            (Some("application/octet-stream"), ImageForm::Plain),
            (Some("text/html;q=0"), ImageForm::Plain),
        ] {
            assert_eq!(image_form(accept), form, "{accept:?}");
        }
    }
}
