use super::*;
use crate::core::network::{self, tests::subnet};
use proptest::prelude::*;
use std::collections::BTreeSet;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

struct Cloud {
    connection: Connection,
    project: ProjectId,
    network: NetworkId,
    subnet: Subnet,
}

fn network(project: &ProjectId, shared: bool) -> Network {
    Network {
        id: NetworkId::random(),
        project_id: project.clone(),
        name: "private".into(),
        description: String::new(),
        admin_state_up: true,
        shared,
        external: false,
        is_default: false,
        port_security_enabled: true,
        mtu: 1500,
        tags: Vec::new(),
        created_at: NOW,
        updated_at: NOW,
        revision: 1,
    }
}

fn cloud(cidr: &str) -> Cloud {
    let connection = crate::store::in_memory();
    let project = ProjectId::random();
    let network = network(&ProjectId::random(), true);
    networks::put(&connection, &network).unwrap();
    let mut subnet = subnet(cidr);
    subnet.network_id = network.id;
    networks::put_subnet(&connection, &subnet).unwrap();
    Cloud { connection, project, network: network.id, subnet }
}

impl Cloud {
    fn owner(&self, server: ServerId) -> PortOwner<'_> {
        PortOwner {
            server,
            project: &self.project,
            admin: false,
            zone: "nova",
            host: "node",
            security_groups: &[],
            now: NOW,
        }
    }

    fn plan(&self, networking: &Networking) -> Result<Vec<Port>> {
        plan_server_ports(&self.connection, &self.owner(ServerId::random()), networking)
    }

    fn refused(&self, networking: &Networking) -> &'static str {
        self.plan(networking).unwrap_err().class().unwrap()
    }

    fn on(&self, fixed_ip: Option<&str>) -> Networking {
        Networking::List(vec![NicRequest {
            network: Some(self.network),
            fixed_ip: fixed_ip.map(|address| address.parse().unwrap()),
            ..NicRequest::default()
        }])
    }
}

#[test]
fn the_only_network_is_taken_unless_none_is_wanted() {
    let cloud = cloud("10.1.0.0/24");
    let server = ServerId::random();
    let made = plan_server_ports(&cloud.connection, &cloud.owner(server), &Networking::Absent).unwrap();
    assert_eq!(made.len(), 1);
    assert_eq!(made[0].device_owner, "compute:nova");
    assert_eq!(made[0].security_groups.len(), 1);
    assert_eq!(ports::of_device(&cloud.connection, &server.to_string()).unwrap(), made);
    assert_eq!(cloud.plan(&Networking::Auto).unwrap().len(), 1);
    assert!(cloud.plan(&Networking::None).unwrap().is_empty());
    networks::put(&cloud.connection, &network(&cloud.project, false)).unwrap();
    assert_eq!(cloud.refused(&Networking::Absent), "NetworkAmbiguous");
}

#[test]
fn without_networks_only_auto_is_refused() {
    let mut cloud = cloud("10.1.0.0/24");
    cloud.connection = crate::store::in_memory();
    assert!(cloud.plan(&Networking::Absent).unwrap().is_empty());
    assert_eq!(cloud.refused(&Networking::Auto), "UnableToAutoAllocateNetwork");
    assert_eq!(cloud.refused(&cloud.on(None)), "NetworkNotFound");
}

#[test]
fn foreign_and_external_networks() {
    let cloud = cloud("10.1.0.0/24");
    let mut foreign = network(&ProjectId::random(), false);
    networks::put(&cloud.connection, &foreign).unwrap();
    let wanted = Networking::List(vec![NicRequest { network: Some(foreign.id), ..NicRequest::default() }]);
    assert_eq!(cloud.refused(&wanted), "NetworkNotFound");
    foreign.external = true;
    networks::put(&cloud.connection, &foreign).unwrap();
    assert_eq!(cloud.refused(&wanted), "ExternalNetworkAttachForbidden");
    foreign.shared = true;
    networks::put(&cloud.connection, &foreign).unwrap();
    assert_eq!(cloud.refused(&wanted), "NetworkRequiresSubnet");
}

#[test]
fn certain_addresses() {
    let cloud = cloud("10.1.0.0/24");
    let made = cloud.plan(&cloud.on(Some("10.1.0.77"))).unwrap();
    assert_eq!(made[0].fixed_ips[0].address, Ipv4Addr::new(10, 1, 0, 77));
    let again = cloud.plan(&cloud.on(Some("10.1.0.77"))).unwrap_err();
    assert_eq!(
        again.message(),
        format!("Fixed IP address 10.1.0.77 is already in use on instance {}.", made[0].device_id)
    );
    assert_eq!(cloud.refused(&cloud.on(Some("10.1.0.1"))), "FixedIpAlreadyInUse");
    for outside in ["10.2.0.1", "10.1.0.0", "10.1.0.255", "::1"] {
        assert_eq!(cloud.refused(&cloud.on(Some(outside))), "InvalidIpForNetwork", "{outside}");
    }
}

#[test]
fn ports_that_exist_are_bound_and_freed_again() {
    let cloud = cloud("10.1.0.0/24");
    let mut port = cloud.plan(&Networking::Absent).unwrap().remove(0);
    port.made_for_server = false;
    port.device_id.clear();
    ports::put(&cloud.connection, &port).unwrap();
    let wanted = Networking::List(vec![
        NicRequest { port: Some(port.id), tag: Some("front".into()), ..NicRequest::default() },
        NicRequest { network: Some(cloud.network), ..NicRequest::default() },
    ]);
    let server = ServerId::random();
    let bound = plan_server_ports(&cloud.connection, &cloud.owner(server), &wanted).unwrap();
    assert_eq!(bound.iter().map(|p| p.nic_index).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(bound[0].nic_tag.as_deref(), Some("front"));
    assert_eq!(cloud.refused(&wanted), "PortInUse");
    let more = plan_server_ports(&cloud.connection, &cloud.owner(server), &cloud.on(None)).unwrap();
    assert_eq!(more[0].nic_index, 2);

    let nics = server_nics(&cloud.connection, &[server, ServerId::random()]).unwrap();
    assert_eq!(nics.len(), 1);
    assert_eq!(nics[&server].iter().map(|nic| nic.nic_index).collect::<Vec<_>>(), [0, 1, 2]);
    let nic = &nics[&server][0];
    assert_eq!(nic.network_name, "private");
    assert_eq!(nic.security_groups, ["default"]);
    assert_eq!(nic.addresses[0].gateway, cloud.subnet.gateway_ip);
    let owner = port_by_address(&cloud.connection, nic.addresses[0].address).unwrap().unwrap();
    assert_eq!((owner.server_id, owner.port_id), (server, port.id));

    let removed = release_server_ports(&cloud.connection, server, NOW).unwrap();
    assert_eq!(removed.iter().map(|p| p.id).collect::<Vec<_>>(), [bound[1].id, more[0].id]);
    let free = ports::get(&cloud.connection, port.id).unwrap().unwrap();
    assert_eq!((free.device_id.as_str(), free.status), ("", PortStatus::Down));
    assert!(server_nics(&cloud.connection, &[server]).unwrap().is_empty());
}

#[test]
fn groups_by_name_and_id() {
    let cloud = cloud("10.1.0.0/24");
    let server = ServerId::random();
    let with = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let owner = PortOwner { security_groups: &names, ..cloud.owner(server) };
        plan_server_ports(&cloud.connection, &owner, &Networking::Absent).map(|mut p| p.remove(0))
    };
    let default = security_groups::ensure_default(&cloud.connection, &cloud.project, NOW).unwrap();
    let id = default.to_string();
    assert_eq!(with(&["default", &id]).unwrap().security_groups, [default]);
    let unknown = with(&["nowhere"]).unwrap_err();
    assert_eq!(unknown.message(), "Unable to find security_group with name or id 'nowhere'");
    let group = security_groups::get(&cloud.connection, default).unwrap().unwrap();
    for _ in 0..2 {
        let twin = crate::core::security_group::SecurityGroup {
            id: SecurityGroupId::random(),
            name: "web".into(),
            ..group.clone()
        };
        security_groups::insert_with_rules(&cloud.connection, &twin).unwrap();
    }
    assert_eq!(with(&["web"]).unwrap_err().kind(), Kind::Conflict);
}

#[test]
fn a_full_network_says_so() {
    let cloud = cloud("10.1.0.0/29");
    let addresses: BTreeSet<_> =
        (0..5).map(|_| cloud.plan(&Networking::Absent).unwrap()[0].fixed_ips[0].address).collect();
    assert_eq!(addresses.len(), 5);
    let full = cloud.plan(&Networking::Absent).unwrap_err();
    assert_eq!(full.message(), format!("No fixed IP addresses available for network: {}", cloud.network));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_two_ports_share_an_address_or_a_mac(
        steps in proptest::collection::vec((0u8..4, 0u32..16), 1..60),
    ) {
        let cloud = cloud("10.1.0.0/28");
        let mut servers: Vec<ServerId> = Vec::new();
        for (step, number) in steps {
            let server = ServerId::random();
            let networking = match step {
                0 => {
                    if let Some(gone) = servers.pop() {
                        release_server_ports(&cloud.connection, gone, NOW).unwrap();
                    }
                    continue;
                }
                1 => cloud.on(Some(&Ipv4Addr::from(0x0a01_0000 + number).to_string())),
                _ => cloud.on(None),
            };
            match plan_server_ports(&cloud.connection, &cloud.owner(server), &networking) {
                Ok(_) => servers.push(server),
                Err(error) if step == 1 => prop_assert!(matches!(
                    error.class(),
                    Some("FixedIpAlreadyInUse" | "InvalidIpForNetwork")
                )),
                Err(error) => {
                    prop_assert_eq!(error.class(), Some("NoMoreFixedIps"));
                    prop_assert_eq!(servers.len(), 13, "refused while there was room");
                }
            }
            let all = ports::of_network(&cloud.connection, cloud.network).unwrap();
            prop_assert_eq!(all.len(), servers.len());
            let addresses: BTreeSet<_> = all.iter().map(|p| p.fixed_ips[0].address).collect();
            let macs: BTreeSet<_> = all.iter().map(|p| p.mac).collect();
            prop_assert_eq!((addresses.len(), macs.len()), (all.len(), all.len()));
            for address in addresses {
                prop_assert!(cloud.subnet.holds(address) && Some(address) != cloud.subnet.gateway_ip);
                prop_assert!(network::check_gateway(cloud.subnet.cidr, address).is_ok());
            }
        }
    }
}
