//! Bad input to a real daemon: what is answered, to the letter, and that nothing is left behind.

use crate::harness::{Daemon, Http, Options, guest_image};
use crate::sandbox;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Command;

const MIB: usize = 1 << 20;

/// Every file below the folder with its size, but for the database.
fn listing(root: &Path) -> BTreeMap<String, u64> {
    let output = Command::new("find").arg(root).args(["-type", "f", "-printf", "%P %s\\n"]).output().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .filter(|(name, _)| !name.starts_with("dwarfnova.db"))
        .map(|(name, size)| (name.to_owned(), size.parse().unwrap()))
        .collect()
}

/// The answer is this fault of the compute API.
#[track_caller]
fn refused(http: &Http, path: &str, body: &str, kind: &str, code: u16, message: &str) {
    let answer = http.raw(Method::POST, &format!("/v2.1{path}"), "application/json", body);
    assert_eq!(answer.status, code, "{body}: {}", answer.body);
    assert_eq!(answer.body, json!({kind: {"code": code, "message": message}}), "{body}");
}

fn queued(http: &Http, format: &str) -> String {
    let body = json!({"name": "bad", "disk_format": format, "container_format": "bare"});
    let image = http.send(Method::POST, "/image/v2/images", &[], Some(&body)).expect(201);
    image["id"].as_str().unwrap().to_owned()
}

/// The upload is refused with these words, and the image waits for its bytes as before.
#[track_caller]
fn refuses_upload(http: &Http, image: &str, bytes: Vec<u8>, code: u16, words: &str) {
    let path = format!("/image/v2/images/{image}/file");
    let answer = http.raw(Method::PUT, &path, "application/octet-stream", bytes);
    assert_eq!(answer.status, code, "{}", answer.body);
    let text = answer.body.as_str().map_or_else(|| answer.body.to_string(), str::to_owned);
    assert!(text.contains(words), "{text}");
    let image = http.get(&format!("/image/v2/images/{image}")).expect(200);
    assert_eq!((image["status"].as_str(), image["size"].is_null()), (Some("queued"), true), "{image}");
}

/// The first bytes of a QCOW2 image of 1 GiB that stands on another file.
fn with_backing_file() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let status = Command::new("qemu-img")
        .args(["create", "-q", "-u", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw"])
        .arg(&path)
        .arg("1G")
        .status();
    assert!(status.unwrap().success());
    std::fs::read(path).unwrap()
}

#[test]
fn bad_requests_are_refused_to_the_letter_and_leave_nothing() {
    sandbox!();
    let daemon = Daemon::start(&Options::default());
    let http = daemon.http();
    let image = http.image("guest", &guest_image());
    let large = json!({"flavor": {"name": "small", "id": "small", "vcpus": 1, "ram": 64, "disk": 1}});
    http.compute(Method::POST, "/flavors", 1, Some(&large)).expect(200);
    let before = listing(&daemon.state());

    refused(&http, "/servers", "{\"server\": ", "badRequest", 400, "Malformed request body");
    refused(&http, "/servers", "[]", "badRequest", 400, "[] is not of type 'object'");
    let create = |change: Value| {
        let mut server = json!({"name": "x", "imageRef": image, "flavorRef": "42"});
        for (key, value) in change.as_object().unwrap() {
            server[key] = value.clone();
        }
        json!({"server": server}).to_string()
    };
    let wrong = "Invalid input for field/attribute name. Value: 7. 7 is not of type 'string'";
    refused(&http, "/servers", &create(json!({"name": 7})), "badRequest", 400, wrong);
    let unknown = create(json!({"flavorRef": "none"}));
    refused(&http, "/servers", &unknown, "badRequest", 400, "Flavor none could not be found.");
    let absent = create(json!({"imageRef": "11111111-2222-4333-8444-555555555555"}));
    refused(&http, "/servers", &absent, "badRequest", 400, "Can not find requested image");

    let demanding = queued(&http, "qcow2");
    let patch = json!([{"op": "add", "path": "/min_disk", "value": 2}]).to_string();
    let kind = "application/openstack-images-v2.1-json-patch";
    http.raw(Method::PATCH, &format!("/image/v2/images/{demanding}"), kind, patch).expect(200);
    assert_eq!(http.upload(&format!("/image/v2/images/{demanding}/file"), &guest_image()), 204);
    let small = create(json!({"imageRef": demanding, "flavorRef": "small"}));
    let words = "Flavor's disk is smaller than the minimum size specified in image metadata. Flavor disk is \
                 1073741824 bytes, minimum size is 2147483648 bytes.";
    refused(&http, "/servers", &small, "badRequest", 400, words);
    http.send(Method::DELETE, &format!("/image/v2/images/{demanding}"), &[], None).expect(204);

    let evil = queued(&http, "qcow2");
    refuses_upload(&http, &evil, with_backing_file(), 415, "safety checks");
    refuses_upload(&http, &evil, b"not a disk at all".to_vec(), 415, "does not match");
    http.send(Method::DELETE, &format!("/image/v2/images/{evil}"), &[], None).expect(204);

    assert_eq!(http.get("/v2.1/servers").expect(200)["servers"], json!([]));
    assert_eq!(http.get("/network/v2.0/ports").expect(200)["ports"].as_array().unwrap().len(), 0);
    assert_eq!(listing(&daemon.state()), before);
    daemon.check("bad requests");
}

#[test]
fn a_full_disk_refuses_uploads_and_still_lets_delete() {
    sandbox!();
    // Disks are thin: more may be promised than there is.
    let config = "[image]\ndisk_reserve_mib = 8\n[compute]\ndisk_allocation_ratio = 100.0\n".into();
    let options = Options { config, state_mib: Some(120), ..Options::default() };
    let daemon = Daemon::start(&options);
    let http = daemon.http();
    let image = http.image("guest", &guest_image());
    let before = listing(&daemon.state());
    let full = queued(&http, "raw");
    let words = "Image storage media is full";
    refuses_upload(&http, &full, vec![7; 100 * MIB], 413, words);
    assert_eq!(listing(&daemon.state()), before);
    daemon.check("an upload to a full disk");

    let wish = json!({"server": {"name": "x", "imageRef": image, "flavorRef": "42"}});
    let answer = http.send(Method::POST, "/v2.1/servers", &[], Some(&wish)).expect(202);
    let id = answer["server"]["id"].as_str().unwrap().to_owned();
    http.wait_for(&id, "ACTIVE", 60);

    // Somebody else fills the disk to the last byte.
    let filler = daemon.state().join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&vec![7; MIB]).is_ok() {}
    while file.write_all(&[7; 512]).is_ok() {}
    refuses_upload(&http, &full, vec![7; MIB], 503, "The disk of this host is full.");
    // What was set aside is free from then on: room to delete, and not to fill.
    http.send(Method::DELETE, &format!("/v2.1/servers/{id}"), &[], None).expect(204);
    http.wait_gone(&id, 60);
    refuses_upload(&http, &full, vec![7; 100 * MIB], 413, words);
    for id in [full, image] {
        http.send(Method::DELETE, &format!("/image/v2/images/{id}"), &[], None).expect(204);
    }
    drop(file);
    std::fs::remove_file(filler).unwrap();
    daemon.check("a disk that was full");
    assert_eq!(daemon.server_folders(), Vec::<String>::new());
}
