//! What the libvirt driver adds to libvirt: define and start of a guest without a disk, through the driver and with bare
//! libvirt calls in turn, and how often an idle driver wakes up. To be run inside `tests/hermetic`.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]
#![expect(clippy::cast_precision_loss, reason = "figures are printed with two digits")]

use dwarfnova::core::ids::ServerId;
use dwarfnova::host::hypervisor::Hypervisor;
use dwarfnova::host::hypervisor::libvirt::domain_xml::{Rendering, render};
use dwarfnova::host::hypervisor::libvirt::{LibvirtConfig, LibvirtHost, VirtType, VirtTypeSetting};
use dwarfnova::host::hypervisor::spec::{DomainSpec, Firmware, VideoModel};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};
use uuid::Uuid;
use virt::connect::Connect;

const ROUNDS: usize = 15;
const IDLE: Duration = Duration::from_secs(30);

fn guest(folder: &Path) -> DomainSpec {
    let id = ServerId::random();
    let folder = folder.join(id.to_string());
    std::fs::create_dir(&folder).unwrap();
    DomainSpec {
        id,
        name: format!("instance-{:08x}", id.0.as_fields().0),
        display_name: "bench".into(),
        flavor_name: "bench".into(),
        project_id: "bench".into(),
        user_id: "bench".into(),
        vcpus: 1,
        memory_mib: 32,
        firmware: Firmware::Bios,
        machine: None,
        disks: Vec::new(),
        nics: Vec::new(),
        console_log: folder.join("console.log"),
        video: VideoModel::Virtio,
        spare_ports: 2,
    }
}

fn bare(connect: &Connect, xml: &str) -> Duration {
    let begun = Instant::now();
    let domain = connect.define_domain_xml(xml).unwrap();
    domain.create().unwrap();
    let took = begun.elapsed();
    domain.destroy().unwrap();
    domain.undefine().unwrap();
    took
}

/// How often the threads of this process have given up the processor of their own accord.
fn switches() -> u64 {
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).ok())
        .filter_map(|status| {
            let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .sum()
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

fn main() {
    if std::env::var_os("DWARFNOVA_HERMETIC").is_none() {
        eprintln!("skipped: the driver bench runs only inside tests/hermetic");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let installation = Uuid::new_v4();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let host = LibvirtHost::connect(LibvirtConfig {
        uri: "qemu:///system".into(),
        virt_type: VirtTypeSetting::Qemu,
        installation,
        probe_cache: folder.path().join("probe.json"),
    });
    let connect = Connect::open(Some("qemu:///system")).unwrap();
    let rendering = Rendering {
        virt_type: VirtType::Qemu,
        installation,
        buffered: BTreeSet::new(),
        layers: BTreeMap::new(),
        keep_owner: BTreeSet::new(),
    };
    let (mut with_driver, mut without) = (Vec::new(), Vec::new());
    // The first round warms up and does not count.
    for round in 0..=ROUNDS {
        let spec = guest(folder.path());
        let took = runtime.block_on(async {
            let begun = Instant::now();
            host.define(&spec).await.unwrap();
            host.start(spec.id).await.unwrap();
            let took = begun.elapsed();
            host.destroy(spec.id).await.unwrap();
            host.undefine(spec.id).await.unwrap();
            took
        });
        let plain = bare(&connect, &render(&guest(folder.path()), &rendering).unwrap());
        if round > 0 {
            with_driver.push(took);
            without.push(plain);
        }
    }
    let (with_driver, without) = (median(with_driver), median(without));
    let ratio = with_driver.as_secs_f64() / without.as_secs_f64();
    println!("define and start: driver {with_driver:?}, bare libvirt {without:?}, ratio {ratio:.3}");

    drop(connect);
    // Until the threads that made the calls have ended.
    std::thread::sleep(Duration::from_secs(25));
    let before = switches();
    std::thread::sleep(IDLE);
    let wakes = (switches() - before) as f64 / IDLE.as_secs_f64();
    println!("idle: {wakes:.2} wake-ups a second");
}
