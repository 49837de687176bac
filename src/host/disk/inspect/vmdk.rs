//! VMDK images: accepted only when all of their data is in the file itself.

use super::{Fields, InspectError, ReadAt, Refusal, Signature, block_at, bytes_at};

const SECTOR: u64 = 512;
/// Where the grain directory's place is only in the footer, as stream-optimised images have it.
const DIRECTORY_AT_END: u64 = u64::MAX;
/// Tools write descriptors of one to twenty sectors.
const MAX_DESCRIPTOR_SECTORS: u64 = 128;

/// Whether QEMU would take these first bytes for VMDK: a binary header, or a descriptor as text.
pub(super) fn is_vmdk(head: &[u8]) -> bool {
    if head.starts_with(b"KDMV") || head.starts_with(b"COWD") {
        return true;
    }
    // The text form may begin with comments and blank lines; its first statement is the version.
    let statement = head
        .split(|&byte| byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .find(|line| !line.is_empty() && !line.starts_with(b"#"));
    statement.is_some_and(|line| line.to_ascii_lowercase().starts_with(b"version="))
        || head.to_ascii_lowercase().starts_with(b"# disk descriptorfile")
}

/// Refuses everything but one self-contained sparse extent; returns the virtual size in bytes.
pub(super) fn check<S: ReadAt + ?Sized>(source: &S) -> Result<u64, InspectError> {
    if bytes_at::<4, S>(source, 0)?.is_none_or(|magic| &magic != b"KDMV") {
        return Err(others("a descriptor with extents of its own").into());
    }
    let head = block_at(source, 0, 512)?.ok_or_else(|| damaged("the header is cut short"))?;
    let header = Fields(&head);
    if !matches!(header.le32(4), 1..=3) {
        return Err(unsupported("its version").into());
    }
    if header.le64(56) == DIRECTORY_AT_END {
        check_footer(source, &header)?;
    }
    let (offset, sectors) = (header.le64(28), header.le64(36));
    if offset == 0 || sectors == 0 || sectors > MAX_DESCRIPTOR_SECTORS {
        return Err(unsupported("it has no embedded descriptor").into());
    }
    let start = offset.checked_mul(SECTOR).ok_or_else(|| damaged("the descriptor's place"))?;
    let mut descriptor =
        vec![0; usize::try_from(sectors * SECTOR).map_err(|_| damaged("the descriptor's size"))?];
    let count = source.read_at(&mut descriptor, start)?;
    descriptor.truncate(count);
    check_descriptor(&descriptor)?;
    header.le64(12).checked_mul(SECTOR).ok_or_else(|| Refusal::TooLarge { bytes: u64::MAX }.into())
}

/// The footer repeats the header, and QEMU believes the footer: they may differ in the grain directory's place alone.
fn check_footer<S: ReadAt + ?Sized>(source: &S, header: &Fields<'_>) -> Result<(), InspectError> {
    let size = source.size()?;
    let start = size.checked_sub(2 * SECTOR).ok_or_else(|| damaged("the footer is cut short"))?;
    let footer = block_at(source, start, 512)?.ok_or_else(|| damaged("the footer is cut short"))?;
    let footer = Fields(&footer);
    let same = footer.0.starts_with(b"KDMV")
        && footer.array::<52>(4) == header.array::<52>(4)
        && footer.le64(56) != DIRECTORY_AT_END;
    if same { Ok(()) } else { Err(damaged("header and footer differ").into()) }
}

fn check_descriptor(descriptor: &[u8]) -> Result<(), Refusal> {
    let text = descriptor.split(|&byte| byte == 0).next().unwrap_or_default();
    let text = std::str::from_utf8(text).map_err(|_| damaged("the descriptor is not text"))?;
    let mut create_type = None;
    let mut extents = 0;
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some((key, value)) = line.split_once('=')
            && !key.contains('"')
        {
            match key.trim().to_ascii_lowercase().as_str() {
                "createtype" if create_type.is_none() => {
                    create_type = Some(value.trim().trim_matches('"').to_owned());
                }
                "createtype" => return Err(damaged("two types in the descriptor")),
                "parentfilenamehint" => return Err(others("a parent")),
                "parentcid" if !value.trim().eq_ignore_ascii_case("ffffffff") => {
                    return Err(others("a parent"));
                }
                _ => {}
            }
        } else {
            check_extent(line)?;
            extents += 1;
        }
    }
    match create_type.as_deref() {
        Some("monolithicSparse" | "streamOptimized") => {}
        Some(_) => return Err(others("the type of the descriptor")),
        None => return Err(damaged("no type in the descriptor")),
    }
    if extents == 1 { Ok(()) } else { Err(others("other than one extent")) }
}

/// `RW 4192256 SPARSE "disk.vmdk"`: a sparse extent in the file itself.
fn check_extent(line: &str) -> Result<(), Refusal> {
    let mut words = line.splitn(4, ' ');
    let access = words.next().unwrap_or_default();
    let sectors = words.next().unwrap_or_default();
    let kind = words.next().unwrap_or_default();
    let name = words.next().unwrap_or_default().trim();
    let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or_default();
    if !matches!(access, "RW" | "RDONLY" | "NOACCESS") || sectors.parse::<u64>().is_err() {
        return Err(damaged("a line of the descriptor"));
    }
    if kind != "SPARSE" || name.is_empty() || name.contains(['/', '\\', '"']) || name.starts_with('.') {
        return Err(others("an extent outside of the image"));
    }
    Ok(())
}

fn others(what: &'static str) -> Refusal {
    Refusal::RefersToOthers { format: Signature::Vmdk, what }
}

fn damaged(what: &'static str) -> Refusal {
    Refusal::Damaged { format: Signature::Vmdk, what }
}

fn unsupported(what: &'static str) -> Refusal {
    Refusal::Unsupported { format: Signature::Vmdk, what }
}
