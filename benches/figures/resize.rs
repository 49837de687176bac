//! What a resize costs, with little and with much on the disk, over the bare calls that it needs:
//! `tests/hermetic cargo bench -- resize`.
//!
//! Bare: the guest's power cut, `qemu-img create` of a layer, define and start, of the very XML that the daemon made.
//! How long guests take to shut down is their own affair: here they are given no time. DWARFNOVA_TEST_GUEST names the
//! guest image.

use crate::create::renamed;
use crate::support::{Cloud, is_hermetic, median, ms, row};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use virt::connect::Connect;
use virt::domain::Domain;

const ROUNDS: usize = 7;
/// What is written at once, in MiB.
const PIECE: usize = 100;

pub fn run() {
    if !is_hermetic("resize") {
        return;
    }
    let cloud = Cloud::new("[compute]\nshutdown_timeout_seconds = 0\n");
    let connect = Connect::open(Some("qemu:///system")).unwrap();
    for (name, vcpus, disk) in [("before", 1, 4), ("after", 2, 5)] {
        let flavor = json!({"flavor": {"id": name, "name": name, "vcpus": vcpus, "ram": 64, "disk": disk}});
        assert_eq!(cloud.runtime.block_on(cloud.client.post("/v2.1/flavors", &flavor)).0, 200);
    }
    let bench = Bench { cloud: &cloud, connect: &connect, folder: &cloud.bare_folder() };
    let mut medians = Vec::new();
    for mib in [200, 2000] {
        let id = bench.server(mib);
        let bare = bench.bare_guest(&id);
        // The first of each kind warms caches on both sides.
        bench.ours(&id);
        bench.bare(&bare);
        let (mut ours, mut calls) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            calls.push(bench.bare(&bare));
            ours.push(bench.ours(&id));
        }
        let (ours, calls) = (median(ours), median(calls));
        row(&format!("resize with {mib} MiB on the disk: POST to VERIFY_RESIZE"), &ms(ours));
        row("  bare destroy + layer + define + start", &ms(calls));
        row("  ratio", &format!("{:.3}", ours.as_secs_f64() / calls.as_secs_f64()));
        medians.push(ours);
        bare.domain.destroy().unwrap();
        bare.domain.undefine().unwrap();
        bench.remove(&id);
    }
    row(
        "much over little on the disk",
        &format!("{:.3}", medians[1].as_secs_f64() / medians[0].as_secs_f64()),
    );
}

struct Bench<'b> {
    cloud: &'b Cloud,
    connect: &'b Connect,
    folder: &'b Path,
}

/// A guest of our own, beside the daemon's.
struct Bare {
    domain: Domain,
    xml: String,
    disk: PathBuf,
}

impl Bench<'_> {
    fn act(&self, id: &str, action: &serde_json::Value, status: &str) {
        self.cloud.runtime.block_on(async {
            let (code, body) = self.cloud.client.post(&format!("/v2.1/servers/{id}/action"), action).await;
            assert!((200..300).contains(&code), "{body}");
            self.cloud.client.wait_for(id, status).await;
        });
    }

    /// A running server with so much written on its disk.
    fn server(&self, mib: usize) -> String {
        let body = json!({"server": {"name": "bench", "imageRef": self.cloud.image, "flavorRef": "before"}});
        let (code, made) = self.cloud.runtime.block_on(self.cloud.client.post("/v2.1/servers", &body));
        assert_eq!(code, 202, "{made}");
        let id = made["server"]["id"].as_str().unwrap().to_owned();
        self.cloud.runtime.block_on(self.cloud.client.wait_for(&id, "ACTIVE"));
        self.act(&id, &json!({"os-stop": null}), "SHUTOFF");
        let disk = self.cloud.state.join("servers").join(&id).join("disk");
        for at in (0..mib).step_by(PIECE) {
            let write = format!("write -P 7 {}M {PIECE}M", 1024 + at);
            let written = Command::new("qemu-io")
                .args(["-f", "qcow2", "-c", &write])
                .arg(&disk)
                .stdout(Stdio::null())
                .status()
                .unwrap();
            assert!(written.success());
        }
        self.act(&id, &json!({"os-start": null}), "ACTIVE");
        id
    }

    /// The time from the request to the new size, which is then taken back.
    fn ours(&self, id: &str) -> Duration {
        let start = Instant::now();
        self.act(id, &json!({"resize": {"flavorRef": "after"}}), "VERIFY_RESIZE");
        let took = start.elapsed();
        self.act(id, &json!({"revertResize": null}), "ACTIVE");
        took
    }

    /// A guest as the daemon made one, under names of its own.
    fn bare_guest(&self, id: &str) -> Bare {
        let theirs = self.connect.lookup_domain_by_uuid(id.parse().unwrap()).unwrap();
        let (xml, base, disk) =
            renamed(self.folder, &theirs.xml_desc(virt::sys::VIR_DOMAIN_XML_INACTIVE).unwrap());
        layer(&base, &disk, "4G");
        let domain = self.connect.define_domain_xml(&xml).unwrap();
        domain.create().unwrap();
        Bare { domain, xml, disk }
    }

    /// The time of the bare calls.
    fn bare(&self, bare: &Bare) -> Duration {
        let over = bare.disk.with_extension("over");
        let xml = bare.xml.replace(bare.disk.to_str().unwrap(), over.to_str().unwrap());
        let start = Instant::now();
        bare.domain.destroy().unwrap();
        layer(&bare.disk, &over, "5G");
        self.connect.define_domain_xml(&xml).unwrap().create().unwrap();
        let took = start.elapsed();
        bare.domain.destroy().unwrap();
        std::fs::remove_file(over).unwrap();
        self.connect.define_domain_xml(&bare.xml).unwrap().create().unwrap();
        took
    }

    fn remove(&self, id: &str) {
        self.cloud.runtime.block_on(async {
            self.cloud.client.delete(&format!("/v2.1/servers/{id}")).await;
            while self.cloud.client.get(&format!("/v2.1/servers/{id}")).await.0 != 404 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
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
