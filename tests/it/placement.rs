//! Where servers may go on one host, asked with the `openstack` client: server groups, aggregates with zones, and services
//! that are disabled. What counts is which domains libvirt has.

use crate::harness::{Daemon, Http, Options, domains, guest_image};
use crate::sandbox;
use reqwest::Method;
use serde_json::{Value, json};

/// A cloud with an image to boot from.
struct Cloud {
    daemon: Daemon,
    http: Http,
    image: String,
}

impl Cloud {
    /// Asks for a server with more in its body; gives its id once it has the status.
    #[track_caller]
    fn create(&self, server: &Value, hints: &Value, status: &str) -> (String, Value) {
        let mut body = json!({"server": {"name": "placed", "imageRef": self.image, "flavorRef": "42",
            "networks": "none"}, "os:scheduler_hints": hints});
        for (key, value) in server.as_object().unwrap() {
            body["server"][key] = value.clone();
        }
        let made = self.http.compute(Method::POST, "/servers", 71, Some(&body)).expect(202);
        let id = made["server"]["id"].as_str().unwrap().to_owned();
        self.http.wait_for(&id, status, 60);
        let shown = self.http.compute(Method::GET, &format!("/servers/{id}"), 71, None).expect(200);
        (id, shown["server"].clone())
    }

    /// The server found no host: nothing of it is there, and its fault says so.
    #[track_caller]
    fn is_refused(&self, server: &Value, hints: &Value) {
        let before = domains(&self.daemon.state());
        let (id, shown) = self.create(server, hints, "ERROR");
        let words = shown["fault"]["message"].as_str().unwrap();
        assert!(words.starts_with("No valid host was found."), "{shown}");
        assert_eq!(domains(&self.daemon.state()), before);
        self.delete(&id);
    }

    #[track_caller]
    fn delete(&self, id: &str) {
        assert_eq!(self.http.compute(Method::DELETE, &format!("/servers/{id}"), 1, None).status, 204);
        self.http.wait_gone(id, 60);
    }
}

#[test]
fn groups_zones_and_services_decide_where_servers_go() {
    sandbox!();
    let daemon = Daemon::start(&Options::default());
    let http = daemon.http();
    let image = http.image("guest", &guest_image());
    let host = daemon.openstack(&["hypervisor", "list", "-f", "value", "-c", "Hypervisor Hostname"]);
    let host = host.trim().to_owned();
    let cloud = Cloud { daemon, http, image };
    let ask = |arguments: &[&str]| cloud.daemon.openstack_json(arguments);

    // Servers that are to be apart have only one host to be on.
    let apart = ask(&["server", "group", "create", "apart", "--policy", "anti-affinity"]);
    let apart = apart["id"].as_str().unwrap();
    let hints = json!({ "group": apart });
    let (first, shown) = cloud.create(&json!({}), &hints, "ACTIVE");
    assert_eq!(shown["server_groups"], json!([apart]));
    assert_eq!(domains(&cloud.daemon.state()).len(), 1);
    cloud.is_refused(&json!({}), &hints);
    cloud.is_refused(&json!({}), &json!({ "different_host": [first] }));
    let members = ask(&["server", "group", "show", apart]);
    assert_eq!(members["members"], json!([first]), "{members}");
    let (near, _) = cloud.create(&json!({}), &json!({ "same_host": [first] }), "ACTIVE");
    cloud.delete(&first);
    let (second, _) = cloud.create(&json!({}), &hints, "ACTIVE");
    cloud.daemon.check("servers in groups");
    cloud.delete(&near);
    cloud.delete(&second);
    cloud.daemon.openstack(&["server", "group", "delete", apart]);

    // An aggregate names the zone of its host, which servers then are in.
    let edge = json!({"availability_zone": "edge"});
    let refused = json!({"server": {"name": "early", "imageRef": cloud.image, "flavorRef": "42",
        "networks": "none", "availability_zone": "edge"}});
    assert_eq!(cloud.http.compute(Method::POST, "/servers", 71, Some(&refused)).status, 400);
    cloud.daemon.openstack(&["aggregate", "create", "--zone", "edge", "racks"]);
    let racks = ask(&["aggregate", "add", "host", "racks", &host]);
    assert_eq!((&racks["hosts"], &racks["availability_zone"]), (&json!([host]), &json!("edge")), "{racks}");
    let (inside, shown) = cloud.create(&edge, &json!({}), "ACTIVE");
    assert_eq!(shown["OS-EXT-AZ:availability_zone"], "edge");
    cloud.daemon.check("a server in a zone of its own");
    cloud.delete(&inside);
    cloud.daemon.openstack(&["aggregate", "remove", "host", "racks", &host]);
    cloud.daemon.openstack(&["aggregate", "delete", "racks"]);

    // A disabled service takes no new servers, and does what is asked of those that it has.
    let (old, _) = cloud.create(&json!({}), &json!({}), "ACTIVE");
    let reason = ["--disable", "--disable-reason", "new fans"];
    cloud.daemon.openstack(&[&["compute", "service", "set"], &reason[..], &[&host, "nova-compute"]].concat());
    let services = ask(&["compute", "service", "list", "--long", "--service", "nova-compute"]);
    assert_eq!(
        (&services[0]["Status"], &services[0]["Disabled Reason"]),
        (&json!("disabled"), &json!("new fans"))
    );
    cloud.is_refused(&json!({}), &json!({}));
    cloud.daemon.openstack(&["server", "pause", &old]);
    cloud.http.wait_for(&old, "PAUSED", 30);
    cloud.daemon.openstack(&["compute", "service", "set", "--enable", &host, "nova-compute"]);
    let (new, _) = cloud.create(&json!({}), &json!({}), "ACTIVE");
    cloud.delete(&new);
    cloud.delete(&old);

    assert_eq!(domains(&cloud.daemon.state()), Vec::<String>::new());
    cloud.daemon.check("all of this");
    let Cloud { mut daemon, .. } = cloud;
    daemon.stop();
}
