//! How quickly the daemon is there, how much memory it takes, and how quiet it is when nobody asks:
//! `tests/hermetic cargo bench -- process` (it needs a libvirt).

use crate::support::{Client, Daemon, Lab, median, ms, row, wrk};
use serde_json::json;
use std::collections::HashMap;
use std::ffi::OsString;
use std::io::BufRead;
use std::process::Command;
use std::time::{Duration, Instant};

const IDLE: Duration = Duration::from_secs(30);
/// How long lists are asked for before the memory is looked at, in seconds.
const LISTS: u32 = 60;

pub fn run() {
    if std::env::var_os("DWARFNOVA_HERMETIC").is_none() {
        println!("process: run it inside tests/hermetic");
        return;
    }
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let state = folder.path().join("state");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();

    let start = Instant::now();
    let daemon = Daemon::up(&state, None);
    let client = runtime.block_on(Client::log_in(&daemon.url, &state));
    row("first start (sets up) to the first authenticated answer", &ms(start.elapsed()));
    drop(daemon);

    let mut starts = Vec::new();
    let mut last = None;
    for _ in 0..7 {
        drop(last.take());
        let start = Instant::now();
        let daemon = Daemon::up(&state, None);
        // The token of the first start is still good.
        let client = client.at(daemon.url.clone());
        let (status, _) = runtime.block_on(client.get("/v2.1/flavors"));
        starts.push(start.elapsed());
        assert_eq!(status, 200);
        last = Some(daemon);
    }
    row("start to the first authenticated answer, median", &ms(median(starts)));

    let daemon = last.unwrap();
    std::thread::sleep(Duration::from_secs(15));
    row("idle memory (PSS)", &format!("{:.1} MiB", pss_mib(daemon.pid())));
    let before = (switches(daemon.pid()), written(daemon.pid()));
    std::thread::sleep(IDLE);
    let after = (switches(daemon.pid()), written(daemon.pid()));
    // A thread that was idle for long has ended: that is no wake-up worth counting.
    let woke: u64 =
        after.0.iter().map(|(thread, count)| count - before.0.get(thread).copied().unwrap_or(0)).sum();
    let wakes = woke as f64 / IDLE.as_secs_f64();
    row("idle wake-ups a second (context switches of all threads)", &format!("{wakes:.2}"));
    row("idle bytes written to the disk", &format!("{}", after.1 - before.1));
    let size = std::fs::metadata(env!("CARGO_BIN_EXE_dwarfnova")).unwrap().len();
    row("binary", &format!("{:.1} MiB", size as f64 / f64::from(1 << 20)));
    drop(daemon);
    memory_of_lists();
    for network in Command::new("virsh").args(["-q", "net-list", "--name"]).output().unwrap().stdout.lines() {
        let name = network.unwrap();
        if name.trim().starts_with("dwarfnova") {
            for verb in ["net-destroy", "net-undefine"] {
                Command::new("virsh").args(["-q", verb, name.trim()]).output().unwrap();
            }
        }
    }
}

/// What is left of answering lists of a thousand servers all the time.
fn memory_of_lists() {
    let Some(lab) = Lab::open("process", "[compute]\nshutdown_timeout_seconds = 0\n") else { return };
    let body =
        json!({"server": {"name": "bench", "imageRef": lab.image, "flavorRef": "42", "networks": "none"}});
    let id = lab.create(&body);
    lab.act(&id, &json!({"os-stop": null}), "stopped");
    lab.copy(&id, 999);
    for clients in [1, 4] {
        let load = wrk(&lab.client, "/v2.1/servers/detail?limit=1000", clients, LISTS);
        assert_eq!(load.trouble, None);
        let what = format!("memory (PSS) after {LISTS} s of lists of 1000, clients: {clients}");
        row(&what, &format!("{:.1} MiB", pss_mib(lab.daemon.pid())));
    }
    assert_eq!(lab.wait(lab.client.delete(&format!("/v2.1/servers/{id}"))), 204);
    while lab.wait(lab.client.get(&format!("/v2.1/servers/{id}"))).0 != 404 {
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The memory that a process has to itself, and its share of what it has with others.
pub fn pss_mib(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let kib = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    kib.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap() / 1024.0
}

/// Voluntary context switches of each thread: how often it woke.
fn switches(pid: u32) -> HashMap<OsString, u64> {
    std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .filter_map(|task| {
            let task = task.ok()?;
            let text = std::fs::read_to_string(task.path().join("status")).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            Some((task.file_name(), line.trim().parse().ok()?))
        })
        .collect()
}

fn written(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    text.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap().parse().unwrap()
}
