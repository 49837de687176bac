use super::super::inspect::ImageFormat;
use super::*;
use crate::core::ids::ImageId;
use bytes::Bytes;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

struct Host {
    _folder: tempfile::TempDir,
    images: ImageStore,
    disks: ServerDisks,
}

fn host() -> Host {
    let folder = tempfile::tempdir().expect("tempdir");
    let tree = Arc::new(Tree::open(folder.path(), 0).expect("tree"));
    let images = ImageStore::new(Arc::clone(&tree), u64::MAX);
    Host { disks: ServerDisks::new(tree, images.clone()), images, _folder: folder }
}

impl Host {
    async fn image(&self, bytes: &[u8], format: ImageFormat) -> VettedImage {
        let id = ImageId::random();
        let mut upload = self.images.begin_upload(id, format, u64::MAX).await.expect("begin");
        upload.write(Bytes::copy_from_slice(bytes)).await.expect("write");
        upload.finish().await.expect("finish");
        self.images.vet(id, format).await.expect("vet")
    }
}

/// What `qemu-img info` says of a disk, and of all below it.
async fn info(disk: &Disk) -> serde_json::Value {
    let format = qemu_img::name(disk.format());
    let command = Command::new("qemu-img").args(["info", "--backing-chain", "--output=json", "-f", format]);
    let output = command.arg(disk.path()).run().await.expect("qemu-img info");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The first bytes that a guest would see.
async fn content(disk: &Disk, length: usize) -> Vec<u8> {
    let copy = tempfile::NamedTempFile::new().expect("file");
    let command =
        Command::new("qemu-img").args(["convert", "-f", qemu_img::name(disk.format()), "-O", "raw"]);
    command.arg(disk.path()).arg(copy.path()).run().await.expect("convert");
    let mut bytes = std::fs::read(copy.path()).expect("read");
    bytes.truncate(length);
    bytes
}

#[tokio::test]
async fn a_root_disk_is_a_private_overlay_of_the_flavors_size() {
    let host = host();
    let image = host.image(b"the system", ImageFormat::Raw).await;
    let server = ServerId::random();
    let disk = host.disks.ensure_root_disk(server, &image, 2).await.expect("disk");
    assert_eq!(disk.virtual_size(), 2 << 30);
    let facts = info(&disk).await;
    assert_eq!(facts[0]["format"], "qcow2");
    assert_eq!(facts[0]["virtual-size"], 2_u64 << 30);
    assert_eq!(facts[0]["backing-filename-format"], "raw");
    assert!(facts[0]["backing-filename"].as_str().is_some_and(|name| name.starts_with('/')));
    assert_eq!(content(&disk, 10).await, b"the system");
    let mode = std::fs::metadata(disk.path()).expect("file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    assert!(host.disks.disk_usage(server).await.expect("usage") < 1 << 20);
}

#[tokio::test]
async fn making_a_disk_again_keeps_it_and_never_takes_another_for_it() {
    let host = host();
    let image = host.image(b"one", ImageFormat::Raw).await;
    let server = ServerId::random();
    let disk = host.disks.ensure_root_disk(server, &image, 1).await.expect("disk");
    let inode = |disk: &Disk| std::fs::metadata(disk.path()).expect("file").ino();
    let before = inode(&disk);
    // An attempt that was cut off is of no consequence.
    std::fs::write(with_suffix(disk.path(), ".new"), b"half").expect("write");
    assert_eq!(host.disks.ensure_root_disk(server, &image, 1).await.expect("again"), disk);
    assert_eq!(inode(&disk), before);
    let other = host.image(b"two", ImageFormat::Raw).await;
    assert!(matches!(
        host.disks.ensure_root_disk(server, &image, 2).await,
        Err(DiskError::Unexpected { .. })
    ));
    assert!(matches!(
        host.disks.ensure_root_disk(server, &other, 1).await,
        Err(DiskError::Unexpected { .. })
    ));
    let replaced = host.disks.replace_root_disk(server, &other, 1).await.expect("replace");
    assert_eq!(content(&replaced, 3).await, b"two");
}

#[tokio::test]
async fn sizes_follow_the_image_when_the_flavor_has_none() {
    let host = host();
    let image = host.image(&vec![1; 1000], ImageFormat::Raw).await;
    let disk = host.disks.ensure_root_disk(ServerId::random(), &image, 0).await.expect("disk");
    assert_eq!(disk.virtual_size(), 1024);
    assert_eq!(info(&disk).await[0]["virtual-size"], 1024);
    let (server, base) = (ServerId::random(), host.images.ensure_base(&image).await.expect("base"));
    let rescue = host.disks.make_rescue_disk(server, &base).await.expect("rescue");
    assert!(rescue.path().ends_with("disk.rescue"));
    let drive = host.disks.ensure_rescue_config_drive(server, vec![0; 512]).await.expect("config drive");
    assert_eq!(drive, host.disks.rescue_config_drive(server));
    host.disks.remove_rescue(server).await.expect("remove");
    assert!(!rescue.path().exists() && !drive.exists());
    host.images.delete(image.id()).await.expect("delete");
    let left = host.images.find_base(image.id(), ImageFormat::Raw).await.expect("find");
    assert_eq!(left, Some(base));
    assert!(matches!(overlay_size(3 << 30, 2), Err(DiskError::TooSmall { .. })));
    assert!(matches!(overlay_size(2 << 30, 2), Ok(size) if size == 2 << 30));
}

#[tokio::test]
async fn ephemeral_and_swap_disks_are_ready_for_use_and_sparse() {
    let host = host();
    let server = ServerId::random();
    let ephemeral =
        host.disks.ensure_blank_disk(server, DiskRole::Ephemeral(0), 64).await.expect("ephemeral");
    let swap = host.disks.ensure_blank_disk(server, DiskRole::Swap, 32).await.expect("swap");
    assert_eq!(host.disks.ensure_blank_disk(server, DiskRole::Swap, 32).await.expect("again"), swap);
    assert!(host.disks.ensure_blank_disk(server, DiskRole::Swap, 33).await.is_err());
    for (disk, kind, label) in [(&ephemeral, "ext4", Some("ephemeral0")), (&swap, "swap", None)] {
        let command = Command::new("blkid").args(["-p", "-o", "export"]).arg(disk.path());
        let output = String::from_utf8(command.run().await.expect("blkid").stdout).expect("text");
        assert!(output.contains(&format!("TYPE={kind}\n")), "{output}");
        assert!(label.is_none_or(|label| output.contains(&format!("LABEL={label}\n"))), "{output}");
    }
    assert!(host.disks.disk_usage(server).await.expect("usage") < 16 << 20);
    assert!(swap_header(4096).is_none() && swap_header(0).is_none());
}

#[tokio::test]
async fn removing_a_server_leaves_nothing_and_may_be_repeated() {
    let host = host();
    let image = host.image(b"x", ImageFormat::Raw).await;
    let (server, other) = (ServerId::random(), ServerId::random());
    host.disks.ensure_root_disk(server, &image, 1).await.expect("disk");
    host.disks.ensure_root_disk(other, &image, 1).await.expect("disk");
    let drive = host.disks.ensure_config_drive(server, b"first".to_vec()).await.expect("drive");
    host.disks.ensure_config_drive(server, b"second".to_vec()).await.expect("drive");
    assert_eq!(std::fs::read(&drive).expect("drive"), b"second");
    assert_eq!(drive, host.disks.config_drive(server));
    std::os::unix::fs::symlink("/etc", drive.with_file_name("link")).expect("link");
    // As after a crash between the renaming and the removal.
    let folder = drive.parent().expect("folder");
    std::fs::create_dir(with_suffix(folder, DELETED)).expect("folder");
    std::fs::write(with_suffix(folder, DELETED).join("disk"), b"rest").expect("write");
    host.disks.remove_server(server).await.expect("remove");
    host.disks.remove_server(server).await.expect("again");
    assert_eq!(host.disks.list_servers().await.expect("list"), [other]);
    assert!(Path::new("/etc/passwd").exists());
    // What an interrupted removal left still counts as the server's.
    std::fs::create_dir(with_suffix(folder, DELETED)).expect("folder");
    assert!(host.disks.list_servers().await.expect("list").contains(&server));
    host.disks.remove_server(server).await.expect("remove");
    assert_eq!(std::fs::read_dir(folder.parent().expect("servers")).expect("list").count(), 1);
}

#[tokio::test]
async fn a_captured_disk_is_an_image_of_its_own() {
    let host = host();
    let image = host.image(b"captured", ImageFormat::Raw).await;
    let server = ServerId::random();
    let disk = host.disks.ensure_root_disk(server, &image, 1).await.expect("disk");
    // A copy that another process left half done.
    let files = host.disks.begin_capture(server).await.expect("begin");
    assert_eq!(files.disk, disk.path());
    assert!(files.copy.exists() && !host.disks.has_capture(server).await.expect("look"));
    let id = ImageId::random();
    assert!(host.disks.publish_capture(server, id).await.is_err());
    host.disks.capture(server).await.expect("capture");
    assert!(host.disks.has_capture(server).await.expect("look"));
    let facts = host.disks.publish_capture(server, id).await.expect("publish");
    assert_eq!(host.disks.publish_capture(server, id).await.expect("again"), facts);
    assert!(!host.disks.has_capture(server).await.expect("look"));
    host.disks.drop_capture(server).await.expect("drop");
    assert_eq!((facts.format, facts.virtual_size), (ImageFormat::Qcow2, 1 << 30));
    let vetted = host.images.vet(id, ImageFormat::Qcow2).await.expect("vet");
    let copy = host.disks.ensure_root_disk(ServerId::random(), &vetted, 0).await.expect("disk");
    assert_eq!(content(&copy, 8).await, b"captured");
}

#[tokio::test]
async fn the_ballast_can_be_given_back() {
    let host = host();
    let tree = &host.disks.tree;
    tree.restore_ballast().expect("none is wanted yet");
    assert!(!tree.release_ballast().expect("nothing"));
    tree.keep_ballast(2).expect("ballast");
    tree.keep_ballast(2).expect("again");
    assert!(tree.allocated(Path::new("ballast")).expect("size") >= 2 << 20);
    assert!(tree.release_ballast().expect("release"));
    assert!(!tree.release_ballast().expect("again"));
    // What frees the most room brings it back.
    let size = |tree: &Tree| tree.allocated(Path::new("ballast")).expect("size");
    assert_eq!(size(tree), 0);
    host.disks.remove_server(ServerId::random()).await.expect("remove");
    assert!(size(tree) >= 2 << 20);
}
