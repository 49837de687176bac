//! Updates: JSON patches of both kinds that the API ever had.

use super::attributes::attribute;
use crate::api::call::{Call, Reply};
use crate::api::error::{Dialect as Api, Fault};
use crate::api::fault;
use crate::core::image::{Change, names};
use crate::core::{Error, Result};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

const OPERATIONS: [&str; 3] = ["add", "remove", "replace"];
const OLD: &str = "application/openstack-images-v2.0-json-patch";
const NEW: &str = "application/openstack-images-v2.1-json-patch";

/// How a patch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `{"replace": "/name", "value": "x"}`, where "add" may not replace.
    Old,
    /// `{"op": "replace", "path": "/name", "value": "x"}`
    New,
}

impl Dialect {
    /// The dialect of a media type; `None` for any other type.
    pub fn of(media_type: Option<&str>) -> Option<Self> {
        match media_type?.split(';').next()?.trim() {
            OLD => Some(Self::Old),
            NEW => Some(Self::New),
            _ => None,
        }
    }
}

/// 415 with the types that there are.
pub fn unsupported(call: &Call) -> Reply {
    let allowed = format!("{OLD}, {NEW}");
    let given = call.header("content-type").unwrap_or_default();
    let words = format!(
        "The request media type {given} is not supported by this server.\n<br /><br />\nImage PATCH expects \
         Content-Type one of: {allowed}"
    );
    let fault = Fault::Status(StatusCode::UNSUPPORTED_MEDIA_TYPE, words);
    let mut response = fault::render(&fault, Api::Image, call.header("accept"), &call.base);
    if let Ok(value) = HeaderValue::from_str(&allowed) {
        response.headers_mut().insert(HeaderName::from_static("accept-patch"), value);
    }
    response.into()
}

/// Reads a patch.
///
/// # Errors
/// 400 for what is no patch of the dialect, 403 for attributes that clients do not set.
pub fn changes(body: &Value, dialect: Dialect) -> Result<Vec<Change>> {
    let Value::Array(operations) = body else {
        return Err(Error::invalid("Request body must be a JSON array of operation objects."));
    };
    operations
        .iter()
        .map(|operation| match operation {
            Value::Object(operation) => change(operation, dialect),
            _ => Err(Error::invalid("Operations must be JSON objects.")),
        })
        .collect()
}

fn change(operation: &Map<String, Value>, dialect: Dialect) -> Result<Change> {
    let (verb, path) = match dialect {
        Dialect::Old => old_form(operation)?,
        Dialect::New => new_form(operation)?,
    };
    let Value::String(pointer) = path else {
        return Err(Error::invalid(format!("Pointer `{path}` does not start with \"/\".")));
    };
    let parts = pointer_parts(pointer)?;
    if parts.first().is_some_and(|root| root == "locations") {
        return Err(Error::forbidden("It's not allowed to update locations if locations are invisible."));
    }
    let [name] = parts.as_slice() else {
        return Err(Error::invalid(format!(
            "Invalid JSON pointer for this resource: '/{}'",
            parts.join("/")
        )));
    };
    let value = match verb {
        "remove" => None,
        _ => Some(operation.get("value").ok_or_else(|| {
            Error::invalid(format!("Operation \"{verb}\" requires a member named \"value\"."))
        })?),
    };
    names::check(name)?;
    match (verb, value) {
        ("add", Some(value)) if dialect == Dialect::New => Ok(Change::Add(attribute(name, value)?)),
        ("add", Some(value)) => Ok(Change::AddNew(attribute(name, value)?)),
        (_, Some(value)) => Ok(Change::Replace(attribute(name, value)?)),
        (_, None) if names::is_settable(name) => Ok(Change::RemoveBase(name.clone())),
        (_, None) => Ok(Change::RemoveProperty(name.clone())),
    }
}

fn old_form(operation: &Map<String, Value>) -> Result<(&'static str, &Value)> {
    let mut found = OPERATIONS.into_iter().filter_map(|verb| Some((verb, operation.get(verb)?)));
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err(Error::invalid(
            "Operation objects must contain only one member named \"add\", \"remove\", or \"replace\".",
        )),
        (None, _) => Err(Error::invalid(
            "Operation objects must contain exactly one member named \"add\", \"remove\", or \"replace\".",
        )),
    }
}

fn new_form(operation: &Map<String, Value>) -> Result<(&'static str, &Value)> {
    let known = "It must be one of the following: add, remove, replace.";
    let verb = match operation.get("op") {
        None | Some(Value::Null) => {
            return Err(Error::invalid(format!("Unable to find `op` in JSON Schema change. {known}")));
        }
        Some(verb) => verb,
    };
    let verb = OPERATIONS.into_iter().find(|known| verb == known).ok_or_else(|| {
        let given = verb.as_str().map_or_else(|| verb.to_string(), str::to_owned);
        Error::invalid(format!("Invalid operation: `{given}`. {known}"))
    })?;
    let path = operation.get("path");
    Ok((verb, path.ok_or_else(|| Error::invalid("Unable to find 'path' in JSON Schema change"))?))
}

/// The parts of a JSON pointer, decoded: `~1` is `/`, `~0` is `~`.
fn pointer_parts(pointer: &str) -> Result<Vec<String>> {
    let refuse = |why: &str| Err(Error::invalid(format!("Pointer `{pointer}` {why}")));
    let Some(rest) = pointer.strip_prefix('/') else {
        return refuse("does not start with \"/\".");
    };
    let parts: Vec<&str> = rest.split('/').collect();
    if parts.len() > 2 && parts[1..parts.len() - 1].iter().any(|part| part.trim().is_empty()) {
        return refuse("contains adjacent \"/\".");
    }
    if !rest.is_empty() && rest.ends_with('/') {
        return refuse("end with \"/\".");
    }
    if rest.split('~').skip(1).any(|after| !after.starts_with(['0', '1'])) {
        return refuse("contains \"~\" not part of a recognized escape sequence.");
    }
    Ok(parts.into_iter().map(|part| part.replace("~1", "/").replace("~0", "~").trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Kind;
    use crate::core::image::Attribute;
    use serde_json::json;

    fn property(name: &str, value: &str) -> Attribute {
        Attribute::Property(name.into(), Some(value.into()))
    }

    #[test]
    fn both_dialects() {
        let new = json!([
            {"op": "replace", "path": "/name", "value": "x"},
            {"op": "add", "path": "/a~1b~0c", "value": "y"},
            {"op": "remove", "path": "/z"},
            {"op": "remove", "path": "/name"},
        ]);
        assert_eq!(
            changes(&new, Dialect::New).unwrap(),
            [
                Change::Replace(Attribute::Name(Some("x".into()))),
                Change::Add(property("a/b~c", "y")),
                Change::RemoveProperty("z".into()),
                Change::RemoveBase("name".into()),
            ]
        );
        let old = json!([{"replace": "/name", "value": "x"}, {"add": "/k", "value": "y"}, {"remove": "/z"}]);
        assert_eq!(
            changes(&old, Dialect::Old).unwrap(),
            [
                Change::Replace(Attribute::Name(Some("x".into()))),
                Change::AddNew(property("k", "y")),
                Change::RemoveProperty("z".into()),
            ]
        );
    }

    #[test]
    fn media_types() {
        assert_eq!(Dialect::of(Some(NEW)), Some(Dialect::New));
        assert_eq!(
            Dialect::of(Some("application/openstack-images-v2.0-json-patch; a=b")),
            Some(Dialect::Old)
        );
        assert_eq!(Dialect::of(Some("application/json")), None);
        assert_eq!(Dialect::of(None), None);
    }

    #[test]
    fn what_is_no_patch() {
        for (operation, kind) in [
            (json!({"op": "move", "path": "/a", "value": "b"}), Kind::Invalid),
            (json!({"path": "/a", "value": "b"}), Kind::Invalid),
            (json!({"op": "add", "value": "b"}), Kind::Invalid),
            (json!({"op": "add", "path": "/a"}), Kind::Invalid),
            (json!({"op": "add", "path": "a", "value": "b"}), Kind::Invalid),
            (json!({"op": "add", "path": "/a//b", "value": "b"}), Kind::Invalid),
            (json!({"op": "add", "path": "/a/", "value": "b"}), Kind::Invalid),
            (json!({"op": "add", "path": "/a~2", "value": "b"}), Kind::Invalid),
            (json!({"op": "add", "path": "/a/b", "value": "b"}), Kind::Invalid),
            (json!({"op": "add", "path": "/name", "value": 5}), Kind::Invalid),
            (json!({"op": "replace", "path": "/status", "value": "active"}), Kind::Forbidden),
            (json!({"op": "remove", "path": "/checksum"}), Kind::Forbidden),
            (json!({"op": "add", "path": "/os_glance_x", "value": "b"}), Kind::Forbidden),
            (json!({"op": "add", "path": "/locations/-", "value": {}}), Kind::Forbidden),
        ] {
            let refused = changes(&json!([operation]), Dialect::New).unwrap_err();
            assert_eq!(refused.kind(), kind, "{operation}: {refused}");
        }
        assert!(changes(&json!({}), Dialect::New).is_err());
        assert!(changes(&json!([1]), Dialect::New).is_err());
        assert!(changes(&json!([{"add": "/a", "remove": "/b"}]), Dialect::Old).is_err());
    }
}
