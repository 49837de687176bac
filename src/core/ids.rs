//! Typed ids, and the only source of random ones.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

macro_rules! uuid_id {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::try_parse(text).map(Self)
            }
        }
    )*};
}

uuid_id! {
    /// A server; also the UUID of its libvirt domain.
    ServerId;
    ServerGroupId;
    ImageId;
    /// An import of an image, which its API shows as a task.
    ImportId;
    NetworkId;
    SubnetId;
    PortId;
    SecurityGroupId;
    SecurityGroupRuleId;
}

macro_rules! text_id {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// 32 hex digits, as Keystone forms its ids.
            pub fn random() -> Self {
                Self(Uuid::new_v4().simple().to_string())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }
    )*};
}

text_id! {
    ProjectId;
    UserId;
    /// `default` for the first domain, 32 hex digits for others.
    DomainId;
    RoleId;
    GroupId;
    ApplicationCredentialId;
    /// `req-` and a UUID: names one API request in logs, answers and instance actions.
    RequestId;
}

impl RequestId {
    pub fn fresh() -> Self {
        Self(format!("req-{}", Uuid::new_v4().hyphenated()))
    }
}

/// 128 random bits, 122 of them really so.
pub fn random_number() -> u128 {
    Uuid::new_v4().as_u128()
}

/// Random bytes that are no secret.
pub fn random_bytes(count: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count + 16);
    while bytes.len() < count {
        bytes.extend_from_slice(Uuid::new_v4().as_bytes());
    }
    bytes.truncate(count);
    bytes
}
