//! Looks through the state folder: names, kinds, sizes, headers of disks.

use crate::facts::{Entry, Kind, Qcow2, Tree};
use anyhow::Context;
use sha2::{Digest, Sha512};
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

const QCOW2_MAGIC: u32 = 0x5146_49fb;
/// The incompatible feature bit of QCOW2 that says that the data is in another file.
const EXTERNAL_DATA: u64 = 1 << 2;
const BACKING_FORMAT: u32 = 0xe279_2aca;

/// Lists everything below `root`, which is followed if it is a link; nothing below it is.
pub fn read(root: &Path) -> anyhow::Result<Tree> {
    let root = root.canonicalize().with_context(|| format!("no state folder {}", root.display()))?;
    let mut tree = Tree { root: root.clone(), ..Tree::default() };
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            // Removed since it was seen.
            Err(error) if error.kind() == ErrorKind::NotFound && !folder.is_empty() => continue,
            Err(error) => return Err(error).with_context(|| format!("{} cannot be listed", path.display())),
        };
        for entry in entries {
            let entry = entry.with_context(|| format!("{} cannot be listed", path.display()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let Ok(facts) = std::fs::symlink_metadata(entry.path()) else { continue };
            let entry = describe(&entry.path(), &facts);
            if entry.kind == Kind::Folder {
                folders.push(name.clone());
            }
            tree.entries.insert(name, entry);
        }
    }
    Ok(tree)
}

fn describe(path: &Path, facts: &Metadata) -> Entry {
    let kind = facts.file_type();
    let kind = if kind.is_file() {
        Kind::File
    } else if kind.is_dir() {
        Kind::Folder
    } else if kind.is_socket() {
        Kind::Socket
    } else {
        Kind::Other
    };
    Entry {
        kind,
        bytes: facts.len(),
        mode: facts.permissions().mode() & 0o7777,
        changed_at: facts.ctime().saturating_mul(1_000_000) + facts.ctime_nsec() / 1000,
        qcow2: (kind == Kind::File && !is_raw(path)).then(|| qcow2(path)).flatten(),
    }
}

/// Disks that are raw by their names, whatever their guests wrote into them.
fn is_raw(path: &Path) -> bool {
    let names = ["disk.eph0", "disk.swap", "disk.config", "disk.config.rescue"];
    path.file_name().is_some_and(|name| names.iter().any(|raw| name == *raw))
}

fn qcow2(path: &Path) -> Option<Qcow2> {
    let file = File::open(path).ok()?;
    let mut head = vec![0; 1 << 16];
    let length = file.read_at(&mut head, 0).ok()?;
    head.truncate(length);
    header(&head)
}

/// Reads the header of a QCOW2 file from its first bytes.
fn header(head: &[u8]) -> Option<Qcow2> {
    let u32_at = |at: usize| Some(u32::from_be_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_be_bytes(head.get(at..at + 8)?.try_into().ok()?));
    if u32_at(0)? != QCOW2_MAGIC {
        return None;
    }
    let text = |at: usize, length: usize| {
        Some(String::from_utf8_lossy(head.get(at..at.checked_add(length)?)?).into_owned())
    };
    let (backing_at, backing_length) = (usize::try_from(u64_at(8)?).ok()?, u32_at(16)? as usize);
    let backing = if backing_at == 0 { None } else { text(backing_at, backing_length) };
    let newer = u32_at(4)? >= 3;
    let mut backing_format = None;
    let mut at = if newer { u32_at(100)? as usize } else { 72 };
    while let (Some(kind), Some(length)) = (u32_at(at), u32_at(at + 4)) {
        let length = length as usize;
        match kind {
            0 => break,
            BACKING_FORMAT => backing_format = text(at + 8, length),
            _ => {}
        }
        at += 8 + length.next_multiple_of(8);
    }
    Some(Qcow2 {
        virtual_bytes: u64_at(24)?,
        backing,
        backing_format,
        external_data: newer && u64_at(72)? & EXTERNAL_DATA != 0,
    })
}

/// Lets `qemu-img` check the root disks of the servers that `is_off` names.
pub fn check_disks(tree: &mut Tree, is_off: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    let disks = tree.entries.iter().filter(|(name, entry)| {
        let server = name.strip_prefix("servers/").and_then(|rest| rest.split('/').next());
        entry.qcow2.is_some() && server.is_some_and(&is_off)
    });
    for name in disks.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
        let output = Command::new("qemu-img")
            .args(["check", "-q", "-f", "qcow2"])
            .arg(tree.root.join(&name))
            .stdin(Stdio::null())
            .output()
            .context("qemu-img cannot be run")?;
        if !output.status.success() {
            let words = [output.stdout, output.stderr].concat();
            tree.unclean.insert(name, one_line(&String::from_utf8_lossy(&words)));
        }
    }
    Ok(())
}

/// Reads all stored images, which takes as long as reading does.
pub fn digest_images(tree: &mut Tree) -> anyhow::Result<()> {
    for name in tree.list("images").map(str::to_owned).collect::<Vec<_>>() {
        let path = tree.root.join("images").join(&name);
        let read = || -> std::io::Result<String> {
            let (mut file, mut digest, mut chunk) = (File::open(&path)?, Sha512::new(), vec![0; 1 << 20]);
            loop {
                match file.read(&mut chunk)? {
                    0 => return Ok(hex::encode(digest.finalize())),
                    length => digest.update(chunk.get(..length).unwrap_or_default()),
                }
            }
        };
        let digest = read().with_context(|| format!("{} cannot be read", path.display()))?;
        tree.digests.insert(name, digest);
    }
    Ok(())
}

pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_tell_size_and_backing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(header(b"no qcow2 at all"), None);
        let path = folder.path().join("disk");
        let mut head = vec![0; 256];
        head[..4].copy_from_slice(&QCOW2_MAGIC.to_be_bytes());
        head[4..8].copy_from_slice(&3_u32.to_be_bytes());
        head[8..16].copy_from_slice(&160_u64.to_be_bytes());
        head[16..20].copy_from_slice(&5_u32.to_be_bytes());
        head[24..32].copy_from_slice(&(1_u64 << 30).to_be_bytes());
        head[72..80].copy_from_slice(&EXTERNAL_DATA.to_be_bytes());
        head[100..104].copy_from_slice(&104_u32.to_be_bytes());
        head[104..108].copy_from_slice(&BACKING_FORMAT.to_be_bytes());
        head[108..112].copy_from_slice(&3_u32.to_be_bytes());
        head[112..115].copy_from_slice(b"raw");
        head[160..165].copy_from_slice(b"/base");
        std::fs::write(&path, &head).unwrap();
        let tree = read(folder.path()).unwrap();
        let expected = Qcow2 {
            virtual_bytes: 1 << 30,
            backing: Some("/base".into()),
            backing_format: Some("raw".into()),
            external_data: true,
        };
        assert_eq!(tree.entries["disk"].qcow2, Some(expected));
    }
}
