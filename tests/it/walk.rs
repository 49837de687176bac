//! A random walk over a real host: what owners ask for, what guests and administrators do behind our back, and crashes of
//! everything, in any order. Whatever happened, all comes to rest, nothing contradicts anything, and everything can be
//! deleted.
//!
//! `DWARFNOVA_WALK_SECONDS` says for how long new moves are made (default: [`SHORT`]), `DWARFNOVA_SEED` repeats a walk as far
//! as the host's pace allows.

use crate::harness::{Daemon, Http, Options, Random, domains, guest_image, until, virsh};
use crate::host::{kill_libvirtd, start_libvirtd};
use crate::sandbox;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long a walk is in seconds, without the time in which all comes to rest at the end.
const SHORT: u64 = 60;
const MOST_SERVERS: usize = 4;
/// After so many moves everything is let come to rest and is looked at.
const ROUND: usize = 10;
const NEWEST: [(&str, &str); 1] = [("openstack-api-version", "compute 2.100")];

/// What images of servers are called.
const PICTURE: &str = "picture";

/// What an owner may ask of a server. Which of it is admitted is up to the state that the walk has come to.
fn wishes(image: &str) -> Vec<Value> {
    vec![
        json!({"os-start": null}),
        json!({"os-stop": null}),
        json!({"reboot": {"type": "SOFT"}}),
        json!({"reboot": {"type": "HARD"}}),
        json!({"pause": null}),
        json!({"unpause": null}),
        json!({"suspend": null}),
        json!({"resume": null}),
        json!({"rescue": null}),
        json!({"unrescue": null}),
        json!({"unrescue": null}),
        json!({"rebuild": {"imageRef": image}}),
        json!({"resize": {"flavorRef": "42"}}),
        json!({"resize": {"flavorRef": "other"}}),
        json!({"confirmResize": null}),
        json!({"confirmResize": null}),
        json!({"revertResize": null}),
        json!({"revertResize": null}),
        json!({"createImage": {"name": PICTURE}}),
        json!({"trigger_crash_dump": null}),
        json!({"shelve": null}),
        json!({"shelveOffload": null}),
        json!({"unshelve": null}),
        json!({"unshelve": null}),
        json!({"restore": null}),
        json!({"restore": null}),
    ]
}

struct Walk {
    daemon: Daemon,
    http: Http,
    image: String,
    servers: Vec<String>,
    random: Random,
    /// The moves so far, told when something is wrong.
    story: Vec<String>,
}

fn options() -> Options {
    // Guests that are still booting do not hear that they should shut down.
    let config = "[compute]\nshutdown_timeout_seconds = 2\nreclaim_instance_interval_seconds = 3600\n";
    Options { config: config.into(), ..Options::default() }
}

impl Walk {
    fn tell(&mut self, what: String) {
        self.story.push(what);
    }

    fn create(&mut self) {
        let wish = json!({"server": {
            "name": "walker", "imageRef": self.image, "flavorRef": "42", "networks": "auto"}});
        let answer = self.http.send(Method::POST, "/v2.1/servers", &NEWEST, Some(&wish)).expect(202);
        let id = answer["server"]["id"].as_str().unwrap().to_owned();
        self.tell(format!("create {id}"));
        self.servers.push(id);
    }

    fn ask(&mut self) {
        let id = self.random.choose(&self.servers).clone();
        let wish = self.random.choose(&wishes(&self.image)).clone();
        let path = format!("/v2.1/servers/{id}/action");
        let answer = self.http.send(Method::POST, &path, &NEWEST, Some(&wish));
        self.tell(format!("{wish} {id}: {}", answer.status));
        // A resize to the flavor that the server has is a bad request.
        let refused = answer.status == 409 || (answer.status == 400 && wish.get("resize").is_some());
        let fine = refused || matches!(answer.status, 200 | 202 | 204);
        if answer.status == 404 {
            // An earlier delete was for good.
            self.servers.retain(|one| *one != id);
            return;
        }
        assert!(fine, "{}: {wish}: {}", answer.status, answer.body);
    }

    /// A server that is shelved, or was never there, is gone at once; others can be restored.
    fn delete(&mut self) {
        let at = self.random.below(self.servers.len());
        let id = self.servers[at].clone();
        self.tell(format!("delete {id}"));
        let answer = self.http.send(Method::DELETE, &format!("/v2.1/servers/{id}"), &NEWEST, None);
        assert!(matches!(answer.status, 204 | 404), "{}: {}", answer.status, answer.body);
        if answer.status == 404 {
            self.servers.remove(at);
        }
    }

    fn force_delete(&mut self) {
        let id = self.servers.remove(self.random.below(self.servers.len()));
        self.tell(format!("force delete {id}"));
        self.force(&id);
    }

    /// One that another delete has ended already is unknown.
    fn force(&self, id: &str) {
        let path = format!("/v2.1/servers/{id}/action");
        let answer = self.http.send(Method::POST, &path, &NEWEST, Some(&json!({"forceDelete": null})));
        assert!(matches!(answer.status, 202 | 404), "{}: {}", answer.status, answer.body);
    }

    /// Something happens to a guest that nobody asked us for.
    fn disturb(&mut self) {
        let all = domains(&self.daemon.state());
        if all.is_empty() {
            return;
        }
        let name = self.random.choose(&all).clone();
        let what = self.random.below(4);
        self.tell(format!("{} {name}", ["destroy", "suspend", "resume", "kill"][what]));
        // It may be off already, or on its way.
        match what {
            0 => drop(virsh(&["destroy", &name])),
            1 => drop(virsh(&["suspend", &name])),
            2 => drop(virsh(&["resume", &name])),
            _ => {
                if let Ok(pid) = std::fs::read_to_string(format!("/run/libvirt/qemu/{name}.pid")) {
                    let _ = std::process::Command::new("kill").args(["-KILL", pid.trim()]).status();
                }
            }
        }
    }

    fn crash(&mut self) {
        self.tell("the daemon is killed".into());
        self.daemon.kill();
        self.pause(300);
        self.daemon.resume(&options());
        self.http = self.daemon.http();
    }

    fn restart_libvirtd(&mut self) {
        self.tell("libvirtd is killed".into());
        kill_libvirtd();
        self.pause(500);
        start_libvirtd();
        until("libvirt", 30, || virsh(&["version"]));
    }

    /// Waits a little, so that moves meet whatever is going on at all its stages.
    fn pause(&mut self, most_ms: usize) {
        let pause = self.random.below(most_ms);
        std::thread::sleep(Duration::from_millis(u64::try_from(pause).unwrap()));
    }

    fn step(&mut self) {
        match self.random.below(100) {
            _ if self.servers.is_empty() => self.create(),
            0..12 if self.servers.len() < MOST_SERVERS => self.create(),
            12..16 => self.delete(),
            16..20 => self.force_delete(),
            20..36 => self.disturb(),
            36..44 => self.crash(),
            44..48 => self.restart_libvirtd(),
            _ => self.ask(),
        }
        self.pause(700);
    }

    /// Guests that somebody paused are let go on: nobody else would, and a paused guest is not what ACTIVE promises.
    fn rest(&mut self) {
        let idle = |body: &Value| {
            let servers = body["servers"].as_array().unwrap();
            servers.iter().all(|server| server["OS-EXT-STS:task_state"].is_null())
        };
        until("all to come to rest", 120, || {
            for name in domains(&self.daemon.state()) {
                let paused = virsh(&["domstate", &name]).as_deref() == Some("paused");
                if paused && self.is_active(&name) {
                    let _ = virsh(&["resume", &name]);
                }
            }
            let body = self.http.get("/v2.1/servers/detail").expect(200);
            (idle(&body) && self.daemon.look(&["--wait", "0"]).0 == 0).then_some(())
        });
    }

    /// Images would fill the host otherwise.
    fn tidy(&self) {
        let images = self.http.get(&format!("/image/v2/images?name={PICTURE}")).expect(200);
        for image in images["images"].as_array().unwrap() {
            let path = format!("/image/v2/images/{}", image["id"].as_str().unwrap());
            self.http.send(Method::DELETE, &path, &[], None).expect(204);
        }
    }

    /// Whether the server of a domain says that it runs.
    fn is_active(&self, name: &str) -> bool {
        let Some(id) = virsh(&["domuuid", name]) else { return false };
        let body = self.http.get(&format!("/v2.1/servers/{id}")).body;
        body["server"]["OS-EXT-STS:vm_state"] == "active" && body["server"]["OS-EXT-STS:task_state"].is_null()
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the walk (seed {})\n{}", self.random.seed, self.story.join("\n"));
            eprintln!("--- the checker\n{}", self.daemon.look(&["--wait", "0"]).1);
        }
    }
}

#[test]
fn a_random_walk_over_real_guests_comes_to_rest() {
    sandbox!();
    let seconds = std::env::var("DWARFNOVA_WALK_SECONDS").ok().and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(SHORT));
    let daemon = Daemon::alone(&options());
    let http = daemon.http();
    let image = http.image("guest", &guest_image());
    let other = json!({"flavor": {"id": "other", "name": "other", "vcpus": 1, "ram": 160, "disk": 1}});
    http.compute(Method::POST, "/flavors", 1, Some(&other)).expect(200);
    let random = Random::new("the walk");
    let mut walk = Walk { daemon, http, image, servers: Vec::new(), random, story: Vec::new() };
    walk.create();
    while Instant::now() < end {
        for _ in 0..ROUND {
            walk.step();
        }
        walk.rest();
        walk.tidy();
    }
    for id in std::mem::take(&mut walk.servers) {
        walk.tell(format!("force delete {id} at the end"));
        walk.force(&id);
        walk.http.wait_gone(&id, 90);
    }
    walk.daemon.check("everything was deleted");
    assert_eq!(domains(&walk.daemon.state()), Vec::<String>::new());
    assert_eq!(walk.daemon.server_folders(), Vec::<String>::new());
}
