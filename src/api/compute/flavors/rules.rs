//! What known extra specs may be set to. A namespace that is not known here is its users' own business.

use crate::api::compute::schema::wire;
use regex::Regex;
use std::sync::LazyLock;

/// What a value has to be.
enum Value {
    Anything,
    Flag,
    Whole {
        least: Option<i64>,
        most: Option<i64>,
    },
    OneOf(&'static [&'static str]),
    /// Matched as a whole.
    Like(&'static str),
}

const ANY_WHOLE: Value = Value::Whole { least: None, most: None };

const fn at_least(least: i64) -> Value {
    Value::Whole { least: Some(least), most: None }
}

/// Spec names (patterns, matched as a whole) and their values. The first that fits counts.
static RULES: &[(&str, Value)] = &[
    ("hide_hypervisor_id", Value::Flag),
    ("group_policy", Value::OneOf(&["isolate", "none"])),
    ("accel:device_profile", Value::Anything),
    ("aggregate_instance_extra_specs:.+", Value::Anything),
    (
        "capabilities:(id|uuid|service_id|host|vcpus|memory_mb|local_gb|vcpus_used|memory_mb_used|local_gb_used|\
         hypervisor_type|hypervisor_version|hypervisor_hostname|free_ram_mb|free_disk_gb|current_workload|\
         running_vms|disk_available_least|host_ip|mapped|cpu_allocation_ratio|ram_allocation_ratio|\
         disk_allocation_ratio|total_usable_ram_mb|total_usable_disk_gb|disk_mb_used|free_disk_mb|vcpus_total|\
         num_instances|num_io_ops|failed_builds|aggregates|cell_uuid|updated)",
        Value::Anything,
    ),
    (
        r"capabilities:(cpu_info|metrics|stats|numa_topology|supported_hv_specs|pci_device_pools|nodename|pci_stats|supported_instances|limits|instances)(:\w+)*",
        Value::Anything,
    ),
    ("hw:(cpu_realtime|hide_hypervisor_id|boot_menu|mem_encryption|pmu|locked_memory)", Value::Flag),
    ("hw:(vif_multiqueue_enabled|virtio_packed_ring|ephemeral_encryption|stateless_firmware)", Value::Flag),
    ("hw:cpu_realtime_mask", Value::Like(r"(\^)?\d+((-\d+)?(,\^?\d+(-\d+)?)?)*")),
    ("hw:cpu_dedicated_mask", Value::Like(r"\^?\d+((-\d+)?(,\^?\d+(-\d+)?)?)*")),
    (r"hw:numa_cpus\.\d+", Value::Like(r"\^?\d+((-\d+)?(,\^?\d+(-\d+)?)?)*")),
    ("hw:cpu_policy", Value::OneOf(&["dedicated", "shared", "mixed"])),
    ("hw:cpu_thread_policy", Value::OneOf(&["prefer", "isolate", "require"])),
    ("hw:emulator_threads_policy", Value::OneOf(&["isolate", "share"])),
    ("hw:mem_page_size", Value::Like(r"(large|small|any|\d+([kKMGT]i?)?(b|bit|B)?)")),
    ("hw:(numa_nodes|cpu_sockets|cpu_cores|cpu_threads)", at_least(1)),
    ("hw:max_cpu_(sockets|cores|threads)", at_least(1)),
    (r"hw:numa_mem\.\d+", at_least(1)),
    ("hw:(serial_port_count|maxphysaddr_bits)", at_least(0)),
    ("hw:redirected_usb_ports", Value::Whole { least: Some(0), most: Some(15) }),
    ("hw:pci_numa_affinity_policy", Value::OneOf(&["required", "preferred", "legacy", "socket"])),
    ("hw:pmem", Value::Like("([a-zA-Z0-9_]+(,)?)+")),
    ("hw:maxphysaddr_mode", Value::OneOf(&["passthrough", "emulate"])),
    ("hw:viommu_model", Value::OneOf(&["intel", "smmuv3", "virtio", "auto"])),
    ("hw:mem_encryption_model", Value::OneOf(&["amd-sev", "amd-sev-es"])),
    ("hw:ephemeral_encryption_format", Value::OneOf(&["luks", "plain"])),
    ("hw:tpm_model", Value::OneOf(&["tpm-tis", "tpm-crb"])),
    ("hw:tpm_version", Value::OneOf(&["1.2", "2.0"])),
    ("hw:tpm_secret_security", Value::OneOf(&["user", "host", "deployment"])),
    ("hw:watchdog_action", Value::OneOf(&["none", "pause", "poweroff", "reset", "disabled"])),
    ("hw:sound_model", Value::OneOf(&["sb16", "es1370", "pcspk", "ac97", "ich6", "ich9", "usb", "virtio"])),
    (
        "hw:usb_model",
        Value::OneOf(&[
            "piix3-uhci",
            "piix4-uhci",
            "ehci",
            "ich9-ehci1",
            "vt82c686b-uhci",
            "pci-ohci",
            "nec-xhci",
            "qemu-xhci",
        ]),
    ),
    ("hw_rng:allowed", Value::Flag),
    ("hw_rng:rate_(bytes|period)", at_least(0)),
    ("hw_video:ram_max_mb", at_least(0)),
    ("os:secure_boot", Value::OneOf(&["disabled", "required"])),
    ("pci_passthrough:alias", Value::Like(r"[^:]+:\d+(?:\s*,\s*[^:]+:\d+)*")),
    ("powervm:(min|max)_mem", at_least(256)),
    ("powervm:(min|max)_vcpu", at_least(1)),
    ("powervm:((min|max)_)?proc_units", Value::Like(r"\d+\.\d+")),
    ("powervm:(dedicated_proc|uncapped|srr_capability)", Value::Flag),
    ("powervm:(shared_weight|availability_priority)", Value::Whole { least: Some(0), most: Some(255) }),
    (
        "powervm:dedicated_sharing_mode",
        Value::OneOf(&[
            "share_idle_procs",
            "keep_idle_procs",
            "share_idle_procs_active",
            "share_idle_procs_always",
        ]),
    ),
    (
        "powervm:processor_compatibility",
        Value::OneOf(&[
            "default",
            "POWER6",
            "POWER6+",
            "POWER6_Enhanced",
            "POWER6+_Enhanced",
            "POWER7",
            "POWER8",
        ]),
    ),
    ("powervm:shared_proc_pool_name", Value::Anything),
    ("quota:(cpu|memory|disk_io|vif)_shares_level", Value::Anything),
    ("quota:(cpu|memory|disk_io|vif)_(limit|reservation|shares_share)", ANY_WHOLE),
    ("quota:cpu_(shares|period|quota)", at_least(0)),
    ("quota:disk_(read|write|total)_(bytes|iops)_sec", at_least(0)),
    ("quota:vif_(inbound|outbound)_(average|peak|burst)", at_least(0)),
    (
        "resources([a-zA-Z0-9_-]{1,64})?:(VCPU|PCPU|MEMORY_MB|DISK_GB|PCI_DEVICE|SRIOV_NET_VF|NUMA_SOCKET|\
         NUMA_CORE|NUMA_THREAD|NUMA_MEMORY_MB|IPV4_ADDRESS|VGPU|VGPU_DISPLAY_HEAD|PGPU|FPGA|\
         MEM_ENCRYPTION_CONTEXT|NET_BW_(EGR|IGR)_KILOBIT_PER_SEC|NET_PACKET_RATE_((EGR|IGR)_)?\
         KILOPACKET_PER_SEC|CUSTOM_[A-Z0-9_]+)",
        ANY_WHOLE,
    ),
    (
        "trait([a-zA-Z0-9_-]{1,64})?:(CUSTOM|HW|COMPUTE|STORAGE|MISC|OWNER)_[A-Z0-9_]+",
        Value::OneOf(&["required", "forbidden"]),
    ),
    ("vmware:(hw_version|storage_policy)", Value::Anything),
];

/// The namespaces in which every name has to be known.
const NAMESPACES: &str = "accel|aggregate_instance_extra_specs|capabilities|hw|hw_rng|hw_video|os|\
                          pci_passthrough|powervm|quota|resources([a-zA-Z0-9_-]{1,64})?|\
                          trait([a-zA-Z0-9_-]{1,64})?|vmware";

#[expect(clippy::expect_used, reason = "the patterns are fixed at compile time; every test compiles them")]
fn whole(pattern: &str) -> Regex {
    Regex::new(&format!("^(?:{pattern})$")).expect("the pattern compiles")
}

static NAMES: LazyLock<Vec<(Regex, &Value)>> =
    LazyLock::new(|| RULES.iter().map(|(name, value)| (whole(name), value)).collect());
static KNOWN: LazyLock<Regex> = LazyLock::new(|| whole(NAMESPACES));

/// Whether an extra spec may be set so; the words of the refusal otherwise.
pub fn check(name: &str, value: &str) -> Result<(), String> {
    if let Some((_, rule)) = NAMES.iter().find(|(pattern, _)| pattern.is_match(name)) {
        return rule.check(value).map_err(|why| format!("Validation failed; '{value}' {why}"));
    }
    match name.split_once(':') {
        Some((namespace, _)) if KNOWN.is_match(namespace) => {
            Err(format!("Validation failed; extra spec '{name}' does not appear to be a valid extra spec."))
        }
        _ => Ok(()),
    }
}

impl Value {
    fn check(&self, value: &str) -> Result<(), String> {
        match self {
            Self::Anything => Ok(()),
            Self::Flag => match wire::truth(value) {
                Some(_) => Ok(()),
                None => Err("is not a valid boolean-like value.".into()),
            },
            Self::Whole { least, most } => {
                let Ok(number) = value.trim().parse::<i64>() else {
                    return Err("is not a valid integer value.".into());
                };
                if let Some(most) = most.filter(|most| number > *most) {
                    return Err(format!("is greater than the max value of '{most}'."));
                }
                if let Some(least) = least.filter(|least| number < *least) {
                    return Err(format!("is less than the min value of '{least}'."));
                }
                Ok(())
            }
            Self::OneOf(words) => {
                if words.contains(&value) {
                    return Ok(());
                }
                Err(format!("is not one of: {}.", words.join(", ")))
            }
            Self::Like(pattern) => {
                if whole(pattern).is_match(value) {
                    return Ok(());
                }
                Err(format!("is not of the format '{pattern}'."))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn known_specs_are_held_to_their_word() {
        for (name, value) in [
            ("hw:cpu_policy", "shared"),
            ("hw:numa_nodes", "2"),
            ("hw:numa_cpus.0", "0-2,^1"),
            ("hw:mem_page_size", "2MB"),
            ("resources1:VCPU", "4"),
            ("resources:CUSTOM_THING", "1"),
            ("trait:HW_CPU_X86_AVX2", "required"),
            ("quota:vif_inbound_peak", "10"),
            ("capabilities:cpu_info:features", "<in> avx"),
            ("my:own", "anything"),
            ("plain", "anything"),
            ("hide_hypervisor_id", "yes"),
        ] {
            assert_eq!(check(name, value), Ok(()), "{name}");
        }
        assert_eq!(
            check("hw:cpu_policy", "sharrred").unwrap_err(),
            "Validation failed; 'sharrred' is not one of: dedicated, shared, mixed."
        );
        assert_eq!(
            check("hw:cpu_policies", "shared").unwrap_err(),
            "Validation failed; extra spec 'hw:cpu_policies' does not appear to be a valid extra spec."
        );
        assert_eq!(
            check("hw:numa_nodes", "0").unwrap_err(),
            "Validation failed; '0' is less than the min value of '1'."
        );
        for (name, value) in [("hw:pmu", "maybe"), ("trait:BOGUS", "required"), ("resources:VCPU", "many")] {
            assert!(check(name, value).is_err(), "{name}");
        }
    }
}
