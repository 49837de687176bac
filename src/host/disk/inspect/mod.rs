//! What a disk image really is, from its bytes.
//!
//! Uploaded bytes are hostile. Before any QEMU tool opens them, this module finds out their format, refuses what could make
//! QEMU open other files (backing files, external data files, foreign extents, parents), and checks that the bytes
//! are exactly what they were declared to be and nothing else besides. Pure: it reads through [`ReadAt`] and changes
//! nothing; it never runs a program and never allocates by a number found in the image without a bound.

mod other;
mod qcow2;
mod vmdk;

pub use qcow2::{BackingReference, Qcow2Header};

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::str::FromStr;

/// Random access to bytes that may be anything.
pub trait ReadAt {
    fn size(&self) -> io::Result<u64>;

    /// Fills as much of `buffer` as there is from `offset` on, and says how much that was.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match FileExt::read_at(self, &mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

impl ReadAt for [u8] {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

/// The disk formats that the image API knows by name and that can be stored here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageFormat {
    Raw,
    Qcow2,
    Iso,
    Vmdk,
    Vhd,
    Vhdx,
    Vdi,
    /// Amazon's machine, kernel and ramdisk images: raw bytes with another name.
    Ami,
    Aki,
    Ari,
}

impl ImageFormat {
    pub const ALL: [Self; 10] = [
        Self::Raw,
        Self::Qcow2,
        Self::Iso,
        Self::Vmdk,
        Self::Vhd,
        Self::Vhdx,
        Self::Vdi,
        Self::Ami,
        Self::Aki,
        Self::Ari,
    ];

    /// The name in the image API's `disk_format`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Iso => "iso",
            Self::Vmdk => "vmdk",
            Self::Vhd => "vhd",
            Self::Vhdx => "vhdx",
            Self::Vdi => "vdi",
            Self::Ami => "ami",
            Self::Aki => "aki",
            Self::Ari => "ari",
        }
    }
}

impl fmt::Display for ImageFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A disk format that is not known, or cannot be stored here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the disk format {0} is not supported")]
pub struct UnknownFormat(pub String);

impl FromStr for ImageFormat {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

/// Formats that can be recognised in bytes. Whatever is none of these is raw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signature {
    Qcow2,
    Iso,
    Vmdk,
    Vhd,
    Vhdx,
    Vdi,
    Luks,
    Qed,
    Parallels,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Qcow2 => "qcow2",
            Self::Iso => "iso",
            Self::Vmdk => "vmdk",
            Self::Vhd => "vhd",
            Self::Vhdx => "vhdx",
            Self::Vdi => "vdi",
            Self::Luks => "luks",
            Self::Qed => "qed",
            Self::Parallels => "ploop",
        })
    }
}

/// Why an image is not accepted. The words may be shown to whoever uploaded it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the image was declared as {declared} but its content is {found}")]
    Mismatch { declared: ImageFormat, found: String },
    #[error("the image could be read as more than one format: {0}")]
    Ambiguous(String),
    /// It would make QEMU open files other than itself.
    #[error("the {format} image refers to other files ({what})")]
    RefersToOthers { format: Signature, what: &'static str },
    #[error("the {format} image is encrypted")]
    Encrypted { format: Signature },
    #[error("the {format} image uses something that is not supported: {what}")]
    Unsupported { format: Signature, what: &'static str },
    #[error("the {format} image is damaged: {what}")]
    Damaged { format: Signature, what: &'static str },
    #[error("the image's virtual disk of {bytes} bytes is larger than allowed")]
    TooLarge { bytes: u64 },
}

/// Why an inspection has no good result.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the image could not be read")]
    Io(#[from] io::Error),
}

/// What an accepted image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspection {
    pub format: ImageFormat,
    /// Size of the file, in bytes.
    pub size: u64,
    /// Size of the disk that a guest sees, in bytes.
    pub virtual_size: u64,
}

/// Checks that the bytes are a harmless image of exactly the declared format, with a virtual disk of at most
/// `max_virtual` bytes.
pub fn inspect<S: ReadAt + ?Sized>(
    source: &S,
    declared: ImageFormat,
    max_virtual: u64,
) -> Result<Inspection, InspectError> {
    let size = source.size()?;
    check_declared(declared, &signatures(source)?)?;
    let virtual_size = match declared {
        ImageFormat::Raw | ImageFormat::Iso | ImageFormat::Ami | ImageFormat::Aki | ImageFormat::Ari => size,
        ImageFormat::Qcow2 => qcow2::check(source)?,
        ImageFormat::Vmdk => vmdk::check(source)?,
        ImageFormat::Vhd => other::check_vhd(source)?,
        ImageFormat::Vhdx => other::check_vhdx(source)?,
        ImageFormat::Vdi => other::check_vdi(source)?,
    };
    if virtual_size > max_virtual {
        return Err(Refusal::TooLarge { bytes: virtual_size }.into());
    }
    Ok(Inspection { format: declared, size, virtual_size })
}

/// Refuses an image by its first part, so that nobody has to send all of it. What passes has to be inspected when it is complete.
pub fn inspect_start<S: ReadAt + ?Sized>(source: &S, declared: ImageFormat) -> Result<(), InspectError> {
    let mut found = signatures(source)?;
    if declared == ImageFormat::Vhd {
        // Its mark may be at the end alone.
        found.retain(|&signature| signature != Signature::Vhd);
        found.push(Signature::Vhd);
    }
    Ok(check_declared(declared, &found)?)
}

fn check_declared(declared: ImageFormat, found: &[Signature]) -> Result<(), Refusal> {
    if matches_declared(declared, found) {
        return Ok(());
    }
    Err(match found {
        [] => Refusal::Mismatch { declared, found: "raw".to_owned() },
        [only] => Refusal::Mismatch { declared, found: only.to_string() },
        several => Refusal::Ambiguous(names(several)),
    })
}

/// A raw image may hold a CD file system (installers are written to disks as they are); every other format has to be the
/// only one that the bytes could be taken for.
fn matches_declared(declared: ImageFormat, found: &[Signature]) -> bool {
    let only = |signature| found == [signature];
    match declared {
        ImageFormat::Raw | ImageFormat::Ami | ImageFormat::Aki | ImageFormat::Ari => {
            found.is_empty() || only(Signature::Iso)
        }
        ImageFormat::Iso => only(Signature::Iso),
        ImageFormat::Qcow2 => only(Signature::Qcow2),
        ImageFormat::Vmdk => only(Signature::Vmdk),
        ImageFormat::Vhd => only(Signature::Vhd),
        ImageFormat::Vhdx => only(Signature::Vhdx),
        ImageFormat::Vdi => only(Signature::Vdi),
    }
}

fn names(found: &[Signature]) -> String {
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Every format whose mark is in the bytes, wherever that format has it.
pub fn signatures<S: ReadAt + ?Sized>(source: &S) -> io::Result<Vec<Signature>> {
    let mut head = vec![0; 1024];
    let count = source.read_at(&mut head, 0)?;
    head.truncate(count);
    let mut found = Vec::new();
    let mut note = |present: bool, signature| {
        if present {
            found.push(signature);
        }
    };
    note(head.starts_with(b"QFI\xfb"), Signature::Qcow2);
    note(vmdk::is_vmdk(&head), Signature::Vmdk);
    note(head.starts_with(b"vhdxfile"), Signature::Vhdx);
    note(head.get(64..68) == Some(b"\x7f\x10\xda\xbe"), Signature::Vdi);
    note(head.starts_with(b"LUKS\xba\xbe"), Signature::Luks);
    note(head.starts_with(b"QED\0"), Signature::Qed);
    note(
        head.starts_with(b"WithoutFreeSpace") || head.starts_with(b"WithouFreSpacExt"),
        Signature::Parallels,
    );
    note(head.starts_with(other::VHD_COOKIE) || other::vhd_footer(source)?.is_some(), Signature::Vhd);
    note(bytes_at::<5, S>(source, 0x8001)?.is_some_and(|mark| &mark == b"CD001"), Signature::Iso);
    Ok(found)
}

/// Exactly `N` bytes at `offset`, or `None` where the image is shorter.
fn bytes_at<const N: usize, S: ReadAt + ?Sized>(source: &S, offset: u64) -> io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    Ok((source.read_at(&mut bytes, offset)? == N).then_some(bytes))
}

/// `length` bytes at `offset`, or `None` where the image is shorter. Callers bound `length`.
fn block_at<S: ReadAt + ?Sized>(source: &S, offset: u64, length: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; length];
    Ok((source.read_at(&mut bytes, offset)? == length).then_some(bytes))
}

/// Fixed-width numbers at fixed places of a block; a place outside of the block reads as 0, which no check below takes for a
/// good value where it matters.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut bytes = [0; N];
        if let Some(found) = self.0.get(offset..offset + N) {
            bytes.copy_from_slice(found);
        }
        bytes
    }

    fn be32(&self, offset: usize) -> u32 {
        u32::from_be_bytes(self.array(offset))
    }

    fn be64(&self, offset: usize) -> u64 {
        u64::from_be_bytes(self.array(offset))
    }

    fn le16(&self, offset: usize) -> u16 {
        u16::from_le_bytes(self.array(offset))
    }

    fn le32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.array(offset))
    }

    fn le64(&self, offset: usize) -> u64 {
        u64::from_le_bytes(self.array(offset))
    }
}

#[cfg(test)]
mod tests;
