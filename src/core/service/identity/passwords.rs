//! Argon2id, off the async workers, and never on all cores at once.

use crate::core::{Error, Result};
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error as HashError, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret, SecretString};
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

/// Memory in KiB, passes and lanes: one of the equally strong minimal settings that OWASP gives for Argon2id, and the
/// quickest of them where it was measured. A hash says with what it was made: other settings can follow.
const MEMORY_KIB: u32 = 9 * 1024;
const PASSES: u32 = 4;
const LANES: u32 = 1;

/// The longest password that is hashed, in bytes.
const LONGEST: usize = 4096;

pub(super) struct Passwords {
    /// As many hashes at once as leave a core to everything else.
    places: Arc<Semaphore>,
    /// What unknown users' passwords are compared with, so that they take as long as known ones.
    decoy: OnceLock<String>,
}

impl Passwords {
    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { places: Arc::new(Semaphore::new(cores.saturating_sub(1).max(1))), decoy: OnceLock::new() }
    }

    /// The text to keep in place of a password.
    pub(super) async fn hash(&self, password: SecretString) -> Result<String> {
        if password.expose_secret().len() > LONGEST {
            return Err(Error::invalid(format!("A password may be {LONGEST} bytes long at most.")));
        }
        self.run(move || hash(&password)).await?
    }

    /// Whether the password is the one behind `kept`; without one the answer takes as long, and is no.
    pub(super) async fn verify(
        self: &Arc<Self>,
        password: SecretString,
        kept: Option<String>,
    ) -> Result<bool> {
        // What cannot have been kept is compared all the same, and is wrong after the same time.
        let kept = kept.filter(|_| password.expose_secret().len() <= LONGEST);
        let this = self.clone();
        self.run(move || {
            if let Some(kept) = kept {
                verify(&password, &kept)
            } else {
                let decoy = if let Some(decoy) = this.decoy.get() {
                    decoy
                } else {
                    let fresh = hash(&SecretString::from(String::new()))?;
                    this.decoy.get_or_init(|| fresh)
                };
                verify(&password, decoy).map(|_| false)
            }
        })
        .await?
    }

    async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let place = self.places.clone().acquire_owned().await.map_err(Error::internal)?;
        let work = tokio::task::spawn_blocking(move || {
            // Given back when the work is done, not when the caller stops waiting for it.
            let _place = place;
            job()
        });
        work.await.map_err(Error::internal)
    }
}

fn argon() -> Result<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|e| Error::internal(e.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &SecretString) -> Result<String> {
    let hash = argon()?.hash_password(password.expose_secret().as_bytes());
    Ok(hash.map_err(|e| Error::internal(e.to_string()))?.to_string())
}

fn verify(password: &SecretString, kept: &str) -> Result<bool> {
    let kept = PasswordHash::new(kept).map_err(|e| Error::internal(e.to_string()))?;
    match argon()?.verify_password(password.expose_secret().as_bytes(), &kept) {
        Ok(()) => Ok(true),
        Err(HashError::PasswordInvalid) => Ok(false),
        Err(error) => Err(Error::internal(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_is_right() {
        let passwords = Arc::new(Passwords::new());
        let kept = passwords.hash("secret".into()).await.unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=9216,t=4,p=1$"), "{kept}");
        assert!(passwords.verify("secret".into(), Some(kept.clone())).await.unwrap());
        assert!(!passwords.verify("Secret".into(), Some(kept)).await.unwrap());
        assert!(
            !passwords.verify(String::new().into(), None).await.unwrap(),
            "nobody has the decoy's password"
        );
    }
}
