//! VHD, VHDX and VDI images: accepted only without a parent.

use super::{Fields, InspectError, ReadAt, Refusal, Signature, block_at};

pub(super) const VHD_COOKIE: &[u8] = b"conectix";
const VHD_DIFFERENCING: u32 = 4;
const VHDX_REGION_TABLE: u64 = 192 << 10;
const VHDX_MAX_ENTRIES: usize = 2047;
const VDI_HEADER: usize = 512;
/// Dynamic and fixed. The others depend on a second file.
const VDI_TYPES: [u32; 2] = [1, 2];

// GUIDs in the byte order in which the file has them.
const VHDX_METADATA: [u8; 16] = *b"\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e";
const VHDX_FILE_PARAMETERS: [u8; 16] = *b"\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b";
const VHDX_VIRTUAL_SIZE: [u8; 16] = *b"\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8";
const VHDX_PARENT_LOCATOR: [u8; 16] = *b"\x2d\x5f\xd3\xa8\x0b\xb3\x4d\x45\xab\xf7\xd3\xd8\x48\x34\xab\x0c";

/// The last sector of a VHD; for the fixed kind it is all that tells it from raw.
pub(super) fn vhd_footer<S: ReadAt + ?Sized>(source: &S) -> std::io::Result<Option<Vec<u8>>> {
    let size = source.size()?;
    // Some tools write a footer of 511 bytes.
    for length in [512, 511] {
        if let Some(start) = size.checked_sub(length)
            && let Some(footer) = block_at(source, start, 511)?
            && footer.starts_with(VHD_COOKIE)
        {
            return Ok(Some(footer));
        }
    }
    Ok(None)
}

pub(super) fn check_vhd<S: ReadAt + ?Sized>(source: &S) -> Result<u64, InspectError> {
    const FORMAT: Signature = Signature::Vhd;
    let damaged = |what| Refusal::Damaged { format: FORMAT, what };
    let footer = vhd_footer(source)?.ok_or_else(|| damaged("it has no footer"))?;
    let footer = Fields(&footer);
    if let Some(copy) = block_at(source, 0, 511)?
        && copy.starts_with(VHD_COOKIE)
        && copy != footer.0
    {
        return Err(damaged("footer and its copy differ").into());
    }
    match footer.be32(60) {
        2 | 3 => Ok(footer.be64(48)),
        VHD_DIFFERENCING => Err(Refusal::RefersToOthers { format: FORMAT, what: "a parent" }.into()),
        _ => Err(Refusal::Unsupported { format: FORMAT, what: "its type" }.into()),
    }
}

pub(super) fn check_vhdx<S: ReadAt + ?Sized>(source: &S) -> Result<u64, InspectError> {
    const FORMAT: Signature = Signature::Vhdx;
    let damaged = |what| Refusal::Damaged { format: FORMAT, what };
    let others = |what| Refusal::RefersToOthers { format: FORMAT, what };
    let regions =
        block_at(source, VHDX_REGION_TABLE, 64 << 10)?.ok_or_else(|| damaged("the region table"))?;
    let count = Fields(&regions).le32(8) as usize;
    if !regions.starts_with(b"regi") || count > VHDX_MAX_ENTRIES {
        return Err(damaged("the region table").into());
    }
    let mut entries =
        regions[16..].chunks_exact(32).take(count).filter(|entry| entry.starts_with(&VHDX_METADATA));
    let (Some(entry), None) = (entries.next(), entries.next()) else {
        return Err(damaged("other than one metadata region").into());
    };
    let start = Fields(entry).le64(16);
    let table = block_at(source, start, 64 << 10)?.ok_or_else(|| damaged("the metadata region"))?;
    let count = usize::from(Fields(&table).le16(10));
    if !table.starts_with(b"metadata") || count > VHDX_MAX_ENTRIES {
        return Err(damaged("the metadata table").into());
    }
    let (mut virtual_size, mut parameters) = (None, None);
    for entry in table[32..].chunks_exact(32).take(count) {
        let item =
            start.checked_add(u64::from(Fields(entry).le32(16))).ok_or_else(|| damaged("a metadata item"))?;
        let wanted = match entry[..16].try_into().unwrap_or([0; 16]) {
            VHDX_PARENT_LOCATOR => return Err(others("a parent").into()),
            VHDX_VIRTUAL_SIZE => &mut virtual_size,
            VHDX_FILE_PARAMETERS => &mut parameters,
            _ => continue,
        };
        let value = block_at(source, item, 8)?.ok_or_else(|| damaged("a metadata item"))?;
        if wanted.replace(Fields(&value).le64(0)).is_some() {
            return Err(damaged("a metadata item is there twice").into());
        }
    }
    let (Some(virtual_size), Some(parameters)) = (virtual_size, parameters) else {
        return Err(damaged("a metadata item is missing").into());
    };
    // The upper half of the parameters are flags: bit 0 keeps blocks allocated, bit 1 says that there is a parent.
    if (parameters >> 32) & 0b10 != 0 {
        return Err(others("a parent").into());
    }
    Ok(virtual_size)
}

pub(super) fn check_vdi<S: ReadAt + ?Sized>(source: &S) -> Result<u64, InspectError> {
    const FORMAT: Signature = Signature::Vdi;
    let head = block_at(source, 0, VDI_HEADER)?
        .ok_or(Refusal::Damaged { format: FORMAT, what: "the header is cut short" })?;
    let header = Fields(&head);
    if header.le32(68) != 0x0001_0001 {
        return Err(Refusal::Unsupported { format: FORMAT, what: "its version" }.into());
    }
    if !VDI_TYPES.contains(&header.le32(76))
        || header.array::<16>(424) != [0; 16]
        || header.array::<16>(440) != [0; 16]
    {
        return Err(Refusal::RefersToOthers { format: FORMAT, what: "a parent" }.into());
    }
    Ok(header.le64(368))
}
