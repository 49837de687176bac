//! The driver over libvirt's in-process test driver: no QEMU, no daemon, but libvirt's real library and rules.

use super::super::domain_xml::MARK_NAMESPACE;
use super::super::ownership::owner_in;
use super::*;
use std::time::Duration;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

/// A host of its own: the test driver reads its world from a file, and each opening is a world of its own.
struct World {
    _folder: tempfile::TempDir,
    host: Arc<LibvirtHost>,
    owner: Uuid,
}

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.xml");
    std::fs::write(
        &file,
        "<node><cpu><mhz>1000</mhz><model>test</model><active>2</active><nodes>1</nodes><sockets>1</sockets>\
         <cores>2</cores><threads>1</threads></cpu><memory>4194304</memory></node>",
    )
    .unwrap();
    let owner = Uuid::from_u128(77);
    let host = LibvirtHost::connect(LibvirtConfig {
        uri: format!("test://{}", file.display()),
        virt_type: VirtTypeSetting::Qemu,
        installation: owner,
        probe_cache: folder.path().join("probe.json"),
    });
    World { _folder: folder, host, owner }
}

impl World {
    /// Defines a domain of the only type that the test driver takes.
    async fn plant(&self, id: ServerId, name: &str, owner: Option<Uuid>) {
        let mark = owner.map_or_else(String::new, |owner| {
            format!(
                "<metadata><d:instance xmlns:d='{MARK_NAMESPACE}' owner='{owner}'><d:name>n</d:name>\
                 </d:instance></metadata>"
            )
        });
        let xml = format!(
            "<domain type='test'><name>{name}</name><uuid>{id}</uuid>{mark}<memory>65536</memory>\
             <os><type>hvm</type></os></domain>"
        );
        let call = Call { name: "plant", seconds: 10, lane: Lane::Quick };
        self.host
            .connection
            .call(call, move |connect| {
                connect.define_domain_xml(&xml).map(drop).map_err(|error| translate("plant", error))
            })
            .await
            .unwrap();
    }
}

async fn changed(events: &mut broadcast::Receiver<HostEvent>, id: ServerId) {
    loop {
        if timeout(SOON, events.recv()).await.unwrap().unwrap() == HostEvent::DomainChanged(id) {
            return;
        }
    }
}

#[tokio::test]
async fn a_life() {
    let world = world();
    let id = ServerId::random();
    world.plant(id, "instance-00000001", Some(world.owner)).await;
    let mut events = world.host.events();
    assert_eq!(world.host.state(id).await.unwrap(), Some(DomainState::ShutOff));
    world.host.start(id).await.unwrap();
    changed(&mut events, id).await;
    world.host.start(id).await.unwrap();
    assert_eq!(world.host.domains().await.unwrap(), [(id, DomainState::Running)]);
    assert!(matches!(world.host.undefine(id).await, Err(HypervisorError::WrongState(_))));
    for _ in 0..2 {
        world.host.pause(id).await.unwrap();
    }
    assert_eq!(world.host.state(id).await.unwrap(), Some(DomainState::Paused));
    for _ in 0..2 {
        world.host.unpause(id).await.unwrap();
    }
    for _ in 0..2 {
        world.host.save(id).await.unwrap();
    }
    assert_eq!(world.host.state(id).await.unwrap(), Some(DomainState::Saved));
    world.host.start(id).await.unwrap();
    world.host.save(id).await.unwrap();
    for _ in 0..2 {
        world.host.discard_saved(id).await.unwrap();
    }
    assert_eq!(world.host.state(id).await.unwrap(), Some(DomainState::ShutOff));
    assert!(matches!(world.host.pause(id).await, Err(HypervisorError::WrongState(_))));
    assert!(matches!(world.host.statistics(id).await, Err(HypervisorError::WrongState(_))));
    world.host.start(id).await.unwrap();
    world.host.destroy(id).await.unwrap();
    world.host.destroy(id).await.unwrap();
    assert_eq!(world.host.state(id).await.unwrap(), Some(DomainState::ShutOff));
    assert!(world.host.request_shutdown(id).await.is_err());
}

#[tokio::test]
async fn what_is_absent_is_absent() {
    let world = world();
    let id = ServerId::random();
    world.host.undefine(id).await.unwrap();
    world.host.destroy(id).await.unwrap();
    assert_eq!(world.host.state(id).await.unwrap(), None);
    assert_eq!(world.host.domains().await.unwrap(), []);
    assert!(matches!(world.host.start(id).await, Err(HypervisorError::NotFound(missing)) if missing == id));
}

#[tokio::test]
async fn domains_of_others_do_not_exist_for_us() {
    let world = world();
    let (nobodys, others) = (ServerId::random(), ServerId::random());
    world.plant(nobodys, "somebody", None).await;
    world.plant(others, "instance-00000002", Some(Uuid::from_u128(78))).await;
    for id in [nobodys, others] {
        assert_eq!(world.host.state(id).await.unwrap(), None);
        assert!(matches!(world.host.start(id).await, Err(HypervisorError::NotFound(_))));
        assert!(matches!(world.host.request_shutdown(id).await, Err(HypervisorError::NotFound(_))));
        world.host.destroy(id).await.unwrap();
        world.host.undefine(id).await.unwrap();
    }
    assert_eq!(world.host.domains().await.unwrap(), []);
    let call = Call { name: "count", seconds: 10, lane: Lane::Quick };
    let count = world.host.connection.call(call, |connect| Ok(connect.list_all_domains(0).unwrap().len()));
    assert_eq!(count.await.unwrap(), 2);
}

#[tokio::test]
async fn a_call_that_hangs_ends_at_its_deadline_and_blocks_only_its_domain() {
    let world = world();
    let (hung, healthy) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let call = |domain| Call { name: "probe", seconds: 1, lane: Lane::OneByOne(domain) };
    let (release, held) = std::sync::mpsc::channel::<()>();
    let hanging = world.host.connection.call(call(hung), move |_| {
        held.recv().ok();
        Ok(())
    });
    assert!(matches!(hanging.await, Err(HypervisorError::Deadline { call: "probe", seconds: 1 })));
    let behind = world.host.connection.call(call(hung), |_| Ok(()));
    assert!(matches!(behind.await, Err(HypervisorError::Deadline { .. })));
    world.host.connection.call(call(healthy), |_| Ok(())).await.unwrap();
    let quick = Call { name: "quick", seconds: 1, lane: Lane::Quick };
    world.host.connection.call(quick, |_| Ok(())).await.unwrap();
    release.send(()).unwrap();
    timeout(SOON, async { while world.host.connection.call(call(hung), |_| Ok(())).await.is_err() {} })
        .await
        .unwrap();
}

#[tokio::test]
async fn without_libvirt_calls_say_that_it_cannot_be_reached() {
    let host = LibvirtHost::connect(LibvirtConfig {
        uri: "test:///no/such/file.xml".into(),
        virt_type: VirtTypeSetting::Auto,
        installation: Uuid::from_u128(1),
        probe_cache: "/no/such/folder/probe.json".into(),
    });
    let answer = host.state(ServerId::random()).await;
    assert!(matches!(answer, Err(HypervisorError::Unreachable(_))), "{answer:?}");
    assert!(matches!(host.facts().await, Err(HypervisorError::Unreachable(_))));
}

#[tokio::test]
async fn facts_come_from_libvirt() {
    let facts = world().host.facts().await.unwrap();
    assert_eq!((facts.cpus, facts.memory_mib, facts.virt_type.as_str()), (2, 4096, "qemu"));
    assert!(facts.libvirt_version >= 6_000_000);
}

#[test]
fn the_owner_is_read_from_the_mark_only() {
    let owner = Uuid::from_u128(5);
    let mark = format!("<d:instance xmlns:d=\"{MARK_NAMESPACE}\" owner=\"{owner}\"/>");
    assert_eq!(owner_in(&mark), Some(owner));
    assert_eq!(owner_in("<instance owner='me'/>"), None);
    assert_eq!(owner_in("<instance"), None);
}

#[test]
fn the_serial_socket_is_found_in_the_live_document() {
    let xml = "<domain><devices><serial type='unix'><source mode='bind' path='/s/console.sock'/>\
               <log file='/s/console.log'/></serial></devices></domain>";
    assert_eq!(serial_path(xml), Some("/s/console.sock".into()));
    assert_eq!(serial_path("<domain/>"), None);
}

#[test]
fn an_agent_is_known_by_its_open_port() {
    let document = |name: &str, state: &str| {
        format!(
            "<domain><devices><channel type='unix'><target type='virtio' name='{name}' state='{state}'/></channel>\
             </devices></domain>"
        )
    };
    assert!(agent_connected(&document("org.qemu.guest_agent.0", "connected")));
    assert!(!agent_connected(&document("org.qemu.guest_agent.0", "disconnected")));
    assert!(!agent_connected(&document("com.redhat.spice.0", "connected")));
    assert!(!agent_connected("no document"));
}
