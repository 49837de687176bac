//! What the creator of a server asks of the place where it is put. Hints that mean nothing on one host are kept and shown,
//! and have no place here.

use crate::core::ids::{ServerGroupId, ServerId};
use serde::{Deserialize, Deserializer};

/// The hints that count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Hints {
    /// The server group that it is to be in.
    pub group: Option<ServerGroupId>,
    /// It is to be where one of these is.
    #[serde(deserialize_with = "one_or_many")]
    pub same_host: Vec<ServerId>,
    /// It is to be where none of these is.
    #[serde(deserialize_with = "one_or_many")]
    pub different_host: Vec<ServerId>,
}

impl Hints {
    /// Reads the JSON object that a server keeps.
    ///
    /// # Errors
    /// JSON that no request is accepted with.
    pub fn read(json: &str) -> serde_json::Result<Self> {
        serde_json::from_str(json)
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ServerId>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        One(ServerId),
        Many(Vec<ServerId>),
    }
    Ok(match Form::deserialize(deserializer)? {
        Form::One(id) => vec![id],
        Form::Many(ids) => ids,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_alone_or_in_a_list() {
        let (one, two) = (ServerId::random(), ServerId::random());
        let json = format!(
            r#"{{"group": "{one}", "same_host": "{one}", "different_host": ["{one}", "{two}"], "query": ["=", "$x", 1]}}"#
        );
        let hints = Hints::read(&json).unwrap();
        assert_eq!(hints.group, Some(ServerGroupId(one.0)));
        assert_eq!((hints.same_host, hints.different_host), (vec![one], vec![one, two]));
        assert_eq!(Hints::read("{}").unwrap(), Hints::default());
        assert!(Hints::read(r#"{"group": 1}"#).is_err());
    }
}
