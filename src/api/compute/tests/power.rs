//! Pausing, suspending, crash dumps and diagnostics as clients see them.

use super::servers::{client, make, settle};
use super::{Client, message};
use crate::host::hypervisor::Hypervisor;
use crate::host::hypervisor::spec::{
    DiskBus, DiskDevice, DiskFormat, DiskSpec, DomainSpec, Firmware, VideoModel,
};
use serde_json::json;

async fn act(client: &Client, id: &str, action: &str) -> (u16, String) {
    let answer = client.post(&format!("/v2.1/servers/{id}/action"), json!({ action: null })).await;
    (answer.status, if answer.status == 202 { String::new() } else { message(&answer).to_owned() })
}

async fn put_vm_state(client: &Client, id: &str, state: &str) {
    settle(client, id).await;
    client.cloud.execute(format!("UPDATE server SET vm_state = '{state}' WHERE id = '{id}'")).await;
}

#[actix_web::test]
async fn each_action_has_its_states_and_records() {
    let mut client = client().await;
    let id = make(&client, "one").await;
    for (action, from, task) in [
        ("pause", "active", "pausing"),
        ("unpause", "paused", "unpausing"),
        ("suspend", "active", "suspending"),
        ("resume", "suspended", "resuming"),
    ] {
        put_vm_state(&client, &id, "stopped").await;
        let words = format!("Cannot '{action}' instance {id} while it is in vm_state stopped");
        assert_eq!(act(&client, &id, action).await, (409, words));
        put_vm_state(&client, &id, from).await;
        assert_eq!(act(&client, &id, action).await.0, 202);
        let shown = client.get(&format!("/v2.1/servers/{id}")).await.body;
        assert_eq!(shown["server"]["OS-EXT-STS:task_state"], task);
        let words = format!("Cannot '{action}' instance {id} while it is in task_state {task}");
        assert_eq!(act(&client, &id, action).await, (409, words));
    }
    put_vm_state(&client, &id, "active").await;
    assert_eq!(act(&client, &id, "trigger_crash_dump").await.0, 404);
    client.at("2.17");
    let body = json!({"trigger_crash_dump": {}});
    assert_eq!(client.post(&format!("/v2.1/servers/{id}/action"), body).await.status, 400);
    assert_eq!(act(&client, &id, "trigger_crash_dump").await.0, 202);
    let shown = client.get(&format!("/v2.1/servers/{id}")).await.body;
    assert_eq!(shown["server"]["OS-EXT-STS:task_state"], json!(null));
    put_vm_state(&client, &id, "suspended").await;
    let words = format!("Cannot 'trigger_crash_dump' instance {id} while it is in vm_state suspended");
    assert_eq!(act(&client, &id, "trigger_crash_dump").await, (409, words));
    let actions = client.get(&format!("/v2.1/servers/{id}/os-instance-actions")).await.body;
    let names: Vec<&str> = actions["instanceActions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["action"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["trigger_crash_dump", "resume", "suspend", "unpause", "pause", "create"]);
}

#[actix_web::test]
async fn diagnostics_have_two_shapes() {
    let mut client = client().await;
    let id = make(&client, "one").await;
    let path = format!("/v2.1/servers/{id}/diagnostics");
    client.cloud.execute(format!("UPDATE server SET host = NULL WHERE id = '{id}'")).await;
    let early = client.get(&path).await;
    assert_eq!((early.status, message(&early)), (409, format!("Instance {id} is not ready").as_str()));
    client.cloud.execute(format!("UPDATE server SET host = 'node' WHERE id = '{id}'")).await;
    settle(&client, &id).await;
    let off = client.get(&path).await;
    let words = format!("Cannot 'get_diagnostics' instance {id} while it is in power state pending");
    assert_eq!((off.status, message(&off)), (409, words.as_str()));

    let hypervisor = client.cloud.state.services.host.hypervisor.clone();
    let spec = DomainSpec {
        id: id.parse().unwrap(),
        name: "instance-00000001".into(),
        display_name: "one".into(),
        flavor_name: "m1.tiny".into(),
        project_id: "p".into(),
        user_id: "u".into(),
        vcpus: 1,
        memory_mib: 512,
        firmware: Firmware::Bios,
        machine: None,
        disks: vec![DiskSpec {
            path: "/nowhere".into(),
            format: DiskFormat::Qcow2,
            device: DiskDevice::Disk,
            bus: DiskBus::Virtio,
            target: "vda".into(),
            serial: None,
            name: None,
            boot_order: None,
            read_only: false,
        }],
        nics: Vec::new(),
        console_log: "/nowhere/log".into(),
        video: VideoModel::None,
        spare_ports: 0,
    };
    Hypervisor::define(&*hypervisor, &spec).await.unwrap();
    hypervisor.start(spec.id).await.unwrap();
    assert_eq!(
        client.get(&path).await.body,
        json!({
            "cpu0_time": 1_000_000, "memory": 524_288, "memory-actual": 524_288, "vda_errors": -1, "vda_read": 512,
            "vda_read_req": 1, "vda_write": 0, "vda_write_req": 0,
        })
    );
    let shown = client.at("2.48").get(&path).await.body;
    assert_eq!(shown["cpu_details"], json!([{"id": 0, "time": 1_000_000, "utilisation": null}]));
    assert_eq!(shown["memory_details"], json!({"maximum": 512, "used": 512}));
    assert_eq!(
        shown["disk_details"],
        json!([{"errors_count": null, "read_bytes": 512, "read_requests": 1, "write_bytes": 0, "write_requests": 0}])
    );
    assert_eq!(
        [&shown["driver"], &shown["hypervisor"], &shown["hypervisor_os"], &shown["state"]],
        ["libvirt", "qemu", "linux", "running"]
    );
    assert_eq!(shown["nic_details"][0]["rx_octets"], json!(null));
    assert_eq!(
        [&shown["num_cpus"], &shown["num_disks"], &shown["num_nics"]],
        [1, shown["disk_details"].as_array().unwrap().len(), shown["nic_details"].as_array().unwrap().len()]
    );
    assert_eq!(
        client.get("/v2.1/servers/5d9bb3bb-0000-4000-8000-000000000000/diagnostics").await.status,
        404
    );
}
