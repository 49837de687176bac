//! The only place that runs programs.
//!
//! A program is a name that is looked up once to an absolute path, and a list of arguments; there is never a shell. The
//! environment is empty but for `PATH` and the C locale, output is bounded, and every run has a deadline. When the
//! deadline passes or the caller loses interest, the whole process group is killed. It may not decide anything by what
//! a program said: callers do.
//!
//! Limits on memory, processor time and file size are set by util-linux' `prlimit`, which sets them on itself and then
//! becomes the program: there is no moment in which the program runs without them, as there would be if we set
//! them on a child that is already running.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin};

/// How much of the end of stderr is kept, in bytes.
const STDERR_TAIL: usize = 4096;
/// How long a killed program may take to disappear before we stop waiting for it.
const KILL_GRACE: Duration = Duration::from_secs(5);
/// Where programs are looked for after `PATH`: an ordinary user's `PATH` often lacks the `sbin` directories.
const STANDARD_DIRECTORIES: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Why a program did not do what it was run for.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("the program {program} is not installed")]
    NotFound { program: String },
    #[error("{program} could not be run")]
    Io {
        program: String,
        #[source]
        source: io::Error,
    },
    /// It ended by itself, badly, or by a signal (SIGXCPU when its processor time was used up).
    #[error("{program} failed ({status}): {stderr}")]
    Failed { program: String, status: ExitStatus, stderr: String },
    /// It was killed because the deadline had passed.
    #[error("{program} did not end within {seconds} s and was killed: {stderr}")]
    Timeout { program: String, seconds: u64, stderr: String },
    /// It was killed because it wrote more than the caller wanted to hold.
    #[error("{program} wrote more than {limit} bytes and was killed")]
    TooMuchOutput { program: String, limit: usize },
}

/// What a program may use up. `None` leaves the daemon's own limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Address space, in MiB.
    pub memory_mib: Option<u64>,
    /// Processor time, in seconds.
    pub cpu_seconds: Option<u64>,
    /// Size of any one file that it writes, in bytes.
    pub file_bytes: Option<u64>,
}

/// What a program left behind.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    /// The end of what it wrote to stderr, with invalid UTF-8 replaced.
    pub stderr: String,
}

/// One program to be run once.
#[derive(Debug)]
pub struct Command {
    program: String,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    input: Option<Vec<u8>>,
    timeout: Duration,
    limits: Limits,
    max_stdout: usize,
}

impl Command {
    /// `program` is a bare name such as `qemu-img`, or an absolute path. Deadline 60 s, at most 1 MiB of stdout.
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            input: None,
            timeout: Duration::from_secs(60),
            limits: Limits::default(),
            max_stdout: 1 << 20,
        }
    }

    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Adds one variable to the otherwise empty environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// What the program reads from stdin; without it, stdin is empty.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The most bytes of stdout that are held; a program that writes more is killed.
    #[must_use]
    pub fn max_stdout(mut self, bytes: usize) -> Self {
        self.max_stdout = bytes;
        self
    }

    /// Runs the program to its end; anything but exit status 0 is [`CommandError::Failed`].
    pub async fn run(self) -> Result<Output, CommandError> {
        let program = self.program.clone();
        let output = self.output().await?;
        if output.status.success() {
            Ok(output)
        } else {
            Err(CommandError::Failed { program, status: output.status, stderr: output.stderr })
        }
    }

    /// Runs the program to its end, for programs whose exit status is an answer.
    pub async fn output(self) -> Result<Output, CommandError> {
        let Self { program, timeout, max_stdout, .. } = &self;
        let (program, timeout, max_stdout) = (program.clone(), *timeout, *max_stdout);
        let mut child = self.spawn()?;
        tracing::debug!(program, arguments = ?self.arguments, pid = child.id(), "program started");
        // Declared after the child, hence dropped before it: the group is killed while its leader cannot have been
        // reaped yet and its number cannot belong to anybody else.
        let mut group = GroupGuard(child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw));
        let failed = |source| CommandError::Io { program: program.clone(), source };
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let mut stderr_tail = Vec::new();
        let work = async {
            let ((), stdout, ()) = tokio::try_join!(
                async { write_input(stdin, self.input.as_deref()).await.map_err(failed) },
                async {
                    let bytes = read_bounded(stdout, max_stdout).await.map_err(failed)?;
                    bytes.ok_or_else(|| CommandError::TooMuchOutput {
                        program: program.clone(),
                        limit: max_stdout,
                    })
                },
                async { read_tail(stderr, &mut stderr_tail).await.map_err(failed) },
            )?;
            let status = child.wait().await.map_err(failed)?;
            Ok((status, stdout))
        };
        match tokio::time::timeout(timeout, work).await {
            Ok(Ok((status, stdout))) => {
                group.0 = None;
                Ok(Output { status, stdout, stderr: text(&stderr_tail) })
            }
            Ok(Err(error)) => Err(error),
            Err(_) => {
                group.kill();
                if let Ok(Err(source)) = tokio::time::timeout(KILL_GRACE, child.wait()).await {
                    return Err(failed(source));
                }
                Err(CommandError::Timeout {
                    program: program.clone(),
                    seconds: timeout.as_secs(),
                    stderr: text(&stderr_tail),
                })
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that runs programs")]
    fn spawn(&self) -> Result<Child, CommandError> {
        let program = find_program(&self.program)?;
        let limits = limit_arguments(&self.limits);
        let mut command = if limits.is_empty() {
            tokio::process::Command::new(program)
        } else {
            let mut command = tokio::process::Command::new(find_program("prlimit")?);
            command.args(limits).arg("--").arg(program);
            command
        };
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", STANDARD_DIRECTORIES.join(":"))
            .env("LC_ALL", "C.UTF-8")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        command.spawn().map_err(|source| CommandError::Io { program: self.program.clone(), source })
    }
}

/// The absolute path of a program: the name itself if it is absolute, else the first match in `PATH` and the standard
/// directories.
///
/// Relative entries of `PATH` are passed over.
pub fn find_program(name: &str) -> Result<PathBuf, CommandError> {
    let missing = || CommandError::NotFound { program: name.to_owned() };
    if name.starts_with('/') {
        let path = PathBuf::from(name);
        return if is_program(&path) { Ok(path) } else { Err(missing()) };
    }
    if name.is_empty() || name.contains('/') {
        return Err(missing());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(STANDARD_DIRECTORIES.iter().map(PathBuf::from))
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|candidate| is_program(candidate))
        .ok_or_else(missing)
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
}

fn limit_arguments(limits: &Limits) -> Vec<OsString> {
    let mut arguments = Vec::new();
    let mut add = |name: &str, value: Option<u64>| {
        if let Some(value) = value {
            arguments.push(OsString::from(format!("--{name}={value}:{value}")));
        }
    };
    add("as", limits.memory_mib.map(|mib| mib.saturating_mul(1 << 20)));
    add("cpu", limits.cpu_seconds);
    add("fsize", limits.file_bytes);
    if !arguments.is_empty() {
        // A limit that is hit kills by a signal that would otherwise dump what the program read, tenant bytes included.
        arguments.push("--core=0:0".into());
    }
    arguments
}

/// Kills a process group when dropped, unless its leader has been reaped.
struct GroupGuard(Option<Pid>);

impl GroupGuard {
    fn kill(&mut self) {
        if let Some(group) = self.0.take()
            && let Err(error) = killpg(group, Signal::SIGKILL)
            && error != nix::errno::Errno::ESRCH
        {
            tracing::warn!(%group, %error, "a program could not be killed");
        }
    }
}

impl Drop for GroupGuard {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn write_input(stdin: Option<ChildStdin>, input: Option<&[u8]>) -> io::Result<()> {
    let (Some(mut stdin), Some(input)) = (stdin, input) else { return Ok(()) };
    match stdin.write_all(input).await {
        // A program that ends without reading everything says why by its exit status.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Everything, or `None` as soon as there is more than `limit`.
async fn read_bounded(source: Option<impl AsyncRead + Unpin>, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    if let Some(source) = source {
        source.take(limit as u64 + 1).read_to_end(&mut bytes).await?;
    }
    Ok((bytes.len() <= limit).then_some(bytes))
}

async fn read_tail(source: Option<impl AsyncRead + Unpin>, tail: &mut Vec<u8>) -> io::Result<()> {
    let Some(mut source) = source else { return Ok(()) };
    let mut chunk = [0; STDERR_TAIL];
    loop {
        let count = source.read(&mut chunk).await?;
        if count == 0 {
            return Ok(());
        }
        tail.extend_from_slice(&chunk[..count]);
        let surplus = tail.len().saturating_sub(STDERR_TAIL);
        tail.drain(..surplus);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn shell(script: &str) -> Command {
        Command::new("sh").arg("-c").arg(script)
    }

    #[tokio::test]
    async fn captures_both_streams_and_feeds_stdin() {
        let output = shell("cat; echo oops >&2").input("hello").run().await.expect("runs");
        assert_eq!(output.stdout, b"hello");
        assert_eq!(output.stderr, "oops");
    }

    #[tokio::test]
    async fn arguments_are_not_interpreted() {
        let output = Command::new("printf").args(["%s", "$(id); * \"x\""]).run().await.expect("runs");
        assert_eq!(output.stdout, b"$(id); * \"x\"");
    }

    #[tokio::test]
    async fn the_environment_is_not_inherited() {
        let output = Command::new("env").env("ONE", "1").run().await.expect("runs");
        let text = String::from_utf8(output.stdout).expect("text");
        let mut names: Vec<_> = text.lines().filter_map(|line| line.split('=').next()).collect();
        names.sort_unstable();
        assert_eq!(names, ["LC_ALL", "ONE", "PATH"]);
    }

    #[tokio::test]
    async fn failure_carries_status_and_the_end_of_stderr() {
        let error = shell("head -c 10000 /dev/zero | tr '\\0' x >&2; echo the end >&2; exit 3").run().await;
        let Err(CommandError::Failed { status, stderr, .. }) = error else { panic!("{error:?}") };
        assert_eq!(status.code(), Some(3));
        assert!(stderr.ends_with("the end") && stderr.len() <= STDERR_TAIL, "{}", stderr.len());
    }

    #[tokio::test]
    async fn unknown_programs_are_named() {
        let error = Command::new("no-such-program-here").run().await.expect_err("must fail");
        assert!(matches!(error, CommandError::NotFound { program } if program == "no-such-program-here"));
        assert!(find_program("../bin/sh").is_err());
        assert!(find_program("/etc/passwd").is_err());
    }

    #[tokio::test]
    async fn the_deadline_kills_the_whole_group() {
        let folder = tempfile::tempdir().expect("tempdir");
        let marker = folder.path().join("pid");
        let script = format!("sleep 300 & echo $! > {}; echo waiting >&2; wait", marker.display());
        let started = Instant::now();
        let error =
            shell(&script).timeout(Duration::from_millis(500)).run().await.expect_err("must time out");
        assert!(matches!(&error, CommandError::Timeout { stderr, .. } if stderr == "waiting"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(5));
        assert_gone(&marker).await;
    }

    #[tokio::test]
    async fn losing_interest_kills_the_whole_group() {
        let folder = tempfile::tempdir().expect("tempdir");
        let marker = folder.path().join("pid");
        let script = format!("sleep 300 & echo $! > {0}.new; mv {0}.new {0}; wait", marker.display());
        let running = tokio::spawn(shell(&script).run());
        while !marker.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        running.abort();
        assert_gone(&marker).await;
    }

    /// Waits until the process whose id stands in `marker` is dead (a zombie that nobody reaps is dead too).
    async fn assert_gone(marker: &Path) {
        let pid = std::fs::read_to_string(marker).expect("marker");
        let status = PathBuf::from(format!("/proc/{}/status", pid.trim()));
        for _ in 0..500 {
            let alive = std::fs::read_to_string(&status).is_ok_and(|text| !text.contains("State:\tZ"));
            if !alive {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("process {pid} is still there");
    }

    #[tokio::test]
    async fn too_much_output_kills() {
        let error = shell("while :; do echo y; done").max_stdout(1000).run().await.expect_err("must fail");
        assert!(matches!(error, CommandError::TooMuchOutput { limit: 1000, .. }), "{error}");
    }

    #[tokio::test]
    async fn limits_hold_from_the_first_instruction() {
        let limits = Limits { memory_mib: Some(512), cpu_seconds: Some(1), file_bytes: Some(4096) };
        let output = shell("ulimit -v; ulimit -t; ulimit -c").limits(limits).run().await.expect("runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "524288\n1\n0\n");
        let error = shell("while :; do :; done").limits(limits).run().await.expect_err("must be killed");
        assert!(matches!(error, CommandError::Failed { status, .. } if !status.success()), "{error}");
    }
}
