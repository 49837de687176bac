//! Security groups and their rules.

use super::*;

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
        (json!({"remote_group_id": "no-group"}), error(404, "SecurityGroupNotFound")),
        (json!({"security_group_id": "no-group"}), error(404, "SecurityGroupNotFound")),
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
