//! Disks under real guests: overlays, shared bases, resizes, captures, config drives, console logs.

use super::surroundings::{Installation, PATIENCE, run, shared, virsh};
use bytes::Bytes;
use dwarfnova::core::ids::{ImageId, ServerId};
use dwarfnova::host::disk::{Disk, DiskRole, ImageFormat, ImageStore, ServerDisks, Tree, VettedImage};
use dwarfnova::host::guest::{CONFIG_DRIVE_LABEL, Ec2Facts, GuestDocuments, iso9660};
use dwarfnova::host::hypervisor::Hypervisor;
use dwarfnova::host::hypervisor::spec::{DiskBus, DiskDevice, DiskFormat, DiskSpec, DomainSpec};
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Files {
    here: Installation,
    images: ImageStore,
    disks: ServerDisks,
}

impl Files {
    fn new() -> Self {
        let here = Installation::new();
        let tree = Arc::new(Tree::open(&here.folder.path().join("state"), 0).unwrap());
        let images = ImageStore::new(Arc::clone(&tree), 1 << 40);
        Self { here, disks: ServerDisks::new(tree, images.clone()), images }
    }

    async fn upload(&self, path: &Path) -> VettedImage {
        let id = ImageId::random();
        let mut upload = self.images.begin_upload(id, ImageFormat::Qcow2, u64::MAX).await.unwrap();
        for chunk in std::fs::read(path).unwrap().chunks(1 << 16) {
            upload.write(Bytes::copy_from_slice(chunk)).await.unwrap();
        }
        upload.finish().await.unwrap();
        self.images.vet(id, ImageFormat::Qcow2).await.unwrap()
    }

    fn guest(&self, disk: &Disk, config_drive: PathBuf) -> DomainSpec {
        let mut spec = self.here.guest();
        spec.memory_mib = 128;
        spec.console_log = self.disks.console_log(spec.id);
        let file = |path: PathBuf, format, target: &str, read_only: bool| DiskSpec {
            path,
            format,
            device: DiskDevice::Disk,
            bus: DiskBus::Virtio,
            target: target.into(),
            serial: None,
            name: None,
            boot_order: (!read_only).then_some(1),
            read_only,
        };
        spec.disks.push(file(disk.path().to_owned(), disk.format(), "vda", false));
        spec.disks.push(file(config_drive, DiskFormat::Raw, "vdb", true));
        spec
    }

    /// Starts the guest and waits until it has said all of `lines` once more.
    async fn boot(&self, spec: &DomainSpec, server: ServerId, lines: &[&str]) {
        let before = self.console(server).await;
        self.here.host.define(spec).await.unwrap();
        self.here.host.start(spec.id).await.unwrap();
        let deadline = Instant::now() + 3 * PATIENCE;
        loop {
            let console = self.console(server).await;
            let new = console.strip_prefix(&before).unwrap_or(&console);
            if lines.iter().all(|line| new.contains(line)) {
                return;
            }
            assert!(Instant::now() < deadline, "not all of {lines:?} in {new}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn console(&self, server: ServerId) -> String {
        let bytes = self.disks.read_console_tail(server, None, 1 << 20).await.unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn documents(id: ServerId) -> GuestDocuments {
    GuestDocuments {
        id,
        name: "disks".into(),
        hostname: "disks.example.org".into(),
        project_id: "project".into(),
        availability_zone: None,
        launch_index: 0,
        key: None,
        meta: BTreeMap::new(),
        admin_password: None,
        user_data: Some(b"#!/bin/sh\necho \"SUM $(dd if=/dev/zero bs=1M count=8 | md5sum)\" >/root/sum; cat /root/sum; sync\n".to_vec()),
        random_seed: vec![3; 512],
        files: vec![("/etc/injected".into(), b"here".to_vec())],
        nics: Vec::new(),
        devices: Vec::new(),
        ec2: Ec2Facts::default(),
    }
}

fn assert_sealed(base: &Path) {
    let facts = std::fs::metadata(base).unwrap();
    assert_eq!((facts.uid(), facts.mode() & 0o777), (0, 0o440), "{}", base.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_boots_from_an_overlay_is_resized_reverted_and_captured() {
    let Some(_turn) = shared("disks::a_guest_boots_from_an_overlay").await else { return };
    let Some(guest) = std::env::var_os("DWARFNOVA_TEST_GUEST") else {
        writeln!(
            std::io::stderr(),
            "skipped: disks needs DWARFNOVA_TEST_GUEST, an image of tests/guest/build"
        )
        .unwrap();
        return;
    };
    let files = Files::new();
    let image = files.upload(Path::new(&guest)).await;
    let server = ServerId::random();
    let disk = files.disks.ensure_root_disk(server, &image, 1).await.unwrap();
    let drive = documents(server).config_drive();
    let drive = iso9660::write(CONFIG_DRIVE_LABEL, &drive, jiff::Timestamp::UNIX_EPOCH).unwrap();
    let drive = files.disks.ensure_config_drive(server, drive).await.unwrap();
    let mut spec = files.guest(&disk, drive);
    spec.console_log = files.disks.console_log(server);
    let base = files.images.base_path(image.id());

    let found = format!("metadata config-drive {server}");
    let lines =
        ["disk vda size_mib=1024", found.as_str(), "hostname disks", "file /etc/injected", "SUM ", "ready "];
    files.boot(&spec, server, &lines).await;
    assert_sealed(&base);
    let chain = virsh(&["dumpxml", &spec.name]);
    assert!(chain.contains("relabel='no'"), "{chain}");
    // Neither a deleted image nor a second guest on it disturbs the first.
    files.images.delete(image.id()).await.unwrap();
    assert!(files.disks.disk_usage(server).await.unwrap() > 1 << 20);

    files.here.host.destroy(spec.id).await.unwrap();
    let grown = files.disks.begin_resize(server, DiskRole::Root, 1, 2 << 30).await.unwrap();
    assert_eq!(grown.path(), disk.path());
    files.boot(&spec, server, &["disk vda size_mib=2048", "ready "]).await;
    assert_sealed(&base);
    files.here.host.destroy(spec.id).await.unwrap();
    files.disks.revert_resize(server, DiskRole::Root, 1).await.unwrap();
    files.boot(&spec, server, &["disk vda size_mib=1024", "ready "]).await;
    files.here.host.destroy(spec.id).await.unwrap();
    run("qemu-img", &["check", "-q", "-f", "qcow2", disk.path().to_str().unwrap()]);

    let captured = ImageId::random();
    files.disks.capture(server).await.unwrap();
    let facts = files.disks.publish_capture(server, captured).await.unwrap();
    assert_eq!(facts.virtual_size, 1 << 30);
    let captured = files.images.vet(captured, ImageFormat::Qcow2).await.unwrap();
    files.here.remove(&spec).await;
    files.disks.remove_server(server).await.unwrap();
    files.images.remove_base(image.id()).await.unwrap();
    let copy = ServerId::random();
    let disk = files.disks.ensure_root_disk(copy, &captured, 0).await.unwrap();
    let mut spec = files.guest(&disk, files.disks.config_drive(copy));
    spec.disks.pop();
    spec.console_log = files.disks.console_log(copy);
    files.boot(&spec, copy, &["ready "]).await;
    files.here.remove(&spec).await;
    files.disks.remove_server(copy).await.unwrap();
    assert!(files.disks.disk(copy, DiskRole::Root).await.unwrap().is_none());
}
