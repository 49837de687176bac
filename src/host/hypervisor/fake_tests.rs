use super::*;
use crate::host::faults::Fault;
use crate::host::hypervisor::Hypervisor;
use crate::host::hypervisor::spec::{Firmware, VideoModel};

fn spec(number: u32) -> DomainSpec {
    DomainSpec {
        id: ServerId::random(),
        name: format!("instance-{number:08x}"),
        display_name: "web".into(),
        flavor_name: "m1.tiny".into(),
        project_id: "p".into(),
        user_id: "u".into(),
        vcpus: 1,
        memory_mib: 64,
        firmware: Firmware::Bios,
        machine: None,
        disks: Vec::new(),
        nics: Vec::new(),
        console_log: "/nowhere/console.log".into(),
        video: VideoModel::Virtio,
        spare_ports: 0,
    }
}

#[tokio::test]
async fn a_life_ends_as_it_began() {
    let fake = FakeHypervisor::new();
    let before = fake.inventory();
    let mut events = fake.events();
    let spec = spec(1);
    fake.define(&spec).await.unwrap();
    fake.start(spec.id).await.unwrap();
    fake.start(spec.id).await.unwrap();
    assert_eq!(fake.state(spec.id).await.unwrap(), Some(DomainState::Running));
    assert!(matches!(fake.undefine(spec.id).await, Err(HypervisorError::WrongState(_))));
    fake.destroy(spec.id).await.unwrap();
    fake.undefine(spec.id).await.unwrap();
    fake.undefine(spec.id).await.unwrap();
    assert_eq!(fake.inventory(), before);
    assert_eq!(events.recv().await.unwrap(), HostEvent::DomainChanged(spec.id));
}

#[tokio::test]
async fn slow_and_deaf_guests() {
    let fake = FakeHypervisor::new();
    let spec = spec(1);
    fake.define(&spec).await.unwrap();
    fake.start(spec.id).await.unwrap();
    fake.set_manners(spec.id, Manners::Deaf);
    fake.request_shutdown(spec.id).await.unwrap();
    assert_eq!(fake.state(spec.id).await.unwrap(), Some(DomainState::Running));
    fake.set_manners(spec.id, Manners::AfterLooks(2));
    fake.request_shutdown(spec.id).await.unwrap();
    assert_eq!(fake.state(spec.id).await.unwrap(), Some(DomainState::Running));
    assert_eq!(fake.state(spec.id).await.unwrap(), Some(DomainState::ShutOff));
}

#[tokio::test]
async fn foreign_domains_are_left_alone() {
    let fake = FakeHypervisor::new();
    let spec = spec(1);
    fake.plant_foreign(spec.id, "somebody-else");
    let before = fake.inventory();
    assert!(matches!(fake.define(&spec).await, Err(HypervisorError::Foreign(_))));
    assert!(matches!(fake.start(spec.id).await, Err(HypervisorError::NotFound(_))));
    fake.destroy(spec.id).await.unwrap();
    fake.undefine(spec.id).await.unwrap();
    assert_eq!(fake.state(spec.id).await.unwrap(), None);
    assert_eq!(fake.inventory(), before);
}

#[tokio::test]
async fn a_failure_after_the_work_leaves_the_work() {
    let fake = FakeHypervisor::new();
    let spec = spec(1);
    fake.define(&spec).await.unwrap();
    fake.faults().nth(Call::Start, 1, Fault::FailAfter(Failure::Deadline));
    assert!(matches!(fake.start(spec.id).await, Err(HypervisorError::Deadline { .. })));
    assert_eq!(fake.state(spec.id).await.unwrap(), Some(DomainState::Running));
}

#[tokio::test]
async fn saved_memory_is_where_a_guest_goes_on() {
    let fake = FakeHypervisor::new();
    let spec = spec(1);
    fake.define(&spec).await.unwrap();
    fake.start(spec.id).await.unwrap();
    fake.pause(spec.id).await.unwrap();
    assert!(matches!(fake.start(spec.id).await, Err(HypervisorError::WrongState(_))));
    fake.unpause(spec.id).await.unwrap();
    fake.save(spec.id).await.unwrap();
    fake.save(spec.id).await.unwrap();
    assert_eq!(fake.state(spec.id).await.unwrap(), Some(DomainState::Saved));
    fake.start(spec.id).await.unwrap();
    assert_eq!(fake.inventory().domains[&spec.id].boots, 1);
    fake.save(spec.id).await.unwrap();
    fake.discard_saved(spec.id).await.unwrap();
    fake.start(spec.id).await.unwrap();
    assert_eq!(fake.inventory().domains[&spec.id].boots, 2);
}
