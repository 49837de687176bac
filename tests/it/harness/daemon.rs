//! The built program as a child process.

use super::{Http, User, host, until};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

static ONE: Mutex<()> = Mutex::new(());

/// How a daemon is started.
#[derive(Default, Clone)]
pub struct Options {
    /// Lines of configuration (TOML).
    pub config: String,
    /// What `DWARFNOVA_FAILPOINTS` is set to.
    pub failpoints: String,
    /// Runs it as somebody without any privileges.
    pub user: Option<User>,
    /// Puts the state folder on a file system of its own with so many MiB.
    pub state_mib: Option<u32>,
}

/// Who may restart libvirtd meanwhile.
#[expect(dead_code, reason = "they are held, not read")]
enum Turn {
    /// Nobody.
    Shared(tokio::sync::RwLockReadGuard<'static, ()>),
    /// This test.
    Alone(tokio::sync::RwLockWriteGuard<'static, ()>),
}

/// A running daemon. Dropped, it takes its guests, networks and files with it.
pub struct Daemon {
    pub url: String,
    /// Daemons share the machine's address for metadata and its free ranges: one after the other.
    _alone: MutexGuard<'static, ()>,
    _turn: Turn,
    child: Option<Child>,
    folder: tempfile::TempDir,
}

impl Daemon {
    pub fn start(options: &Options) -> Self {
        Self::with(options, || Turn::Shared(crate::host::shared_libvirtd()))
    }

    /// As [`Self::start`], for a test that restarts libvirtd.
    pub fn alone(options: &Options) -> Self {
        Self::with(options, || Turn::Alone(crate::host::libvirtd_alone()))
    }

    fn with(options: &Options, turn: impl FnOnce() -> Turn) -> Self {
        let folder = short_folder();
        // A test that failed has cleaned up all the same.
        let alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut daemon = Self { url: String::new(), _alone: alone, _turn: turn(), child: None, folder };
        if let Some(mib) = options.state_mib {
            std::fs::create_dir(daemon.state()).unwrap();
            let size = format!("size={mib}m,mode=0755");
            let mount = ["-t", "tmpfs", "-o", &size, "small"];
            assert!(Command::new("mount").args(mount).arg(daemon.state()).status().unwrap().success());
        }
        daemon.resume(options);
        daemon
    }

    /// Starts the program again on the same state.
    pub fn resume(&mut self, options: &Options) {
        assert!(self.child.is_none(), "the daemon runs already");
        std::fs::write(self.folder.path().join("test.toml"), &options.config).unwrap();
        let log = std::fs::File::options().create(true).append(true).open(self.log_path()).unwrap();
        if options.user.is_some() {
            User::own(self.folder.path());
        }
        let mut command = match &options.user {
            Some(user) => user.command(user.program()),
            None => Command::new(env!("CARGO_BIN_EXE_dwarfnova")),
        };
        let mut child = command
            .arg("up")
            .args(["--state-dir".as_ref(), self.state().as_os_str()])
            .args(["--listen", "127.0.0.1:0"])
            .args(["--config".as_ref(), self.folder.path().join("test.toml").as_os_str()])
            .env("DWARFNOVA_FAILPOINTS", &options.failpoints)
            .env("RUST_LOG", std::env::var("DWARFNOVA_TEST_LOG").unwrap_or_else(|_| "info".into()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        self.child = Some(child);
        let Some(Ok(line)) = lines.next() else { panic!("the daemon did not start:\n{}", self.log()) };
        self.url = line.strip_prefix("ready ").unwrap_or_else(|| panic!("not ready: {line}")).to_owned();
    }

    /// The folder that the daemon keeps everything in.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the daemon runs").id()
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Waits until the program ended by itself, as a failpoint makes it.
    pub fn wait_for_end(&mut self, seconds: u64) {
        let mut child = self.child.take().expect("the daemon runs");
        until("the end of the daemon", seconds, || child.try_wait().unwrap());
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let status = until("the end of the daemon", 30, || child.try_wait().unwrap());
        assert!(status.success(), "the daemon ended with {status}:\n{}", self.log());
    }

    /// A client of the HTTP API, logged in as the administrator.
    pub fn http(&self) -> Http {
        Http::log_in(&self.url, &self.state().join("clouds.yaml"))
    }

    /// Runs one of the real clients as the administrator.
    pub fn client(&self, program: &str, arguments: &[&str]) -> Output {
        self.client_command(program).args(arguments).output().unwrap()
    }

    /// The command of one of the real clients, with the environment of the administrator.
    pub fn client_command(&self, program: &str) -> Command {
        let mut command = Command::new(super::clients().join("bin").join(program));
        command
            .env("OS_CLIENT_CONFIG_FILE", self.state().join("clouds.yaml"))
            .env("OS_CLOUD", "dwarfnova")
            .env("HOME", self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs `openstack` and gives what it printed. It has to succeed.
    #[track_caller]
    pub fn openstack(&self, arguments: &[&str]) -> String {
        let output = self.client("openstack", arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "openstack {}: {text}{}\n{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr),
            self.log()
        );
        text
    }

    /// Runs `openstack ... -f json`.
    #[track_caller]
    pub fn openstack_json(&self, arguments: &[&str]) -> Value {
        let text = self.openstack(&[arguments, &["-f", "json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    /// What the daemon left of servers in its folder.
    pub fn server_folders(&self) -> Vec<String> {
        list(&self.state().join("servers"))
    }
}

/// QEMU runs as a user of its own and has to find its disks; and sockets need short paths.
pub fn short_folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("dn-").tempdir_in("/var/tmp").unwrap()
}

fn list(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the daemon's log\n{}", self.log());
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        host::remove_all_of(&self.state());
        // Nothing is mounted there most of the time.
        let _ = Command::new("umount").arg("--quiet").arg(self.state()).stderr(Stdio::null()).status();
    }
}
