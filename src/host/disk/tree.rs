//! The state folder: the one door to files.
//!
//! ```text
//! <state>/images/<image id>          what was uploaded, as it was uploaded
//! <state>/bases/<image id>           the same file once more (a hard link), or its conversion: what overlays stand on
//! <state>/staging/<random>           unfinished uploads and conversions; emptied at start
//! <state>/servers/<server id>/       disk, disk.eph0, disk.swap, disk.config, console.log
//! <state>/ballast                    room that is given back when the disk is full, so that deleting still works
//! ```
//!
//! The folder is opened once. Every later step is resolved by the kernel below that folder and refuses symbolic links
//! on the way (`openat2` with `RESOLVE_BENEATH`, `RESOLVE_NO_SYMLINKS`, `RESOLVE_NO_MAGICLINKS`).
//! Names are built from ids and fixed words; nothing that a user typed may become part of a path.
//!
//! **Who may read.** QEMU of `qemu:///system` runs as an unprivileged user (`libvirt-qemu` on Debian, `qemu` on Fedora).
//! libvirt gives it the files of a guest when it starts it (dynamic ownership) and takes them back, but it has to be
//! able to pass through the folders. So folders belong to root and to that user's own group with mode 0710 (pass through, not
//! list), a server's files have mode 0600, and bases have mode 0440 with that group: QEMU can read but not change
//! what many guests share, provided that the domain definition says `relabel='no'` for the backing file. Where no such
//! group is known, folders have mode 0711 and bases 0444. Without root there is only one user: 0700, 0600 and 0440.
//!
//! All of it blocks: callers run it on the blocking pool.

use super::error::{Context, DiskError};
use super::leaving::Leaving;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{
    AT_FDCWD, AtFlags, OFlag, OpenHow, RenameFlags, ResolveFlag, openat2, posix_fallocate, renameat,
    renameat2,
};
use nix::sys::stat::{FileStat, Mode, fchmod, fstatat, mkdirat};
use nix::sys::statvfs::fstatvfs;
use nix::unistd::{Gid, Group, UnlinkatFlags, fchown, geteuid, linkat, unlinkat};
use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const MIB: u64 = 1 << 20;
/// Groups of which only QEMU's user is a member, as distributions name them.
const QEMU_GROUPS: [&str; 2] = ["libvirt-qemu", "qemu"];
const BALLAST: &str = "ballast";

/// Which part of the tree a file belongs to.
pub const IMAGES: &str = "images";
pub const BASES: &str = "bases";
pub const STAGING: &str = "staging";
pub const SERVERS: &str = "servers";

/// How QEMU gets to the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// We are an ordinary user, and QEMU is the same.
    SameUser,
    /// QEMU's user is a member of this group.
    Group(Gid),
    /// QEMU's user is not known.
    Anybody,
}

impl Access {
    fn detect() -> Self {
        if !geteuid().is_root() {
            return Self::SameUser;
        }
        let known = QEMU_GROUPS.iter().find_map(|name| Group::from_name(name).ok().flatten());
        known.map_or(Self::Anybody, |group| Self::Group(group.gid))
    }

    fn folder_mode(self) -> Mode {
        Mode::from_bits_truncate(match self {
            Self::SameUser => 0o700,
            Self::Group(_) => 0o710,
            Self::Anybody => 0o711,
        })
    }

    fn base_mode(self) -> Mode {
        Mode::from_bits_truncate(match self {
            Self::SameUser | Self::Group(_) => 0o440,
            Self::Anybody => 0o444,
        })
    }

    fn group(self) -> Option<Gid> {
        match self {
            Self::Group(group) => Some(group),
            Self::SameUser | Self::Anybody => None,
        }
    }
}

/// The opened state folder.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    folder: OwnedFd,
    access: Access,
    reserve: u64,
    /// The size of the ballast that is wanted, in bytes.
    ballast: AtomicU64,
}

impl Tree {
    /// Opens the state folder and makes it and its parts if need be. `reserve_mib` MiB of the file system are never
    /// filled by images and disks.
    pub fn open(root: &Path, reserve_mib: u64) -> Result<Self, DiskError> {
        std::fs::create_dir_all(root).during("making the folder", root)?;
        // The administrator may have put a link to another disk here; below, links are nobody's business.
        let root = root.canonicalize().during("resolving the folder", root)?;
        let how = OpenHow::new().flags(OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC);
        let folder = openat2(AT_FDCWD, &root, how)
            .during("opening the folder (Linux 5.6 or newer is needed)", &root)?;
        let tree = Self {
            root,
            folder,
            access: Access::detect(),
            reserve: reserve_mib.saturating_mul(MIB),
            ballast: AtomicU64::new(0),
        };
        tree.protect_folder(&tree.folder, Path::new(""))?;
        for part in [IMAGES, BASES, STAGING, SERVERS] {
            tree.ensure_folder(Path::new(part))?;
        }
        Ok(tree)
    }

    /// The absolute path of something in the tree, for QEMU.
    pub fn path(&self, name: &Path) -> PathBuf {
        self.root.join(name)
    }

    fn open_at(&self, name: &Path, flags: OFlag, mode: Mode) -> nix::Result<OwnedFd> {
        let resolve = ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_SYMLINKS
            | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        let name = if name.as_os_str().is_empty() { Path::new(".") } else { name };
        openat2(
            &self.folder,
            name,
            OpenHow::new().flags(flags | OFlag::O_CLOEXEC).mode(mode).resolve(resolve),
        )
    }

    fn open_folder(&self, name: &Path) -> nix::Result<OwnedFd> {
        self.open_at(name, OFlag::O_DIRECTORY | OFlag::O_RDONLY, Mode::empty())
    }

    /// The folder that something is in, and its name there.
    fn parent(&self, name: &Path) -> nix::Result<(OwnedFd, PathBuf)> {
        let last = name.file_name().ok_or(Errno::EINVAL)?;
        Ok((self.open_folder(name.parent().unwrap_or(Path::new("")))?, PathBuf::from(last)))
    }

    fn protect_folder(&self, folder: &OwnedFd, name: &Path) -> Result<(), DiskError> {
        if let Some(group) = self.access.group() {
            fchown(folder, None, Some(group)).during("giving the folder to QEMU's group", self.path(name))?;
        }
        fchmod(folder, self.access.folder_mode()).during("protecting the folder", self.path(name))
    }

    /// Ensures that a folder exists and has the right mode.
    pub fn ensure_folder(&self, name: &Path) -> Result<(), DiskError> {
        let (parent, last) = self.parent(name).during("opening the folder above", self.path(name))?;
        match mkdirat(&parent, &last, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error).during("making the folder", self.path(name)),
        }
        let folder = self.open_folder(name).during("opening the folder", self.path(name))?;
        self.protect_folder(&folder, name)
    }

    /// Opens an existing regular file for reading; `None` if there is none.
    pub fn open_file(&self, name: &Path) -> Result<Option<File>, DiskError> {
        // Without O_NONBLOCK a FIFO in this place would hang us.
        let opened = match self.open_at(name, OFlag::O_RDONLY | OFlag::O_NONBLOCK, Mode::empty()) {
            Ok(opened) => opened,
            Err(Errno::ENOENT) => return Ok(None),
            Err(error) => return Err(error).during("opening", self.path(name)),
        };
        let file = File::from(opened);
        if file.metadata().during("looking at", self.path(name))?.is_file() {
            Ok(Some(file))
        } else {
            Err(DiskError::unexpected(self.path(name), "not a regular file"))
        }
    }

    /// Makes a file that nobody else can read; it must not exist.
    pub fn create_file(&self, name: &Path) -> Result<File, DiskError> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL;
        let opened =
            self.open_at(name, flags, Mode::S_IRUSR | Mode::S_IWUSR).during("creating", self.path(name))?;
        Ok(File::from(opened))
    }

    /// Opens a regular file for writing, and makes it if need be.
    pub fn open_or_create(&self, name: &Path) -> Result<File, DiskError> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NONBLOCK;
        let opened =
            self.open_at(name, flags, Mode::S_IRUSR | Mode::S_IWUSR).during("opening", self.path(name))?;
        Ok(File::from(opened))
    }

    /// Replaces a file's content at once: readers see the old or the new bytes. Durable on return.
    pub fn write_file(&self, name: &Path, bytes: &[u8]) -> Result<(), DiskError> {
        let new = with_suffix(name, ".new");
        self.remove_file(&new)?;
        let mut file = self.create_file(&new)?;
        file.write_all(bytes).during("writing", self.path(&new))?;
        file.sync_all().during("syncing", self.path(&new))?;
        self.rename(&new, name)
    }

    /// Makes a file readable, and only readable, for us and for QEMU.
    pub fn seal_file(&self, file: &File, name: &Path) -> Result<(), DiskError> {
        if let Some(group) = self.access.group() {
            fchown(file, None, Some(group)).during("giving the file to QEMU's group", self.path(name))?;
        }
        fchmod(file, self.access.base_mode()).during("protecting", self.path(name))
    }

    /// Renames within the tree, replacing a file that has the new name. Durable on return. What a large replaced file took
    /// up is free a moment later.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        let (from_folder, from_name) = self.parent(from).during("renaming", self.path(from))?;
        let (to_folder, to_name) = self.parent(to).during("renaming", self.path(to))?;
        let _replaced = self.leaving(to);
        renameat(&from_folder, &from_name, &to_folder, &to_name).during("renaming", self.path(from))?;
        File::from(to_folder).sync_all().during("syncing the folder of", self.path(to))
    }

    /// Renames unless the new name is taken; says whether it did. Durable on return.
    pub fn rename_new(&self, from: &Path, to: &Path) -> Result<bool, DiskError> {
        let (from_folder, from_name) = self.parent(from).during("renaming", self.path(from))?;
        let (to_folder, to_name) = self.parent(to).during("renaming", self.path(to))?;
        match renameat2(&from_folder, &from_name, &to_folder, &to_name, RenameFlags::RENAME_NOREPLACE) {
            Ok(()) => {}
            Err(Errno::EEXIST) => return Ok(false),
            Err(error) => return Err(error).during("renaming", self.path(from)),
        }
        File::from(to_folder).sync_all().during("syncing the folder of", self.path(to))?;
        Ok(true)
    }

    /// Gives a file a second name; a file that already has that name stays as it is. Durable on return.
    pub fn link(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        let (from_folder, from_name) = self.parent(from).during("linking", self.path(from))?;
        let (to_folder, to_name) = self.parent(to).during("linking", self.path(to))?;
        match linkat(&from_folder, &from_name, &to_folder, &to_name, AtFlags::empty()) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(Errno::ENOENT) => return Err(DiskError::NotFound(self.path(from).display().to_string())),
            Err(error) => return Err(error).during("linking", self.path(to)),
        }
        File::from(to_folder).sync_all().during("syncing the folder of", self.path(to))
    }

    /// Ensures that there is no such file; says whether there was one.
    pub fn remove_file(&self, name: &Path) -> Result<bool, DiskError> {
        let (parent, last) = match self.parent(name) {
            Ok(found) => found,
            Err(Errno::ENOENT) => return Ok(false),
            Err(error) => return Err(error).during("removing", self.path(name)),
        };
        match unlinkat(&parent, &last, UnlinkatFlags::NoRemoveDir) {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(error) => Err(error).during("removing", self.path(name)),
        }
    }

    /// As [`Tree::remove_file`], but what a large file takes up is free a moment later only.
    pub fn discard_file(&self, name: &Path) -> Result<bool, DiskError> {
        let _leaving = self.leaving(name);
        self.remove_file(name)
    }

    fn leaving(&self, name: &Path) -> Leaving {
        Leaving::new(self.open_at(name, OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty()).ok())
    }

    /// Ensures that there is no such folder, nor anything in it. Links are removed, not followed. What large files take up
    /// is free a moment later.
    pub fn remove_folder(&self, name: &Path) -> Result<(), DiskError> {
        for entry in self.list(name)? {
            let entry = name.join(entry);
            if self.stat(&entry)?.is_some_and(|facts| is_kind(&facts, nix::libc::S_IFDIR)) {
                self.remove_folder(&entry)?;
            } else {
                self.discard_file(&entry)?;
            }
        }
        let (parent, last) = self.parent(name).during("removing", self.path(name))?;
        match unlinkat(&parent, &last, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error).during("removing", self.path(name)),
        }
    }

    /// The names in a folder, sorted; none if there is no such folder.
    pub fn list(&self, name: &Path) -> Result<Vec<OsString>, DiskError> {
        let folder = match self.open_folder(name) {
            Ok(folder) => folder,
            Err(Errno::ENOENT) => return Ok(Vec::new()),
            Err(error) => return Err(error).during("listing", self.path(name)),
        };
        let mut names = Vec::new();
        for entry in Dir::from_fd(folder).during("listing", self.path(name))?.iter() {
            let entry = entry.during("listing", self.path(name))?;
            let bytes = entry.file_name().to_bytes();
            if bytes != b"." && bytes != b".." {
                names.push(OsString::from_vec(bytes.to_vec()));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn stat(&self, name: &Path) -> Result<Option<FileStat>, DiskError> {
        let (parent, last) = match self.parent(name) {
            Ok(found) => found,
            Err(Errno::ENOENT) => return Ok(None),
            Err(error) => return Err(error).during("looking at", self.path(name)),
        };
        match fstatat(&parent, &last, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(facts) => Ok(Some(facts)),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error).during("looking at", self.path(name)),
        }
    }

    /// Whether anything has this name.
    pub fn exists(&self, name: &Path) -> Result<bool, DiskError> {
        Ok(self.stat(name)?.is_some())
    }

    /// Bytes that a file takes up on the disk, holes left out; 0 if there is no such file.
    pub fn allocated(&self, name: &Path) -> Result<u64, DiskError> {
        let blocks = self.stat(name)?.map_or(0, |facts| facts.st_blocks);
        Ok(u64::try_from(blocks).unwrap_or(0) * 512)
    }

    /// Bytes that are free for us on the file system.
    pub fn free_bytes(&self) -> Result<u64, DiskError> {
        let facts = fstatvfs(&self.folder).during("asking for free space", &self.root)?;
        Ok(facts.blocks_available().saturating_mul(facts.fragment_size()))
    }

    /// Size of the file system and what is free of it, in bytes.
    pub fn capacity(&self) -> Result<(u64, u64), DiskError> {
        let facts = fstatvfs(&self.folder).during("asking for free space", &self.root)?;
        let size = facts.fragment_size();
        Ok((facts.blocks().saturating_mul(size), facts.blocks_available().saturating_mul(size)))
    }

    /// Fails with [`DiskError::Full`] unless `bytes` more can be written without touching the reserve.
    pub fn check_room(&self, bytes: u64) -> Result<(), DiskError> {
        let free = self.free_bytes()?;
        if free.saturating_sub(bytes) >= self.reserve && free >= bytes {
            Ok(())
        } else {
            Err(self.full(free))
        }
    }

    fn full(&self, free: u64) -> DiskError {
        DiskError::Full { free_mib: free / MIB, reserve_mib: self.reserve / MIB }
    }

    /// "No space left" as [`DiskError::Full`]; other errors stay what they are.
    pub fn name_full(&self, error: DiskError) -> DiskError {
        match &error {
            DiskError::Io { source, .. } if is_full(source) => self.full(self.free_bytes().unwrap_or(0)),
            _ => error,
        }
    }

    /// Keeps `mib` MiB in the ballast file from now on.
    pub fn keep_ballast(&self, mib: u64) -> Result<(), DiskError> {
        self.ballast.store(mib.saturating_mul(MIB), Ordering::Relaxed);
        self.restore_ballast()
    }

    /// Ensures that the ballast is there. When the disk is nearly full this does nothing: what is left is needed for
    /// other things.
    pub fn restore_ballast(&self) -> Result<(), DiskError> {
        let name = Path::new(BALLAST);
        let wanted = self.ballast.load(Ordering::Relaxed);
        if self.allocated(name)? >= wanted || self.check_room(wanted).is_err() {
            return Ok(());
        }
        let file = self.open_or_create(name)?;
        let length = i64::try_from(wanted).unwrap_or(i64::MAX);
        posix_fallocate(&file, 0, length)
            .during("filling", self.path(name))
            .map_err(|error| self.name_full(error))
    }

    /// Gives the ballast back; says whether there was any. Deleting writes to the database before it frees anything,
    /// which on a full disk works only with this.
    pub fn release_ballast(&self) -> Result<bool, DiskError> {
        self.remove_file(Path::new(BALLAST))
    }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

fn is_kind(facts: &FileStat, kind: nix::libc::mode_t) -> bool {
    facts.st_mode & nix::libc::S_IFMT == kind
}

/// The name with something appended to its last part.
pub fn with_suffix(name: &Path, suffix: &str) -> PathBuf {
    let mut text = name.as_os_str().to_owned();
    text.push(suffix);
    PathBuf::from(text)
}
