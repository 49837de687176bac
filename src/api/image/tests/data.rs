//! An image's bytes: uploads, imports, and what they may hold.

use super::*;

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

/// What clients send that take their standard input for the image and find nothing in it.
#[actix_web::test]
async fn no_bytes_are_a_raw_image() {
    let cloud = Cloud::new().await;
    let token = cloud.admin.as_str();
    let path = queued(&cloud, token, json!({})).await;
    let file = format!("{path}/file");
    assert_eq!(send(&cloud, token, &file, b"").await.status, 204);
    let image = get(&cloud, token, &path).await.json();
    assert_eq!((&image["status"], &image["size"]), (&json!("active"), &json!(0)));
    assert_eq!(image["checksum"], "d41d8cd98f00b204e9800998ecf8427e");
    assert_eq!(get(&cloud, token, &file).await.bytes, "");
    let qcow2 = queued(&cloud, token, json!({"disk_format": "qcow2"})).await;
    assert_eq!(send(&cloud, token, &format!("{qcow2}/file"), b"").await.status, 415);
}
