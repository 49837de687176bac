//! What a create costs over the bare calls that it needs: `tests/hermetic cargo bench -- create`.
//!
//! Bare: `qemu-img create` of the overlay, define and start through libvirt, of the very XML that the daemon made, with
//! other names. Both sides take turns in one run. DWARFNOVA_TEST_GUEST names the guest image.

use crate::support::{Lab, median, ms, renamed, row};
use serde_json::json;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use virt::connect::Connect;

const ROUNDS: usize = 9;

pub fn run() {
    let Some(lab) = Lab::open("create", "") else { return };
    lab.raise_quota();
    for (name, networks) in [("without a port", json!("none")), ("with a port", json!("auto"))] {
        let bench = Bench { lab: &lab, networks };
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
            for _ in 0..5 {
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

struct Bench<'l> {
    lab: &'l Lab,
    networks: serde_json::Value,
}

impl Bench<'_> {
    /// Asks for servers, all at once; gives their ids.
    fn post(&self, count: usize) -> Vec<String> {
        let body = json!({"server": {"name": "bench", "imageRef": self.lab.image, "flavorRef": "42",
            "networks": self.networks}});
        let posts = (0..count).map(|_| self.lab.ask(&body));
        self.lab.wait(futures_util::future::join_all(posts))
    }

    /// The time from the first request to the last domain running.
    fn ours(&self, count: usize) -> Duration {
        let start = Instant::now();
        let ids = self.post(count);
        let took = self.until_running(start, count);
        self.lab.remove(&ids);
        took
    }

    /// The time since `start` when this many domains run. Both sides are looked at in this way: looking costs libvirtd
    /// something, and a domain is active long before its processors start.
    fn until_running(&self, start: Instant, count: usize) -> Duration {
        loop {
            let running =
                self.lab.connect.list_all_domains(virt::sys::VIR_CONNECT_LIST_DOMAINS_RUNNING).unwrap();
            if running.len() == count {
                return start.elapsed();
            }
            assert!(start.elapsed() < Duration::from_secs(120), "not all of them run");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The XML of a domain that the daemon made.
    fn template(&self) -> String {
        let ids = self.post(1);
        self.lab.wait(self.lab.client.wait_for(&ids[0], "ACTIVE"));
        let domain = self.lab.connect.lookup_domain_by_uuid(ids[0].parse().unwrap()).unwrap();
        let xml = domain.xml_desc(virt::sys::VIR_DOMAIN_XML_INACTIVE).unwrap();
        self.lab.remove(&ids);
        xml
    }

    /// The time of the bare calls for these domains, all at once.
    fn bare(&self, templates: &[String]) -> Duration {
        let jobs: Vec<(String, PathBuf, PathBuf)> =
            templates.iter().map(|xml| renamed(&self.lab.bare, xml)).collect();
        let start = Instant::now();
        let (domains, took): (Vec<String>, _) = std::thread::scope(|scope| {
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
            let took = self.until_running(start, templates.len());
            (threads.into_iter().map(|thread| thread.join().unwrap()).collect(), took)
        });
        for name in domains {
            let domain = self.lab.connect.lookup_domain_by_name(&name).unwrap();
            domain.destroy().unwrap();
            domain.undefine().unwrap();
        }
        for (_, _, overlay) in jobs {
            std::fs::remove_file(overlay).unwrap();
        }
        took
    }
}
