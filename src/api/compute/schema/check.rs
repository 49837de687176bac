//! The interpreter of the tables.

use super::format::Mismatch;
use super::python::{float, quote, repr, text};
use super::{Literal, Object, Rule, Schema, Type};
use crate::api::compute::changes;
use crate::core::Error;
use regex::Regex;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Under which rules a request is read.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// The minor part of the microversion.
    pub minor: u16,
    /// The legacy mount `/v2`: unknown keys are dropped, names may be padded.
    pub relaxed: bool,
}

/// Checks a body, and takes out the keys that the relaxed mode passes over.
///
/// # Errors
/// 400 with the words of the first condition that fails.
pub fn body(schema: &Schema, value: &mut Value, context: Context) -> Result<(), Error> {
    apply(schema, value, context, None).map_err(|problem| Error::invalid(problem.sentence("field/attribute")))
}

/// The first condition that failed.
pub(super) struct Problem {
    /// The last key or index on the way to the value; `None` at the root.
    pub at: Option<String>,
    pub value: String,
    pub detail: String,
    /// The detail says all.
    pub whole: bool,
}

impl Problem {
    pub fn sentence(self, what: &str) -> String {
        match self.at {
            Some(at) if !self.whole => {
                format!("Invalid input for {what} {at}. Value: {}. {}", self.value, self.detail)
            }
            _ => self.detail,
        }
    }
}

pub(super) fn apply(
    schema: &Schema,
    value: &mut Value,
    context: Context,
    at: Option<&str>,
) -> Result<(), Problem> {
    for rule in schema.0 {
        one(rule, value, context, at)?;
    }
    Ok(())
}

fn one(rule: &Rule, value: &mut Value, context: Context, at: Option<&str>) -> Result<(), Problem> {
    let detail = match rule {
        Rule::Types(types) => {
            if types.iter().any(|wanted| is_type(value, *wanted)) {
                return Ok(());
            }
            let names: Vec<_> = types.iter().map(|wanted| quote(type_name(*wanted))).collect();
            format!("{} is not of type {}", repr(value), names.join(", "))
        }
        Rule::MinLength(least) => match value.as_str() {
            Some(string) if string.chars().count() < *least => format!("{} is too short", quote(string)),
            _ => return Ok(()),
        },
        Rule::MaxLength(most) => match value.as_str() {
            Some(string) if string.chars().count() > *most => format!("{} is too long", quote(string)),
            _ => return Ok(()),
        },
        Rule::Pattern(pattern) => match value.as_str() {
            Some(string) if !matches(pattern, string) => {
                format!("{} does not match {}", quote(string), quote(pattern))
            }
            _ => return Ok(()),
        },
        Rule::PatternLike(shown, searched) => match value.as_str() {
            Some(string) if !matches(searched, string) => {
                format!("{} does not match {}", quote(string), quote(shown))
            }
            _ => return Ok(()),
        },
        Rule::Format(format) => match value.as_str().map(|string| format.check(string)) {
            Some(Err(Mismatch::Detail(detail))) => detail,
            Some(Err(Mismatch::Whole(detail))) => {
                return Err(Problem { at: at.map(str::to_owned), value: text(value), detail, whole: true });
            }
            Some(Ok(())) | None => return Ok(()),
        },
        Rule::Minimum(least) => match number(value) {
            #[expect(clippy::cast_precision_loss, reason = "bounds are small")]
            Some(found) if found < *least as f64 => {
                format!("{} is less than the minimum of {least}", plain(found))
            }
            _ => return Ok(()),
        },
        Rule::Maximum(most) => match number(value) {
            #[expect(clippy::cast_precision_loss, reason = "bounds are small")]
            Some(found) if found > *most as f64 => {
                format!("{} is greater than the maximum of {most}", plain(found))
            }
            _ => return Ok(()),
        },
        Rule::AtMost(most) => match number(value) {
            Some(found) if found > *most => {
                format!("{} is greater than the maximum of {}", plain(found), float(*most))
            }
            _ => return Ok(()),
        },
        Rule::MoreThan(bound) => match number(value) {
            #[expect(clippy::cast_precision_loss, reason = "bounds are small")]
            Some(found) if found <= *bound as f64 => {
                format!("{} is less than or equal to the minimum of {bound}", plain(found))
            }
            _ => return Ok(()),
        },
        Rule::OneOfLiterals(literals) => {
            if literals.iter().any(|literal| is_literal(value, *literal)) {
                return Ok(());
            }
            let all: Vec<_> = literals.iter().map(|literal| literal_repr(*literal)).collect();
            format!("{} is not one of [{}]", repr(value), all.join(", "))
        }
        Rule::Items(schema) => {
            if let Value::Array(items) = value {
                for (index, item) in items.iter_mut().enumerate() {
                    apply(schema, item, context, Some(&index.to_string()))?;
                }
            }
            return Ok(());
        }
        Rule::MinItems(least) => match value.as_array() {
            Some(items) if items.len() < *least => format!("{} is too short", repr(value)),
            _ => return Ok(()),
        },
        Rule::MaxItems(most) => match value.as_array() {
            Some(items) if items.len() > *most => format!("{} is too long", repr(value)),
            _ => return Ok(()),
        },
        Rule::Unique => match value.as_array() {
            Some(items) if items.iter().enumerate().any(|(n, item)| items[..n].contains(item)) => {
                format!("{} has non-unique elements", repr(value))
            }
            _ => return Ok(()),
        },
        Rule::Object(table) => match object(table, value, context)? {
            Some(detail) => detail,
            None => return Ok(()),
        },
        Rule::Entries(pattern, schema) => match entries(pattern, schema, value, context)? {
            Some(detail) => detail,
            None => return Ok(()),
        },
        Rule::MinProperties(least) => match value.as_object() {
            Some(map) if map.len() < *least => format!("{} does not have enough properties", repr(value)),
            _ => return Ok(()),
        },
        Rule::MaxProperties(most) => match value.as_object() {
            Some(map) if map.len() > *most => format!("{} has too many properties", repr(value)),
            _ => return Ok(()),
        },
        Rule::AnyOf(schemas) => {
            if schemas.iter().any(|schema| apply(schema, value, context, at).is_ok()) {
                return Ok(());
            }
            format!("{} is not valid under any of the given schemas", repr(value))
        }
    };
    Err(Problem { at: at.map(str::to_owned), value: text(value), detail, whole: false })
}

/// Checks an object's keys; gives the detail of a problem with the object as a whole.
fn object(table: &Object, value: &mut Value, context: Context) -> Result<Option<String>, Problem> {
    let Value::Object(map) = value else { return Ok(None) };
    let accepted = |name: &str| table.input.is_none_or(|input| changes::accepts(input, name, context.minor));
    for property in table.properties.iter().filter(|property| accepted(property.name)) {
        let Some(found) = map.get_mut(property.name) else { continue };
        let form = table.input.map_or(0, |input| changes::form(input, property.name, context.minor));
        let newest = property.forms[form.min(property.forms.len() - 1)];
        let schema = if context.relaxed { property.legacy.unwrap_or(newest) } else { newest };
        apply(schema, found, context, Some(property.name))?;
    }
    let demanded = table.input.iter().flat_map(|input| changes::required(*input, context.minor));
    if let Some(missing) =
        table.required.iter().copied().chain(demanded).find(|name| !map.contains_key(*name))
    {
        return Ok(Some(format!("{} is a required property", quote(missing))));
    }
    if table.open {
        return Ok(None);
    }
    let unknown =
        |name: &str| !(table.properties.iter().any(|property| property.name == name) && accepted(name));
    if context.relaxed {
        map.retain(|name, _| !unknown(name));
        return Ok(None);
    }
    let extra: Vec<String> = map.keys().filter(|name| unknown(name)).map(|name| quote(name)).collect();
    Ok(unexpected(&extra))
}

/// The words for keys that nothing allows; `None` when there are none.
pub(super) fn unexpected(quoted: &[String]) -> Option<String> {
    let verb = match quoted.len() {
        0 => return None,
        1 => "was",
        _ => "were",
    };
    Some(format!("Additional properties are not allowed ({} {verb} unexpected)", quoted.join(", ")))
}

fn entries(
    pattern: &'static str,
    schema: &Schema,
    value: &mut Value,
    context: Context,
) -> Result<Option<String>, Problem> {
    let Value::Object(map) = value else { return Ok(None) };
    let mut foreign = Vec::new();
    for (key, item) in map.iter_mut() {
        if matches(pattern, key) {
            apply(schema, item, context, Some(key))?;
        } else {
            foreign.push(quote(key));
        }
    }
    let verb = match foreign.len() {
        0 => return Ok(None),
        1 => "does",
        _ => "do",
    };
    Ok(Some(format!("{} {verb} not match any of the regexes: {}", foreign.join(", "), quote(pattern))))
}

fn is_type(value: &Value, wanted: Type) -> bool {
    match wanted {
        Type::Text => value.is_string(),
        Type::Integer => value.is_i64() || value.is_u64(),
        Type::Number => value.is_number(),
        Type::Boolean => value.is_boolean(),
        Type::Null => value.is_null(),
        Type::List => value.is_array(),
        Type::Object => value.is_object(),
    }
}

fn type_name(wanted: Type) -> &'static str {
    match wanted {
        Type::Text => "string",
        Type::Integer => "integer",
        Type::Number => "number",
        Type::Boolean => "boolean",
        Type::Null => "null",
        Type::List => "array",
        Type::Object => "object",
    }
}

fn is_literal(value: &Value, literal: Literal) -> bool {
    match literal {
        Literal::Text(wanted) => value.as_str() == Some(wanted),
        Literal::Flag(wanted) => value.as_bool() == Some(wanted),
    }
}

fn literal_repr(literal: Literal) -> String {
    match literal {
        Literal::Text(wanted) => quote(wanted),
        Literal::Flag(wanted) => repr(&Value::Bool(wanted)),
    }
}

/// A number, or a text that Python would read as one.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(digits) => digits.trim().parse().ok(),
        _ => None,
    }
}

fn plain(number: f64) -> String {
    // Rust prints a whole float without a point, which is how an integer reads.
    number.to_string()
}

/// Whether the pattern is found; each pattern is compiled once.
pub(super) fn matches(pattern: &'static str, text: &str) -> bool {
    static COMPILED: Mutex<Option<HashMap<&'static str, Option<Regex>>>> = Mutex::new(None);
    let mut guard = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let known = guard.get_or_insert_with(HashMap::new);
    let regex = known.entry(pattern).or_insert_with(|| Regex::new(pattern).ok()).clone();
    drop(guard);
    regex.is_some_and(|regex| regex.is_match(text))
}

/// The single key of an action's body.
///
/// # Errors
/// 400 unless the body is an object with exactly one key.
pub fn single_key(value: &Value) -> Result<&str, Error> {
    let only = |map: &Map<String, Value>| map.len() == 1;
    match value {
        Value::Object(map) if only(map) => {
            map.keys().next().map(String::as_str).ok_or_else(|| Error::invalid("Malformed request body"))
        }
        _ => Err(Error::invalid("Malformed request body")),
    }
}
