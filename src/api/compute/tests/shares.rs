//! Shares, of which there are none.

use super::message;
use super::servers::{client, make, settle};
use serde_json::json;

#[actix_web::test]
async fn no_server_has_a_share() {
    let mut client = client().await;
    let id = make(&client, "one").await;
    settle(&client, &id).await;
    let path = format!("/v2.1/servers/{id}/shares");
    assert_eq!(client.at("2.96").get(&path).await.status, 404);
    let client = client.at("2.97");
    let listed = client.get(&path).await;
    assert_eq!((listed.status, listed.body), (200, json!({"shares": []})));
    let unknown = client.get("/v2.1/servers/e8debdc0-447a-4376-a10a-4cd9122d7986/shares").await;
    assert_eq!(unknown.status, 404);

    let share = "e8debdc0-447a-4376-a10a-4cd9122d7986";
    let words = format!("Share {share} could not be found.");
    let one = client.get(&format!("{path}/{share}")).await;
    assert_eq!((one.status, message(&one)), (404, words.as_str()));
    let wanted = json!({"share": {"share_id": share, "tag": "a-b"}});
    let put = async |state: &str| {
        client.cloud.execute(format!("UPDATE server SET vm_state = '{state}' WHERE id = '{id}'")).await;
    };
    put("active").await;
    let running = client.post(&path, wanted.clone()).await;
    let text = format!("Cannot 'create share' instance {id} while it is in vm_state active");
    assert_eq!((running.status, message(&running)), (409, text.as_str()));
    put("stopped").await;
    let none = client.post(&path, wanted).await;
    assert_eq!((none.status, message(&none)), (404, words.as_str()));
    let gone = client.send(actix_web::http::Method::DELETE, &format!("{path}/{share}"), None).await;
    assert_eq!((gone.status, message(&gone)), (404, words.as_str()));
    for bad in [
        json!({}),
        json!({"share": {}}),
        json!({"share": {"share_id": "x"}}),
        json!({"share": {"share_id": share, "tag": "a b"}}),
    ] {
        assert_eq!(client.post(&path, bad).await.status, 400);
    }
}
