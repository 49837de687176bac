//! Texts that must not be seen, and random ones that nobody can guess.

use super::{Error, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A password on its way to a guest. Whatever prints it prints a placeholder; it is written in clear into the state of the
/// task that carries it, which is emptied when the task closes.
#[derive(Debug, Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// The text, for the one who must have it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Secret> for SecretString {
    fn from(secret: Secret) -> Self {
        secret.0
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

/// 256 random bits as 43 characters that are safe in URLs, headers and shells.
pub fn random() -> Result<SecretString> {
    Ok(random_text::<32>()?.into())
}

/// 144 random bits as 36 characters: text that needs no quotes anywhere, and that no command line takes for an option.
pub fn random_password() -> Result<SecretString> {
    Ok(hex::encode(random_bytes::<18>()?).into())
}

/// 128 random bits as 22 characters, for what has to be unique rather than secret.
pub fn random_short() -> Result<String> {
    random_text::<16>()
}

fn random_text<const BYTES: usize>() -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(random_bytes::<BYTES>()?))
}

fn random_bytes<const BYTES: usize>() -> Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|e| Error::internal(e.to_string()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Secret::from("open sesame".to_owned());
        assert!(!format!("{secret:?}").contains("sesame"));
        let stored = serde_json::to_string(&secret).unwrap();
        assert_eq!(serde_json::from_str::<Secret>(&stored).unwrap().expose(), "open sesame");
    }

    #[test]
    fn no_two_are_the_same() {
        let (one, other) = (random().unwrap(), random().unwrap());
        assert_eq!(one.expose_secret().len(), 43);
        assert_ne!(one.expose_secret(), other.expose_secret());
        let password = random_password().unwrap();
        assert_eq!(password.expose_secret().len(), 36);
        assert!(password.expose_secret().chars().all(|c| c.is_ascii_hexdigit()));
    }
}
