//! CD images: ISO 9660 with Rock Ridge for Linux and Joliet for Windows, from names and bytes.
//!
//! Small trees held in memory, as config drives are. Pure and deterministic: the same files, label and time give the same bytes.
//! It knows nothing of what the files mean.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;

const SECTOR: usize = 2048;
const SYSTEM_AREA_SECTORS: usize = 16;
/// Long enough for every name that we write, and short enough for every directory record.
const MAX_NAME: usize = 100;
const ROOT: usize = 0;

/// Why a tree cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IsoError {
    #[error("{0:?} is not a path of plain names")]
    BadPath(String),
    #[error("{0:?} is both a file and a folder")]
    Clash(String),
    #[error("the files are too large for a CD")]
    TooLarge,
}

/// An image with the given label that holds `files`: relative paths with `/` between names, and their bytes.
pub fn write(label: &str, files: &BTreeMap<String, Vec<u8>>, at: Timestamp) -> Result<Vec<u8>, IsoError> {
    let tree = Tree::build(files)?;
    let primary = Hierarchy::new(&tree, Naming::Primary);
    let joliet = Hierarchy::new(&tree, Naming::Joliet);
    let mut next = Cursor(SYSTEM_AREA_SECTORS + 3);
    let primary_tables = (next.take(primary.table_size), next.take(primary.table_size));
    let joliet_tables = (next.take(joliet.table_size), next.take(joliet.table_size));
    let primary_extents: Vec<usize> = primary.sizes.iter().map(|&size| next.take(size)).collect();
    let joliet_extents: Vec<usize> = joliet.sizes.iter().map(|&size| next.take(size)).collect();
    let extension = next.take(SECTOR);
    // The versions of a document are often equal: equal bytes are written once.
    let mut contents = BTreeMap::new();
    let file_extents: Vec<usize> = tree
        .files
        .iter()
        .map(|(_, bytes)| *contents.entry(bytes).or_insert_with(|| next.take(bytes.len())))
        .collect();
    let sectors = u32::try_from(next.0).map_err(|_| IsoError::TooLarge)?;

    let stamp = Stamp::new(at);
    let places = |extents| Places { directories: extents, files: &file_extents, extension };
    let (primary_places, joliet_places) = (places(&primary_extents), places(&joliet_extents));
    let mut image = vec![0; next.0 * SECTOR];
    let mut put =
        |sector: usize, bytes: &[u8]| image[sector * SECTOR..][..bytes.len()].copy_from_slice(bytes);
    put(16, &descriptor(label, &primary, &primary_places, primary_tables, sectors, &stamp));
    put(17, &descriptor(label, &joliet, &joliet_places, joliet_tables, sectors, &stamp));
    put(18, b"\xffCD001\x01");
    for (hierarchy, places, (little, big)) in
        [(&primary, &primary_places, primary_tables), (&joliet, &joliet_places, joliet_tables)]
    {
        put(little, &hierarchy.path_table(places, u32::to_le_bytes, u16::to_le_bytes));
        put(big, &hierarchy.path_table(places, u32::to_be_bytes, u16::to_be_bytes));
        for number in 0..hierarchy.directories.len() {
            put(places.directories[number], &hierarchy.directory(number, &tree, places, &stamp));
        }
    }
    put(extension, &rock_ridge_reference());
    for (bytes, extent) in contents {
        put(extent, bytes);
    }
    Ok(image)
}

/// Hands out sectors one after another.
struct Cursor(usize);

impl Cursor {
    fn take(&mut self, bytes: usize) -> usize {
        let start = self.0;
        self.0 += bytes.div_ceil(SECTOR);
        start
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Entry {
    Folder(usize),
    File(usize),
}

/// The files and folders by number; folder 0 is the root.
struct Tree<'a> {
    files: Vec<(&'a str, &'a [u8])>,
    folders: Vec<BTreeMap<&'a str, Entry>>,
}

impl<'a> Tree<'a> {
    fn build(files: &'a BTreeMap<String, Vec<u8>>) -> Result<Self, IsoError> {
        let mut tree = Self { files: Vec::new(), folders: vec![BTreeMap::new()] };
        for (path, bytes) in files {
            u32::try_from(bytes.len()).map_err(|_| IsoError::TooLarge)?;
            let bad = |name: &str| name.is_empty() || name == "." || name == ".." || name.len() > MAX_NAME;
            if path.split('/').any(bad) || path.contains(['\0', ';']) {
                return Err(IsoError::BadPath(path.clone()));
            }
            let (folders, name) = path.rsplit_once('/').map_or((None, path.as_str()), |(f, n)| (Some(f), n));
            let mut folder = ROOT;
            for name in folders.into_iter().flat_map(|folders| folders.split('/')) {
                let fresh = Entry::Folder(tree.folders.len());
                let entry = *tree.folders[folder].entry(name).or_insert(fresh);
                if entry == fresh {
                    tree.folders.push(BTreeMap::new());
                }
                let Entry::Folder(number) = entry else { return Err(IsoError::Clash(path.clone())) };
                folder = number;
            }
            let file = Entry::File(tree.files.len());
            if tree.folders[folder].insert(name, file).is_some() {
                return Err(IsoError::Clash(path.clone()));
            }
            tree.files.push((name, bytes));
        }
        Ok(tree)
    }
}

/// The two ways in which the same files are listed.
#[derive(Clone, Copy, PartialEq)]
enum Naming {
    /// Eight letters, a dot and three; the real names are in Rock Ridge entries.
    Primary,
    /// The real names, in big-endian UCS-2.
    Joliet,
}

struct Directory<'a> {
    folder: usize,
    /// Number of the directory above in its hierarchy; the root is above itself.
    parent: usize,
    identifier: Vec<u8>,
    /// Sorted by identifier, as the standard wants it.
    children: Vec<(Vec<u8>, &'a str, Entry)>,
}

/// The directories in the order of the path table: level by level, sorted by parent and name.
struct Hierarchy<'a> {
    naming: Naming,
    directories: Vec<Directory<'a>>,
    /// Bytes that each directory takes, whole sectors.
    sizes: Vec<usize>,
    table_size: usize,
    /// The number in this hierarchy of each folder.
    numbers: Vec<usize>,
}

/// Sector numbers.
struct Places<'a> {
    directories: &'a [usize],
    files: &'a [usize],
    /// Where the Rock Ridge reference is that does not fit into a directory record.
    extension: usize,
}

impl<'a> Hierarchy<'a> {
    fn new(tree: &Tree<'a>, naming: Naming) -> Self {
        let mut directories =
            vec![Directory { folder: ROOT, parent: 0, identifier: vec![0], children: Vec::new() }];
        let mut numbers = vec![0; tree.folders.len()];
        let mut current = 0;
        while current < directories.len() {
            let folder = directories[current].folder;
            numbers[folder] = current;
            let children = identifiers(&tree.folders[folder], naming);
            for (identifier, _, entry) in &children {
                if let Entry::Folder(folder) = *entry {
                    let identifier = identifier.clone();
                    directories.push(Directory { folder, parent: current, identifier, children: Vec::new() });
                }
            }
            directories[current].children = children;
            current += 1;
        }
        let table_size = directories.iter().map(|directory| table_entry_size(&directory.identifier)).sum();
        let mut hierarchy = Self { naming, directories, sizes: Vec::new(), table_size, numbers };
        // Records have the same length wherever things are, so a trial run gives the sizes.
        let nowhere = vec![0; tree.folders.len().max(tree.files.len())];
        let places = Places { directories: &nowhere, files: &nowhere, extension: 0 };
        hierarchy.sizes = vec![0; hierarchy.directories.len()];
        let stamp = Stamp::new(Timestamp::UNIX_EPOCH);
        hierarchy.sizes = (0..hierarchy.directories.len())
            .map(|number| hierarchy.directory(number, tree, &places, &stamp).len().next_multiple_of(SECTOR))
            .collect();
        hierarchy
    }

    fn path_table(
        &self,
        places: &Places<'_>,
        long: fn(u32) -> [u8; 4],
        short: fn(u16) -> [u8; 2],
    ) -> Vec<u8> {
        let mut table = Vec::with_capacity(self.table_size);
        for (number, directory) in self.directories.iter().enumerate() {
            table.extend([length_byte(directory.identifier.len()), 0]);
            table.extend(long(sector_number(places.directories[number])));
            table.extend(short(u16::try_from(directory.parent + 1).unwrap_or(u16::MAX)));
            table.extend(&directory.identifier);
            if !directory.identifier.len().is_multiple_of(2) {
                table.push(0);
            }
        }
        table
    }

    /// The records of one directory. None crosses the border of a sector.
    fn directory(&self, number: usize, tree: &Tree<'_>, places: &Places<'_>, stamp: &Stamp) -> Vec<u8> {
        let directory = &self.directories[number];
        let folder = |number: usize, identifier: &[u8], name| {
            let extent = places.directories[number];
            let system_use = self.system_use(name, Kind::Folder, places, stamp);
            record(identifier, extent, self.sizes[number], Kind::Folder, &system_use, stamp)
        };
        let own_name = if number == 0 { Name::Root } else { Name::None };
        let mut bytes = folder(number, &[0], own_name);
        bytes.extend(folder(directory.parent, &[1], Name::None));
        for (identifier, name, entry) in &directory.children {
            let record = match *entry {
                Entry::Folder(child) => folder(self.numbers[child], identifier, Name::Is(name)),
                Entry::File(file) => {
                    let system_use = self.system_use(Name::Is(name), Kind::File, places, stamp);
                    let length = tree.files[file].1.len();
                    record(identifier, places.files[file], length, Kind::File, &system_use, stamp)
                }
            };
            let left = SECTOR - bytes.len() % SECTOR;
            if record.len() > left {
                bytes.resize(bytes.len() + left, 0);
            }
            bytes.extend(record);
        }
        bytes
    }

    /// Rock Ridge: mode, times and the real name. Joliet has none of that.
    fn system_use(&self, name: Name<'_>, kind: Kind, places: &Places<'_>, stamp: &Stamp) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.naming == Naming::Joliet {
            return bytes;
        }
        if name == Name::Root {
            bytes.extend(b"SP\x07\x01\xbe\xef\x00");
            bytes.extend(b"CE\x1c\x01");
            for number in [sector_number(places.extension), 0, length_number(rock_ridge_reference().len())] {
                bytes.extend(both32(number));
            }
        }
        let (mode, links) = match kind {
            Kind::Folder => (0o040_555, 2),
            Kind::File => (0o100_444, 1),
        };
        bytes.extend(b"PX\x24\x01");
        for number in [mode, links, 0, 0] {
            bytes.extend(both32(number));
        }
        // Times of modification, access and change.
        bytes.extend(b"TF\x1a\x01\x0e");
        for _ in 0..3 {
            bytes.extend(stamp.short);
        }
        if let Name::Is(name) = name {
            bytes.extend(b"NM");
            bytes.extend([length_byte(name.len() + 5), 1, 0]);
            bytes.extend(name.as_bytes());
        }
        bytes
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Name<'a> {
    /// The root's own record, which announces Rock Ridge.
    Root,
    /// A record for a directory itself or the one above.
    None,
    Is(&'a str),
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Folder,
    File,
}

fn table_entry_size(identifier: &[u8]) -> usize {
    8 + identifier.len().next_multiple_of(2)
}

/// The entries of one folder with their identifiers, sorted by these.
fn identifiers<'a>(folder: &BTreeMap<&'a str, Entry>, naming: Naming) -> Vec<(Vec<u8>, &'a str, Entry)> {
    let mut taken = BTreeMap::new();
    for (name, entry) in folder {
        let identifier = match naming {
            Naming::Joliet => {
                let version = if matches!(entry, Entry::File(_)) { ";1" } else { "" };
                ucs2(&format!("{name}{version}"))
            }
            Naming::Primary => short_names(name, *entry)
                .find(|identifier| !taken.contains_key(identifier))
                .unwrap_or_else(|| name.as_bytes().to_vec()),
        };
        taken.insert(identifier, (*name, *entry));
    }
    taken.into_iter().map(|(identifier, (name, entry))| (identifier, name, entry)).collect()
}

/// Names of the first interchange level, the likeliest first: `META_DAT.JSO;1`, `META_001.JSO;1`, ...
fn short_names(name: &str, entry: Entry) -> impl Iterator<Item = Vec<u8>> {
    let plain = |text: &str, length: usize| -> String {
        let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        text.chars().map(letter).take(length).collect()
    };
    let is_file = matches!(entry, Entry::File(_));
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if is_file => (plain(stem, 8), plain(extension, 3)),
        _ => (plain(name, 8), String::new()),
    };
    (0..1000).map(move |attempt| {
        let stem = if attempt == 0 { stem.clone() } else { format!("{}{attempt:03}", plain(&stem, 5)) };
        if is_file { format!("{stem}.{extension};1").into_bytes() } else { stem.into_bytes() }
    })
}

fn ucs2(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

fn record(
    identifier: &[u8],
    extent: usize,
    length: usize,
    kind: Kind,
    system_use: &[u8],
    stamp: &Stamp,
) -> Vec<u8> {
    let mut bytes = vec![0, 0];
    bytes.extend(both32(sector_number(extent)));
    bytes.extend(both32(length_number(length)));
    bytes.extend(stamp.short);
    bytes.extend([if kind == Kind::Folder { 2 } else { 0 }, 0, 0]);
    bytes.extend(both16(1));
    bytes.push(length_byte(identifier.len()));
    bytes.extend(identifier);
    if identifier.len().is_multiple_of(2) {
        bytes.push(0);
    }
    bytes.extend(system_use);
    if !bytes.len().is_multiple_of(2) {
        bytes.push(0);
    }
    bytes[0] = length_byte(bytes.len());
    bytes
}

/// The entry that names Rock Ridge, with the words that its specification prescribes.
fn rock_ridge_reference() -> Vec<u8> {
    const ID: &[u8] = b"RRIP_1991A";
    const DESCRIPTION: &[u8] =
        b"THE ROCK RIDGE INTERCHANGE PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS";
    const SOURCE: &[u8] =
        b"PLEASE CONTACT DISC PUBLISHER FOR SPECIFICATION SOURCE.  SEE PUBLISHER IDENTIFIER IN \
        PRIMARY VOLUME DESCRIPTOR FOR CONTACT INFORMATION.";
    let mut bytes = b"ER".to_vec();
    bytes.push(length_byte(8 + ID.len() + DESCRIPTION.len() + SOURCE.len()));
    bytes.extend([1, length_byte(ID.len()), length_byte(DESCRIPTION.len()), length_byte(SOURCE.len()), 1]);
    bytes.extend([ID, DESCRIPTION, SOURCE].concat());
    bytes
}

fn descriptor(
    label: &str,
    hierarchy: &Hierarchy<'_>,
    places: &Places<'_>,
    tables: (usize, usize),
    sectors: u32,
    stamp: &Stamp,
) -> Vec<u8> {
    let joliet = hierarchy.naming == Naming::Joliet;
    let text = |text: &str, length: usize| -> Vec<u8> {
        let (encoded, padding): (Vec<u8>, &[u8]) =
            if joliet { (ucs2(text), b"\0 ") } else { (text.as_bytes().to_vec(), b" ") };
        encoded.into_iter().chain(padding.iter().copied().cycle()).take(length).collect()
    };
    let mut bytes = vec![if joliet { 2 } else { 1 }];
    bytes.extend(b"CD001\x01\x00");
    bytes.extend(text("LINUX", 32));
    bytes.extend(text(label, 32));
    bytes.extend([0; 8]);
    bytes.extend(both32(sectors));
    let mut escape = [0; 32];
    if joliet {
        // UCS-2 level 3.
        escape[..3].copy_from_slice(b"%/E");
    }
    bytes.extend(escape);
    bytes.extend([both16(1), both16(1), both16(u16::try_from(SECTOR).unwrap_or(u16::MAX))].concat());
    bytes.extend(both32(length_number(hierarchy.table_size)));
    bytes.extend(sector_number(tables.0).to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(sector_number(tables.1).to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(record(&[0], places.directories[0], hierarchy.sizes[0], Kind::Folder, &[], stamp));
    bytes.extend(text("", 128));
    bytes.extend(text("DWARFNOVA", 128));
    bytes.extend(text("", 128));
    bytes.extend(text("", 128));
    // The names of files with copyright, abstract and bibliography: there are none.
    bytes.extend(text("", 37).iter().chain(&text("", 37)).chain(&text("", 37)));
    bytes.extend(stamp.long.iter().chain(&stamp.long));
    bytes.extend([b'0'; 16].iter().chain(&[0]));
    bytes.extend(stamp.long);
    bytes.push(1);
    bytes.resize(SECTOR, 0);
    bytes
}

/// One time in the two forms that the standard has.
struct Stamp {
    short: [u8; 7],
    long: [u8; 17],
}

impl Stamp {
    fn new(at: Timestamp) -> Self {
        let time = at.to_zoned(TimeZone::UTC);
        let part = |value: i8| u8::try_from(value).unwrap_or(0);
        let year = u8::try_from(time.year().clamp(1900, 2155) - 1900).unwrap_or(0);
        let short = [
            year,
            part(time.month()),
            part(time.day()),
            part(time.hour()),
            part(time.minute()),
            part(time.second()),
            0,
        ];
        let mut long = [0; 17];
        let digits = time.strftime("%Y%m%d%H%M%S00").to_string();
        if digits.len() == 16 {
            long[..16].copy_from_slice(digits.as_bytes());
        } else {
            long[..16].fill(b'0');
        }
        Self { short, long }
    }
}

fn both16(number: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (number.to_le_bytes(), number.to_be_bytes());
    [a, b, c, d]
}

fn both32(number: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    bytes
}

// `write` has checked that every sector and every file size fits into 32 bits, and `Tree::build` that names are short.

fn sector_number(sector: usize) -> u32 {
    u32::try_from(sector).unwrap_or(u32::MAX)
}

fn length_number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn length_byte(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}

#[cfg(test)]
#[path = "iso9660_tests.rs"]
mod tests;
