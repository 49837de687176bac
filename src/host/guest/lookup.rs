//! One set of documents by two ways: the metadata service asks for a path, a config drive holds all of them.

use super::documents::{self, GuestDocuments, Version, content_path, json};
use super::ec2::{self, Node};
use super::network_data::network_data;
use std::collections::BTreeMap;

/// The label by which guests know a config drive.
pub const CONFIG_DRIVE_LABEL: &str = "config-2";
/// The versions of the EC2 form that a config drive has; Nova leaves out the older ones too.
const EC2_ON_DRIVE: [&str; 2] = ["2009-04-04", "latest"];

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Text(Vec<u8>),
    Json(Vec<u8>),
    /// The password that the guest stores, encrypted for its owner. It is state, not a document.
    Password,
}

impl Answer {
    fn lines<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        Self::Text(lines.into_iter().collect::<Vec<_>>().join("\n").into_bytes())
    }
}

/// The list of the EC2 form's versions, which is what everybody gets at `/`.
pub fn ec2_versions() -> Answer {
    Answer::lines(ec2::VERSIONS.into_iter().chain(["latest"]))
}

impl GuestDocuments {
    /// What the metadata service answers at a path of any form, `/openstack/latest/meta_data.json` or `/latest/meta-data/`; `None` where
    /// there is nothing.
    pub fn lookup(&self, path: &str) -> Option<Answer> {
        let names = normal(path);
        match names.as_slice() {
            [] | ["ec2"] => Some(ec2_versions()),
            ["openstack"] => Some(Answer::lines(documents::VERSIONS.into_iter().chain(["latest"]))),
            ["openstack", "content", number] => {
                let number = (0..self.files.len()).find(|index| format!("{index:04}") == *number)?;
                Some(Answer::Text(self.files[number].1.clone()))
            }
            ["openstack", version] => Some(Answer::lines(self.listing(Version::named(version)?))),
            ["openstack", version, document] => self.openstack(Version::named(version)?, document),
            ["openstack", ..] => None,
            ["ec2", version, rest @ ..] | [version, rest @ ..] => match self.ec2_node(version, rest)? {
                Node::Data(value) => Some(Answer::Text(ec2::print(&value).into_bytes())),
                Node::UserData(bytes) => Some(Answer::Text(bytes)),
            },
        }
    }

    fn listing(&self, version: Version) -> Vec<&'static str> {
        let documents = [
            ("meta_data.json", true),
            ("user_data", self.user_data.is_some()),
            ("password", version.has_password()),
            ("vendor_data.json", version.has_vendor_data()),
            ("network_data.json", version.has_network_data()),
            ("vendor_data2.json", version.has_vendor_data2()),
        ];
        documents.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
    }

    fn openstack(&self, version: Version, document: &str) -> Option<Answer> {
        match document {
            "meta_data.json" => Some(Answer::Json(self.meta_data(version))),
            "user_data" => self.user_data.clone().map(Answer::Text),
            "password" => version.has_password().then_some(Answer::Password),
            "vendor_data.json" => version.has_vendor_data().then(|| Answer::Json(b"{}".to_vec())),
            "vendor_data2.json" => {
                version.has_vendor_data2().then(|| Answer::Json(b"{\"static\": {}}".to_vec()))
            }
            // Nova answers at versions that do not list it, too, and calls it text.
            "network_data.json" => Some(Answer::Text(network_data(&self.nics))),
            _ => None,
        }
    }

    /// The files of a config drive, by path.
    pub fn config_drive(&self) -> BTreeMap<String, Vec<u8>> {
        let mut drive = BTreeMap::new();
        for version in EC2_ON_DRIVE {
            if let Some(meta_data) = self.ec2_meta_data(version) {
                drive.insert(format!("ec2/{version}/meta-data.json"), json(&meta_data));
            }
            if let Some(user_data) = &self.user_data {
                drive.insert(format!("ec2/{version}/user-data"), user_data.clone());
            }
        }
        for name in documents::VERSIONS.into_iter().chain(["latest"]) {
            let Some(version) = Version::named(name) else { continue };
            for document in self.listing(version) {
                if let Some(Answer::Text(bytes) | Answer::Json(bytes)) = self.openstack(version, document) {
                    drive.insert(format!("openstack/{name}/{document}"), bytes);
                }
            }
        }
        for (number, (_, bytes)) in self.files.iter().enumerate() {
            drive.insert(format!("openstack/{}", content_path(number)), bytes.clone());
        }
        drive
    }
}

/// The names in a path, with empty ones and dots resolved.
fn normal(path: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            _ => names.push(name),
        }
    }
    names
}

#[cfg(test)]
#[path = "lookup_tests.rs"]
mod tests;
