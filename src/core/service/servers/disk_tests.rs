//! What callers wish for servers' disks: what is admitted, and what becomes of it.

use super::Destination;
use super::tests::refusal;
use crate::core::Kind;
use crate::core::port::{Networking, NicRequest};
use crate::core::server::create::{CreateServer, LocalDisks};
use crate::core::server::disks::{BlankDisk, DiskWish};
use crate::core::server::state::VmState;
use crate::core::workflow::testing::{Bench, LARGE, owner};
use crate::core::workflow::tests::rebuild;
use crate::host::hypervisor::spec::{DiskBus, DiskSpec};
use crate::store::StoreError;

const TOO_LARGE: &str = "Ephemeral disks requested are larger than the instance type allows. If no size is given in one \
    block device mapping, flavor ephemeral size will be used.";

type Sizes = &'static [Option<u64>];

fn blank(sizes: Sizes) -> Vec<BlankDisk> {
    sizes.iter().map(|size| BlankDisk { size: *size, ..BlankDisk::default() }).collect()
}

#[tokio::test]
async fn disks_that_are_asked_for_fit_the_flavor() {
    let bench = Bench::new();
    let process = bench.start().await;
    let disks = |ephemeral: Sizes, swap: Sizes| {
        let count = 1 + ephemeral.len() + swap.len();
        let (ephemeral, swap) = (blank(ephemeral), blank(swap));
        let local_disks = LocalDisks { count, ephemeral, swap, ..LocalDisks::default() };
        CreateServer { local_disks, ..bench.command("web") }
    };
    // The flavor has 1 GiB and 64 MiB.
    let granted: [(Sizes, Sizes, u64); 5] = [
        (&[Some(1)], &[Some(64)], 64),
        (&[None], &[None], 64),
        (&[], &[Some(64)], 64),
        (&[Some(1)], &[], 64),
        (&[], &[Some(8)], 8),
    ];
    for (ephemeral, swap, swap_mib) in granted {
        let id = process.create(disks(ephemeral, swap)).await;
        process.tasks.settled().await.unwrap();
        let plan = bench.storage.inventory()[&id].clone();
        assert_eq!((plan.ephemeral_gib, plan.swap_mib), (vec![1], swap_mib));
    }
    let refused: [(Sizes, Sizes, &str); 5] = [
        (&[Some(2)], &[], TOO_LARGE),
        (&[Some(1), Some(1)], &[], TOO_LARGE),
        (&[None, None], &[], TOO_LARGE),
        (&[], &[Some(65)], "Swap drive requested is larger than instance type allows."),
        (&[], &[None, None], "Block Device Mapping is Invalid: More than one swap drive requested."),
    ];
    for (ephemeral, swap, words) in refused {
        assert_eq!(refusal(&process, disks(ephemeral, swap)).await, (Kind::Invalid, words.to_owned()));
    }
}

#[tokio::test]
async fn several_ephemeral_disks_stay_what_they_are() {
    let bench = Bench::new();
    let process = bench.start().await;
    let local_disks = LocalDisks { count: 3, ephemeral: blank(&[Some(1), Some(1)]), ..LocalDisks::default() };
    let command = CreateServer { flavor_id: LARGE.into(), local_disks, ..bench.command("web") };
    let id = process.create(command).await;
    process.tasks.settled().await.unwrap();
    let sizes = || bench.storage.inventory()[&id].ephemeral_gib.clone();
    assert_eq!(sizes(), [1, 1]);
    let paths = |bench: &Bench| {
        let domain = bench.hypervisor.inventory().domains[&id].spec.clone();
        let name = |disk: &DiskSpec| disk.path.file_name().unwrap().to_string_lossy().into_owned();
        domain.disks.iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(paths(&bench)[1..3], ["disk.eph0", "disk.eph1"]);
    process.servers.rebuild(&owner(), id, rebuild(&bench)).await.unwrap();
    process.tasks.settled().await.unwrap();
    assert_eq!(sizes(), [1, 1]);
    assert_eq!(paths(&bench)[1..3], ["disk.eph0", "disk.eph1"]);
}

#[tokio::test]
async fn a_small_ephemeral_disk_stays_small_in_a_larger_flavor() {
    let bench = Bench::new();
    let process = bench.start().await;
    let local_disks = LocalDisks { count: 1, ephemeral: blank(&[Some(1)]), ..LocalDisks::default() };
    let id = process.create(CreateServer { local_disks, ..bench.command("web") }).await;
    process.tasks.settled().await.unwrap();
    process.servers.resize(&owner(), id, LARGE.into(), None).await.unwrap();
    process.tasks.settled().await.unwrap();
    let plan = bench.storage.inventory()[&id].clone();
    assert_eq!((plan.root_gib, plan.ephemeral_gib), (3, vec![1]));
    process.servers.revert_resize(&owner(), id).await.unwrap();
    process.tasks.settled().await.unwrap();
    let plan = bench.storage.inventory()[&id].clone();
    assert_eq!((plan.root_gib, plan.ephemeral_gib), (1, vec![1]));
}

#[tokio::test]
async fn config_drives_tell_where_devices_with_tags_are() {
    let bench = Bench::new();
    let process = bench.start().await;
    let network = process.store.read::<_, StoreError, _>(|c| {
        Ok(c.query_row("SELECT id FROM network", [], |row| row.get::<_, String>(0))?)
    });
    let network = network.await.unwrap().parse().ok();
    let nic =
        |tag: Option<&str>| NicRequest { network, tag: tag.map(str::to_owned), ..NicRequest::default() };
    let networks = Networking::List(vec![nic(None), nic(Some("back"))]);
    let root = DiskWish { tag: Some("system".into()), ..DiskWish::default() };
    let swap = DiskWish { tag: Some("scratch".into()), bus: Some("sata".into()), ..DiskWish::default() };
    let swap = vec![BlankDisk { size: None, wish: swap }];
    let local_disks = LocalDisks { count: 2, root, swap, ..LocalDisks::default() };
    let id = process.create(CreateServer { local_disks, networks, ..bench.command("web") }).await;
    process.tasks.settled().await.unwrap();
    let mac = process.servers.show(&owner(), id).await.unwrap().nics[1].mac.to_string();
    let nic = format!(r#""type":"nic","mac":"{mac}","bus":"pci","address":"0000:02:00.0","tags":["back"]"#);
    let disk = |address: &str| {
        format!(r#""type":"disk","serial":null,"bus":"pci","address":"{address}","tags":["system"]"#)
    };
    let swap = r#""type":"disk","serial":null,"bus":"none","address":"none","tags":["scratch"]"#;
    // In each version that has devices.
    let tells = |drive: &[u8], what: &str| String::from_utf8_lossy(drive).matches(what).count() > 1;
    let check = || {
        let drive = bench.storage.inventory()[&id].config_drive.clone().unwrap();
        assert!([&nic, &disk("0000:40:00.0"), swap].into_iter().all(|what| tells(&drive, what)));
    };
    check();
    process.servers.rebuild(&owner(), id, rebuild(&bench)).await.unwrap();
    process.tasks.settled().await.unwrap();
    check();
    process.servers.shelve(&owner(), id).await.unwrap();
    process.tasks.settled().await.unwrap();
    process.servers.unshelve(&owner(), id, Destination::default()).await.unwrap();
    process.tasks.settled().await.unwrap();
    check();

    // The rescue disk is the first one, the root disk the second, and nothing else is there.
    process.servers.rescue(&owner(), id, None, None).await.unwrap();
    process.tasks.settled().await.unwrap();
    let rescue = bench.storage.inventory()[&id].rescue.clone().unwrap();
    assert!([&nic, &disk("0000:41:00.0")].into_iter().all(|what| tells(&rescue.config_drive, what)));
    assert!(!tells(&rescue.config_drive, "scratch"));
    process.servers.unrescue(&owner(), id).await.unwrap();
    process.tasks.settled().await.unwrap();
    check();
}

#[tokio::test]
async fn disks_that_this_host_has_not_are_a_fault() {
    let bench = Bench::new();
    let process = bench.start().await;
    let root = |bus: &str| {
        let root = DiskWish { bus: Some(bus.into()), ..DiskWish::default() };
        let local_disks = LocalDisks { count: 1, root, ..LocalDisks::default() };
        CreateServer { local_disks, ..bench.command("web") }
    };
    let id = process.create(root("xen")).await;
    process.tasks.settled().await.unwrap();
    let shown = process.servers.show(&owner(), id).await.unwrap();
    assert_eq!(shown.server.vm_state, VmState::Error);
    let words =
        "Requested hardware 'xen' is not supported by the 'libvirt' virt driver (block device disk_bus)";
    assert!(shown.fault.unwrap().message.contains(words));
    let id = process.create(root("scsi")).await;
    process.tasks.settled().await.unwrap();
    let row = process.row(id).await;
    assert_eq!((row.vm_state, row.root_device_name.as_deref()), (VmState::Active, Some("/dev/sda")));
    assert_eq!(bench.hypervisor.inventory().domains[&id].spec.disks[0].bus, DiskBus::Scsi);
}
