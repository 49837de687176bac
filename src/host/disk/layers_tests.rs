use super::super::images::{ImageStore, VettedImage};
use super::super::inspect::ImageFormat;
use super::*;
use crate::core::ids::ImageId;
use crate::host::command::Command;
use bytes::Bytes;
use std::os::unix::fs::MetadataExt;

const GIB: u64 = 1 << 30;

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
    async fn image(&self, bytes: &[u8]) -> VettedImage {
        let id = ImageId::random();
        let mut upload = self.images.begin_upload(id, ImageFormat::Raw, u64::MAX).await.expect("begin");
        upload.write(Bytes::copy_from_slice(bytes)).await.expect("write");
        upload.finish().await.expect("finish");
        self.images.vet(id, ImageFormat::Raw).await.expect("vet")
    }

    fn files(&self, server: ServerId) -> Vec<String> {
        let names = self.disks.tree.list(&folder_name(server)).expect("list");
        names.into_iter().map(|name| name.into_string().expect("a name")).collect()
    }
}

async fn depth(disk: &Disk) -> usize {
    let command = Command::new("qemu-img").args(["info", "--backing-chain", "--output=json", "-f"]);
    let command = command.arg(qemu_img::name(disk.format())).arg(disk.path());
    let facts: serde_json::Value =
        serde_json::from_slice(&command.run().await.expect("info").stdout).expect("JSON");
    facts.as_array().expect("a list").len()
}

/// Writes as a guest would.
async fn write(disk: &Disk, at: u64, text: &str) {
    let pattern = text.as_bytes()[0];
    let command = Command::new("qemu-io").args(["-f", qemu_img::name(disk.format()), "-c"]);
    let command = command.arg(format!("write -P {pattern} {at} 512")).arg(disk.path());
    command.run().await.expect("write");
}

/// Whether a guest would read what was written.
async fn reads(disk: &Disk, at: u64, text: &str) -> bool {
    let pattern = text.as_bytes()[0];
    let command = Command::new("qemu-io").args(["-r", "-f", qemu_img::name(disk.format()), "-c"]);
    let command = command.arg(format!("read -P {pattern} {at} 512")).arg(disk.path());
    let output = command.run().await;
    output.is_ok_and(|output| !String::from_utf8_lossy(&output.stdout).contains("verification failed"))
}

#[tokio::test]
async fn a_resize_can_be_taken_back_and_repeated() {
    let host = host();
    let (disks, root) = (&host.disks, DiskRole::Root);
    let image = host.image(b"system").await;
    let server = ServerId::random();
    let disk = disks.ensure_root_disk(server, &image, 1).await.expect("disk");
    let inode = || std::fs::metadata(disk.path()).expect("file").ino();
    let original = inode();
    let grown = disks.begin_resize(server, root, 7, 3 * GIB).await.expect("resize");
    assert_eq!((grown.path(), grown.virtual_size()), (disk.path(), 3 * GIB));
    assert_eq!(disks.begin_resize(server, root, 7, 3 * GIB).await.expect("again"), grown);
    assert_eq!(depth(&grown).await, 3);
    write(&grown, 0, "n").await;
    disks.revert_resize(server, root, 7).await.expect("revert");
    disks.revert_resize(server, root, 7).await.expect("again");
    assert_eq!(inode(), original);
    assert!(!reads(&disk, 0, "n").await, "what the guest wrote since is gone");
    // A crash between keeping the old disk and making the new layer.
    std::fs::hard_link(disk.path(), disks.tree.path(&kept_name(server, 8))).expect("link");
    let grown = disks.begin_resize(server, root, 8, 2 * GIB).await.expect("resize");
    assert_eq!(grown.virtual_size(), 2 * GIB);
    disks.revert_resize(server, root, 8).await.expect("revert");
    std::fs::hard_link(disk.path(), disks.tree.path(&kept_name(server, 9))).expect("link");
    disks.revert_resize(server, root, 9).await.expect("revert of nothing");
    assert_eq!(inode(), original);
    assert_eq!(host.files(server), ["disk"]);
}

#[tokio::test]
async fn layers_come_together_and_show_the_same() {
    let host = host();
    let (disks, root) = (&host.disks, DiskRole::Root);
    let image = host.image(b"system").await;
    let server = ServerId::random();
    write(&disks.ensure_root_disk(server, &image, 1).await.expect("disk"), 4096, "a").await;
    for (number, text) in [(1, "b"), (2, "c"), (3, "d")] {
        let disk = disks
            .begin_resize(server, root, number, GIB * (number.unsigned_abs() + 1))
            .await
            .expect("resize");
        write(&disk, GIB * number.unsigned_abs(), text).await;
        write(&disk, 8192, text).await;
    }
    let shows = async |disk: &Disk| {
        assert_eq!(disk.virtual_size(), 4 * GIB);
        for (at, text) in [(4096, "a"), (GIB, "b"), (2 * GIB, "c"), (3 * GIB, "d"), (8192, "d")] {
            assert!(reads(disk, at, text).await, "{at} {text}");
        }
    };
    let disk = disks.disk(server, root).await.expect("disk").expect("there");
    assert_eq!(depth(&disk).await, 5);
    shows(&disk).await;
    // A crash in the middle: all was written, no name has changed.
    let stack = disks.stack(server, root).await.expect("stack").expect("there");
    let lowest = stack.below.last().expect("layers");
    qemu_img::commit(disk.path(), &disks.tree.path(lowest)).await.expect("commit");
    shows(&disk).await;
    disks.merge_layers(server, root).await.expect("merge");
    disks.merge_layers(server, root).await.expect("again");
    let disk = disks.disk(server, root).await.expect("disk").expect("there");
    assert_eq!(depth(&disk).await, 2);
    shows(&disk).await;
    assert_eq!(host.files(server), ["disk"]);
}

#[tokio::test]
async fn the_chain_never_grows_beyond_its_bound() {
    let host = host();
    let (disks, root) = (&host.disks, DiskRole::Root);
    let image = host.image(b"system").await;
    let server = ServerId::random();
    disks.ensure_root_disk(server, &image, 1).await.expect("disk");
    for number in 1..=7 {
        let disk = disks.begin_resize(server, root, number, GIB).await.expect("resize");
        assert!(depth(&disk).await <= MAX_LAYERS + 2);
        write(&disk, 65536 * number.unsigned_abs(), "x").await;
    }
    disks.revert_resize(server, root, 7).await.expect("revert");
    let disk = disks.disk(server, root).await.expect("disk").expect("there");
    for number in 1..=6 {
        assert!(reads(&disk, 65536 * number, "x").await, "{number}");
    }
    assert!(!reads(&disk, 65536 * 7, "x").await);
}

#[tokio::test]
async fn an_ephemeral_disk_is_layered_by_name_alone() {
    let host = host();
    let (disks, role) = (&host.disks, DiskRole::Ephemeral(0));
    let server = ServerId::random();
    let raw = disks.ensure_blank_disk(server, role, 1024).await.expect("disk");
    write(&raw, 1 << 20, "a").await;
    let first = disks.begin_resize(server, role, 1, 2 * GIB).await.expect("resize");
    assert_eq!((first.format(), first.virtual_size()), (DiskFormat::Qcow2, 2 * GIB));
    assert!(reads(&first, 1 << 20, "a").await);
    write(&first, 1 << 20, "b").await;
    let second = disks.begin_resize(server, role, 2, 0).await.expect("resize");
    assert_eq!(disks.begin_resize(server, role, 2, 0).await.expect("again"), second);
    assert_eq!(second.virtual_size(), 2 * GIB);
    write(&second, 2 << 20, "c").await;
    disks.merge_layers(server, role).await.expect("merge");
    let merged = disks.disk(server, role).await.expect("disk").expect("there");
    assert_eq!(depth(&merged).await, 2);
    assert!(reads(&merged, 1 << 20, "b").await && reads(&merged, 2 << 20, "c").await);
    assert!(reads(&raw, 1 << 20, "a").await, "what is below is untouched");
    let third = disks.begin_resize(server, role, 3, 0).await.expect("resize");
    write(&third, 1 << 20, "d").await;
    disks.revert_resize(server, role, 3).await.expect("revert");
    assert!(reads(&disks.disk(server, role).await.expect("disk").expect("there"), 1 << 20, "b").await);
    disks.remove_disk(server, role).await.expect("remove");
    assert_eq!(host.files(server), Vec::<String>::new());
}
