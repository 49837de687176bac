//! What changes about an image: its properties, tags, state and members.

use super::*;

#[actix_web::test]
async fn updates_in_both_dialects() {
    let cloud = Cloud::new().await;
    let token = cloud.admin.as_str();
    let path = queued(&cloud, token, json!({"color": "red"})).await;
    cloud.clock.advance(5);
    let changes = json!([{"op": "replace", "path": "/name", "value": "new"}, {"op": "add", "path": "/a~1b", "value": "c"},
        {"op": "remove", "path": "/color"}, {"op": "replace", "path": "/tags", "value": ["x", "y", "x"]}]);
    let image = patch(&cloud, token, &path, &changes).await.json();
    assert_eq!(
        (&image["name"], &image["a/b"], &image["tags"]),
        (&json!("new"), &json!("c"), &json!(["x", "y"]))
    );
    assert!(image.get("color").is_none());
    assert_ne!(image["updated_at"], image["created_at"]);
    for (change, status) in [
        (json!([{"op": "replace", "path": "/nothing", "value": "x"}]), 409),
        (json!([{"op": "remove", "path": "/nothing"}]), 409),
        (json!([{"op": "remove", "path": "/name"}]), 403),
        (json!([{"op": "replace", "path": "/id", "value": "x"}]), 403),
        (json!([{"op": "replace", "path": "/min_disk", "value": -1}]), 400),
        (
            json!([{"op": "replace", "path": "/name", "value": "kept"}, {"op": "remove", "path": "/nothing"}]),
            409,
        ),
        (json!([]), 200),
    ] {
        assert_eq!(patch(&cloud, token, &path, &change).await.status, status, "{change}");
    }
    assert_eq!(get(&cloud, token, &path).await.json()["name"], "new", "a failed patch changes nothing");
    let old = TestRequest::default()
        .insert_header(("content-type", "application/openstack-images-v2.0-json-patch"))
        .set_payload(r#"[{"replace": "/protected", "value": true}]"#);
    assert_eq!(ask(&cloud, token, Method::PATCH, &path, old).await.json()["protected"], true);
    let refused = delete(&cloud, token, &path).await;
    assert_eq!(refused.status, 403);
    assert!(refused.message().ends_with("is protected and cannot be deleted."));
    let wrong = TestRequest::default().set_json(json!([]));
    let wrong = ask(&cloud, token, Method::PATCH, &path, wrong).await;
    assert_eq!(wrong.status, 415);
    assert!(wrong.header("accept-patch").contains(NEW_PATCH));
}

#[actix_web::test]
async fn tags_and_activity() {
    let cloud = Cloud::new().await;
    let token = cloud.admin.as_str();
    let path = queued(&cloud, token, json!({})).await;
    let tag = format!("{path}/tags/a%20b");
    assert_eq!(put(&cloud, token, &tag, &json!({})).await.status, 204);
    assert_eq!(get(&cloud, token, &path).await.json()["tags"], json!(["a b"]));
    assert_eq!(delete(&cloud, token, &tag).await.status, 204);
    assert_eq!(delete(&cloud, token, &tag).await.status, 404);
    assert_eq!(put(&cloud, token, &format!("{path}/tags/{}", "x".repeat(256)), &json!({})).await.status, 400);

    let deactivate = format!("{path}/actions/deactivate");
    let early = post(&cloud, token, &deactivate, &json!({})).await;
    assert_eq!(
        (early.status, early.message().as_str()),
        (403, "Not allowed to deactivate image in status 'queued'")
    );
    assert_eq!(send(&cloud, token, &format!("{path}/file"), b"hello").await.status, 204);
    let member = cloud.user("bob", "member").await;
    let public = json!([{"op": "replace", "path": "/visibility", "value": "public"}]);
    assert_eq!(patch(&cloud, token, &path, &public).await.status, 200);
    for _ in 0..2 {
        assert_eq!(post(&cloud, token, &deactivate, &json!({})).await.status, 204);
    }
    assert_eq!(status(&cloud, &path).await, "deactivated");
    assert_eq!(get(&cloud, &member, &format!("{path}/file")).await.status, 403);
    assert_eq!(get(&cloud, token, &format!("{path}/file")).await.status, 200);
    assert_eq!(post(&cloud, token, &format!("{path}/actions/reactivate"), &json!({})).await.status, 204);
    assert_eq!(get(&cloud, &member, &format!("{path}/file")).await.status, 200);
}

#[actix_web::test]
async fn sharing_asks_both_sides() {
    let cloud = Cloud::new().await;
    let owner = cloud.user("ann", "member").await;
    let other = cloud.user("bob", "member").await;
    let project = cloud.actor(&other).await.project_id.unwrap();
    let path = queued(&cloud, &owner, json!({"name": "shared"})).await;
    assert_eq!(get(&cloud, &other, &path).await.status, 404);
    let members = format!("{path}/members");
    let body = json!({"member": project});
    let made = post(&cloud, &owner, &members, &body).await;
    assert_eq!((made.status, &made.json()["status"]), (200, &json!("pending")));
    assert_eq!(post(&cloud, &owner, &members, &body).await.status, 409);
    assert_eq!(get(&cloud, &other, &path).await.status, 200);
    assert!(names(&cloud, &other, "").await.is_empty());
    assert_eq!(names(&cloud, &other, "?visibility=shared&member_status=pending").await, ["shared"]);
    let member = format!("{members}/{project}");
    let accept = json!({"status": "accepted"});
    assert_eq!(put(&cloud, &owner, &member, &accept).await.status, 403, "not the owner's to accept");
    assert_eq!(put(&cloud, &other, &member, &json!({"status": "perhaps"})).await.status, 400);
    assert_eq!(put(&cloud, &other, &member, &accept).await.json()["status"], "accepted");
    assert_eq!(names(&cloud, &other, "").await, ["shared"]);
    let list = get(&cloud, &owner, &members).await.json();
    assert_eq!(list["members"][0]["member_id"], json!(project));
    assert_eq!(list["schema"], "/v2/schemas/members");
    assert_eq!(get(&cloud, &other, &member).await.json()["status"], "accepted");
    assert_eq!(post(&cloud, &other, &members, &json!({"member": "x"})).await.status, 403);
    assert_eq!(delete(&cloud, &other, &member).await.status, 403);
    let changed =
        patch(&cloud, &other, &path, &json!([{"op": "replace", "path": "/name", "value": "x"}])).await;
    assert_eq!(changed.status, 403);
    assert_eq!(delete(&cloud, &other, &path).await.status, 403);
    assert_eq!(delete(&cloud, &owner, &member).await.status, 204);
    assert_eq!(delete(&cloud, &owner, &member).await.status, 404);
    assert_eq!(get(&cloud, &other, &path).await.status, 404);
    let private = queued(&cloud, &owner, json!({"visibility": "private"})).await;
    let refused = get(&cloud, &owner, &format!("{private}/members")).await;
    assert_eq!(refused.status, 403);
    assert!(refused.message().ends_with("Only shared images have members."));
}
