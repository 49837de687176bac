//! What each action costs, with little and with much on the disk, over the bare calls that it needs:
//! `tests/hermetic cargo bench -- actions`.
//!
//! Bare: the libvirt calls and the `qemu-img create` of the layers, of the very XML that the daemon made. How long guests
//! take to shut down is their own affair: here they are given no time. DWARFNOVA_TEST_GUEST names the guest image.

use crate::support::{Lab, median, ms, renamed, row};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use virt::domain::Domain;

const ROUNDS: usize = 5;
/// What is written at once, in MiB.
const PIECE: usize = 100;

/// An action of the API, the status it ends in, and the calls that do the same to a guest of our own.
struct Deed {
    name: &'static str,
    body: Value,
    status: &'static str,
    bare: fn(&Bare),
}

fn deeds(image: &str) -> Vec<Deed> {
    let deed = |name, body, status, bare| Deed { name, body, status, bare };
    vec![
        deed("pause", json!({"pause": null}), "PAUSED", |bare| {
            bare.domain.suspend().unwrap();
        }),
        deed("unpause", json!({"unpause": null}), "ACTIVE", |bare| {
            bare.domain.resume().unwrap();
        }),
        deed("suspend", json!({"suspend": null}), "SUSPENDED", |bare| {
            bare.domain.managed_save(0).unwrap();
        }),
        deed("resume", json!({"resume": null}), "ACTIVE", |bare| {
            bare.domain.create().unwrap();
        }),
        deed("stop at once", json!({"os-stop": null}), "SHUTOFF", |bare| bare.domain.destroy().unwrap()),
        deed("start", json!({"os-start": null}), "ACTIVE", |bare| {
            bare.domain.create().unwrap();
        }),
        deed("hard reboot", json!({"reboot": {"type": "HARD"}}), "ACTIVE", Bare::again),
        deed("rescue", json!({"rescue": null}), "RESCUE", Bare::over_a_layer),
        deed("unrescue", json!({"unrescue": null}), "ACTIVE", Bare::again),
        deed("resize", json!({"resize": {"flavorRef": "after"}}), "VERIFY_RESIZE", Bare::over_a_layer),
        deed("revert of a resize", json!({"revertResize": null}), "ACTIVE", Bare::again),
        deed("rebuild", json!({"rebuild": {"imageRef": image}}), "ACTIVE", Bare::over_a_layer),
    ]
}

pub fn run() {
    let Some(lab) = Lab::open("actions", "[compute]\nshutdown_timeout_seconds = 0\n") else { return };
    for (name, vcpus, disk) in [("before", 1, 20), ("after", 2, 21)] {
        let flavor = json!({"flavor": {"id": name, "name": name, "vcpus": vcpus, "ram": 64, "disk": disk}});
        assert_eq!(lab.wait(lab.client.post("/v2.1/flavors", &flavor)).0, 200);
    }
    let deeds = deeds(&lab.image);
    let little = measure(&lab, &deeds, 200);
    let much = measure(&lab, &deeds, 2000);
    for (deed, (little, much)) in deeds.iter().zip(little.iter().zip(&much)) {
        let ratio = |a: Duration, b: Duration| format!("{:.3}", a.as_secs_f64() / b.as_secs_f64());
        row(&format!("{}: POST to {}", deed.name, deed.status), &ms(little.ours));
        row("  bare calls", &ms(little.bare));
        row("  ratio", &ratio(little.ours, little.bare));
        row("  with 2000 MiB on the disk over 200 MiB", &ratio(much.ours, little.ours));
    }
}

struct Cost {
    ours: Duration,
    bare: Duration,
}

/// The medians of each action of a server with so much on its disk.
fn measure(lab: &Lab, deeds: &[Deed], mib: usize) -> Vec<Cost> {
    let body = json!({"server": {"name": "bench", "imageRef": lab.image, "flavorRef": "before", "networks": "none"}});
    let id = lab.create(&body);
    let bare = Bare::of(lab, &id);
    let mut samples: Vec<(Vec<Duration>, Vec<Duration>)> = deeds.iter().map(|_| Default::default()).collect();
    // The first round warms caches on both sides.
    for round in 0..=ROUNDS {
        for (deed, (ours, calls)) in deeds.iter().zip(&mut samples) {
            if deed.name == "start" {
                fill(&lab.state.join("servers").join(&id).join("disk"), mib);
            }
            let start = Instant::now();
            (deed.bare)(&bare);
            let called = start.elapsed();
            let start = Instant::now();
            lab.act(&id, &deed.body, deed.status);
            if round > 0 {
                ours.push(start.elapsed());
                calls.push(called);
            }
        }
    }
    bare.domain.destroy().unwrap();
    bare.domain.undefine().unwrap();
    lab.remove(&[id]);
    samples.into_iter().map(|(ours, bare)| Cost { ours: median(ours), bare: median(bare) }).collect()
}

/// Writes so much on a disk that nobody uses, beyond what the image holds.
fn fill(disk: &Path, mib: usize) {
    for at in (0..mib).step_by(PIECE) {
        let write = format!("write -P 7 {}M {PIECE}M", 1024 + at);
        let written = Command::new("qemu-io")
            .args(["-f", "qcow2", "-c", &write])
            .arg(disk)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(written.success());
    }
    // At rest, as the disk of a server is that was filled some time ago.
    assert!(Command::new("sync").status().unwrap().success());
}

/// A guest of our own, as the daemon made one.
struct Bare {
    domain: Domain,
    xml: String,
    disk: PathBuf,
}

impl Bare {
    fn of(lab: &Lab, id: &str) -> Self {
        let theirs = lab.connect.lookup_domain_by_uuid(id.parse().unwrap()).unwrap();
        let (xml, base, disk) =
            renamed(&lab.bare, &theirs.xml_desc(virt::sys::VIR_DOMAIN_XML_INACTIVE).unwrap());
        layer(&base, &disk, "20G");
        let domain = lab.connect.define_domain_xml(&xml).unwrap();
        domain.create().unwrap();
        Self { domain, xml, disk }
    }

    /// Off, defined anew and on again.
    fn again(&self) {
        self.restart(&self.xml);
    }

    /// As [`Bare::again`], on a new layer over the disk.
    fn over_a_layer(&self) {
        let over = self.disk.with_extension("over");
        layer(&self.disk, &over, "21G");
        self.restart(&self.xml.replace(self.disk.to_str().unwrap(), over.to_str().unwrap()));
    }

    fn restart(&self, xml: &str) {
        self.domain.destroy().unwrap();
        self.domain.connect().unwrap().define_domain_xml(xml).unwrap().create().unwrap();
    }
}

fn layer(base: &Path, over: &Path, size: &str) {
    let made = Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
        .args([base, over])
        .arg(size)
        .status()
        .unwrap();
    assert!(made.success());
}
