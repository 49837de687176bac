use super::*;
use proptest::prelude::*;
use std::path::Path;
use std::process::Stdio;

#[expect(clippy::disallowed_methods, reason = "tests make real images with the real tool")]
fn qemu_img(arguments: &[&str]) {
    let status = std::process::Command::new("qemu-img").args(arguments).stdout(Stdio::null()).status();
    assert!(status.expect("qemu-img runs").success(), "qemu-img {arguments:?}");
}

/// The bytes of a fresh image of 10 MiB.
fn made(format: &str, options: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("tempdir");
    let path = folder.path().join("image");
    let path = path.to_str().expect("text");
    let mut arguments = vec!["create", "-q", "-f", format];
    if !options.is_empty() {
        arguments.extend(["-o", options]);
    }
    arguments.extend([path, "10M"]);
    qemu_img(&arguments);
    std::fs::read(path).expect("image")
}

fn refusal(bytes: &[u8], declared: ImageFormat) -> Refusal {
    match inspect(bytes, declared, MAX) {
        Err(InspectError::Refused(refusal)) => refusal,
        other => panic!("{declared}: {other:?}"),
    }
}

const MIB: u64 = 1 << 20;
const MAX: u64 = 64 << 40;

#[test]
fn real_images_pass_as_what_they_are_and_as_nothing_else() {
    let mut iso = vec![0; 40_000];
    iso[0x8001..0x8006].copy_from_slice(b"CD001");
    let samples = [
        (ImageFormat::Raw, vec![0; 10 << 20]),
        (ImageFormat::Iso, iso),
        (ImageFormat::Qcow2, made("qcow2", "")),
        (ImageFormat::Qcow2, made("qcow2", "compat=0.10")),
        (
            ImageFormat::Qcow2,
            made("qcow2", "compression_type=zstd,extended_l2=on,cluster_size=128k,lazy_refcounts=on"),
        ),
        (ImageFormat::Vmdk, made("vmdk", "")),
        (ImageFormat::Vmdk, made("vmdk", "subformat=streamOptimized")),
        (ImageFormat::Vhd, made("vpc", "")),
        (ImageFormat::Vhd, made("vpc", "subformat=fixed")),
        (ImageFormat::Vhdx, made("vhdx", "")),
        (ImageFormat::Vdi, made("vdi", "")),
    ];
    for (format, bytes) in samples {
        let found = inspect(bytes.as_slice(), format, MAX).expect("a good image");
        assert_eq!(found.size, bytes.len() as u64, "{format}");
        match format {
            ImageFormat::Raw | ImageFormat::Iso => assert_eq!(found.virtual_size, found.size),
            // VHD counts in cylinders and may round up.
            _ => assert!((10 * MIB..11 * MIB).contains(&found.virtual_size), "{format}: {found:?}"),
        }
        for other in
            [ImageFormat::Raw, ImageFormat::Qcow2, ImageFormat::Iso, ImageFormat::Vmdk, ImageFormat::Vhd]
        {
            let iso_as_raw = format == ImageFormat::Iso && other == ImageFormat::Raw;
            if other != format && !iso_as_raw {
                assert!(matches!(refusal(&bytes, other), Refusal::Mismatch { .. }), "{format} as {other}");
            }
        }
    }
}

#[test]
fn qcow2_that_refers_to_other_files_is_refused() {
    let folder = tempfile::tempdir().expect("tempdir");
    let at = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    qemu_img(&["create", "-q", "-f", "raw", &at("base"), "1M"]);
    let overlay = at("overlay");
    qemu_img(&["create", "-q", "-f", "qcow2", "-F", "raw", "-b", &at("base"), &overlay]);
    let bytes = std::fs::read(&overlay).expect("overlay");
    assert!(matches!(
        refusal(&bytes, ImageFormat::Qcow2),
        Refusal::RefersToOthers { what: "a backing file", .. }
    ));
    let header = Qcow2Header::read(bytes.as_slice()).expect("header");
    let expected = BackingReference { name: at("base").into_bytes(), format: Some(b"raw".to_vec()) };
    assert_eq!((header.backing, header.virtual_size), (Some(expected), MIB));

    let options = format!("data_file={},data_file_raw=on", at("data"));
    let external = made("qcow2", &options);
    let expected = "an external data file";
    assert!(
        matches!(refusal(&external, ImageFormat::Qcow2), Refusal::RefersToOthers { what, .. } if what == expected)
    );
    assert!(Path::new(&at("data")).exists());
}

#[test]
fn qcow2_oddities_are_refused() {
    let good = made("qcow2", "");
    let with = |offset: usize, bytes: &[u8]| {
        let mut image = good.clone();
        image[offset..offset + bytes.len()].copy_from_slice(bytes);
        refusal(&image, ImageFormat::Qcow2)
    };
    assert!(matches!(with(32, &1_u32.to_be_bytes()), Refusal::Encrypted { .. }));
    assert!(matches!(with(72, &(1_u64 << 40).to_be_bytes()), Refusal::Unsupported { .. }));
    assert!(matches!(with(72, &2_u64.to_be_bytes()), Refusal::Damaged { .. }));
    assert!(matches!(with(4, &4_u32.to_be_bytes()), Refusal::Unsupported { .. }));
    assert!(matches!(with(4, &1_u32.to_be_bytes()), Refusal::Unsupported { .. }));
    assert!(matches!(with(20, &40_u32.to_be_bytes()), Refusal::Damaged { .. }));
    assert!(
        matches!(with(24, &(1_u64 << 62).to_be_bytes()), Refusal::Damaged { .. }),
        "more than the L1 table maps"
    );
    assert!(matches!(refusal(&good[..80], ImageFormat::Qcow2), Refusal::Damaged { .. }));
    let mut huge = good.clone();
    huge[24..32].copy_from_slice(&(65_u64 << 40).to_be_bytes());
    huge[36..40].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(refusal(&huge, ImageFormat::Qcow2), Refusal::TooLarge { bytes: 65 << 40 });
}

#[test]
fn vmdk_with_data_elsewhere_is_refused() {
    let folder = tempfile::tempdir().expect("tempdir");
    for kind in ["monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"] {
        let path = folder.path().join(format!("{kind}.vmdk"));
        qemu_img(&[
            "create",
            "-q",
            "-f",
            "vmdk",
            "-o",
            &format!("subformat={kind}"),
            path.to_str().expect("text"),
            "10M",
        ]);
        let bytes = std::fs::read(&path).expect("descriptor");
        assert!(matches!(refusal(&bytes, ImageFormat::Vmdk), Refusal::RefersToOthers { .. }), "{kind}");
        assert!(matches!(refusal(&bytes, ImageFormat::Raw), Refusal::Mismatch { .. }), "{kind} as raw");
    }
    let good = made("vmdk", "");
    let start = good.windows(6).position(|part| part == b"SPARSE").expect("extent line");
    let mut flat = good.clone();
    flat[start..start + 6].copy_from_slice(b"FLAT  ");
    assert!(matches!(refusal(&flat, ImageFormat::Vmdk), Refusal::RefersToOthers { .. }));
    let mut elsewhere = good.clone();
    elsewhere[start + 8] = b'/';
    assert!(matches!(refusal(&elsewhere, ImageFormat::Vmdk), Refusal::RefersToOthers { .. }));
    let mut second = good.clone();
    let comment = good.windows(13).position(|part| part == b"# Extent desc").expect("comment");
    second[comment..comment + 20].copy_from_slice(b"RW 1 SPARSE \"vmdk\"\n#");
    assert!(matches!(refusal(&second, ImageFormat::Vmdk), Refusal::RefersToOthers { .. }), "two extents");
}

#[test]
fn vmdk_footer_may_not_contradict_the_header() {
    let mut image = made("vmdk", "subformat=streamOptimized");
    let at_end = |image: &[u8]| image[56..64] == [0xff; 8];
    if !at_end(&image) {
        image[56..64].copy_from_slice(&[0xff; 8]);
        let mut footer = image[..512].to_vec();
        footer[56..64].copy_from_slice(&21_u64.to_le_bytes());
        image.extend_from_slice(&footer);
        image.extend_from_slice(&[0; 512]);
    }
    inspect(image.as_slice(), ImageFormat::Vmdk, MAX).expect("a good footer");
    let descriptor_offset = image.len() - 1024 + 28;
    image[descriptor_offset] ^= 1;
    assert!(matches!(
        refusal(&image, ImageFormat::Vmdk),
        Refusal::Damaged { what: "header and footer differ", .. }
    ));
}

#[test]
fn parents_are_refused() {
    let mut vhd = made("vpc", "");
    for start in [0, vhd.len() - 512] {
        vhd[start + 60..start + 64].copy_from_slice(&4_u32.to_be_bytes());
    }
    assert!(matches!(refusal(&vhd, ImageFormat::Vhd), Refusal::RefersToOthers { .. }));
    let mut vhd = made("vpc", "");
    vhd[60..64].copy_from_slice(&4_u32.to_be_bytes());
    assert!(matches!(refusal(&vhd, ImageFormat::Vhd), Refusal::Damaged { .. }));
    let mut vdi = made("vdi", "");
    vdi[440] = 1;
    assert!(matches!(refusal(&vdi, ImageFormat::Vdi), Refusal::RefersToOthers { .. }));
    let vhdx = made("vhdx", "");
    let parameters = b"\x37\x67\xa1\xca\x36\xfa\x43\x4d";
    let entry = vhdx.windows(8).position(|part| part == parameters).expect("file parameters");
    let table = (entry / 65536) * 65536;
    let item = table + u32::from_le_bytes(vhdx[entry + 16..entry + 20].try_into().expect("offset")) as usize;
    let mut with_parent = vhdx.clone();
    with_parent[item + 4] |= 2;
    assert!(matches!(refusal(&with_parent, ImageFormat::Vhdx), Refusal::RefersToOthers { .. }));
}

#[test]
fn two_formats_at_once_are_refused() {
    let mut image = made("qcow2", "");
    image[0x8001..0x8006].copy_from_slice(b"CD001");
    for declared in [ImageFormat::Qcow2, ImageFormat::Iso, ImageFormat::Raw] {
        assert_eq!(refusal(&image, declared), Refusal::Ambiguous("qcow2, iso".into()));
    }
}

#[test]
fn raw_may_be_a_partitioned_disk_or_a_hybrid_cd_or_empty_but_not_encrypted() {
    let mut disk = vec![0; 64 << 10];
    disk[510..512].copy_from_slice(b"\x55\xaa");
    disk[512..520].copy_from_slice(b"EFI PART");
    assert!(inspect(disk.as_slice(), ImageFormat::Raw, MAX).is_ok());
    disk[0x8001..0x8006].copy_from_slice(b"CD001");
    assert!(inspect(disk.as_slice(), ImageFormat::Raw, MAX).is_ok());
    assert!(inspect(disk.as_slice(), ImageFormat::Iso, MAX).is_ok());
    assert_eq!(inspect([].as_slice(), ImageFormat::Raw, MAX).unwrap().virtual_size, 0);
    assert!(matches!(refusal(&[], ImageFormat::Qcow2), Refusal::Mismatch { .. }));
    assert!(matches!(refusal(&[], ImageFormat::Vhd), Refusal::Mismatch { .. }));
    assert!(matches!(refusal(b"LUKS\xba\xbe\0\x02 and so on", ImageFormat::Raw), Refusal::Mismatch { .. }));
    assert!(matches!(refusal(b"#x\n\nversion=1\n", ImageFormat::Raw), Refusal::Mismatch { .. }));
}

#[test]
fn names_are_those_of_the_image_api() {
    for format in ImageFormat::ALL {
        assert_eq!(format.name().parse(), Ok(format));
    }
    assert_eq!("ploop".parse::<ImageFormat>(), Err(UnknownFormat("ploop".into())));
}

fn all_formats() -> impl Strategy<Value = ImageFormat> {
    prop::sample::select(ImageFormat::ALL.to_vec())
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..5000), format in all_formats()) {
        let _ = inspect(bytes.as_slice(), format, MAX);
    }

    #[test]
    fn damaged_headers_never_panic_and_never_turn_into_raw(
        format in prop::sample::select(vec![("qcow2", ImageFormat::Qcow2), ("vmdk", ImageFormat::Vmdk),
            ("vpc", ImageFormat::Vhd), ("vhdx", ImageFormat::Vhdx), ("vdi", ImageFormat::Vdi)]),
        changes in prop::collection::vec((0_usize..4096, any::<u8>()), 1..20),
        region in prop::sample::select(vec![0_usize, 192 << 10, 1 << 20, 2 << 20]),
        cut in prop::option::of(0_usize..400_000),
    ) {
        use std::collections::HashMap;
        use std::sync::{LazyLock, Mutex};
        static MADE: LazyLock<Mutex<HashMap<&'static str, Vec<u8>>>> = LazyLock::new(Mutex::default);
        let mut image = MADE.lock().expect("lock").entry(format.0).or_insert_with(|| made(format.0, "")).clone();
        for (offset, value) in changes {
            if let Some(byte) = image.get_mut(region + offset) {
                *byte = value;
            }
        }
        if let Some(cut) = cut {
            image.truncate(cut);
        }
        let _ = inspect(image.as_slice(), format.1, MAX);
        if !signatures(image.as_slice()).expect("memory").is_empty() {
            prop_assert!(inspect(image.as_slice(), ImageFormat::Raw, MAX).is_err());
        }
    }
}
