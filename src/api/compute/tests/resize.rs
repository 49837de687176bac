//! Resizes and moves as clients ask for them. No host is there: what was accepted stays undone.

use super::servers::{client, make, settle};
use super::{Client, message};
use actix_web::http::Method;
use serde_json::{Value, json};

async fn server() -> (Client, String, String) {
    let client = client().await;
    let id = make(&client, "sized").await;
    settle(&client, &id).await;
    let path = format!("/v2.1/servers/{id}");
    (client, id, path)
}

#[actix_web::test]
async fn a_resize_is_asked_for_and_decided() {
    let (mut client, id, path) = server().await;
    let action = format!("{path}/action");
    for (body, text) in [
        (json!({"resize": {}}), "'flavorRef' is a required property"),
        (
            json!({"resize": {"flavorRef": "2", "OS-DCF:diskConfig": "auto"}}),
            "Invalid input for field/attribute OS-DCF:diskConfig. Value: auto. 'auto' is not one of ['AUTO', 'MANUAL']",
        ),
        (json!({"resize": {"flavorRef": "2", "x": 1}}), "('x' was unexpected)"),
        (json!({"resize": {"flavorRef": "nix"}}), "Flavor nix could not be found."),
        (json!({"resize": {"flavorRef": 1}}), "When resizing, instances must change flavor!"),
    ] {
        let refused = client.post(&action, body).await;
        assert_eq!(refused.status, 400, "{}", refused.body);
        assert!(message(&refused).contains(text), "{}", message(&refused));
    }
    let early = client.post(&action, json!({"confirmResize": null})).await;
    assert_eq!(early.status, 409);
    assert_eq!(
        message(&early),
        format!("Cannot 'confirmResize' instance {id} while it is in vm_state active")
    );
    let asked =
        client.post(&action, json!({"resize": {"flavorRef": "2", "OS-DCF:diskConfig": "AUTO"}})).await;
    assert_eq!((asked.status, asked.body), (202, Value::Null));
    client.at("2.47");
    let shown = &client.get(&path).await.body["server"];
    assert_eq!((&shown["status"], &shown["OS-DCF:diskConfig"]), (&json!("RESIZE"), &json!("AUTO")));
    assert_eq!(shown["flavor"]["original_name"], "m1.tiny");
    assert_eq!((&shown["progress"], &shown["OS-EXT-STS:task_state"]), (&json!(0), &json!("resize_prep")));
    client
        .cloud
        .execute(format!(
            "UPDATE server SET vm_state = 'resized', task_state = NULL, resize = json_set(resize, '$.finished_at', \
             '2024-01-01T00:00:00Z') WHERE id = '{id}'; \
             UPDATE server_migration SET status = 'finished'; UPDATE task SET status = 'done' WHERE subject = '{id}'"
        ))
        .await;
    let shown = &client.get(&path).await.body["server"];
    assert_eq!(
        (&shown["status"], &shown["flavor"]["original_name"]),
        (&json!("VERIFY_RESIZE"), &json!("m1.small"))
    );
    let confirmed = client.post(&action, json!({"confirmResize": null})).await;
    assert_eq!((confirmed.status, confirmed.body), (204, Value::Null));
    let late = client.post(&action, json!({"revertResize": null})).await;
    assert_eq!((late.status, message(&late)), (400, "Instance has not been resized."));
    client.cloud.execute("UPDATE server_migration SET status = 'finished'".into()).await;
    assert_eq!(client.post(&action, json!({"revertResize": null})).await.status, 202);
    let shown = &client.get(&path).await.body["server"];
    assert_eq!(shown["status"], "REVERT_RESIZE");
}

#[actix_web::test]
async fn migrations_are_listed_by_version() {
    let (mut client, id, path) = server().await;
    client.post(&format!("{path}/action"), json!({"migrate": null})).await;
    client.cloud.clock.advance(10);
    client.post(&format!("{path}/action"), json!({"resize": {"flavorRef": "2"}})).await;
    let keys = |value: &Value| {
        let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort_unstable();
        keys
    };
    let oldest = [
        "created_at",
        "dest_compute",
        "dest_host",
        "dest_node",
        "id",
        "instance_uuid",
        "new_instance_type_id",
        "old_instance_type_id",
        "source_compute",
        "source_node",
        "status",
        "updated_at",
    ];
    let list = client.get("/v2.1/os-migrations?unknown=1").await;
    assert_eq!(list.status, 200);
    let first = &list.body["migrations"][0];
    assert_eq!(keys(first), oldest);
    assert_eq!((&first["id"], &first["status"]), (&json!(1), &json!("error")));
    assert_eq!((&first["dest_compute"], &first["instance_uuid"]), (&Value::Null, &json!(id)));
    assert_eq!(first["created_at"], "2023-11-14T22:13:20.000000");
    let second = &list.body["migrations"][1];
    assert_eq!((&second["status"], &second["dest_compute"]), (&json!("pre-migrating"), &json!("node")));
    assert_eq!(
        (&second["old_instance_type_id"], &second["new_instance_type_id"], &second["dest_host"]),
        (&json!(1), &json!(2), &json!("127.0.0.1"))
    );
    client.at("2.23");
    let found = client.get("/v2.1/os-migrations?migration_type=resize").await.body;
    assert_eq!(found["migrations"].as_array().unwrap().len(), 1);
    assert_eq!(found["migrations"][0]["migration_type"], "resize");
    assert!(found["migrations"][0].get("uuid").is_none());
    client.at("2.59");
    let page = client.get("/v2.1/os-migrations?limit=1").await.body;
    assert_eq!(page["migrations"][0]["id"], 2);
    let next = page["migrations_links"][0]["href"].as_str().unwrap();
    let rest = client.get(next.strip_prefix("http://cloud:8774").unwrap()).await.body;
    assert_eq!(rest["migrations"][0]["id"], 1);
    assert_eq!(client.get("/v2.1/os-migrations?unknown=1").await.status, 400);
    assert_eq!(client.get("/v2.1/os-migrations?changes-before=2030-01-01").await.status, 400);
    let lost = client.get("/v2.1/os-migrations?marker=m").await;
    assert_eq!((lost.status, message(&lost)), (400, "Marker m could not be found."));
    client.at("2.80");
    let since = "/v2.1/os-migrations?changes-since=2023-11-14T22:13:25Z&changes-before=2030-01-01T00:00:00Z";
    let recent = client.get(since).await.body;
    assert_eq!(recent["migrations"].as_array().unwrap().len(), 1);
    assert!(
        recent["migrations"][0]["project_id"].is_string() && recent["migrations"][0]["user_id"].is_string()
    );
    assert_eq!(client.get("/v2.1/os-migrations?project_id=x").await.body["migrations"], json!([]));
    let member = client.cloud.user("someone", "member").await;
    let manager = client.cloud.user("chief", "manager").await;
    client.cloud.admin = member;
    assert_eq!(client.get("/v2.1/os-migrations").await.status, 403);
    client.cloud.admin = manager;
    assert_eq!(client.get("/v2.1/os-migrations").await.body, json!({"migrations": []}));
    client.cloud.execute("UPDATE server_migration SET project_id = 'project-chief'".into()).await;
    let own = client.get("/v2.1/os-migrations").await.body;
    assert_eq!(
        (own["migrations"].as_array().unwrap().len(), &own["migrations"][0]["source_compute"]),
        (2, &Value::Null)
    );
}

#[actix_web::test]
async fn moves_are_checked_and_find_no_host() {
    let (mut client, id, path) = server().await;
    let action = format!("{path}/action");
    // Before 2.56 the value of a migration says nothing.
    assert_eq!(client.post(&action, json!({"migrate": {"host": "node"}})).await.status, 202);
    client.at("2.56");
    let same = client.post(&action, json!({"migrate": {"host": "node"}})).await;
    assert_eq!((same.status, message(&same)), (400, "Cannot migrate to the host where the server exists."));
    assert_eq!(client.post(&action, json!({"migrate": {"x": 1}})).await.status, 400);
    assert_eq!(client.post(&action, json!({"migrate": null})).await.status, 202);

    let live = |value: Value| json!({"os-migrateLive": value});
    for (version, value, status, text) in [
        (
            "2.1",
            json!({"host": null, "block_migration": false}),
            400,
            "'disk_over_commit' is a required property",
        ),
        (
            "2.24",
            json!({"host": null, "block_migration": false, "disk_over_commit": false}),
            400,
            "No valid host was found. There are not enough hosts available.",
        ),
        (
            "2.24",
            json!({"host": null, "block_migration": "auto", "disk_over_commit": false}),
            400,
            "'auto' is not",
        ),
        (
            "2.25",
            json!({"host": null, "block_migration": "auto", "disk_over_commit": false}),
            400,
            "('disk_over_commit' was unexpected)",
        ),
        (
            "2.29",
            json!({"host": null, "block_migration": "auto", "force": true}),
            400,
            "('force' was unexpected)",
        ),
        (
            "2.30",
            json!({"host": null, "block_migration": "auto", "force": true}),
            400,
            "Can't force to a non-provided destination",
        ),
        (
            "2.33",
            json!({"host": "node", "block_migration": "auto", "force": true}),
            400,
            "Unable to migrate instance",
        ),
        (
            "2.34",
            json!({"host": "mars", "block_migration": true}),
            400,
            "Compute host mars could not be found.",
        ),
        ("2.34", json!({"host": null, "block_migration": "auto"}), 202, ""),
        (
            "2.68",
            json!({"host": "node", "block_migration": "auto", "force": false}),
            400,
            "('force' was unexpected)",
        ),
    ] {
        client.at(version);
        let answer = client.post(&action, live(value)).await;
        assert_eq!(answer.status, status, "{version} {}", answer.body);
        assert!(status == 202 || message(&answer).contains(text), "{version} {}", message(&answer));
    }

    for (version, value, status, text) in [
        ("2.13", json!({"adminPass": "x"}), 400, "'onSharedStorage' is a required property"),
        (
            "2.13",
            json!({"adminPass": "x", "onSharedStorage": "True"}),
            400,
            "admin password can't be changed on existing disk",
        ),
        ("2.13", json!({"onSharedStorage": false}), 400, "Compute service of node is still in use."),
        ("2.14", json!({"onSharedStorage": false}), 400, "('onSharedStorage' was unexpected)"),
        ("2.29", json!({"force": true}), 400, "Can't force to a non-provided destination"),
        ("2.95", json!({"host": "mars"}), 404, "Compute host mars not found."),
        ("2.95", json!({"host": "node"}), 400, "The target host can't be the same one."),
    ] {
        client.at(version);
        let answer = client.post(&action, json!({"evacuate": value})).await;
        assert_eq!(answer.status, status, "{version} {}", answer.body);
        assert!(message(&answer).contains(text), "{version} {}", message(&answer));
    }

    let one = format!("{path}/migrations/1");
    client.at("2.21");
    assert_eq!(client.post(&format!("{one}/action"), json!({"force_complete": null})).await.status, 404);
    client.at("2.22");
    let idle = client.post(&format!("{one}/action"), json!({"force_complete": null})).await;
    assert_eq!(idle.status, 409);
    assert_eq!(
        message(&idle),
        format!("Cannot 'force_complete' instance {id} while it is in task_state None")
    );
    assert_eq!(client.post(&format!("{one}/action"), json!({"force_complete": 1})).await.status, 400);
    assert_eq!(client.get(&format!("{path}/migrations")).await.status, 404);
    client.at("2.24");
    assert_eq!(client.get(&format!("{path}/migrations")).await.body, json!({"migrations": []}));
    let shown = client.get(&one).await;
    assert_eq!(
        (shown.status, message(&shown)),
        (404, &*format!("Migration 1 for server {id} is not live-migration."))
    );
    assert_eq!(client.send(Method::DELETE, &one, None).await.status, 409);
    let member = client.cloud.user("someone", "member").await;
    client.cloud.execute(format!("UPDATE server SET project_id = 'project-someone' WHERE id = '{id}'")).await;
    client.cloud.admin = member;
    assert_eq!(client.post(&action, json!({"migrate": null})).await.status, 403);
    assert_eq!(client.get(&format!("{path}/migrations")).await.status, 403);
}
