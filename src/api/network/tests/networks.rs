//! Networks and subnets.

use super::*;

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
