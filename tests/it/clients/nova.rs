//! A server's round with novaclient, at the oldest and at the newest microversion.

use crate::harness::{Daemon, Options, domains, guest_image, until};
use crate::sandbox;

fn round(version: &str) {
    let daemon = Daemon::start(&Options::default());
    let image = daemon.http().image("guest", &guest_image());
    let nova = |arguments: &[&str]| {
        let output = daemon
            .client_command("nova")
            .args(["--os-compute-api-version", version])
            .args(credentials(&daemon))
            .args(arguments)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "nova {} at {version}: {text}{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        text
    };
    let flavors = nova(&["flavor-list"]);
    assert!(flavors.contains("m1.nano"), "{flavors}");
    let booted = nova(&["boot", "--image", &image, "--flavor", "m1.nano", "--poll", "first"]);
    assert!(booted.contains("first"), "{booted}");
    let shown = nova(&["show", "first"]);
    assert!(shown.contains("ACTIVE"), "{shown}");
    assert!(nova(&["list"]).contains("first"));
    until("the guest's first words", 120, || {
        nova(&["console-log", "first"]).contains("DWARFNOVA-GUEST boot").then_some(())
    });
    until("the guest to be up", 180, || {
        nova(&["console-log", "first"]).contains("DWARFNOVA-GUEST ready").then_some(())
    });
    nova(&["stop", "first"]);
    until("SHUTOFF", 90, || nova(&["show", "first"]).contains("SHUTOFF").then_some(()));
    nova(&["start", "first"]);
    until("ACTIVE", 60, || nova(&["show", "first"]).contains("ACTIVE").then_some(()));
    nova(&["reboot", "--hard", "first"]);
    until("ACTIVE", 60, || nova(&["show", "first"]).contains("ACTIVE").then_some(()));
    let actions = nova(&["instance-action-list", "first"]);
    for action in ["create", "stop", "start", "reboot"] {
        assert!(actions.contains(action), "{actions}");
    }
    nova(&["delete", "first"]);
    until("nothing left", 60, || domains(&daemon.state()).is_empty().then_some(()));
    assert!(!nova(&["list"]).contains("first"));
}

/// novaclient's command line knows no clouds.yaml.
pub fn credentials(daemon: &Daemon) -> Vec<String> {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_dwarfnova"))
        .args(["credentials", "--state-dir"])
        .arg(daemon.state())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let value = |name: &str| {
        let prefix = format!("export {name}='");
        let line = text.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap();
        line.trim_end_matches('\'').to_owned()
    };
    [
        ("--os-auth-url", "OS_AUTH_URL"),
        ("--os-username", "OS_USERNAME"),
        ("--os-password", "OS_PASSWORD"),
        ("--os-project-name", "OS_PROJECT_NAME"),
        ("--os-user-domain-name", "OS_USER_DOMAIN_NAME"),
        ("--os-project-domain-name", "OS_PROJECT_DOMAIN_NAME"),
        ("--os-region-name", "OS_REGION_NAME"),
    ]
    .into_iter()
    .flat_map(|(option, name)| [option.to_owned(), value(name)])
    .collect()
}

#[test]
fn a_round_with_novaclient_at_the_oldest_version() {
    sandbox!();
    round("2.1");
}

#[test]
fn a_round_with_novaclient_at_its_newest_version() {
    sandbox!();
    round("2.latest");
}
