//! The one semantic error of the domain. `api/error.rs` is its only translation to HTTP.

use std::error::Error as StdError;
use std::fmt;

/// What went wrong, in the terms of a cloud user. Each kind has one HTTP status per API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request itself is wrong (400).
    Invalid,
    /// The caller's credentials are missing or not good (401).
    Unauthenticated,
    /// The caller may not do this (403).
    Forbidden,
    /// A quota would be exceeded (403 in compute, 413 in image and volume, 409 in network).
    Quota,
    /// Unknown, or not visible to the caller: the two must look alike (404).
    NotFound,
    /// Clashes with something that exists (409).
    Conflict,
    /// Not allowed in the state that the resource is in (409).
    InvalidState,
    /// The resource is gone for good, as whole APIs can be (410).
    Gone,
    /// The body is larger than what is accepted (413).
    TooLarge,
    /// The media type is not understood (415).
    UnsupportedMedia,
    /// This host has no room for it.
    NoCapacity,
    /// The host cannot do this at all (501).
    NotImplemented,
    /// Cannot be done now, may work later (503).
    Unavailable,
    /// A fault of ours: the caller sees no details (500).
    Internal,
}

/// A semantic error: a kind, the words that the caller may read, and the cause for the log.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    class: Option<&'static str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), class: None, source: None }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(Kind::Forbidden, message)
    }

    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, message)
    }

    pub fn invalid_state(message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidState, message)
    }

    pub fn quota(message: impl Into<String>) -> Self {
        Self::new(Kind::Quota, message)
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, message)
    }

    /// A fault of ours. The cause is for the log, callers get a general sentence.
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            kind: Kind::Internal,
            message: "An unexpected error happened on the server.".into(),
            class: None,
            source: Some(source.into()),
        }
    }

    /// Names the error class that the network API shows as `type`, for example `NetworkNotFound`.
    #[must_use]
    pub fn with_class(mut self, class: &'static str) -> Self {
        self.class = Some(class);
        self
    }

    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The words for the caller. Never contains a secret or the cause's own words.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn class(&self) -> Option<&'static str> {
        self.class
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|e| e as &(dyn StdError + 'static))
    }
}
