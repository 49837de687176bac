//! Random texts that nobody can guess.

use super::{Error, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;

/// 256 random bits as 43 characters that are safe in URLs, headers and shells.
pub fn random() -> Result<SecretString> {
    Ok(random_text::<32>()?.into())
}

/// 128 random bits as 22 characters, for what has to be unique rather than secret.
pub fn random_short() -> Result<String> {
    random_text::<16>()
}

fn random_text<const BYTES: usize>() -> Result<String> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|e| Error::internal(e.to_string()))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn no_two_are_the_same() {
        let (one, other) = (random().unwrap(), random().unwrap());
        assert_eq!(one.expose_secret().len(), 43);
        assert_ne!(one.expose_secret(), other.expose_secret());
    }
}
