//! What a guest is told about itself, and the OpenStack form of it.
//!
//! [`GuestDocuments`] is all that goes in. Which document exists at which version is that of Nova; versions are dates, and a later
//! one has what the earlier ones have.

use super::network_data::GuestNic;
use crate::core::ids::ServerId;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Everything that the documents of one server are made of.
#[derive(Debug, Clone)]
pub struct GuestDocuments {
    pub id: ServerId,
    /// The display name.
    pub name: String,
    /// The full host name, domain included.
    pub hostname: String,
    pub project_id: String,
    pub availability_zone: Option<String>,
    /// The server's number, from 0, among those created by one request.
    pub launch_index: u32,
    pub key: Option<GuestKey>,
    /// The metadata that its owner gave it.
    pub meta: BTreeMap<String, String>,
    /// Only ever on a config drive: whoever can ask the metadata service is not always root in the guest.
    pub admin_password: Option<SecretString>,
    /// Decoded.
    pub user_data: Option<Vec<u8>>,
    /// Fresh randomness; 512 bytes are usual.
    pub random_seed: Vec<u8>,
    /// Files to be injected: where the guest is to put them, and their bytes.
    pub files: Vec<(String, Vec<u8>)>,
    pub nics: Vec<GuestNic>,
    /// Devices with tags.
    pub devices: Vec<GuestDevice>,
    pub ec2: Ec2Facts,
}

/// A public key for logging in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GuestKey {
    pub name: String,
    /// `ssh` or `x509`.
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(rename = "data")]
    pub public_key: String,
}

/// A device that its owner gave tags, so that the guest can tell what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestDevice {
    pub kind: GuestDeviceKind,
    /// The bus (`pci`, `usb`, `scsi`, `ide`) and the address there, for example `0000:03:00.0`.
    pub bus: Option<(String, String)>,
    pub tags: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestDeviceKind {
    Nic {
        mac: String,
    },
    Disk {
        serial: Option<String>,
        /// Device name, for example `/dev/vda`.
        path: Option<String>,
    },
}

/// What only the EC2 form has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ec2Facts {
    /// `i-` and eight hex digits.
    pub instance_id: String,
    /// `ami-` and eight hex digits.
    pub ami_id: String,
    pub kernel_id: Option<String>,
    pub ramdisk_id: Option<String>,
    /// The flavor's name.
    pub instance_type: String,
    pub reservation_id: String,
    /// Names.
    pub security_groups: Vec<String>,
    /// `ami`, `root`, `ephemeral0`, `swap`, `ebs0`, ... and the device that each of them is.
    pub block_device_mapping: BTreeMap<String, String>,
    pub local_ipv4: Option<Ipv4Addr>,
    pub public_ipv4: Option<Ipv4Addr>,
}

/// The versions of the OpenStack form, oldest first.
pub(super) const VERSIONS: [&str; 10] = [
    "2012-08-10",
    "2013-04-04",
    "2013-10-17",
    "2015-10-15",
    "2016-06-30",
    "2016-10-06",
    "2017-02-22",
    "2018-08-27",
    "2020-10-14",
    "2025-04-04",
];

/// One version of the OpenStack form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(&'static str);

impl Version {
    const GRIZZLY: Self = Self(VERSIONS[1]);
    const HAVANA: Self = Self(VERSIONS[2]);
    const LIBERTY: Self = Self(VERSIONS[3]);
    const NEWTON: Self = Self(VERSIONS[4]);
    const NEWTON_LATER: Self = Self(VERSIONS[5]);
    const ROCKY: Self = Self(VERSIONS[7]);
    const VICTORIA: Self = Self(VERSIONS[8]);

    /// A known version by name; `latest` is the newest.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "latest" => VERSIONS.last().copied().map(Self),
            _ => VERSIONS.into_iter().find(|version| *version == name).map(Self),
        }
    }

    pub(super) fn has_password(self) -> bool {
        self >= Self::GRIZZLY
    }

    pub(super) fn has_vendor_data(self) -> bool {
        self >= Self::HAVANA
    }

    pub(super) fn has_network_data(self) -> bool {
        self >= Self::LIBERTY
    }

    pub(super) fn has_vendor_data2(self) -> bool {
        self >= Self::NEWTON_LATER
    }
}

#[derive(Serialize)]
struct MetaData<'a> {
    uuid: ServerId,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    meta: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<InjectedFile<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    admin_pass: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_keys: Option<BTreeMap<&'a str, &'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<[&'a GuestKey; 1]>,
    hostname: &'a str,
    name: &'a str,
    launch_index: u32,
    availability_zone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    random_seed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    devices: Option<Vec<Device<'a>>>,
    /// Processors of the host that are this guest's alone: there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    dedicated_cpus: Option<[u32; 0]>,
}

#[derive(Serialize)]
struct InjectedFile<'a> {
    path: &'a str,
    content_path: String,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Device<'a> {
    Nic {
        mac: &'a str,
        #[serde(flatten)]
        place: Place<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        vf_trusted: Option<bool>,
    },
    Disk {
        serial: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        path: Option<&'a str>,
        #[serde(flatten)]
        place: Place<'a>,
    },
}

#[derive(Serialize)]
struct Place<'a> {
    bus: &'a str,
    address: &'a str,
    tags: &'a [String],
}

impl GuestDocuments {
    /// `meta_data.json`.
    pub(super) fn meta_data(&self, version: Version) -> Vec<u8> {
        let files = self.files.iter().enumerate();
        let devices = || self.devices.iter().map(|device| device.view(version)).collect();
        json(&MetaData {
            uuid: self.id,
            meta: &self.meta,
            files: files
                .map(|(number, (path, _))| InjectedFile {
                    path,
                    content_path: format!("/{}", content_path(number)),
                })
                .collect(),
            admin_pass: self.admin_password.as_ref().map(ExposeSecret::expose_secret),
            public_keys: self
                .key
                .as_ref()
                .map(|key| BTreeMap::from([(key.name.as_str(), key.public_key.as_str())])),
            keys: self.key.as_ref().map(|key| [key]),
            hostname: &self.hostname,
            name: &self.name,
            launch_index: self.launch_index,
            availability_zone: self.availability_zone.as_deref(),
            random_seed: (version >= Version::GRIZZLY).then(|| STANDARD.encode(&self.random_seed)),
            project_id: (version >= Version::LIBERTY).then_some(self.project_id.as_str()),
            devices: (version >= Version::NEWTON).then(devices),
            dedicated_cpus: (version >= Version::VICTORIA).then_some([]),
        })
    }
}

impl GuestDevice {
    fn view(&self, version: Version) -> Device<'_> {
        let (bus, address) = self.bus.as_ref().map_or(("none", "none"), |(bus, address)| (bus, address));
        let place = Place { bus, address, tags: &self.tags };
        match &self.kind {
            GuestDeviceKind::Nic { mac } => {
                Device::Nic { mac, place, vf_trusted: (version >= Version::ROCKY).then_some(false) }
            }
            GuestDeviceKind::Disk { serial, path } => {
                Device::Disk { serial: serial.as_deref(), path: path.as_deref(), place }
            }
        }
    }
}

/// Where an injected file is, below `openstack/`.
pub(super) fn content_path(number: usize) -> String {
    format!("content/{number:04}")
}

/// JSON of plain data: strings, numbers, lists and maps with text keys, for which serialising cannot fail.
pub(super) fn json(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).unwrap_or_default()
}
