//! Files whose names go away.
//!
//! A file system needs up to a third of a second for each GiB that it frees, and lets nobody's flush pass meanwhile: also
//! those of the database wait. So large files are freed beside, a piece at a time.

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::stat::fstat;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Instant;

/// Files with less on the disk are freed at once.
const LARGE_BYTES: i64 = 64 << 20;
/// What is freed at once of others, in bytes.
const PIECE_BYTES: u64 = 64 << 20;

/// Keeps a file while its name goes away, and frees it on a thread of its own. After a crash the file system does so by
/// itself.
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
        let spawned = std::thread::Builder::new().name("disk-free".into()).spawn(move || free(file));
        if let Err(error) = spawned {
            tracing::warn!(%error, "a removed file was freed without a thread");
        }
    }
}

/// Frees a file piece by piece, if that is nobody's any more; otherwise it only lets go of it. Each piece is flushed, and
/// others have their turn for as long as that took.
fn free(file: OwnedFd) {
    let again = OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", file.as_raw_fd()));
    drop(file);
    let Ok(file) = again else { return };
    let Ok(facts) = fstat(&file) else { return };
    if facts.st_nlink > 0 || is_in_use(&file) {
        return;
    }
    let mut left = u64::try_from(facts.st_size).unwrap_or_default();
    while left > 0 {
        left = left.saturating_sub(PIECE_BYTES);
        let start = Instant::now();
        if file.set_len(left).and_then(|()| file.sync_all()).is_err() {
            return;
        }
        std::thread::sleep(start.elapsed());
    }
}

/// Whether a guest has the file open: QEMU keeps locks on the disks that it uses. Yes, when it cannot be told.
fn is_in_use(file: &File) -> bool {
    let mut lock = lock(libc::F_WRLCK);
    let asked = fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock));
    asked.is_err() || i32::from(lock.l_type) != libc::F_UNLCK
}

/// A lock of a whole file.
#[expect(
    clippy::cast_possible_truncation,
    reason = "small constants, as wide in C as what they are put into"
)]
const fn lock(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{OFlag, open};
    use nix::sys::stat::Mode;
    use std::path::Path;

    fn place(path: &Path) -> OwnedFd {
        open(path, OFlag::O_PATH, Mode::empty()).unwrap()
    }

    /// A file of some size, and a look at it that does without its name.
    fn file(path: &Path, bytes: u64) -> File {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path).unwrap();
        nix::fcntl::posix_fallocate(&file, 0, i64::try_from(bytes).unwrap()).unwrap();
        file
    }

    #[test]
    fn only_large_files_are_kept() {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let path = folder.path().join("file");
        assert!(Leaving::new(None).0.is_none());
        file(&path, 4096);
        assert!(Leaving::new(Some(place(&path))).0.is_none());
        file(&path, 64 << 20);
        assert!(Leaving::new(Some(place(&path))).0.is_some());
    }

    #[test]
    fn only_what_is_nobodys_is_cut_short() {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let path = folder.path().join("file");
        let size = 2 * PIECE_BYTES + 1;
        let file = file(&path, size);

        free(place(&path));
        assert_eq!(file.metadata().unwrap().len(), size, "it has a name still");

        let kept = place(&path);
        std::fs::remove_file(&path).unwrap();
        fcntl(&file, FcntlArg::F_OFD_SETLK(&lock(libc::F_RDLCK))).unwrap();
        free(kept.try_clone().unwrap());
        assert_eq!(file.metadata().unwrap().len(), size, "somebody locked it as QEMU does");

        fcntl(&file, FcntlArg::F_OFD_SETLK(&lock(libc::F_UNLCK))).unwrap();
        free(kept);
        assert_eq!(file.metadata().unwrap().len(), 0);
    }
}
