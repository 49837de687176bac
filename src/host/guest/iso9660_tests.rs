use super::*;
use crate::host::command::Command;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

fn at() -> Timestamp {
    Timestamp::from_second(1_700_000_000).expect("time")
}

fn files(list: &[(&str, &[u8])]) -> BTreeMap<String, Vec<u8>> {
    list.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect()
}

fn sample() -> BTreeMap<String, Vec<u8>> {
    files(&[
        ("ec2/2009-04-04/meta-data.json", b"{}"),
        ("openstack/2012-08-10/meta_data.json", b"{\"uuid\": 1}"),
        ("openstack/2013-04-04/meta_data.json", b"{\"uuid\": 2}"),
        ("openstack/2013-10-17/vendor_data.json", b"{}"),
        ("openstack/2013-10-17/vendor_data2.json", b"{ }"),
        ("openstack/latest/user_data", &[7; 5000]),
        ("openstack/content/0000", b""),
        ("Read me First.txt", b"words"),
    ])
}

/// Runs a program of another author on the image.
async fn with_image(image: &[u8], program: &str, arguments: &[&str]) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().expect("file");
    std::fs::write(file.path(), image).expect("write");
    let path = file.path().to_str().expect("text");
    let arguments = arguments.iter().map(|argument| if *argument == "IMAGE" { path } else { argument });
    Command::new(program).args(arguments).run().await.expect(program).stdout
}

/// The paths of all files as isoinfo lists them, by extension (`-R` Rock Ridge, `-J` Joliet).
async fn listed(image: &[u8], extension: &str) -> BTreeSet<String> {
    let output = with_image(image, "isoinfo", &["-f", extension, "-i", "IMAGE"]).await;
    let text = String::from_utf8(output).expect("text");
    text.lines().map(|line| line.trim_start_matches('/').trim_end_matches(";1").to_owned()).collect()
}

/// The files and the folders above them.
fn expected(files: &BTreeMap<String, Vec<u8>>) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for path in files.keys() {
        paths.extend(path.match_indices('/').map(|(end, _)| path[..end].to_owned()));
        paths.insert(path.clone());
    }
    paths
}

#[tokio::test]
async fn other_programs_find_label_names_and_bytes() {
    let files = sample();
    let image = write("config-2", &files, at()).expect("image");
    assert_eq!(image.len() % SECTOR, 0);
    assert_eq!(listed(&image, "-R").await, expected(&files));
    assert_eq!(listed(&image, "-J").await, expected(&files));
    for (path, bytes) in &files {
        let read = with_image(&image, "isoinfo", &["-R", "-x", &format!("/{path}"), "-i", "IMAGE"]).await;
        assert!(&read == bytes, "{path} by Rock Ridge");
        let name = format!("/{path};1");
        let read = with_image(&image, "isoinfo", &["-J", "-x", &name, "-i", "IMAGE"]).await;
        assert!(&read == bytes, "{path} by Joliet");
    }
    let facts = with_image(&image, "isoinfo", &["-d", "-i", "IMAGE"]).await;
    let facts = String::from_utf8(facts).expect("text");
    for line in
        ["Volume id: config-2", "Rock Ridge signatures version 1 found", "Joliet with UCS level 3 found"]
    {
        assert!(facts.contains(line), "{line}: {facts}");
    }
    let facts = with_image(&image, "blkid", &["-p", "-o", "export", "IMAGE"]).await;
    let facts = String::from_utf8(facts).expect("text");
    for line in ["TYPE=iso9660\n", "LABEL=config-2\n"] {
        assert!(facts.contains(line), "{line}: {facts}");
    }
}

#[test]
fn the_bytes_never_change_by_themselves() {
    let image = write("config-2", &sample(), at()).expect("image");
    assert_eq!(image, write("config-2", &sample(), at()).expect("again"));
    insta::assert_snapshot!(hex::encode(Sha256::digest(&image)));
}

#[tokio::test]
async fn short_names_are_unique_and_directories_may_be_long() {
    let files: BTreeMap<String, Vec<u8>> =
        (0..300).map(|number| (format!("folder/some-long-name-{number:04}.json"), vec![1])).collect();
    let image = write("many", &files, at()).expect("image");
    assert_eq!(listed(&image, "-R").await, expected(&files));
    let plain = with_image(&image, "isoinfo", &["-f", "-i", "IMAGE"]).await;
    assert_eq!(String::from_utf8(plain).expect("text").lines().collect::<BTreeSet<_>>().len(), 301);
}

#[test]
fn odd_paths_are_refused() {
    for path in ["", "/a", "a/", "a//b", "../a", "a/./b", "a;1", "a\0b"] {
        let result = write("x", &files(&[(path, b"")]), at());
        assert_eq!(result, Err(IsoError::BadPath(path.to_owned())), "{path:?}");
    }
    assert!(matches!(write("x", &files(&[("a", b""), ("a/b", b"")]), at()), Err(IsoError::Clash(_))));
    assert!(matches!(write("x", &files(&[(&"a".repeat(101), b"")]), at()), Err(IsoError::BadPath(_))));
}

/// What Rock Ridge says is in a directory, by a reader as simple as can be.
fn read_back(image: &[u8], extent: usize, size: usize, prefix: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().expect("four bytes")) as usize;
    let bytes = &image[extent * SECTOR..][..size];
    let mut offset = 0;
    while offset < bytes.len() {
        let record = &bytes[offset..][..usize::from(bytes[offset])];
        if record.is_empty() {
            offset = (offset / SECTOR + 1) * SECTOR;
            continue;
        }
        offset += record.len();
        let identifier = usize::from(record[32]);
        let mut entries = &record[33 + identifier + (identifier + 1) % 2..];
        let mut name = None;
        while entries.len() >= 4 {
            let (entry, rest) = entries.split_at(usize::from(entries[2]));
            if entry.starts_with(b"NM") {
                name = Some(String::from_utf8(entry[5..].to_vec()).expect("name"));
            }
            entries = rest;
        }
        let Some(name) = name else { continue };
        let (extent, length) = (number(&record[2..]), number(&record[10..]));
        if record[25] & 2 == 0 {
            found.insert(format!("{prefix}{name}"), image[extent * SECTOR..][..length].to_vec());
        } else {
            read_back(image, extent, length, &format!("{prefix}{name}/"), found);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_tree_is_read_back(
        files in prop::collection::btree_map("[a-c]{1,2}(/[a-zA-Zé_.-]{3,40}){0,5}", prop::collection::vec(any::<u8>(), 0..5000), 0..40)
    ) {
        match write("label", &files, at()) {
            Ok(image) => {
                let root = &image[16 * SECTOR + 156..];
                let number = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().expect("four bytes")) as usize;
                let mut found = BTreeMap::new();
                read_back(&image, number(&root[2..]), number(&root[10..]), "", &mut found);
                prop_assert!(found == files);
            }
            Err(error) => prop_assert!(matches!(error, IsoError::Clash(_) | IsoError::BadPath(_)), "{error}"),
        }
    }
}
