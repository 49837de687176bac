//! Key pairs: what a user logs in to guests with. The private half is never kept.

use super::ids::UserId;
use jiff::Timestamp;

/// What kind of public half a key pair has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeypairKind {
    Ssh,
    X509,
}

impl KeypairKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ssh => "ssh",
            Self::X509 => "x509",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "ssh" => Some(Self::Ssh),
            "x509" => Some(Self::X509),
            _ => None,
        }
    }
}

/// A key pair as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keypair {
    pub number: i64,
    pub user_id: UserId,
    pub name: String,
    pub kind: KeypairKind,
    /// One line of OpenSSH, or a certificate in PEM.
    pub public_key: String,
    /// Hex digits in pairs with colons: MD5 for SSH, SHA-1 for X.509.
    pub fingerprint: String,
    pub created_at: Timestamp,
}

/// One page of a user's key pairs, by name.
#[derive(Debug, Clone)]
pub struct KeypairQuery {
    pub user_id: UserId,
    pub limit: usize,
    /// The name of the last key pair of the page before.
    pub marker: Option<String>,
}
