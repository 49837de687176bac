//! The one map from a semantic error to status and words; each API adds just its envelope.

use crate::core::{Error, Kind};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::{Value, json};

/// Which API answers, since their envelopes and a few statuses differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Compute,
    Identity,
    Image,
    Network,
}

/// What a handler fails with: a semantic error, or a status that no error kind has (406, 405, 300 ...).
#[derive(Debug)]
pub enum Fault {
    Error(Error),
    Status(StatusCode, String),
    /// No route at all: the bare answer that the original gives.
    NoRoute,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Fault {
    pub fn status(&self, dialect: Dialect) -> StatusCode {
        match self {
            Self::Error(error) => status(dialect, error.kind()),
            Self::Status(status, _) => *status,
            Self::NoRoute => StatusCode::NOT_FOUND,
        }
    }

    pub fn message(&self) -> &str {
        match self {
            Self::Error(error) => error.message(),
            Self::Status(_, message) => message,
            Self::NoRoute => "The resource could not be found.",
        }
    }
}

fn status(dialect: Dialect, kind: Kind) -> StatusCode {
    match kind {
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::Quota => match dialect {
            Dialect::Compute | Dialect::Identity => StatusCode::FORBIDDEN,
            Dialect::Image => StatusCode::PAYLOAD_TOO_LARGE,
            Dialect::Network => StatusCode::CONFLICT,
        },
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict | Kind::InvalidState => StatusCode::CONFLICT,
        Kind::Gone => StatusCode::GONE,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Kind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        Kind::NoCapacity | Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Writes the chain of causes of what is our fault to the log; what is the caller's is only traced.
pub fn log(fault: &Fault) {
    let Fault::Error(error) = fault else { return };
    if error.kind() == Kind::Internal || error.kind() == Kind::Unavailable {
        tracing::error!(error = %error, causes = %causes(error), "a request failed");
    } else {
        tracing::debug!(error = %error, causes = %causes(error), "a request was refused");
    }
}

/// The causes below an error, outermost first.
pub fn causes(error: &Error) -> String {
    let mut chain = Vec::new();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        chain.push(cause.to_string());
        next = cause.source();
    }
    chain.join(": ")
}

/// The identity body, which every API answers for a missing or bad token.
pub fn unauthorized(base: &str) -> HttpResponse {
    HttpResponse::Unauthorized()
        .insert_header(("www-authenticate", format!("Keystone uri=\"{base}/identity\"")))
        .json(identity_body(StatusCode::UNAUTHORIZED, "The request you have made requires authentication."))
}

/// `{"error":{"code","title","message"}}`.
pub fn identity_body(status: StatusCode, message: &str) -> Value {
    json!({"error": {
        "code": status.as_u16(),
        "title": status.canonical_reason().unwrap_or("Error"),
        "message": message,
    }})
}
