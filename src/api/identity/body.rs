//! Reading bodies: known attributes are taken out one by one, what is left is kept as it came.

use crate::api::call::Call;
use crate::core::identity::Extra;
use crate::core::{Error, Result};
use secrecy::SecretString;
use serde_json::Value;

/// The attributes of one object in a body.
pub(super) struct Fields(Extra);

impl Fields {
    /// The object under `key` in the call's body.
    pub(super) async fn read(call: &mut Call, key: &str) -> Result<Self> {
        let mut body = Self::whole(call).await?;
        body.object(key)?.ok_or_else(|| Error::invalid(format!("'{key}' is a required property")))
    }

    /// What shall change of the thing with this id: something has to, and the id cannot.
    pub(super) async fn changes(call: &mut Call, key: &str, id: &str) -> Result<Self> {
        let mut fields = Self::read(call, key).await?;
        if fields.0.is_empty() {
            return Err(Error::invalid("{} does not have enough properties"));
        }
        match fields.raw("id") {
            None | Some(Value::Null) => Ok(fields),
            Some(Value::String(given)) if given == id => Ok(fields),
            Some(_) => Err(Error::invalid("Cannot change ID")),
        }
    }

    /// The whole body.
    pub(super) async fn whole(call: &mut Call) -> Result<Self> {
        match call.json().await? {
            Value::Object(map) => Ok(Self(map)),
            _ => Err(Error::invalid("Expecting to find a JSON object in the request body.")),
        }
    }

    /// What the API says itself and clients send back: not theirs to set.
    pub(super) fn without_ours(mut self) -> Self {
        for name in ["id", "links", "options", "is_domain", "password_expires_at", "federated"] {
            self.0.remove(name);
        }
        self
    }

    /// A text; null counts as absent.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, &other, "string")),
        }
    }

    pub(super) fn required_text(&mut self, name: &str) -> Result<String> {
        self.text(name)?.ok_or_else(|| Error::invalid(format!("'{name}' is a required property")))
    }

    /// A text of 1 to 255 characters; null counts as absent.
    pub(super) fn short_text(&mut self, name: &str) -> Result<Option<String>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let fault = match text.chars().count() {
            0 => "short",
            1..=255 => return Ok(Some(text)),
            _ => "long",
        };
        Err(Error::invalid(format!("Invalid input for field '{name}': '{text}' is too {fault}")))
    }

    /// A text that null takes away.
    pub(super) fn nullable(&mut self, name: &str) -> Result<Option<Option<String>>> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(None)),
            Some(Value::String(text)) => Ok(Some(Some(text))),
            Some(other) => Err(wrong(name, &other, "string")),
        }
    }

    /// A text that must not be seen in any log.
    pub(super) fn secret(&mut self, name: &str) -> Result<Option<Option<SecretString>>> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(None)),
            Some(Value::String(text)) => Ok(Some(Some(text.into()))),
            Some(_) => {
                Err(Error::invalid(format!("Invalid input for field '{name}': it is not of type 'string'")))
            }
        }
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(wrong(name, &other, "boolean")),
        }
    }

    pub(super) fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>> {
        let Some(items) = self.list(name)? else { return Ok(None) };
        let texts = items.into_iter().map(|item| match item {
            Value::String(text) => Ok(text),
            other => Err(wrong(name, &other, "string")),
        });
        texts.collect::<Result<_>>().map(Some)
    }

    pub(super) fn list(&mut self, name: &str) -> Result<Option<Vec<Value>>> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(other) => Err(wrong(name, &other, "array")),
        }
    }

    pub(super) fn objects(&mut self, name: &str) -> Result<Option<Vec<Self>>> {
        let Some(items) = self.list(name)? else { return Ok(None) };
        let objects = items.into_iter().map(|item| match item {
            Value::Object(map) => Ok(Self(map)),
            other => Err(wrong(name, &other, "object")),
        });
        objects.collect::<Result<_>>().map(Some)
    }

    pub(super) fn object(&mut self, name: &str) -> Result<Option<Self>> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Self(map))),
            Some(other) => Err(wrong(name, &other, "object")),
        }
    }

    /// Any value, as it came.
    pub(super) fn raw(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// What has not been taken out.
    pub(super) fn rest(self) -> Extra {
        self.0
    }
}

fn wrong(name: &str, value: &Value, kind: &str) -> Error {
    Error::invalid(format!("Invalid input for field '{name}': {value} is not of type '{kind}'"))
}

impl From<Extra> for Fields {
    fn from(map: Extra) -> Self {
        Self(map)
    }
}
