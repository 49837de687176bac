//! Images of servers as clients ask for them.

use super::servers::{client, make, settle};
use super::{Answer, message};
use serde_json::json;

fn located(answer: &Answer) -> Option<String> {
    let location = answer.headers.get("location")?.to_str().unwrap();
    location.strip_prefix("http://cloud:8774/image/v2/images/").map(str::to_owned)
}

#[actix_web::test]
async fn an_image_is_named_by_location_and_later_by_body() {
    let mut client = client().await;
    let id = make(&client, "photo").await;
    settle(&client, &id).await;
    let path = format!("/v2.1/servers/{id}/action");
    let wanted = json!({"createImage": {"name": "foo-image", "metadata": {"meta_var": "meta_val"}}});
    let made = client.post(&path, wanted.clone()).await;
    assert_eq!((made.status, &made.body), (202, &json!(null)), "{}", made.body);
    let image = located(&made).unwrap();
    let shown = client.get(&format!("/v2.1/servers/{id}")).await.body;
    assert_eq!(shown["server"]["OS-EXT-STS:task_state"], "image_snapshot_pending");
    assert_eq!(shown["server"]["status"], "ACTIVE");
    let busy = client.post(&path, wanted.clone()).await;
    assert_eq!(
        (busy.status, message(&busy)),
        (
            409,
            format!("Cannot 'createImage' instance {id} while it is in task_state image_snapshot_pending")
                .as_str()
        )
    );
    let row = client.get(&format!("/v2.1/images/{image}")).await.body;
    assert_eq!((&row["image"]["status"], &row["image"]["name"]), (&json!("SAVING"), &json!("foo-image")));
    let metadata = &row["image"]["metadata"];
    for (key, value) in [
        ("image_type", json!("snapshot")),
        ("instance_uuid", json!(id)),
        ("meta_var", json!("meta_val")),
        ("owner_user_name", json!("admin")),
        ("owner_project_name", json!("admin")),
        ("base_image_ref", json!("70a599e0-31e7-49b7-b260-868f441e862b")),
    ] {
        assert_eq!(metadata[key], value, "{key} in {metadata}");
    }

    settle(&client, &id).await;
    client.at("2.45");
    let made = client.post(&path, wanted).await;
    assert_eq!((made.status, located(&made)), (202, None));
    let keys: Vec<&String> = made.body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["image_id"]);
    let history = client.get(&format!("/v2.1/servers/{id}/os-instance-actions")).await.body;
    assert_eq!(history["instanceActions"][0]["action"], "createImage");
}

#[actix_web::test]
async fn a_backup_that_keeps_nothing_has_no_location() {
    let mut client = client().await;
    let id = make(&client, "tape").await;
    let path = format!("/v2.1/servers/{id}/action");
    let wanted = |rotation: serde_json::Value| json!({"createBackup": {"name": "Backup 1", "backup_type": "daily", "rotation": rotation}});
    settle(&client, &id).await;
    assert!(located(&client.post(&path, wanted(json!("1"))).await).is_some());
    settle(&client, &id).await;
    let none = client.post(&path, wanted(json!(0))).await;
    assert_eq!((none.status, located(&none)), (202, None));
    settle(&client, &id).await;
    client.at("2.45");
    let named = client.post(&path, wanted(json!(0))).await;
    assert!(named.body["image_id"].is_string());
    for (body, text) in [
        (wanted(json!(-1)), "Invalid input for field/attribute rotation. Value: -1."),
        (json!({"createBackup": {"name": "x", "rotation": 1}}), "'backup_type' is a required property"),
        (json!({"createImage": {"name": ""}}), "Invalid input for field/attribute name."),
        (json!({"createImage": {}}), "'name' is a required property"),
        (json!({"createImage": {"name": "x", "colour": "red"}}), "Additional properties are not allowed"),
    ] {
        let refused = client.post(&path, body).await;
        assert_eq!(refused.status, 400);
        assert!(message(&refused).contains(text), "{}", message(&refused));
    }
}

#[actix_web::test]
async fn metadata_was_limited_once() {
    let mut client = client().await;
    let id = make(&client, "full").await;
    settle(&client, &id).await;
    client.cloud.execute("INSERT INTO quota SELECT project_id, 'metadata_items', 1 FROM server".into()).await;
    let path = format!("/v2.1/servers/{id}/action");
    let wanted = json!({"createImage": {"name": "x", "metadata": {"a": "1", "b": "2"}}});
    let refused = client.at("2.38").post(&path, wanted.clone()).await;
    assert_eq!((refused.status, message(&refused)), (403, "Image metadata limit exceeded"));
    assert_eq!(client.at("2.39").post(&path, wanted).await.status, 202);
}
