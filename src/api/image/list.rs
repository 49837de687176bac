//! Lists of images: what may stand in the query string.

use super::views::ImageView;
use crate::api::call::{Call, Outcome, Query, Reply};
use crate::core::image::query::{
    Comparison, Condition, Direction, ImageQuery, NumberField, Scope, SortKey, TextField,
};
use crate::core::{Error, Result};
use actix_web::http::StatusCode;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use std::cmp::Ordering;

/// The size of a page when the client does not say.
pub(super) const DEFAULT_LIMIT: usize = 25;

#[derive(Serialize)]
struct Page<'a> {
    images: Vec<ImageView<'a>>,
    first: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    schema: &'static str,
}

pub async fn list(call: Call) -> Outcome {
    let asked = read(&call.query)?;
    let limit = asked.query.limit;
    let images = call.state.services.images.list(call.actor()?, asked.query, asked.marker).await?;
    let full = images.len() == limit.min(crate::core::service::images::PAGE_LIMIT);
    let page = Page {
        first: link(&call.query, None),
        next: images.last().filter(|_| full).map(|last| link(&call.query, Some(&last.id.to_string()))),
        images: images.iter().map(ImageView).collect(),
        schema: "/v2/schemas/images",
    };
    Ok(Reply::json(StatusCode::OK, &page)?)
}

/// The path of a page, after the mount.
fn link(query: &Query, marker: Option<&str>) -> String {
    page_link("/v2/images", query, marker)
}

/// The path of a page of any collection: the query without the old marker, and the new one.
pub(super) fn page_link(collection: &str, query: &Query, marker: Option<&str>) -> String {
    let kept = query.0.iter().filter(|(key, _)| key != "marker").map(|(k, v)| (k.as_str(), v.as_str()));
    let pairs: Vec<String> = kept
        .chain(marker.map(|marker| ("marker", marker)))
        .map(|(key, value)| format!("{}={}", encode(key), encode(value)))
        .collect();
    if pairs.is_empty() { collection.into() } else { format!("{collection}?{}", pairs.join("&")) }
}

fn encode(text: &str) -> String {
    const KEEP: percent_encoding::AsciiSet =
        NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(text, &KEEP).to_string()
}

#[derive(Debug)]
struct Asked {
    query: ImageQuery,
    marker: Option<String>,
}

fn read(pairs: &Query) -> Result<Asked> {
    let mut query = ImageQuery { limit: DEFAULT_LIMIT, ..ImageQuery::default() };
    let mut marker = None;
    let (mut sort, mut sort_keys, mut sort_dirs) = (None, Vec::new(), Vec::new());
    for (key, value) in &pairs.0 {
        match key.as_str() {
            "limit" => query.limit = limit(value)?,
            "marker" => marker = Some(value.clone()),
            "sort" => sort = Some(value.as_str()),
            "sort_key" => sort_keys.push(value.as_str()),
            "sort_dir" => sort_dirs.push(value.as_str()),
            "member_status" => query.member_status = member_status(value)?,
            "visibility" if value.is_empty() => {}
            "visibility" => query.scope = scope(value)?,
            "os_hidden" => query.hidden = flag(key, &value.to_lowercase())?,
            "changes-since" if !value.is_empty() => {
                return Err(Error::invalid("The \"changes-since\" filter is no longer available on v2."));
            }
            _ => query.conditions.push(condition(key, value)?),
        }
    }
    (query.sort, query.tie_direction) = match sort {
        Some(_) if !sort_keys.is_empty() || !sort_dirs.is_empty() => {
            return Err(Error::invalid("Old and new sorting syntax cannot be combined"));
        }
        Some(sort) => new_sort(sort)?,
        None => old_sort(&sort_keys, &sort_dirs)?,
    };
    Ok(Asked { query, marker })
}

pub(super) fn limit(text: &str) -> Result<usize> {
    let number: i64 = text.trim().parse().map_err(|_| Error::invalid("limit param must be an integer"))?;
    usize::try_from(number).map_err(|_| Error::invalid("limit param must be positive"))
}

fn member_status(text: &str) -> Result<Option<crate::core::image::MemberStatus>> {
    if text == "all" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| Error::invalid(format!("Invalid status: {text}")))
}

fn scope(text: &str) -> Result<Scope> {
    if text == "all" {
        return Ok(Scope::Everything);
    }
    text.parse().map(Scope::Only).map_err(|_| Error::invalid(format!("Invalid visibility value: {text}")))
}

fn flag(key: &str, text: &str) -> Result<bool> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Error::invalid(format!(
            "Invalid value '{text}' for '{key}' filter. Valid values are 'true' or 'false'."
        ))),
    }
}

fn condition(key: &str, value: &str) -> Result<Condition> {
    let one = |field| Ok(Condition::OneOf(field, vec![value.to_owned()]));
    match key {
        "id" => texts(TextField::Id, value),
        "name" => texts(TextField::Name, value),
        "status" => texts(TextField::Status, value),
        "container_format" => texts(TextField::ContainerFormat, value),
        "disk_format" => texts(TextField::DiskFormat, value),
        "owner" => one(TextField::Owner),
        "checksum" => one(TextField::Md5),
        "os_hash_value" => one(TextField::Sha512),
        "size" => Ok(equal(NumberField::Size, value)),
        "virtual_size" => Ok(equal(NumberField::VirtualSize, value)),
        "min_disk" => Ok(equal(NumberField::MinDisk, value)),
        "min_ram" => Ok(equal(NumberField::MinRam, value)),
        "size_min" => range(NumberField::Size, Comparison::AT_LEAST, value),
        "size_max" => range(NumberField::Size, Comparison::AT_MOST, value),
        "created_at" => time(NumberField::CreatedAt, key, value),
        "updated_at" => time(NumberField::UpdatedAt, key, value),
        "protected" => Ok(Condition::Protected(flag(key, value)?)),
        "tag" => Ok(Condition::Tag(value.trim().to_owned())),
        _ => Ok(Condition::Property(key.to_owned(), value.to_owned())),
    }
}

fn equal(field: NumberField, value: &str) -> Condition {
    value
        .trim()
        .parse()
        .map_or(Condition::Never, |number| Condition::Number(field, Comparison::EQUAL, number))
}

fn range(field: NumberField, comparison: Comparison, value: &str) -> Result<Condition> {
    let number = value
        .trim()
        .parse()
        .map_err(|_| Error::invalid("Unable to filter on a range with a non-numeric value."))?;
    Ok(Condition::Number(field, comparison, number))
}

/// `x`, `eq:x` or `in:x,y`.
fn texts(field: TextField, value: &str) -> Result<Condition> {
    let values = match value.split_once(':') {
        None => vec![value.to_owned()],
        Some(("eq", value)) => vec![value.to_owned()],
        Some(("in", values)) => quoted_list(values)?,
        Some((operator, _)) => {
            return Err(Error::invalid(format!("Unable to filter by unknown operator '{operator}'.")));
        }
    };
    Ok(Condition::OneOf(field, values))
}

/// Values between commas; a value in double quotes may hold commas, and double quotes after a backslash.
fn quoted_list(text: &str) -> Result<Vec<String>> {
    let refuse = |why: &str| Err(Error::invalid(format!("Invalid filter value {text}. {why}")));
    let mut values = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut escaped = false;
            let end = quoted.find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            let Some(end) = end else { return refuse("The quote is not closed.") };
            values.push(quoted[..end].to_owned());
            rest = &quoted[end + 1..];
            if !rest.is_empty() && !rest.starts_with(',') {
                return refuse("There is no comma after closing quotation mark.");
            }
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            if rest[..end].contains('"') {
                return refuse("There is no comma before opening quotation mark.");
            }
            values.push(rest[..end].to_owned());
            rest = &rest[end..];
        }
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    Ok(values)
}

/// A time, or an operator, a colon and a time.
fn time(field: NumberField, key: &str, value: &str) -> Result<Condition> {
    let (operator, text) = match value.split_once(':') {
        Some((operator, text)) if moment(value).is_none() => (operator, text),
        _ => ("eq", value),
    };
    let at = moment(text).ok_or_else(|| {
        Error::invalid(format!("Bad \"{key}\" query filter format. Use ISO 8601 DateTime notation."))
    })?;
    let comparison = match operator {
        "gt" => Comparison::Is(Ordering::Greater),
        "gte" => Comparison::AT_LEAST,
        "lt" => Comparison::Is(Ordering::Less),
        "lte" => Comparison::AT_MOST,
        "neq" => Comparison::IsNot(Ordering::Equal),
        "eq" => Comparison::EQUAL,
        _ => return Err(Error::invalid("Unable to filter on a unknown operator.")),
    };
    Ok(Condition::Number(field, comparison, at.as_second()))
}

/// A point in time; without an offset it is in UTC, and a date alone is its midnight.
fn moment(text: &str) -> Option<Timestamp> {
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    let naive: DateTime = text.parse().ok()?;
    naive.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp())
}

type Sort = (Vec<(SortKey, Direction)>, Direction);

/// `sort=name:asc,size`
fn new_sort(text: &str) -> Result<Sort> {
    let keys: Vec<(SortKey, Direction)> = text
        .trim()
        .split(',')
        .map(|part| {
            let (key, direction) = part.split_once(':').unwrap_or((part, "desc"));
            let direction = if direction.is_empty() { "desc" } else { direction };
            Ok((sort_key(key.trim())?, sort_direction(direction.trim())?))
        })
        .collect::<Result<_>>()?;
    let tie = match keys.as_slice() {
        [(_, only)] => *only,
        _ => Direction::Descending,
    };
    Ok((keys, tie))
}

/// `sort_key=name&sort_dir=asc&sort_key=size&sort_dir=desc`; one direction holds for all keys.
fn old_sort(keys: &[&str], directions: &[&str]) -> Result<Sort> {
    let keys: Vec<SortKey> = keys.iter().map(|key| sort_key(key.trim())).collect::<Result<_>>()?;
    let directions: Vec<Direction> =
        directions.iter().map(|direction| sort_direction(direction.trim())).collect::<Result<_>>()?;
    if directions.len() > 1 && directions.len() != keys.len() {
        return Err(Error::invalid("Number of sort dirs does not match the number of sort keys"));
    }
    let only = match directions.as_slice() {
        [] => Direction::Descending,
        [only] => *only,
        _ => return Ok((keys.into_iter().zip(directions).collect(), Direction::Descending)),
    };
    Ok((keys.into_iter().map(|key| (key, only)).collect(), only))
}

fn sort_key(text: &str) -> Result<SortKey> {
    let found = SortKey::NAMES.iter().find(|(name, _)| *name == text);
    found.map(|(_, key)| *key).ok_or_else(|| {
        let names: Vec<&str> = SortKey::NAMES.iter().map(|(name, _)| *name).collect();
        Error::invalid(format!(
            "Invalid sort key: {text}. It must be one of the following: {}.",
            names.join(", ")
        ))
    })
}

fn sort_direction(text: &str) -> Result<Direction> {
    match text {
        "asc" => Ok(Direction::Ascending),
        "desc" => Ok(Direction::Descending),
        _ => Err(Error::invalid(format!("Invalid sort direction: {text}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::image::{MemberStatus, Visibility};

    fn asked(text: &str) -> Asked {
        read(&Query::parse(text)).unwrap()
    }

    fn refused(text: &str) -> String {
        read(&Query::parse(text)).unwrap_err().message().to_owned()
    }

    #[test]
    fn defaults() {
        let query = asked("").query;
        assert_eq!((query.limit, query.hidden, query.scope), (25, false, Scope::Usual));
        assert_eq!(query.member_status, Some(MemberStatus::Accepted));
        assert!(query.conditions.is_empty() && query.sort.is_empty());
    }

    #[test]
    fn filters() {
        let query = asked("name=in:a,%22b,c%22&size_min=5&visibility=shared&member_status=all&tag=x&tag=y&os_distro=z&os_hidden=True").query;
        assert_eq!(
            query.conditions,
            [
                Condition::OneOf(TextField::Name, vec!["a".into(), "b,c".into()]),
                Condition::Number(NumberField::Size, Comparison::AT_LEAST, 5),
                Condition::Tag("x".into()),
                Condition::Tag("y".into()),
                Condition::Property("os_distro".into(), "z".into()),
            ]
        );
        assert_eq!(
            (query.scope, query.member_status, query.hidden),
            (Scope::Only(Visibility::Shared), None, true)
        );
    }

    #[test]
    fn times() {
        let at = |text: &str| asked(&format!("created_at={text}")).query.conditions.remove(0);
        let number = |comparison| Condition::Number(NumberField::CreatedAt, comparison, 1_461_015_534);
        assert_eq!(at("2016-04-18T21:38:54Z"), number(Comparison::EQUAL));
        assert_eq!(at("2016-04-18T21:38:54"), number(Comparison::EQUAL));
        assert_eq!(at("gt:2016-04-18T21:38:54Z"), number(Comparison::Is(Ordering::Greater)));
        assert_eq!(at("lte:2016-04-18T23:38:54%2B02:00"), number(Comparison::AT_MOST));
        assert!(refused("created_at=gt:soon").starts_with("Bad \"created_at\""));
        assert_eq!(refused("created_at=xx:2016-04-18T21:38:54Z"), "Unable to filter on a unknown operator.");
    }

    #[test]
    fn sorting_in_both_ways() {
        let ascending = (SortKey::Name, Direction::Ascending);
        let query = asked("sort=name:asc,size").query;
        assert_eq!(query.sort, [ascending, (SortKey::Size, Direction::Descending)]);
        let query = asked("sort_key=name&sort_dir=asc").query;
        assert_eq!(
            (query.sort.as_slice(), query.tie_direction),
            ([ascending].as_slice(), Direction::Ascending)
        );
        assert_eq!(refused("sort=name&sort_key=size"), "Old and new sorting syntax cannot be combined");
        assert!(refused("sort=colour").starts_with("Invalid sort key: colour."));
        assert_eq!(refused("sort=name:up"), "Invalid sort direction: up");
        assert!(refused("sort_key=name&sort_dir=asc&sort_dir=desc").starts_with("Number of sort dirs"));
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(refused("limit=-1"), "limit param must be positive");
        assert_eq!(refused("limit=x"), "limit param must be an integer");
        assert_eq!(refused("visibility=x"), "Invalid visibility value: x");
        assert_eq!(refused("member_status=x"), "Invalid status: x");
        assert!(refused("protected=maybe").starts_with("Invalid value 'maybe'"));
        assert!(refused("size_max=big").starts_with("Unable to filter on a range"));
        assert!(refused("name=neq:x").starts_with("Unable to filter by unknown operator"));
        assert!(refused("name=in:%22a").ends_with("The quote is not closed."));
        assert!(refused("name=in:%22a%22b").ends_with("after closing quotation mark."));
        assert!(refused("name=in:a%22b%22").ends_with("before opening quotation mark."));
    }

    #[test]
    fn links_keep_everything_but_the_marker() {
        let query = Query::parse("limit=2&marker=old&tag=a&tag=b%2Fc");
        assert_eq!(link(&query, None), "/v2/images?limit=2&tag=a&tag=b%2Fc");
        assert_eq!(link(&query, Some("new")), "/v2/images?limit=2&tag=a&tag=b%2Fc&marker=new");
        assert_eq!(link(&Query::default(), None), "/v2/images");
    }
}
