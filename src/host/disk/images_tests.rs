use super::super::inspect::Refusal;
use super::*;
use futures_util::TryStreamExt;
use proptest::prelude::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

struct Store {
    folder: tempfile::TempDir,
    images: ImageStore,
}

fn store() -> Store {
    let folder = tempfile::tempdir().expect("tempdir");
    let tree = Tree::open(folder.path(), 0).expect("tree");
    Store { images: ImageStore::new(Arc::new(tree), u64::MAX), folder }
}

impl Store {
    fn staged(&self) -> usize {
        std::fs::read_dir(self.folder.path().join(STAGING)).expect("staging").count()
    }

    /// Removing happens in the background.
    async fn wait_for_empty_staging(&self) {
        for _ in 0..500 {
            if self.staged() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("something is left in staging");
    }

    async fn upload(
        &self,
        bytes: &[u8],
        declared: ImageFormat,
        piece: usize,
    ) -> Result<(ImageId, ImageFacts), DiskError> {
        let id = ImageId::random();
        let mut upload = self.images.begin_upload(id, declared, u64::MAX).await?;
        for chunk in bytes.chunks(piece.max(1)) {
            upload.write(Bytes::copy_from_slice(chunk)).await?;
        }
        Ok((id, upload.finish().await?))
    }

    async fn download(&self, id: ImageId, range: Range<u64>) -> Vec<u8> {
        let reader = self.images.open(id).await.expect("open");
        let chunks: Vec<Bytes> = reader.stream(range).try_collect().await.expect("read");
        chunks.concat()
    }
}

#[tokio::test]
async fn what_goes_in_comes_out_with_its_digests() {
    let store = store();
    let (id, facts) = store.upload(b"hello", ImageFormat::Raw, 2).await.expect("upload");
    assert_eq!(facts.md5, "5d41402abc4b2a76b9719d911017c592");
    assert!(facts.sha512.starts_with("9b71d224bd62f3785d96d46ad3ea3d73") && facts.sha512.len() == 128);
    assert_eq!((facts.size, facts.virtual_size, facts.format), (5, 5, ImageFormat::Raw));
    assert_eq!(store.download(id, 0..u64::MAX).await, b"hello");
    assert_eq!(store.download(id, 1..3).await, b"el");
    assert_eq!(store.download(id, 7..9).await, b"");
    assert_eq!(store.images.list().await.expect("list"), [id]);
    let mode =
        std::fs::metadata(store.folder.path().join(IMAGES).join(id.to_string())).expect("file").permissions();
    assert_eq!(mode.mode() & 0o227, 0, "nobody can write it, strangers cannot read it");
    assert!(store.images.delete(id).await.expect("delete"));
    assert!(!store.images.delete(id).await.expect("delete again"));
    assert!(matches!(store.images.open(id).await, Err(DiskError::NotFound(_))));
    assert_eq!(store.staged(), 0);
}

#[tokio::test]
async fn zeros_take_no_room_and_still_count() {
    let store = store();
    let mut bytes = vec![0; 8 << 20];
    bytes[0] = 1;
    let (id, facts) = store.upload(&bytes, ImageFormat::Raw, 64 << 10).await.expect("upload");
    assert_eq!(facts.size, bytes.len() as u64);
    assert!(store.download(id, 0..u64::MAX).await == bytes);
    let file = std::fs::metadata(store.folder.path().join(IMAGES).join(id.to_string())).expect("file");
    assert!(file.blocks() * 512 < 1 << 20, "{} blocks", file.blocks());
}

#[tokio::test]
async fn uploads_that_are_given_up_leave_nothing() {
    let store = store();
    let mut upload =
        store.images.begin_upload(ImageId::random(), ImageFormat::Raw, 1 << 30).await.expect("begin");
    for _ in 0..40 {
        upload.write(Bytes::from(vec![7; 100_000])).await.expect("write");
    }
    assert_eq!(store.staged(), 1);
    drop(upload);
    store.wait_for_empty_staging().await;
    assert!(store.images.list().await.expect("list").is_empty());
}

#[tokio::test]
async fn uploads_longer_than_allowed_are_refused() {
    let store = store();
    let mut upload = store.images.begin_upload(ImageId::random(), ImageFormat::Raw, 9).await.expect("begin");
    upload.write(Bytes::from_static(b"12345")).await.expect("write");
    let error = upload.write(Bytes::from_static(b"67890")).await.expect_err("too long");
    assert!(matches!(error, DiskError::TooLarge { limit: 9 }));
    assert!(upload.write(Bytes::new()).await.is_err());
    assert!(upload.finish().await.is_err(), "what was lost does not come back");
    store.wait_for_empty_staging().await;
}

#[tokio::test]
async fn lies_about_the_format_are_refused_early_and_late() {
    let store = store();
    let error = store.upload(&[1; 100], ImageFormat::Qcow2, 100).await.expect_err("not qcow2");
    assert!(matches!(error, DiskError::Refused(Refusal::Mismatch { .. })));
    let mut upload =
        store.images.begin_upload(ImageId::random(), ImageFormat::Iso, u64::MAX).await.expect("begin");
    let mut taken = 0;
    while upload.write(Bytes::from(vec![1; BATCH])).await.is_ok() {
        taken += 1;
    }
    assert!(taken <= 2, "an end is put to it after the first part");
    drop(upload);
    store.wait_for_empty_staging().await;
    assert!(store.images.list().await.expect("list").is_empty());
}

#[tokio::test]
async fn a_full_disk_is_named_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("tempdir");
    let tree = Arc::new(Tree::open(folder.path(), u64::MAX / (2 << 20)).expect("tree"));
    let images = ImageStore::new(tree, u64::MAX);
    let error = images.begin_upload(ImageId::random(), ImageFormat::Raw, 9).await.expect_err("no room");
    assert!(matches!(error, DiskError::Full { .. }), "{error}");
}

#[tokio::test]
async fn staging_is_swept() {
    let store = store();
    std::fs::write(store.folder.path().join(STAGING).join("left"), b"over").expect("write");
    assert_eq!(store.images.sweep_staging().await.expect("sweep"), 1);
    assert_eq!(store.staged(), 0);
}

#[tokio::test]
async fn planted_links_are_refused() {
    let store = store();
    let id = ImageId::random();
    std::os::unix::fs::symlink("/etc/passwd", store.folder.path().join(IMAGES).join(id.to_string()))
        .expect("link");
    assert!(matches!(store.images.open(id).await, Err(DiskError::Io { .. })));
    assert!(matches!(store.images.vet(id, ImageFormat::Raw).await, Err(DiskError::Io { .. })));
    let outside = tempfile::tempdir().expect("tempdir");
    std::fs::remove_dir(store.folder.path().join(STAGING)).expect("remove");
    std::os::unix::fs::symlink(outside.path(), store.folder.path().join(STAGING)).expect("link");
    assert!(store.images.begin_upload(id, ImageFormat::Raw, 9).await.is_err());
    assert_eq!(std::fs::read_dir(outside.path()).expect("outside").count(), 0);
}

#[tokio::test]
async fn bases_outlive_their_images() {
    let store = store();
    let (id, _) = store.upload(b"disk", ImageFormat::Raw, 4).await.expect("upload");
    let image = store.images.vet(id, ImageFormat::Raw).await.expect("vet");
    let base = store.images.ensure_base(&image).await.expect("base");
    assert_eq!(store.images.ensure_base(&image).await.expect("again"), base);
    store.images.delete(id).await.expect("delete");
    assert_eq!(std::fs::read(&base.path).expect("base"), b"disk");
    assert_eq!(store.images.list_bases().await.expect("bases"), [id]);
    assert!(store.images.remove_base(id).await.expect("remove"));
    assert!(!base.path.exists());
}

#[tokio::test]
async fn foreign_formats_are_converted_once() {
    let store = store();
    let source = store.folder.path().join("source.vmdk");
    let source = source.to_str().expect("text");
    let create = crate::host::command::Command::new("qemu-img");
    create.args(["create", "-q", "-f", "vmdk", source, "3M"]).run().await.expect("qemu-img");
    let bytes = std::fs::read(source).expect("read");
    let (id, facts) = store.upload(&bytes, ImageFormat::Vmdk, 1 << 16).await.expect("upload");
    assert_eq!(facts.virtual_size, 3 << 20);
    let image = store.images.vet(id, ImageFormat::Vmdk).await.expect("vet");
    let (one, two) = tokio::join!(store.images.ensure_base(&image), store.images.ensure_base(&image));
    let (one, two) = (one.expect("one"), two.expect("two"));
    assert_eq!(one, two);
    assert_eq!((one.format, one.virtual_size), (crate::host::hypervisor::spec::DiskFormat::Qcow2, 3 << 20));
    assert_eq!(store.staged(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn any_bytes_in_any_pieces_survive(
        mut bytes in prop::collection::vec(prop_oneof![3 => Just(0), 1 => any::<u8>()], 1..50_000),
        repeat in 1_usize..60, piece in 1_usize..200_000, start in 0_u64..100_000, length in 0_u64..2_000_000,
    ) {
        // Starts like no known format.
        bytes[0] = b'x';
        let bytes = bytes.repeat(repeat);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("runtime");
        runtime.block_on(async {
            let store = store();
            let (id, facts) = store.upload(&bytes, ImageFormat::Raw, piece).await.expect("upload");
            assert_eq!(facts.md5, hex::encode(Md5::digest(&bytes)));
            assert_eq!(facts.sha512, hex::encode(Sha512::digest(&bytes)));
            assert!(store.download(id, 0..u64::MAX).await == bytes);
            let range = start.min(facts.size)..(start + length).min(facts.size);
            let expected = &bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
            assert!(store.download(id, range).await == expected);
        });
    }
}
