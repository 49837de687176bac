//! Copies of running guests' disks, and the peace that their file systems are given for the moment of the copy.
//!
//! A copy is a backup job of QEMU's: what the guest overwrites is copied first, so that the copy shows one moment, and
//! nothing is put above the guest's own disk. If we, libvirtd or QEMU die in the middle, what is left is a file.

use super::domain_xml::to_xml;
use super::error::{is, translate};
use super::ffi;
use crate::host::hypervisor::{Copying, HypervisorError};
use serde::Serialize;
use std::ffi::CString;
use std::path::Path;
use std::time::{Duration, Instant};
use virt::domain::Domain;
use virt::error::{Error, ErrorNumber};
use virt::sys;

/// How long the guest's agent may take to answer, in seconds. A frozen guest waits as long as that at the most.
const AGENT_SECONDS: i32 = 10;
/// How long a job may take to end once it was told to.
const ABORT_PATIENCE: Duration = Duration::from_secs(30);
const ABORT_LOOK: Duration = Duration::from_millis(50);

#[derive(Serialize)]
#[serde(rename = "domainbackup")]
struct Backup<'a> {
    #[serde(rename = "@mode")]
    mode: &'static str,
    disks: Disks<'a>,
}

#[derive(Serialize)]
struct Disks<'a> {
    disk: BackupDisk<'a>,
}

#[derive(Serialize)]
struct BackupDisk<'a> {
    #[serde(rename = "@name")]
    name: &'a str,
    #[serde(rename = "@backup")]
    backup: &'static str,
    #[serde(rename = "@type")]
    kind: &'static str,
    target: Target<'a>,
    driver: Driver,
}

#[derive(Serialize)]
struct Target<'a> {
    #[serde(rename = "@file")]
    file: &'a str,
}

#[derive(Serialize)]
struct Driver {
    #[serde(rename = "@type")]
    format: &'static str,
}

/// The document that asks for a copy of the disk named `target` into `file`.
fn document(target: &str, file: &str) -> Result<String, quick_xml::SeError> {
    to_xml(&Backup {
        mode: "push",
        disks: Disks {
            disk: BackupDisk {
                name: target,
                backup: "yes",
                kind: "file",
                target: Target { file },
                driver: Driver { format: "qcow2" },
            },
        },
    })
}

/// The name by which a running domain knows the disk with this file.
fn target_of(xml: &str, disk: &Path) -> Option<String> {
    let document = roxmltree::Document::parse(xml).ok()?;
    let child = |node: roxmltree::Node<'_, '_>, name: &str, attribute: &str| {
        let found = node.children().find(|child| child.has_tag_name(name))?;
        found.attribute(attribute).map(str::to_owned)
    };
    let found = document.descendants().find(|node| {
        node.has_tag_name("disk")
            && child(*node, "source", "file").is_some_and(|file| Path::new(&file) == disk)
    })?;
    child(found, "target", "dev")
}

/// See [`crate::host::hypervisor::Hypervisor::begin_copy`].
pub fn begin(domain: &Domain, disk: &Path, copy: &Path) -> Result<(), HypervisorError> {
    const CALL: &str = "begin_copy";
    let failed = |message: String| HypervisorError::Failed { call: CALL, message, source: None };
    let xml = domain.xml_desc(0).map_err(|error| translate(CALL, error))?;
    let target = target_of(&xml, disk)
        .ok_or_else(|| failed(format!("the domain has no disk with the file {}", disk.display())))?;
    let file = copy.to_str().ok_or_else(|| failed("the state folder's name is not UTF-8".into()))?;
    let document = document(&target, file).map_err(|error| HypervisorError::Failed {
        call: CALL,
        message: "the backup's document could not be written".into(),
        source: Some(Box::new(error)),
    })?;
    let document = CString::new(document).map_err(|error| failed(error.to_string()))?;
    ffi::begin_backup(domain, &document).map_err(|error| translate(CALL, error))
}

/// See [`crate::host::hypervisor::Hypervisor::look_at_copy`].
pub fn look(domain: &Domain) -> Result<Copying, HypervisorError> {
    const CALL: &str = "look_at_copy";
    if !domain.is_active().map_err(|error| translate(CALL, error))? {
        return Ok(Copying::Nothing);
    }
    if job_runs(domain, CALL)? {
        return Ok(Copying::Running);
    }
    let ended = sys::VIR_DOMAIN_JOB_STATS_COMPLETED | sys::VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED;
    let job = match domain.job_stats(ended) {
        Ok(job) => job,
        // It went off meanwhile.
        Err(error) if is(&error, ErrorNumber::OperationInvalid) => return Ok(Copying::Nothing),
        Err(error) => return Err(translate(CALL, error)),
    };
    if job.operation != Some(sys::VIR_DOMAIN_JOB_OPERATION_BACKUP.cast_signed()) {
        return Ok(Copying::Nothing);
    }
    let completed = job.r#type == sys::VIR_DOMAIN_JOB_COMPLETED.cast_signed();
    if completed && job.success.unwrap_or(true) {
        return Ok(Copying::Done);
    }
    Ok(Copying::Failed(job.error_message.unwrap_or_else(|| "the copy was broken off".into())))
}

/// See [`crate::host::hypervisor::Hypervisor::abort_copy`].
pub fn abort(domain: &Domain) -> Result<(), HypervisorError> {
    const CALL: &str = "abort_copy";
    let deadline = Instant::now() + ABORT_PATIENCE;
    while domain.is_active().map_err(|error| translate(CALL, error))? && job_runs(domain, CALL)? {
        match ffi::abort_job(domain) {
            Ok(()) => {}
            // It ended by itself, or is ending.
            Err(error) if is(&error, ErrorNumber::OperationInvalid) => {}
            Err(error) => return Err(translate(CALL, error)),
        }
        if Instant::now() > deadline {
            return Err(HypervisorError::Deadline { call: CALL, seconds: ABORT_PATIENCE.as_secs() });
        }
        // libvirt returns before the job has ended.
        std::thread::sleep(ABORT_LOOK);
    }
    Ok(())
}

fn job_runs(domain: &Domain, call: &'static str) -> Result<bool, HypervisorError> {
    match domain.job_info() {
        Ok(job) => Ok(job.r#type == sys::VIR_DOMAIN_JOB_BOUNDED.cast_signed()
            || job.r#type == sys::VIR_DOMAIN_JOB_UNBOUNDED.cast_signed()),
        Err(error) if is(&error, ErrorNumber::OperationInvalid) => Ok(false),
        Err(error) => Err(translate(call, error)),
    }
}

/// Whether the error means that no agent listens in the guest.
fn no_agent(error: &Error) -> bool {
    use ErrorNumber as N;
    [
        N::ArgumentUnsupported,
        N::AgentUnresponsive,
        N::AgentUnsynced,
        N::OperationInvalid,
        N::OperationUnsupported,
    ]
    .into_iter()
    .any(|number| is(error, number))
}

/// See [`crate::host::hypervisor::Hypervisor::freeze`].
pub fn freeze(domain: &Domain) -> Result<bool, HypervisorError> {
    ask_agent(domain, "freeze", ffi::freeze)
}

/// See [`crate::host::hypervisor::Hypervisor::thaw`].
pub fn thaw(domain: &Domain) -> Result<bool, HypervisorError> {
    ask_agent(domain, "thaw", ffi::thaw)
}

/// Says whether there is an agent that did what was asked.
fn ask_agent(
    domain: &Domain,
    call: &'static str,
    ask: fn(&Domain) -> Result<(), Error>,
) -> Result<bool, HypervisorError> {
    match ffi::set_agent_patience(domain, AGENT_SECONDS).and_then(|()| ask(domain)) {
        Ok(()) => Ok(true),
        Err(error) if no_agent(&error) => Ok(false),
        Err(error) => Err(translate(call, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_one_disk() {
        let document = document("vda", "/state/a&b").unwrap();
        let lines: Vec<&str> = document.lines().map(str::trim).collect();
        assert_eq!(
            lines,
            [
                "<domainbackup mode=\"push\">",
                "<disks>",
                "<disk name=\"vda\" backup=\"yes\" type=\"file\">",
                "<target file=\"/state/a&amp;b\"/>",
                "<driver type=\"qcow2\"/>",
                "</disk>",
                "</disks>",
                "</domainbackup>",
            ]
        );
    }

    #[test]
    fn a_disk_is_found_by_its_file() {
        let xml = "<domain><devices><disk type='file'><source file='/b'/><target dev='vdb'/></disk>\
                   <disk><source file='/a'><x/></source><backingStore><source file='/c'/></backingStore>\
                   <target dev='sda'/></disk></devices></domain>";
        assert_eq!(target_of(xml, Path::new("/a")).as_deref(), Some("sda"));
        assert_eq!(target_of(xml, Path::new("/c")), None);
    }
}
