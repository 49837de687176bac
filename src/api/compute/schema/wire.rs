//! Reading checked values: numbers and flags come as themselves or as text.

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _};
use serde_json::Value;

/// A whole number, or its decimal digits.
pub fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_i64().ok_or_else(|| D::Error::custom("the number is too large")),
        Value::String(digits) => digits.trim().parse().map_err(D::Error::custom),
        other => Err(D::Error::custom(format!("{other} is no number"))),
    }
}

/// As [`number`], for a key that may be missing or null.
pub fn maybe_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::Number(number) => {
            number.as_i64().map(Some).ok_or_else(|| D::Error::custom("the number is too large"))
        }
        Value::String(digits) => digits.trim().parse().map(Some).map_err(D::Error::custom),
        other => Err(D::Error::custom(format!("{other} is no number"))),
    }
}

/// A fraction or its text, for a key that may be missing.
pub fn maybe_fraction<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::Number(number) => Ok(number.as_f64()),
        Value::String(digits) => digits.trim().parse().map(Some).map_err(D::Error::custom),
        other => Err(D::Error::custom(format!("{other} is no number"))),
    }
}

/// A flag or one of the words for it, for a key that may be missing.
pub fn maybe_flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::Bool(flag) => Ok(Some(flag)),
        Value::String(word) => truth(&word).map(Some).ok_or_else(|| D::Error::custom("no flag")),
        other => Err(D::Error::custom(format!("{other} is no flag"))),
    }
}

/// A text, or a number as its digits.
pub fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(D::Error::custom(format!("{other} is no text"))),
    }
}

/// As [`text`], for a key that may be missing or null.
pub fn maybe_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Number(number) => Ok(Some(number.to_string())),
        other => Err(D::Error::custom(format!("{other} is no text"))),
    }
}

/// Tells a key that is null from one that is missing (use with `#[serde(default)]`).
#[expect(clippy::option_option, reason = "missing, null and a value are three things to a client")]
pub fn present<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

/// The words that mean yes and no.
pub fn truth(word: &str) -> Option<bool> {
    match word.trim().to_ascii_lowercase().as_str() {
        "1" | "t" | "true" | "on" | "y" | "yes" => Some(true),
        "0" | "f" | "false" | "off" | "n" | "no" => Some(false),
        _ => None,
    }
}

/// A checked body as its typed form.
///
/// # Errors
/// 400 where a value is of the right kind but out of every range.
pub fn read<T: DeserializeOwned>(body: Value) -> Result<T, crate::core::Error> {
    serde_json::from_value(body)
        .map_err(|e| crate::core::Error::invalid("Malformed request body").with_source(e))
}
