//! What a create costs over the bare calls that it needs: `tests/hermetic cargo bench -- create`.
//!
//! Bare: `qemu-img create` of the overlay, define and start through libvirt, of the very XML that the daemon made, with
//! other names. Both sides take turns in one run. DWARFNOVA_TEST_GUEST names the guest image.

use crate::support::{Cloud, is_hermetic, median, ms, row};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use uuid::Uuid;
use virt::connect::Connect;
use virt::domain::DomainState;
use virt::enumutil::Enum;

const ROUNDS: usize = 9;

pub fn run() {
    if !is_hermetic("create") {
        return;
    }
    let cloud = Cloud::new("");
    // libvirt would print each look at a domain that is not there yet.
    virt::error::clear_error_callback();
    let connect = Connect::open(Some("qemu:///system")).unwrap();
    raise_quota(&cloud.state, &cloud.client.project);
    let folder = cloud.bare_folder();

    for (name, networks) in [("without a port", json!("none")), ("with a port", json!("auto"))] {
        let bench = Bench { cloud: &cloud, connect: &connect, folder: &folder, networks };
        // The first of each kind warms caches on both sides.
        let xml = bench.template();
        bench.bare(std::slice::from_ref(&xml));
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            bare.push(bench.bare(std::slice::from_ref(&xml)));
            ours.push(bench.ours(1));
        }
        report(&format!("create {name}"), median(ours), median(bare));
        if name == "with a port" {
            continue;
        }
        for at_once in [10, 20] {
            let many = vec![xml.clone(); at_once];
            let (mut ours, mut bare) = (Vec::new(), Vec::new());
            for _ in 0..3 {
                bare.push(bench.bare(&many));
                ours.push(bench.ours(at_once));
            }
            report(&format!("create {name}, {at_once} at once"), median(ours), median(bare));
        }
    }
}

fn report(what: &str, ours: Duration, bare: Duration) {
    row(&format!("{what}: POST to running"), &ms(ours));
    row("  bare overlay + define + start", &ms(bare));
    row("  ratio", &format!("{:.3}", ours.as_secs_f64() / bare.as_secs_f64()));
}

/// Straight into the database, as an administrator's tool would while the daemon runs.
fn raise_quota(state: &Path, project: &str) {
    let connection = rusqlite::Connection::open(state.join("dwarfnova.db")).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    for resource in ["instances", "cores", "ram"] {
        connection.execute("INSERT OR REPLACE INTO quota VALUES (?1, ?2, -1)", [project, resource]).unwrap();
    }
}

struct Bench<'b> {
    cloud: &'b Cloud,
    connect: &'b Connect,
    folder: &'b Path,
    networks: serde_json::Value,
}

impl Bench<'_> {
    fn post(&self, count: usize) -> Vec<Uuid> {
        let body = json!({"server": {"name": "bench", "imageRef": self.cloud.image, "flavorRef": "42",
            "networks": self.networks}});
        self.cloud.runtime.block_on(async {
            let posts = (0..count).map(|_| async {
                let request = reqwest::Client::new()
                    .post(format!("{}/v2.1/servers", self.cloud.client.base))
                    .header("x-auth-token", &self.cloud.client.token)
                    .header("openstack-api-version", "compute 2.37")
                    .json(&body);
                let response = request.send().await.unwrap();
                assert_eq!(response.status(), 202);
                let answer: serde_json::Value = response.json().await.unwrap();
                answer["server"]["id"].as_str().unwrap().parse().unwrap()
            });
            futures_util::future::join_all(posts).await
        })
    }

    /// The time from the first request to the last domain running.
    fn ours(&self, count: usize) -> Duration {
        let start = Instant::now();
        let ids = self.post(count);
        for id in &ids {
            while !self.runs(*id) {
                std::thread::sleep(Duration::from_millis(1));
                assert!(start.elapsed() < Duration::from_secs(120), "{id} does not run");
            }
        }
        let took = start.elapsed();
        self.remove(&ids);
        took
    }

    /// A domain is active long before its processors start: that would be too early.
    fn runs(&self, id: Uuid) -> bool {
        let state = self.connect.lookup_domain_by_uuid(id).and_then(|domain| domain.state());
        state.is_ok_and(|(state, _)| state == Enum::Known(DomainState::Running))
    }

    fn remove(&self, ids: &[Uuid]) {
        self.cloud.runtime.block_on(async {
            for id in ids {
                self.cloud.client.wait_for(&id.to_string(), "ACTIVE").await;
                self.cloud.client.delete(&format!("/v2.1/servers/{id}")).await;
            }
            for id in ids {
                while self.cloud.client.get(&format!("/v2.1/servers/{id}")).await.0 != 404 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        });
    }

    /// The XML of a domain that the daemon made.
    fn template(&self) -> String {
        let ids = self.post(1);
        self.cloud.runtime.block_on(self.cloud.client.wait_for(&ids[0].to_string(), "ACTIVE"));
        let domain = self.connect.lookup_domain_by_uuid(ids[0]).unwrap();
        let xml = domain.xml_desc(virt::sys::VIR_DOMAIN_XML_INACTIVE).unwrap();
        self.remove(&ids);
        xml
    }

    /// The time of the bare calls for these domains, all at once.
    fn bare(&self, templates: &[String]) -> Duration {
        let jobs: Vec<(String, PathBuf, PathBuf)> =
            templates.iter().map(|xml| renamed(self.folder, xml)).collect();
        let start = Instant::now();
        let domains: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = jobs
                .iter()
                .map(|(xml, base, overlay)| {
                    scope.spawn(move || {
                        let made = Command::new("qemu-img")
                            .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
                            .args([base, overlay])
                            .arg("1G")
                            .status()
                            .unwrap();
                        assert!(made.success());
                        let connect = Connect::open(Some("qemu:///system")).unwrap();
                        let domain = connect.define_domain_xml(xml).unwrap();
                        domain.create().unwrap();
                        domain.name().unwrap()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let took = start.elapsed();
        for name in domains {
            let domain = self.connect.lookup_domain_by_name(&name).unwrap();
            domain.destroy().unwrap();
            domain.undefine().unwrap();
        }
        for (_, _, overlay) in jobs {
            std::fs::remove_file(overlay).unwrap();
        }
        took
    }
}

/// The XML with names, paths and addresses of its own, the image's file, and where the overlay goes.
pub fn renamed(folder: &Path, xml: &str) -> (String, PathBuf, PathBuf) {
    let id = Uuid::new_v4();
    let document = roxmltree::Document::parse(xml).unwrap();
    let text =
        |tag: &str| document.descendants().find(|n| n.has_tag_name(tag)).and_then(|n| n.text()).unwrap();
    let disk = document.descendants().find(|n| n.has_tag_name("source") && n.has_attribute("file")).unwrap();
    let file = disk.attribute("file").unwrap();
    let overlay = folder.join(format!("{id}.qcow2"));
    let old = text("uuid").to_owned();
    let mut renamed = xml.replace(file, overlay.to_str().unwrap());
    // The console's log and socket.
    for (number, old) in document
        .descendants()
        .filter_map(|n| match n.tag_name().name() {
            "log" => n.attribute("file"),
            "source" => n.attribute("path"),
            _ => None,
        })
        .enumerate()
    {
        let own = folder.join(format!("{}.{number}", id.simple()));
        renamed = renamed.replace(&format!("'{old}'"), &format!("'{}'", own.display()));
    }
    renamed = renamed
        .replace(&format!("<name>{}</name>", text("name")), &format!("<name>bare-{}</name>", id.simple()));
    renamed = renamed.replace(&old, &id.to_string());
    let base = Command::new("find")
        .arg(folder.parent().unwrap().join("state/bases"))
        .args(["-type", "f"])
        .output()
        .unwrap();
    let base = String::from_utf8(base.stdout).unwrap().lines().next().unwrap().to_owned();
    (renamed, base.into(), overlay)
}
