//! NICs that servers get and lose while they run, with the `openstack` client. What counts is what the guest finds.

use super::{action, create, ready};
use crate::harness::{Daemon, Http, Options, domains, guest_image, until, virsh};
use crate::sandbox;
use reqwest::Method;
use serde_json::{Value, json};

/// A server whose NICs change.
struct Wired {
    daemon: Daemon,
    http: Http,
    id: String,
    domain: String,
}

impl Wired {
    /// What the API says of the interfaces.
    fn interfaces(&self) -> Vec<Value> {
        let path = format!("/servers/{}/os-interface", self.id);
        let mut answer = self.http.compute(Method::GET, &path, 70, None).expect(200);
        serde_json::from_value(answer["interfaceAttachments"].take()).unwrap()
    }

    /// The MAC addresses of the domain's NICs: of what runs, and of the definition.
    fn macs(&self) -> [Vec<String>; 2] {
        [vec![], vec!["--inactive"]].map(|more| {
            let list = virsh(&[&["domiflist", &self.domain][..], &more].concat()).unwrap();
            list.split_whitespace().filter(|word| word.starts_with("fa:16:3e:")).map(str::to_owned).collect()
        })
    }

    /// Waits until the guest has said this.
    #[track_caller]
    fn says(&self, words: &str) {
        self.http.wait_console(&self.id, words, 90);
    }

    #[track_caller]
    fn detached(&self, port: &str) {
        until("the interface to be gone", 60, || {
            self.interfaces().iter().all(|interface| interface["port_id"] != port).then_some(())
        });
    }

    /// The last action and how its event ended.
    fn last(&self) -> (String, String, String) {
        let path = format!("/servers/{}/os-instance-actions", self.id);
        let actions = self.http.compute(Method::GET, &path, 21, None).expect(200);
        let last = &actions["instanceActions"][0];
        let path = format!("{path}/{}", last["request_id"].as_str().unwrap());
        let action = self.http.compute(Method::GET, &path, 21, None).expect(200);
        let event = &action["instanceAction"]["events"][0];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&last["action"]), text(&event["event"]), text(&event["result"]))
    }
}

#[test]
fn nics_come_and_go_while_the_guest_runs() {
    sandbox!();
    let daemon = Daemon::start(&Options::default());
    let http = daemon.http();
    let image = http.image("guest", &guest_image());
    let id = create(&http, "wired", &image, "");
    ready(&http, &id, 1);
    let domain = domains(&daemon.state()).remove(0);
    let mut it = Wired { daemon, http, id, domain };
    let subnet = ["subnet", "create", "more", "--network", "more", "--subnet-range", "10.213.77.0/24"];
    it.daemon.openstack(&["network", "create", "more"]);
    it.daemon.openstack(&subnet);
    let first = it.interfaces().remove(0);

    // On a network, with an address that was chosen.
    it.daemon.openstack(&[
        "server",
        "add",
        "fixed",
        "ip",
        "--fixed-ip-address",
        "10.213.77.9",
        &it.id,
        "more",
    ]);
    let made = it.interfaces().remove(1);
    assert_eq!((&made["port_state"], &made["tag"]), (&json!("ACTIVE"), &Value::Null), "{made}");
    let mac = made["mac_addr"].as_str().unwrap();
    it.says(&format!("device-added eth1 mac={mac}"));
    it.says("address 10.213.77.9/24 eth1");
    let both = vec![first["mac_addr"].as_str().unwrap().to_owned(), mac.to_owned()];
    assert_eq!(it.macs(), [both.clone(), both]);
    assert_eq!(
        it.last(),
        ["attach_interface", "compute_attach_interface", "Success"].map(str::to_owned).into()
    );
    it.daemon.check("a NIC more");

    // On a port that outlives the server's use of it.
    let port = it.daemon.openstack_json(&["port", "create", "--network", "more", "mine"]);
    let port = port["id"].as_str().unwrap();
    let body = json!({"interfaceAttachment": {"port_id": port, "tag": "storage"}});
    let path = format!("/servers/{}/os-interface", it.id);
    let answer = it.http.compute(Method::POST, &path, 70, Some(&body)).expect(200);
    assert_eq!(answer["interfaceAttachment"]["tag"], "storage");
    assert_eq!(it.http.compute(Method::POST, &path, 70, Some(&body)).status, 409);
    it.says("device-added eth2");
    it.says("eth2 dhcp");

    // The guest lets go of what is taken from it.
    let made = made["port_id"].as_str().unwrap();
    it.daemon.openstack(&["server", "remove", "port", &it.id, made]);
    it.detached(made);
    it.says("device-removed eth1");
    assert_eq!(
        it.last(),
        ["detach_interface", "compute_detach_interface", "Success"].map(str::to_owned).into()
    );
    assert_eq!(it.http.get(&format!("/network/v2.0/ports/{made}")).status, 404);
    it.daemon.openstack(&["server", "remove", "port", &it.id, port]);
    it.detached(port);
    it.says("device-removed eth2");
    let free = it.http.get(&format!("/network/v2.0/ports/{port}")).expect(200)["port"].take();
    assert_eq!((&free["device_id"], &free["status"]), (&json!(""), &json!("DOWN")), "{free}");
    let one = vec![first["mac_addr"].as_str().unwrap().to_owned()];
    assert_eq!(it.macs(), [one.clone(), one]);
    it.daemon.check("NICs that went");

    // A guest that is off finds it at its next start.
    assert_eq!(action(&it.http, &it.id, 1, &json!({"os-stop": null})), 202);
    it.http.wait_for(&it.id, "SHUTOFF", 120);
    let answer = it.http.compute(Method::POST, &path, 70, Some(&body)).expect(200);
    assert_eq!(answer["interfaceAttachment"]["port_state"], "DOWN");
    assert_eq!(action(&it.http, &it.id, 1, &json!({"os-start": null})), 202);
    it.http.wait_for(&it.id, "ACTIVE", 60);
    assert_eq!(ready(&it.http, &it.id, 2).matches("device-added eth2").count(), 1, "another NIC came");
    let found = it.interfaces();
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|interface| interface["port_state"] == "ACTIVE"), "{found:?}");
    assert_eq!(it.macs()[0].len(), 2);
    it.daemon.check("a NIC that was there at the start");

    assert_eq!(it.http.compute(Method::DELETE, &format!("/servers/{}", it.id), 1, None).status, 204);
    it.http.wait_gone(&it.id, 60);
    it.daemon.openstack(&["port", "delete", port]);
    it.daemon.openstack(&["network", "delete", "more"]);
    it.daemon.check("nothing is left");
    it.daemon.stop();
}
