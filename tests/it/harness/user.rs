//! Somebody without privileges: no root, no group, a home and a runtime folder of one's own.

use super::daemon::short_folder;
use std::ffi::OsStr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The one ordinary user that every Linux has.
const NOBODY: u32 = 65534;
/// libvirtd ends itself only after two idle minutes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Dropped with its last copy, it ends its own libvirtd and takes its home with it.
#[derive(Clone)]
pub struct User(Arc<Home>);

struct Home(tempfile::TempDir);

impl User {
    /// A user who was never here before.
    pub fn new() -> Self {
        let user = Self(Arc::new(Home(short_folder())));
        let program = user.program();
        let built = env!("CARGO_BIN_EXE_dwarfnova");
        // The folder that it was built in may be closed to others.
        if std::fs::hard_link(built, &program).is_err() {
            std::fs::copy(built, &program).unwrap();
        }
        std::fs::create_dir(user.runtime()).unwrap();
        std::fs::set_permissions(user.runtime(), std::fs::Permissions::from_mode(0o700)).unwrap();
        Self::own(user.home());
        Self::own(&user.runtime());
        user
    }

    fn home(&self) -> &Path {
        self.0.0.path()
    }

    fn runtime(&self) -> PathBuf {
        self.home().join("run")
    }

    /// The built program, where this user may run it.
    pub fn program(&self) -> PathBuf {
        self.home().join("dwarfnova")
    }

    /// Gives a folder to this user.
    pub fn own(folder: &Path) {
        chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
    }

    /// A command that runs as this user, with a login's surroundings.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.0.command(program.as_ref())
    }

    /// What the user's own libvirt says; empty when it says no.
    pub fn virsh(&self, arguments: &[&str]) -> String {
        let output = self.0.virsh(arguments);
        if output.status.success() {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        } else {
            String::new()
        }
    }

    /// The programs of this user that run, by name.
    pub fn programs() -> Vec<String> {
        let output = Command::new("ps").args(["-o", "comm=", "-u", &NOBODY.to_string()]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).lines().map(|line| line.trim().to_owned()).collect()
    }
}

impl Home {
    fn command(&self, program: &OsStr) -> Command {
        let id = NOBODY.to_string();
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", &id, "--regid", &id, "--clear-groups", "--no-new-privs", "--inh-caps=-all"])
            .arg("--")
            .arg(program)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.0.path())
            .env("USER", "nobody")
            .env("XDG_RUNTIME_DIR", self.0.path().join("run"))
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        command
    }

    fn virsh(&self, arguments: &[&str]) -> Output {
        let mut command = self.command("virsh".as_ref());
        command.args(["-q", "-c", "qemu:///session"]).args(arguments).output().unwrap()
    }

    fn libvirtd(&self) -> Option<nix::unistd::Pid> {
        let text = std::fs::read_to_string(self.0.path().join("run/libvirt/libvirtd.pid")).ok()?;
        text.trim().parse().ok().map(nix::unistd::Pid::from_raw)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What a test that failed left running. Nothing may panic here.
        let Some(pid) = self.libvirtd() else { return };
        let listed = self.virsh(&["list", "--name"]);
        for name in String::from_utf8_lossy(&listed.stdout).split_whitespace() {
            self.virsh(&["destroy", name]);
        }
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let begun = Instant::now();
        while nix::sys::signal::kill(pid, None).is_ok() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
