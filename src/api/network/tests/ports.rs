//! Ports.

use super::*;

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
    let mac = port["mac_address"].as_str().unwrap();
    for written in [mac.to_owned(), mac.to_uppercase(), mac.replace(':', "-"), mac.replace(':', "")] {
        let found = net.get(&ann, &format!("ports?mac_address={written}")).await;
        assert_eq!(ids(&found["ports"]).len(), 1, "{written}");
    }
    for other in ["fa:16:3e", "nothing", "fa:16:3e:zz:00:01"] {
        assert_eq!(net.get(&ann, &format!("ports?mac_address={other}")).await["ports"], json!([]));
    }
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
