//! What other services tell of servers.

use super::message;
use super::servers::{client, make, settle};
use serde_json::{Value, json};

#[actix_web::test]
async fn word_arrives_where_a_server_is() {
    const PATH: &str = "/v2.1/os-server-external-events";
    let mut client = client().await;
    let id = make(&client, "one").await;
    settle(&client, &id).await;
    client.cloud.execute(format!("UPDATE server SET host = 'node' WHERE id = '{id}'")).await;
    let nobody = "e8debdc0-447a-4376-a10a-4cd9122d7986";
    let event = |name: &str, server: &str| json!({"name": name, "server_uuid": server});
    let tell = |events: Value| json!({ "events": events });

    let plugged =
        json!({"name": "network-vif-plugged", "server_uuid": id, "status": "in-progress", "tag": "p"});
    let told = client.post(PATH, tell(json!([plugged]))).await;
    let answer = json!({"name": "network-vif-plugged", "server_uuid": id, "status": "completed", "tag": "p", "code": 200});
    assert_eq!((told.status, &told.body["events"]), (200, &json!([answer])));
    let both = [event("network-changed", &id), event("network-changed", nobody)];
    let told = client.post(PATH, tell(json!(both))).await;
    assert_eq!(told.status, 207);
    assert_eq!(
        (&told.body["events"][1]["status"], &told.body["events"][1]["code"]),
        (&json!("failed"), &json!(404))
    );
    let told = client.post(PATH, tell(json!([event("network-changed", nobody)]))).await;
    assert_eq!((told.status, message(&told)), (404, "No instances found for any event"));

    let extended = tell(json!([event("network-changed", &id), event("volume-extended", &id)]));
    let early = client.post(PATH, extended.clone()).await;
    let words = "Invalid input for field/attribute name. Value: volume-extended. 'volume-extended' is not one of \
                 ['network-changed', 'network-vif-plugged', 'network-vif-unplugged', 'network-vif-deleted']";
    assert_eq!((early.status, message(&early)), (400, words));
    let untagged = client.at("2.51").post(PATH, extended).await;
    assert_eq!((untagged.status, &untagged.body["events"][1]["code"]), (207, &json!(400)));
    for (name, since, before) in [
        ("power-update", "2.76", "2.75"),
        ("accelerator-request-bound", "2.82", "2.81"),
        ("volume-reimaged", "2.93", "2.92"),
    ] {
        let body = tell(json!([{"name": name, "server_uuid": id, "tag": "t"}]));
        assert_eq!(client.at(before).post(PATH, body.clone()).await.status, 400, "{name}");
        assert_eq!(client.at(since).post(PATH, body).await.status, 200, "{name}");
    }
    for bad in [json!([]), json!([{}]), json!([event("x", &id)]), json!([event("network-changed", "x")])] {
        assert_eq!(client.post(PATH, tell(bad)).await.status, 400);
    }

    client.cloud.execute(format!("UPDATE server SET host = NULL WHERE id = '{id}'")).await;
    let nowhere = client.post(PATH, tell(json!([event("network-changed", &id)]))).await;
    assert_eq!(nowhere.status, 404);
}
