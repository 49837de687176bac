//! Bodies of requests: one object, or several under the plural name, with attributes that are checked one by one.

use super::super::call::Call;
use crate::core::ids::ProjectId;
use crate::core::{Error, Kind, Result};
use serde_json::{Map, Value};
use std::fmt::Display;
use std::str::FromStr;

/// The names that a resource has in bodies, and which attributes a client may write.
pub(super) struct Shape {
    pub singular: &'static str,
    pub plural: &'static str,
    /// What may be given when it is made.
    pub on_create: &'static [&'static str],
    /// What may be changed.
    pub on_update: &'static [&'static str],
    /// What is shown, but never written.
    pub read_only: &'static [&'static str],
}

/// The attributes of one object. Getters take them out, in any order.
#[derive(Debug)]
pub(super) struct Attributes(Map<String, Value>);

/// The body of a POST: one object or several, and whether the plural form was used.
pub(super) async fn new_objects(call: &mut Call, shape: &Shape) -> Result<(Vec<Attributes>, bool)> {
    let mut body = object(call).await?;
    if let Some(several) = body.remove(shape.plural) {
        let Value::Array(several) = several else {
            return Err(bad(format!("Unable to find '{}' in request body", shape.plural)));
        };
        if several.is_empty() {
            return Err(bad("Resources required"));
        }
        let checked = several.into_iter().map(|one| {
            // Each may be wrapped in the singular name once more.
            let one = match one {
                Value::Object(mut map) if map.len() == 1 && map.contains_key(shape.singular) => {
                    map.remove(shape.singular).unwrap_or_default()
                }
                other => other,
            };
            check(one, shape, true)
        });
        return Ok((checked.collect::<Result<_>>()?, true));
    }
    let one = body.remove(shape.singular).ok_or_else(|| missing(shape))?;
    Ok((vec![check(one, shape, true)?], false))
}

/// The body of a PUT.
pub(super) async fn changes(call: &mut Call, shape: &Shape) -> Result<Attributes> {
    let one = object(call).await?.remove(shape.singular).ok_or_else(|| missing(shape))?;
    check(one, shape, false)
}

async fn object(call: &mut Call) -> Result<Map<String, Value>> {
    match call.json().await? {
        Value::Object(map) => Ok(map),
        Value::Null => Err(bad("Resource body required")),
        _ => Err(bad("Invalid request body")),
    }
}

fn missing(shape: &Shape) -> Error {
    bad(format!("Unable to find '{}' in request body", shape.singular))
}

fn check(value: Value, shape: &Shape, create: bool) -> Result<Attributes> {
    let Value::Object(map) = value else { return Err(missing(shape)) };
    let allowed = if create { shape.on_create } else { shape.on_update };
    let known = |name: &str| {
        [shape.on_create, shape.on_update, shape.read_only].iter().any(|names| names.contains(&name))
    };
    let unknown: Vec<&str> = map.keys().map(String::as_str).filter(|name| !known(name)).collect();
    if !unknown.is_empty() {
        return Err(bad(format!("Unrecognized attribute(s) '{}'", unknown.join(", "))));
    }
    if let Some(name) = map.keys().find(|name| !allowed.contains(&name.as_str())) {
        return Err(bad(if create {
            format!("Attribute '{name}' not allowed in POST")
        } else {
            format!("Cannot update read-only attribute {name}")
        }));
    }
    Ok(Attributes(map))
}

/// A 400 of HTTP itself rather than of a resource.
pub(super) fn bad(message: impl Into<String>) -> Error {
    Error::invalid(message).with_class("HTTPBadRequest")
}

fn invalid(name: &str, reason: impl Display) -> Error {
    bad(format!("Invalid input for {name}. Reason: {reason}."))
}

/// A value as messages show it: text in quotes, and Python's words for the rest.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{text}'"),
        Value::Null => "'None'".into(),
        Value::Bool(true) => "'True'".into(),
        Value::Bool(false) => "'False'".into(),
        other => format!("'{other}'"),
    }
}

/// What the host cannot do, in plain words.
pub(super) fn not_available(message: impl Into<String>) -> Error {
    Error::new(Kind::NotImplemented, message).with_class("NotImplementedError")
}

impl Attributes {
    /// The attribute as it came, if it was given.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    pub fn is_null(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(Value::is_null)
    }

    pub fn required<T>(name: &str, value: Option<T>) -> Result<T> {
        value
            .ok_or_else(|| bad(format!("Failed to parse request. Required attribute '{name}' not specified")))
    }

    /// Text of at most 255 characters.
    pub fn text(&mut self, name: &str) -> Result<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.chars().count() <= 255 => Ok(Some(text)),
            Some(Value::String(text)) => {
                Err(invalid(name, format!("'{text}' exceeds maximum length of 255")))
            }
            Some(other) => Err(invalid(name, format!("{} is not a valid string", shown(&other)))),
        }
    }

    pub fn flag(&mut self, name: &str) -> Result<Option<bool>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let flag = match &value {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "1" => Some(true),
                "false" | "0" => Some(false),
                _ => None,
            },
            Value::Number(number) => match number.as_i64() {
                Some(1) => Some(true),
                Some(0) => Some(false),
                _ => None,
            },
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        match flag {
            Some(flag) => Ok(Some(flag)),
            None => Err(invalid(name, format!("{} cannot be converted to boolean", shown(&value)))),
        }
    }

    /// A whole number, perhaps as text. Null counts as absent.
    pub fn integer(&mut self, name: &str) -> Result<Option<i64>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let number = match &value {
            Value::Null => return Ok(None),
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.parse().ok(),
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        match number {
            Some(number) => Ok(Some(number)),
            None => Err(invalid(name, format!("{} is not an integer", shown(&value)))),
        }
    }

    /// Text in the form of a type; `what` names the type in the message. Null counts as absent.
    pub fn parsed<T: FromStr>(&mut self, name: &str, what: &str) -> Result<Option<T>> {
        match self.take(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => parse(name, &value, what).map(Some),
        }
    }

    /// A list of texts in the form of a type.
    pub fn list<T: FromStr>(&mut self, name: &str, what: &str) -> Result<Option<Vec<T>>> {
        match self.take(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(values)) => {
                values.iter().map(|value| parse(name, value, what)).collect::<Result<_>>().map(Some)
            }
            Some(other) => Err(invalid(name, format!("{} is not a list", shown(&other)))),
        }
    }

    /// A list of objects, each read by `read`; `None` from it is a malformed one.
    pub fn objects<T>(
        &mut self,
        name: &str,
        mut read: impl FnMut(&Map<String, Value>) -> Option<T>,
    ) -> Result<Option<Vec<T>>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(values)) => values
                .iter()
                .map(|value| {
                    value
                        .as_object()
                        .and_then(&mut read)
                        .ok_or_else(|| invalid(name, format!("Invalid data format: '{value}'")))
                })
                .collect::<Result<_>>()
                .map(Some),
            Some(other) => Err(invalid(name, format!("{} is not a list", shown(&other)))),
        }
    }

    /// The project that the object is for, by its new or its old name.
    pub fn project(&mut self) -> Result<Option<ProjectId>> {
        let (new, old) = (self.text("project_id")?, self.text("tenant_id")?);
        match (new, old) {
            (Some(new), Some(old)) if new != old => Err(bad("'project_id' and 'tenant_id' do not match")),
            (new, old) => Ok(new.or(old).map(ProjectId)),
        }
    }
}

fn parse<T: FromStr>(name: &str, value: &Value, what: &str) -> Result<T> {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| invalid(name, format!("{} is not a valid {what}", shown(value))))
}
