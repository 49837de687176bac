//! Answers with many objects: the query, the links to the pages beside, and the choice of fields.

use super::super::call::{Call, Outcome, Query, Reply};
use super::super::page;
use super::attributes::bad;
use crate::core::listing::{Listing, SortKey};
use crate::core::{Error, Result};
use actix_web::http::StatusCode;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::collections::BTreeMap;

/// One object as the API shows it.
pub(super) trait View: Serialize {
    fn id(&self) -> String;
}

/// What the query asks for, without the caller's view.
pub(super) fn listing(query: &Query) -> Result<Listing> {
    let mut listing = Listing::default();
    let mut filters: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut keys, mut directions) = (Vec::new(), Vec::new());
    for (key, value) in &query.0 {
        match key.as_str() {
            "fields" => {}
            "sort_key" => keys.push(value.clone()),
            "sort_dir" => directions.push(descending(value)?),
            "limit" => listing.limit = limit(value)?,
            "marker" => listing.marker = Some(value.clone()),
            "page_reverse" => listing.reverse = value.eq_ignore_ascii_case("true") || value == "1",
            "fixed_ips" => {
                let (name, value) = value.split_once('=').unwrap_or(("ip_address", value));
                filters.entry(name.to_owned()).or_default().push(value.to_owned());
            }
            // Addresses are looked for by `fixed_ips` only.
            "ip_address" | "subnet_id" | "ip_address_substr" => {}
            "mac_address" => filters.entry(key.clone()).or_default().push(as_kept(value)),
            _ => filters.entry(key.clone()).or_default().push(value.clone()),
        }
    }
    if keys.len() != directions.len() {
        return Err(bad("The number of sort_keys and sort_dirs must be same"));
    }
    listing.filters = filters.into_iter().collect();
    listing.sort = keys
        .into_iter()
        .zip(directions)
        .map(|(attribute, descending)| SortKey { attribute, descending })
        .collect();
    Ok(listing)
}

/// A MAC address as ports have it, in whatever form it came; what is none stays as it is, and fits no port.
fn as_kept(text: &str) -> String {
    let groups: Vec<&str> = text.split([':', '-', '.']).collect();
    let digits = if groups.len() == 6 {
        groups.iter().flat_map(|group| [if group.len() == 1 { "0" } else { "" }, group]).collect()
    } else {
        groups.concat()
    };
    if digits.len() != 12 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return text.to_owned();
    }
    let pairs: Vec<&str> = (0..12).step_by(2).map(|start| &digits[start..start + 2]).collect();
    pairs.join(":").to_ascii_lowercase()
}

fn descending(text: &str) -> Result<bool> {
    match text {
        "asc" => Ok(false),
        "desc" => Ok(true),
        _ => Err(bad(format!("{text} is invalid value for sort_dirs, valid value is 'asc' and 'desc'"))),
    }
}

/// 0 is without limit.
fn limit(text: &str) -> Result<Option<u32>> {
    let number: u32 = text.parse().map_err(|_| {
        Error::invalid(format!("Bad limits request: Limit must be an integer 0 or greater and not '{text}'."))
            .with_class("BadRequest")
    })?;
    Ok((number > 0).then_some(number))
}

/// The answer with all views of one page.
pub(super) fn reply<V: View>(call: &Call, plural: &'static str, listing: &Listing, views: &[V]) -> Outcome {
    let links = links(call, listing, views);
    let body = Body { plural, views, links, fields: fields(&call.query) };
    Ok(Reply::json(StatusCode::OK, &body)?)
}

/// The answer with one view.
pub(super) fn reply_one<V: View>(
    call: &Call,
    status: StatusCode,
    singular: &'static str,
    view: &V,
) -> Outcome {
    let body = One { singular, view, fields: fields(&call.query) };
    Ok(Reply::json(status, &body)?)
}

/// The answer to a POST: in the plural form when the request had it.
pub(super) fn reply_created<V: View>(
    call: &Call,
    (singular, plural): (&'static str, &'static str),
    bulk: bool,
    views: &[V],
) -> Outcome {
    match views {
        [view] if !bulk => reply_one(call, StatusCode::CREATED, singular, view),
        _ => {
            let body = Body { plural, views, links: Vec::new(), fields: Vec::new() };
            Ok(Reply::json(StatusCode::CREATED, &body)?)
        }
    }
}

fn fields(query: &Query) -> Vec<String> {
    query.all("fields").filter(|field| !field.is_empty()).map(str::to_owned).collect()
}

#[derive(Serialize)]
struct Link {
    rel: &'static str,
    href: String,
}

/// There is a next page when this one is full, and one before it as soon as anything is shown.
fn links<V: View>(call: &Call, listing: &Listing, views: &[V]) -> Vec<Link> {
    let (Some(limit), Some(first), Some(last)) = (listing.limit, views.first(), views.last()) else {
        return Vec::new();
    };
    let full = views.len() >= limit as usize;
    let url = format!("{}{}", call.base, call.path);
    let mut query = call.query.clone();
    query.0.retain(|(key, _)| key != "page_reverse");
    let mut links = Vec::new();
    // The first direction belongs to the first key to sort by: the order of the query has to stay.
    if full || listing.reverse {
        let href = page::url_with(&url, &query, &[("marker", &last.id())]);
        links.push(Link { rel: "next", href });
    }
    if full || !listing.reverse {
        let set = [("marker", &*first.id()), ("page_reverse", "True")];
        links.push(Link { rel: "previous", href: page::url_with(&url, &query, &set) });
    }
    links
}

struct Body<'a, V> {
    plural: &'static str,
    views: &'a [V],
    links: Vec<Link>,
    fields: Vec<String>,
}

impl<V: View> Serialize for Body<'_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if self.fields.is_empty() {
            map.serialize_entry(self.plural, self.views)?;
        } else {
            let chosen: Result<Vec<Value>, S::Error> =
                self.views.iter().map(|view| chosen(view, &self.fields)).collect();
            map.serialize_entry(self.plural, &chosen?)?;
        }
        if !self.links.is_empty() {
            map.serialize_entry(&format!("{}_links", self.plural), &self.links)?;
        }
        map.end()
    }
}

struct One<'a, V> {
    singular: &'static str,
    view: &'a V,
    fields: Vec<String>,
}

impl<V: View> Serialize for One<'_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        if self.fields.is_empty() {
            map.serialize_entry(self.singular, self.view)?;
        } else {
            map.serialize_entry(self.singular, &chosen::<_, S::Error>(self.view, &self.fields)?)?;
        }
        map.end()
    }
}

/// The view with the chosen fields only.
fn chosen<V: Serialize, E: serde::ser::Error>(view: &V, fields: &[String]) -> Result<Value, E> {
    let mut value = serde_json::to_value(view).map_err(E::custom)?;
    if let Value::Object(map) = &mut value {
        map.retain(|key, _| fields.iter().any(|field| field == key));
    }
    Ok(value)
}
