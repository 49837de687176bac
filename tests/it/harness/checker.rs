//! The checker's opinion of an installation under test: it shares no code with the daemon.

use super::Daemon;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

impl Daemon {
    /// Runs `dwarfnova-check` once; gives its exit code and what it printed.
    pub fn look(&self, arguments: &[&str]) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_dwarfnova-check"))
            .args(["--state-dir".as_ref(), self.state().as_os_str()])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let words = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&words).into_owned())
    }

    /// Nothing is wrong, at the latest in half a minute: what follows the host needs a moment.
    #[track_caller]
    pub fn check(&self, after: &str) {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let (code, words) = self.look(&[]);
            if code == 0 {
                return;
            }
            assert!(Instant::now() < end, "after {after}:\n{words}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Just this invariant is found broken, whatever follows from it.
    #[track_caller]
    pub fn finds(&self, invariant: u8, arguments: &[&str], plant: &str) {
        let (code, words) = self.look(arguments);
        let named = words.lines().any(|line| line.starts_with(&format!("I{invariant} ")));
        assert!(code == 1 && named, "{plant}: I{invariant} is expected, not exit code {code} and\n{words}");
    }
}
