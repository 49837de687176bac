//! JSON into typed attributes, with the words that a JSON schema would have.

use crate::core::ids::{ImageId, ProjectId};
use crate::core::image::{Attribute, ContainerFormat, DiskFormat, Visibility, names};
use crate::core::{Error, Result};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// A UUID, as the API's schema spells it.
pub const ID_PATTERN: &str =
    "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$";

/// Properties that hold the id of another image, or nothing.
const IMAGE_REFERENCES: [&str; 2] = ["kernel_id", "ramdisk_id"];
/// What a request to create an image asks for.
#[derive(Debug)]
pub struct Create {
    pub id: Option<ImageId>,
    pub attributes: Vec<Attribute>,
}

/// Reads the body of a request to create an image.
///
/// # Errors
/// 400 for values that do not fit, 403 for what clients do not set.
pub fn create(body: &Value) -> Result<Create> {
    let Value::Object(body) = body else {
        return Err(mismatch(format!("{} is not of type 'object'", repr(body))));
    };
    if let Some(key) = names::SERVICE_OWN.iter().find(|key| body.contains_key(**key)) {
        return Err(names::read_only(key));
    }
    let id = body.get("id").map(identifier).transpose()?;
    let mut attributes = Vec::new();
    for (key, value) in body.iter().filter(|(key, _)| *key != "id") {
        names::check(key)?;
        attributes.push(attribute(key, value)?);
    }
    Ok(Create { id, attributes })
}

/// One attribute from its JSON value.
///
/// # Errors
/// The value does not fit the schema.
pub fn attribute(key: &str, value: &Value) -> Result<Attribute> {
    Ok(match key {
        "name" => Attribute::Name(maybe_text(value)?),
        "owner" => Attribute::Owner(maybe_text(value)?.map(ProjectId)),
        "visibility" => {
            Attribute::Visibility(word(value, Visibility::ALL, crate::core::image::Visibility::as_str)?)
        }
        "disk_format" => {
            Attribute::DiskFormat(maybe_word(value, DiskFormat::ALL, crate::core::image::DiskFormat::as_str)?)
        }
        "container_format" => Attribute::ContainerFormat(maybe_word(
            value,
            ContainerFormat::ALL,
            crate::core::image::ContainerFormat::as_str,
        )?),
        "min_disk" => Attribute::MinDisk(integer(value)?),
        "min_ram" => Attribute::MinRam(integer(value)?),
        "protected" => Attribute::Protected(boolean(value)?),
        "os_hidden" => Attribute::Hidden(boolean(value)?),
        "tags" => Attribute::Tags(tags(value)?),
        _ => Attribute::Property(key.to_owned(), property(key, value)?),
    })
}

/// Whether a text can be a tag.
///
/// # Errors
/// It is too long.
pub fn check_tag(tag: &str) -> Result<()> {
    bounded(tag)
}

fn property(key: &str, value: &Value) -> Result<Option<String>> {
    if IMAGE_REFERENCES.contains(&key) {
        return match value {
            Value::Null => Ok(None),
            Value::String(text) if is_uuid(text) => Ok(Some(text.clone())),
            Value::String(_) => Err(mismatch(format!("{} does not match '{ID_PATTERN}'", repr(value)))),
            _ => Err(wrong_type(value, "'null', 'string'")),
        };
    }
    match value {
        Value::String(text) => Ok(Some(text.clone())),
        _ => Err(wrong_type(value, "'string'")),
    }
}

fn identifier(value: &Value) -> Result<ImageId> {
    let Value::String(text) = value else { return Err(wrong_type(value, "'string'")) };
    text.parse()
        .ok()
        .filter(|_| is_uuid(text))
        .ok_or_else(|| mismatch(format!("{} does not match '{ID_PATTERN}'", repr(value))))
}

/// Hyphenated: other spellings are UUIDs to some, but not to the API.
fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

fn maybe_text(value: &Value) -> Result<Option<String>> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => {
            bounded(text)?;
            Ok(Some(text.clone()))
        }
        _ => Err(wrong_type(value, "'null', 'string'")),
    }
}

fn bounded(text: &str) -> Result<()> {
    if text.chars().count() <= 255 {
        return Ok(());
    }
    Err(mismatch(format!("{} is too long", repr(&Value::from(text)))))
}

fn word<T: Copy>(value: &Value, all: &[T], name: fn(T) -> &'static str) -> Result<T> {
    let found = value.as_str().and_then(|text| all.iter().find(|word| name(**word) == text));
    found.copied().ok_or_else(|| {
        let names: Vec<String> = all.iter().map(|word| format!("'{}'", name(*word))).collect();
        mismatch(format!("{} is not one of [{}]", repr(value), names.join(", ")))
    })
}

fn maybe_word<T: Copy>(value: &Value, all: &[T], name: fn(T) -> &'static str) -> Result<Option<T>> {
    if value.is_null() { Ok(None) } else { word(value, all, name).map(Some) }
}

fn integer(value: &Value) -> Result<i64> {
    // A number too large for us is an integer all the same, and refused for its size later on.
    match value {
        Value::Number(number) if number.is_u64() => Ok(number.as_i64().unwrap_or(i64::MAX)),
        Value::Number(number) => number.as_i64().ok_or_else(|| wrong_type(value, "'integer'")),
        _ => Err(wrong_type(value, "'integer'")),
    }
}

fn boolean(value: &Value) -> Result<bool> {
    value.as_bool().ok_or_else(|| wrong_type(value, "'boolean'"))
}

fn tags(value: &Value) -> Result<BTreeSet<String>> {
    let Value::Array(values) = value else { return Err(wrong_type(value, "'array'")) };
    values
        .iter()
        .map(|value| {
            let Value::String(tag) = value else { return Err(wrong_type(value, "'string'")) };
            bounded(tag)?;
            Ok(tag.clone())
        })
        .collect()
}

fn wrong_type(value: &Value, types: &str) -> Error {
    mismatch(format!("{} is not of type {types}", repr(value)))
}

fn mismatch(why: impl std::fmt::Display) -> Error {
    Error::invalid(format!("Provided object does not match schema 'image': {why}"))
}

/// A JSON value as the original's messages quote it.
fn repr(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Number(number) => number.to_string(),
        Value::String(text) if text.contains('\'') && !text.contains('"') => format!("\"{text}\""),
        Value::String(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        Value::Array(values) => format!("[{}]", values.iter().map(repr).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => object_repr(map),
    }
}

fn object_repr(map: &Map<String, Value>) -> String {
    let pairs: Vec<String> = map
        .iter()
        .map(|(key, value)| format!("{}: {}", repr(&Value::from(key.as_str())), repr(value)))
        .collect();
    format!("{{{}}}", pairs.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Kind;
    use serde_json::json;

    fn refusal(body: &Value) -> (Kind, String) {
        let error = create(body).unwrap_err();
        (error.kind(), error.message().to_owned())
    }

    #[test]
    fn a_whole_request() {
        let id = "b2173dd3-7ad6-4362-baa6-a68bce3565cb";
        let asked = create(&json!({
            "id": id, "name": "Ubuntu", "container_format": "bare", "disk_format": "raw", "tags": ["a", "a"],
            "min_disk": 1, "protected": true, "os_distro": "ubuntu", "kernel_id": null,
        }))
        .unwrap();
        assert_eq!(asked.id.unwrap().to_string(), id);
        assert!(asked.attributes.contains(&Attribute::Tags(["a".to_owned()].into())));
        assert!(asked.attributes.contains(&Attribute::Property("kernel_id".into(), None)));
        assert!(asked.attributes.contains(&Attribute::Property("os_distro".into(), Some("ubuntu".into()))));
    }

    #[test]
    fn what_does_not_fit_is_quoted() {
        for (body, why) in [
            (json!({"name": 5}), "5 is not of type 'null', 'string'"),
            (json!({"protected": "yes"}), "'yes' is not of type 'boolean'"),
            (json!({"min_ram": 1.5}), "1.5 is not of type 'integer'"),
            (json!({"min_ram": true}), "True is not of type 'integer'"),
            (json!({"extra": {"a": null}}), "{'a': None} is not of type 'string'"),
            (json!({"visibility": "x"}), "'x' is not one of ['community', 'public', 'private', 'shared']"),
            (json!({"id": "x"}), &format!("'x' does not match '{ID_PATTERN}'")),
            (json!({"tags": ["a", 1]}), "1 is not of type 'string'"),
            (json!([]), "[] is not of type 'object'"),
        ] {
            let expected = format!("Provided object does not match schema 'image': {why}");
            assert_eq!(refusal(&body), (Kind::Invalid, expected));
        }
        assert!(refusal(&json!({"name": "n".repeat(256)})).1.ends_with("is too long"));
        assert_eq!(refusal(&json!({"disk_format": "wrong"})).0, Kind::Invalid);
    }

    #[test]
    fn what_is_not_for_clients_is_forbidden() {
        for (key, why) in [
            ("self", "Attribute 'self' is read-only."),
            ("stores", "Attribute 'stores' is read-only."),
            ("status", "Attribute 'status' is read-only."),
            ("deleted", "Attribute 'deleted' is reserved."),
            ("locations", "Attribute 'locations' is reserved."),
            ("os_glance_foo", "Attribute 'os_glance_foo' is reserved."),
        ] {
            assert_eq!(refusal(&json!({key: "x"})), (Kind::Forbidden, why.to_owned()));
        }
        assert_eq!(refusal(&json!({"k".repeat(256): "x"})).0, Kind::Invalid);
    }
}
