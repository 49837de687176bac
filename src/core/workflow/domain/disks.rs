//! From the files of a server to the disks of its domain: on which bus each is, in which order the guest sees and boots them.

use super::{named_bus, names_device, text};
use crate::core::server::disks::{DiskWish, ROOT, SWAP, ephemeral};
use crate::core::server::{Rescue, Server};
use crate::host::hypervisor::spec::{DiskBus, DiskDevice, DiskFormat, DiskSpec};
use crate::host::storage::{DiskFile, RescueFiles, RescueRoot, ServerFiles};
use std::path::{Path, PathBuf};

/// The buses of the machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buses {
    /// Whether it has IDE drives.
    pub ide: bool,
    /// Where a disk is of which nobody said anything.
    pub disk: DiskBus,
    /// Where the image wants its CDs.
    pub cd: Option<DiskBus>,
}

/// Gives devices their names, each kind counted for itself.
#[derive(Default)]
struct Targets {
    virtio: u8,
    scsi: u8,
    ide: u8,
}

impl Targets {
    fn next(&mut self, bus: DiskBus) -> String {
        let count = match bus {
            DiskBus::Virtio => &mut self.virtio,
            DiskBus::Scsi | DiskBus::Sata | DiskBus::Usb => &mut self.scsi,
            DiskBus::Ide => &mut self.ide,
        };
        let letter = char::from(b'a' + *count);
        *count += 1;
        format!("{}{letter}", prefix(bus))
    }
}

fn prefix(bus: DiskBus) -> &'static str {
    match bus {
        DiskBus::Virtio => "vd",
        DiskBus::Scsi | DiskBus::Sata | DiskBus::Usb => "sd",
        DiskBus::Ide => "hd",
    }
}

/// Disks in the order in which the guest gets to see them.
#[derive(Default)]
struct Disks {
    targets: Targets,
    /// Whether the machine has IDE drives; SATA drives take their places otherwise.
    ide: bool,
    specs: Vec<DiskSpec>,
    /// The highest place in the boot order that is taken.
    boots: u32,
}

impl Disks {
    /// A disk of the server's own, by its name among these, with what was wished for it.
    fn own_disk(&mut self, file: &DiskFile, bus: DiskBus, name: String, wish: Option<&DiskWish>) {
        self.disk(file, wished_bus(wish, bus));
        if let Some(last) = self.specs.last_mut().filter(|_| wish.is_some_and(|wish| wish.tag.is_some())) {
            last.name = Some(name);
        }
    }

    fn push(&mut self, path: PathBuf, format: DiskFormat, device: DiskDevice, bus: DiskBus, read_only: bool) {
        let bus = if bus == DiskBus::Ide && !self.ide { DiskBus::Sata } else { bus };
        let target = self.targets.next(bus);
        self.specs.push(DiskSpec {
            path,
            format,
            device,
            bus,
            target,
            serial: None,
            name: None,
            boot_order: None,
            read_only,
        });
    }

    fn disk(&mut self, file: &DiskFile, bus: DiskBus) {
        self.push(file.path.clone(), file.format, DiskDevice::Disk, bus, false);
    }

    fn read_only(&mut self, path: &Path, device: DiskDevice, bus: DiskBus) {
        self.push(path.to_owned(), DiskFormat::Raw, device, bus, true);
    }

    /// Lets the disk that came last be tried next at boot.
    fn boots(&mut self) {
        self.boots += 1;
        if let Some(last) = self.specs.last_mut() {
            last.boot_order = Some(self.boots);
        }
    }

    /// Lets the disk that came last be tried first at boot.
    fn boots_first(&mut self) {
        self.boots += 1;
        for disk in &mut self.specs {
            disk.boot_order = disk.boot_order.map(|order| order + 1);
        }
        if let Some(last) = self.specs.last_mut() {
            last.boot_order = Some(1);
        }
    }

    fn config_drive(&mut self, path: &Path, bus: DiskBus, cd_bus: Option<DiskBus>) {
        // A guest that boots from virtio sees virtio; cloud kernels often have no driver for a SATA drive.
        match cd_bus {
            Some(bus) => self.read_only(path, DiskDevice::Cdrom, bus),
            None if bus == DiskBus::Virtio => self.read_only(path, DiskDevice::Disk, bus),
            None => self.read_only(path, DiskDevice::Cdrom, DiskBus::Sata),
        }
    }

    /// All that the server has of its own.
    fn own(&mut self, server: &Server, files: &ServerFiles, buses: Buses) {
        let wishes = &server.disks;
        // An empty disk does not boot, and the firmware turns to the CD; an installed one does.
        if let Some(root) = &files.root {
            self.own_disk(root, buses.disk, ROOT.to_owned(), Some(&wishes.root));
            self.boots();
        }
        for (number, file) in &files.ephemeral {
            self.own_disk(file, buses.disk, ephemeral(*number), wishes.ephemeral_wish(*number));
        }
        if let Some(swap) = &files.swap {
            self.own_disk(swap, buses.disk, SWAP.to_owned(), Some(&wishes.swap.wish));
        }
        if let Some(cd) = &files.cd {
            self.read_only(cd, DiskDevice::Cdrom, buses.cd.unwrap_or(DiskBus::Sata));
            self.boots();
        }
        if let Some(drive) = &files.config_drive {
            self.config_drive(drive, wished_bus(Some(&wishes.root), buses.disk), buses.cd);
        }
    }

    /// The rescue system before the server's root disk.
    fn rescue(&mut self, server: &Server, own: &ServerFiles, rescue: &RescueFiles, buses: Buses) {
        match &rescue.root {
            RescueRoot::Disk(file) => self.disk(file, buses.disk),
            RescueRoot::Cd(path) => {
                self.read_only(path, DiskDevice::Cdrom, buses.cd.unwrap_or(DiskBus::Sata));
            }
        }
        self.boots();
        if let Some(root) = &own.root {
            self.own_disk(root, buses.disk, ROOT.to_owned(), Some(&server.disks.root));
        }
        self.config_drive(&rescue.config_drive, buses.disk, buses.cd);
    }

    /// The rescue system after all that the server has, as the device that its image names.
    fn rescue_device(&mut self, rescue: &RescueFiles, named: &Rescue, buses: Buses) {
        let asked = named_bus(text(&named.image_properties, "hw_rescue_bus"));
        let cd = text(&named.image_properties, "hw_rescue_device") == Some("cdrom");
        match &rescue.root {
            RescueRoot::Disk(file) if cd => {
                let bus = asked.or(buses.cd).unwrap_or(DiskBus::Sata);
                self.push(file.path.clone(), file.format, DiskDevice::Cdrom, bus, true);
            }
            RescueRoot::Disk(file) => self.disk(file, asked.unwrap_or(buses.disk)),
            RescueRoot::Cd(path) => {
                let bus = asked.or(buses.cd).unwrap_or(DiskBus::Sata);
                self.read_only(path, if cd { DiskDevice::Cdrom } else { DiskDevice::Disk }, bus);
            }
        }
        self.boots_first();
    }
}

/// The disks of a server that has these files.
pub(super) fn disks(server: &Server, files: &ServerFiles, buses: Buses) -> Vec<DiskSpec> {
    let mut disks = Disks { ide: buses.ide, ..Disks::default() };
    match (&server.rescue, &files.rescue) {
        (Some(named), Some(rescue)) if names_device(named) => {
            disks.own(server, files, buses);
            disks.rescue_device(rescue, named, buses);
        }
        (Some(_), Some(rescue)) => disks.rescue(server, files, rescue, buses),
        (_, None) | (None, _) => disks.own(server, files, buses),
    }
    disks.specs
}

fn wished_bus(wish: Option<&DiskWish>, usual: DiskBus) -> DiskBus {
    named_bus(wish.and_then(|wish| wish.bus.as_deref())).unwrap_or(usual)
}
