//! The network API from outside: requests in, bodies out, over a cloud in memory.

mod networks;
mod ports;
mod security_groups;

use super::MOUNT;
use crate::api::testing::{self, Cloud};
use crate::core::ids::{ProjectId, ServerId};
use crate::core::port::Networking;
use crate::store::server_ports::{PortOwner, plan_server_ports};
use actix_web::FromRequest;
use actix_web::http::Method;
use actix_web::test::TestRequest;
use actix_web::web::Payload;
use serde_json::{Value, json};

/// A cloud with its default network.
struct Net {
    cloud: Cloud,
    network: String,
}

async fn net() -> Net {
    let cloud = Cloud::new().await;
    let services = &cloud.state.services;
    let admin = services.identity.bootstrap(String::new().into()).await.unwrap().unwrap();
    let host = services.host.network.clone();
    let network = services.networks.ensure_default(&*host, &admin).await.unwrap().unwrap().to_string();
    Net { cloud, network }
}

impl Net {
    async fn ask(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = TestRequest::default()
            .method(method)
            .uri(&format!("{MOUNT}/v2.0/{path}"))
            .insert_header(("x-auth-token", token));
        if let Some(body) = body {
            request = request.set_json(body);
        }
        let (request, mut payload) = request.to_http_parts();
        let payload = Payload::from_request(&request, &mut payload).await.unwrap();
        let answer = super::serve(self.cloud.state.clone(), request, payload).await;
        (answer.status().as_u16(), testing::body(answer).await)
    }

    async fn get(&self, token: &str, path: &str) -> Value {
        let (status, body) = self.ask(token, Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn status(&self, token: &str, path: &str) -> u16 {
        self.ask(token, Method::GET, path, None).await.0
    }

    async fn post(&self, token: &str, path: &str, body: Value) -> Value {
        let (status, body) = self.ask(token, Method::POST, path, Some(body)).await;
        assert_eq!(status, 201, "{path}: {body}");
        body
    }

    async fn put(&self, token: &str, path: &str, body: Value) -> Value {
        let (status, body) = self.ask(token, Method::PUT, path, Some(body)).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn delete(&self, token: &str, path: &str) -> u16 {
        self.ask(token, Method::DELETE, path, None).await.0
    }

    /// The status and the type of an error.
    async fn refused(&self, token: &str, method: Method, path: &str, body: Value) -> (u16, String) {
        let body = Some(body).filter(|body| !body.is_null());
        let (status, body) = self.ask(token, method, path, body).await;
        assert_eq!(body["NeutronError"]["detail"], "", "{path}: {body}");
        (status, body["NeutronError"]["type"].as_str().unwrap().to_owned())
    }

    fn port(&self, more: &Value) -> Value {
        let mut port = json!({"network_id": self.network});
        port.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "port": port })
    }
}

fn ids(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap().to_owned()).collect()
}

fn error(status: u16, class: &str) -> (u16, String) {
    (status, class.to_owned())
}

#[actix_web::test]
async fn discovery_needs_no_token() {
    let net = net().await;
    for path in ["", "/", "/v2.0", "/v2.0/"] {
        let request = TestRequest::get().uri(&format!("{MOUNT}{path}")).to_http_request();
        let payload = Payload::extract(&request).await.unwrap();
        let answer = super::serve(net.cloud.state.clone(), request, payload).await;
        assert_eq!(answer.status(), 200, "{path}");
        let body = testing::body(answer).await;
        if path.contains("v2.0") {
            assert_eq!(body["resources"][0]["collection"], "networks");
        } else {
            assert_eq!(body["versions"][0]["id"], "v2.0");
            assert!(body["versions"][0]["links"][0]["href"].as_str().unwrap().ends_with("/network/v2.0/"));
        }
    }
    assert_eq!(net.status("wrong", "networks").await, 401);
}

#[actix_web::test]
async fn unknown_names_and_ids_are_404() {
    let net = net().await;
    let admin = &net.cloud.admin;
    for (path, class) in [
        ("networks/private", "NetworkNotFound"),
        ("networks/00000000-0000-0000-0000-000000000000", "NetworkNotFound"),
        ("subnets/x", "SubnetNotFound"),
        ("ports/x", "PortNotFound"),
        ("security-groups/default", "SecurityGroupNotFound"),
        ("security-group-rules/x", "SecurityGroupRuleNotFound"),
        ("routers/x", "RouterNotFound"),
        ("floatingips/x", "FloatingIPNotFound"),
        ("extensions/router", "HTTPNotFound"),
        ("nothing", "HTTPNotFound"),
        ("networks?marker=x&limit=1", "NetworkNotFound"),
    ] {
        assert_eq!(net.refused(admin, Method::GET, path, Value::Null).await, error(404, class), "{path}");
    }
    for path in ["routers", "floatingips", "subnetpools", "agents"] {
        assert_eq!(net.get(admin, path).await, json!({path: []}));
    }
    let refused = net.refused(admin, Method::POST, "routers", json!({"router": {}})).await;
    assert_eq!(refused.0, 501);
}

#[actix_web::test]
async fn pages_and_order() {
    let net = net().await;
    let ann = net.cloud.user("ann", "member").await;
    let ports: Vec<Value> =
        (0..5).map(|n| json!({"network_id": net.network, "name": format!("p{}", n % 3)})).collect();
    let made = net.post(&ann, "ports", json!({ "ports": ports })).await;
    assert_eq!(made["ports"].as_array().unwrap().len(), 5);
    for (key, direction) in [("name", "asc"), ("name", "desc"), ("id", "asc")] {
        let query = format!("ports?sort_key={key}&sort_dir={direction}");
        let all = ids(&net.get(&ann, &query).await["ports"]);
        let mut seen: Vec<String> = Vec::new();
        loop {
            let marker = seen.last().map(|id| format!("&marker={id}")).unwrap_or_default();
            let page = net.get(&ann, &format!("{query}&limit=2{marker}")).await;
            seen.extend(ids(&page["ports"]));
            let rels: Vec<&str> =
                page["ports_links"].as_array().unwrap().iter().map(|l| l["rel"].as_str().unwrap()).collect();
            if page["ports"].as_array().unwrap().len() < 2 {
                assert_eq!(rels, ["previous"]);
                break;
            }
            assert_eq!(rels, ["next", "previous"]);
        }
        assert_eq!(seen, all, "{query}");
        let before = net.get(&ann, &format!("{query}&limit=2&marker={}&page_reverse=True", all[3])).await;
        assert_eq!(ids(&before["ports"]), all[1..3]);
    }
    assert_eq!(ids(&net.get(&ann, "ports?name=p0&name=p2").await["ports"]).len(), 3);
    assert_eq!(ids(&net.get(&ann, "ports?name=").await["ports"]).len(), 0);
    assert!(net.get(&ann, "ports?limit=0").await.get("ports_links").is_none());
    for bad in [
        "ports?sort_key=name",
        "ports?sort_key=nothing&sort_dir=asc",
        "ports?limit=-1",
        "ports?sort_key=id&sort_dir=up",
    ] {
        assert_eq!(net.status(&ann, bad).await, 400, "{bad}");
    }
}

/// The path of a link, below the version.
fn linked<'a>(page: &'a Value, links: &str, rel: &str) -> Option<&'a str> {
    let link = page[links].as_array()?.iter().find(|link| link["rel"] == rel)?;
    link["href"].as_str()?.split_once("/v2.0/").map(|(_, path)| path)
}

#[actix_web::test]
async fn links_keep_the_order_of_the_sort_keys() {
    let net = net().await;
    let ann = net.cloud.user("ann", "member").await;
    let names: Vec<Value> = "abcabc".chars().map(|name| json!({ "name": name })).collect();
    net.post(&ann, "networks", json!({ "networks": names })).await;
    let sort = "sort_key=name&sort_dir=desc&sort_key=id&sort_dir=asc&project_id=project-ann";
    let mut wanted: Vec<(String, String)> =
        net.get(&ann, "networks?project_id=project-ann").await["networks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|network| {
                let text = |key: &str| network[key].as_str().unwrap().to_owned();
                (text("name"), text("id"))
            })
            .collect();
    wanted.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let wanted: Vec<String> = wanted.into_iter().map(|(_, id)| id).collect();

    let mut page = net.get(&ann, &format!("networks?limit=2&{sort}")).await;
    let mut seen = Vec::new();
    while seen.len() < wanted.len() {
        seen.extend(ids(&page["networks"]));
        let next = linked(&page, "networks_links", "next").unwrap();
        let marker = seen.last().unwrap();
        assert_eq!(next, format!("networks?limit=2&{sort}&marker={marker}"));
        page = net.get(&ann, next).await;
    }
    assert_eq!(seen, wanted);
    assert_eq!(page["networks"], json!([]));

    let last = net.get(&ann, &format!("networks?limit=2&{sort}&marker={}", wanted[3])).await;
    let before = linked(&last, "networks_links", "previous").unwrap();
    assert!(before.ends_with(&format!("&{sort}&marker={}&page_reverse=True", wanted[4])), "{before}");
    let before = net.get(&ann, before).await;
    assert_eq!(ids(&before["networks"]), wanted[2..4]);
    let first = net.get(&ann, linked(&before, "networks_links", "previous").unwrap()).await;
    assert_eq!(ids(&first["networks"]), wanted[..2]);
}

#[actix_web::test]
async fn paths_may_name_their_format() {
    let net = net().await;
    let admin = &net.cloud.admin;
    let network = format!("networks/{}.json", net.network);
    assert_eq!(net.get(admin, &network).await["network"]["id"], net.network.as_str());
    for path in
        ["networks.json", "ports.json", "extensions.json", "extensions/quotas.json", "security-groups.json"]
    {
        net.get(admin, path).await;
    }
    net.post(admin, "ports.json", net.port(&json!({}))).await;
    let page = net.get(admin, "networks.json?limit=1").await;
    assert!(linked(&page, "networks_links", "next").unwrap().starts_with("networks.json?limit=1&marker="));
    for path in ["networks/.json", "networks.json/", "networks.xml", "nothing.json", "networks/x.json"] {
        assert_eq!(net.status(admin, path).await, 404, "{path}");
    }
}

#[actix_web::test]
async fn tags() {
    let net = net().await;
    let ann = net.cloud.user("ann", "member").await;
    let made = net.post(&ann, "ports", net.port(&json!({}))).await;
    let port = format!("ports/{}", made["port"]["id"].as_str().unwrap());
    let tags = format!("{port}/tags");
    assert_eq!(
        net.put(&ann, &tags, json!({"tags": ["red", "blue", "red"]})).await,
        json!({"tags": ["blue", "red"]})
    );
    assert_eq!(net.ask(&ann, Method::PUT, &format!("{tags}/green"), None).await.0, 201);
    assert_eq!(net.status(&ann, &format!("{tags}/green")).await, 204);
    for (query, found) in [
        ("tags=red,green", 1),
        ("tags=red,white", 0),
        ("tags-any=white,green", 1),
        ("not-tags=red,white", 1),
        ("not-tags=red,green", 0),
        ("not-tags-any=white", 1),
        ("not-tags-any=white,red", 0),
    ] {
        assert_eq!(ids(&net.get(&ann, &format!("ports?{query}")).await["ports"]).len(), found, "{query}");
    }
    assert_eq!(net.delete(&ann, &format!("{tags}/green")).await, 204);
    assert_eq!(
        net.refused(&ann, Method::DELETE, &format!("{tags}/green"), Value::Null).await,
        error(404, "TagNotFound")
    );
    assert_eq!(net.delete(&ann, &tags).await, 204);
    assert_eq!(net.get(&ann, &tags).await, json!({"tags": []}));
    let network = format!("networks/{}/tags/mine", net.network);
    assert_eq!(net.ask(&ann, Method::PUT, &network, None).await.0, 403, "it is another project's network");
    assert_eq!(net.ask(&net.cloud.admin, Method::PUT, &network, None).await.0, 201);
}

#[actix_web::test]
async fn limits_hold() {
    let net = net().await;
    let (ann, admin) = (net.cloud.user("ann", "member").await, &net.cloud.admin);
    let path = "quotas/project-ann";
    assert_eq!(net.get(&ann, path).await["quota"]["port"], 500);
    assert_eq!(net.status(&ann, "quotas/project-other").await, 403);
    assert_eq!(net.get(admin, "quotas/no-such-project").await["quota"]["network"], 100);
    let refused = net.refused(&ann, Method::PUT, path, json!({"quota": {"port": 1}})).await;
    assert_eq!(refused, error(403, "PolicyNotAuthorized"));
    assert_eq!(net.put(admin, path, json!({"quota": {"port": 1}})).await["quota"]["port"], 1);
    net.post(&ann, "ports", net.port(&json!({}))).await;
    assert_eq!(net.refused(&ann, Method::POST, "ports", net.port(&json!({}))).await, error(409, "OverQuota"));
    for details in ["details", "details.json"] {
        let used = net.get(&ann, &format!("{path}/{details}")).await;
        assert_eq!(used["quota"]["port"], json!({"limit": 1, "used": 1, "reserved": 0}));
    }
    assert_eq!(net.get(admin, "quotas").await["quotas"][0]["project_id"], "project-ann");
    assert_eq!(net.get(&ann, &format!("{path}/default")).await["quota"]["port"], 500);
    assert_eq!(net.delete(admin, path).await, 204);
    assert_eq!(net.get(&ann, path).await["quota"]["port"], 500);
    let bad = net.refused(admin, Method::PUT, path, json!({"quota": {"ports": 1}})).await;
    assert_eq!(bad, error(400, "HTTPBadRequest"));
}

#[actix_web::test]
async fn extensions_and_zones() {
    let net = net().await;
    let list = net.get(&net.cloud.admin, "extensions").await;
    let aliases: Vec<&str> =
        list["extensions"].as_array().unwrap().iter().map(|e| e["alias"].as_str().unwrap()).collect();
    assert!(aliases.contains(&"security-group") && !aliases.contains(&"router"));
    let security = net.get(&net.cloud.admin, "extensions/port-security").await;
    assert_eq!(security["extension"]["name"], "Port Security");
    assert_eq!(security["extension"]["updated"], "2012-07-23T10:00:00-00:00");
    let one = net.get(&net.cloud.admin, "extensions/quotas").await;
    assert_eq!(one["extension"]["links"], json!([]));
    let zones = net.get(&net.cloud.admin, "availability_zones").await;
    assert_eq!(zones["availability_zones"][0]["name"], "nova");
}
