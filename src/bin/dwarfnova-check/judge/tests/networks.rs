//! Networks, addresses and the packet filter.

use super::*;

#[test]
fn i9_addresses() {
    let double = |facts: &mut Facts, how: fn(&mut Port)| {
        let mut port = Port { id: "other".into(), device: String::new(), ..facts.rows.ports[0].clone() };
        port.device_owner.clear();
        how(&mut port);
        facts.rows.ports.push(port);
    };
    finds(9, |facts| double(facts, |port| port.addresses.clear()));
    finds(9, |facts| double(facts, |port| port.mac = "fa:16:3e:00:00:02".into()));
    finds(9, |facts| facts.rows.ports[0].device = "nobody".into());
    finds(9, |facts| facts.rows.ports.clear());
    finds(9, |facts| reshape(facts, |shape| shape.nics[0].mac = "fa:16:3e:00:00:09".into()));
    finds(9, |facts| {
        let (uuid, name) = ("other".into(), "a-stranger".into());
        let stranger = Domain { uuid, name, owner: None, ..domain(facts).clone() };
        facts.host.domains.insert(0, stranger);
    });
}

#[test]
fn i10_networks() {
    finds(10, |facts| facts.host.networks.clear());
    finds(10, |facts| facts.host.networks[0].active = false);
    finds(10, |facts| facts.host.networks[0].address = None);
    finds(10, |facts| facts.host.networks[0].dnsmasq.clear());
    finds(10, |facts| facts.host.dnsmasq.clear());
    finds(10, |facts| *facts.host.dnsmasq.get_mut(HOST_NAME).unwrap() = 2);
    finds(10, |facts| facts.host.reservations.clear());
    finds(10, |facts| facts.rows.servers[0].hostname = "db".into());
    finds(10, |facts| {
        facts.host.reservations.get_mut(HOST_NAME).unwrap().insert("stray".into(), "x".into());
    });
    finds(10, |facts| facts.host.leases.get_mut(HOST_NAME).unwrap()[0].mac = "fa:16:3e:00:00:07".into());
}

#[test]
fn i11_the_packet_filter() {
    fn block<'g>(facts: &'g mut Facts, name: &str) -> &'g mut Vec<String> {
        facts.host.guards.get_mut(TABLE).unwrap().get_mut(name).unwrap()
    }
    finds(11, |facts| facts.host.guards.clear());
    finds(11, |facts| drop(facts.host.guards.insert("dwarfnova_55555555".into(), Guard::default())));
    for map in ["map senders", "map receivers", "set macs", "set addresses"] {
        finds(11, |facts| drop(block(facts, map).pop()));
    }
    finds(11, |facts| block(facts, "set addresses").push("element \"tap33333333-44\" . 10.71.71.9".into()));
    finds(11, |facts| block(facts, "chain sent")[0] = "type filter hook input priority -300;".into());
    finds(11, |facts| drop(block(facts, "chain received").pop()));
    finds(11, |facts| drop(block(facts, "chain honest").remove(0)));
    finds(11, |facts| block(facts, "chain honest").swap(0, 1));
    finds(11, |facts| drop(block(facts, PORT_CHAIN).pop()));
    finds(11, |facts| drop(block(facts, PORT_CHAIN).remove(1)));
    finds(11, |facts| block(facts, GROUP_CHAIN).push("accept".into()));
    finds(11, |facts| block(facts, GROUP_CHAIN)[0] = "ip saddr 10.71.71.4 goto keep".into());
    finds(11, |facts| block(facts, MEMBERS)[2] = "element 10.71.71.4-10.71.71.6".into());
    finds(11, |facts| drop(block(facts, MEMBERS).pop()));
    finds(11, |facts| facts.rows.ports[0].bound = false);
    finds(11, |facts| facts.rows.ports[0].secured = false);
    finds(11, |facts| facts.rows.ports[0].pairs.clear());
    finds(11, |facts| facts.rows.ports[0].groups.clear());
    finds(11, |facts| facts.rows.groups[0].stateful = false);
    finds(11, |facts| drop(facts.rows.groups[0].rules.pop()));

    // What means nothing is not looked at.
    let mut same = sound();
    block(&mut same, GROUP_CHAIN).reverse();
    block(&mut same, MEMBERS).truncate(2);
    block(&mut same, MEMBERS).push("element 10.71.71.4/31".into());
    assert_eq!(settled(&same), BTreeSet::new());
}
