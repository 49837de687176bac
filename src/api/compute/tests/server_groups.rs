//! Server groups as clients see them. No host is there: what was accepted stays undone.

use super::servers::{IMAGE, client};
use super::{Client, message};
use actix_web::http::Method;
use serde_json::{Value, json};

const PATH: &str = "/v2.1/os-server-groups";

async fn make(client: &Client, body: Value) -> Value {
    let made = client.post(PATH, json!({"server_group": body})).await;
    assert_eq!(made.status, 200, "{}", made.body);
    made.body["server_group"].clone()
}

fn keys(group: &Value) -> Vec<&str> {
    group.as_object().unwrap().keys().map(String::as_str).collect()
}

async fn refused(client: &Client, body: Value) -> (u16, String) {
    let answer = client.post(PATH, json!({"server_group": body})).await;
    (answer.status, message(&answer).to_owned())
}

#[actix_web::test]
async fn groups_by_version() {
    let mut client = Client::new().await;
    let old = make(&client, json!({"name": "a", "policies": ["anti-affinity"]})).await;
    assert_eq!(keys(&old), ["id", "members", "metadata", "name", "policies"]);
    assert_eq!((&old["policies"], &old["metadata"]), (&json!(["anti-affinity"]), &json!({})));
    let soft = json!({"name": "b", "policies": ["soft-affinity"]});
    assert_eq!(
        refused(&client, soft.clone()).await,
        (
            400,
            "Invalid input for field/attribute 0. Value: soft-affinity. 'soft-affinity' is not one of \
             ['anti-affinity', 'affinity']"
                .to_owned()
        )
    );
    for body in [
        json!({"name": "b"}),
        json!({"name": "", "policies": ["affinity"]}),
        json!({"name": "b", "policies": []}),
        json!({"name": "b", "policies": ["affinity", "anti-affinity"]}),
        json!({"name": "b", "policies": ["affinity", "affinity"]}),
        json!({"name": "b", "policy": "affinity"}),
        json!({"name": "b", "policies": ["affinity"], "rules": {}}),
    ] {
        assert_eq!(refused(&client, body.clone()).await.0, 400, "{body}");
    }
    client.at("2.13");
    let id = old["id"].as_str().unwrap();
    let shown = client.get(&format!("{PATH}/{id}")).await.body["server_group"].clone();
    assert_eq!(keys(&shown), ["id", "members", "metadata", "name", "policies", "project_id", "user_id"]);
    client.at("2.15");
    assert_eq!(make(&client, soft).await["policies"], json!(["soft-affinity"]));

    client.at("2.64");
    let rules = json!({"max_server_per_host": "3"});
    let new = make(&client, json!({"name": "c", "policy": "anti-affinity", "rules": rules})).await;
    assert_eq!(keys(&new), ["id", "members", "name", "policy", "project_id", "rules", "user_id"]);
    assert_eq!(
        (&new["policy"], &new["rules"]),
        (&json!("anti-affinity"), &json!({"max_server_per_host": 3}))
    );
    assert_eq!(
        refused(&client, json!({"name": "d", "policy": "affinity", "rules": rules})).await,
        (400, "Only anti-affinity policy supports rules.".to_owned())
    );
    let plain = make(&client, json!({"name": "d", "policy": "affinity", "rules": {}})).await;
    assert_eq!(plain["rules"], json!({}));
    for body in [
        json!({"name": "e", "policies": ["affinity"]}),
        json!({"name": "e", "policy": "legacy"}),
        json!({"name": "e", "policy": "anti-affinity", "rules": {"max_server_per_host": 0}}),
        json!({"name": "e", "policy": "anti-affinity", "rules": {"max_server_per_host": "foo"}}),
        json!({"name": "e", "policy": "anti-affinity", "rules": {"other": 1}}),
    ] {
        assert_eq!(refused(&client, body.clone()).await.0, 400, "{body}");
    }

    let names = async |client: &Client, query: &str| {
        let page = client.get(&format!("{PATH}{query}")).await.body;
        let groups = page["server_groups"].as_array().unwrap();
        groups.iter().map(|group| group["name"].as_str().unwrap().to_owned()).collect::<String>()
    };
    for (query, expected) in [
        ("", "abcd"),
        ("?limit=2", "ab"),
        ("?limit=2&offset=1", "bc"),
        ("?offset=3", "d"),
        ("?limit=0", "abcd"),
        ("?x=1", "abcd"),
    ] {
        assert_eq!(names(&client, query).await, expected, "{query}");
    }
    assert_eq!(client.get(&format!("{PATH}?limit=-1")).await.status, 400);
    assert_eq!(client.at("2.75").get(&format!("{PATH}?x=1")).await.status, 400);
    let limits = client.get("/v2.1/limits").await.body;
    assert_eq!(limits["limits"]["absolute"]["totalServerGroupsUsed"], 4);

    let path = format!("{PATH}/{id}");
    let deleted = client.send(Method::DELETE, &path, None).await;
    assert_eq!((deleted.status, deleted.body), (204, Value::Null));
    for id in [id, "x"] {
        let words = format!("Instance group {id} could not be found.");
        for method in [Method::GET, Method::DELETE] {
            let gone = client.send(method, &format!("{PATH}/{id}"), None).await;
            assert_eq!((gone.status, message(&gone)), (404, words.as_str()));
        }
    }
}

#[actix_web::test]
async fn groups_are_for_their_project_and_its_roles() {
    let mut client = Client::new().await;
    client.at("2.64");
    let own = make(&client, json!({"name": "admins", "policy": "affinity"})).await;
    let reader = client.cloud.user("reader", "reader").await;
    let member = client.cloud.user("member", "member").await;
    let admin = std::mem::replace(&mut client.cloud.admin, member);
    let made = make(&client, json!({"name": "members", "policy": "affinity"})).await;
    assert_eq!((&made["project_id"], &made["user_id"]), (&json!("project-member"), &json!("user-member")));
    let listed = client.get(&format!("{PATH}?all_projects=1")).await.body;
    assert_eq!(listed["server_groups"], json!([made]));
    let foreign = format!("{PATH}/{}", own["id"].as_str().unwrap());
    for (method, action) in [(Method::GET, "show"), (Method::DELETE, "delete")] {
        let answer = client.send(method, &foreign, None).await;
        let message =
            format!("Policy doesn't allow os_compute_api:os-server-groups:{action} to be performed.");
        assert_eq!((answer.status, &answer.body["forbidden"]["message"]), (403, &json!(message)));
    }
    client.cloud.admin = reader;
    assert_eq!(client.get(PATH).await.body, json!({"server_groups": []}));
    assert_eq!(
        refused(&client, json!({"name": "x", "policy": "affinity"})).await,
        (403, "Policy doesn't allow os_compute_api:os-server-groups:create to be performed.".to_owned())
    );
    assert_eq!(client.send(Method::DELETE, &foreign, None).await.status, 403);
    client.cloud.admin = admin;
    assert_eq!(client.get(PATH).await.body["server_groups"].as_array().unwrap().len(), 1);
    let all = client.get(&format!("{PATH}?all_projects")).await.body;
    assert_eq!(all["server_groups"], json!([own, made]));
    let path = format!("{PATH}/{}", made["id"].as_str().unwrap());
    assert_eq!(client.get(&path).await.body["server_group"], made);
    assert_eq!(client.send(Method::DELETE, &path, None).await.status, 204);
}

#[actix_web::test]
async fn a_server_is_made_in_a_group_and_tells_it() {
    let mut client = client().await;
    client.at("2.100");
    let group = make(&client, json!({"name": "apart", "policy": "anti-affinity"})).await;
    let id = group["id"].as_str().unwrap();
    let body = |hints: &str| {
        json!({
            "server": {"name": "s", "imageRef": IMAGE, "flavorRef": "1", "networks": "none"},
            hints: {"group": id},
        })
    };
    let mut made = Vec::new();
    for hints in ["os:scheduler_hints", "OS-SCH-HNT:scheduler_hints"] {
        let answer = client.post("/v2.1/servers", body(hints)).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        made.push(answer.body["server"]["id"].clone());
    }
    let shown = client.get(&format!("{PATH}/{id}")).await.body;
    assert_eq!(shown["server_group"]["members"], json!(made));
    let server = async |client: &Client, id: &Value| {
        client.get(&format!("/v2.1/servers/{}", id.as_str().unwrap())).await.body["server"].clone()
    };
    let first = server(&client, &made[0]).await;
    assert_eq!(
        (&first["status"], &first["server_groups"], &first["scheduler_hints"]),
        (&json!("BUILD"), &json!([id]), &json!({"group": id}))
    );
    let second = server(&client, &made[1]).await;
    assert_eq!((&second["status"], &second["server_groups"]), (&json!("ERROR"), &json!([id])));
    let words = second["fault"]["message"].as_str().unwrap();
    assert!(words.starts_with("No valid host was found. There are not enough hosts available"), "{words}");
    let path = format!("/v2.1/servers/{}", made[0].as_str().unwrap());
    let put = client.send(Method::PUT, &path, Some(json!({"server": {"name": "t"}}))).await;
    assert_eq!(put.body["server"]["server_groups"], json!([id]));
    let listed = client.get("/v2.1/servers/detail").await.body;
    assert!(listed["servers"][0].get("server_groups").is_none());

    let member = client.cloud.user("member", "member").await;
    client.cloud.admin = member;
    let refused = client.post("/v2.1/servers", body("os:scheduler_hints")).await;
    let words = format!("Instance group {id} could not be found.");
    assert_eq!((refused.status, message(&refused)), (400, words.as_str()));
}
