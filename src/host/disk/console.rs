//! The end of a guest's console log.
//!
//! virtlogd writes the log and, when it has grown, starts a new one and keeps the old one as `console.log.0`. The end of the log
//! may therefore lie in two files. Reads only what is asked for.

use super::blocking;
use super::error::{Context, DiskError};
use super::inspect::ReadAt;
use super::server_disks::{ServerDisks, console_name};
use super::tree::{Tree, with_suffix};
use crate::core::ids::ServerId;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl ServerDisks {
    /// The last `max_bytes` bytes of the console log, and of these the last `lines` lines if a number is given. A guest
    /// that has not written anything has an empty log.
    pub async fn read_console_tail(
        &self,
        server: ServerId,
        lines: Option<usize>,
        max_bytes: usize,
    ) -> Result<Vec<u8>, DiskError> {
        let tree = Arc::clone(&self.tree);
        blocking(move || {
            let (newest, older) = open(&tree, &console_name(server))?;
            let newest = tail(newest, max_bytes)?;
            let mut bytes = tail(older, max_bytes - newest.len())?;
            bytes.extend_from_slice(&newest);
            if let Some(lines) = lines {
                let start = start_of_last_lines(&bytes, lines);
                bytes.drain(..start);
            }
            Ok(bytes)
        })
        .await
    }
}

/// A file of the log with its path, if it is there.
type Part = Option<(File, PathBuf)>;

/// The newest file of the log and the one before it. A log that begins a new file in this moment is looked at again, or one
/// file would count twice.
fn open(tree: &Tree, name: &Path) -> Result<(Part, Part), DiskError> {
    let part = |name: &Path| -> Result<Part, DiskError> {
        Ok(tree.open_file(name)?.map(|file| (file, tree.path(name))))
    };
    loop {
        let (newest, older) = (part(name)?, part(&with_suffix(name, ".0"))?);
        match (identity(&newest)?, identity(&older)?) {
            (Some(one), Some(other)) if one == other => {}
            _ => return Ok((newest, older)),
        }
    }
}

/// What tells a file from all others, whatever its name.
fn identity(part: &Part) -> Result<Option<(u64, u64)>, DiskError> {
    let Some((file, path)) = part else { return Ok(None) };
    let facts = file.metadata().during("looking at", path)?;
    Ok(Some((facts.dev(), facts.ino())))
}

fn tail(part: Part, max_bytes: usize) -> Result<Vec<u8>, DiskError> {
    let Some((file, path)) = part else { return Ok(Vec::new()) };
    let size = ReadAt::size(&file).during("looking at", &path)?;
    let start = size.saturating_sub(max_bytes as u64);
    let mut bytes = vec![0; usize::try_from(size - start).unwrap_or(max_bytes)];
    let count = ReadAt::read_at(&file, &mut bytes, start).during("reading", &path)?;
    bytes.truncate(count);
    Ok(bytes)
}

/// Where the last `lines` pieces between line ends begin. As in Nova, what follows the last line end counts as a line, even
/// when it is empty.
fn start_of_last_lines(bytes: &[u8], lines: usize) -> usize {
    if lines == 0 {
        return bytes.len();
    }
    bytes
        .iter()
        .enumerate()
        .rev()
        .filter(|&(_, &byte)| byte == b'\n')
        .nth(lines - 1)
        .map_or(0, |(index, _)| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::disk::ImageStore;

    #[test]
    fn lines_are_counted_as_nova_does() {
        let last = |lines| &b"one\ntwo\nthree\n"[start_of_last_lines(b"one\ntwo\nthree\n", lines)..];
        assert_eq!(last(0), b"");
        assert_eq!(last(1), b"");
        assert_eq!(last(2), b"three\n");
        assert_eq!(last(3), b"two\nthree\n");
        assert_eq!(last(4), b"one\ntwo\nthree\n");
        assert_eq!(last(9), b"one\ntwo\nthree\n");
    }

    #[tokio::test]
    async fn the_end_may_lie_in_two_files() {
        let folder = tempfile::tempdir().expect("tempdir");
        let tree = Arc::new(Tree::open(folder.path(), 0).expect("tree"));
        let disks = ServerDisks::new(Arc::clone(&tree), ImageStore::new(tree, u64::MAX));
        let server = ServerId::random();
        assert_eq!(disks.read_console_tail(server, None, 100).await.expect("no folder"), b"");
        disks.ensure_server(server).await.expect("folder");
        let log = disks.console_log(server);
        std::fs::write(with_suffix(&log, ".0"), b"old 1\nold 2\n").expect("write");
        std::fs::write(&log, b"new 1\nnew 2").expect("write");
        assert_eq!(
            disks.read_console_tail(server, None, 100).await.expect("all"),
            b"old 1\nold 2\nnew 1\nnew 2"
        );
        assert_eq!(
            disks.read_console_tail(server, None, 15).await.expect("bytes"),
            b"d 2\nnew 1\nnew 2"[..].to_vec()
        );
        assert_eq!(
            disks.read_console_tail(server, Some(3), 100).await.expect("lines"),
            b"old 2\nnew 1\nnew 2"
        );
        assert_eq!(disks.read_console_tail(server, Some(1), 3).await.expect("both"), b"w 2");
        std::fs::rename(&log, with_suffix(&log, ".0")).expect("rename");
        assert_eq!(
            disks.read_console_tail(server, None, 100).await.expect("a log that was just begun anew"),
            b"new 1\nnew 2"
        );
    }
}
