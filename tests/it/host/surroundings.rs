//! What tests with a real libvirt share: the check for the sandbox, turns, guests without disks, waiting.

use dwarfnova::core::ids::ServerId;
use dwarfnova::host::hypervisor::libvirt::{LibvirtConfig, LibvirtHost, VirtTypeSetting};
use dwarfnova::host::hypervisor::spec::{DomainSpec, Firmware, VideoModel};
use dwarfnova::host::hypervisor::{DomainState, HostEvent, Hypervisor};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast::Receiver;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::time::timeout;
use uuid::Uuid;

/// Longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Tests that restart libvirtd take it for themselves.
static LIBVIRTD: RwLock<()> = RwLock::const_new(());

/// Whether we are in the sandbox. If not, tells on the real stderr, past the test runner's capture.
fn in_sandbox(test: &str) -> bool {
    let inside = std::env::var_os("DWARFNOVA_HERMETIC").is_some();
    if !inside {
        eprintln!("skipped: {test} runs only inside tests/hermetic");
    }
    inside
}

/// The turn of a test that shares libvirtd with others; `None` outside the sandbox.
pub async fn shared(test: &str) -> Option<RwLockReadGuard<'static, ()>> {
    if in_sandbox(test) { Some(LIBVIRTD.read().await) } else { None }
}

/// As [`shared`], for tests that are not asynchronous.
pub fn shared_libvirtd() -> RwLockReadGuard<'static, ()> {
    LIBVIRTD.blocking_read()
}

/// As [`alone`], for tests that are not asynchronous.
pub fn libvirtd_alone() -> RwLockWriteGuard<'static, ()> {
    LIBVIRTD.blocking_write()
}

/// The turn of a test that needs libvirtd for itself; `None` outside the sandbox.
pub async fn alone(test: &str) -> Option<RwLockWriteGuard<'static, ()>> {
    if in_sandbox(test) { Some(LIBVIRTD.write().await) } else { None }
}

/// An installation of its own, with a folder that QEMU's user may enter.
pub struct Installation {
    pub host: Arc<LibvirtHost>,
    pub folder: tempfile::TempDir,
    pub id: Uuid,
}

impl Installation {
    pub fn new() -> Self {
        Self::with_virt_type(VirtTypeSetting::Qemu)
    }

    pub fn with_virt_type(virt_type: VirtTypeSetting) -> Self {
        let folder = tempfile::tempdir().unwrap();
        run("chmod", &["0755", folder.path().to_str().unwrap()]);
        let id = Uuid::new_v4();
        let host = LibvirtHost::connect(LibvirtConfig {
            uri: "qemu:///system".into(),
            virt_type,
            installation: id,
            probe_cache: folder.path().join("probe.json"),
        });
        Self { host, folder, id }
    }

    /// A guest without a disk: its firmware runs, finds nothing to boot and waits.
    pub fn guest(&self) -> DomainSpec {
        let id = ServerId::random();
        let folder = self.folder.path().join(id.to_string());
        std::fs::create_dir(&folder).unwrap();
        DomainSpec {
            id,
            name: format!("instance-{:08x}", id.0.as_fields().0),
            display_name: "<a> & b".into(),
            flavor_name: "tiny".into(),
            project_id: "project".into(),
            user_id: "user".into(),
            vcpus: 1,
            memory_mib: 32,
            firmware: Firmware::Bios,
            machine: None,
            disks: Vec::new(),
            nics: Vec::new(),
            console_log: folder.join("console.log"),
            video: VideoModel::Virtio,
            spare_ports: 1,
        }
    }

    /// A guest that runs.
    pub async fn running_guest(&self) -> DomainSpec {
        let spec = self.guest();
        self.host.define(&spec).await.unwrap();
        self.host.start(spec.id).await.unwrap();
        spec
    }

    pub async fn remove(&self, spec: &DomainSpec) {
        self.host.destroy(spec.id).await.unwrap();
        self.host.undefine(spec.id).await.unwrap();
    }

    pub async fn wait_for_state(&self, id: ServerId, wanted: DomainState) {
        let mut last = None;
        let reached = timeout(PATIENCE, async {
            loop {
                last = self.host.state(id).await.ok().flatten();
                if last == Some(wanted) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let reached = reached.await.is_ok();
        assert!(reached, "{id} is {last:?}, not {wanted:?}");
    }
}

pub async fn wait_for_event(events: &mut Receiver<HostEvent>, wanted: HostEvent) {
    let found = timeout(PATIENCE, async { while events.recv().await.unwrap() != wanted {} }).await;
    assert!(found.is_ok(), "no {wanted:?}");
}

/// Runs a program that has to succeed, and gives what it wrote.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

pub fn virsh(arguments: &[&str]) -> String {
    let mut all = vec!["-q", "-c", "qemu:///system"];
    all.extend_from_slice(arguments);
    run("virsh", &all).trim().to_owned()
}

/// The process of a domain.
pub fn qemu_pid(name: &str) -> String {
    std::fs::read_to_string(format!("/run/libvirt/qemu/{name}.pid")).unwrap().trim().to_owned()
}

pub fn signal(signal: &str, pid: &str) {
    run("kill", &[signal, pid]);
}

/// Kills libvirtd as a crash would.
pub fn kill_libvirtd() {
    let pid = std::fs::read_to_string("/run/libvirtd.pid").unwrap();
    signal("-KILL", pid.trim());
    let gone = Instant::now() + PATIENCE;
    while Path::new("/proc").join(pid.trim()).exists() {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        if state.contains(") Z ") {
            break;
        }
        assert!(Instant::now() < gone, "libvirtd does not die");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn start_libvirtd() {
    run("libvirtd", &["-d"]);
}
