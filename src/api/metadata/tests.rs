use super::*;
use crate::api::testing::Cloud;
use crate::core::ids::{PortId, ServerId};
use crate::core::network::{Mac, Network, tests::subnet};
use crate::core::port::{FixedIp, Port, PortStatus, compute_owner};
use crate::core::server::{Server, ServerKey, sample};
use crate::store::{StoreError, networks, ports, servers};
use actix_web::FromRequest;
use actix_web::body::to_bytes;
use actix_web::test::TestRequest;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};

const GUEST: &str = "10.71.0.5:40000";

struct Asked {
    status: u16,
    kind: String,
    body: String,
}

async fn ask(cloud: &Cloud, request: TestRequest, from: &str) -> Asked {
    let from: SocketAddr = from.parse().unwrap();
    let (request, mut payload) = request.peer_addr(from).to_http_parts();
    let payload = Payload::from_request(&request, &mut payload).await.unwrap();
    let response = answer(cloud.state.clone(), request, payload).await;
    let kind = response.headers().get("content-type").map_or("", |value| value.to_str().unwrap()).to_owned();
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body()).await.unwrap();
    Asked { status, kind, body: String::from_utf8_lossy(&bytes).into_owned() }
}

async fn get(cloud: &Cloud, path: &str, from: &str) -> Asked {
    ask(cloud, TestRequest::get().uri(path), from).await
}

/// A server with one port at [`GUEST`].
async fn server_with_port(cloud: &Cloud) -> ServerId {
    let at = cloud.clock.now();
    let key = ServerKey { name: "mine".into(), kind: "ssh".into(), public: "ssh-ed25519 AAAA me".into() };
    let server = Server { key: Some(key), user_data: Some("aGVsbG8=".into()), ..sample() };
    let (id, project) = (server.id, server.project_id.clone());
    let subnet = subnet("10.71.0.0/24");
    let network = Network {
        id: subnet.network_id,
        project_id: project.clone(),
        name: "private".into(),
        description: String::new(),
        admin_state_up: true,
        shared: false,
        external: false,
        is_default: false,
        port_security_enabled: true,
        mtu: 1500,
        tags: Vec::new(),
        created_at: at,
        updated_at: at,
        revision: 1,
    };
    let port_id = PortId::random();
    let port = Port {
        id: port_id,
        network_id: network.id,
        project_id: project,
        name: String::new(),
        description: String::new(),
        admin_state_up: true,
        mac: Mac::for_port(port_id, 0),
        status: PortStatus::Active,
        device_id: id.to_string(),
        device_owner: compute_owner("nova"),
        made_for_server: true,
        nic_index: 0,
        nic_tag: None,
        port_security_enabled: true,
        allowed_pairs: Vec::new(),
        host_id: "node".into(),
        tags: Vec::new(),
        created_at: at,
        updated_at: at,
        revision: 1,
        fixed_ips: vec![FixedIp { subnet_id: subnet.id, address: Ipv4Addr::new(10, 71, 0, 5) }],
        security_groups: Vec::new(),
    };
    let store = &cloud.state.services.deps.store;
    store
        .write::<_, StoreError, _>(move |c| {
            networks::put(c, &network)?;
            networks::put_subnet(c, &subnet)?;
            servers::insert(c, &server)?;
            ports::put(c, &port)
        })
        .await
        .unwrap();
    id
}

#[tokio::test]
async fn a_guest_learns_who_it_is() {
    let cloud = Cloud::new().await;
    let id = server_with_port(&cloud).await;
    let found = get(&cloud, "/openstack/latest/meta_data.json", GUEST).await;
    assert_eq!((found.status, found.kind.as_str()), (200, "application/json"));
    let document: Value = serde_json::from_str(&found.body).unwrap();
    assert_eq!(document["uuid"], id.to_string());
    assert_eq!(document["public_keys"]["mine"], "ssh-ed25519 AAAA me");
    assert_eq!(document["admin_pass"], Value::Null);
    assert_eq!(document["random_seed"].as_str().map(str::len), Some(684));
    for (path, expected) in [
        ("/openstack/latest/user_data", "hello"),
        ("/latest/user-data", "hello"),
        ("/latest/meta-data/local-ipv4", "10.71.0.5"),
        ("/latest/meta-data/public-keys/0/openssh-key/", "ssh-ed25519 AAAA me"),
        ("/2009-04-04/meta-data/%68ostname", "web.novalocal"),
    ] {
        let found = get(&cloud, path, GUEST).await;
        assert_eq!((found.status, found.body.as_str()), (200, expected), "{path}");
        assert_eq!(found.kind, TEXT);
    }
    let mapped = get(&cloud, "/latest/meta-data/local-ipv4", "[::ffff:10.71.0.5]:40000").await;
    assert_eq!(mapped.body, "10.71.0.5");
    assert_eq!(get(&cloud, "/latest/meta-data/nothing", GUEST).await.status, 404);
}

#[tokio::test]
async fn strangers_learn_nothing() {
    let cloud = Cloud::new().await;
    server_with_port(&cloud).await;
    let unknown = get(&cloud, "/openstack/latest/meta_data.json", "10.71.0.6:40000").await;
    let missing = get(&cloud, "/no/such/thing", GUEST).await;
    assert_eq!((unknown.status, &unknown.body), (404, &missing.body));
    let pretending =
        TestRequest::get().uri("/latest/user-data").insert_header(("X-Forwarded-For", "10.71.0.5"));
    assert_eq!(ask(&cloud, pretending, "127.0.0.1:1").await.status, 404);
    assert_eq!(get(&cloud, "/openstack/latest/meta_data.json", "[2001:db8::1]:1").await.status, 404);
    let versions = get(&cloud, "//", "10.71.0.6:40000").await;
    assert!(versions.status == 200 && versions.body.ends_with("2009-04-04\nlatest"));
}

#[tokio::test]
async fn a_password_is_stored_once() {
    const PATH: &str = "/openstack/2013-04-04/password";
    let cloud = Cloud::new().await;
    let id = server_with_port(&cloud).await;
    let post = |bytes: Vec<u8>| ask(&cloud, TestRequest::post().uri(PATH).set_payload(bytes), GUEST);
    assert_eq!(get(&cloud, PATH, GUEST).await.body, "");
    assert_eq!(post(vec![b'x'; PASSWORD_LIMIT + 1]).await.status, 400);
    assert_eq!(post(vec![0xff]).await.status, 400);
    let put = ask(&cloud, TestRequest::put().uri(PATH), GUEST).await;
    assert_eq!(put.status, 400);
    let kept = post(b"encrypted".to_vec()).await;
    assert_eq!((kept.status, kept.body.as_str()), (200, ""));
    assert_eq!(post(b"other".to_vec()).await.status, 409);
    assert_eq!(get(&cloud, PATH, GUEST).await.body, "encrypted");
    let elsewhere = ask(&cloud, TestRequest::post().uri("/openstack/2012-08-10/password"), GUEST).await;
    assert_eq!(elsewhere.status, 404);
    let read = move |c: &rusqlite::Connection| servers::get(c, id);
    let stored = cloud.state.services.deps.store.read::<_, StoreError, _>(read).await.unwrap().unwrap();
    assert_eq!(stored.guest_password, "encrypted");
}
