//! Version documents: what clients read before anything else, without a token.

use super::changes::RANGE;
use crate::api::call::{Call, Outcome, Reply};
use crate::core::Error;
use actix_web::http::StatusCode;
use serde::Serialize;

#[derive(Serialize)]
struct Link {
    rel: &'static str,
    href: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    media: Option<&'static str>,
}

#[derive(Serialize)]
struct MediaType {
    base: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
}

/// One version as one document shows it.
#[derive(Serialize)]
struct Version {
    id: &'static str,
    status: &'static str,
    links: Vec<Link>,
    #[serde(rename = "media-types", skip_serializing_if = "Option::is_none")]
    media_types: Option<[MediaType; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated: Option<&'static str>,
}

#[derive(Serialize)]
struct Versions {
    versions: [Version; 2],
}

#[derive(Serialize)]
struct Choices {
    choices: [Version; 2],
}

#[derive(Serialize)]
struct One {
    version: Version,
}

#[derive(Clone, Copy)]
enum Mount {
    Legacy,
    Current,
}

impl Mount {
    fn id(self) -> &'static str {
        match self {
            Self::Legacy => "v2.0",
            Self::Current => "v2.1",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Legacy => "v2",
            Self::Current => "v2.1",
        }
    }

    fn status(self) -> &'static str {
        match self {
            Self::Legacy => "DEPRECATED",
            Self::Current => "CURRENT",
        }
    }

    fn updated(self) -> &'static str {
        match self {
            Self::Legacy => "2025-07-04T12:00:00Z",
            Self::Current => "2013-07-23T11:33:21Z",
        }
    }

    /// The lowest and the highest microversion; empty texts where there are none.
    fn range(self) -> (String, String) {
        match self {
            Self::Legacy => (String::new(), String::new()),
            Self::Current => (RANGE.min.to_string(), RANGE.max.to_string()),
        }
    }

    fn media_type(self) -> MediaType {
        MediaType {
            base: "application/json",
            kind: match self {
                Self::Legacy => "application/vnd.openstack.compute+json;version=2",
                Self::Current => "application/vnd.openstack.compute+json;version=2.1",
            },
        }
    }

    fn entry(self, base: &str) -> Version {
        let (min_version, version) = self.range();
        Version {
            id: self.id(),
            status: self.status(),
            links: vec![Link { rel: "self", href: format!("{base}/{}/", self.path()), media: None }],
            media_types: None,
            version: Some(version),
            min_version: Some(min_version),
            updated: Some(self.updated()),
        }
    }

    fn document(self, base: &str) -> Version {
        let mut version = self.entry(base);
        version.links.push(Link {
            rel: "describedby",
            href: "http://docs.openstack.org/".into(),
            media: Some("text/html"),
        });
        version.media_types = Some([self.media_type()]);
        version
    }

    fn choice(self, base: &str, path: &str) -> Version {
        Version {
            id: self.id(),
            status: self.status(),
            links: vec![Link {
                rel: "self",
                href: format!("{base}/{}/{}", self.path(), path.trim_start_matches('/')),
                media: None,
            }],
            media_types: Some([self.media_type()]),
            version: None,
            min_version: None,
            updated: None,
        }
    }
}

/// `GET /`: all versions.
pub fn all(call: &Call) -> Outcome {
    let versions = [Mount::Legacy.entry(&call.base), Mount::Current.entry(&call.base)];
    Ok(Reply::json(StatusCode::OK, &Versions { versions })?)
}

/// Any other path without a version.
pub fn choices(call: &Call) -> Outcome {
    let entry = |mount: Mount| mount.choice(&call.base, &call.path);
    let choices = [entry(Mount::Legacy), entry(Mount::Current)];
    Ok(Reply::json(StatusCode::MULTIPLE_CHOICES, &Choices { choices })?)
}

/// `GET /v2.1` and `GET /v2`.
pub fn document(call: &Call) -> Outcome {
    let mount = if call.legacy { Mount::Legacy } else { Mount::Current };
    Ok(Reply::json(StatusCode::OK, &One { version: mount.document(&call.base) })?)
}

/// `GET /v2.1/versions/{id}`.
pub async fn show(call: Call) -> Outcome {
    let mount = match call.params.get("id") {
        "v2.0" => Mount::Legacy,
        "v2.1" => Mount::Current,
        _ => return Err(Error::not_found("The resource could not be found.").into()),
    };
    Ok(Reply::json(StatusCode::OK, &One { version: mount.document(&call.base) })?)
}
