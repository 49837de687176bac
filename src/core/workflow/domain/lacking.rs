//! Hardware that images and creators ask for and this host does not have.

use super::{machine_properties, named_bus, nic_model, text, video};
use crate::core::server::Server;
use crate::core::server::disks::ROOT;
use crate::core::server::image_meta::{self, word};

/// A property of an image, whether it matters for a server, and whether this host has what it names.
type Wish = (&'static str, bool, fn(&str) -> bool);

/// What the server's image, or the one that it is rescued with, or its creator asks for and this host does not have. A server that was made
/// all the same, in earlier times, has the usual hardware in its place.
pub fn unsupported(server: &Server) -> Option<String> {
    let properties = machine_properties(server);
    if let Some(reason) = image_meta::misplaced(properties) {
        return Some(reason);
    }
    let on_scsi = text(properties, "hw_disk_bus") == Some("scsi");
    let has_cd = server.config_drive || server.image_format.as_deref() == Some("iso");
    let machine: [Wish; 5] = [
        ("hw_disk_bus", true, |word| named_bus(Some(word)).is_some()),
        ("hw_scsi_model", on_scsi, |word| word == "virtio-scsi"),
        ("hw_cdrom_bus", has_cd, |word| named_bus(Some(word)).is_some()),
        ("hw_vif_model", true, |word| nic_model(word).is_some()),
        ("hw_video_model", true, |word| video(word).is_some()),
    ];
    let lacking = machine.into_iter().filter(|(_, matters, _)| *matters).find_map(|(name, _, has)| {
        let wanted = word(properties, name)?;
        (!has(&wanted)).then_some((name, wanted))
    });
    if let Some((name, wanted)) = lacking {
        return Some(format!(
            "Requested hardware '{wanted}' is not supported by the 'libvirt' virt driver (image property {name})"
        ));
    }
    if let Some((wanted, key)) = unsupported_disk(server) {
        return Some(format!(
            "Requested hardware '{wanted}' is not supported by the 'libvirt' virt driver (block device {key})"
        ));
    }
    let rescue = &server.rescue.as_ref()?.image_properties;
    if let Some(device) =
        text(rescue, "hw_rescue_device").filter(|device| !["cdrom", "disk"].contains(device))
    {
        return Some(format!("Requested rescue device '{device}' is not supported"));
    }
    let bus = text(rescue, "hw_rescue_bus").filter(|bus| named_bus(Some(bus)).is_none())?;
    Some(format!("Requested rescue bus '{bus}' is not supported by the 'libvirt' virt driver"))
}

/// What was asked for a disk of the server that this host does not have, and the key under which it was asked for.
fn unsupported_disk(server: &Server) -> Option<(&str, &'static str)> {
    let is_cd = server.image_format.as_deref() == Some("iso");
    server.disks.wishes().find_map(|(name, wish)| {
        let bus = wish.bus.as_deref().filter(|bus| named_bus(Some(bus)).is_none());
        // What an ISO image is the root disk of is a drive with the CD in it, and an empty disk besides.
        let fits = |kind: &str| kind == "disk" || (kind == "cdrom" && name == ROOT && is_cd);
        let kind = wish.device_type.as_deref().filter(|kind| !fits(kind));
        bus.map(|bus| (bus, "disk_bus")).or(kind.map(|kind| (kind, "device_type")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::server::disks::OwnDisks;
    use crate::core::server::{Rescue, sample};
    use std::collections::BTreeMap;

    #[test]
    fn hardware_that_this_host_has_not_is_named() {
        let with = |pairs: &[(&str, &str)]| {
            let mut server = sample();
            server.image_properties = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            server
        };
        for (name, values) in [
            ("hw_vif_model", &["virtio", "e1000", "e1000e", "rtl8139", "VirtualE1000"] as &[&str]),
            ("hw_video_model", &["virtio", "vga", "qxl", "cirrus", "bochs", "none"]),
            ("hw_disk_bus", &["virtio", "scsi", "sata", "ide", "usb"]),
            ("hw_firmware_type", &["uefi", "bios"]),
            ("hw_scsi_model", &["virtio-scsi", "lsilogic"]),
            ("hw_cdrom_bus", &["xen"]),
            ("hw_rescue_bus", &["xen"]),
        ] {
            for value in values {
                assert_eq!(unsupported(&with(&[(name, value)])), None, "{name}={value}");
            }
        }
        for (name, value) in [
            ("hw_vif_model", "ne2k_pci"),
            ("hw_disk_bus", "uml"),
            ("hw_disk_bus", "fdc"),
            ("hw_video_model", "gop"),
        ] {
            let text = format!(
                "Requested hardware '{value}' is not supported by the 'libvirt' virt driver (image property {name})"
            );
            assert_eq!(unsupported(&with(&[(name, value)])), Some(text));
        }
        assert!(unsupported(&with(&[("hw_disk_bus", "scsi"), ("hw_scsi_model", "lsilogic")])).is_some());
        let drive = Server { config_drive: true, ..with(&[("hw_cdrom_bus", "xen")]) };
        assert!(unsupported(&drive).is_some());
        assert!(unsupported(&with(&[("vm_mode", "xen")])).is_some());
        let rescued = |name: &str, value: &str| {
            let mut server = sample();
            server.rescue = Some(Rescue {
                image_id: crate::core::ids::ImageId::random(),
                image_format: "qcow2".into(),
                image_properties: BTreeMap::from([(name.to_owned(), value.to_owned())]),
            });
            unsupported(&server)
        };
        assert_eq!(
            rescued("hw_rescue_device", "floppy").as_deref(),
            Some("Requested rescue device 'floppy' is not supported")
        );
        assert!(rescued("hw_rescue_bus", "xen").is_some());
        assert_eq!(rescued("hw_rescue_bus", "usb"), None);
    }

    #[test]
    fn disks_that_this_host_has_not_are_named() {
        let with = |change: fn(&mut OwnDisks)| {
            let mut server = sample();
            change(&mut server.disks);
            unsupported(&server)
        };
        let words = |wanted: &str, key: &str| {
            Some(format!(
                "Requested hardware '{wanted}' is not supported by the 'libvirt' virt driver (block device {key})"
            ))
        };
        assert_eq!(with(|disks| disks.root.bus = Some("usb".into())), None);
        assert_eq!(with(|disks| disks.root.device_type = Some("disk".into())), None);
        assert_eq!(with(|disks| disks.root.bus = Some("xen".into())), words("xen", "disk_bus"));
        assert_eq!(with(|disks| disks.swap.wish.bus = Some("fdc".into())), words("fdc", "disk_bus"));
        assert_eq!(with(|disks| disks.root.device_type = Some("lun".into())), words("lun", "device_type"));
        assert_eq!(
            with(|disks| disks.root.device_type = Some("cdrom".into())),
            words("cdrom", "device_type")
        );
        let mut server = sample();
        server.image_format = Some("iso".into());
        server.disks.root.device_type = Some("cdrom".into());
        assert_eq!(unsupported(&server), None);
    }
}
