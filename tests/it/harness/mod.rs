//! A daemon of its own for each test, on a folder that goes away with it, and the means to look at what it did.

mod browser;
mod checker;
mod daemon;
mod host;
mod http;
mod random;
mod serial;
mod socket;
mod user;

pub use browser::Browser;
pub use daemon::{Daemon, Options};
pub use host::{bridge_rules, domains, reservations, virsh};
pub use http::{Answer, Http};
pub use random::Random;
pub use serial::Serial;
pub use socket::Socket;
pub use user::User;

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Whether guests and networks can be started here. Says so when not.
pub fn in_sandbox(test: &str) -> bool {
    let inside = std::env::var_os("DWARFNOVA_HERMETIC").is_some();
    if !inside {
        eprintln!("skipped {test}: guests are started only inside tests/hermetic");
    }
    inside
}

/// Leaves a test that needs a sandbox when there is none.
#[macro_export]
macro_rules! sandbox {
    () => {
        if !$crate::harness::in_sandbox(module_path!()) {
            return;
        }
    };
}

/// The folder with the real clients, as `tests/run` made it.
pub fn clients() -> PathBuf {
    PathBuf::from(
        std::env::var_os("DWARFNOVA_TEST_CLIENTS").expect("DWARFNOVA_TEST_CLIENTS is set by tests/run"),
    )
}

/// The small guest's image, as `tests/run` made it.
pub fn guest_image() -> PathBuf {
    PathBuf::from(std::env::var_os("DWARFNOVA_TEST_GUEST").expect("DWARFNOVA_TEST_GUEST is set by tests/run"))
}

/// Asks until the answer is there, at most `seconds`.
#[track_caller]
pub fn until<T>(what: &str, seconds: u64, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < Duration::from_secs(seconds), "{what}: not within {seconds} s");
        std::thread::sleep(Duration::from_millis(100));
    }
}
