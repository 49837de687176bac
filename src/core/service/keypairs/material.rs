//! Keys and their fingerprints: pure computation, some of it slow.

use super::certificate;
use crate::core::keypair::KeypairKind;
use crate::core::{Error, Result};
use md5::{Digest, Md5};
use rsa::RsaPrivateKey;
use rsa::pkcs1::{EncodeRsaPrivateKey, LineEnding};
use rsa::pkcs8::EncodePrivateKey;
use rsa::rand_core::OsRng;
use sha1::Sha1;
use ssh_key::PublicKey;
use ssh_key::public::{KeyData, RsaPublicKey};

const BITS: usize = 2048;

/// The halves of a key pair and what to know it by.
pub struct Material {
    pub public_key: String,
    pub fingerprint: String,
    /// PEM; only of a pair that was made here.
    pub private_key: Option<String>,
}

impl Material {
    /// Takes over a public key that the user has.
    ///
    /// # Errors
    /// Invalid when it is none.
    pub fn import(kind: KeypairKind, public_key: &str) -> Result<Self> {
        let fingerprint = match kind {
            KeypairKind::Ssh => {
                let key = PublicKey::from_openssh(public_key.trim()).map_err(|e| {
                    Error::invalid("Keypair data is invalid: failed to generate fingerprint").with_source(e)
                })?;
                ssh_fingerprint(&key)?
            }
            KeypairKind::X509 => {
                let der = certificate::from_pem(public_key).ok_or_else(|| {
                    Error::invalid(
                        "Keypair data is invalid: failed to generate X509 fingerprint. Error message: Unable to \
                         load PEM file.",
                    )
                })?;
                colons(&Sha1::digest(&der))
            }
        };
        Ok(Self { public_key: public_key.to_owned(), fingerprint, private_key: None })
    }

    /// Makes a pair. `user` names the subject of a certificate.
    pub fn generate(kind: KeypairKind, user: &str) -> Result<Self> {
        let private = RsaPrivateKey::new(&mut OsRng, BITS).map_err(Error::internal)?;
        match kind {
            KeypairKind::Ssh => {
                let data = RsaPublicKey::try_from(&private.to_public_key()).map_err(Error::internal)?;
                let key = PublicKey::new(KeyData::Rsa(data), "Generated-by-Dwarfnova");
                let line = key.to_openssh().map_err(Error::internal)?;
                let pem = private.to_pkcs1_pem(LineEnding::LF).map_err(Error::internal)?;
                Ok(Self {
                    fingerprint: ssh_fingerprint(&key)?,
                    public_key: format!("{line}\n"),
                    private_key: Some(pem.to_string()),
                })
            }
            KeypairKind::X509 => {
                let der = certificate::self_signed(&private, user)?;
                let pem = private.to_pkcs8_pem(LineEnding::LF).map_err(Error::internal)?;
                Ok(Self {
                    fingerprint: colons(&Sha1::digest(&der)),
                    public_key: certificate::to_pem(&der),
                    private_key: Some(pem.to_string()),
                })
            }
        }
    }
}

/// MD5 over the key's wire form, as `ssh-keygen -l -E md5` shows it.
fn ssh_fingerprint(key: &PublicKey) -> Result<String> {
    Ok(colons(&Md5::digest(key.to_bytes().map_err(Error::internal)?)))
}

fn colons(digest: &[u8]) -> String {
    let pairs: Vec<String> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDx8nkQv/zgGgB4rMYmIf+6A4l6Rr+o/6lHBQdW5aYd44bd8JttDCE/\
                       F/pNRr0lRE+PiqSPO8nDPHw0010JeMH9gYgnnFlyY3/OcJ02RhIPyyxYpv9FhY+2YiUkpwFOcLImyrxEsYXpD/0d3ac30\
                       bNH6Sw9JD9UZHYcpSxsIbECHw== somebody";

    #[test]
    fn the_fingerprint_of_a_known_key() {
        let material = Material::import(KeypairKind::Ssh, KEY).unwrap();
        assert_eq!(material.fingerprint, "1e:2c:9b:56:79:4b:45:77:f9:ca:7a:98:2c:b0:d5:3c");
        assert_eq!(material.public_key, KEY);
        assert!(material.private_key.is_none());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "ssh-rsa", "ssh-rsa JUNK", "no key at all"] {
            assert!(Material::import(KeypairKind::Ssh, text).is_err(), "{text}");
            assert!(Material::import(KeypairKind::X509, text).is_err(), "{text}");
        }
    }

    #[test]
    fn made_keys_can_be_imported_again() {
        for kind in [KeypairKind::Ssh, KeypairKind::X509] {
            let made = Material::generate(kind, "someone").unwrap();
            let again = Material::import(kind, &made.public_key).unwrap();
            assert_eq!(made.fingerprint, again.fingerprint);
            assert!(made.private_key.unwrap().contains("PRIVATE KEY-----"));
        }
    }
}
