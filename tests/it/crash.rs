//! The daemon killed with SIGKILL at every step of every workflow, on real libvirt: what was accepted ends, once, and the
//! checker finds nothing wrong.
//!
//! A server goes round a circle of actions that leads back to where it began; at each turn each action meets the death of
//! the daemon at another moment. `DWARFNOVA_CRASH=all` goes through all moments; otherwise a few of each action, which
//! `DWARFNOVA_SEED` picks.

use crate::harness::{Daemon, Http, Options, Random, domains, guest_image, until, virsh};
use crate::sandbox;
use dwarfnova::core::workflow::server_attach_interface::ServerAttachInterface;
use dwarfnova::core::workflow::server_crash_dump::ServerCrashDump;
use dwarfnova::core::workflow::server_create::ServerCreate;
use dwarfnova::core::workflow::server_delete::ServerDelete;
use dwarfnova::core::workflow::server_detach_interface::ServerDetachInterface;
use dwarfnova::core::workflow::server_offload::ServerOffload;
use dwarfnova::core::workflow::server_pause::ServerPause;
use dwarfnova::core::workflow::server_reboot::ServerReboot;
use dwarfnova::core::workflow::server_rebuild::ServerRebuild;
use dwarfnova::core::workflow::server_rescue::ServerRescue;
use dwarfnova::core::workflow::server_resize::ServerResize;
use dwarfnova::core::workflow::server_resize_confirm::ServerResizeConfirm;
use dwarfnova::core::workflow::server_resize_revert::ServerResizeRevert;
use dwarfnova::core::workflow::server_restore::ServerRestore;
use dwarfnova::core::workflow::server_resume::ServerResume;
use dwarfnova::core::workflow::server_shelve::ServerShelve;
use dwarfnova::core::workflow::server_snapshot::ServerSnapshot;
use dwarfnova::core::workflow::server_soft_delete::ServerSoftDelete;
use dwarfnova::core::workflow::server_start::ServerStart;
use dwarfnova::core::workflow::server_stop::ServerStop;
use dwarfnova::core::workflow::server_suspend::ServerSuspend;
use dwarfnova::core::workflow::server_unpause::ServerUnpause;
use dwarfnova::core::workflow::server_unrescue::ServerUnrescue;
use dwarfnova::core::workflow::server_unshelve::ServerUnshelve;
use dwarfnova::task::Workflow;
use reqwest::Method;
use serde_json::{Value, json};

/// How many moments of an action are tried when not all are asked for.
const SAMPLE: usize = 3;
/// The same for actions that take long, or that come in fours.
const FEW: usize = 2;

/// Every moment at which the process can die around the steps of a workflow.
fn moments<W: Workflow>() -> Vec<String> {
    let (name, steps) = (W::NAME, W::steps());
    let mut all: Vec<String> = steps
        .iter()
        .flat_map(|step| {
            ["BeforeStart", "AfterStart", "AfterRun"]
                .map(|moment| format!("{name}/{}/{moment}=kill", step.name))
        })
        .collect();
    let last = steps.last().unwrap().name;
    all.extend(["BeforeClose", "AfterClose"].map(|moment| format!("{name}/{last}/{moment}=kill")));
    all
}

/// One action of a circle.
struct Verb {
    /// The body of the request; `null` is a DELETE.
    wish: Value,
    /// The workflow that it sets going, as failpoints name it.
    moments: Vec<String>,
    /// The server's status in the end.
    status: &'static str,
    /// Lines of configuration that the daemon has while it is asked, after those of [`hasty`].
    config: &'static str,
}

impl Verb {
    fn new<W: Workflow>(wish: Value, status: &'static str) -> Self {
        Self { moments: moments::<W>(), ..Self::calm(wish, status) }
    }

    /// One that meets no crash: it leads to where the next can.
    fn calm(wish: Value, status: &'static str) -> Self {
        Self { wish, moments: Vec::new(), status, config: "" }
    }
}

fn all_moments() -> bool {
    std::env::var("DWARFNOVA_CRASH").is_ok_and(|text| text == "all")
}

/// A server that went round, with its daemon.
struct Circle {
    daemon: Daemon,
    http: Http,
    image: String,
    id: String,
    /// The requests so far.
    asked: usize,
}

impl Circle {
    /// A server that starts where it ends: `sample` moments of each action.
    fn go_round(name: &str, sample: usize, verbs: Vec<Verb>) -> Self {
        let mut random = Random::new(name);
        let count = if all_moments() { usize::MAX } else { sample };
        let verbs: Vec<Verb> = verbs
            .into_iter()
            .map(|verb| Verb { moments: random.some(verb.moments, count), ..verb })
            .collect();
        let daemon = Daemon::start(&hasty(""));
        let http = daemon.http();
        let image = http.image("guest", &guest_image());
        let body = json!({"flavor": {"id": "other", "name": "other", "vcpus": 1, "ram": 160, "disk": 1}});
        http.compute(Method::POST, "/flavors", 1, Some(&body)).expect(200);
        let id = create(&http, &image);
        http.wait_for(&id, "ACTIVE", 60);
        http.wait_console(&id, "DWARFNOVA-GUEST ready", 180);
        let mut circle = Self { daemon, http, image, id, asked: 1 };
        let turns = verbs.iter().map(|verb| verb.moments.len()).max().unwrap_or(0);
        for turn in 0..turns {
            for verb in &verbs {
                circle.go_on(verb, verb.moments.get(turn).map_or("", String::as_str));
            }
        }
        // The disk went through all of it: the guest boots, and knows that it has booted before, unless its disk was
        // made anew.
        circle.boots_again(verbs.iter().any(|verb| verb.wish.get("rebuild").is_some()));
        circle
    }

    fn resume(&mut self, options: &Options) {
        self.daemon.resume(options);
        self.http = self.daemon.http();
    }

    fn server(&self) -> Value {
        self.http.get(&format!("/v2.1/servers/{}", self.id)).expect(200)["server"].take()
    }

    /// One action, in the middle of which the daemon dies if there is a point for it.
    fn go_on(&mut self, verb: &Verb, point: &str) {
        if !point.is_empty() || !verb.config.is_empty() {
            self.daemon.stop();
            let mut options = hasty(point);
            options.config += verb.config;
            self.resume(&options);
        }
        let wish = self.fill_in(&verb.wish);
        let path = format!("/v2.1/servers/{}", self.id);
        let asked = if wish.is_null() {
            self.http.attempt(Method::DELETE, &path, &NEWEST, None)
        } else if wish.get("interfaceAttachment").is_some() {
            self.http.attempt(Method::POST, &format!("{path}/os-interface"), &NEWEST, Some(&wish))
        } else if wish.get("detach").is_some() {
            let port = self.newest_port();
            self.http.attempt(Method::DELETE, &format!("{path}/os-interface/{port}"), &NEWEST, None)
        } else {
            self.http.attempt(Method::POST, &format!("{path}/action"), &NEWEST, Some(&wish))
        };
        match asked {
            // Those that make something answer with it.
            Ok(answer) => assert!(matches!(answer.status, 200 | 202 | 204), "{wish}: {}", answer.body),
            // The answer may have died with the daemon.
            Err(error) => assert!(!point.is_empty(), "{wish}: {error}"),
        }
        self.asked += 1;
        if !point.is_empty() {
            self.daemon.wait_for_end(60);
            self.resume(&hasty(""));
        }
        until(&format!("{} after {point}", verb.status), 60, || {
            let server = self.server();
            let idle = server["OS-EXT-STS:task_state"].is_null();
            (idle && server["status"] == verb.status).then_some(())
        });
        self.daemon.check(&format!("{wish} and {point}"));
        let path = format!("/v2.1/servers/{}/os-instance-actions", self.id);
        let actions = self.http.get(&path).expect(200);
        let actions = actions["instanceActions"].as_array().unwrap().len();
        assert_eq!(actions, self.asked, "each request is recorded once, {wish} and {point}");
        for (action, kept) in [("createImage", false), ("createBackup", true)] {
            if wish.get(action).is_some() {
                self.one_image(action, kept, point);
            }
        }
    }

    /// The port of the server's last NIC.
    fn newest_port(&self) -> String {
        let path = format!("/v2.1/servers/{}/os-interface", self.id);
        let answer = self.http.get(&path).expect(200);
        let ports = answer["interfaceAttachments"].as_array().unwrap();
        ports.last().unwrap()["port_id"].as_str().unwrap().to_owned()
    }

    /// The request with what is known only now.
    fn fill_in(&self, wish: &Value) -> Value {
        let mut wish = wish.clone();
        if let Some(rebuild) = wish.get_mut("rebuild") {
            rebuild["imageRef"] = json!(self.image);
        }
        if let Some(resize) = wish.get_mut("resize") {
            let other = if self.server()["flavor"]["id"] == "42" { "other" } else { "42" };
            resize["flavorRef"] = json!(other);
        }
        wish
    }

    /// The request made one image, which is whole. Backups push the earlier ones out.
    fn one_image(&self, name: &str, kept: bool, point: &str) {
        let list = || self.http.get(&format!("/image/v2/images?name={name}")).expect(200)["images"].take();
        let images = until("earlier backups to be gone", 30, || {
            let images = list();
            (images.as_array().unwrap().len() <= 1).then_some(images)
        });
        assert_eq!(images[0]["status"], "active", "{name} and {point}: {images}");
        if !kept {
            let path = format!("/image/v2/images/{}", images[0]["id"].as_str().unwrap());
            self.http.send(Method::DELETE, &path, &[], None).expect(204);
        }
    }

    fn boots_again(&mut self, anew: bool) {
        let path = format!("/servers/{}/action", self.id);
        let log = || {
            let body = json!({"os-getConsoleOutput": {}});
            let answer = self.http.compute(Method::POST, &path, 1, Some(&body));
            answer.body["output"].as_str().unwrap_or_default().to_owned()
        };
        let boots = |log: &str| log.matches("DWARFNOVA-GUEST boot").count();
        let before = boots(&log());
        let reboot = json!({"reboot": {"type": "HARD"}});
        self.http.compute(Method::POST, &path, 1, Some(&reboot)).expect(202);
        self.asked += 1;
        self.http.wait_for(&self.id, "ACTIVE", 60);
        until("the guest to boot again", 180, || {
            let log = log();
            let last = log.lines().rev().find(|line| line.contains("DWARFNOVA-GUEST "))?.trim().to_owned();
            let ready = last.contains("ready") && (anew || !last.ends_with("boots=1"));
            (ready && boots(&log) > before).then_some(())
        });
    }
}

#[test]
fn a_stop_and_a_start_survive_a_kill_at_every_step() {
    sandbox!();
    Circle::go_round(
        "stop and start",
        SAMPLE,
        vec![
            Verb::new::<ServerStop>(json!({"os-stop": null}), "SHUTOFF"),
            Verb::new::<ServerStart>(json!({"os-start": null}), "ACTIVE"),
        ],
    );
}

#[test]
fn a_reboot_survives_a_kill_at_every_step() {
    sandbox!();
    Circle::go_round(
        "reboot",
        SAMPLE,
        vec![
            Verb::new::<ServerReboot>(json!({"reboot": {"type": "HARD"}}), "ACTIVE"),
            Verb::new::<ServerReboot>(json!({"reboot": {"type": "SOFT"}}), "ACTIVE"),
        ],
    );
}

#[test]
fn pauses_and_sleep_survive_a_kill_at_every_step() {
    sandbox!();
    Circle::go_round(
        "pause and suspend",
        SAMPLE,
        vec![
            Verb::new::<ServerPause>(json!({"pause": null}), "PAUSED"),
            Verb::new::<ServerUnpause>(json!({"unpause": null}), "ACTIVE"),
            Verb::new::<ServerSuspend>(json!({"suspend": null}), "SUSPENDED"),
            Verb::new::<ServerResume>(json!({"resume": null}), "ACTIVE"),
        ],
    );
}

#[test]
fn nics_that_come_and_go_survive_a_kill_at_every_step() {
    sandbox!();
    Circle::go_round(
        "interfaces",
        FEW,
        vec![
            Verb::new::<ServerAttachInterface>(json!({"interfaceAttachment": {}}), "ACTIVE"),
            Verb::new::<ServerDetachInterface>(json!({"detach": null}), "ACTIVE"),
        ],
    );
}

#[test]
fn a_rescue_survives_a_kill_at_every_step() {
    sandbox!();
    Circle::go_round(
        "rescue",
        SAMPLE,
        vec![
            Verb::new::<ServerRescue>(json!({"rescue": null}), "RESCUE"),
            Verb::new::<ServerUnrescue>(json!({"unrescue": null}), "ACTIVE"),
        ],
    );
}

#[test]
fn a_rebuild_survives_a_kill_at_every_step() {
    sandbox!();
    Circle::go_round(
        "rebuild",
        SAMPLE,
        vec![Verb::new::<ServerRebuild>(json!({"rebuild": {"imageRef": "the image"}}), "ACTIVE")],
    );
}

#[test]
fn a_resize_survives_a_kill_at_every_step() {
    sandbox!();
    let resize = || json!({"resize": {"flavorRef": "the other one"}});
    Circle::go_round(
        "resize",
        FEW,
        vec![
            Verb::new::<ServerResize>(resize(), "VERIFY_RESIZE"),
            Verb::new::<ServerResizeConfirm>(json!({"confirmResize": null}), "ACTIVE"),
            Verb::new::<ServerResize>(resize(), "VERIFY_RESIZE"),
            Verb::new::<ServerResizeRevert>(json!({"revertResize": null}), "ACTIVE"),
        ],
    );
}

#[test]
fn images_of_a_guest_survive_a_kill_at_every_step() {
    sandbox!();
    let backup = json!({"createBackup": {"name": "createBackup", "backup_type": "daily", "rotation": 1}});
    Circle::go_round(
        "images",
        FEW,
        vec![
            Verb::new::<ServerSnapshot>(json!({"createImage": {"name": "createImage"}}), "ACTIVE"),
            Verb::new::<ServerSnapshot>(backup, "ACTIVE"),
            Verb::new::<ServerCrashDump>(json!({"trigger_crash_dump": null}), "ACTIVE"),
        ],
    );
}

#[test]
fn a_shelving_survives_a_kill_at_every_step() {
    sandbox!();
    let (shelve, unshelve) = (json!({"shelve": null}), json!({"unshelve": null}));
    let later = Verb {
        config: "shelved_offload_seconds = 3600\n",
        ..Verb::new::<ServerShelve>(shelve.clone(), "SHELVED")
    };
    // Of a shelving that goes on to the offload by itself, the second workflow's moments.
    let at_once = Verb {
        config: "shelved_offload_seconds = 0\n",
        ..Verb::new::<ServerOffload>(shelve, "SHELVED_OFFLOADED")
    };
    Circle::go_round(
        "shelve",
        FEW,
        vec![
            later,
            Verb::new::<ServerOffload>(json!({"shelveOffload": null}), "SHELVED_OFFLOADED"),
            Verb::new::<ServerUnshelve>(unshelve.clone(), "ACTIVE"),
            at_once,
            Verb::calm(unshelve, "ACTIVE"),
        ],
    );
}

#[test]
fn a_delete_that_is_taken_back_or_forced_survives_a_kill_at_every_step() {
    sandbox!();
    let mut circle = Circle::go_round(
        "soft delete",
        FEW + 1,
        vec![
            Verb::new::<ServerSoftDelete>(Value::Null, "SOFT_DELETED"),
            Verb::new::<ServerRestore>(json!({"restore": null}), "ACTIVE"),
        ],
    );
    let count = if all_moments() { usize::MAX } else { FEW };
    for point in Random::new("force delete").some(moments::<ServerDelete>(), count) {
        circle.go_on(&Verb::calm(Value::Null, "SOFT_DELETED"), "");
        circle.daemon.stop();
        circle.resume(&hasty(&point));
        let path = format!("/v2.1/servers/{}/action", circle.id);
        let wish = json!({"forceDelete": null});
        if let Ok(answer) = circle.http.attempt(Method::POST, &path, &NEWEST, Some(&wish)) {
            answer.expect(202);
        }
        circle.daemon.wait_for_end(60);
        circle.resume(&hasty(""));
        circle.http.wait_gone(&circle.id, 60);
        circle.daemon.check(&point);
        assert_eq!(domains(&circle.daemon.state()), Vec::<String>::new(), "after {point}");
        assert_eq!(circle.daemon.server_folders(), Vec::<String>::new(), "after {point}");
        (circle.id, circle.asked) = (create(&circle.http, &circle.image), 1);
        circle.http.wait_for(&circle.id, "ACTIVE", 60);
    }
}

/// Guests that are still booting do not hear that they should shut down; nobody waits for them here. What would be done
/// by itself later is left to the next verb.
fn hasty(failpoints: &str) -> Options {
    let config = "[compute]\nshutdown_timeout_seconds = 1\nreclaim_instance_interval_seconds = 3600\n";
    Options { config: config.into(), ..killed_at(failpoints) }
}

fn killed_at(failpoints: &str) -> Options {
    Options { failpoints: failpoints.to_owned(), ..Options::default() }
}

const NEWEST: [(&str, &str); 1] = [("openstack-api-version", "compute 2.37")];

fn wish(image: &str) -> Value {
    json!({"server": {"name": "victim", "imageRef": image, "flavorRef": "42", "networks": "auto"}})
}

fn create(http: &Http, image: &str) -> String {
    let answer = http.send(Method::POST, "/v2.1/servers", &NEWEST, Some(&wish(image))).expect(202);
    answer["server"]["id"].as_str().unwrap().to_owned()
}

/// The one server that there is: the answer to its creation may have died with the daemon.
fn only_server(http: &Http) -> String {
    let list = http.get("/v2.1/servers").expect(200);
    assert_eq!(list["servers"].as_array().unwrap().len(), 1, "{list}");
    list["servers"][0]["id"].as_str().unwrap().to_owned()
}

fn state_of(name: &str) -> Option<String> {
    virsh(&["domstate", name])
}

#[test]
fn a_create_and_a_delete_survive_a_kill_at_every_step() {
    sandbox!();
    let mut daemon = Daemon::start(&Options::default());
    let image = daemon.http().image("guest", &guest_image());
    daemon.stop();
    let creates = moments::<ServerCreate>();
    let deletes = moments::<ServerDelete>();
    for (create_point, delete_point) in creates.iter().zip(deletes.iter().cycle()) {
        daemon.resume(&killed_at(create_point));
        let http = daemon.http();
        if let Ok(answer) = http.attempt(Method::POST, "/v2.1/servers", &NEWEST, Some(&wish(&image))) {
            answer.expect(202);
        }
        daemon.wait_for_end(60);

        daemon.resume(&killed_at(delete_point));
        let http = daemon.http();
        let id = only_server(&http);
        let server = http.wait_for(&id, "ACTIVE", 60);
        let names = domains(&daemon.state());
        assert_eq!(names.len(), 1, "after {create_point}");
        assert_eq!(state_of(&names[0]).as_deref(), Some("running"), "after {create_point}");
        assert_eq!(virsh(&["domuuid", &names[0]]).as_deref(), Some(id.as_str()));
        daemon.check(create_point);
        assert_eq!(server["server"]["addresses"].as_object().unwrap().len(), 1);
        let actions = http.get(&format!("/v2.1/servers/{id}/os-instance-actions")).expect(200);
        assert_eq!(
            actions["instanceActions"].as_array().unwrap().len(),
            1,
            "after {create_point}: {actions}"
        );

        if let Ok(answer) = http.attempt(Method::DELETE, &format!("/v2.1/servers/{id}"), &[], None) {
            answer.expect(204);
        }
        daemon.wait_for_end(60);
        daemon.resume(&Options::default());
        let http = daemon.http();
        http.wait_gone(&id, 60);
        daemon.check(delete_point);
        assert_eq!(daemon.server_folders(), Vec::<String>::new(), "after {delete_point}");
        daemon.stop();
    }
}

#[test]
fn guests_do_not_notice_that_the_daemon_dies() {
    sandbox!();
    let mut daemon = Daemon::start(&Options::default());
    let http = daemon.http();
    let image = http.image("guest", &guest_image());
    let id = create(&http, &image);
    http.wait_for(&id, "ACTIVE", 60);
    http.wait_console(&id, "DWARFNOVA-GUEST ready", 180);
    let name = domains(&daemon.state()).remove(0);
    let before = virsh(&["domid", &name]);
    daemon.kill();
    daemon.resume(&Options::default());
    let http = daemon.http();
    http.wait_for(&id, "ACTIVE", 10);
    assert_eq!(virsh(&["domid", &name]), before, "the guest was started anew");
    let log = http.wait_console(&id, "DWARFNOVA-GUEST ready", 10);
    assert_eq!(log.matches("DWARFNOVA-GUEST boot").count(), 1, "{log}");
}

#[test]
fn a_second_daemon_on_the_folder_is_refused_and_says_why() {
    sandbox!();
    let daemon = Daemon::start(&Options::default());
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_dwarfnova"))
        .args(["up", "--listen", "127.0.0.1:0", "--state-dir"])
        .arg(daemon.state())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(words.contains(&daemon.pid().to_string()), "{words}");
}
