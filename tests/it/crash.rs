//! The daemon killed with SIGKILL at every step of every workflow, on real libvirt: what was accepted ends, once, and the
//! checker finds nothing wrong.
//!
//! A server goes round a circle of actions that leads back to where it began; at each turn each action meets the death of
//! the daemon at another moment. `DWARFNOVA_CRASH=all` goes through all moments; otherwise [`SAMPLE`] of each action.

use crate::harness::{Daemon, Http, Options, Random, domains, guest_image, until, virsh};
use crate::sandbox;
use dwarfnova::core::workflow::server_create::ServerCreate;
use dwarfnova::core::workflow::server_delete::ServerDelete;
use dwarfnova::core::workflow::server_pause::ServerPause;
use dwarfnova::core::workflow::server_reboot::ServerReboot;
use dwarfnova::core::workflow::server_rebuild::ServerRebuild;
use dwarfnova::core::workflow::server_rescue::ServerRescue;
use dwarfnova::core::workflow::server_resume::ServerResume;
use dwarfnova::core::workflow::server_start::ServerStart;
use dwarfnova::core::workflow::server_stop::ServerStop;
use dwarfnova::core::workflow::server_suspend::ServerSuspend;
use dwarfnova::core::workflow::server_unpause::ServerUnpause;
use dwarfnova::core::workflow::server_unrescue::ServerUnrescue;
use dwarfnova::task::Workflow;
use reqwest::Method;
use serde_json::{Value, json};

/// How many moments of an action are tried when not all are asked for.
const SAMPLE: usize = 5;

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
    /// The body of the request.
    wish: Value,
    /// The workflow that it sets going, as failpoints name it.
    moments: Vec<String>,
    /// The server's status in the end.
    status: &'static str,
}

impl Verb {
    fn new<W: Workflow>(wish: Value, status: &'static str) -> Self {
        Self { wish, moments: moments::<W>(), status }
    }
}

/// A server that starts where it ends.
fn go_round(circle: &str, verbs: Vec<Verb>) {
    let mut random = Random::new(circle);
    let all = std::env::var("DWARFNOVA_CRASH").is_ok_and(|text| text == "all");
    let verbs: Vec<Verb> = verbs
        .into_iter()
        .map(|verb| {
            let count = if all { usize::MAX } else { SAMPLE };
            Verb { moments: random.some(verb.moments, count), ..verb }
        })
        .collect();
    let mut daemon = Daemon::start(&hasty(""));
    let mut http = daemon.http();
    let image = http.image("guest", &guest_image());
    let id = create(&http, &image);
    http.wait_for(&id, "ACTIVE", 60);
    http.wait_console(&id, "DWARFNOVA-GUEST ready", 180);
    let turns = verbs.iter().map(|verb| verb.moments.len()).max().unwrap_or(0);
    let (mut asked, mut status) = (1, "ACTIVE");
    for turn in 0..turns {
        for verb in &verbs {
            let point = verb.moments.get(turn).map_or("", String::as_str);
            if !point.is_empty() {
                daemon.stop();
                daemon.resume(&hasty(point));
                http = daemon.http();
            }
            http.wait_for(&id, status, 30);
            let path = format!("/v2.1/servers/{id}/action");
            let mut wish = verb.wish.clone();
            if let Some(rebuild) = wish.get_mut("rebuild") {
                rebuild["imageRef"] = json!(image);
            }
            match http.attempt(Method::POST, &path, &NEWEST, Some(&wish)) {
                // Those that make a password answer with it.
                Ok(answer) => assert!(matches!(answer.status, 200 | 202), "{}", answer.body),
                // The answer may have died with the daemon.
                Err(error) => assert!(!point.is_empty(), "{}: {error}", verb.wish),
            }
            asked += 1;
            if !point.is_empty() {
                daemon.wait_for_end(60);
                daemon.resume(&hasty(""));
                http = daemon.http();
            }
            status = verb.status;
            until(&format!("{} after {point}", verb.status), 60, || {
                let server = http.get(&format!("/v2.1/servers/{id}")).expect(200);
                let idle = server["server"]["OS-EXT-STS:task_state"].is_null();
                (idle && server["server"]["status"] == status).then_some(())
            });
            daemon.check(&format!("{} and {point}", verb.wish));
            let actions = http.get(&format!("/v2.1/servers/{id}/os-instance-actions")).expect(200);
            let actions = actions["instanceActions"].as_array().unwrap().len();
            assert_eq!(actions, asked, "each request is recorded once, {point}");
        }
    }
    // The disk went through all of it: the guest boots, and knows that it has booted before, unless its disk was made anew.
    let anew = circle == "rebuild";
    let path = format!("/v2.1/servers/{id}/action");
    let log = || {
        let body = json!({"os-getConsoleOutput": {}});
        let answer = http.compute(Method::POST, &format!("/servers/{id}/action"), 1, Some(&body));
        answer.body["output"].as_str().unwrap_or_default().to_owned()
    };
    let boots = |log: &str| log.matches("DWARFNOVA-GUEST boot").count();
    let before = boots(&log());
    let reboot = json!({"reboot": {"type": "HARD"}});
    http.send(Method::POST, &path, &NEWEST, Some(&reboot)).expect(202);
    http.wait_for(&id, "ACTIVE", 60);
    until("the guest to boot again", 180, || {
        let log = log();
        let last = log.lines().rev().find(|line| line.contains("DWARFNOVA-GUEST "))?.trim().to_owned();
        let ready = last.contains("ready") && (anew || !last.ends_with("boots=1"));
        (ready && boots(&log) > before).then_some(())
    });
}

#[test]
fn a_stop_and_a_start_survive_a_kill_at_every_step() {
    sandbox!();
    go_round(
        "stop and start",
        vec![
            Verb::new::<ServerStop>(json!({"os-stop": null}), "SHUTOFF"),
            Verb::new::<ServerStart>(json!({"os-start": null}), "ACTIVE"),
        ],
    );
}

#[test]
fn a_reboot_survives_a_kill_at_every_step() {
    sandbox!();
    go_round(
        "reboot",
        vec![
            Verb::new::<ServerReboot>(json!({"reboot": {"type": "HARD"}}), "ACTIVE"),
            Verb::new::<ServerReboot>(json!({"reboot": {"type": "SOFT"}}), "ACTIVE"),
        ],
    );
}

#[test]
fn pauses_and_sleep_survive_a_kill_at_every_step() {
    sandbox!();
    go_round(
        "pause and suspend",
        vec![
            Verb::new::<ServerPause>(json!({"pause": null}), "PAUSED"),
            Verb::new::<ServerUnpause>(json!({"unpause": null}), "ACTIVE"),
            Verb::new::<ServerSuspend>(json!({"suspend": null}), "SUSPENDED"),
            Verb::new::<ServerResume>(json!({"resume": null}), "ACTIVE"),
        ],
    );
}

#[test]
fn a_rescue_survives_a_kill_at_every_step() {
    sandbox!();
    go_round(
        "rescue",
        vec![
            Verb::new::<ServerRescue>(json!({"rescue": null}), "RESCUE"),
            Verb::new::<ServerUnrescue>(json!({"unrescue": null}), "ACTIVE"),
        ],
    );
}

#[test]
fn a_rebuild_survives_a_kill_at_every_step() {
    sandbox!();
    go_round(
        "rebuild",
        vec![Verb::new::<ServerRebuild>(json!({"rebuild": {"imageRef": "the image"}}), "ACTIVE")],
    );
}

/// Guests that are still booting do not hear that they should shut down; nobody waits for them here.
fn hasty(failpoints: &str) -> Options {
    Options { config: "[compute]\nshutdown_timeout_seconds = 1\n".into(), ..killed_at(failpoints) }
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
