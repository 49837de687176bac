use super::*;
use crate::api::testing::{self, Cloud};
use crate::core::Kind;
use actix_web::FromRequest;
use actix_web::body::to_bytes;
use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::json;

const NEW_PATCH: &str = "application/openstack-images-v2.1-json-patch";

struct Answer {
    status: u16,
    headers: actix_web::http::header::HeaderMap,
    bytes: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|_| panic!("{}: {}", self.status, String::from_utf8_lossy(&self.bytes)))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn message(&self) -> String {
        self.json()["message"].as_str().unwrap().trim_end().trim_end_matches("<br /><br />").to_owned()
    }
}

/// Asks the API as somebody with a token.
async fn ask(cloud: &Cloud, token: &str, method: Method, path: &str, body: TestRequest) -> Answer {
    let request = body
        .method(method)
        .uri(&format!("{MOUNT}{path}"))
        .insert_header(("x-auth-token", token))
        .insert_header(("accept", "application/json"));
    let (request, mut payload) = request.to_http_parts();
    let payload = Payload::from_request(&request, &mut payload).await.unwrap();
    let response = serve(cloud.state.clone(), request, payload).await;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = to_bytes(response.into_body()).await.unwrap_or_else(|_| panic!("a body that breaks off"));
    Answer { status, headers, bytes }
}

async fn get(cloud: &Cloud, token: &str, path: &str) -> Answer {
    ask(cloud, token, Method::GET, path, TestRequest::default()).await
}

async fn delete(cloud: &Cloud, token: &str, path: &str) -> Answer {
    ask(cloud, token, Method::DELETE, path, TestRequest::default()).await
}

async fn post(cloud: &Cloud, token: &str, path: &str, body: &Value) -> Answer {
    ask(cloud, token, Method::POST, path, TestRequest::default().set_json(body)).await
}

async fn put(cloud: &Cloud, token: &str, path: &str, body: &Value) -> Answer {
    ask(cloud, token, Method::PUT, path, TestRequest::default().set_json(body)).await
}

async fn patch(cloud: &Cloud, token: &str, path: &str, body: &Value) -> Answer {
    let request =
        TestRequest::default().insert_header(("content-type", NEW_PATCH)).set_payload(body.to_string());
    ask(cloud, token, Method::PATCH, path, request).await
}

async fn send(cloud: &Cloud, token: &str, path: &str, bytes: &[u8]) -> Answer {
    let request = TestRequest::default()
        .insert_header(("content-type", "application/octet-stream"))
        .set_payload(bytes.to_vec());
    ask(cloud, token, Method::PUT, path, request).await
}

/// A raw image without bytes, and its path.
async fn queued(cloud: &Cloud, token: &str, more: Value) -> String {
    let mut body = json!({"disk_format": "raw", "container_format": "bare", "name": "i"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = post(cloud, token, "/v2/images", &body).await;
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.bytes));
    answer.json()["self"].as_str().unwrap().to_owned()
}

async fn active(cloud: &Cloud, token: &str, more: Value) -> String {
    let path = queued(cloud, token, more).await;
    assert_eq!(send(cloud, token, &format!("{path}/file"), b"hello").await.status, 204);
    path
}

async fn status(cloud: &Cloud, path: &str) -> String {
    get(cloud, &cloud.admin, path).await.json()["status"].as_str().unwrap().to_owned()
}

async fn names(cloud: &Cloud, token: &str, query: &str) -> Vec<String> {
    let answer = get(cloud, token, &format!("/v2/images{query}")).await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.bytes));
    let body = answer.json();
    let images = body["images"].as_array().unwrap();
    images.iter().map(|image| image["name"].as_str().unwrap_or_default().to_owned()).collect()
}

#[actix_web::test]
async fn versions_are_open_to_all() {
    let cloud = Cloud::new().await;
    for (path, expected) in [("", 300), ("/", 300), ("/versions", 200), ("/v2/", 200)] {
        let request = TestRequest::get().uri(&format!("{MOUNT}{path}")).to_http_request();
        let payload = Payload::extract(&request).await.unwrap();
        let response = serve(cloud.state.clone(), request, payload).await;
        assert_eq!(response.status(), expected, "{path}");
        let body = testing::body(response).await;
        assert_eq!(body["versions"][0]["id"], "v2.9");
        assert_eq!(body["versions"][0]["status"], "CURRENT");
        assert_eq!(body["versions"][9]["id"], "v2.0");
        let href = body["versions"][0]["links"][0]["href"].as_str().unwrap();
        assert!(href.starts_with("http://") && href.ends_with("/image/v2/"), "{href}");
    }
}

#[actix_web::test]
async fn an_image_from_birth_to_death() {
    let cloud = Cloud::new().await;
    let token = cloud.admin.as_str();
    let asked = json!({"name": "Ubuntu", "disk_format": "raw", "container_format": "bare", "tags": ["b", "a"],
        "kernel_id": null, "os_distro": "ubuntu"});
    let made = post(&cloud, token, "/v2/images", &asked).await;
    let image = made.json();
    let path = image["self"].as_str().unwrap().to_owned();
    assert!(made.header("location").ends_with(&format!("/image{path}")));
    assert_eq!(made.header("openstack-image-import-methods"), "glance-direct");
    for (key, value) in [
        ("status", json!("queued")),
        ("visibility", json!("shared")),
        ("size", Value::Null),
        ("checksum", Value::Null),
        ("os_hash_algo", Value::Null),
        ("kernel_id", Value::Null),
        ("os_distro", json!("ubuntu")),
        ("tags", json!(["a", "b"])),
        ("min_disk", json!(0)),
        ("created_at", json!("2023-11-14T22:13:20Z")),
        ("file", json!(format!("{path}/file"))),
        ("schema", json!("/v2/schemas/image")),
    ] {
        assert_eq!(image[key], value, "{key}");
    }
    let file = format!("{path}/file");
    assert_eq!(get(&cloud, token, &file).await.status, 204, "there is nothing to read yet");
    assert_eq!(send(&cloud, token, &file, b"hello").await.status, 204);
    let again = send(&cloud, token, &file, b"hello").await;
    assert_eq!(
        (again.status, again.message().as_str()),
        (409, "Image status transition from active to saving is not allowed")
    );
    let image = get(&cloud, token, &path).await.json();
    assert_eq!(
        (&image["status"], &image["size"], &image["virtual_size"]),
        (&json!("active"), &json!(5), &json!(5))
    );
    assert_eq!(image["checksum"], "5d41402abc4b2a76b9719d911017c592");
    assert_eq!(image["os_hash_algo"], "sha512");
    assert_eq!(image["os_hash_value"].as_str().unwrap().len(), 128);
    let whole = get(&cloud, token, &file).await;
    assert_eq!((whole.status, &*whole.bytes), (200, b"hello".as_slice()));
    assert_eq!(whole.header("content-md5"), "5d41402abc4b2a76b9719d911017c592");
    let request = TestRequest::default().insert_header(("range", "bytes=1-2"));
    let part = ask(&cloud, token, Method::GET, &file, request).await;
    assert_eq!(
        (part.status, &*part.bytes, part.header("content-range")),
        (206, b"el".as_slice(), "bytes 1-2/5")
    );
    let request = TestRequest::default().insert_header(("range", "bytes=9-"));
    assert_eq!(ask(&cloud, token, Method::GET, &file, request).await.status, 416);

    assert_eq!(delete(&cloud, token, &path).await.status, 204);
    assert_eq!(get(&cloud, token, &path).await.status, 404);
    assert_eq!(delete(&cloud, token, &path).await.status, 404);
    assert_eq!(get(&cloud, token, &file).await.status, 404);
    let again = json!({"id": image["id"], "name": "another"});
    assert_eq!(post(&cloud, token, "/v2/images", &again).await.status, 409, "an id is never given again");
    assert!(cloud.files("images").is_empty() && cloud.files("staging").is_empty());
}

#[actix_web::test]
async fn bytes_that_are_not_what_they_should_be_leave_nothing() {
    let cloud = Cloud::new().await;
    let token = cloud.admin.as_str();
    let path = queued(&cloud, token, json!({"disk_format": "qcow2"})).await;
    let file = format!("{path}/file");
    let refused = send(&cloud, token, &file, b"this is no qcow2").await;
    assert_eq!(refused.status, 415);
    assert!(refused.message().contains("Image disk_format qcow2 does not match stream data raw"));
    assert_eq!(status(&cloud, &path).await, "queued");
    let request = TestRequest::default().insert_header(("content-type", "text/plain")).set_payload("x");
    assert_eq!(ask(&cloud, token, Method::PUT, &file, request).await.status, 415);
    let raw = queued(&cloud, token, json!({})).await;
    let disguised = send(&cloud, token, &format!("{raw}/file"), b"QFI\xfb and so on").await;
    assert_eq!(disguised.status, 415);
    let request = TestRequest::default()
        .insert_header(("content-type", "application/octet-stream"))
        .insert_header(("x-openstack-image-size", "9"))
        .set_payload("short");
    let short = ask(&cloud, token, Method::PUT, &format!("{raw}/file"), request).await;
    assert_eq!(
        (short.status, short.message().as_str()),
        (400, "Size mismatch: expected 9 bytes, got 5 bytes")
    );
    assert_eq!(status(&cloud, &raw).await, "queued");
    let bare = post(&cloud, token, "/v2/images", &json!({"name": "no formats"})).await.json();
    let bare = format!("{}/file", bare["self"].as_str().unwrap());
    let refused = send(&cloud, token, &bare, b"hello").await;
    assert_eq!(refused.status, 400);
    assert_eq!(
        refused.message(),
        "Properties disk_format, container_format must be set prior to saving data."
    );
    cloud.wait_for_empty("staging").await;
    assert!(cloud.files("images").is_empty());
    assert_eq!(send(&cloud, token, &format!("{raw}/file"), b"hello").await.status, 204, "trying again works");
}

#[actix_web::test]
async fn an_upload_that_breaks_off_leaves_a_queued_image() {
    let cloud = Cloud::new().await;
    let path = queued(&cloud, &cloud.admin, json!({})).await;
    let id = path.rsplit('/').next().unwrap().parse().unwrap();
    let images = &cloud.state.services.images;
    let actor = cloud.actor(&cloud.admin).await;
    let mut upload =
        images.begin_upload(&actor, id, crate::core::service::images::Purpose::Use, None).await.unwrap();
    upload.write(Bytes::from(vec![1; 3 << 20])).await.unwrap();
    assert_eq!(status(&cloud, &path).await, "saving");
    let second = send(&cloud, &cloud.admin, &format!("{path}/file"), b"hello").await;
    assert_eq!(second.status, 409);
    drop(upload);
    for _ in 0..500 {
        if status(&cloud, &path).await == "queued" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(status(&cloud, &path).await, "queued");
    cloud.wait_for_empty("staging").await;
    let again = send(&cloud, &cloud.admin, &format!("{path}/file"), b"hello").await.status;
    assert_eq!(again, 204);
}

#[actix_web::test]
async fn an_image_deleted_under_its_upload_is_gone() {
    let cloud = Cloud::new().await;
    let path = queued(&cloud, &cloud.admin, json!({})).await;
    let id = path.rsplit('/').next().unwrap().parse().unwrap();
    let actor = cloud.actor(&cloud.admin).await;
    let purpose = crate::core::service::images::Purpose::Use;
    let mut upload = cloud.state.services.images.begin_upload(&actor, id, purpose, None).await.unwrap();
    upload.write(Bytes::from_static(b"hello")).await.unwrap();
    assert_eq!(delete(&cloud, &cloud.admin, &path).await.status, 204);
    assert_eq!(upload.finish().await.unwrap_err().kind(), Kind::Gone);
    assert!(cloud.files("images").is_empty());
}

#[actix_web::test]
async fn a_restart_brings_rows_and_files_together() {
    let cloud = Cloud::new().await;
    let kept = active(&cloud, &cloud.admin, json!({})).await;
    let path = queued(&cloud, &cloud.admin, json!({})).await;
    let id: ImageId = path.rsplit('/').next().unwrap().parse().unwrap();
    cloud.execute(format!("UPDATE image SET status = 'saving' WHERE id = '{id}'")).await;
    std::fs::write(cloud.path("images").join(id.to_string()), "half").unwrap();
    cloud.state.services.images.recover().await.unwrap();
    assert_eq!(status(&cloud, &path).await, "queued");
    assert_eq!(status(&cloud, &kept).await, "active");
    assert_eq!(cloud.files("images").len(), 1);
}

#[actix_web::test]
async fn quotas_and_limits_are_413() {
    let cloud = Cloud::new().await;
    let token = cloud.admin.as_str();
    let path = queued(&cloud, token, json!({})).await;
    let project = get(&cloud, token, &path).await.json()["owner"].as_str().unwrap().to_owned();
    cloud
        .execute(format!("INSERT INTO quota VALUES ('{project}', 'image_size_total', 1), ('{project}', 'image_count_total', 2)"))
        .await;
    let large = send(&cloud, token, &format!("{path}/file"), &vec![1; (1 << 20) + 1]).await;
    assert_eq!(large.status, 413);
    assert!(large.message().starts_with("Image exceeds the storage quota"));
    assert_eq!(status(&cloud, &path).await, "queued");
    assert_eq!(send(&cloud, token, &format!("{path}/file"), &vec![1; 1 << 20]).await.status, 204);
    let second = queued(&cloud, token, json!({})).await;
    assert_eq!(send(&cloud, token, &format!("{second}/file"), b"x").await.status, 413);
    assert_eq!(post(&cloud, token, "/v2/images", &json!({"name": "third"})).await.status, 413);
    let usage = get(&cloud, token, "/v2/info/usage").await.json();
    assert_eq!(usage["usage"]["image_count_total"], json!({"usage": 2, "limit": 2}));
    assert_eq!(usage["usage"]["image_size_total"], json!({"usage": 1, "limit": 1}));
    cloud.wait_for_empty("staging").await;
}

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
async fn staged_bytes_become_an_image_by_import() {
    let cloud = Cloud::new().await;
    let token = cloud.admin.as_str();
    let path = queued(&cloud, token, json!({})).await;
    let request = json!({"method": {"name": "glance-direct"}});
    assert_eq!(post(&cloud, token, &format!("{path}/import"), &request).await.status, 409);
    assert_eq!(send(&cloud, token, &format!("{path}/stage"), b"hello").await.status, 204);
    assert_eq!(status(&cloud, &path).await, "uploading");
    assert_eq!(get(&cloud, token, &format!("{path}/file")).await.status, 204);
    let web = json!({"method": {"name": "web-download", "uri": "http://127.0.0.1/"}});
    assert_eq!(post(&cloud, token, &format!("{path}/import"), &web).await.status, 400);
    assert_eq!(post(&cloud, token, &format!("{path}/import"), &request).await.status, 202);
    assert_eq!(status(&cloud, &path).await, "active");
    assert_eq!(post(&cloud, token, &format!("{path}/import"), &request).await.status, 409);
    let tasks = get(&cloud, token, &format!("{path}/tasks")).await.json();
    assert_eq!(tasks["tasks"][0]["status"], "success");
    assert_eq!(tasks["tasks"][0]["input"]["import_req"], request);
    let all = get(&cloud, token, "/v2/tasks?limit=1").await.json();
    assert_eq!(all["tasks"][0]["id"], tasks["tasks"][0]["id"]);
    let next = all["next"].as_str().unwrap().to_owned();
    assert_eq!(get(&cloud, token, &next).await.json()["tasks"], json!([]));
    assert_eq!(get(&cloud, token, "/v2/tasks?status=failure").await.json()["tasks"], json!([]));
    let one = get(&cloud, token, all["tasks"][0]["self"].as_str().unwrap()).await.json();
    assert_eq!(one["input"]["import_req"], request);
    assert_eq!(get(&cloud, token, "/v2/tasks/nothing").await.status, 404);
    let member = cloud.user("bob", "member").await;
    assert_eq!(get(&cloud, &member, "/v2/tasks").await.status, 403);
    assert_eq!(&*get(&cloud, token, &format!("{path}/file")).await.bytes, b"hello");
    let methods = get(&cloud, token, "/v2/info/import").await.json();
    assert_eq!(methods["import-methods"]["value"], json!(["glance-direct"]));
    assert_eq!(get(&cloud, token, "/v2/info/stores").await.status, 404);
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

#[actix_web::test]
async fn lists_have_pages() {
    let cloud = Cloud::new().await;
    let token = cloud.admin.as_str();
    for name in ["a", "b", "c"] {
        queued(&cloud, token, json!({ "name": name })).await;
        cloud.clock.advance(1);
    }
    assert_eq!(names(&cloud, token, "").await, ["c", "b", "a"]);
    let first = get(&cloud, token, "/v2/images?limit=2&sort=name:asc").await.json();
    assert_eq!(first["first"], "/v2/images?limit=2&sort=name%3Aasc");
    let next = first["next"].as_str().unwrap().to_owned();
    let second = get(&cloud, token, &next).await.json();
    assert_eq!(second["images"][0]["name"], "c");
    assert!(second.get("next").is_none());
    assert_eq!(second["schema"], "/v2/schemas/images");
    assert_eq!(get(&cloud, token, &format!("/v2/images?marker={}", ImageId::random())).await.status, 400);
    assert_eq!(get(&cloud, token, "/v2/images?limit=x").await.status, 400);
    assert!(names(&cloud, token, "?limit=0").await.is_empty());
}

#[actix_web::test]
async fn what_does_not_exist() {
    let cloud = Cloud::new().await;
    let token = cloud.admin.as_str();
    let unknown = ImageId::random();
    let answer = get(&cloud, token, &format!("/v2/images/{unknown}")).await;
    assert_eq!((answer.status, answer.message()), (404, format!("No image found with ID {unknown}")));
    assert_eq!(answer.json()["code"], "404 Not Found");
    assert_eq!(get(&cloud, token, "/v2/images/my-image").await.status, 404);
    assert_eq!(get(&cloud, token, "/v2/images/").await.status, 404, "an empty id is not the list");
    assert_eq!(delete(&cloud, token, "/v2/images/").await.status, 404);
    assert_eq!(get(&cloud, token, "/v2/nothing").await.status, 404);
    let wrong = put(&cloud, token, "/v2/images", &json!({})).await;
    assert_eq!((wrong.status, wrong.header("allow")), (405, "GET, POST"));
    assert_eq!(put(&cloud, token, &format!("/v2/images/{unknown}/tags/x"), &json!({})).await.status, 404);
    assert_eq!(get(&cloud, "no token", "/v2/images").await.status, 401);
    for body in ["", "nonsense", "5"] {
        let request = TestRequest::default().set_payload(body);
        assert_eq!(ask(&cloud, token, Method::POST, "/v2/images", request).await.status, 400, "{body:?}");
    }
}

#[actix_web::test]
async fn readers_read() {
    let cloud = Cloud::new().await;
    let reader = cloud.user("rita", "reader").await;
    assert_eq!(get(&cloud, &reader, "/v2/images").await.status, 200);
    let refused = post(&cloud, &reader, "/v2/images", &json!({"name": "x"})).await;
    assert_eq!(
        (refused.status, refused.message().as_str()),
        (403, "You are not authorized to complete add_image action.")
    );
    let public = active(&cloud, &cloud.admin, json!({"visibility": "public"})).await;
    assert_eq!(get(&cloud, &reader, &public).await.status, 200);
    assert_eq!(get(&cloud, &reader, &format!("{public}/file")).await.status, 403);
    let member = cloud.user("mia", "member").await;
    assert_eq!(get(&cloud, &member, &format!("{public}/file")).await.status, 200);
    let denied = post(&cloud, &member, "/v2/images", &json!({"visibility": "public"})).await;
    assert_eq!(denied.status, 403);
}

#[actix_web::test]
async fn schemas_fit_what_is_shown() {
    let cloud = Cloud::new().await;
    let token = cloud.admin.as_str();
    let path = active(&cloud, token, json!({"ramdisk_id": null, "os_distro": "x"})).await;
    for (schema, shown) in [("image", path.as_str()), ("images", "/v2/images")] {
        let schema = get(&cloud, token, &format!("/v2/schemas/{schema}")).await.json();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let shown = get(&cloud, token, shown).await.json();
        assert!(validator.is_valid(&shown), "{:?}", validator.iter_errors(&shown).collect::<Vec<_>>());
    }
    for name in ["member", "members"] {
        assert_eq!(get(&cloud, token, &format!("/v2/schemas/{name}")).await.json()["name"], name);
    }
}
