//! The EC2 form of what a guest is told about itself.

use super::documents::GuestDocuments;
use serde_json::{Map, Value, json};

/// The versions of the EC2 form, oldest first.
pub(super) const VERSIONS: [&str; 9] = [
    "1.0",
    "2007-01-19",
    "2007-03-01",
    "2007-08-29",
    "2007-10-10",
    "2007-12-15",
    "2008-02-01",
    "2008-09-01",
    "2009-04-04",
];

/// In a listing, what stands for a map that has this key.
const LISTED_AS: &str = "_name";

/// A node of the tree that guests walk through.
pub(super) enum Node {
    Data(Value),
    UserData(Vec<u8>),
}

impl GuestDocuments {
    /// The `meta-data` of a known version; `latest` is the newest.
    pub(super) fn ec2_meta_data(&self, version: &str) -> Option<Value> {
        let version = if version == "latest" { VERSIONS.last().copied()? } else { version };
        VERSIONS.contains(&version).then_some(())?;
        // Version 1.0 sorts before all dates.
        let since = |first: &str| version >= first;
        let facts = &self.ec2;
        let mut data = Map::new();
        let mut put = |name: &str, value: Value| data.insert(name.to_owned(), value);
        put("ami-id", json!(facts.ami_id));
        put("ami-launch-index", json!(self.launch_index));
        // This very word is what Nova answers: it has no manifests either.
        put("ami-manifest-path", json!("FIXME"));
        put("instance-id", json!(facts.instance_id));
        put("hostname", json!(self.hostname));
        put("local-ipv4", json!(facts.local_ipv4.map_or_else(String::new, |address| address.to_string())));
        put("reservation-id", json!(facts.reservation_id));
        put("security-groups", json!(facts.security_groups));
        if let Some(key) = &self.key {
            let listed = format!("0={}", key.name);
            put("public-keys", json!({ "0": { LISTED_AS: listed, "openssh-key": key.public_key } }));
        }
        if since("2007-01-19") {
            put("local-hostname", json!(self.hostname));
            put("public-hostname", json!(self.hostname));
            put(
                "public-ipv4",
                json!(facts.public_ipv4.map_or_else(String::new, |address| address.to_string())),
            );
        }
        if since("2007-08-29") {
            put("instance-type", json!(facts.instance_type));
        }
        if since("2007-12-15") {
            put("block-device-mapping", json!(facts.block_device_mapping));
            for (name, id) in [("kernel-id", &facts.kernel_id), ("ramdisk-id", &facts.ramdisk_id)] {
                if let Some(id) = id {
                    put(name, json!(id));
                }
            }
        }
        if since("2008-02-01") {
            put("placement", json!({ "availability-zone": self.availability_zone }));
        }
        if since("2008-09-01") {
            put("instance-action", json!("none"));
        }
        Some(Value::Object(data))
    }

    /// What is at a path below a version.
    pub(super) fn ec2_node(&self, version: &str, path: &[&str]) -> Option<Node> {
        let meta_data = self.ec2_meta_data(version)?;
        match path {
            [] => {
                let mut top = Map::from_iter([("meta-data".to_owned(), meta_data)]);
                if self.user_data.is_some() {
                    top.insert("user-data".to_owned(), Value::Null);
                }
                Some(Node::Data(Value::Object(top)))
            }
            ["user-data"] => self.user_data.clone().map(Node::UserData),
            ["meta-data", rest @ ..] => {
                let mut value = meta_data;
                for name in rest {
                    value = value.as_object_mut()?.remove(*name)?;
                }
                Some(Node::Data(value))
            }
            _ => None,
        }
    }
}

/// A value as guests read it: a map as the list of its names, a list one item a line.
pub(super) fn print(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().filter(|(name, _)| *name != LISTED_AS).collect();
            entries.sort_unstable_by_key(|(name, _)| *name);
            let lines = entries.into_iter().map(|(name, value)| match value {
                Value::Object(below) => below
                    .get(LISTED_AS)
                    .and_then(Value::as_str)
                    .map_or_else(|| format!("{name}/"), str::to_owned),
                _ => name.clone(),
            });
            lines.collect::<Vec<_>>().join("\n")
        }
        Value::Array(items) => items.iter().map(print).collect::<Vec<_>>().join("\n"),
        Value::String(text) => text.clone(),
        Value::Null => "None".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
