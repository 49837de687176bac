//! Security groups and addresses of servers as clients change them.

use super::servers::{client, make, settle};
use super::{Client, message};
use crate::host::net::fake::FakeNetwork;
use crate::store::StoreError;
use actix_web::http::Method;
use serde_json::{Value, json};

struct Wired {
    client: Client,
    id: String,
    network: String,
}

impl Wired {
    /// A server with one port.
    async fn new() -> Self {
        let client = client().await;
        let project = client.cloud.actor(&client.cloud.admin).await.project_id.unwrap();
        let networks = &client.cloud.state.services.networks;
        let network = networks.ensure_default(&FakeNetwork::default(), &project).await.unwrap().unwrap();
        client.cloud.execute("DELETE FROM task".into()).await;
        let id = make(&client, "wired").await;
        settle(&client, &id).await;
        Self { client, id, network: network.to_string() }
    }

    async fn act(&self, body: Value) -> (u16, String) {
        let answer = self.client.post(&format!("/v2.1/servers/{}/action", self.id), body).await;
        let text = if answer.body.is_null() { String::new() } else { message(&answer).to_owned() };
        (answer.status, text)
    }

    async fn groups(&self) -> Value {
        let answer = self.client.get(&format!("/v2.1/servers/{}/os-security-groups", self.id)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["security_groups"].clone()
    }

    /// The server's addresses, in their order.
    async fn addresses(&self) -> Vec<String> {
        let answer = self.client.get(&format!("/v2.1/servers/{}/ips", self.id)).await;
        let networks = answer.body["addresses"].as_object().unwrap().clone();
        let all = networks.values().flat_map(|network| network.as_array().unwrap().clone());
        all.map(|address| address["addr"].as_str().unwrap().to_owned()).collect()
    }

    async fn count(&self, sql: &'static str) -> String {
        one(&self.client, sql).await
    }

    /// Makes groups of the server's project, with these ids and names.
    async fn make_groups(&self, groups: &[(&str, &str)]) {
        for (id, name) in groups {
            self.client
                .cloud
                .execute(format!(
                    "INSERT INTO security_group (id, project_id, name, created_at, updated_at) \
                     SELECT '{id}', project_id, '{name}', 0, 0 FROM server WHERE id = '{}'",
                    self.id
                ))
                .await;
        }
    }
}

async fn one(client: &Client, sql: &'static str) -> String {
    let read = move |c: &rusqlite::Connection| Ok::<_, StoreError>(c.query_row(sql, [], |row| row.get(0))?);
    client.cloud.state.services.deps.store.read(read).await.unwrap()
}

const WEB: &str = "66666666-0000-4000-8000-000000000001";
const TWINS: [&str; 2] = ["66666666-0000-4000-8000-000000000002", "66666666-0000-4000-8000-000000000003"];

#[actix_web::test]
async fn groups_are_put_on_all_ports_and_taken_off() {
    let it = Wired::new().await;
    it.make_groups(&[(WEB, "web"), (TWINS[0], "twin"), (TWINS[1], "twin")]).await;
    it.client
        .cloud
        .execute(format!(
            "INSERT INTO security_group_rule (id, security_group_id, project_id, direction, ethertype, protocol, \
                 port_range_min, port_range_max, remote_ip_prefix, remote_group_id, created_at, updated_at) \
             SELECT column1, '{WEB}', project_id, column2, 'IPv4', column3, column4, column4, column5, column6, column7, 0 \
             FROM security_group, (VALUES \
                 ('77777777-0000-4000-8000-000000000001', 'ingress', 'tcp', 22, '192.0.2.0/24', NULL, 1), \
                 ('77777777-0000-4000-8000-000000000002', 'ingress', 'udp', NULL, NULL, '{WEB}', 2), \
                 ('77777777-0000-4000-8000-000000000003', 'ingress', NULL, NULL, NULL, NULL, 3), \
                 ('77777777-0000-4000-8000-000000000004', 'ingress', 'icmp', NULL, NULL, NULL, 4), \
                 ('77777777-0000-4000-8000-000000000005', 'egress', 'tcp', NULL, NULL, NULL, 5)) \
             WHERE security_group.id = '{WEB}'"
        ))
        .await;
    let project = it.count("SELECT project_id FROM server").await;
    let add = |name: &str| json!({"addSecurityGroup": {"name": name}});
    let remove = |name: &str| json!({"removeSecurityGroup": {"name": name}});
    let not_found = |name: &str| format!("Security group {name} is not found for project {project}");
    for (body, status, text) in [
        (json!({"addSecurityGroup": null}), 400, "Missing parameter dict".to_owned()),
        (json!({"addSecurityGroup": {}}), 400, "Security group not specified".into()),
        (add(" "), 400, "Security group name cannot be empty".into()),
        (add("nowhere"), 404, not_found("nowhere")),
        (remove(TWINS[0].replace('2', "9").as_str()), 404, not_found(&TWINS[0].replace('2', "9"))),
        (
            add("twin"),
            409,
            "Multiple security_group matches found for name 'twin', use an ID to be more specific.".into(),
        ),
        (remove("web"), 404, format!("Security group web not associated with the instance {}", it.id)),
    ] {
        assert_eq!(it.act(body.clone()).await, (status, text), "{body}");
    }
    assert_eq!(
        it.count("SELECT CAST(count(*) AS TEXT) FROM task WHERE workflow = 'network_sync'").await,
        "0"
    );

    assert_eq!(it.act(add("web")).await, (202, String::new()));
    assert_eq!(it.act(add(WEB)).await, (202, String::new()));
    assert_eq!(it.act(add(TWINS[0])).await, (202, String::new()));
    assert_eq!(it.act(remove("default")).await, (202, String::new()));
    let rule = |last: u8, protocol: Value, ports: Value, group: Value, range: Value| {
        json!({
            "id": format!("77777777-0000-4000-8000-00000000000{last}"), "parent_group_id": WEB,
            "ip_protocol": protocol, "from_port": ports[0], "to_port": ports[1], "group": group,
            "ip_range": range,
        })
    };
    let anywhere = json!({"cidr": "0.0.0.0/0"});
    let web = json!({"name": "web", "tenant_id": project});
    let expected = json!([
        {"id": TWINS[0], "name": "twin", "description": "", "tenant_id": project, "rules": []},
        {"id": WEB, "name": "web", "description": "", "tenant_id": project, "rules": [
            rule(1, json!("tcp"), json!([22, 22]), json!({}), json!({"cidr": "192.0.2.0/24"})),
            rule(2, json!("udp"), json!([1, 65535]), web, json!({})),
            rule(3, json!(null), json!([null, null]), json!({}), anywhere.clone()),
            rule(4, json!("icmp"), json!([-1, -1]), json!({}), anywhere),
        ]},
    ]);
    assert_eq!(it.groups().await, expected);
    assert_ne!(
        it.count("SELECT CAST(count(*) AS TEXT) FROM task WHERE workflow = 'network_sync'").await,
        "0"
    );
    let shown = it.client.get(&format!("/v2.1/servers/{}", it.id)).await.body;
    assert_eq!(shown["server"]["security_groups"], json!([{"name": "twin"}, {"name": "web"}]));

    it.client.cloud.execute("UPDATE port SET port_security_enabled = 0".into()).await;
    let words =
        "Network requires port_security_enabled and subnet associated in order to apply security groups.";
    assert_eq!(it.act(add("default")).await, (400, words.to_owned()));
    it.client.cloud.execute("UPDATE port SET device_id = ''".into()).await;
    let words = format!("instance_id {} could not be found as device id on any ports", it.id);
    assert_eq!(it.act(add("default")).await, (404, words));
    assert_eq!(it.groups().await, json!([]));
    // These change ports, which keep no record of actions.
    let actions = it.client.get(&format!("/v2.1/servers/{}/os-instance-actions", it.id)).await.body;
    assert_eq!(actions["instanceActions"].as_array().unwrap().len(), 1);
}

#[actix_web::test]
async fn addresses_come_and_go() {
    let mut it = Wired::new().await;
    let first = it.addresses().await;
    assert_eq!(first.len(), 1);
    let add = json!({"addFixedIp": {"networkId": it.network}});
    let remove = |address: &str| json!({"removeFixedIp": {"address": address}});
    let elsewhere = format!("Network could not be found for instance {}.", it.id);
    for network in [json!("nix"), json!(7), json!(WEB)] {
        let refused = it.act(json!({"addFixedIp": {"networkId": network}})).await;
        assert_eq!(refused, (404, elsewhere.clone()));
    }
    for body in [
        json!({"addFixedIp": {}}),
        json!({"addFixedIp": {"networkId": ""}}),
        json!({"removeFixedIp": {"address": "x"}}),
        json!({"addFloatingIp": {"fixed_address": "10.0.0.1"}}),
        json!({"removeFloatingIp": {"address": "203.0.113.1", "x": 1}}),
    ] {
        assert_eq!(it.act(body.clone()).await.0, 400, "{body}");
    }
    assert_eq!(it.act(add.clone()).await, (202, String::new()));
    let both = it.addresses().await;
    assert_eq!((both.len(), &both[0]), (2, &first[0]));
    assert_ne!(
        it.count("SELECT CAST(count(*) AS TEXT) FROM task WHERE workflow = 'network_sync'").await,
        "0"
    );
    let none = format!("Instance {} has zero fixed IPs.", it.id);
    assert_eq!(it.act(remove("203.0.113.7")).await, (400, none.clone()));
    assert_eq!(it.act(remove("::1")).await, (400, none));

    let floating = |fixed: Option<&str>| match fixed {
        Some(fixed) => json!({"addFloatingIp": {"address": "203.0.113.1", "fixed_address": fixed}}),
        None => json!({"addFloatingIp": {"address": "203.0.113.1"}}),
    };
    assert_eq!(it.act(floating(None)).await, (404, "floating IP not found".into()));
    assert_eq!(it.act(floating(Some(&both[1]))).await, (404, "floating IP not found".into()));
    let words = "Specified fixed address not assigned to instance";
    assert_eq!(it.act(floating(Some("203.0.113.2"))).await, (400, words.into()));
    let words = "Floating IP not found for address 203.0.113.1.";
    assert_eq!(it.act(json!({"removeFloatingIp": {"address": "203.0.113.1"}})).await, (404, words.into()));

    assert_eq!(it.act(remove(&first[0])).await, (202, String::new()));
    assert_eq!(it.addresses().await, both[1..]);
    assert_eq!(it.act(remove(&both[1])).await, (202, String::new()));
    assert_eq!(it.act(floating(None)).await, (400, "No fixed IPs associated to instance".into()));
    it.client.cloud.execute("UPDATE port SET device_id = ''".into()).await;
    assert_eq!(it.act(floating(None)).await, (400, "Instance network is not ready yet".into()));
    assert_eq!(it.act(add.clone()).await, (404, elsewhere));

    it.client.at("2.44");
    for body in [add, remove(&first[0]), floating(None)] {
        assert_eq!(it.act(body).await, (404, "The resource could not be found.".into()));
    }
}

#[actix_web::test]
async fn interfaces_are_shown_and_what_is_asked_of_them_is_checked() {
    let mut it = Wired::new().await;
    let path = format!("/v2.1/servers/{}/os-interface", it.id);
    it.client.cloud.execute("UPDATE port SET nic_tag = 'public'".into()).await;
    let port = it.count("SELECT id FROM port").await;
    let one = json!({
        "net_id": it.network, "port_id": port, "mac_addr": it.count("SELECT mac_address FROM port").await,
        "port_state": it.count("SELECT status FROM port").await,
        "fixed_ips": [{
            "subnet_id": it.count("SELECT subnet_id FROM port_address").await,
            "ip_address": it.count("SELECT ip_address FROM port_address").await,
        }],
    });
    let list = it.client.get(&path).await;
    assert_eq!((list.status, list.body), (200, json!({"interfaceAttachments": [one]})));
    it.client.at("2.70");
    let mut tagged = one;
    tagged["tag"] = json!("public");
    let shown = it.client.get(&format!("{path}/{port}")).await;
    assert_eq!((shown.status, shown.body), (200, json!({"interfaceAttachment": tagged})));

    let elsewhere = WEB;
    let text = |answer: &super::Answer| (answer.status, message(answer).to_owned());
    for unknown in [elsewhere, "nix"] {
        let words = format!("Port id {unknown} could not be found.");
        let path = format!("{path}/{unknown}");
        assert_eq!(text(&it.client.get(&path).await), (404, words.clone()));
        assert_eq!(text(&it.client.send(Method::DELETE, &path, None).await), (404, words));
    }
    let nowhere = it.client.get(&format!("/v2.1/servers/{elsewhere}/os-interface")).await;
    assert_eq!(text(&nowhere), (404, format!("Instance {elsewhere} could not be found.")));

    let wish = |value: Value| json!({"interfaceAttachment": value});
    for (body, words) in [
        (json!({"net_id": it.network, "port_id": port}), "Must not input both network_id and port_id"),
        (json!({"fixed_ips": [{"ip_address": "10.0.0.9"}]}), "Must input network_id when request IP address"),
        (
            json!({"port_id": port, "fixed_ips": [{"ip_address": "10.0.0.9"}]}),
            "Must input network_id when request IP address",
        ),
    ] {
        assert_eq!(text(&it.client.post(&path, wish(body)).await), (400, words.to_owned()));
    }
    for body in [
        wish(json!({"net_id": "nix"})),
        wish(json!({"port_id": null})),
        wish(json!({"fixed_ips": []})),
        wish(json!({"net_id": it.network, "fixed_ips": [{"ip_address": "x"}]})),
        wish(json!({"tag": "a,b"})),
        wish(json!({"more": 1})),
        json!({"interfaceAttachment": {}, "more": 1}),
        json!([]),
    ] {
        assert_eq!(it.client.post(&path, body.clone()).await.status, 400, "{body}");
    }
    it.client.at("2.48");
    let early = it.client.post(&path, wish(json!({"port_id": port, "tag": "public"}))).await;
    assert!(early.status == 400 && message(&early).contains("'tag' was unexpected"), "{}", early.body);
    assert_eq!(it.client.post(&path, wish(json!({"port_id": port}))).await.status, 409);
    assert_eq!(it.count("SELECT CAST(count(*) AS TEXT) FROM port").await, "1");

    let member = it.client.cloud.user("stranger", "member").await;
    let admin = std::mem::replace(&mut it.client.cloud.admin, member);
    assert_eq!(it.client.get(&path).await.status, 404);
    assert_eq!(it.client.send(Method::DELETE, &format!("{path}/{port}"), None).await.status, 404);
    it.client.cloud.admin = admin;
    let gone = it.client.send(Method::DELETE, &format!("{path}/{port}"), None).await;
    assert_eq!((gone.status, gone.body), (202, Value::Null));
    let state = "SELECT workflow FROM task ORDER BY id DESC LIMIT 1";
    assert_eq!(it.count(state).await, "server_detach_interface");
}
