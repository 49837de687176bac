//! The header of qcow2 images: for uploads, which may refer to nothing, and for our own overlays, which refer to exactly
//! one base.

use super::{Fields, InspectError, ReadAt, Refusal, Signature, block_at};

const DATA_FILE: u64 = 1 << 2;
const CORRUPT: u64 = 1 << 1;
/// Dirty, corrupt, external data file, compression type, extended L2 entries: all that QEMU defines.
const KNOWN_INCOMPATIBLE: u64 = 0b1_1111;
const EXTENSION_BACKING_FORMAT: u32 = 0xe279_2aca;
const EXTENSION_DATA_FILE: u32 = 0x4441_5441;
/// QEMU's own limit for the name of a backing file.
const MAX_BACKING_NAME: u32 = 1023;
/// The largest cluster that QEMU reads; the header and its extensions are within the first cluster.
const MAX_CLUSTER: usize = 2 << 20;

/// The base that an overlay stands on, as its header has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackingReference {
    pub name: Vec<u8>,
    /// The explicit format of the base, if it is named.
    pub format: Option<Vec<u8>>,
}

/// The parts of a qcow2 header that matter for safety and for recognising our own overlays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qcow2Header {
    pub version: u32,
    /// Bytes.
    pub virtual_size: u64,
    pub backing: Option<BackingReference>,
    pub encrypted: bool,
    pub incompatible_features: u64,
    pub external_data_file: bool,
}

impl Qcow2Header {
    /// Reads a header; what is not well-formed is refused as damaged.
    pub fn read<S: ReadAt + ?Sized>(source: &S) -> Result<Self, InspectError> {
        let head = block_at(source, 0, 72)?.ok_or_else(|| damaged("the header is cut short"))?;
        let fields = Fields(&head);
        let version = fields.be32(4);
        if !head.starts_with(b"QFI\xfb") || !matches!(version, 2 | 3) {
            return Err(unsupported("its version").into());
        }
        let cluster_bits = fields.be32(20);
        if !(9..=21).contains(&cluster_bits) {
            return Err(damaged("the cluster size").into());
        }
        let cluster = 1_usize << cluster_bits;
        let virtual_size = fields.be64(24);
        // Every L1 entry maps cluster_size / 8 clusters; fewer entries than the disk needs is what QEMU refuses too.
        let (l1_entries, l1_offset) = (fields.be32(36), fields.be64(40));
        let mapped_by_entry = 1_u64 << (2 * cluster_bits - 3);
        // (Extended L2 entries map half as much, so this bound holds for them too.)
        if u64::from(l1_entries) < virtual_size.div_ceil(mapped_by_entry) || !l1_offset.is_multiple_of(512) {
            return Err(damaged("the L1 table").into());
        }
        let (incompatible_features, header_length) = if version == 3 {
            let more = block_at(source, 72, 32)?.ok_or_else(|| damaged("the header is cut short"))?;
            let more = Fields(&more);
            (more.be64(0), more.be32(28) as usize)
        } else {
            (0, 72)
        };
        let least = if version == 3 { 104 } else { 72 };
        if header_length < least || header_length > cluster || !header_length.is_multiple_of(8) {
            return Err(damaged("the header's length").into());
        }
        let (backing_offset, backing_length) = (fields.be64(8), fields.be32(16));
        let mut extensions = Extensions::read(source, header_length, cluster, backing_offset)?;
        let backing = if backing_offset == 0 {
            None
        } else {
            if backing_length > MAX_BACKING_NAME || backing_offset > MAX_CLUSTER as u64 {
                return Err(damaged("the name of the backing file").into());
            }
            let name = block_at(source, backing_offset, backing_length as usize)?
                .ok_or_else(|| damaged("the name of the backing file"))?;
            Some(BackingReference { name, format: extensions.backing_format.take() })
        };
        Ok(Self {
            version,
            virtual_size,
            backing,
            encrypted: fields.be32(32) != 0,
            incompatible_features,
            external_data_file: incompatible_features & DATA_FILE != 0 || extensions.data_file,
        })
    }
}

struct Extensions {
    backing_format: Option<Vec<u8>>,
    data_file: bool,
}

impl Extensions {
    /// Walks the header extensions, which end at the backing file's name, at the end of the first cluster, or by an
    /// entry of type 0.
    fn read<S: ReadAt + ?Sized>(
        source: &S,
        start: usize,
        cluster: usize,
        backing_offset: u64,
    ) -> Result<Self, InspectError> {
        let end = usize::try_from(backing_offset)
            .ok()
            .filter(|&offset| offset != 0)
            .unwrap_or(cluster)
            .min(cluster);
        let mut found = Self { backing_format: None, data_file: false };
        let mut area = vec![0; end.saturating_sub(start)];
        let count = source.read_at(&mut area, start as u64)?;
        area.truncate(count);
        let mut rest = area.as_slice();
        while rest.len() >= 8 {
            let fields = Fields(rest);
            let (kind, length) = (fields.be32(0), fields.be32(4) as usize);
            if kind == 0 {
                break;
            }
            let data = rest.get(8..).and_then(|rest| rest.get(..length));
            let data = data.ok_or_else(|| damaged("a header extension"))?;
            match kind {
                EXTENSION_BACKING_FORMAT => found.backing_format = Some(data.to_vec()),
                EXTENSION_DATA_FILE => found.data_file = true,
                _ => {}
            }
            rest = rest.get(8 + length.next_multiple_of(8)..).unwrap_or_default();
        }
        Ok(found)
    }
}

/// Refuses what an uploaded qcow2 image may not be; returns its virtual size in bytes.
pub(super) fn check<S: ReadAt + ?Sized>(source: &S) -> Result<u64, InspectError> {
    let header = Qcow2Header::read(source)?;
    let others = |what| Refusal::RefersToOthers { format: Signature::Qcow2, what };
    if header.backing.is_some() {
        return Err(others("a backing file").into());
    }
    if header.external_data_file {
        return Err(others("an external data file").into());
    }
    if header.encrypted {
        return Err(Refusal::Encrypted { format: Signature::Qcow2 }.into());
    }
    if header.incompatible_features & !KNOWN_INCOMPATIBLE != 0 {
        return Err(unsupported("an unknown incompatible feature").into());
    }
    if header.incompatible_features & CORRUPT != 0 {
        return Err(damaged("it says so itself").into());
    }
    Ok(header.virtual_size)
}

fn damaged(what: &'static str) -> Refusal {
    Refusal::Damaged { format: Signature::Qcow2, what }
}

fn unsupported(what: &'static str) -> Refusal {
    Refusal::Unsupported { format: Signature::Qcow2, what }
}
