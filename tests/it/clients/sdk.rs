//! `create_server(wait=True)` with openstacksdk.

use crate::harness::{Daemon, Options, domains, guest_image, until};
use crate::sandbox;

const ROUND: &str = include_str!("sdk_round.py");

#[test]
fn a_round_with_openstacksdk() {
    sandbox!();
    let daemon = Daemon::start(&Options::default());
    let output = daemon.client("python", &["-c", ROUND, guest_image().to_str().unwrap()]);
    assert!(
        output.status.success(),
        "{}{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        daemon.log()
    );
    until("nothing left", 30, || domains(&daemon.state()).is_empty().then_some(()));
    assert_eq!(daemon.server_folders(), Vec::<String>::new());
}
