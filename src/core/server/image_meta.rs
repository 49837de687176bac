//! The properties of images whose values Nova knows: which values there are, and which of them mean a host of another kind.
//!
//! Flags are not here, since any text is one of their values; nor is what nobody limits.

use super::DiskConfig;
use crate::core::ids::ImageId;
use std::collections::BTreeMap;

type Properties = BTreeMap<String, String>;

/// How the value of a property is read.
#[derive(Clone, Copy)]
enum Form {
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of these words in letters of either case, or an older word for one of them.
    AnyCase(&'static [&'static str], Synonyms),
    /// The same, but a wrong one is told in words of its own.
    Named(&'static str, &'static [&'static str], Synonyms),
    Integer,
}

/// Older words, each with the one that took its place.
type Synonyms = &'static [(&'static str, &'static str)];

struct Property {
    name: &'static str,
    /// What it was called before.
    former: Option<&'static str>,
    form: Form,
}

const fn property(name: &'static str, form: Form) -> Property {
    Property { name, former: None, form }
}

const fn renamed(name: &'static str, former: &'static str, form: Form) -> Property {
    Property { name, former: Some(former), form }
}

const ARCHITECTURE: Form = Form::Named(
    "Architecture name",
    &[
        "alpha",
        "armv6",
        "armv7l",
        "armv7b",
        "aarch64",
        "cris",
        "i686",
        "ia64",
        "lm32",
        "loongarch64",
        "m68k",
        "microblaze",
        "microblazeel",
        "mips",
        "mipsel",
        "mips64",
        "mips64el",
        "openrisc",
        "parisc",
        "parisc64",
        "ppc",
        "ppcle",
        "ppc64",
        "ppc64le",
        "ppcemb",
        "s390",
        "s390x",
        "sh4",
        "sh4eb",
        "sparc",
        "sparc64",
        "unicore32",
        "x86_64",
        "xtensa",
        "xtensaeb",
    ],
    &[
        ("i386", "i686"),
        ("i486", "i686"),
        ("i586", "i686"),
        ("x86_32", "i686"),
        ("x86_32p", "i686"),
        ("amd64", "x86_64"),
    ],
);

const HYPERVISOR: Form = Form::Named(
    "Hypervisor virt type",
    &[
        "baremetal",
        "bhyve",
        "docker",
        "fake",
        "hyperv",
        "ironic",
        "kqemu",
        "kvm",
        "lxc",
        "lxd",
        "openvz",
        "parallels",
        "phyp",
        "qemu",
        "test",
        "uml",
        "vbox",
        "vz",
        "vmware",
        "xen",
        "zvm",
        "prsm",
    ],
    &[("xapi", "xen")],
);

const MODE: Form = Form::Named(
    "Virtual machine mode",
    &["hvm", "xen", "uml", "exe"],
    &[("pv", "xen"), ("hv", "hvm"), ("baremetal", "hvm")],
);

const SCSI_SYNONYMS: Synonyms = &[("lsilogicsas", "lsisas1068"), ("paravirtual", "vmpvscsi")];
const SCSI_MODEL: Form = Form::AnyCase(
    &["buslogic", "ibmvscsi", "lsilogic", "lsisas1068", "lsisas1078", "virtio-scsi", "vmpvscsi"],
    SCSI_SYNONYMS,
);
/// `ide`, a disk bus, or the model of a SCSI controller.
const ADAPTER: Form = Form::AnyCase(
    &["ide", "buslogic", "ibmvscsi", "lsilogic", "lsisas1068", "lsisas1078", "virtio-scsi", "vmpvscsi"],
    SCSI_SYNONYMS,
);

const NIC_MODEL: Form = Form::AnyCase(
    &[
        "virtio",
        "ne2k_pci",
        "pcnet",
        "rtl8139",
        "e1000",
        "e1000e",
        "netfront",
        "spapr-vlan",
        "lan9118",
        "sriov",
        "vmxnet",
        "vmxnet3",
        "igb",
    ],
    &[
        ("virtuale1000", "e1000"),
        ("virtuale1000e", "e1000e"),
        ("virtualpcnet32", "pcnet"),
        ("virtualsriovethernetcard", "sriov"),
        ("virtualvmxnet", "vmxnet"),
        ("virtualvmxnet3", "vmxnet3"),
    ],
);

/// The buses that a disk can be on, here or elsewhere.
pub const DISK_BUSES: &[&str] = &["fdc", "ide", "sata", "scsi", "usb", "virtio", "xen", "lxc", "uml"];
const DISK_BUS: Form = Form::Word(DISK_BUSES);

/// In the order in which Nova reads them.
static PROPERTIES: &[Property] = &[
    renamed("hw_architecture", "architecture", ARCHITECTURE),
    property("hw_emulation_architecture", ARCHITECTURE),
    property("hw_cdrom_bus", DISK_BUS),
    property("hw_cpu_cores", Form::Integer),
    property("hw_cpu_sockets", Form::Integer),
    property("hw_cpu_max_cores", Form::Integer),
    property("hw_cpu_max_sockets", Form::Integer),
    property("hw_cpu_max_threads", Form::Integer),
    property("hw_cpu_policy", Form::Word(&["dedicated", "shared", "mixed"])),
    property("hw_cpu_thread_policy", Form::Word(&["prefer", "isolate", "require"])),
    property("hw_cpu_threads", Form::Integer),
    renamed("hw_device_id", "xenapi_device_id", Form::Integer),
    property("hw_disk_bus", DISK_BUS),
    property("hw_ephemeral_encryption_format", Form::Word(&["plain", "luks", "luksv2"])),
    property("hw_firmware_type", Form::Word(&["uefi", "bios"])),
    property("hw_floppy_bus", DISK_BUS),
    property("hw_input_bus", Form::Word(&["usb", "virtio"])),
    property("hw_maxphysaddr_bits", Form::Integer),
    property("hw_maxphysaddr_mode", Form::Word(&["passthrough", "emulate"])),
    property("hw_numa_nodes", Form::Integer),
    property("hw_pci_numa_affinity_policy", Form::Word(&["required", "legacy", "preferred", "socket"])),
    property("hw_pointer_model", Form::Word(&["usbtablet"])),
    property("hw_rescue_bus", DISK_BUS),
    property("hw_rescue_device", Form::Word(&["cdrom", "disk", "floppy", "fs", "lun"])),
    property("hw_rng_model", Form::Word(&["virtio"])),
    property("hw_scsi_model", SCSI_MODEL),
    property("hw_serial_port_count", Form::Integer),
    property(
        "hw_sound_model",
        Form::Word(&["sb16", "es1370", "pcspk", "ac97", "ich6", "ich9", "usb", "virtio"]),
    ),
    property("hw_tpm_model", Form::Word(&["tpm-tis", "tpm-crb"])),
    property("hw_tpm_version", Form::Word(&["1.2", "2.0"])),
    property(
        "hw_video_model",
        Form::Word(&["cirrus", "qxl", "vga", "vmvga", "xen", "virtio", "gop", "none", "bochs"]),
    ),
    property("hw_video_ram", Form::Integer),
    property("hw_vif_model", NIC_MODEL),
    property("hw_viommu_model", Form::Word(&["intel", "smmuv3", "virtio", "auto"])),
    renamed("hw_vm_mode", "vm_mode", MODE),
    property("hw_watchdog_action", Form::Word(&["none", "pause", "poweroff", "reset", "disabled"])),
    renamed("img_compression_level", "xenapi_image_compression_level", Form::Integer),
    renamed("img_hv_type", "hypervisor_type", HYPERVISOR),
    property("img_config_drive", Form::Word(&["optional", "mandatory"])),
    renamed("img_version", "vmware_image_version", Form::Integer),
    property("img_signature_hash_method", Form::Word(&["SHA-224", "SHA-256", "SHA-384", "SHA-512"])),
    property(
        "img_signature_key_type",
        Form::Word(&[
            "DSA",
            "ECC_SECP384R1",
            "ECC_SECP521R1",
            "ECC_SECT409K1",
            "ECC_SECT409R1",
            "ECC_SECT571K1",
            "ECC_SECT571R1",
            "RSA-PSS",
        ]),
    ),
    property("os_secure_boot", Form::Word(&["required", "disabled", "optional"])),
    property("os_type", Form::AnyCase(&["linux", "windows"], &[])),
];

impl Form {
    /// What is wrong with a value.
    fn fault(self, value: &str) -> Option<String> {
        match self {
            Self::Word(words) => (!words.contains(&value)).then(|| format!("Field value {value} is invalid")),
            Self::AnyCase(words, synonyms) => {
                let read = read(value, synonyms);
                (!words.contains(&read.as_str())).then(|| format!("Field value {read} is invalid"))
            }
            Self::Named(what, words, synonyms) => (!words.contains(&read(value, synonyms).as_str()))
                .then(|| format!("{what} '{value}' is not valid")),
            Self::Integer => {
                (!is_integer(value)).then(|| format!("invalid literal for int() with base 10: '{value}'"))
            }
        }
    }

    /// The word that a value stands for.
    fn word(self, value: &str) -> String {
        match self {
            Self::Word(_) | Self::Integer => value.to_owned(),
            Self::AnyCase(_, synonyms) | Self::Named(_, _, synonyms) => read(value, synonyms),
        }
    }
}

fn read(value: &str, synonyms: Synonyms) -> String {
    let value = value.to_lowercase();
    let newer = synonyms.iter().find(|(older, _)| *older == value);
    newer.map_or(value, |(_, newer)| (*newer).to_owned())
}

fn is_integer(text: &str) -> bool {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    digits.split('_').all(|group| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether an image's properties have only values that there are; else Nova's words about the first that is none.
pub fn check(properties: &Properties) -> Result<(), String> {
    let former = PROPERTIES.iter().filter_map(|known| Some((known.former?, known.form)));
    let current = PROPERTIES.iter().map(|known| (known.name, known.form));
    let fault = former
        .chain([("vmware_adaptertype", ADAPTER)])
        .chain(current)
        .find_map(|(name, form)| form.fault(properties.get(name)?));
    fault.or_else(|| fault_of_cells(properties)).map_or(Ok(()), Err)
}

/// What is wrong with the memory of the guest's NUMA cells, which are numbered without gaps.
fn fault_of_cells(properties: &Properties) -> Option<String> {
    (0..)
        .map_while(|cell| properties.get(&format!("hw_numa_mem.{cell}")))
        .find_map(|value| Form::Integer.fault(value))
}

/// The word that a property's value stands for, whatever the property was called when it was given.
pub fn word(properties: &Properties, name: &str) -> Option<String> {
    let known = PROPERTIES.iter().find(|known| known.name == name)?;
    let value = properties.get(name).or_else(|| properties.get(known.former?))?;
    Some(known.form.word(value))
}

/// How servers from the image treat their disks when nobody says it: by its `auto_disk_config`, a flag.
pub fn disk_config(properties: &Properties) -> DiskConfig {
    let flag = properties.get("auto_disk_config").map(|value| value.trim().to_lowercase());
    match flag.as_deref() {
        Some("1" | "t" | "true" | "on" | "y" | "yes") => DiskConfig::Auto,
        _ => DiskConfig::Manual,
    }
}

/// Whether the image lets its servers treat their disks so.
///
/// # Errors
/// It forbids that partitions follow the disk's size; the words say so.
pub fn check_disk_config(
    properties: &Properties,
    image: ImageId,
    wanted: Option<DiskConfig>,
) -> Result<(), String> {
    let disabled =
        properties.get("auto_disk_config").is_some_and(|value| value.trim().eq_ignore_ascii_case("disabled"));
    if disabled && wanted == Some(DiskConfig::Auto) {
        return Err(format!("Requested image {image} has automatic disk resize disabled."));
    }
    Ok(())
}

/// Why no host of this kind can run the image.
pub fn misplaced(properties: &Properties) -> Option<String> {
    let here: [(&str, &[&str]); 3] = [
        ("hw_architecture", &["x86_64", "i686"]),
        ("img_hv_type", &["qemu", "kvm"]),
        ("hw_vm_mode", &["hvm"]),
    ];
    here.into_iter().find_map(|(name, possible)| {
        let wanted = word(properties, name)?;
        (!possible.contains(&wanted.as_str())).then(|| {
            format!("The image asks for a host with {name}={wanted}; this one has {}.", possible.join(" or "))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(pairs: &[(&str, &str)]) -> Properties {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn values_that_there_are_pass() {
        let fine = properties(&[
            ("architecture", "AMD64"),
            ("hypervisor_type", "QEMU"),
            ("hw_vif_model", "VirtualE1000"),
            ("hw_disk_bus", "uml"),
            ("hw_cpu_sockets", " 1_0 "),
            ("hw_numa_mem.0", "512"),
            ("hw_numa_mem.2", "not reached"),
            ("vmware_adaptertype", "lsiLogicsas"),
            ("os_type", "Windows"),
            ("hw_qemu_guest_agent", "anything"),
            ("os_distro", "whatever"),
        ]);
        assert_eq!(check(&fine), Ok(()));
        assert_eq!(word(&fine, "hw_vif_model").as_deref(), Some("e1000"));
        assert_eq!(misplaced(&fine), None);
    }

    #[test]
    fn the_first_wrong_value_is_told_as_nova_tells_it() {
        for (name, value, text) in [
            ("hw_disk_bus", "foo", "Field value foo is invalid"),
            ("hw_disk_bus", "SCSI", "Field value SCSI is invalid"),
            ("hw_vif_model", "FOO", "Field value foo is invalid"),
            ("hw_firmware_type", "foo", "Field value foo is invalid"),
            ("hw_video_model", "foo", "Field value foo is invalid"),
            ("img_config_drive", "zz", "Field value zz is invalid"),
            ("vmware_adaptertype", "foo", "Field value foo is invalid"),
            ("architecture", "Foo", "Architecture name 'Foo' is not valid"),
            ("hw_architecture", "foo", "Architecture name 'foo' is not valid"),
            ("hypervisor_type", "foo", "Hypervisor virt type 'foo' is not valid"),
            ("vm_mode", "foo", "Virtual machine mode 'foo' is not valid"),
            ("hw_cpu_sockets", "x", "invalid literal for int() with base 10: 'x'"),
            ("hw_cpu_sockets", "1_", "invalid literal for int() with base 10: '1_'"),
            ("hw_numa_mem.0", "", "invalid literal for int() with base 10: ''"),
        ] {
            assert_eq!(check(&properties(&[(name, value)])), Err(text.to_owned()), "{name}={value}");
        }
    }

    #[test]
    fn whether_partitions_follow_the_disk_is_the_images_word_first() {
        let image = ImageId::random();
        for (value, config) in [
            ("True", DiskConfig::Auto),
            (" yes ", DiskConfig::Auto),
            ("0", DiskConfig::Manual),
            ("x", DiskConfig::Manual),
        ] {
            let given = properties(&[("auto_disk_config", value)]);
            assert_eq!(disk_config(&given), config, "{value}");
            assert_eq!(check_disk_config(&given, image, Some(DiskConfig::Auto)), Ok(()));
        }
        assert_eq!(disk_config(&properties(&[])), DiskConfig::Manual);
        let never = properties(&[("auto_disk_config", "Disabled")]);
        let words = format!("Requested image {image} has automatic disk resize disabled.");
        assert_eq!(check_disk_config(&never, image, Some(DiskConfig::Auto)), Err(words));
        assert_eq!(check_disk_config(&never, image, Some(DiskConfig::Manual)), Ok(()));
        assert_eq!(check_disk_config(&never, image, None), Ok(()));
    }

    #[test]
    fn images_for_hosts_of_other_kinds() {
        let wanted = misplaced(&properties(&[("architecture", "aarch64")]));
        let text = "The image asks for a host with hw_architecture=aarch64; this one has x86_64 or i686.";
        assert_eq!(wanted.as_deref(), Some(text));
        assert!(misplaced(&properties(&[("vm_mode", "pv")])).is_some());
    }
}
