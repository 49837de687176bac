//! Host aggregates, and the zone that they name.

use super::servers::{IMAGE, client, make, settle};
use super::{Answer, Client, message};
use actix_web::http::Method;
use serde_json::{Value, json};

const PATH: &str = "/v2.1/os-aggregates";

async fn new(client: &Client, name: &str, zone: Value) -> i64 {
    let made = client.post(PATH, json!({"aggregate": {"name": name, "availability_zone": zone}})).await;
    assert_eq!(made.status, 200, "{}", made.body);
    made.body["aggregate"]["id"].as_i64().unwrap()
}

async fn act(client: &Client, id: i64, body: Value) -> Answer {
    client.post(&format!("{PATH}/{id}/action"), body).await
}

async fn put(client: &Client, id: i64, body: Value) -> Answer {
    client.send(Method::PUT, &format!("{PATH}/{id}"), Some(json!({"aggregate": body}))).await
}

async fn delete(client: &Client, id: i64) -> Answer {
    client.send(Method::DELETE, &format!("{PATH}/{id}"), None).await
}

fn refused(answer: &Answer, status: u16, words: &str) {
    assert_eq!((answer.status, message(answer)), (status, words));
}

fn host(action: &str) -> Value {
    json!({action: {"host": "node"}})
}

#[actix_web::test]
async fn aggregates_are_made_changed_and_deleted() {
    let mut client = client().await;
    let made = client.post(PATH, json!({"aggregate": {"name": "one", "availability_zone": "north"}})).await;
    assert_eq!(
        (made.status, made.body),
        (
            200,
            json!({"aggregate": {
                "id": 1, "name": "one", "availability_zone": "north", "created_at": "2023-11-14T22:13:20.000000",
                "updated_at": null, "deleted": false, "deleted_at": null,
            }})
        )
    );
    let twice = client.post(PATH, json!({"aggregate": {"name": "one"}})).await;
    refused(&twice, 409, "Aggregate one already exists.");
    let two = new(&client, "two", Value::Null).await;
    refused(&put(&client, two, json!({"name": "one"})).await, 409, "Aggregate one already exists.");
    let renamed = put(&client, two, json!({"name": " three "})).await.body;
    assert_eq!(renamed["aggregate"]["name"], "three");
    assert_eq!(renamed["aggregate"]["updated_at"], "2023-11-14T22:13:20.000000");
    let zoned = put(&client, two, json!({"availability_zone": "south"})).await.body;
    assert_eq!(zoned["aggregate"]["metadata"], json!({"availability_zone": "south"}));
    let nameless =
        "Cannot update aggregate 2. Reason: Aggregate three does not support empty named availability zone.";
    refused(&put(&client, two, json!({"availability_zone": null})).await, 400, nameless);
    assert_eq!(put(&client, two, json!({})).await.status, 400);
    let colon = "Invalid input for field/attribute availability_zone. Value: a:b. 'a:b' is not valid under any of the given schemas";
    refused(&put(&client, two, json!({"availability_zone": "a:b"})).await, 400, colon);

    let body = json!({"set_metadata": {"metadata": {"ssd": "true", "old": "1"}}});
    assert_eq!(act(&client, two, body).await.status, 200);
    let body = json!({"set_metadata": {"metadata": {"old": null}}});
    let marked = act(&client, two, body).await.body;
    assert_eq!(marked["aggregate"]["metadata"], json!({"availability_zone": "south", "ssd": "true"}));
    let body = json!({"set_metadata": {"metadata": {"availability_zone": null}}});
    let nameless = "Cannot update metadata of aggregate 2. Reason: Aggregate three does not support empty named \
                    availability zone.";
    refused(&act(&client, two, body).await, 400, nameless);
    refused(&act(&client, two, json!({"do": {}})).await, 400, "There is no such action: do");

    let listed = client.get(PATH).await.body;
    assert_eq!(listed["aggregates"].as_array().unwrap().len(), 2);
    assert!(listed["aggregates"][0].get("uuid").is_none());
    let shown = client.at("2.41").get(&format!("{PATH}/1")).await.body;
    assert_eq!(shown["aggregate"]["uuid"].as_str().unwrap().len(), 36);
    assert_eq!(shown["aggregate"]["hosts"], json!([]));
    refused(&client.get(&format!("{PATH}/9")).await, 404, "Aggregate 9 could not be found.");
    refused(&client.get(&format!("{PATH}/x")).await, 400, "Invalid input received: id must be an integer");
    let gone = delete(&client, two).await;
    assert_eq!((gone.status, gone.body), (200, Value::Null));
    assert_eq!(delete(&client, two).await.status, 404);
    client.cloud.admin = client.cloud.user("someone", "member").await;
    let words = "Policy doesn't allow os_compute_api:os-aggregates:index to be performed.";
    refused(&client.get(PATH).await, 403, words);
}

#[actix_web::test]
async fn the_zone_of_the_host_is_that_of_its_aggregates() {
    let mut client = client().await;
    let north = new(&client, "one", json!("north")).await;
    let unknown = act(&client, north, json!({"add_host": {"host": "else"}})).await;
    refused(&unknown, 404, "Compute host else could not be found.");
    let added = act(&client, north, host("add_host")).await;
    assert_eq!((added.status, &added.body["aggregate"]["hosts"]), (200, &json!(["node"])));
    assert_eq!(added.body["aggregate"]["updated_at"], Value::Null);
    refused(&act(&client, north, host("add_host")).await, 409, "Aggregate 1 already has host node.");
    let other = new(&client, "other", json!("south")).await;
    let words = "Cannot add host to aggregate 2. Reason: One or more hosts already in availability zone(s) ['north'].";
    refused(&act(&client, other, host("add_host")).await, 409, words);
    let plain = new(&client, "plain", Value::Null).await;
    assert_eq!(act(&client, plain, host("add_host")).await.status, 200);
    let words =
        "Cannot update aggregate 3. Reason: One or more hosts already in availability zone(s) ['north'].";
    refused(&put(&client, plain, json!({"availability_zone": "south"})).await, 400, words);
    let words = "Cannot remove host from aggregate 1. Reason: Host aggregate is not empty.";
    refused(&delete(&client, north).await, 400, words);

    let zones = client.get("/v2.1/os-availability-zone").await.body;
    assert_eq!(zones["availabilityZoneInfo"][0]["zoneName"], "north");
    let services = client.get("/v2.1/os-services?binary=nova-compute").await.body;
    assert_eq!(services["services"][0]["zone"], "north");
    assert_eq!(client.get("/v2.1/os-hosts?zone=north").await.body["hosts"][0]["service"], "compute");
    let body = |zone: &str| json!({"server": {"name": "z", "flavorRef": 1, "imageRef": IMAGE, "availability_zone": zone}});
    let words = "The requested availability zone is not available";
    refused(&client.post("/v2.1/servers", body("nova")).await, 400, words);
    let made = client.post("/v2.1/servers", body("north")).await;
    assert_eq!(made.status, 202);
    let id = make(&client, "anywhere").await;
    settle(&client, &id).await;
    let server = client.get(&format!("/v2.1/servers/{id}")).await.body;
    assert_eq!(server["server"]["OS-EXT-AZ:availability_zone"], "north");
    for (zone, count) in [("north", 2), ("nova", 0)] {
        let found = client.get(&format!("/v2.1/servers?availability_zone={zone}")).await.body;
        assert_eq!(found["servers"].as_array().unwrap().len(), count, "{zone}");
    }

    // The servers stay in their zone.
    let occupied = "One or more hosts contain instances in this zone.";
    let words = format!("Cannot update aggregate 1. Reason: {occupied}");
    refused(&put(&client, north, json!({"availability_zone": "east"})).await, 400, &words);
    assert_eq!(put(&client, north, json!({"availability_zone": "north"})).await.status, 200);
    let words = format!("Cannot update metadata of aggregate 1. Reason: {occupied}");
    let body = json!({"set_metadata": {"metadata": {"availability_zone": "east"}}});
    refused(&act(&client, north, body).await, 400, &words);
    refused(&act(&client, north, host("remove_host")).await, 409, "Cannot remove host node in aggregate 1");
    assert_eq!(act(&client, plain, host("remove_host")).await.status, 200);
    refused(&act(&client, plain, host("remove_host")).await, 404, "Cannot remove host node in aggregate 3");
    client.cloud.execute("UPDATE server SET host = NULL".into()).await;
    assert_eq!(act(&client, north, host("remove_host")).await.status, 200);
    client.cloud.execute("UPDATE server SET host = 'node'".into()).await;
    let words = format!("Cannot add host to aggregate 1. Reason: {occupied}");
    refused(&act(&client, north, host("add_host")).await, 409, &words);

    client.cloud.execute("UPDATE server SET host = NULL".into()).await;
    assert_eq!(act(&client, plain, host("add_host")).await.status, 200);
    client.at("2.1");
    assert_eq!(client.send(Method::DELETE, "/v2.1/os-services/3", None).await.status, 204);
    assert_eq!(client.get(&format!("{PATH}/{plain}")).await.body["aggregate"]["hosts"], json!([]));
}

#[actix_web::test]
async fn images_are_made_ready_on_the_hosts_of_an_aggregate() {
    let mut client = client().await;
    let id = new(&client, "one", Value::Null).await;
    let path = format!("{PATH}/{id}/images");
    let body = |ids: &[&str]| json!({"cache": ids.iter().map(|id| json!({"id": id})).collect::<Vec<_>>()});
    assert_eq!(client.post(&path, body(&[IMAGE])).await.status, 404);
    client.at("2.81");
    assert_eq!(act(&client, id, host("add_host")).await.status, 200);
    let done = client.post(&path, body(&[IMAGE])).await;
    assert_eq!((done.status, done.body), (202, Value::Null));
    refused(&client.post(&path, body(&[IMAGE, IMAGE])).await, 400, "Duplicate images in request");
    let nobody = "e8debdc0-447a-4376-a10a-4cd9122d7986";
    let words = format!("Image {nobody} could not be found.");
    refused(&client.post(&path, body(&[IMAGE, nobody])).await, 400, &words);
    assert_eq!(client.post(&path, body(&[])).await.status, 400);
    refused(
        &client.post(&format!("{PATH}/9/images"), body(&[IMAGE])).await,
        404,
        "Aggregate 9 could not be found.",
    );
}
