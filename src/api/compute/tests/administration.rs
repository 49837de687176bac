//! What administrators say of the node: its services on and off.

use super::servers::{client, make, settle};
use super::{Answer, Client, message};
use actix_web::http::Method;
use serde_json::{Value, json};

async fn put(client: &Client, path: &str, body: Value) -> Answer {
    client.send(Method::PUT, path, Some(body)).await
}

fn refused(answer: &Answer, status: u16, words: &str) {
    assert_eq!((answer.status, message(answer)), (status, words));
}

/// The service that runs guests, as the list shows it.
async fn compute(client: &Client) -> Value {
    client.get("/v2.1/os-services?binary=nova-compute").await.body["services"][0].clone()
}

#[actix_web::test]
async fn a_disabled_node_takes_no_servers() {
    let mut client = client().await;
    let named = json!({"host": "node", "binary": "nova-compute"});
    let off = put(&client, "/v2.1/os-services/disable", named.clone()).await;
    let shown = json!({"service": {"host": "node", "binary": "nova-compute", "status": "disabled"}});
    assert_eq!((off.status, off.body), (200, shown));
    let mut reasoned = named.clone();
    reasoned["disabled_reason"] = json!("repairs");
    let off = put(&client, "/v2.1/os-services/disable-log-reason", reasoned).await;
    assert_eq!(off.body["service"]["disabled_reason"], "repairs");
    let service = compute(&client).await;
    assert_eq!(
        (&service["status"], &service["state"], &service["disabled_reason"]),
        (&json!("disabled"), &json!("up"), &json!("repairs"))
    );

    let id = make(&client, "nowhere").await;
    client.at("2.16");
    let server = client.get(&format!("/v2.1/servers/{id}")).await.body;
    assert_eq!(
        (&server["server"]["status"], &server["server"]["host_status"]),
        (&json!("ERROR"), &json!(""))
    );
    assert_eq!(
        server["server"]["fault"]["message"],
        "No valid host was found. There are not enough hosts available."
    );
    let mut zoned = json!({"server": {"name": "z", "flavorRef": 1, "imageRef": super::servers::IMAGE,
        "availability_zone": "nova"}});
    let nowhere = client.post("/v2.1/servers", zoned.clone()).await;
    refused(&nowhere, 400, "The requested availability zone is not available");

    client.at("2.1");
    let hypervisor = client.get("/v2.1/os-hypervisors/detail").await.body["hypervisors"][0].clone();
    assert_eq!((&hypervisor["status"], &hypervisor["state"]), (&json!("disabled"), &json!("up")));
    assert_eq!(hypervisor["service"]["disabled_reason"], "repairs");
    let sums = client.get("/v2.1/os-hypervisors/statistics").await.body["hypervisor_statistics"].clone();
    assert_eq!((&sums["count"], &sums["vcpus"]), (&json!(0), &json!(0)));
    let unavailable = json!({"zoneName": "nova", "zoneState": {"available": false}, "hosts": null});
    let zones = client.get("/v2.1/os-availability-zone").await.body;
    assert_eq!(zones, json!({"availabilityZoneInfo": [unavailable]}));
    let zones = client.get("/v2.1/os-availability-zone/detail").await.body;
    assert_eq!(zones["availabilityZoneInfo"][1], unavailable);

    let on = put(&client, "/v2.1/os-services/enable", named).await;
    assert_eq!(on.body["service"]["status"], "enabled");
    assert_eq!(compute(&client).await["disabled_reason"], Value::Null);
    let id = make(&client, "here").await;
    settle(&client, &id).await;
    zoned["server"]["availability_zone"] = json!("internal");
    let nowhere = client.post("/v2.1/servers", zoned).await;
    assert_eq!(nowhere.status, 202);
}

#[actix_web::test]
async fn a_service_that_is_forced_down_is_down_wherever_it_is_shown() {
    let mut client = client().await;
    let id = make(&client, "here").await;
    settle(&client, &id).await;
    let body = json!({"host": "node", "binary": "nova-compute", "forced_down": "true"});
    let old = put(&client, "/v2.1/os-services/force-down", body.clone()).await;
    refused(&old, 400, "Additional properties are not allowed ('forced_down' was unexpected)");
    client.at("2.16");
    let down = put(&client, "/v2.1/os-services/force-down", body).await;
    let shown = json!({"service": {"host": "node", "binary": "nova-compute", "forced_down": true}});
    assert_eq!((down.status, down.body), (200, shown));
    let service = compute(&client).await;
    assert_eq!((&service["state"], &service["forced_down"]), (&json!("down"), &json!(true)));
    let server = client.get(&format!("/v2.1/servers/{id}")).await.body;
    assert_eq!(server["server"]["host_status"], "DOWN");
    assert_eq!(client.get("/v2.1/os-hypervisors").await.body["hypervisors"][0]["state"], "down");
    let uptime = client.get("/v2.1/os-hypervisors/1/uptime").await;
    refused(&uptime, 400, "Compute service of node is unavailable at this time.");
    let zones = client.get("/v2.1/os-availability-zone/detail").await.body;
    let zone = &zones["availabilityZoneInfo"][1];
    assert_eq!(zone["zoneState"]["available"], true);
    assert_eq!(zone["hosts"]["node"]["nova-compute"]["available"], false);
    client.at("2.88");
    let hypervisors = client.get("/v2.1/os-hypervisors/detail").await.body;
    assert_eq!(hypervisors["hypervisors"][0]["uptime"], Value::Null);
    client.at("2.1");
    let lost = make(&client, "nowhere").await;
    assert_eq!(client.get(&format!("/v2.1/servers/{lost}")).await.body["server"]["status"], "ERROR");
}

#[actix_web::test]
async fn a_service_is_changed_by_its_uuid_from_2_53_on() {
    let mut client = client().await;
    let id = make(&client, "here").await;
    settle(&client, &id).await;
    client.at("2.53");
    let uuid = compute(&client).await["id"].as_str().unwrap().to_owned();
    let path = format!("/v2.1/os-services/{uuid}");
    let changed =
        put(&client, &path, json!({"status": "disabled", "disabled_reason": "r", "forced_down": true})).await;
    assert_eq!(changed.status, 200);
    let service = &changed.body["service"];
    assert_eq!(
        (&service["id"], &service["status"], &service["state"]),
        (&json!(uuid), &json!("disabled"), &json!("down"))
    );
    assert_eq!(client.get(&format!("/v2.1/servers/{id}")).await.body["server"]["host_status"], "DOWN");
    let up = put(&client, &path, json!({"forced_down": false})).await;
    assert_eq!(
        (&up.body["service"]["state"], &up.body["service"]["disabled_reason"]),
        (&json!("up"), &json!("r"))
    );
    assert_eq!(client.get(&format!("/v2.1/servers/{id}")).await.body["server"]["host_status"], "MAINTENANCE");
    let on = put(&client, &path, json!({"status": "enabled"})).await;
    assert_eq!(on.body["service"]["disabled_reason"], Value::Null);

    for (path, body, status, words) in [
        (
            path.as_str(),
            json!({}),
            400,
            "No updates were requested. Fields 'status' or 'forced_down' should be specified.",
        ),
        (
            &path,
            json!({"status": "enabled", "disabled_reason": "r"}),
            400,
            "Specifying 'disabled_reason' with status 'enabled' is invalid.",
        ),
        (
            &path,
            json!({"status": "off"}),
            400,
            "Invalid input for field/attribute status. Value: off. 'off' is not one of ['enabled', 'disabled']",
        ),
        ("/v2.1/os-services/disable", json!({"status": "disabled"}), 400, "Invalid uuid disable"),
        (
            "/v2.1/os-services/e8debdc0-447a-4376-a10a-4cd9122d7986",
            json!({"status": "disabled"}),
            404,
            "Service e8debdc0-447a-4376-a10a-4cd9122d7986 could not be found.",
        ),
    ] {
        refused(&put(&client, path, body).await, status, words);
    }
    let scheduler = client.get("/v2.1/os-services?binary=nova-scheduler").await.body;
    let path = format!("/v2.1/os-services/{}", scheduler["services"][0]["id"].as_str().unwrap());
    let words =
        "Updating a nova-scheduler service is not supported. Only nova-compute services can be updated.";
    refused(&put(&client, &path, json!({"status": "disabled"})).await, 400, words);

    client.at("2.1");
    for (action, body, status, words) in [
        (
            "disable",
            json!({"host": "other", "binary": "nova-compute"}),
            404,
            "Host 'other' is not mapped to any cell",
        ),
        (
            "enable",
            json!({"host": "node", "binary": "nova-scheduler"}),
            400,
            "Updating a nova-scheduler service is not supported. Only nova-compute services can be updated.",
        ),
        (
            "disable-log-reason",
            json!({"host": "node", "binary": "nova-compute"}),
            400,
            "Missing disabled reason field",
        ),
        ("force-down", json!({"host": "node", "binary": "nova-compute"}), 404, "Unknown action"),
        ("enable", json!({"host": "node"}), 400, "'binary' is a required property"),
    ] {
        refused(&put(&client, &format!("/v2.1/os-services/{action}"), body).await, status, words);
    }
}

#[actix_web::test]
async fn a_deleted_service_is_gone_until_the_next_start() {
    let mut client = client().await;
    let id = make(&client, "here").await;
    settle(&client, &id).await;
    let busy = client.send(Method::DELETE, "/v2.1/os-services/3", None).await;
    let words =
        "Unable to delete compute service that is hosting instances. Migrate or delete the instances first.";
    refused(&busy, 409, words);
    let no_number = client.send(Method::DELETE, "/v2.1/os-services/x", None).await;
    refused(&no_number, 400, "Invalid input received: id must be an integer");
    refused(&client.send(Method::DELETE, "/v2.1/os-services/9", None).await, 404, "Service 9 not found.");
    client.at("2.53");
    refused(&client.send(Method::DELETE, "/v2.1/os-services/3", None).await, 400, "Invalid uuid 3");
    client.at("2.1");

    client.cloud.execute(format!("UPDATE server SET host = NULL WHERE id = '{id}'")).await;
    assert_eq!(client.send(Method::DELETE, "/v2.1/os-services/3", None).await.status, 204);
    assert_eq!(client.send(Method::DELETE, "/v2.1/os-services/3", None).await.status, 404);
    let named = json!({"host": "node", "binary": "nova-compute"});
    assert_eq!(put(&client, "/v2.1/os-services/enable", named).await.status, 404);
    assert_eq!(client.get("/v2.1/os-services").await.body["services"].as_array().unwrap().len(), 2);
    assert_eq!(client.get("/v2.1/os-hypervisors").await.body, json!({"hypervisors": []}));
    assert_eq!(client.get("/v2.1/os-hypervisors/1").await.status, 404);
    assert_eq!(client.get("/v2.1/os-availability-zone").await.body, json!({"availabilityZoneInfo": []}));
    let lost = make(&client, "nowhere").await;
    assert_eq!(client.get(&format!("/v2.1/servers/{lost}")).await.body["server"]["status"], "ERROR");
    client.cloud.state.services.node.register_services().await.unwrap();
    assert_eq!(compute(&client).await["status"], "enabled");
}

#[actix_web::test]
async fn hosts_as_old_clients_know_them() {
    let mut client = client().await;
    let id = make(&client, "here").await;
    settle(&client, &id).await;
    let listed = client.get("/v2.1/os-hosts").await.body;
    let own = json!({"host_name": "node", "service": "compute", "zone": "nova"});
    assert_eq!(
        listed,
        json!({"hosts": [
            {"host_name": "node", "service": "scheduler", "zone": "internal"},
            {"host_name": "node", "service": "conductor", "zone": "internal"},
            own,
        ]})
    );
    assert_eq!(client.get("/v2.1/os-hosts?zone=nova").await.body, json!({"hosts": [own]}));
    let shown = client.get("/v2.1/os-hosts/node").await.body;
    let rows: Vec<&Value> = shown["host"].as_array().unwrap().iter().map(|row| &row["resource"]).collect();
    let names: Vec<&str> = rows.iter().map(|row| row["project"].as_str().unwrap()).collect();
    assert_eq!(names[..3], ["(total)", "(used_now)", "(used_max)"]);
    assert!(rows[0]["cpu"].as_i64().unwrap() > 0);
    assert_eq!((&rows[1]["memory_mb"], &rows[2]["memory_mb"]), (&json!(512), &json!(512)));
    let project = json!({"host": "node", "project": names[3], "cpu": 1, "memory_mb": 512, "disk_gb": 1});
    assert_eq!(*rows[3], project);
    refused(&client.get("/v2.1/os-hosts/else").await, 404, "Compute host else could not be found.");

    let off = put(&client, "/v2.1/os-hosts/node", json!({"status": "Disable"})).await;
    assert_eq!((off.status, off.body), (200, json!({"host": "node", "status": "disabled"})));
    assert_eq!(compute(&client).await["status"], "disabled");
    assert_eq!(client.get("/v2.1/os-hosts").await.body["hosts"].as_array().unwrap().len(), 2);
    let on = put(&client, "/v2.1/os-hosts/node", json!({"status": "enable"})).await;
    assert_eq!(on.body["status"], "enabled");
    let unsupported = "The requested functionality is not supported.";
    let maintained =
        put(&client, "/v2.1/os-hosts/node", json!({"status": "disable", "maintenance_mode": "enable"})).await;
    refused(&maintained, 501, unsupported);
    assert_eq!(compute(&client).await["status"], "enabled");
    for action in ["startup", "shutdown", "reboot"] {
        refused(&client.get(&format!("/v2.1/os-hosts/node/{action}")).await, 501, unsupported);
    }
    let unmapped = "Host 'else' is not mapped to any cell";
    refused(&client.get("/v2.1/os-hosts/else/reboot").await, 404, unmapped);
    refused(&put(&client, "/v2.1/os-hosts/else", json!({"status": "enable"})).await, 404, unmapped);
    assert_eq!(put(&client, "/v2.1/os-hosts/node", json!({"status": "off"})).await.status, 400);
    assert_eq!(put(&client, "/v2.1/os-hosts/node", json!({"other": "enable"})).await.status, 400);
    client.at("2.43");
    assert_eq!(client.get("/v2.1/os-hosts").await.status, 404);
    assert_eq!(client.get("/v2.1/os-hosts/node").await.status, 404);
}

#[actix_web::test]
async fn accounts_are_empty_and_there_is_no_bare_metal() {
    let client = client().await;
    let log = |beginning: &str, ending: &str| {
        json!({
            "period_beginning": beginning, "period_ending": ending, "num_hosts": 1, "num_hosts_done": 0,
            "num_hosts_running": 0, "num_hosts_not_run": 1, "hosts_not_run": ["node"], "total_instances": 0,
            "total_errors": 0, "overall_status": "0 of 1 hosts done. 0 errors.", "log": {},
        })
    };
    let latest = client.get("/v2.1/os-instance_usage_audit_log").await.body;
    let wanted = log("2023-10-01 00:00:00", "2023-11-01 00:00:00");
    assert_eq!(latest, json!({"instance_usage_audit_logs": wanted}));
    let earlier = client.get("/v2.1/os-instance_usage_audit_log/2012-07-05%2010:00:00").await.body;
    assert_eq!(
        earlier,
        json!({"instance_usage_audit_log": log("2012-06-01 00:00:00", "2012-07-01 00:00:00")})
    );
    let bad = client.get("/v2.1/os-instance_usage_audit_log/today").await;
    refused(&bad, 400, "Invalid timestamp for date today");

    assert_eq!(client.get("/v2.1/os-baremetal-nodes").await.status, 404);
    refused(&client.get("/v2.1/os-baremetal-nodes/x").await, 404, "Node x could not be found.");
    let add = client.post("/v2.1/os-baremetal-nodes/x/action", json!({"add_interface": {}})).await;
    refused(
        &add,
        400,
        "Command Not supported. Please use Ironic command port-create to perform this action.",
    );
}
