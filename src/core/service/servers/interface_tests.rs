//! Interfaces that come and go on a host in memory: what is refused and how, whose port it is afterwards, and what is left
//! when something fails.

use super::ActionQuery;
use crate::core::Kind;
use crate::core::ids::{NetworkId, PortId, ServerId};
use crate::core::port::{NicRequest, Port, PortStatus};
use crate::core::workflow::testing::{Bench, Process, admin, owner};
use crate::host::faults::{Call, Failure, Fault};
use crate::store::{StoreError, ports};
use std::net::IpAddr;
use std::time::Duration;

async fn made(bench: &Bench) -> (Process, ServerId) {
    let process = bench.start().await;
    let id = process.create(bench.command("web")).await;
    process.tasks.settled().await.unwrap();
    (process, id)
}

async fn sql(process: &Process, text: String) {
    process.store.write::<_, StoreError, _>(move |c| Ok(c.execute_batch(&text)?)).await.unwrap();
}

async fn port(process: &Process, id: PortId) -> Option<Port> {
    process.store.read::<_, StoreError, _>(move |c| ports::get(c, id)).await.unwrap()
}

/// A port of the server's project that nobody uses, on the network of its first.
async fn free_port(process: &Process, id: ServerId) -> Port {
    let mut port = process.servers.interfaces(&owner(), id).await.unwrap().remove(0);
    port.id = PortId::random();
    port.mac = "fa:16:3e:77:77:77".parse().unwrap();
    port.fixed_ips[0].address = "10.254.254.254".parse().unwrap();
    (port.made_for_server, port.device_id, port.device_owner) = (false, String::new(), String::new());
    let write = port.clone();
    process.store.write::<_, StoreError, _>(move |c| ports::put(c, &write)).await.unwrap();
    port
}

async fn refused(process: &Process, id: ServerId, request: NicRequest) -> (Kind, String) {
    let error = process.servers.attach_interface(&owner(), id, request).await.unwrap_err();
    (error.kind(), error.message().to_owned())
}

fn on(network: NetworkId) -> NicRequest {
    NicRequest { network: Some(network), ..NicRequest::default() }
}

#[tokio::test]
async fn what_cannot_be_attached_is_refused_and_leaves_nothing() {
    let bench = Bench::new();
    let (process, id) = made(&bench).await;
    let first = process.servers.interfaces(&owner(), id).await.unwrap().remove(0);
    let (network, strange) = (first.network_id, NetworkId::random());
    let at = |address: IpAddr| NicRequest { fixed_ip: Some(address), ..on(network) };
    let taken: IpAddr = first.fixed_ips[0].address.into();
    let with_port = |port| NicRequest { port: Some(port), ..NicRequest::default() };
    let nobody = PortId::random();
    let before = bench.on_host();
    for (request, kind, words) in [
        (on(strange), Kind::NotFound, format!("Network {strange} could not be found.")),
        (with_port(nobody), Kind::NotFound, format!("Port id {nobody} could not be found.")),
        (with_port(first.id), Kind::Conflict, format!("Port {} is still in use.", first.id)),
        (at(taken), Kind::Conflict, format!("Fixed IP address {taken} is already in use on instance {id}.")),
        (
            at("192.0.2.1".parse().unwrap()),
            Kind::Invalid,
            format!("Fixed IP 192.0.2.1 is not a valid ip address for network {network}."),
        ),
    ] {
        assert_eq!(refused(&process, id, request).await, (kind, words));
    }
    sql(&process, "INSERT OR REPLACE INTO quota VALUES ('owner', 'port', 1)".into()).await;
    let full = refused(&process, id, NicRequest::default()).await;
    assert_eq!(full, (Kind::Quota, "Maximum number of ports exceeded".into()));
    sql(&process, "UPDATE network SET project_id = 'other', shared = 0".into()).await;
    let none = "No specific network was requested and none are available for project 'owner'.";
    assert_eq!(refused(&process, id, NicRequest::default()).await, (Kind::Invalid, none.into()));
    for (change, words) in [
        ("vm_state = 'rescued'", "while it is in vm_state rescued"),
        ("vm_state = 'active', task_state = 'rebooting'", "while it is in task_state rebooting"),
    ] {
        sql(&process, format!("UPDATE server SET {change}")).await;
        let (kind, text) = refused(&process, id, NicRequest::default()).await;
        assert!(kind == Kind::InvalidState && text.contains(words), "{text}");
    }
    sql(&process, "UPDATE server SET task_state = NULL, locked_by = 'owner'".into()).await;
    assert_eq!(
        refused(&process, id, NicRequest::default()).await,
        (Kind::InvalidState, format!("Instance {id} is locked"))
    );
    assert_eq!(bench.on_host(), before);
    assert_eq!(process.servers.interfaces(&owner(), id).await.unwrap().len(), 1);
    let actions = process
        .servers
        .actions(&owner(), id, super::Among::All, ActionQuery { limit: 9, ..ActionQuery::default() })
        .await
        .unwrap();
    assert_eq!(actions.len(), 1, "refusals are no actions");
}

#[tokio::test]
async fn a_port_of_its_own_is_free_again_afterwards() {
    let bench = Bench::new();
    let (process, id) = made(&bench).await;
    let free = free_port(&process, id).await;
    let request = NicRequest { port: Some(free.id), tag: Some("storage".into()), ..NicRequest::default() };
    let used = process.servers.attach_interface(&owner(), id, request).await.unwrap();
    assert_eq!((used.id, used.nic_index, used.nic_tag.as_deref()), (free.id, 1, Some("storage")));
    assert_eq!((used.status, used.device_id), (PortStatus::Active, id.to_string()));
    let error = process.servers.interface(&owner(), ServerId::random(), &free.id.to_string()).await;
    assert_eq!(error.unwrap_err().kind(), Kind::NotFound);

    process.servers.detach_interface(&owner(), id, &free.id.to_string()).await.unwrap();
    process.tasks.settled().await.unwrap();
    let after = port(&process, free.id).await.unwrap();
    assert_eq!((after.device_id.as_str(), after.host_id.as_str(), after.nic_tag), ("", "", None));
    assert_eq!(after.status, PortStatus::Down);
    let gone = process.servers.interface(&owner(), id, &free.id.to_string()).await.unwrap_err();
    assert_eq!(gone.message(), format!("Instance {id} does not have a port with id {}", free.id));
    sql(&process, format!("UPDATE port SET project_id = 'other' WHERE id = '{}'", free.id)).await;
    let strange = process.servers.interface(&owner(), id, &free.id.to_string()).await.unwrap_err();
    assert_eq!(strange.message(), format!("Port id {} could not be found.", free.id));
    let again = process.servers.detach_interface(&owner(), id, &free.id.to_string()).await.unwrap_err();
    assert_eq!(
        (again.kind(), again.message()),
        (Kind::NotFound, format!("Port id {} could not be found.", free.id).as_str())
    );
    let unknown = process.servers.interface(&admin(), id, "nix").await.unwrap_err();
    assert_eq!(unknown.message(), "Port id nix could not be found.");
}

#[tokio::test]
async fn what_the_host_refuses_is_told_and_undone() {
    let bench = Bench::new();
    let (process, id) = made(&bench).await;
    let (free, before) = (free_port(&process, id).await, bench.on_host());
    for request in [NicRequest::default(), NicRequest { port: Some(free.id), ..NicRequest::default() }] {
        bench.hypervisor.faults().nth(Call::AttachNic, 1, Fault::FailBefore(Failure::Failed));
        let failed = refused(&process, id, request).await;
        assert_eq!(failed, (Kind::Internal, format!("Failed to attach network adapter device to {id}")));
        process.tasks.settled().await.unwrap();
        assert_eq!(bench.on_host(), before);
        assert_eq!(process.servers.interfaces(&owner(), id).await.unwrap().len(), 1);
    }
    assert_eq!(port(&process, free.id).await.unwrap().device_id, "");

    // A guest that does not let go is asked again, and keeps the NIC if it does not then either.
    let own = process.servers.interfaces(&owner(), id).await.unwrap().remove(0);
    bench.hypervisor.faults().always(Call::DetachNic, Fault::FailBefore(Failure::Deadline));
    process.servers.detach_interface(&owner(), id, &own.id.to_string()).await.unwrap();
    process.tasks.settled().await.unwrap();
    assert_eq!(bench.on_host(), before);
    let fault = process.servers.show(&owner(), id).await.unwrap().fault.unwrap();
    assert!(fault.message.starts_with("Unplugging the NIC failed"), "{}", fault.message);
    bench.hypervisor.faults().clear();
    bench.hypervisor.faults().nth(Call::DetachNic, 1, Fault::FailBefore(Failure::Deadline));
    process.servers.detach_interface(&owner(), id, &own.id.to_string()).await.unwrap();
    process.tasks.settled().await.unwrap();
    assert_eq!(port(&process, own.id).await, None);
}

#[tokio::test]
async fn the_only_network_takes_the_tag_too() {
    let bench = Bench::new();
    let (process, id) = made(&bench).await;
    let request = NicRequest { tag: Some("storage".into()), ..NicRequest::default() };
    let made = process.servers.attach_interface(&owner(), id, request).await.unwrap();
    assert_eq!(made.nic_tag.as_deref(), Some("storage"));
    assert_eq!(port(&process, made.id).await.unwrap().nic_tag.as_deref(), Some("storage"));
}

#[tokio::test]
async fn a_delete_does_not_wait_for_a_guest_to_let_go() {
    let bench = Bench::new();
    let (process, id) = made(&bench).await;
    let own = process.servers.interfaces(&owner(), id).await.unwrap().remove(0).id.to_string();
    bench.hypervisor.faults().nth(Call::DetachNic, 1, Fault::Hang);
    process.servers.detach_interface(&owner(), id, &own).await.unwrap();
    while bench.hypervisor.faults().made(Call::DetachNic) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    process.servers.delete(&owner(), id, false).await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), process.tasks.settled()).await.unwrap().unwrap();
    let left = bench.on_host();
    assert!(left.domains.domains.is_empty());
    assert!(left.networks.networks.values().all(|network| network.ports.is_empty()));
}
