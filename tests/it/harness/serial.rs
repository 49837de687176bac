//! The keyboard of a guest: its first serial port, by the socket beside its console log.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// For what a guest does with a password or a command, under emulation on a busy host.
const PATIENCE: Duration = Duration::from_secs(60);
/// For an echo.
const SHORTLY: Duration = Duration::from_secs(5);

pub struct Serial {
    stream: UnixStream,
    /// What came and was not waited for yet.
    seen: String,
}

impl Serial {
    /// Connects to the serial port of a server of the daemon with this state folder.
    pub fn open(state: &Path, server: &str) -> Self {
        let stream = UnixStream::connect(state.join("servers").join(server).join("console.sock")).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        Self { stream, seen: String::new() }
    }

    fn send(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Waits for one of the texts, forgets all up to its end, and tells which it was with what came before it.
    fn wait(&mut self, texts: &[&str], patience: Duration) -> Option<(usize, String)> {
        let deadline = Instant::now() + patience;
        loop {
            let found =
                texts.iter().enumerate().filter_map(|(n, text)| Some((self.seen.find(text)?, n))).min();
            if let Some((at, which)) = found {
                let rest = self.seen.split_off(at + texts[which].len());
                let before = std::mem::replace(&mut self.seen, rest);
                return Some((which, before[..at].to_owned()));
            }
            if Instant::now() >= deadline {
                return None;
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(count) => self.seen.push_str(&String::from_utf8_lossy(&buffer[..count])),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => panic!("the serial port: {error}"),
            }
        }
    }

    /// Logs in as root; says whether the password was accepted.
    #[track_caller]
    pub fn log_in(&mut self, password: &str) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            // A kernel that still talks may swallow some of it.
            self.send("");
            if self.wait(&["login: "], SHORTLY).is_none() {
                continue;
            }
            self.send("root");
            match self.wait(&["Password: ", "# "], PATIENCE) {
                Some((0, _)) => self.send(password),
                Some(_) => panic!("root has no password"),
                None => continue,
            }
            if let Some((which, _)) = self.wait(&["# ", "Login incorrect"], PATIENCE) {
                return which == 0;
            }
        }
        panic!("no prompt on the serial port:\n{}", self.seen);
    }

    /// Runs a command in the shell that was logged in to, and gives what it printed.
    #[track_caller]
    pub fn run(&mut self, command: &str) -> String {
        self.send(&format!("echo begin-$((40+2)); {command}; echo end-$((40+2))"));
        let begun = self.wait(&["begin-42"], PATIENCE).is_some();
        match self.wait(&["end-42"], PATIENCE) {
            Some((_, printed)) if begun => printed.replace('\r', "").trim().to_owned(),
            _ => panic!("no answer to {command:?}:\n{}", self.seen),
        }
    }

    pub fn log_out(&mut self) {
        self.send("exit");
    }
}
