//! The image proxies as a client sees them.

use super::tests::Client;
use crate::core::image::{Attribute, ContainerFormat, DiskFormat};
use crate::core::service::images::Purpose;
use actix_web::http::Method;
use bytes::Bytes;
use serde_json::{Value, json};

/// An active image with properties, by its id.
async fn image(client: &Client, name: &str, properties: &[(&str, &str)]) -> String {
    let cloud = &client.cloud;
    let actor = cloud.actor(&cloud.admin).await;
    let mut attributes = vec![
        Attribute::Name(Some(name.into())),
        Attribute::DiskFormat(Some(DiskFormat::Raw)),
        Attribute::ContainerFormat(Some(ContainerFormat::Bare)),
    ];
    attributes.extend(properties.iter().map(|(k, v)| Attribute::Property((*k).into(), Some((*v).into()))));
    let images = &cloud.state.services.images;
    let made = images.create(&actor, None, &attributes).await.unwrap();
    let mut upload = images.begin_upload(&actor, made.id, Purpose::Use, None).await.unwrap();
    upload.write(Bytes::from_static(b"hello")).await.unwrap();
    upload.finish().await.unwrap();
    cloud.clock.advance(1);
    made.id.to_string()
}

fn names(body: &Value) -> Vec<&str> {
    body["images"].as_array().unwrap().iter().map(|image| image["name"].as_str().unwrap()).collect()
}

#[actix_web::test]
async fn images_are_shown_the_old_way() {
    let client = Client::new().await;
    let server = "70a599e0-31e7-49b7-b260-868f441e862b";
    let id = image(
        &client,
        "one",
        &[("instance_uuid", server), ("auto_disk_config", "True"), ("mappings", "[1]")],
    )
    .await;
    let answer = client.get(&format!("/v2.1/images/{id}")).await;
    assert_eq!(answer.status, 200);
    let links = |collection: &str, id: &str| {
        json!([
            {"rel": "self", "href": format!("http://cloud:8774/v2.1/{collection}/{id}")},
            {"rel": "bookmark", "href": format!("http://cloud:8774/{collection}/{id}")},
        ])
    };
    let mut own = links("images", &id);
    own.as_array_mut().unwrap().push(json!({
        "rel": "alternate",
        "type": "application/vnd.openstack.image",
        "href": format!("http://cloud:8774/image/images/{id}"),
    }));
    assert_eq!(
        answer.body,
        json!({"image": {
            "id": id,
            "name": "one",
            "minRam": 0,
            "minDisk": 0,
            "metadata": {"instance_uuid": server, "auto_disk_config": "True", "mappings": [1]},
            "created": "2023-11-14T22:13:20Z",
            "updated": "2023-11-14T22:13:20Z",
            "status": "ACTIVE",
            "progress": 100,
            "OS-EXT-IMG-SIZE:size": 5,
            "OS-DCF:diskConfig": "AUTO",
            "links": own,
            "server": {"id": server, "links": links("servers", server)},
        }})
    );
    let list = client.get("/v2.1/images").await.body;
    assert_eq!(list["images"][0].as_object().unwrap().len(), 3);
    assert_eq!(list["images"][0]["links"], own);
    assert!(list.get("images_links").is_none());
}

#[actix_web::test]
async fn lists_are_filtered_and_paged() {
    let client = Client::new().await;
    let server = "70a599e0-31e7-49b7-b260-868f441e862b";
    image(&client, "one", &[("image_type", "snapshot"), ("instance_uuid", server)]).await;
    image(&client, "two", &[("color", "red")]).await;
    for (query, expected) in [
        ("", vec!["two", "one"]),
        ("?name=one", vec!["one"]),
        ("?status=ACTIVE", vec!["two", "one"]),
        ("?status=SAVING", vec![]),
        ("?type=snapshot", vec!["one"]),
        (&format!("?server={server}"), vec!["one"]),
        (&format!("?server=http://cloud/servers/{server}"), vec!["one"]),
        ("?property-color=red", vec!["two"]),
        ("?changes-since=2023-11-14T22:13:21Z", vec!["two"]),
        ("?minDisk=3", vec![]),
        ("?anything=goes", vec!["two", "one"]),
    ] {
        let answer = client.get(&format!("/v2.1/images/detail{query}")).await;
        assert_eq!(answer.status, 200, "{query}");
        assert_eq!(names(&answer.body), expected, "{query}");
    }
    let first = client.get("/v2.1/images?limit=1").await.body;
    assert_eq!(names(&first), ["two"]);
    let next = first["images_links"][0]["href"].as_str().unwrap().strip_prefix("http://cloud:8774").unwrap();
    assert_eq!(names(&client.get(next).await.body), ["one"]);
    assert_eq!(client.get("/v2.1/images?limit=-1").await.status, 400);
    assert_eq!(client.get("/v2.1/images?changes-since=yesterday").await.status, 400);
}

#[actix_web::test]
async fn properties_are_metadata() {
    let mut client = Client::new().await;
    let id = image(&client, "one", &[("os_version", "1")]).await;
    let path = format!("/v2.1/images/{id}/metadata");
    let merged = client.post(&path, json!({"metadata": {"os_distro": "x"}})).await;
    assert_eq!(merged.body, json!({"metadata": {"os_version": "1", "os_distro": "x"}}));
    let replaced = client.send(Method::PUT, &path, Some(json!({"metadata": {"a": "b"}}))).await;
    assert_eq!(replaced.body, json!({"metadata": {"a": "b"}}));
    assert_eq!(client.get(&path).await.body, json!({"metadata": {"a": "b"}}));
    let one = format!("{path}/c");
    let set = client.send(Method::PUT, &one, Some(json!({"meta": {"c": "d"}}))).await;
    assert_eq!((set.status, set.body), (200, json!({"meta": {"c": "d"}})));
    assert_eq!(client.send(Method::PUT, &one, Some(json!({"meta": {"x": "d"}}))).await.status, 400);
    assert_eq!(client.send(Method::PUT, &one, Some(json!({"meta": {}}))).await.status, 400);
    assert_eq!(client.get(&one).await.body, json!({"meta": {"c": "d"}}));
    assert_eq!(client.send(Method::DELETE, &one, None).await.status, 204);
    assert_eq!(client.get(&one).await.status, 404);
    assert_eq!(client.send(Method::DELETE, &one, None).await.status, 404);
    assert_eq!(client.post(&path, json!({"metadata": {"status": "x"}})).await.status, 403);
    assert_eq!(client.post(&path, json!({"metadata": {"k": 1}})).await.status, 400);
    assert_eq!(client.at("2.38").get(&path).await.status, 200);
    assert_eq!(client.at("2.39").get(&path).await.status, 404);
}

#[actix_web::test]
async fn images_go_and_the_proxy_ends() {
    let mut client = Client::new().await;
    let id = image(&client, "one", &[]).await;
    let path = format!("/v2.1/images/{id}");
    assert_eq!(client.at("2.35").get(&path).await.status, 200);
    assert_eq!(client.at("2.36").get(&path).await.status, 404);
    assert_eq!(client.at("2.36").get("/v2.1/images").await.status, 404);
    assert_eq!(client.at("2.1").send(Method::DELETE, &path, None).await.status, 204);
    let gone = client.send(Method::DELETE, &path, None).await;
    assert_eq!((gone.status, &gone.body["itemNotFound"]["message"]), (404, &json!("Image not found.")));
    assert_eq!(client.get("/v2.1/images/no-id").await.status, 404);
    assert_eq!(client.get(&format!("{path}/metadata")).await.status, 404);
}
