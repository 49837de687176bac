//! What ships beside the program.

use std::process::Command;

#[test]
fn systemd_accepts_the_unit_and_finds_it_hardened() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("skipped: there is no systemd-analyze here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("dwarfnova.service");
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/dwarfnova.service")).unwrap();
    // The program is not installed where the tests run.
    std::fs::write(&unit, text.replace("/usr/bin/dwarfnova", "/bin/true")).unwrap();
    for arguments in [&["verify"][..], &["security", "--offline=true", "--threshold=35"]] {
        let output = Command::new("systemd-analyze").args(arguments).arg(&unit).output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "systemd-analyze {}: {words}", arguments[0]);
    }
}
