//! The block devices of `POST /servers`: which image is booted from, and which disks are wanted besides the root disk.
//!
//! There are no volumes here, so a device that names a volume or a snapshot names nothing that exists. What is left are local
//! disks: the image's copy, which is the root disk, and blank ones, which the flavor gives.

use crate::api::compute::schema::wire;
use crate::core::ids::ImageId;
use crate::core::server::create::LocalDisks;
use crate::core::server::disks::{BlankDisk, DiskWish};
use crate::core::server::image_meta::DISK_BUSES;
use crate::core::{Error, Result};
use serde::Deserialize;

/// As before there were sources and destinations.
#[derive(Deserialize)]
pub struct LegacyDevice {
    volume_id: Option<String>,
    snapshot_id: Option<String>,
}

#[derive(Deserialize)]
pub struct Device {
    source_type: Option<String>,
    destination_type: Option<String>,
    uuid: Option<String>,
    volume_id: Option<String>,
    snapshot_id: Option<String>,
    image_id: Option<String>,
    guest_format: Option<String>,
    device_type: Option<String>,
    disk_bus: Option<String>,
    tag: Option<String>,
    /// Of the volume that would be made.
    volume_type: Option<String>,
    #[serde(default, deserialize_with = "wire::maybe_number")]
    boot_index: Option<i64>,
    #[serde(default, deserialize_with = "wire::maybe_number")]
    volume_size: Option<i64>,
}

/// What a device may be to its guest.
const DEVICE_TYPES: [&str; 5] = ["cdrom", "disk", "floppy", "fs", "lun"];

impl Device {
    fn wish(&self) -> DiskWish {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        DiskWish { bus: given(&self.disk_bus), device_type: given(&self.device_type), tag: given(&self.tag) }
    }
}

/// What a device is.
enum Meaning<'a> {
    /// The copy of this image.
    Root(&'a str),
    /// Of a size in GiB, or the flavor's.
    Ephemeral(Option<u64>),
    /// Of a size in MiB, or the flavor's.
    Swap(Option<u64>),
}

fn invalid(details: &str) -> Error {
    Error::invalid(format!("Block Device Mapping is Invalid: {details}"))
}

fn no_volume(id: &str) -> Error {
    invalid(&format!("failed to get volume {id}."))
}

fn no_snapshot(id: &str) -> Error {
    invalid(&format!("failed to get snapshot {id}."))
}

fn bad_sequence() -> Error {
    invalid("Boot sequence for the instance and image/block device mapping combination is not valid.")
}

/// The image to boot from and the disks besides it, from the request's image, if it names one, and its devices.
pub fn read(
    image: Option<&str>,
    legacy: &[LegacyDevice],
    devices: &[Device],
) -> Result<(ImageId, LocalDisks)> {
    if !legacy.is_empty() && !devices.is_empty() {
        return Err(Error::invalid(
            "Using different block_device_mapping syntaxes is not allowed in the same request.",
        ));
    }
    if let Some(device) = legacy.first() {
        return Err(match (&device.volume_id, &device.snapshot_id) {
            (Some(volume), _) => no_volume(volume),
            (None, Some(snapshot)) => no_snapshot(snapshot),
            (None, None) => Error::invalid("Block Device Mapping is Invalid."),
        });
    }
    let image = image.filter(|image| !image.is_empty());
    let meanings = devices.iter().map(|device| meaning(device, image.is_some()));
    let meanings = meanings.collect::<Result<Vec<_>>>()?;
    let image = image.ok_or_else(|| Error::invalid("Missing imageRef attribute"))?;
    check_order(image, devices, &meanings)?;
    let buses = devices.iter().filter_map(|device| device.disk_bus.as_deref());
    if let Some(bus) = buses.into_iter().find(|bus| !bus.is_empty() && !DISK_BUSES.contains(bus)) {
        return Err(Error::invalid(format!(
            "Block Device Mapping is invalid: The provided disk bus {bus} is not valid."
        )));
    }
    let types = devices.iter().filter_map(|device| device.device_type.as_deref());
    if let Some(kind) = types.into_iter().find(|kind| !kind.is_empty() && !DEVICE_TYPES.contains(kind)) {
        return Err(invalid(&format!("The provided device type {kind} is not valid.")));
    }
    let mut disks = LocalDisks { count: devices.len(), ..LocalDisks::default() };
    for (device, meaning) in devices.iter().zip(meanings) {
        let wish = device.wish();
        match meaning {
            Meaning::Root(_) => disks.root = wish,
            Meaning::Ephemeral(size) => disks.ephemeral.push(BlankDisk { size, wish }),
            Meaning::Swap(size) => disks.swap.push(BlankDisk { size, wish }),
        }
    }
    let image = image.parse().map_err(|_| Error::invalid("Can not find requested image"))?;
    Ok((image, disks))
}

fn meaning(device: &Device, has_image: bool) -> Result<Meaning<'_>> {
    if let Some(volume) = &device.volume_id {
        return Err(no_volume(volume));
    }
    if let Some(snapshot) = &device.snapshot_id {
        return Err(no_snapshot(snapshot));
    }
    let uuid = device.uuid.as_deref().or(device.image_id.as_deref());
    let source = device.source_type.as_deref().or(device.image_id.as_ref().map(|_| "image"));
    let local = device.destination_type.as_deref() != Some("volume");
    let volume_type = device.volume_type.as_deref().filter(|kind| !kind.is_empty());
    let typed_disk = volume_type.is_some() && device.destination_type.as_deref() == Some("local");
    match (source, uuid) {
        (Some("blank"), Some(_)) => Err(invalid("Invalid device UUID.")),
        (Some("volume" | "snapshot" | "image"), None) => Err(invalid("Missing device UUID.")),
        (Some("image"), Some(_)) if local && !(has_image && device.boot_index == Some(0)) => {
            Err(invalid("Mapping image to local is not supported."))
        }
        _ if typed_disk => {
            Err(invalid("Specifying a volume_type with destination_type=local is not supported."))
        }
        (Some("volume"), Some(_)) if volume_type.is_some() => {
            Err(invalid("Specifying volume type to existing volume is not supported."))
        }
        (Some("volume"), Some(id)) => Err(no_volume(id)),
        (Some("snapshot"), Some(id)) => Err(no_snapshot(id)),
        (Some("image"), Some(id)) if local => Ok(Meaning::Root(id)),
        (Some("blank"), None) if local => {
            let size = device.volume_size.and_then(|size| u64::try_from(size).ok());
            let swap = device.guest_format.as_deref() == Some("swap");
            Ok(if swap { Meaning::Swap(size) } else { Meaning::Ephemeral(size) })
        }
        _ => Err(match volume_type {
            // There are none.
            Some(kind) => Error::invalid(format!("Volume type {kind} could not be found.")),
            None => Error::invalid("Block Device Mapping is Invalid."),
        }),
    }
}

/// Whether the root disk, which there is whether it is named or not, is the first to boot from, and what comes after it is
/// numbered without gaps.
fn check_order(image: &str, devices: &[Device], meanings: &[Meaning<'_>]) -> Result<()> {
    let mut places = vec![0];
    for (device, meaning) in devices.iter().zip(meanings) {
        match meaning {
            Meaning::Root(named) if *named != image => return Err(bad_sequence()),
            Meaning::Root(_) => {}
            Meaning::Ephemeral(_) | Meaning::Swap(_) => {
                places.extend(device.boot_index.filter(|place| *place >= 0));
            }
        }
    }
    let roots = meanings.iter().filter(|meaning| matches!(meaning, Meaning::Root(_))).count();
    places.sort_unstable();
    let in_order = (0..).zip(places).all(|(expected, place)| expected == place);
    if roots > 1 || !in_order {
        return Err(bad_sequence());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const IMAGE: &str = "70a599e0-31e7-49b7-b260-868f441e862b";

    fn asked(image: Option<&str>, devices: Value) -> Result<LocalDisks, String> {
        let devices: Vec<Device> = serde_json::from_value(devices).unwrap();
        read(image, &[], &devices).map(|(_, disks)| disks).map_err(|error| error.message().to_owned())
    }

    fn refused(image: Option<&str>, devices: Value, details: &str) {
        let text = format!("Block Device Mapping is Invalid: {details}");
        assert_eq!(asked(image, devices), Err(text));
    }

    #[test]
    fn clients_that_ask_for_ephemeral_and_swap_disks_name_the_root_disk_too() {
        let devices = json!([
            {"uuid": IMAGE, "boot_index": 0, "source_type": "image", "destination_type": "local",
             "delete_on_termination": true, "disk_bus": "virtio"},
            {"boot_index": -1, "source_type": "blank", "destination_type": "local", "volume_size": 1,
             "delete_on_termination": true},
            {"boot_index": "-1", "source_type": "blank", "destination_type": "local", "guest_format": "swap",
             "volume_size": "64"},
        ]);
        let blank = |size| BlankDisk { size, ..BlankDisk::default() };
        let wish = |bus: &str| DiskWish { bus: Some(bus.into()), ..DiskWish::default() };
        let disks = LocalDisks {
            count: 3,
            root: wish("virtio"),
            ephemeral: vec![blank(Some(1))],
            swap: vec![blank(Some(64))],
        };
        assert_eq!(asked(Some(IMAGE), devices), Ok(disks));
        let bare = json!([{"source_type": "blank", "destination_type": "local", "guest_format": "ext4",
            "disk_bus": "scsi", "device_type": "disk", "tag": "scratch"}]);
        let wish = DiskWish { device_type: Some("disk".into()), tag: Some("scratch".into()), ..wish("scsi") };
        let ephemeral = vec![BlankDisk { size: None, wish }];
        let disks = LocalDisks { count: 1, ephemeral, ..LocalDisks::default() };
        assert_eq!(asked(Some(IMAGE), bare), Ok(disks));
    }

    #[test]
    fn what_makes_no_sense_is_refused_as_nova_refuses_it() {
        let root =
            json!({"uuid": IMAGE, "boot_index": 0, "source_type": "image", "destination_type": "local"});
        let unsupported = "Mapping image to local is not supported.";
        refused(None, json!([root]), unsupported);
        refused(Some(""), json!([root]), unsupported);
        let second =
            json!({"uuid": IMAGE, "boot_index": 1, "source_type": "image", "destination_type": "local"});
        refused(Some(IMAGE), json!([second]), unsupported);
        let blank = json!({"source_type": "blank", "destination_type": "local", "uuid": IMAGE});
        refused(Some(IMAGE), json!([blank]), "Invalid device UUID.");
        let sequence =
            "Boot sequence for the instance and image/block device mapping combination is not valid.";
        let first = json!({"source_type": "blank", "destination_type": "local", "boot_index": 0});
        refused(Some(IMAGE), json!([first]), sequence);
        refused(Some(IMAGE), json!([root, root]), sequence);
        let other = "11111111-31e7-49b7-b260-868f441e862b";
        refused(Some(other), json!([root]), sequence);
        let bus = json!([{"source_type": "blank", "destination_type": "local", "disk_bus": "foo"}]);
        let text = "Block Device Mapping is invalid: The provided disk bus foo is not valid.";
        assert_eq!(asked(Some(IMAGE), bus), Err(text.to_owned()));
        let kind = json!([{"source_type": "blank", "destination_type": "local", "device_type": "tape"}]);
        refused(Some(IMAGE), kind, "The provided device type tape is not valid.");
        let typed = "Specifying a volume_type with destination_type=local is not supported.";
        for (source, uuid) in [("image", json!(IMAGE)), ("blank", Value::Null), ("volume", json!(IMAGE))] {
            let mut device = json!({"source_type": source, "destination_type": "local", "volume_type": "fast",
                "boot_index": 0});
            if source != "blank" {
                device["uuid"] = uuid;
            }
            refused(Some(IMAGE), json!([device]), typed);
        }
        let volume = json!({"uuid": IMAGE, "source_type": "volume", "destination_type": "volume",
            "volume_type": "fast"});
        refused(Some(IMAGE), json!([volume]), "Specifying volume type to existing volume is not supported.");
        let new = json!([{"source_type": "blank", "destination_type": "volume", "volume_size": 1, "volume_type": "fast"}]);
        assert_eq!(asked(Some(IMAGE), new), Err("Volume type fast could not be found.".to_owned()));
        let untyped = json!([{"source_type": "blank", "destination_type": "local", "volume_type": ""}]);
        assert!(asked(Some(IMAGE), untyped).is_ok());
        assert_eq!(asked(None, json!([])), Err("Missing imageRef attribute".to_owned()));
    }
}
