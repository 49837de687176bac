//! Networks and security groups as compute showed them before clients asked the network service.

use super::{Answer, Client, message};
use crate::host::net::fake::FakeNetwork;
use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::{Value, json};

const NOWHERE: &str = "66666666-0000-4000-8000-000000000009";
const GROUPS: &str = "/v2.1/os-security-groups";
const RULES: &str = "/v2.1/os-security-group-rules";

async fn group(client: &Client, name: &str) -> Value {
    let body = json!({"security_group": {"name": name, "description": "d"}});
    let made = client.post(GROUPS, body).await;
    assert_eq!(made.status, 200, "{}", made.body);
    made.body["security_group"].clone()
}

async fn rule(client: &Client, rule: Value) -> Answer {
    client.post(RULES, json!({"security_group_rule": rule})).await
}

async fn as_user(client: &Client, token: &str, path: &str) -> Answer {
    let request = TestRequest::get().uri(path).insert_header(("host", "cloud:8774"));
    client.ask(request.insert_header(("x-auth-token", token.to_owned()))).await
}

#[actix_web::test]
async fn groups_are_made_shown_changed_and_deleted() {
    let mut client = Client::new().await;
    let project = client.cloud.actor(&client.cloud.admin).await.project_id.unwrap().to_string();
    let made = group(&client, "web").await;
    let path = format!("{GROUPS}/{}", made["id"].as_str().unwrap());
    let expected =
        json!({"id": made["id"], "name": "web", "description": "d", "tenant_id": project, "rules": []});
    assert_eq!(made, expected);
    assert_eq!(client.get(&path).await.body, json!({"security_group": expected}));
    let names = |answer: &Answer| -> Vec<String> {
        let groups = answer.body["security_groups"].as_array().unwrap().iter();
        groups.map(|group| group["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&client.get(GROUPS).await), ["default", "web"]);
    assert_eq!(names(&client.get(&format!("{GROUPS}?limit=1&offset=1")).await).len(), 1);
    assert_eq!(client.get(&format!("{GROUPS}?limit=-1")).await.status, 400);
    let ann = client.cloud.user("ann", "reader").await;
    assert_eq!(names(&as_user(&client, &ann, GROUPS).await), ["default"]);
    assert_eq!(as_user(&client, &ann, &path).await.status, 404);
    // Other projects' groups are for administrators who ask for them.
    assert_eq!(names(&as_user(&client, &ann, &format!("{GROUPS}?all_tenants=1")).await).len(), 1);
    assert_eq!(names(&client.get(&format!("{GROUPS}?all_tenants=1")).await).len(), 3);

    let change = json!({"security_group": {"name": "www", "description": ""}});
    let changed = client.send(Method::PUT, &path, Some(change)).await;
    assert_eq!((changed.status, &changed.body["security_group"]["name"]), (200, &json!("www")));

    let long = "n".repeat(256);
    for (body, status, words) in [
        (json!({}), 400, "The request body can't be empty".to_owned()),
        (json!({"x": {}}), 400, "Missing parameter security_group".into()),
        (json!({"security_group": {"name": "x"}}), 400, "description is not a string or unicode".into()),
        (
            json!({"security_group": {"name": long, "description": ""}}),
            400,
            "name has 256 characters, more than 255.".into(),
        ),
        (
            json!({"security_group": {"name": "default", "description": ""}}),
            403,
            "Default security group already exists.".into(),
        ),
    ] {
        let refused = client.post(GROUPS, body).await;
        assert_eq!((refused.status, message(&refused)), (status, words.as_str()));
    }
    for (id, status) in [("web", 400), (NOWHERE, 404)] {
        assert_eq!(client.get(&format!("{GROUPS}/{id}")).await.status, status);
        let gone = client.send(Method::DELETE, &format!("{GROUPS}/{id}"), None).await;
        assert_eq!(gone.status, status);
    }
    assert_eq!(client.send(Method::DELETE, &path, None).await.status, 202);
    assert_eq!(client.get(&path).await.status, 404);
    client.at("2.36");
    assert_eq!(client.get(GROUPS).await.status, 404);
}

#[actix_web::test]
async fn rules_come_and_go_one_by_one() {
    let client = Client::new().await;
    let (web, other) = (group(&client, "web").await["id"].clone(), group(&client, "other").await);
    let path = format!("{GROUPS}/{}", web.as_str().unwrap());
    let ssh = json!({"parent_group_id": web, "ip_protocol": "tcp", "from_port": 22, "to_port": 22});
    let made = rule(&client, ssh.clone()).await;
    assert_eq!(made.status, 200, "{}", made.body);
    let first = made.body["security_group_rule"].clone();
    let expected = json!({
        "id": first["id"], "parent_group_id": web, "ip_protocol": "tcp", "from_port": 22, "to_port": 22,
        "group": {}, "ip_range": {"cidr": "0.0.0.0/0"},
    });
    assert_eq!(first, expected);
    let twice = rule(&client, ssh).await;
    let words = format!("This rule already exists in group {}", web.as_str().unwrap());
    assert_eq!((twice.status, message(&twice)), (400, words.as_str()));
    // Rules are shown in the order in which they came.
    client.cloud.clock.advance(1);
    let members = rule(&client, json!({"parent_group_id": web, "group_id": other["id"]})).await;
    let members = &members.body["security_group_rule"];
    assert_eq!(members["group"], json!({"name": "other", "tenant_id": other["tenant_id"]}));
    assert_eq!((&members["ip_range"], &members["ip_protocol"]), (&json!({}), &json!(null)));
    for (body, status) in [
        (json!({"parent_group_id": "web"}), 400),
        (json!({"parent_group_id": NOWHERE, "group_id": other["id"]}), 404),
        (json!({"parent_group_id": web, "group_id": NOWHERE}), 404),
        (json!({"parent_group_id": web}), 400),
    ] {
        assert_eq!(rule(&client, body.clone()).await.status, status, "{body}");
    }

    let shown = client.get(&path).await.body;
    assert_eq!(shown["security_group"]["rules"], json!([first, members]));
    let rule_path = format!("{RULES}/{}", first["id"].as_str().unwrap());
    assert_eq!(client.send(Method::DELETE, &rule_path, None).await.status, 202);
    assert_eq!(client.send(Method::DELETE, &rule_path, None).await.status, 404);
    assert_eq!(client.send(Method::DELETE, &format!("{RULES}/x"), None).await.status, 400);
    // A rule goes with the group that it names.
    let other_path = format!("{GROUPS}/{}", other["id"].as_str().unwrap());
    assert_eq!(client.send(Method::DELETE, &other_path, None).await.status, 202);
    assert_eq!(client.get(&path).await.body["security_group"]["rules"], json!([]));
}

#[actix_web::test]
async fn networks_have_little_more_than_names() {
    let mut client = Client::new().await;
    let project = client.cloud.actor(&client.cloud.admin).await.project_id.unwrap();
    let networks = &client.cloud.state.services.networks;
    let id = networks.ensure_default(&FakeNetwork::default(), &project).await.unwrap().unwrap();
    let listed = client.get("/v2.1/os-tenant-networks").await.body["networks"][0].clone();
    assert_eq!(listed, json!({"id": id, "label": listed["label"], "cidr": "None"}));
    let shown = client.get(&format!("/v2.1/os-tenant-networks/{id}")).await;
    assert_eq!((shown.status, &shown.body["network"]), (200, &listed));

    let whole = client.get("/v2.1/os-networks").await.body["networks"][0].clone();
    assert_eq!((whole.as_object().unwrap().len(), &whole["label"]), (32, &listed["label"]));
    assert_eq!(whole["vlan"], Value::Null);
    assert_eq!(client.get(&format!("/v2.1/os-networks/{id}")).await.body["network"], whole);
    let ann = client.cloud.user("ann", "reader").await;
    for (path, count) in [("/v2.1/os-networks", 0), ("/v2.1/os-tenant-networks", 0)] {
        let seen = as_user(&client, &ann, path).await;
        let open = seen.body["networks"].as_array().unwrap();
        assert!(open.len() >= count && open.iter().all(|network| network.as_object().unwrap().len() <= 11));
    }
    let none = client.get(&format!("/v2.1/os-networks/{NOWHERE}")).await;
    assert_eq!((none.status, message(&none)), (404, "Network not found"));
    assert_eq!(client.get("/v2.1/os-tenant-networks/x").await.status, 404);
    client.at("2.36");
    assert_eq!(client.get("/v2.1/os-networks").await.status, 404);
}
