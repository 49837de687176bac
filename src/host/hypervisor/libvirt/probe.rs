//! Finds out whether guests really run under KVM here.
//!
//! Neither `/dev/kvm` nor libvirt's capabilities prove it: there are hosts where both are in order and each guest
//! dies at its first instruction. So a tiny guest without disks is started and watched for a moment. It does not carry our
//! mark of ownership, is not persistent, and ends with the connection that started it.

use super::domain_xml::VirtType;
use super::error::{is, translate};
use super::ffi;
use crate::host::hypervisor::HypervisorError;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;
use uuid::Uuid;
use virt::connect::Connect;
use virt::error::ErrorNumber;
use virt::sys;

const CALL: &str = "probe";
/// QEMU under a broken KVM dies within a few milliseconds of starting.
const WATCH: Duration = Duration::from_millis(300);

/// What a finding depends on: when any of it changes, the finding is out of date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Circumstances {
    /// The kernel's id of this boot.
    boot: String,
    hypervisor_version: u32,
    libvirt_version: u32,
    /// Mode, owner and group of `/dev/kvm`, if it exists.
    device: Option<(u32, u32, u32)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Finding {
    circumstances: Circumstances,
    kvm: bool,
}

/// Says what guests run under, from the finding in `cache` if it still holds, else from a probe guest.
pub fn find(connect: &Connect, installation: Uuid, cache: &Path) -> Result<VirtType, HypervisorError> {
    let circumstances = circumstances(connect)?;
    if let Some(finding) = read(cache)
        && finding.circumstances == circumstances
    {
        return Ok(virt_type(finding.kvm));
    }
    let kvm = match run_guest(connect, installation) {
        Ok(()) => true,
        Err(error) if !connect.is_alive().unwrap_or(false) => return Err(translate(CALL, error)),
        Err(error) => {
            tracing::warn!(
                reason = error.message(),
                "guests do not run under KVM on this host; software emulation is used, which is slow"
            );
            false
        }
    };
    if let Err(error) = write(cache, &Finding { circumstances, kvm }) {
        tracing::warn!(%error, file = %cache.display(), "the finding about KVM cannot be kept; the next start looks again");
    }
    Ok(virt_type(kvm))
}

fn virt_type(kvm: bool) -> VirtType {
    if kvm { VirtType::Kvm } else { VirtType::Qemu }
}

fn circumstances(connect: &Connect) -> Result<Circumstances, HypervisorError> {
    let failed = |error| translate(CALL, error);
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(|error| {
        HypervisorError::Failed { call: CALL, message: "no boot id".into(), source: Some(Box::new(error)) }
    })?;
    Ok(Circumstances {
        boot: boot.trim().to_owned(),
        hypervisor_version: connect.hyp_version().map_err(failed)?,
        libvirt_version: connect.lib_version().map_err(failed)?,
        device: fs::metadata("/dev/kvm").ok().map(|found| (found.mode(), found.uid(), found.gid())),
    })
}

/// An unreadable file is as good as none: the probe is repeated and the file written anew.
fn read(cache: &Path) -> Option<Finding> {
    serde_json::from_slice(&fs::read(cache).ok()?).ok()
}

fn write(cache: &Path, finding: &Finding) -> io::Result<()> {
    let text = serde_json::to_vec(finding)?;
    let draft = cache.with_extension("new");
    fs::write(&draft, text)?;
    fs::rename(draft, cache)
}

/// Starts the probe guest under KVM and takes it away again.
fn run_guest(connect: &Connect, installation: Uuid) -> Result<(), virt::error::Error> {
    // An answer that names no KVM is an error of libvirt's, and spares the start.
    connect.domain_capabilities(None, Some("x86_64"), None, Some("kvm"), 0)?;
    let uuid = Uuid::new_v5(&installation, b"kvm-probe");
    match connect.lookup_domain_by_uuid(uuid) {
        Ok(leftover) => leftover.destroy()?,
        Err(error) if is(&error, ErrorNumber::NoDomain) => {}
        Err(error) => return Err(error),
    }
    let guest = connect.create_domain_xml(&guest_xml(uuid), sys::VIR_DOMAIN_START_AUTODESTROY)?;
    std::thread::sleep(WATCH);
    let state = ffi::domain_state(&guest)?;
    // If the guest has died meanwhile, this is the error that says so.
    guest.destroy()?;
    if state.state == sys::VIR_DOMAIN_RUNNING { Ok(()) } else { Err(virt::error::Error::last_error()) }
}

fn guest_xml(uuid: Uuid) -> String {
    let name = format!("dwarfnova-probe-{}", &uuid.simple().to_string()[..8]);
    format!(
        "<domain type='kvm'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>64</memory><vcpu>1</vcpu>\
         <os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/><apic/></features>\
         <cpu mode='host-model'/><on_crash>destroy</on_crash><devices><controller type='usb' model='none'/>\
         <memballoon model='none'/><video><model type='none'/></video></devices></domain>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_survive_and_rubbish_does_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("probe.json");
        assert!(read(&file).is_none());
        fs::write(&file, "{").unwrap();
        assert!(read(&file).is_none());
        let circumstances = Circumstances {
            boot: "b".into(),
            hypervisor_version: 1,
            libvirt_version: 2,
            device: Some((0o20660, 0, 107)),
        };
        write(&file, &Finding { circumstances: circumstances.clone(), kvm: true }).unwrap();
        let found = read(&file).unwrap();
        assert_eq!((found.circumstances, found.kvm), (circumstances, true));
    }
}
