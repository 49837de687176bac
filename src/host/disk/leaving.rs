//! Files whose names go away.

use nix::sys::stat::fstat;
use std::os::fd::OwnedFd;

/// Files with less on the disk are freed at once.
const LARGE_BYTES: i64 = 64 << 20;

/// Keeps a file while its name goes away, and lets go of it on a thread of its own: the file system needs a third of a
/// second for each GiB that it frees, which nobody has to wait for. After a crash it does so by itself.
pub struct Leaving(Option<OwnedFd>);

impl Leaving {
    /// `file` may be a mere reference to a place (`O_PATH`).
    pub fn new(file: Option<OwnedFd>) -> Self {
        let large = |file: &OwnedFd| fstat(file).is_ok_and(|facts| facts.st_blocks * 512 >= LARGE_BYTES);
        Self(file.filter(large))
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let Some(file) = self.0.take() else { return };
        let spawned = std::thread::Builder::new().name("disk-free".into()).spawn(move || drop(file));
        if let Err(error) = spawned {
            tracing::warn!(%error, "a removed file was freed without a thread");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{OFlag, open};
    use nix::sys::stat::Mode;
    use std::fs::File;
    use std::io::Write;

    #[test]
    fn only_large_files_are_kept() {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let path = folder.path().join("file");
        let held = || Leaving::new(open(&path, OFlag::O_PATH, Mode::empty()).ok());
        assert!(held().0.is_none());
        let mut file = File::create(&path).unwrap();
        file.write_all(b"some").unwrap();
        assert!(held().0.is_none());
        nix::fcntl::posix_fallocate(&file, 0, LARGE_BYTES).unwrap();
        assert!(held().0.is_some());
    }
}
