//! Rebuild, rescue and passwords as clients see them. No host is there: what was accepted stays undone.

use super::message;
use super::servers::{IMAGE, client, make, settle};
use actix_web::http::Method;
use serde_json::{Value, json};

fn rebuild(more: &Value) -> Value {
    let mut body = json!({"imageRef": IMAGE});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "rebuild": body })
}

#[actix_web::test]
async fn a_rebuild_answers_with_the_server_as_it_will_be() {
    let mut client = client().await;
    let id = make(&client, "old").await;
    settle(&client, &id).await;
    let path = format!("/v2.1/servers/{id}/action");
    let body = rebuild(&json!({
        "name": "new", "adminPass": "seekr3t", "metadata": {"a": "b"}, "accessIPv4": "1.2.3.4",
        "accessIPv6": "80fe::", "OS-DCF:diskConfig": "AUTO", "preserve_ephemeral": false,
        "personality": [{"path": "/etc/banner.txt", "contents": "aGVsbG8="}],
    }));
    let answer = client.post(&path, body).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert_eq!(answer.headers.get("location").unwrap(), &format!("http://cloud:8774/v2.1/servers/{id}"));
    let server = &answer.body["server"];
    let mut keys: Vec<&str> = server.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "OS-DCF:diskConfig",
            "accessIPv4",
            "accessIPv6",
            "addresses",
            "adminPass",
            "created",
            "flavor",
            "hostId",
            "id",
            "image",
            "links",
            "metadata",
            "name",
            "progress",
            "status",
            "tenant_id",
            "updated",
            "user_id",
        ]
    );
    for (key, value) in [
        ("name", json!("new")),
        ("status", json!("REBUILD")),
        ("adminPass", json!("seekr3t")),
        ("metadata", json!({"a": "b"})),
        ("accessIPv4", json!("1.2.3.4")),
        ("accessIPv6", json!("80fe::")),
        ("OS-DCF:diskConfig", json!("AUTO")),
        ("progress", json!(0)),
    ] {
        assert_eq!(server[key], value, "{key}");
    }
    settle(&client, &id).await;
    client.at("2.96");
    let key = json!({"keypair": {"name": "mine", "public_key":
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ me"}});
    assert_eq!(client.post("/v2.1/os-keypairs", key).await.status, 201);
    let body = rebuild(&json!({
        "key_name": "mine", "user_data": "aGVsbG8=", "description": "d", "hostname": "host.example.org",
        "trusted_image_certificates": ["c1"],
    }));
    let answer = client.post(&path, body).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let server = &answer.body["server"];
    for (key, value) in [
        ("name", json!("new")),
        ("key_name", json!("mine")),
        ("user_data", json!("aGVsbG8=")),
        ("description", json!("d")),
        ("OS-EXT-SRV-ATTR:hostname", json!("host.example.org")),
        ("trusted_image_certificates", json!(["c1"])),
        ("OS-EXT-STS:task_state", json!("rebuilding")),
    ] {
        assert_eq!(server[key], value, "{key}");
    }
    assert_eq!(server["adminPass"].as_str().unwrap().len(), 12);
    settle(&client, &id).await;
    let cleared = client.post(&path, rebuild(&json!({"key_name": null, "user_data": null}))).await.body;
    assert_eq!(
        (&cleared["server"]["key_name"], &cleared["server"]["user_data"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(cleared["server"]["description"], "d");
}

#[actix_web::test]
async fn rebuilds_are_checked_by_version_and_then_by_what_exists() {
    let mut client = client().await;
    let id = make(&client, "one").await;
    let path = format!("/v2.1/servers/{id}/action");
    let busy = client.post(&path, rebuild(&json!({}))).await;
    assert_eq!(busy.status, 409, "{}", busy.body);
    assert!(
        message(&busy)
            .starts_with(&format!("Cannot 'rebuild' instance {id} while it is in vm_state building"))
    );
    settle(&client, &id).await;
    for (version, more, status) in [
        ("2.18", json!({"description": "d"}), 400),
        ("2.53", json!({"key_name": null}), 400),
        ("2.56", json!({"user_data": null}), 400),
        ("2.57", json!({"personality": []}), 400),
        ("2.62", json!({"trusted_image_certificates": null}), 400),
        ("2.89", json!({"hostname": "web"}), 400),
        ("2.93", json!({"hostname": "web.example.org"}), 400),
        ("2.93", json!({"key_name": "nobody's"}), 400),
        ("2.93", json!({"flavorRef": "1"}), 400),
    ] {
        client.at(version);
        let answer = client.post(&path, rebuild(&more)).await;
        assert_eq!(answer.status, status, "{version} {more} {}", answer.body);
    }
    assert_eq!(client.post(&path, json!({"rebuild": {"name": "no image"}})).await.status, 400);
    let unknown = json!({"rebuild": {"imageRef": "11111111-2222-3333-4444-555555555555"}});
    let answer = client.post(&path, unknown).await;
    assert_eq!((answer.status, message(&answer)), (400, "Cannot find image for rebuild"));
    let many: serde_json::Map<String, Value> = (0..129).map(|n| (n.to_string(), json!(""))).collect();
    let answer = client.post(&path, rebuild(&json!({ "metadata": many }))).await;
    assert_eq!((answer.status, message(&answer)), (403, "Maximum number of metadata items exceeds 128"));
    client.cloud.execute("UPDATE image SET min_ram_mib = 100000".into()).await;
    let answer = client.post(&path, rebuild(&json!({}))).await;
    assert_eq!((answer.status, message(&answer)), (400, "Flavor's memory is too small for requested image."));
    client.cloud.execute("UPDATE image SET status = 'deactivated'".into()).await;
    let answer = client.post(&path, rebuild(&json!({}))).await;
    assert_eq!(answer.status, 400);
    assert_eq!(message(&answer), format!("Image {IMAGE} is not active."));
    let shown = client.get(&format!("/v2.1/servers/{id}")).await.body;
    assert_eq!(shown["server"]["status"], "ACTIVE", "what is refused changes nothing");
}

#[actix_web::test]
async fn a_rescue_tells_its_password_once() {
    let client = client().await;
    let id = make(&client, "one").await;
    settle(&client, &id).await;
    let path = format!("/v2.1/servers/{id}/action");
    assert_eq!(client.post(&path, json!({"rescue": {"image": IMAGE}})).await.status, 400);
    let missing = "11111111-2222-3333-4444-555555555555";
    let answer = client.post(&path, json!({"rescue": {"rescue_image_ref": missing}})).await;
    assert_eq!(answer.status, 400);
    assert_eq!(message(&answer), format!("Requested rescue image '{missing}' is not supported"));
    let answer = client.post(&path, json!({"unrescue": null})).await;
    assert_eq!(
        (answer.status, message(&answer)),
        (409, &*format!("Cannot 'unrescue' instance {id} while it is in vm_state active"))
    );
    let body = json!({"rescue": {"adminPass": "MySecretPass", "rescue_image_ref": IMAGE}});
    let answer = client.post(&path, body).await;
    assert_eq!((answer.status, answer.body), (200, json!({"adminPass": "MySecretPass"})));
    let shown = client.get(&format!("/v2.1/servers/{id}")).await.body;
    assert_eq!(shown["server"]["OS-EXT-STS:task_state"], "rescuing");
    settle(&client, &id).await;
    let answer = client.post(&path, json!({"rescue": null})).await;
    assert_eq!((answer.status, answer.body["adminPass"].as_str().unwrap().len()), (200, 12));
}

#[actix_web::test]
async fn passwords_are_set_in_guests_that_run() {
    let client = client().await;
    let id = make(&client, "one").await;
    let path = format!("/v2.1/servers/{id}/action");
    let change = || json!({"changePassword": {"adminPass": "new"}});
    assert_eq!(client.post(&path, change()).await.status, 409);
    settle(&client, &id).await;
    assert_eq!(client.post(&path, json!({"changePassword": {}})).await.status, 400);
    assert_eq!(client.post(&path, json!({"changePassword": {"adminPass": 7}})).await.status, 400);
    let answer = client.post(&path, change()).await;
    assert_eq!(answer.status, 409);
    assert_eq!(
        message(&answer),
        format!("Failed to set admin password on {id} because instance {id} is not running")
    );
    let password = format!("/v2.1/servers/{id}/os-server-password");
    assert_eq!(client.get(&password).await.body, json!({"password": ""}));
    client.cloud.execute("UPDATE server SET guest_password = 'xlozO3wLCBRWAa2y=='".into()).await;
    assert_eq!(client.get(&password).await.body, json!({"password": "xlozO3wLCBRWAa2y=="}));
    assert_eq!(client.send(Method::DELETE, &password, None).await.status, 204);
    assert_eq!(client.get(&password).await.body, json!({"password": ""}));
}

#[actix_web::test]
async fn images_say_whether_partitions_follow_the_disk() {
    let client = client().await;
    let says = async |value: &str| {
        let properties = json!({ "auto_disk_config": value });
        client
            .cloud
            .execute(format!("UPDATE image SET properties = '{properties}' WHERE id = '{IMAGE}'"))
            .await;
    };
    let body = |more: &Value| {
        let mut server = json!({"name": "one", "imageRef": IMAGE, "flavorRef": 1});
        server.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "server": server })
    };
    says("True").await;
    let made = client.post("/v2.1/servers", body(&json!({}))).await.body;
    assert_eq!(made["server"]["OS-DCF:diskConfig"], "AUTO");
    let id = made["server"]["id"].as_str().unwrap().to_owned();
    let shown = client.get(&format!("/v2.1/servers/{id}")).await.body;
    assert_eq!(shown["server"]["OS-DCF:diskConfig"], "AUTO");
    settle(&client, &id).await;

    says("disabled").await;
    let words = format!("Requested image {IMAGE} has automatic disk resize disabled.");
    let wanted = json!({"OS-DCF:diskConfig": "AUTO"});
    let refused = client.post("/v2.1/servers", body(&wanted)).await;
    assert_eq!((refused.status, message(&refused)), (400, words.as_str()));
    let refused = client.post(&format!("/v2.1/servers/{id}/action"), rebuild(&wanted)).await;
    assert_eq!((refused.status, message(&refused)), (400, words.as_str()));
    let manual = client.post("/v2.1/servers", body(&json!({"OS-DCF:diskConfig": "MANUAL"}))).await;
    assert_eq!(manual.status, 202, "{}", manual.body);
}

#[actix_web::test]
async fn the_legacy_mount_takes_images_by_url() {
    let client = client().await;
    let url = format!("http://openstack.example.com/openstack/images/{IMAGE}");
    let body = |image: &str| json!({"server": {"name": "one", "imageRef": image, "flavorRef": "http://x/flavors/1"}});
    let made = client.post("/v2/servers", body(&url)).await;
    assert_eq!(made.status, 202, "{}", made.body);
    let id = made.body["server"]["id"].as_str().unwrap().to_owned();
    let shown = client.get(&format!("/v2/servers/{id}")).await.body;
    assert_eq!(shown["server"]["image"]["id"], IMAGE);
    settle(&client, &id).await;
    let path = format!("/servers/{id}/action");
    let again = json!({"rebuild": {"imageRef": url}});
    assert_eq!(client.post(&format!("/v2.1{path}"), again.clone()).await.status, 400);
    assert_eq!(client.post(&format!("/v2{path}"), again).await.status, 202);
    assert_eq!(client.post("/v2.1/servers", body(&url)).await.status, 400);
    assert_eq!(client.post("/v2/servers", body("http://x/images/none")).await.status, 400);
}
