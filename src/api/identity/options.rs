//! The options that users, projects, domains and roles may be given.
//!
//! Those of users are kept and shown; what they mean is said in `core/identity`. The only one of the others has no effect in
//! this cloud. So it is not kept, and they are shown without any; but what no cloud would take is refused.

use super::body::Fields;
use crate::core::identity::Extra;
use crate::core::{Error, Result};
use serde_json::Value;
use std::collections::HashSet;

/// What an option may be; all may be null.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Flag,
    /// Sets of methods, of which one has to be used whole: `[["password", "totp"], ...]`.
    Rules,
}

pub(super) const OF_USERS: &[(&str, Kind)] = &[
    ("ignore_change_password_upon_first_use", Kind::Flag),
    ("ignore_password_expiry", Kind::Flag),
    ("ignore_lockout_failure_attempts", Kind::Flag),
    ("lock_password", Kind::Flag),
    ("ignore_user_inactivity", Kind::Flag),
    ("multi_factor_auth_rules", Kind::Rules),
    ("multi_factor_auth_enabled", Kind::Flag),
];

pub(super) const OF_OTHERS: &[(&str, Kind)] = &[("immutable", Kind::Flag)];

/// Takes the options out of a body; null stands for one to take away. An option that does not exist or has another type is
/// an error.
pub(super) fn read(fields: &mut Fields, known: &[(&str, Kind)]) -> Result<Extra> {
    let given = match fields.raw("options") {
        None => return Ok(Extra::new()),
        Some(Value::Object(given)) => given,
        Some(other) => return Err(wrong("options", &other, "is not of type 'object'")),
    };
    for (name, value) in &given {
        let Some((_, kind)) = known.iter().find(|(known, _)| known == name) else {
            return Err(Error::invalid(format!(
                "Invalid input for field 'options': Additional properties are not allowed ('{name}' was unexpected)"
            )));
        };
        let (good, fault) = match kind {
            Kind::Flag => (value.is_boolean(), "is not of type 'boolean', 'null'"),
            Kind::Rules => (are_rules(value), "is not a list of lists of texts, each once"),
        };
        if !good && !value.is_null() {
            return Err(wrong(&format!("options/{name}"), value, fault));
        }
    }
    Ok(given)
}

fn wrong(field: &str, value: &Value, fault: &str) -> Error {
    Error::invalid(format!("Invalid input for field '{field}': {value} {fault}"))
}

fn are_rules(value: &Value) -> bool {
    let is_rule = |rule: &Value| {
        rule.as_array().is_some_and(|methods| {
            !methods.is_empty() && methods.iter().all(Value::is_string) && each_once(methods)
        })
    };
    value.as_array().is_some_and(|rules| rules.iter().all(is_rule) && each_once(rules))
}

fn each_once(values: &[Value]) -> bool {
    let mut seen = HashSet::new();
    values.iter().all(|value| seen.insert(value.to_string()))
}
