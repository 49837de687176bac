//! A server's whole round with the `openstack` command.

use crate::harness::{Daemon, Options, bridge_rules, domains, guest_image, reservations, until, virsh};
use crate::sandbox;
use std::process::Command;

#[test]
fn a_round_with_the_openstack_client() {
    sandbox!();
    let daemon = Daemon::start(&Options::default());
    let file = guest_image();
    let work = tempfile::tempdir().unwrap();

    assert!(daemon.openstack_json(&["token", "issue"])["id"].as_str().is_some_and(|id| id.len() > 20));
    let catalog = daemon.openstack(&["catalog", "list", "-f", "value", "-c", "Type"]);
    for kind in ["identity", "compute", "image", "network"] {
        assert!(catalog.lines().any(|line| line == kind), "{catalog}");
    }

    let path = file.to_str().unwrap();
    let image = daemon.openstack_json(&[
        "image",
        "create",
        "guest",
        "--file",
        path,
        "--disk-format",
        "qcow2",
        "--container-format",
        "bare",
    ]);
    assert_eq!(image["name"], "guest");
    let shown = daemon.openstack_json(&["image", "show", "guest"]);
    assert_eq!(shown["status"], "active");
    assert_eq!(shown["size"].as_u64().unwrap(), std::fs::metadata(&file).unwrap().len());
    let saved = work.path().join("saved.qcow2");
    daemon.openstack(&["image", "save", "guest", "--file", saved.to_str().unwrap()]);
    assert!(std::fs::read(&saved).unwrap() == std::fs::read(&file).unwrap(), "the image came back changed");
    assert_eq!(daemon.openstack_json(&["image", "list"]).as_array().unwrap().len(), 1);

    let flavors = daemon.openstack(&["flavor", "list", "-f", "value", "-c", "Name"]);
    for name in ["m1.nano", "m1.micro", "m1.tiny", "m1.small", "m1.medium", "m1.large", "m1.xlarge"] {
        assert!(flavors.lines().any(|line| line == name), "{flavors}");
    }
    let flavor =
        daemon.openstack_json(&["flavor", "create", "tests", "--ram", "160", "--disk", "1", "--vcpus", "2"]);
    assert_eq!(flavor["vcpus"], 2);

    let key = work.path().join("key");
    let private = daemon.openstack(&["keypair", "create", "laptop"]);
    std::fs::write(&key, private).unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();

    daemon.openstack(&[
        "security",
        "group",
        "rule",
        "create",
        "--protocol",
        "tcp",
        "--dst-port",
        "22",
        "default",
    ]);
    let script = work.path().join("user-data");
    std::fs::write(&script, "#!/bin/sh\necho \"MARK $(hostname) $(nproc)\"\n").unwrap();
    let server = daemon.openstack_json(&[
        "server",
        "create",
        "first",
        "--image",
        "guest",
        "--flavor",
        "tests",
        "--key-name",
        "laptop",
        "--user-data",
        script.to_str().unwrap(),
        "--wait",
    ]);
    assert_eq!(server["status"], "ACTIVE");
    let id = server["id"].as_str().unwrap().to_owned();
    let listed = daemon.openstack_json(&["server", "list"]);
    assert_eq!(listed[0]["Name"], "first");
    assert_eq!(listed[0]["Image"], "guest");
    assert_eq!(listed[0]["Flavor"], "tests");

    daemon.http().wait_console(&id, "MARK first 2", 180);
    assert!(daemon.openstack(&["console", "log", "show", "first"]).contains("MARK first 2"));

    let address =
        listed[0]["Networks"].as_object().unwrap().values().next().unwrap()[0].as_str().unwrap().to_owned();
    let mac = daemon.openstack(&["port", "list", "--server", "first", "-f", "value", "-c", "MAC Address"]);
    let mac = mac.trim();
    assert!(bridge_rules().contains(mac) && bridge_rules().contains(&address));
    let ssh = |command: &str| {
        until("an answer by SSH", 240, || {
            let output = Command::new("ssh")
                .args([
                    "-i",
                    key.to_str().unwrap(),
                    "-o",
                    "StrictHostKeyChecking=no",
                    "-o",
                    "UserKnownHostsFile=/dev/null",
                ])
                .args(["-o", "ConnectTimeout=5", "-o", "BatchMode=yes", &format!("root@{address}"), command])
                .output()
                .unwrap();
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
        })
    };
    assert_eq!(ssh("hostname").trim(), "first");
    ssh("echo kept > /root/kept; sync");

    daemon.openstack(&["server", "stop", "first"]);
    until("SHUTOFF", 90, || {
        (daemon.openstack_json(&["server", "show", "first"])["status"] == "SHUTOFF").then_some(())
    });
    daemon.openstack(&["server", "start", "first"]);
    until("ACTIVE", 60, || {
        (daemon.openstack_json(&["server", "show", "first"])["status"] == "ACTIVE").then_some(())
    });
    assert_eq!(ssh("cat /root/kept").trim(), "kept");
    // A kernel has another boot id each time. Rebooting itself, a guest takes minutes under software emulation.
    let boot = || ssh("cat /proc/sys/kernel/random/boot_id");
    for kind in ["--soft", "--hard"] {
        let before = boot();
        daemon.openstack(&["server", "reboot", kind, "--wait", "first"]);
        until("the guest to have rebooted", 240, || (boot() != before).then_some(()));
    }

    daemon.openstack(&["server", "delete", "--wait", "first"]);
    daemon.openstack(&["image", "delete", "guest"]);
    assert_eq!(daemon.openstack_json(&["server", "list"]).as_array().unwrap().len(), 0);
    assert_eq!(domains(&daemon.state()), Vec::<String>::new());
    assert_eq!(daemon.server_folders(), Vec::<String>::new());
    assert!(!daemon.log().contains(&id) || !daemon.log().contains("panicked"), "{}", daemon.log());
    let ports = daemon.openstack_json(&["port", "list"]);
    assert_eq!(ports.as_array().unwrap().len(), 0, "{ports}");
    let network = until("a network", 5, || {
        let names = virsh(&["net-list", "--name"])?;
        names.lines().find(|name| name.starts_with("dwarfnova")).map(str::to_owned)
    });
    assert_eq!(reservations(&network), Vec::<String>::new());
    assert_eq!(virsh(&["net-dhcp-leases", &network]).unwrap_or_default().trim(), "");
    let rules = bridge_rules();
    assert!(!rules.contains(mac) && !rules.contains(&address), "{rules}");
}
