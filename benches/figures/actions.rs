//! What each action costs, with little and with much on the disk, over the bare calls that it needs:
//! `tests/hermetic cargo bench -- actions`.
//!
//! Bare: the libvirt calls, on a link that is there already, and the `qemu-img create` of the layers, of the very XML
//! that the daemon made. How long guests take to shut down is their own affair: here they are given no time.
//! DWARFNOVA_TEST_GUEST names the guest image.

use crate::support::{Lab, median, ms, renamed, row};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use uuid::Uuid;
use virt::connect::Connect;
use virt::domain::Domain;

/// Half of them begin with the daemon, half with the bare calls.
const ROUNDS: usize = 6;
/// How often a round does the first deeds, which are quick, and how many these are. Before them the guests come to rest:
/// beside one that boots, they measure how busy the processors are.
const QUICK_ROUNDS: usize = 10;
const QUICK: usize = 4;
/// The namespace of the mark that tells the daemon's domains.
const MARK: &str = "urn:dwarfnova:domain:1";
/// What is written at once, in MiB.
const PIECE: usize = 100;

/// An action of the API, when it has ended, and the calls that do the same to a guest of our own.
struct Deed {
    name: &'static str,
    body: Value,
    end: End,
    bare: fn(&Bare),
}

/// When an action has ended.
#[derive(Clone, Copy)]
enum End {
    /// As soon as whoever asks is told this `vm_state`.
    Is(&'static str),
    /// When a client that asks time and again was told this status.
    Seen(&'static str),
}

impl Deed {
    fn act(&self, lab: &Lab, id: &str) {
        match self.end {
            End::Is(vm_state) => lab.act(id, &self.body, vm_state),
            End::Seen(status) => lab.act_and_poll(id, &self.body, status),
        }
    }
}

fn deeds(image: &str) -> Vec<Deed> {
    let deed = |name, body, vm_state, bare| Deed { name, body, end: End::Is(vm_state), bare };
    let suspend = |bare: &Bare| {
        bare.domain().suspend().unwrap();
    };
    let resume = |bare: &Bare| {
        bare.domain().resume().unwrap();
    };
    let (pause, unpause) = (json!({"pause": null}), json!({"unpause": null}));
    vec![
        deed("pause", pause.clone(), "paused", suspend),
        deed("unpause", unpause.clone(), "active", resume),
        Deed { name: "pause", body: pause, end: End::Seen("PAUSED"), bare: suspend },
        Deed { name: "unpause", body: unpause, end: End::Seen("ACTIVE"), bare: resume },
        deed("suspend", json!({"suspend": null}), "suspended", |bare| {
            bare.domain().managed_save(0).unwrap();
        }),
        deed("resume", json!({"resume": null}), "active", |bare| {
            bare.domain().create().unwrap();
        }),
        deed("stop at once", json!({"os-stop": null}), "stopped", |bare| bare.domain().destroy().unwrap()),
        deed("start", json!({"os-start": null}), "active", |bare| {
            bare.domain().create().unwrap();
        }),
        deed("hard reboot", json!({"reboot": {"type": "HARD"}}), "active", Bare::again),
        deed("rescue", json!({"rescue": null}), "rescued", Bare::over_a_layer),
        deed("unrescue", json!({"unrescue": null}), "active", Bare::again),
        deed("resize", json!({"resize": {"flavorRef": "after"}}), "resized", Bare::over_a_layer),
        deed("revert of a resize", json!({"revertResize": null}), "active", Bare::again),
        deed("rebuild", json!({"rebuild": {"imageRef": image}}), "active", Bare::over_a_layer),
    ]
}

pub fn run() {
    let Some(lab) = Lab::open("actions", "[compute]\nshutdown_timeout_seconds = 0\n") else { return };
    for (name, vcpus, disk) in [("before", 1, 20), ("after", 2, 21)] {
        let flavor = json!({"flavor": {"id": name, "name": name, "vcpus": vcpus, "ram": 128, "disk": disk}});
        assert_eq!(lab.wait(lab.client.post("/v2.1/flavors", &flavor)).0, 200);
    }
    let deeds = deeds(&lab.image);
    let little = measure(&lab, &deeds, 200);
    let much = measure(&lab, &deeds, 2000);
    for (deed, (little, much)) in deeds.iter().zip(little.iter().zip(&much)) {
        let ratio = |a: Duration, b: Duration| format!("{:.3}", a.as_secs_f64() / b.as_secs_f64());
        let end = match deed.end {
            End::Is(vm_state) => vm_state.to_owned(),
            End::Seen(status) => format!("{status} as polls see it"),
        };
        row(&format!("{}: POST to {end}", deed.name), &ms(little.ours));
        row("  bare calls", &ms(little.bare));
        row("  ratio", &ratio(little.ours, little.bare));
        row("  with 2000 MiB on the disk over 200 MiB", &ratio(much.ours, little.ours));
    }
}

struct Cost {
    ours: Duration,
    bare: Duration,
}

/// What was measured in the rounds of one order.
#[derive(Default)]
struct Samples {
    ours: Vec<Duration>,
    bare: Vec<Duration>,
}

/// What each action of a server with so much on its disk costs: the medians of both orders, and of these the mean.
fn measure(lab: &Lab, deeds: &[Deed], mib: usize) -> Vec<Cost> {
    let body = json!({"server": {"name": "bench", "imageRef": lab.image, "flavorRef": "before", "networks": "none"}});
    let id = lab.create(&body);
    let bare = Bare::of(lab, &id);
    let mut samples: Vec<[Samples; 2]> = deeds.iter().map(|_| Default::default()).collect();
    // The first round warms caches on both sides.
    for round in 0..=ROUNDS {
        lab.rest();
        for at in (0..QUICK * QUICK_ROUNDS).map(|at| at % QUICK).chain(QUICK..deeds.len()) {
            let deed = &deeds[at];
            if deed.name == "start" {
                fill(&lab.state.join("servers").join(&id).join("disk"), mib);
            }
            let act = || timed(|| deed.act(lab, &id));
            let call = || timed(|| (deed.bare)(&bare));
            // Whoever comes second does it beside a guest that has just begun to run.
            let first = round % 2;
            let (ours, calls) = if first == 0 {
                let ours = act();
                (ours, call())
            } else {
                let calls = call();
                (act(), calls)
            };
            if round > 0 {
                samples[at][first].ours.push(ours);
                samples[at][first].bare.push(calls);
            }
        }
    }
    bare.domain().destroy().unwrap();
    bare.domain().undefine().unwrap();
    lab.remove(&[id]);
    let cost = |[one, other]: [Samples; 2]| Cost {
        ours: (median(one.ours) + median(other.ours)) / 2,
        bare: (median(one.bare) + median(other.bare)) / 2,
    };
    samples.into_iter().map(cost).collect()
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
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
    connect: Connect,
    id: Uuid,
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
        Self { connect: lab.connect.clone(), id: domain.uuid().unwrap(), xml, disk }
    }

    /// Looked up, and its mark read: whoever shares a host does no less before a change.
    fn domain(&self) -> Domain {
        let domain = self.connect.lookup_domain_by_uuid(self.id).unwrap();
        let mark =
            domain.metadata(virt::sys::VIR_DOMAIN_METADATA_ELEMENT.cast_signed(), Some(MARK), 0).unwrap();
        assert!(mark.contains("owner"), "{mark}");
        domain
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
        self.domain().destroy().unwrap();
        self.connect.define_domain_xml(xml).unwrap().create().unwrap();
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
