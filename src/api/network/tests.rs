//! The network API from outside: requests in, bodies out, over a cloud in memory.

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
async fn the_default_network_is_everybodys() {
    let net = net().await;
    let ann = net.cloud.user("ann", "reader").await;
    let list = net.get(&ann, "networks?name=private&router:external=False&shared=true").await;
    assert_eq!(ids(&list["networks"]), std::slice::from_ref(&net.network));
    let network = &net.get(&ann, &format!("networks/{}", net.network)).await["network"];
    assert_eq!(network["status"], "ACTIVE");
    assert!(network.get("provider:network_type").is_none());
    let admins = &net.get(&net.cloud.admin, &format!("networks/{}", net.network)).await["network"];
    assert_eq!(admins["provider:physical_network"], Value::Null);
    assert_eq!(admins["provider:network_type"], "local");
    let subnets = net.get(&ann, &format!("subnets?network_id={}", net.network)).await;
    let subnet = &subnets["subnets"][0];
    assert_eq!(network["subnets"][0], subnet["id"]);
    assert_eq!(subnet["gateway_ip"], "10.71.71.1");
    assert_eq!(subnet["allocation_pools"], json!([{"start": "10.71.71.2", "end": "10.71.71.254"}]));
    assert_eq!(net.status(&ann, &format!("subnets/{}", subnet["id"].as_str().unwrap())).await, 200);
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
async fn ports_of_members() {
    let net = net().await;
    let (ann, bob) = (net.cloud.user("ann", "member").await, net.cloud.user("bob", "member").await);
    let made = net.post(&ann, "ports", net.port(&json!({"name": "eth", "description": "d"}))).await;
    let port = &made["port"];
    let path = format!("ports/{}", port["id"].as_str().unwrap());
    assert_eq!(port["status"], "DOWN");
    assert_eq!(port["tenant_id"], "project-ann");
    assert_eq!(port["device_id"], "");
    assert!(port["mac_address"].as_str().unwrap().starts_with("fa:16:3e:"));
    assert!(port["fixed_ips"][0]["ip_address"].as_str().unwrap().starts_with("10.71.71."));
    assert_eq!(port["security_groups"].as_array().unwrap().len(), 1);
    assert!(port.get("binding:host_id").is_none());
    assert_eq!(net.get(&net.cloud.admin, &path).await["port"]["binding:vif_type"], "unbound");

    assert_eq!(net.get(&bob, "ports").await["ports"], json!([]));
    assert_eq!(net.refused(&bob, Method::GET, &path, Value::Null).await, error(404, "PortNotFound"));
    assert_eq!(net.delete(&bob, &path).await, 404);
    let reader = net.cloud.user("eve", "reader").await;
    let refused = net.refused(&reader, Method::POST, "ports", net.port(&json!({}))).await;
    assert_eq!(refused, error(403, "PolicyNotAuthorized"));

    let address = &port["fixed_ips"][0]["ip_address"];
    let found = net.get(&ann, &format!("ports?fixed_ips=ip_address%3D{}", address.as_str().unwrap())).await;
    assert_eq!(ids(&found["ports"]).len(), 1);
    assert_eq!(net.get(&ann, "ports?fixed_ips=ip_address=10.0.0.1").await["ports"], json!([]));
    assert_eq!(net.get(&ann, "ports?device_id=nobody").await["ports"], json!([]));
    let only = net.get(&ann, "ports?fields=id&fields=name").await;
    assert_eq!(only["ports"][0].as_object().unwrap().len(), 2);

    let changed = net.put(&ann, &path, json!({"port": {"name": "new", "security_groups": []}})).await;
    assert_eq!(changed["port"]["name"], "new");
    assert_eq!(changed["port"]["security_groups"], json!([]));
    assert_eq!(changed["port"]["revision_number"], 2);
    assert_eq!(net.delete(&ann, &path).await, 204);
    assert_eq!(net.delete(&ann, &path).await, 404);
}

#[actix_web::test]
async fn port_security_goes_with_groups() {
    let net = net().await;
    let admin = &net.cloud.admin;
    let default = net.get(admin, "security-groups?name=default").await["security_groups"][0]["id"].clone();
    let body = net.port(&json!({"port_security_enabled": false, "security_groups": [default]}));
    let refused = net.refused(admin, Method::POST, "ports", body).await;
    assert_eq!(refused, error(400, "PortSecurityAndIPRequiredForSecurityGroups"));
    let port = net.post(admin, "ports", net.port(&json!({"port_security_enabled": false}))).await;
    assert_eq!(port["port"]["port_security_enabled"], false);
    assert_eq!(port["port"]["security_groups"], json!([]));
    let path = format!("ports/{}", port["port"]["id"].as_str().unwrap());
    let change = |changes: Value| json!({"port": changes});
    let refused = net.refused(admin, Method::PUT, &path, change(json!({"security_groups": [default]}))).await;
    assert_eq!(refused, error(400, "PortSecurityAndIPRequiredForSecurityGroups"));
    let port = net.put(admin, &path, change(json!({"port_security_enabled": true}))).await;
    assert_eq!(port["port"]["security_groups"], json!([default]));
    let refused =
        net.refused(admin, Method::PUT, &path, change(json!({"port_security_enabled": false}))).await;
    assert_eq!(refused, error(409, "PortSecurityPortHasSecurityGroup"));
    let both = json!({"port_security_enabled": false, "security_groups": []});
    assert_eq!(net.put(admin, &path, change(both)).await["port"]["port_security_enabled"], false);

    let pairs = json!({"allowed_address_pairs": [{"ip_address": "10.9.0.0/16"}]});
    let refused = net.refused(admin, Method::PUT, &path, change(pairs.clone())).await;
    assert_eq!(refused, error(409, "AddressPairAndPortSecurityRequired"));
    let twice = json!({"allowed_address_pairs": [{"ip_address": "10.9.0.1"}, {"ip_address": "10.9.0.1"}]});
    let refused = net.refused(admin, Method::POST, "ports", net.port(&twice)).await;
    assert_eq!(refused, error(400, "DuplicateAddressPairInRequest"));
    for bad in [json!({}), json!({"ip_address": "2001:db8::1"}), json!({"ip_address": "10.9.0.1", "x": 1})] {
        let body = net.port(&json!({"allowed_address_pairs": [bad]}));
        assert_eq!(net.refused(admin, Method::POST, "ports", body).await, error(400, "HTTPBadRequest"));
    }
    let made = net.post(admin, "ports", net.port(&pairs)).await;
    let own = &made["port"]["mac_address"];
    let shown = json!([{"mac_address": own, "ip_address": "10.9.0.0/16"}]);
    assert_eq!(made["port"]["allowed_address_pairs"], shown);
    let other = json!([{"mac_address": "00:00:5e:00:01:01", "ip_address": "10.9.0.1"}]);
    let path = format!("ports/{}", made["port"]["id"].as_str().unwrap());
    let changed = net.put(admin, &path, change(json!({"allowed_address_pairs": other}))).await;
    assert_eq!(changed["port"]["allowed_address_pairs"], other);
    assert_eq!(net.get(admin, &path).await["port"]["allowed_address_pairs"], other);

    let network = json!({"network": {"name": "bare", "port_security_enabled": false}});
    let made = net.post(admin, "networks", network).await;
    assert_eq!(made["network"]["port_security_enabled"], false);
    let body = json!({"port": {"network_id": made["network"]["id"]}});
    assert_eq!(net.post(admin, "ports", body).await["port"]["port_security_enabled"], false);
}

#[actix_web::test]
async fn what_members_may_not_say_of_ports() {
    let net = net().await;
    let ann = net.cloud.user("ann", "member").await;
    let admin = &net.cloud.admin;
    for (body, expected) in [
        (json!({"mac_address": "fa:16:3e:00:00:01"}), error(403, "PolicyNotAuthorized")),
        (json!({"fixed_ips": [{"ip_address": "10.71.71.9"}]}), error(403, "PolicyNotAuthorized")),
        (json!({"port_security_enabled": false}), error(403, "PolicyNotAuthorized")),
        (json!({"binding:host_id": "x"}), error(403, "PolicyNotAuthorized")),
        (json!({"project_id": "another"}), error(400, "HTTPBadRequest")),
        (json!({"device_owner": "compute:nova"}), error(400, "InvalidInput")),
        (json!({"nonsense": 1}), error(400, "HTTPBadRequest")),
        (json!({"status": "ACTIVE"}), error(400, "HTTPBadRequest")),
        (json!({"name": null}), error(400, "HTTPBadRequest")),
        (json!({"admin_state_up": "perhaps"}), error(400, "HTTPBadRequest")),
        (json!({"fixed_ips": [{"ip": "x"}]}), error(400, "HTTPBadRequest")),
        (json!({"security_groups": ["default"]}), error(400, "HTTPBadRequest")),
        (
            json!({"security_groups": ["00000000-0000-0000-0000-000000000000"]}),
            error(404, "SecurityGroupNotFound"),
        ),
    ] {
        let refused = net.refused(&ann, Method::POST, "ports", net.port(&body)).await;
        assert_eq!(refused, expected, "{body}");
    }
    let (_, body) = net.ask(&ann, Method::POST, "ports", Some(json!({"port": {"x": 1}}))).await;
    assert_eq!(body["NeutronError"]["message"], "Unrecognized attribute(s) 'x'");
    for body in [json!({}), json!([]), json!({"port": {}}), json!({"port": {"network_id": "x"}})] {
        let refused = net.refused(&ann, Method::POST, "ports", body.clone()).await;
        assert_eq!(refused, error(400, "HTTPBadRequest"), "{body}");
    }
    let certain = json!({"fixed_ips": [{"ip_address": "10.71.71.9"}], "mac_address": "fa:16:3e:00:00:01"});
    net.post(admin, "ports", net.port(&certain)).await;
    for (body, expected) in [
        (json!({"fixed_ips": [{"ip_address": "10.71.71.9"}]}), error(409, "IpAddressInUse")),
        (json!({"fixed_ips": [{"ip_address": "10.71.71.1"}]}), error(409, "IpAddressInUse")),
        (json!({"fixed_ips": [{"ip_address": "10.1.1.1"}]}), error(400, "InvalidIpForNetwork")),
        (json!({"fixed_ips": [{"ip_address": "2001:db8::1"}]}), error(400, "InvalidIpForNetwork")),
        (json!({"mac_address": "FA:16:3E:00:00:01"}), error(409, "MacAddressInUse")),
        (json!({"mac_address": "ff:ff:ff:ff:ff:ff"}), error(400, "HTTPBadRequest")),
    ] {
        let refused = net.refused(admin, Method::POST, "ports", net.port(&body)).await;
        assert_eq!(refused, expected, "{body}");
    }
}

#[actix_web::test]
async fn ports_of_servers_are_left_to_the_compute_api() {
    let net = net().await;
    let ann = net.cloud.user("ann", "member").await;
    let server = ServerId::random();
    let store = &net.cloud.state.services.deps.store;
    let now = net.cloud.clock.now();
    let port = store
        .write::<_, crate::core::Error, _>(move |c| {
            let project = ProjectId::from("project-ann");
            let owner = PortOwner {
                server,
                project: &project,
                admin: false,
                zone: "nova",
                host: "node",
                security_groups: &[],
                now,
            };
            Ok(plan_server_ports(c, &owner, &Networking::Auto)?.remove(0))
        })
        .await
        .unwrap();
    let path = format!("ports/{}", port.id);
    assert_eq!(ids(&net.get(&ann, &format!("ports?device_id={server}")).await["ports"]).len(), 1);
    let in_use = error(409, "PortInUse");
    assert_eq!(net.refused(&ann, Method::DELETE, &path, Value::Null).await, in_use);
    for change in [json!({"device_id": ""}), json!({"device_owner": "mine"})] {
        let refused = net.refused(&ann, Method::PUT, &path, json!({"port": change})).await;
        assert_eq!(refused, in_use, "{change}");
    }
    // What is the same is no change.
    let same = json!({"port": {"device_id": server, "name": "web"}});
    assert_eq!(net.put(&ann, &path, same).await["port"]["name"], "web");
    // Its addresses can be changed: the host follows.
    let none = json!({"port": {"fixed_ips": []}});
    assert_eq!(net.put(&ann, &path, none).await["port"]["fixed_ips"], json!([]));
    // Nor can a port be slipped into somebody's server.
    let bob = net.cloud.user("bob", "member").await;
    net.post(&bob, "ports", net.port(&json!({"device_id": server}))).await;
    let nics = store.read(move |c| crate::store::server_ports::server_nics(c, &[server])).await.unwrap();
    assert_eq!(nics[&server].len(), 1);
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

#[actix_web::test]
async fn groups_and_their_rules() {
    let net = net().await;
    let (ann, bob) = (net.cloud.user("ann", "member").await, net.cloud.user("bob", "member").await);
    let groups = net.get(&ann, "security-groups").await;
    let default = &groups["security_groups"][0];
    assert_eq!(default["name"], "default");
    assert_eq!(default["security_group_rules"].as_array().unwrap().len(), 4);
    let default_path = format!("security-groups/{}", default["id"].as_str().unwrap());
    assert_eq!(net.status(&bob, &default_path).await, 404);
    assert_eq!(
        net.refused(&ann, Method::DELETE, &default_path, Value::Null).await,
        error(409, "SecurityGroupCannotRemoveDefault")
    );
    let refused = net
        .refused(&ann, Method::POST, "security-groups", json!({"security_group": {"name": "default"}}))
        .await;
    assert_eq!(refused, error(409, "SecurityGroupDefaultAlreadyExists"));

    let made = net.post(&ann, "security-groups", json!({"security_group": {"name": "web"}})).await;
    let group = made["security_group"]["id"].as_str().unwrap();
    assert_eq!(made["security_group"]["security_group_rules"].as_array().unwrap().len(), 2);
    assert_eq!(made["security_group"]["stateful"], true);
    let rule = |more: Value| {
        let mut rule = json!({"security_group_id": group, "direction": "ingress", "protocol": "tcp",
            "port_range_min": 22, "port_range_max": 22});
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "security_group_rule": rule })
    };
    let path = "security-group-rules";
    let ssh = net.post(&ann, path, rule(json!({"remote_ip_prefix": "10.0.0.0/8"}))).await;
    let ssh = &ssh["security_group_rule"];
    assert_eq!(ssh["ethertype"], "IPv4");
    assert_eq!((&ssh["port_range_min"], &ssh["remote_ip_prefix"]), (&json!(22), &json!("10.0.0.0/8")));
    for (more, expected) in [
        (json!({"remote_ip_prefix": "10.0.0.0/8"}), error(409, "SecurityGroupRuleExists")),
        (json!({"remote_ip_prefix": "::/0"}), error(400, "SecurityGroupRuleParameterConflict")),
        (json!({"remote_ip_prefix": "x"}), error(400, "InvalidCIDR")),
        (json!({"direction": "up"}), error(400, "HTTPBadRequest")),
        (json!({"port_range_max": 21}), error(400, "SecurityGroupInvalidPortRange")),
        (json!({"port_range_max": 99999}), error(400, "SecurityGroupInvalidPortValue")),
        (json!({"protocol": null}), error(400, "SecurityGroupProtocolRequiredWithPorts")),
        (json!({"protocol": "bogus"}), error(400, "SecurityGroupRuleInvalidProtocol")),
        (
            json!({"remote_group_id": "00000000-0000-0000-0000-000000000000"}),
            error(404, "SecurityGroupNotFound"),
        ),
        (
            json!({"remote_group_id": group, "remote_ip_prefix": "10.0.0.0/8"}),
            error(400, "SecurityGroupMultipleRemoteEntites"),
        ),
    ] {
        assert_eq!(net.refused(&ann, Method::POST, path, rule(more.clone())).await, expected, "{more}");
    }
    assert_eq!(
        net.refused(&bob, Method::POST, path, rule(json!({}))).await,
        error(404, "SecurityGroupNotFound")
    );
    let listed = net.get(&ann, &format!("{path}?security_group_id={group}&direction=ingress")).await;
    assert_eq!(ids(&listed["security_group_rules"]).len(), 1);

    let port = net.post(&ann, "ports", net.port(&json!({"security_groups": [group]}))).await;
    let group_path = format!("security-groups/{group}");
    assert_eq!(
        net.refused(&ann, Method::DELETE, &group_path, Value::Null).await,
        error(409, "SecurityGroupInUse")
    );
    net.delete(&ann, &format!("ports/{}", port["port"]["id"].as_str().unwrap())).await;
    let renamed = net.put(&ann, &group_path, json!({"security_group": {"name": "api"}})).await;
    assert_eq!(renamed["security_group"]["name"], "api");
    assert_eq!(net.delete(&ann, &format!("{path}/{}", ssh["id"].as_str().unwrap())).await, 204);
    assert_eq!(net.delete(&ann, &group_path).await, 204);

    let theirs = net.get(&net.cloud.admin, "security-groups?tenant_id=project-ann&name=default").await;
    assert_eq!(ids(&theirs["security_groups"]).len(), 1);
    assert_eq!(net.delete(&net.cloud.admin, &default_path).await, 204);
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
    let one = net.get(&net.cloud.admin, "extensions/quotas").await;
    assert_eq!(one["extension"]["links"], json!([]));
    let zones = net.get(&net.cloud.admin, "availability_zones").await;
    assert_eq!(zones["availability_zones"][0]["name"], "nova");
}

#[actix_web::test]
async fn networks_of_projects() {
    let net = net().await;
    let (ann, bob) = (net.cloud.user("ann", "member").await, net.cloud.user("bob", "member").await);
    let made = net.post(&ann, "networks", json!({"network": {"name": "back", "mtu": 1400}})).await;
    let network = &made["network"];
    assert_eq!(
        (&network["mtu"], &network["shared"], &network["subnets"]),
        (&json!(1400), &json!(false), &json!([]))
    );
    let id = network["id"].as_str().unwrap();
    let path = format!("networks/{id}");
    assert_eq!(net.refused(&bob, Method::GET, &path, Value::Null).await, error(404, "NetworkNotFound"));
    assert_eq!(net.delete(&bob, &path).await, 404);
    let subnet = |more: Value| {
        let mut subnet = json!({"network_id": id, "ip_version": 4, "cidr": "192.168.50.0/24"});
        subnet.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "subnet": subnet })
    };
    for (more, expected) in [
        (json!({"cidr": "10.71.71.128/25"}), error(400, "InvalidInput")),
        (json!({"cidr": "10.0.0.0/31"}), error(400, "InvalidInput")),
        (json!({"cidr": "x"}), error(400, "HTTPBadRequest")),
        (json!({"cidr": null}), error(400, "BadRequest")),
        (json!({"gateway_ip": "192.168.51.1"}), error(400, "InvalidInput")),
        (json!({"gateway_ip": null}), error(501, "NotImplementedError")),
        (json!({"ip_version": 6, "cidr": "fd00::/64"}), error(501, "NotImplementedError")),
        (json!({"ip_version": 5}), error(400, "HTTPBadRequest")),
        (
            json!({"allocation_pools": [{"start": "192.168.50.1", "end": "192.168.50.9"}]}),
            error(409, "GatewayConflictWithAllocationPools"),
        ),
        (
            json!({"allocation_pools": [{"start": "192.168.60.1", "end": "192.168.60.9"}]}),
            error(400, "OutOfBoundsAllocationPool"),
        ),
    ] {
        assert_eq!(
            net.refused(&ann, Method::POST, "subnets", subnet(more.clone())).await,
            expected,
            "{more}"
        );
    }
    let (_, overlap) =
        net.ask(&ann, Method::POST, "subnets", Some(subnet(json!({"cidr": "10.71.71.0/24"})))).await;
    let message = overlap["NeutronError"]["message"].as_str().unwrap();
    assert!(message.contains("overlaps with another subnet"), "{message}");

    let made = net.post(&ann, "subnets", subnet(json!({"dns_nameservers": ["9.9.9.9"]}))).await;
    assert_eq!(made["subnet"]["gateway_ip"], "192.168.50.1");
    let subnet_path = format!("subnets/{}", made["subnet"]["id"].as_str().unwrap());
    assert_eq!(
        net.refused(&ann, Method::POST, "subnets", subnet(json!({"cidr": "192.168.60.0/24"}))).await.0,
        501
    );
    assert_eq!(net.get(&ann, &path).await["network"]["subnets"], json!([made["subnet"]["id"]]));

    // The owner of a network may choose addresses on it, on which members of other projects have no say.
    let port = json!({"port": {"network_id": id, "fixed_ips": [{"ip_address": "192.168.50.77"}]}});
    let port = net.post(&ann, "ports", port).await;
    assert_eq!(net.refused(&ann, Method::DELETE, &path, Value::Null).await, error(409, "NetworkInUse"));
    assert_eq!(net.refused(&ann, Method::DELETE, &subnet_path, Value::Null).await, error(409, "SubnetInUse"));
    let moved = json!({"subnet": {"gateway_ip": "192.168.50.254"}});
    assert_eq!(net.refused(&ann, Method::PUT, &subnet_path, moved).await, error(409, "SubnetInUse"));
    let change = json!({"subnet": {"name": "s", "allocation_pools": [{"start": "192.168.50.9", "end": "192.168.50.20"}]}});
    assert_eq!(net.put(&ann, &subnet_path, change).await["subnet"]["name"], "s");
    net.delete(&ann, &format!("ports/{}", port["port"]["id"].as_str().unwrap())).await;
    assert_eq!(net.put(&ann, &path, json!({"network": {"name": "new"}})).await["network"]["name"], "new");
    assert_eq!(net.delete(&ann, &path).await, 204);
    assert_eq!(net.status(&ann, &subnet_path).await, 404);
}

#[actix_web::test]
async fn what_members_may_not_say_of_networks() {
    let net = net().await;
    let ann = net.cloud.user("ann", "member").await;
    for (body, expected) in [
        (json!({"shared": true}), error(403, "PolicyNotAuthorized")),
        (json!({"is_default": true}), error(403, "PolicyNotAuthorized")),
        (json!({"router:external": true}), error(403, "PolicyNotAuthorized")),
        (json!({"provider:network_type": "local"}), error(403, "PolicyNotAuthorized")),
        (json!({"project_id": "another"}), error(400, "HTTPBadRequest")),
        (json!({"mtu": 1}), error(400, "HTTPBadRequest")),
        (json!({"availability_zone_hints": ["mars"]}), error(404, "AvailabilityZoneNotFound")),
        (json!({"subnets": []}), error(400, "HTTPBadRequest")),
    ] {
        let refused = net.refused(&ann, Method::POST, "networks", json!({ "network": body })).await;
        assert_eq!(refused, expected, "{body}");
    }
    let shared = format!("networks/{}", net.network);
    let change = json!({"network": {"name": "mine"}});
    assert_eq!(net.refused(&ann, Method::PUT, &shared, change).await, error(403, "PolicyNotAuthorized"));
    assert_eq!(
        net.refused(&ann, Method::DELETE, &shared, Value::Null).await,
        error(403, "PolicyNotAuthorized")
    );
    let admin = &net.cloud.admin;
    let vlan = json!({"network": {"provider:network_type": "vlan"}});
    assert_eq!(net.refused(admin, Method::POST, "networks", vlan).await, error(400, "InvalidInput"));
    let foreign = json!({"network": {"project_id": "project-ann", "shared": true}});
    assert_eq!(net.post(admin, "networks", foreign).await["network"]["tenant_id"], "project-ann");
    net.post(&ann, "ports", net.port(&json!({}))).await;
    let unshare = json!({"network": {"shared": false}});
    assert_eq!(net.refused(admin, Method::PUT, &shared, unshare).await, error(409, "InvalidSharedSetting"));
}
