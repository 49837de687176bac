//! Putting servers away and bringing them back, as clients ask for it. No host is there: what was accepted stays undone.

use super::servers::{IMAGE, client, make, settle};
use super::{Client, message};
use serde_json::{Value, json};

/// A client, and the id of its server.
async fn server() -> (Client, String) {
    let client = client().await;
    let id = make(&client, "one").await;
    settle(&client, &id).await;
    (client, id)
}

/// Asks for an action; gives the status and the words of a refusal, or the body of anything else.
async fn act(client: &Client, id: &str, body: Value) -> (u16, Value) {
    let answer = client.post(&format!("/v2.1/servers/{id}/action"), body).await;
    let words = if answer.status < 400 { answer.body } else { json!(message(&answer)) };
    (answer.status, words)
}

fn refused(status: u16, words: &str) -> (u16, Value) {
    (status, json!(words))
}

const ACCEPTED: (u16, Value) = (202, Value::Null);

async fn put_vm_state(client: &Client, id: &str, state: &str) {
    settle(client, id).await;
    let host = if state == "shelved_offloaded" { "NULL" } else { "'node'" };
    let shelved = if state.starts_with("shelved") {
        format!("json_object('image_id', '{IMAGE}', 'at', '2024-01-01T00:00:00Z')")
    } else {
        "NULL".into()
    };
    client
        .cloud
        .execute(format!(
            "UPDATE server SET vm_state = '{state}', host = {host}, shelved = {shelved}, power_state = 4 WHERE id = '{id}'"
        ))
        .await;
}

async fn shown(client: &Client, id: &str) -> Value {
    client.get(&format!("/v2.1/servers/{id}")).await.body["server"].clone()
}

#[actix_web::test]
async fn a_server_is_shelved_and_offloaded() {
    let (mut client, id) = server().await;
    assert_eq!(act(&client, &id, json!({"shelve": null})).await, ACCEPTED);
    let server = shown(&client, &id).await;
    assert_eq!(
        (&server["status"], &server["OS-EXT-STS:vm_state"], &server["OS-EXT-STS:task_state"]),
        (&json!("ACTIVE"), &json!("active"), &json!("shelving"))
    );
    let images = client.get("/v2.1/images/detail?name=one-shelved").await.body;
    assert_eq!(
        (&images["images"][0]["status"], &images["images"][0]["metadata"]["image_type"]),
        (&json!("SAVING"), &json!("snapshot"))
    );
    let words = format!("Cannot 'shelve' instance {id} while it is in task_state shelving");
    assert_eq!(act(&client, &id, json!({"shelve": null})).await, refused(409, &words));

    put_vm_state(&client, &id, "rescued").await;
    for action in ["shelve", "shelveOffload", "unshelve"] {
        let words = format!("Cannot '{action}' instance {id} while it is in vm_state rescued");
        assert_eq!(act(&client, &id, json!({ action: null })).await, refused(409, &words));
    }

    put_vm_state(&client, &id, "shelved").await;
    assert_eq!(shown(&client, &id).await["status"], "SHELVED");
    assert_eq!(act(&client, &id, json!({"shelveOffload": null})).await, ACCEPTED);
    let server = shown(&client, &id).await;
    assert_eq!(
        (&server["status"], &server["OS-EXT-STS:task_state"]),
        (&json!("SHELVED"), &json!("shelving_offloading"))
    );
    put_vm_state(&client, &id, "shelved_offloaded").await;
    let server = shown(&client, &id).await;
    assert_eq!(
        (&server["status"], &server["OS-EXT-SRV-ATTR:host"], &server["OS-EXT-AZ:availability_zone"]),
        (&json!("SHELVED_OFFLOADED"), &Value::Null, &json!(""))
    );
    let words = format!("Cannot 'shelveOffload' instance {id} while it is in vm_state shelved_offloaded");
    assert_eq!(act(&client, &id, json!({"shelveOffload": null})).await, refused(409, &words));
    let actions = client.get(&format!("/v2.1/servers/{id}/os-instance-actions")).await.body;
    let names: Vec<&Value> =
        actions["instanceActions"].as_array().unwrap().iter().map(|action| &action["action"]).collect();
    assert_eq!(names, ["shelveOffload", "shelve", "create"]);

    put_vm_state(&client, &id, "shelved").await;
    client.cloud.execute(format!("UPDATE server SET project_id = 'project-someone' WHERE id = '{id}'")).await;
    client.cloud.admin = client.cloud.user("someone", "member").await;
    assert_eq!(
        act(&client, &id, json!({"shelveOffload": null})).await,
        refused(403, "Policy doesn't allow os_compute_api:os-shelve:shelve_offload to be performed.")
    );
}

#[actix_web::test]
async fn what_an_unshelving_may_ask_for_grows_with_the_versions() {
    let (mut client, id) = server().await;
    let zone = |zone: Value| json!({"unshelve": {"availability_zone": zone}});
    let invalid = |field: &str, value: &str, why: &str| {
        (400, json!(format!("Invalid input for field/attribute {field}. Value: {value}. {why}")))
    };
    let anywhere = || json!({"unshelve": null});
    // Each from a server of its own making, as if it were the only one.
    let cases = [
        ("2.1", anywhere(), ACCEPTED),
        // Until then whatever is said says nothing.
        ("2.76", zone(json!("us-west")), ACCEPTED),
        ("2.76", json!({"unshelve": {"host": "host01"}}), ACCEPTED),
        ("2.77", anywhere(), ACCEPTED),
        ("2.77", zone(json!("nova")), ACCEPTED),
        ("2.77", zone(json!("us-west")), refused(400, "The requested availability zone is not available")),
        (
            "2.77",
            json!({"unshelve": {}}),
            invalid("unshelve", "{}", "'availability_zone' is a required property"),
        ),
        ("2.77", zone(Value::Null), invalid("availability_zone", "None", "None is not of type 'string'")),
        ("2.77", zone(json!("")), invalid("availability_zone", "", "'' is too short")),
        (
            "2.90",
            json!({"unshelve": {"availability_zone": "nova", "host": "node"}}),
            invalid(
                "unshelve",
                "{'availability_zone': 'nova', 'host': 'node'}",
                "Additional properties are not allowed ('host' was unexpected)",
            ),
        ),
        ("2.91", anywhere(), ACCEPTED),
        ("2.91", json!({"unshelve": {}}), ACCEPTED),
        ("2.91", zone(json!("nova")), ACCEPTED),
        ("2.91", zone(Value::Null), ACCEPTED),
        ("2.91", json!({"unshelve": {"host": "node"}}), ACCEPTED),
        ("2.91", json!({"unshelve": {"availability_zone": "nova", "host": "node"}}), ACCEPTED),
        ("2.91", json!({"unshelve": {"availability_zone": null, "host": "node"}}), ACCEPTED),
        ("2.91", zone(json!("us-west")), refused(400, "The requested availability zone is not available")),
        (
            "2.91",
            json!({"unshelve": {"host": "host01"}}),
            refused(400, "Compute host host01 could not be found."),
        ),
        (
            "2.91",
            json!({"unshelve": {"host": null}}),
            invalid(
                "unshelve",
                "{'host': None}",
                "{'host': None} is not valid under any of the given schemas",
            ),
        ),
        (
            "2.91",
            json!({"unshelve": {"foo": "bar"}}),
            invalid(
                "unshelve",
                "{'foo': 'bar'}",
                "{'foo': 'bar'} is not valid under any of the given schemas",
            ),
        ),
    ];
    for (version, body, expected) in cases {
        client.at(version);
        put_vm_state(&client, &id, "shelved_offloaded").await;
        assert_eq!(act(&client, &id, body.clone()).await, expected, "{version} {body}");
        let task = if expected.0 == 202 { json!("unshelving") } else { Value::Null };
        assert_eq!(shown(&client, &id).await["OS-EXT-STS:task_state"], task, "{version} {body}");
    }

    // What is still on its host stays there.
    for (version, body) in [("2.77", zone(json!("nova"))), ("2.91", json!({"unshelve": {"host": "node"}}))] {
        client.at(version);
        put_vm_state(&client, &id, "shelved").await;
        let words = format!(
            "Specifying an availability zone or a host when unshelving server \"{id}\" with status \"shelved\" is not \
             supported. The server status must be SHELVED_OFFLOADED."
        );
        assert_eq!(act(&client, &id, body).await, refused(409, &words));
        assert_eq!(act(&client, &id, anywhere()).await, ACCEPTED);
    }
}

#[actix_web::test]
async fn an_unshelving_pins_a_server_to_a_zone_or_frees_it() {
    let (mut client, id) = server().await;
    client.at("2.96");
    for (zone, pinned) in [(json!("nova"), json!("nova")), (Value::Null, Value::Null)] {
        put_vm_state(&client, &id, "shelved_offloaded").await;
        assert_eq!(act(&client, &id, json!({"unshelve": {"availability_zone": zone}})).await, ACCEPTED);
        assert_eq!(shown(&client, &id).await["pinned_availability_zone"], pinned);
    }
    put_vm_state(&client, &id, "shelved_offloaded").await;
    client.cloud.execute(format!("UPDATE server SET project_id = 'project-someone' WHERE id = '{id}'")).await;
    client.cloud.admin = client.cloud.user("someone", "member").await;
    assert_eq!(
        act(&client, &id, json!({"unshelve": {"host": "node"}})).await,
        refused(403, "Policy doesn't allow os_compute_api:os-shelve:unshelve_to_host to be performed.")
    );
    assert_eq!(act(&client, &id, json!({"unshelve": {"availability_zone": "nova"}})).await, ACCEPTED);
}

#[actix_web::test]
async fn a_deleted_server_is_restored_while_it_can_be() {
    let (client, id) = server().await;
    let words = format!("Cannot 'restore' instance {id} while it is in vm_state active");
    assert_eq!(act(&client, &id, json!({"restore": null})).await, refused(409, &words));
    put_vm_state(&client, &id, "soft-delete").await;
    let server = shown(&client, &id).await;
    assert_eq!(
        (&server["status"], &server["OS-EXT-STS:vm_state"]),
        (&json!("SOFT_DELETED"), &json!("soft-delete"))
    );

    let actor = client.cloud.actor(&client.cloud.admin.clone()).await;
    let project = actor.project_id.unwrap();
    client.cloud.execute(format!("INSERT INTO quota VALUES ('{project}', 'instances', 0)")).await;
    let words = "Quota exceeded for instances: Requested 1, but already used 0 of 0 instances";
    assert_eq!(act(&client, &id, json!({"restore": null})).await, refused(403, words));
    client.cloud.execute("DELETE FROM quota".into()).await;

    assert_eq!(act(&client, &id, json!({"restore": null})).await, ACCEPTED);
    assert_eq!(shown(&client, &id).await["OS-EXT-STS:task_state"], "restoring");
    let words = format!("Cannot 'restore' instance {id} while it is in task_state restoring");
    assert_eq!(act(&client, &id, json!({"restore": null})).await, refused(409, &words));
    assert_eq!(act(&client, &id, json!({"forceDelete": null})).await, ACCEPTED);
}
