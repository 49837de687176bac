//! Domains: their life, those of others, and what happens when libvirtd or a QEMU misbehaves.

use super::surroundings::{
    Installation, PATIENCE, alone, kill_libvirtd, qemu_pid, shared, signal, start_libvirtd, virsh,
    wait_for_event,
};
use dwarfnova::core::ids::ServerId;
use dwarfnova::host::hypervisor::libvirt::{VirtType, VirtTypeSetting};
use dwarfnova::host::hypervisor::{DomainState, HostEvent, Hypervisor, HypervisorError};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn a_life() {
    let Some(_turn) = shared("domains::a_life").await else { return };
    let here = Installation::new();
    let mut events = here.host.events();
    let mut spec = here.guest();
    here.host.define(&spec).await.unwrap();
    wait_for_event(&mut events, HostEvent::DomainChanged(spec.id)).await;
    assert_eq!(here.host.state(spec.id).await.unwrap(), Some(DomainState::ShutOff));
    here.host.start(spec.id).await.unwrap();
    here.host.start(spec.id).await.unwrap();
    assert_eq!(here.host.domains().await.unwrap(), [(spec.id, DomainState::Running)]);

    // A new definition waits for the next start and keeps the UUID.
    spec.memory_mib = 48;
    here.host.define(&spec).await.unwrap();
    assert_eq!(here.host.state(spec.id).await.unwrap(), Some(DomainState::Running));
    assert!(virsh(&["dumpxml", &spec.name]).contains("<memory unit='KiB'>32768<"));
    assert!(virsh(&["dumpxml", "--inactive", &spec.name]).contains("<memory unit='KiB'>49152<"));

    assert!(matches!(here.host.undefine(spec.id).await, Err(HypervisorError::WrongState(_))));
    assert_eq!(virsh(&["domstate", &spec.name]), "running");
    assert!(spec.console_log.exists());

    virsh(&["managedsave", &spec.name]);
    here.wait_for_state(spec.id, DomainState::Saved).await;
    assert_eq!(here.host.domains().await.unwrap(), [(spec.id, DomainState::Saved)]);
    here.host.start(spec.id).await.unwrap();
    virsh(&["suspend", &spec.name]);
    here.wait_for_state(spec.id, DomainState::Paused).await;
    virsh(&["resume", &spec.name]);
    virsh(&["managedsave", &spec.name]);

    here.host.destroy(spec.id).await.unwrap();
    let off = here.host.request_shutdown(spec.id).await;
    assert!(matches!(off, Err(HypervisorError::WrongState(_))), "{off:?}");
    here.host.undefine(spec.id).await.unwrap();
    here.host.undefine(spec.id).await.unwrap();
    here.host.destroy(spec.id).await.unwrap();
    assert_eq!(here.host.domains().await.unwrap(), []);
    assert!(!virsh(&["list", "--all", "--name"]).contains(&spec.name));
    let saved = std::path::Path::new("/var/lib/libvirt/qemu/save").join(format!("{}.save", spec.name));
    assert!(!saved.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn domains_of_others_are_not_touched() {
    let Some(_turn) = shared("domains::domains_of_others_are_not_touched").await else { return };
    let (here, other) = (Installation::new(), Installation::new());
    let theirs = other.running_guest().await;
    let before = virsh(&["dumpxml", &theirs.name]);

    assert_eq!(here.host.state(theirs.id).await.unwrap(), None);
    assert_eq!(here.host.domains().await.unwrap(), []);
    let same_id = here.host.define(&theirs).await;
    assert!(matches!(same_id, Err(HypervisorError::Foreign(_))), "{same_id:?}");
    let mut same_name = theirs.clone();
    same_name.id = ServerId::random();
    assert!(matches!(here.host.define(&same_name).await, Err(HypervisorError::Foreign(_))));
    assert!(matches!(here.host.start(theirs.id).await, Err(HypervisorError::NotFound(_))));
    assert!(matches!(here.host.open_display(theirs.id).await, Err(HypervisorError::NotFound(_))));
    here.host.destroy(theirs.id).await.unwrap();
    here.host.undefine(theirs.id).await.unwrap();

    assert_eq!(virsh(&["dumpxml", &theirs.name]), before);
    other.remove(&theirs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_that_takes_the_uuid_of_ours_is_not_touched() {
    let name = "domains::a_domain_that_takes_the_uuid_of_ours_is_not_touched";
    let Some(_turn) = shared(name).await else { return };
    let (here, other) = (Installation::new(), Installation::new());
    let ours = here.running_guest().await;
    here.host.pause(ours.id).await.unwrap();
    here.host.unpause(ours.id).await.unwrap();
    virsh(&["destroy", &ours.name]);
    virsh(&["undefine", &ours.name]);
    assert!(matches!(here.host.pause(ours.id).await, Err(HypervisorError::NotFound(_))));

    let mut theirs = other.guest();
    theirs.id = ours.id;
    other.host.define(&theirs).await.unwrap();
    other.host.start(theirs.id).await.unwrap();
    let before = virsh(&["dumpxml", &theirs.name]);
    assert!(matches!(here.host.pause(ours.id).await, Err(HypervisorError::NotFound(_))));
    assert!(matches!(here.host.start(ours.id).await, Err(HypervisorError::NotFound(_))));
    here.host.destroy(ours.id).await.unwrap();
    here.host.undefine(ours.id).await.unwrap();
    assert_eq!(virsh(&["dumpxml", &theirs.name]), before);
    assert_eq!(virsh(&["domstate", &theirs.name]), "running");
    other.remove(&theirs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn display_and_serial_port_can_be_opened() {
    let Some(_turn) = shared("domains::display_and_serial_port_can_be_opened").await else { return };
    let here = Installation::new();
    let spec = here.running_guest().await;
    let display = UnixStream::from(here.host.open_display(spec.id).await.unwrap());
    display.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut greeting = [0u8; 12];
    (&display).read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"RFB 003.008\n");
    here.host.open_serial(spec.id).await.unwrap();
    here.host.destroy(spec.id).await.unwrap();
    assert!(matches!(here.host.open_serial(spec.id).await, Err(HypervisorError::WrongState(_))));
    assert!(matches!(here.host.open_display(spec.id).await, Err(HypervisorError::WrongState(_))));
    here.remove(&spec).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_qemu_is_reported_as_a_crash() {
    let Some(_turn) = shared("domains::a_dead_qemu_is_reported_as_a_crash").await else { return };
    let here = Installation::new();
    let spec = here.running_guest().await;
    let mut events = here.host.events();
    signal("-KILL", &qemu_pid(&spec.name));
    wait_for_event(&mut events, HostEvent::DomainChanged(spec.id)).await;
    here.wait_for_state(spec.id, DomainState::Crashed).await;
    assert_eq!(here.host.domains().await.unwrap(), [(spec.id, DomainState::Crashed)]);
    here.host.start(spec.id).await.unwrap();
    here.remove(&spec).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_qemu_disturbs_nobody_else() {
    let Some(_turn) = shared("domains::a_hanging_qemu_disturbs_nobody_else").await else { return };
    let here = Installation::new();
    let hung = here.running_guest().await;
    let healthy = here.running_guest().await;
    signal("-STOP", &qemu_pid(&hung.name));

    // More calls than libvirtd answers one client at a time, all about the guest that hangs.
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (host, id) = (here.host.clone(), hung.id);
            tokio::spawn(async move { host.request_shutdown(id).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;

    let begun = Instant::now();
    assert_eq!(here.host.state(hung.id).await.unwrap(), Some(DomainState::Running));
    assert_eq!(here.host.domains().await.unwrap().len(), 2);
    here.host.request_shutdown(healthy.id).await.unwrap();
    here.host.destroy(healthy.id).await.unwrap();
    here.host.start(healthy.id).await.unwrap();
    // Who waits for the guest that hangs waits for thirty seconds.
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());

    let begun = Instant::now();
    let of_healthy = here.host.statistics(healthy.id).await.unwrap().unwrap();
    assert!(of_healthy.memory_maximum_kib.is_some() && of_healthy.cpu_time_ns > Some(0), "{of_healthy:?}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    // What needs no QEMU is known of the one that hangs, too.
    let of_hung = here.host.statistics(hung.id).await.unwrap().unwrap();
    assert!(of_hung.cpu_time_ns > Some(0) && of_hung.vcpu_time_ns.is_empty(), "{of_hung:?}");
    for _ in 0..2 {
        let all = here.host.all_statistics().await.unwrap();
        println!("figures: {:?}", begun.elapsed());
        assert!(all.iter().any(|(id, each)| *id == healthy.id && each.cpu_time_ns > Some(0)), "{all:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());

    timeout(PATIENCE, here.host.destroy(hung.id)).await.unwrap().unwrap();
    for call in calls {
        timeout(PATIENCE, call).await.unwrap().unwrap().unwrap_err();
    }
    here.wait_for_state(hung.id, DomainState::ShutOff).await;
    here.remove(&hung).await;
    here.remove(&healthy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_outlive_libvirtd_and_the_link_comes_back() {
    let Some(_turn) = alone("domains::guests_outlive_libvirtd_and_the_link_comes_back").await else {
        return;
    };
    let here = Installation::new();
    let spec = here.running_guest().await;
    let pid = qemu_pid(&spec.name);
    let mut events = here.host.events();
    kill_libvirtd();
    wait_for_event(&mut events, HostEvent::Disconnected).await;
    let blind = here.host.state(spec.id).await;
    assert!(matches!(blind, Err(HypervisorError::Unreachable(_))), "{blind:?}");
    start_libvirtd();
    wait_for_event(&mut events, HostEvent::Reconnected).await;
    here.wait_for_state(spec.id, DomainState::Running).await;
    assert_eq!(qemu_pid(&spec.name), pid);

    // Events come over the new link, too.
    let mut events = here.host.events();
    signal("-KILL", &pid);
    wait_for_event(&mut events, HostEvent::DomainChanged(spec.id)).await;
    here.wait_for_state(spec.id, DomainState::Crashed).await;
    here.remove(&spec).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_libvirtd_that_hangs_is_noticed() {
    let Some(_turn) = alone("domains::a_libvirtd_that_hangs_is_noticed").await else { return };
    let here = Installation::new();
    let spec = here.running_guest().await;
    let mut events = here.host.events();
    let libvirtd = std::fs::read_to_string("/run/libvirtd.pid").unwrap().trim().to_owned();
    signal("-STOP", &libvirtd);
    let answer = timeout(PATIENCE, here.host.state(spec.id)).await.unwrap();
    assert!(
        matches!(answer, Err(HypervisorError::Deadline { .. } | HypervisorError::Unreachable(_))),
        "{answer:?}"
    );
    wait_for_event(&mut events, HostEvent::Disconnected).await;
    signal("-CONT", &libvirtd);
    wait_for_event(&mut events, HostEvent::Reconnected).await;
    here.wait_for_state(spec.id, DomainState::Running).await;
    here.remove(&spec).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kvm_is_used_only_if_a_guest_runs_under_it() {
    let Some(_turn) = shared("domains::kvm_is_used_only_if_a_guest_runs_under_it").await else { return };
    let here = Installation::with_virt_type(VirtTypeSetting::Auto);
    let found = here.host.virt_type().await.unwrap();
    assert_eq!(here.host.facts().await.unwrap().virt_type, found.name());
    // Whatever was found: guests run.
    let spec = here.running_guest().await;
    here.wait_for_state(spec.id, DomainState::Running).await;
    here.remove(&spec).await;
    assert!(!virsh(&["list", "--all", "--name"]).contains("probe"));

    let text = std::fs::read_to_string(here.folder.path().join("probe.json")).unwrap();
    assert!(text.contains(&format!("\"kvm\":{}", found == VirtType::Kvm)), "{text}");
}
