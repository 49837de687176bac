//! Consoles of a real guest: seen and used in a real browser, by websocket, and as a log.

use crate::harness::{Browser, Daemon, Http, Options, Socket, domains, guest_image, until, virsh};
use crate::sandbox;
use reqwest::Method;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// How much of a console log virtlogd keeps: the newest file and three older ones, 2 MiB each.
const LOG_LIMIT: u64 = 4 * (2 << 20);
/// For pages of other hosts, which may not connect.
const FORBIDDEN: u16 = 403;
/// A close that says nothing.
const WORDLESS: u16 = 1005;
const TRY_AGAIN: u16 = 1013;

fn act(http: &Http, server: &str, minor: u16, body: &Value) -> crate::harness::Answer {
    http.compute(Method::POST, &format!("/servers/{server}/action"), minor, Some(body))
}

fn remote(http: &Http, server: &str, minor: u16, protocol: &str, kind: &str) -> crate::harness::Answer {
    let body = json!({"remote_console": {"protocol": protocol, "type": kind}});
    http.compute(Method::POST, &format!("/servers/{server}/remote-consoles"), minor, Some(&body))
}

/// The answers, at all versions.
fn check_answers(http: &Http, server: &str) {
    let old = act(http, server, 1, &json!({"os-getVNCConsole": {"type": "novnc"}})).expect(200);
    assert_eq!(old["console"]["type"], "novnc");
    assert!(old["console"]["url"].as_str().unwrap().contains("/vnc_auto.html?path=%3Ftoken%3D"));
    let old = act(http, server, 5, &json!({"os-getSerialConsole": {"type": "serial"}})).expect(200);
    assert!(old["console"]["url"].as_str().unwrap().starts_with("ws://"));
    let new = remote(http, server, 6, "serial", "serial").expect(200);
    assert_eq!(new["remote_console"]["protocol"], "serial");
    assert_eq!(new["remote_console"]["type"], "serial");
    act(http, server, 6, &json!({"os-getVNCConsole": {"type": "novnc"}})).expect(404);
    remote(http, server, 5, "vnc", "novnc").expect(404);

    let refused = |answer: crate::harness::Answer, words: &str| {
        let body = answer.expect(400);
        assert_eq!(body["badRequest"]["message"], words);
    };
    refused(remote(http, server, 6, "vnc", "xvpvnc"), "Invalid console type xvpvnc");
    refused(remote(http, server, 8, "mks", "webmks"), "Unavailable console type webmks.");
    refused(remote(http, server, 99, "spice", "spice-direct"), "Unavailable console type spice-direct.");
    refused(
        act(http, server, 1, &json!({"os-getSPICEConsole": {"type": "spice-html5"}})),
        "Unavailable console type spice-html5.",
    );
    act(http, server, 1, &json!({"os-getRDPConsole": {"type": "rdp-html5"}})).expect(400);
    remote(http, server, 7, "mks", "webmks").expect(400);
    remote(http, server, 98, "spice", "spice-direct").expect(400);
    remote(http, "7d7b7b4e-0000-4000-8000-000000000000", 6, "vnc", "novnc").expect(404);

    let token = token_of(new["remote_console"]["url"].as_str().unwrap());
    let path = format!("/os-console-auth-tokens/{token}");
    http.compute(Method::GET, &path, 30, None).expect(400);
    let found = http.compute(Method::GET, &path, 31, None).expect(200);
    let port: u16 = http.base.rsplit(':').next().unwrap().parse().unwrap();
    assert_eq!(
        found["console"],
        json!({"instance_uuid": server, "host": "127.0.0.1", "port": port, "internal_access_path": null})
    );
    let unknown = http.compute(Method::GET, "/os-console-auth-tokens/guess", 31, None).expect(404);
    assert_eq!(unknown["itemNotFound"]["message"], "Token not found");
}

fn token_of(url: &str) -> String {
    url.replace("%3D", "=").rsplit('=').next().unwrap().to_owned()
}

const CANVAS: &str = "document.querySelector('#noVNC_container canvas')";

/// Compares the picture that QEMU makes of a guest's screen with what the page shows: how many points are lit, and how many
/// differ.
fn compare_screens(browser: &mut Browser, domain: &str, folder: &Path) -> (u64, u64) {
    let file = folder.join("screen.png");
    virsh(&["screenshot", domain, file.to_str().unwrap()]).expect("a screenshot");
    let picture =
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, std::fs::read(&file).unwrap());
    let found = browser.value(&format!(
        "(async () => {{
           const image = new Image();
           image.src = 'data:image/png;base64,{picture}';
           await image.decode();
           const copy = document.createElement('canvas');
           [copy.width, copy.height] = [image.width, image.height];
           copy.getContext('2d').drawImage(image, 0, 0);
           const points = (canvas) => canvas.getContext('2d').getImageData(0, 0, image.width, image.height).data;
           const [theirs, ours] = [points(copy), points({CANVAS})];
           const isLit = (data, i) => data[i] + data[i + 1] + data[i + 2] > 96;
           let [lit, different] = [0, 0];
           for (let i = 0; i < theirs.length; i += 4) {{
             lit += isLit(theirs, i);
             different += isLit(theirs, i) !== isLit(ours, i);
           }}
           return [lit, different];
         }})()"
    ));
    (found[0].as_u64().unwrap(), found[1].as_u64().unwrap())
}

/// The display in the browser: what is on it is what QEMU shows, and what is typed there arrives.
fn use_display(daemon: &Daemon, browser: &mut Browser, server: &str, folder: &Path) {
    let http = daemon.http();
    let shown = daemon.openstack_json(&["console", "url", "show", "first"]);
    assert_eq!((&shown["protocol"], &shown["type"]), (&json!("vnc"), &json!("novnc")));
    browser.open(shown["url"].as_str().unwrap());
    browser.wait("document.documentElement.className", 60, |class| class == "noVNC_connected");
    browser.wait(&format!("{CANVAS}.width"), 20, |width| width == 720);
    let domain = domains(&daemon.state()).remove(0);
    until("the browser to show what QEMU shows", 30, || {
        let (lit, different) = compare_screens(browser, &domain, folder);
        // Several lines of text; the cursor, 9 by 16 at most, blinks.
        (lit > 5000 && different <= 144).then_some(())
    });
    browser.picture("console-display-prompt.png");
    browser.type_text("root\n");
    http.wait_console(server, "root login on 'tty1'", 60);
    std::thread::sleep(std::time::Duration::from_secs(1));
    browser.type_text("(echo SCREEN; cat /dev/vcs1; echo TYPED-$((6*7))) > /dev/ttyS0\n");
    let log = http.wait_console(server, "TYPED-42", 30);
    let on_screen = &log[log.find("SCREEN").unwrap()..];
    assert!(on_screen.contains("first login: root"), "{on_screen}");
    browser.picture("console-display-typed.png");
}

/// The serial port by websocket: shared, never in the way, there again at once.
fn use_serial(daemon: &Daemon, server: &str) -> String {
    let url = daemon.openstack_json(&["console", "url", "show", "--serial", "first"]);
    let url = url["url"].as_str().unwrap().to_owned();
    let own_page = daemon.url.clone();
    let mut one = Socket::open(&url, &[("origin", &own_page)]).unwrap();
    assert_eq!(one.protocol.as_deref(), Some("binary"));
    let mut other = Socket::open(&url, &[]).unwrap();
    // This one looks at nothing that comes.
    let slow = Socket::open(&url, &[]).unwrap();
    one.write("\n");
    one.until("login: ", 30);
    one.write("root\n");
    one.until("# ", 30);
    other.write("echo SERIAL-$((40+2))\n");
    one.until("SERIAL-42", 20);
    other.until("SERIAL-42", 20);
    one.write("seq 1 6000; echo DONE-$((1+1))\n");
    let counted = one.until("DONE-2", 120);
    assert!(counted.contains("\r\n5999\r\n6000\r\n"), "{counted}");
    other.until("DONE-2", 20);
    assert!(daemon.http().wait_console(server, "DONE-2", 5).contains("5999\n6000"), "the log went on");
    drop((one, other, slow));
    let mut again = Socket::open(&url, &[]).unwrap();
    again.write("echo AGAIN-$((1+2))\n");
    again.until("AGAIN-3", 30);

    assert_eq!(Socket::open(&url, &[("origin", "http://evil.example")]).err(), Some(FORBIDDEN));
    let guessed = url.replace(&token_of(&url), "guessed");
    assert_eq!(Socket::open(&guessed, &[]).unwrap().closed(10), WORDLESS);
    // noVNC's older way: a cookie instead of a query.
    let (place, token) = (daemon.url.replace("http", "ws"), token_of(&url));
    let mut by_cookie =
        Socket::open(&format!("{place}/websockify"), &[("cookie", &format!("a=b; token={token}"))]).unwrap();
    by_cookie.write("echo COOKIE-$((2+2))\n");
    by_cookie.until("COOKIE-4", 30);
    url
}

fn log_files(folder: &Path) -> Vec<(String, u64)> {
    let mut files: Vec<(String, u64)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("console.log"))
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.metadata().unwrap().len()))
        .collect();
    files.sort();
    files
}

fn server_folder(daemon: &Daemon, server: &str) -> PathBuf {
    daemon.state().join("servers").join(server)
}

/// Fills the log to its brim, as a guest that floods its serial port does in the long run.
fn fill_log(folder: &Path) {
    let mut full = vec![b'x'; (2 << 20) - 1];
    full.push(b'\n');
    for name in ["console.log.0", "console.log.1", "console.log.2"] {
        std::fs::write(folder.join(name), &full).unwrap();
    }
    let log = folder.join("console.log");
    let mut text = std::fs::read(&log).unwrap();
    let mut filled = vec![b'\xff'; (2 << 20) - 200 - text.len()];
    filled.append(&mut text);
    std::fs::write(&log, filled).unwrap();
}

#[test]
fn consoles_in_a_browser_by_websocket_and_as_a_log() {
    sandbox!();
    let work = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&Options::default());
    let http = daemon.http();
    let image = http.image("guest", &guest_image());
    let wish = json!({"server": {"name": "first", "imageRef": image, "flavorRef": "42", "networks": "auto"}});
    let server = http.compute(Method::POST, "/servers", 37, Some(&wish)).expect(202);
    let server = server["server"]["id"].as_str().unwrap().to_owned();
    http.wait_for(&server, "ACTIVE", 60);
    http.wait_console(&server, "DWARFNOVA-GUEST ready", 180);

    check_answers(&http, &server);
    let mut browser = Browser::start();
    use_display(&daemon, &mut browser, &server, work.path());
    let url = use_serial(&daemon, &server);

    browser.open(&url.replace("ws://", "http://"));
    browser.wait("document.getElementById('status')?.textContent", 30, |words| {
        words.as_str().is_some_and(|words| words.starts_with("Connected"))
    });
    browser.type_text("echo PAGE-$((3*3))\n");
    let rows = "document.querySelector('.xterm-rows').innerText";
    browser.wait(rows, 30, |rows| rows.as_str().is_some_and(|rows| rows.contains("PAGE-9")));
    browser.picture("console-serial.png");

    act(&http, &server, 1, &json!({"os-stop": null})).expect(202);
    http.wait_for(&server, "SHUTOFF", 90);
    // A page can be opened, and waits for the guest.
    for (protocol, kind) in [("vnc", "novnc"), ("serial", "serial")] {
        remote(&http, &server, 6, protocol, kind).expect(200);
    }
    assert_eq!(Socket::open(&url, &[]).unwrap().closed(20), TRY_AGAIN);
    let shown = daemon.openstack(&["console", "log", "show", "first"]);
    assert!(shown.contains("TYPED-42") && shown.contains("DWARFNOVA-GUEST shutdown"), "{shown}");
    let folder = server_folder(&daemon, &server);
    fill_log(&folder);
    act(&http, &server, 1, &json!({"os-start": null})).expect(202);
    http.wait_for(&server, "ACTIVE", 60);
    let log = http.wait_console(&server, "boots=2", 180);
    assert!(log.contains("PAGE-9"), "the log goes on across boots");
    assert!(log.contains('\u{fffd}'), "bytes that are no text are replaced");
    // The page waited for the guest, and is there again by itself.
    browser.wait(rows, 60, |rows| {
        rows.as_str().is_some_and(|rows| rows.contains("DWARFNOVA-GUEST hostname first"))
    });

    let output = |body: Value| {
        let answer = act(&http, &server, 1, &json!({"os-getConsoleOutput": body})).expect(200);
        answer["output"].as_str().unwrap().to_owned()
    };
    assert_eq!(output(json!({"length": 0})), "");
    assert_eq!(output(json!({"length": "3"})).split('\n').count(), 3);
    let all = output(json!({"length": -1}));
    assert!(all.len() > output(json!({"length": 10})).len());
    assert!(all.chars().count() <= 100 * 1024, "an answer stays small, however long the log is");
    act(&http, &server, 1, &json!({"os-getConsoleOutput": {"length": -2}})).expect(400);

    let files = log_files(&folder);
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["console.log", "console.log.0", "console.log.1", "console.log.2"]);
    assert!(files[0].1 < 1 << 20, "a new file was begun: {files:?}");
    assert!(files.iter().map(|(_, size)| size).sum::<u64>() <= LOG_LIMIT, "{files:?}");

    act(&http, &server, 1, &json!({"forceDelete": null})).expect(202);
    http.wait_gone(&server, 60);
    assert_eq!(Socket::open(&url, &[]).unwrap().closed(10), WORDLESS);
    let path = format!("/os-console-auth-tokens/{}", token_of(&url));
    http.compute(Method::GET, &path, 31, None).expect(404);
    let log = daemon.log();
    assert!(log.contains("a console was opened"), "{log}");
    assert!(!log.contains(&token_of(&url)), "a token is in the log");
}
