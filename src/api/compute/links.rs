//! Links of resources: `self` with the mount (and the project, if the caller named it), `bookmark` without the mount.

use crate::api::call::Call;
use crate::api::page::next_url;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use std::fmt;

/// Where links begin, for one request.
#[derive(Debug, Clone)]
pub struct Base {
    /// For example `http://127.0.0.1:8774`.
    host: String,
    /// `/v2.1` or `/v2`.
    mount: &'static str,
    /// `/` and the project, or nothing.
    project: String,
}

impl Base {
    pub fn of(call: &Call) -> Self {
        Self {
            host: call.base.clone(),
            mount: if call.legacy { "/v2" } else { "/v2.1" },
            project: call.url_project.as_ref().map(|project| format!("/{project}")).unwrap_or_default(),
        }
    }

    #[cfg(test)]
    pub fn at(host: &str) -> Self {
        Self { host: host.to_owned(), mount: "/v2.1", project: String::new() }
    }

    /// The URL of a resource of this API.
    pub fn url(&self, collection: &str, id: &str) -> String {
        format!("{}{}{}/{collection}/{id}", self.host, self.mount, self.project)
    }
}

impl Base {
    /// The URL of a resource without its mount.
    pub fn bookmark(&self, collection: &'static str, id: &dyn fmt::Display) -> String {
        Bookmark { base: self, collection, id }.to_string()
    }
}

/// A link to a resource without its mount.
struct Bookmark<'a> {
    base: &'a Base,
    collection: &'static str,
    id: &'a dyn fmt::Display,
}

impl fmt::Display for Bookmark<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}/{}/{}", self.base.host, self.base.project, self.collection, self.id)
    }
}

struct OwnUrl<'a>(&'a Bookmark<'a>);

impl fmt::Display for OwnUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bookmark { base, collection, id } = self.0;
        write!(f, "{}{}{}/{collection}/{id}", base.host, base.mount, base.project)
    }
}

/// One link, written without a string in between.
struct Link<'a, D: fmt::Display> {
    relation: &'static str,
    href: &'a D,
}

impl<D: fmt::Display> Serialize for Link<'_, D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("rel", self.relation)?;
        map.serialize_entry("href", &Shown(self.href))?;
        map.end()
    }
}

struct Shown<'a, D: fmt::Display>(&'a D);

impl<D: fmt::Display> Serialize for Shown<'_, D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

/// The `links` of a resource: the bookmark, and the own URL before it.
pub struct Links<'a> {
    bookmark: Bookmark<'a>,
    with_self: bool,
}

impl<'a> Links<'a> {
    /// Both links.
    pub fn to(base: &'a Base, collection: &'static str, id: &'a dyn fmt::Display) -> Self {
        Self { bookmark: Bookmark { base, collection, id }, with_self: true }
    }

    /// The bookmark alone, for what belongs to another resource.
    pub fn bookmark(base: &'a Base, collection: &'static str, id: &'a dyn fmt::Display) -> Self {
        Self { bookmark: Bookmark { base, collection, id }, with_self: false }
    }
}

impl Serialize for Links<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(1 + usize::from(self.with_self)))?;
        if self.with_self {
            list.serialize_element(&Link { relation: "self", href: &OwnUrl(&self.bookmark) })?;
        }
        list.serialize_element(&Link { relation: "bookmark", href: &self.bookmark })?;
        list.end()
    }
}

/// The link from one page of a list to the next.
#[derive(serde::Serialize)]
pub struct NextLink {
    rel: &'static str,
    href: String,
}

impl NextLink {
    pub fn to(href: impl Into<String>) -> Self {
        Self { rel: "next", href: href.into() }
    }
}

/// The `<collection>_links` of a page: only one that is exactly full has a next one.
pub fn next(call: &Call, count: usize, limit: usize, last: Option<&str>) -> Option<[NextLink; 1]> {
    let marker = last.filter(|_| count == limit && limit > 0)?;
    let url = format!("{}{}", call.base, call.path);
    Some([NextLink::to(next_url(&url, &call.query, marker))])
}
