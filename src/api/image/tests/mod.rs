//! The image API from outside: requests in, bodies out, over a cloud in memory.

mod changes;
mod data;

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
    assert_eq!((wrong.status, wrong.header("allow")), (405, "GET, HEAD, POST"));
    let head = ask(&cloud, token, Method::HEAD, "/v2/images", TestRequest::default()).await;
    assert_eq!(head.status, 200, "what is allowed is served");
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
