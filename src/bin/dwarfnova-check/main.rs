//! `dwarfnova-check`: looks whether an installation is what it says it is.
//!
//! A second opinion. It shares no code with the daemon: it reads the database in SQL of its own, asks libvirt, nft and
//! `/proc` itself, and knows the rules by itself, so that a mistake of the daemon's is not made twice. It changes nothing.
//!
//! Two halves: [`facts`] are gathered (`rows`, `tree`, `machine`), and then judged (`judge`), which is pure.

#![expect(
    clippy::disallowed_methods,
    reason = "what belongs to single rooms of the daemon this program does by itself"
)]

mod facts;
mod judge;
mod machine;
mod rows;
mod tree;
mod xml;

use clap::Parser;
use facts::Facts;
use judge::Violation;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often the look is repeated when the database changed meanwhile.
const LOOKS: usize = 8;

/// Checks the invariants of an installation from outside, changing nothing.
///
/// Prints one line for each violation: the invariant, the object, what is wrong. Exit code 0 when there is none, 1 when
/// there are some, 2 when it could not look (no database, no libvirt, tasks that do not end).
///
/// Covered: I1 to I19, and I27 (server groups). Not covered, because one look cannot tell: that what was answered is kept (I20),
/// data inside guests (I21), that guests are not disturbed (I22), that a restart changes nothing (I23), that idle is idle
/// (I24), what logs say (I25), that everything can be deleted in time (I26). There are no volumes (I16). Of I12 the limits
/// and of I13 the free disk are not looked at: both depend on the configuration.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The folder that the daemon keeps everything in.
    #[arg(long)]
    state_dir: PathBuf,
    /// Where libvirt is; by default `qemu:///system` for root and `qemu:///session` for others.
    #[arg(long)]
    libvirt_uri: Option<String>,
    /// Checks all: nothing may be going on meanwhile. This is the default.
    #[arg(long, conflicts_with = "live")]
    settled: bool,
    /// Checks only what has to hold at any moment: I3, I4 (domains), I9, I12, I14, I18, I27.
    #[arg(long)]
    live: bool,
    /// How long to wait for tasks to end, in seconds.
    #[arg(long, default_value_t = 10)]
    wait: u64,
    /// Leaves out what reads much: digests of images, `qemu-img check`, SQLite's integrity check.
    #[arg(long)]
    quick: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match check(&arguments) {
        Ok(violations) if violations.is_empty() => ExitCode::SUCCESS,
        Ok(violations) => {
            for violation in violations {
                println!("{violation}");
            }
            ExitCode::from(1)
        }
        Err(error) => {
            eprintln!("dwarfnova-check: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn check(arguments: &Arguments) -> anyhow::Result<BTreeSet<Violation>> {
    let session = !nix::unistd::geteuid().is_root();
    let uri = arguments.libvirt_uri.clone();
    let uri = uri.unwrap_or_else(|| if session { "qemu:///session" } else { "qemu:///system" }.to_owned());
    let database = rows::open(&arguments.state_dir)?;
    let state = &arguments.state_dir;
    let thorough = !arguments.quick;
    if arguments.live {
        let before = rows::read(&database, state, thorough)?;
        let mut facts = Facts { now: now(), ..Facts::default() };
        facts.host = machine::read(&uri, state, &before.installation)?;
        facts.tree = tree::read(state)?;
        let after = rows::read(&database, state, false)?;
        facts.rows = before;
        let earlier = judge::live(&facts);
        facts.rows = facts::Rows { damage: std::mem::take(&mut facts.rows.damage), ..after };
        return Ok(earlier.intersection(&judge::live(&facts)).cloned().collect());
    }
    let deadline = Instant::now() + Duration::from_secs(arguments.wait);
    let mut changes = 0;
    loop {
        let version = rows::data_version(&database)?;
        let rows = rows::read(&database, state, thorough)?;
        let open = rows.tasks.iter().filter(|task| task.status != "stuck" && !task.is_waiting(now())).count();
        if open > 0 {
            anyhow::ensure!(Instant::now() < deadline, "{open} tasks are open; try --live");
            std::thread::sleep(Duration::from_millis(100));
            continue;
        }
        let mut facts = Facts { now: now(), ..Facts::default() };
        facts.host = machine::read(&uri, state, &rows.installation)?;
        facts.tree = tree::read(state)?;
        if thorough {
            let host = &facts.host;
            // A disk of a guest that runs changes while it is looked at.
            let is_off = |id: &str| host.domain(id).is_none_or(|domain| domain.live.is_none());
            tree::check_disks(&mut facts.tree, is_off)?;
            tree::digest_images(&mut facts.tree)?;
        }
        facts.rows = rows;
        if rows::data_version(&database)? == version {
            return Ok(judge::settled(&facts));
        }
        changes += 1;
        anyhow::ensure!(changes < LOOKS, "the database changes all the time; try --live");
    }
}

/// Microseconds since the epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
