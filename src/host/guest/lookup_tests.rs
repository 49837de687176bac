use super::super::documents::{Ec2Facts, GuestDevice, GuestDeviceKind, GuestKey};
use super::super::iso9660;
use super::super::network_data::{GuestNic, GuestRoute, GuestSubnet};
use super::*;
use crate::core::ids::{NetworkId, PortId, ServerId};
use serde_json::Value;

fn id<T: std::str::FromStr>(text: &str) -> T {
    text.parse().ok().expect("id")
}

fn full() -> GuestDocuments {
    let address = |text: &str| text.parse().expect("address");
    GuestDocuments {
        id: id::<ServerId>("6d5a1e3c-0f6b-4b0e-9f0e-0d4ad2b0f001"),
        name: "web \"one\"".into(),
        hostname: "web-one.novalocal".into(),
        project_id: "5f705771f8a247ac9ac52f4c1d0b4f3d".into(),
        availability_zone: Some("nova".into()),
        launch_index: 0,
        key: Some(GuestKey {
            name: "mine".into(),
            kind: "ssh".into(),
            public_key: "ssh-ed25519 AAAA me".into(),
        }),
        meta: [("role".to_owned(), "web".to_owned())].into(),
        admin_password: Some("s3cret".to_owned().into()),
        user_data: Some(b"#!/bin/sh\n\xff".to_vec()),
        random_seed: vec![1; 6],
        files: vec![("/etc/motd".into(), b"hi".to_vec()), ("/root/x".into(), vec![0, 255])],
        nics: vec![
            GuestNic {
                port: id::<PortId>("e3b0c442-98fc-4c14-9afb-f4c8996fb924"),
                mac: "fa:16:3e:00:00:01".into(),
                mtu: Some(1500),
                network: id::<NetworkId>("27ae41e4-649b-434c-a495-991b7852b855"),
                subnets: vec![GuestSubnet {
                    cidr: address_net("10.71.0.0/24"),
                    dhcp: true,
                    gateway: Some(address("10.71.0.1")),
                    addresses: vec![address("10.71.0.5")],
                    dns_servers: vec![address("10.71.0.1")],
                    routes: Vec::new(),
                }],
            },
            GuestNic {
                port: id::<PortId>("11111111-2222-4333-8444-555555555555"),
                mac: "fa:16:3e:00:00:02".into(),
                mtu: None,
                network: id::<NetworkId>("99999999-2222-4333-8444-555555555555"),
                subnets: vec![
                    GuestSubnet {
                        cidr: address_net("192.0.2.0/25"),
                        dhcp: false,
                        gateway: Some(address("192.0.2.1")),
                        addresses: vec![address("192.0.2.9")],
                        dns_servers: vec![address("10.71.0.1"), address("192.0.2.2")],
                        routes: vec![GuestRoute {
                            destination: address_net("198.51.100.7/24"),
                            gateway: address("192.0.2.3"),
                        }],
                    },
                    GuestSubnet {
                        cidr: address_net("2001:db8::/64"),
                        dhcp: false,
                        gateway: None,
                        addresses: vec![address("2001:db8::9")],
                        dns_servers: Vec::new(),
                        routes: Vec::new(),
                    },
                ],
            },
        ],
        devices: vec![
            GuestDevice {
                kind: GuestDeviceKind::Nic { mac: "fa:16:3e:00:00:01".into() },
                bus: Some(("pci".into(), "0000:01:00.0".into())),
                tags: vec!["front".into()],
            },
            GuestDevice {
                kind: GuestDeviceKind::Disk { serial: Some("abc".into()), path: None },
                bus: None,
                tags: vec!["data".into()],
            },
        ],
        ec2: Ec2Facts {
            instance_id: "i-00000001".into(),
            ami_id: "ami-00000002".into(),
            kernel_id: None,
            ramdisk_id: None,
            instance_type: "m1.small".into(),
            reservation_id: "r-0a1b2c3d".into(),
            security_groups: vec!["default".into(), "web".into()],
            block_device_mapping: [
                ("ami".to_owned(), "vda".to_owned()),
                ("root".to_owned(), "/dev/vda".to_owned()),
            ]
            .into(),
            local_ipv4: Some("10.71.0.5".parse().expect("address")),
            public_ipv4: None,
        },
    }
}

fn address_net(text: &str) -> ipnet::IpNet {
    text.parse().expect("network")
}

fn least() -> GuestDocuments {
    let Ec2Facts { instance_id, ami_id, .. } = full().ec2;
    GuestDocuments {
        key: None,
        meta: BTreeMap::new(),
        admin_password: None,
        user_data: None,
        files: Vec::new(),
        nics: Vec::new(),
        devices: Vec::new(),
        ec2: Ec2Facts { instance_id, ami_id, ..Ec2Facts::default() },
        ..full()
    }
}

fn text(documents: &GuestDocuments, path: &str) -> String {
    match documents.lookup(path) {
        Some(Answer::Text(bytes) | Answer::Json(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        other => panic!("{path}: {other:?}"),
    }
}

fn value(documents: &GuestDocuments, path: &str) -> Value {
    serde_json::from_str(&text(documents, path)).expect("JSON")
}

#[test]
fn the_newest_documents() {
    let guest = full();
    insta::assert_json_snapshot!("meta_data", value(&guest, "/openstack/latest/meta_data.json"));
    insta::assert_json_snapshot!("network_data", value(&guest, "/openstack/latest/network_data.json"));
    insta::assert_json_snapshot!("least", value(&least(), "/openstack/latest/meta_data.json"));
}

#[test]
fn each_version_adds_its_keys() {
    let guest = full();
    let keys = |version: &str| -> Vec<String> {
        let document = value(&guest, &format!("/openstack/{version}/meta_data.json"));
        document.as_object().expect("map").keys().cloned().collect()
    };
    let has = |version: &str, key: &str| keys(version).iter().any(|found| found == key);
    for (key, before, since) in [
        ("random_seed", "2012-08-10", "2013-04-04"),
        ("project_id", "2013-10-17", "2015-10-15"),
        ("devices", "2015-10-15", "2016-06-30"),
        ("dedicated_cpus", "2018-08-27", "2020-10-14"),
    ] {
        assert!(!has(before, key) && has(since, key), "{key}");
    }
    let trusted = |version: &str| {
        let document = value(&guest, &format!("/openstack/{version}/meta_data.json"));
        document["devices"][0]["vf_trusted"].clone()
    };
    assert_eq!((trusted("2017-02-22"), trusted("2018-08-27")), (Value::Null, Value::Bool(false)));
    let listing = |version: &str| text(&guest, &format!("/openstack/{version}"));
    assert_eq!(listing("2012-08-10"), "meta_data.json\nuser_data");
    assert_eq!(listing("2013-10-17/"), "meta_data.json\nuser_data\npassword\nvendor_data.json");
    assert_eq!(
        listing("latest"),
        "meta_data.json\nuser_data\npassword\nvendor_data.json\nnetwork_data.json\nvendor_data2.json"
    );
    assert!(!text(&least(), "/openstack/latest").contains("user_data"));
}

#[test]
fn paths_that_guests_ask() {
    let guest = full();
    let expected = [
        (
            "/openstack",
            "2012-08-10\n2013-04-04\n2013-10-17\n2015-10-15\n2016-06-30\n2016-10-06\n2017-02-22\n2018-08-27\n2020-10-14\n2025-04-04\nlatest",
        ),
        (
            "/",
            "1.0\n2007-01-19\n2007-03-01\n2007-08-29\n2007-10-10\n2007-12-15\n2008-02-01\n2008-09-01\n2009-04-04\nlatest",
        ),
        ("/latest/", "meta-data/\nuser-data"),
        ("/2009-04-04", "meta-data/\nuser-data"),
        ("/ec2/2009-04-04/meta-data/hostname", "web-one.novalocal"),
        ("//latest//meta-data/./ami-id/", "ami-00000002"),
        ("/latest/meta-data/public-keys/", "0=mine"),
        ("/latest/meta-data/public-keys/0/", "openssh-key"),
        ("/latest/meta-data/public-keys/0/openssh-key", "ssh-ed25519 AAAA me"),
        ("/latest/meta-data/security-groups", "default\nweb"),
        ("/latest/meta-data/ami-launch-index", "0"),
        ("/latest/meta-data/placement/availability-zone", "nova"),
        ("/latest/meta-data/block-device-mapping/", "ami\nroot"),
        ("/latest/meta-data/block-device-mapping/root", "/dev/vda"),
        ("/latest/meta-data/public-ipv4", ""),
        ("/latest/meta-data/local-ipv4", "10.71.0.5"),
        ("/openstack/content/0000", "hi"),
        ("/openstack/latest/vendor_data2.json", "{\"static\": {}}"),
        (
            "/latest/meta-data/",
            "ami-id\nami-launch-index\nami-manifest-path\nblock-device-mapping/\nhostname\ninstance-action\ninstance-id\ninstance-type\nlocal-hostname\nlocal-ipv4\nplacement/\npublic-hostname\npublic-ipv4\npublic-keys/\nreservation-id\nsecurity-groups",
        ),
        (
            "/1.0/meta-data/",
            "ami-id\nami-launch-index\nami-manifest-path\nhostname\ninstance-id\nlocal-ipv4\npublic-keys/\nreservation-id\nsecurity-groups",
        ),
    ];
    for (path, body) in expected {
        assert_eq!(text(&guest, path), body, "{path}");
    }
    assert_eq!(guest.lookup("/latest/user-data"), Some(Answer::Text(b"#!/bin/sh\n\xff".to_vec())));
    assert_eq!(guest.lookup("/openstack/2013-04-04/password"), Some(Answer::Password));
    for path in [
        "/openstack/2012-08-10/password",
        "/openstack/2012-08-10/vendor_data.json",
        "/openstack/1999-01-01",
        "/openstack/content",
        "/openstack/content/0002",
        "/openstack/content/0",
        "/openstack/latest/meta_data.json/x",
        "/latest/meta-data/nothing",
        "/latest/meta-data/hostname/x",
        "/latest/meta-data/security-groups/0",
        "/favicon.ico",
    ] {
        assert_eq!(guest.lookup(path), None, "{path}");
    }
    assert_eq!(least().lookup("/latest/user-data"), None);
    assert_eq!(least().lookup("/openstack/latest/user_data"), None);
    assert_eq!(least().lookup("/latest/meta-data/public-keys/"), None);
    assert_eq!(text(&least(), "/openstack/latest/network_data.json"), "{}");
}

#[test]
fn a_config_drive_has_the_same_documents() {
    let guest = full();
    let drive = guest.config_drive();
    for (path, bytes) in &drive {
        if path.starts_with("openstack/") {
            assert_eq!(text(&guest, path), String::from_utf8_lossy(bytes), "{path}");
        }
    }
    let names: Vec<_> = drive.keys().map(String::as_str).collect();
    insta::assert_json_snapshot!("drive", names);
    let meta_data: Value = serde_json::from_slice(&drive["ec2/latest/meta-data.json"]).expect("JSON");
    assert_eq!(meta_data["public-keys"]["0"]["openssh-key"], "ssh-ed25519 AAAA me");
    let at = jiff::Timestamp::UNIX_EPOCH;
    let image = iso9660::write(CONFIG_DRIVE_LABEL, &drive, at).expect("image");
    assert!(image.len() < 256 << 10, "{}", image.len());
}

#[test]
fn secrets_stay_out_of_logs() {
    assert!(!format!("{:?}", full()).contains("s3cret"));
}
