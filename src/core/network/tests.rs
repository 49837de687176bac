//! Addresses, pools and MACs; and a subnet for whoever needs one.

use super::*;
use crate::core::ids::PortId;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::convert::Infallible;

/// A subnet with default gateway and pools.
pub fn subnet(cidr: &str) -> Subnet {
    let cidr: Ipv4Net = cidr.parse().unwrap();
    let gateway_ip = first_host(cidr);
    Subnet {
        id: SubnetId::random(),
        network_id: NetworkId::random(),
        project_id: ProjectId::random(),
        name: String::new(),
        description: String::new(),
        cidr,
        gateway_ip,
        enable_dhcp: true,
        allocation_pools: default_pools(cidr, gateway_ip),
        dns_nameservers: Vec::new(),
        host_routes: Vec::new(),
        tags: Vec::new(),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        revision: 0,
    }
}

fn pick(subnet: &Subnet, seed: u64, used: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    subnet.pick(seed, |address| Ok::<_, Infallible>(used.contains(&address))).unwrap()
}

#[test]
fn pools_leave_the_gateway_out() {
    let cidr: Ipv4Net = "10.0.0.0/29".parse().unwrap();
    let text = |gateway: Option<&str>| {
        let pools = default_pools(cidr, gateway.map(|g| g.parse().unwrap()));
        pools.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(text(None), ["10.0.0.1-10.0.0.6"]);
    assert_eq!(text(Some("10.0.0.1")), ["10.0.0.2-10.0.0.6"]);
    assert_eq!(text(Some("10.0.0.6")), ["10.0.0.1-10.0.0.5"]);
    assert_eq!(text(Some("10.0.0.3")), ["10.0.0.1-10.0.0.2", "10.0.0.4-10.0.0.6"]);
}

#[test]
fn bad_pools_are_named() {
    let cidr: Ipv4Net = "10.0.0.0/24".parse().unwrap();
    let gateway = Some(Ipv4Addr::new(10, 0, 0, 1));
    let check = |ends: &[[u8; 2]]| {
        let pools: Vec<Pool> = ends
            .iter()
            .map(|[a, b]| Pool { start: Ipv4Addr::new(10, 0, 0, *a), end: Ipv4Addr::new(10, 0, 0, *b) })
            .collect();
        check_pools(cidr, gateway, &pools).map_err(|e| e.class().unwrap())
    };
    assert!(check(&[[2, 9], [10, 20]]).is_ok());
    assert_eq!(check(&[[9, 2]]), Err("InvalidAllocationPool"));
    assert_eq!(check(&[[2, 255]]), Err("OutOfBoundsAllocationPool"));
    assert_eq!(check(&[[1, 9]]), Err("GatewayConflictWithAllocationPools"));
    assert_eq!(check(&[[10, 20], [2, 10]]), Err("OverlappingAllocationPools"));
}

#[test]
fn ranges_that_cannot_be_subnets() {
    for (text, good) in [
        ("10.0.0.0/24", true),
        ("10.0.0.0/30", true),
        ("10.0.0.0/31", false),
        ("0.0.0.0/0", false),
        ("127.0.0.0/24", false),
        ("224.0.0.0/24", false),
        ("169.254.0.0/16", false),
    ] {
        assert_eq!(check_cidr(text.parse().unwrap()).is_ok(), good, "{text}");
    }
}

#[test]
fn macs() {
    assert_eq!("FA-16-3e-00-0A-ff".parse::<Mac>().unwrap().to_string(), "fa:16:3e:00:0a:ff");
    for bad in ["", "fa:16:3e:00:00", "fa:16:3e:00:00:0", "01:16:3e:00:00:01", "00:00:00:00:00:00", "x"] {
        assert!(bad.parse::<Mac>().is_err(), "{bad}");
    }
    let id = PortId::random();
    assert_ne!(Mac::for_port(id, 0), Mac::for_port(id, 1));
    assert!(Mac::for_port(id, 7).to_string().starts_with("fa:16:3e:"));
}

proptest! {
    #[test]
    fn addresses_are_given_once_and_only_from_the_pools(
        prefix in 24u8..=30,
        gateway_offset in 1u32..60,
        steps in proptest::collection::vec((any::<u64>(), any::<bool>()), 1..120),
    ) {
        let cidr = Ipv4Net::new(Ipv4Addr::new(10, 9, 8, 0), prefix).unwrap();
        let gateway = Ipv4Addr::from(u32::from(cidr.network()) + gateway_offset);
        let mut subnet = subnet(&cidr.to_string());
        subnet.gateway_ip = Some(gateway).filter(|g| check_gateway(cidr, *g).is_ok());
        subnet.allocation_pools = default_pools(cidr, subnet.gateway_ip);
        let total: u64 = subnet.allocation_pools.iter().map(|p| p.len()).sum();
        let mut used = BTreeSet::new();
        for (seed, release) in steps {
            if release {
                used.pop_first();
                continue;
            }
            if let Some(address) = pick(&subnet, seed, &used) {
                prop_assert!(subnet.allocation_pools.iter().any(|p| p.contains(address)));
                prop_assert!(subnet.holds(address));
                prop_assert_ne!(Some(address), subnet.gateway_ip);
                prop_assert!(used.insert(address), "given twice");
            } else { prop_assert_eq!(used.len() as u64, total) }
        }
    }

    #[test]
    fn macs_survive_their_text(id in any::<u128>(), attempt in any::<u32>()) {
        let mac = Mac::for_port(PortId(uuid::Uuid::from_u128(id)), attempt);
        prop_assert_eq!(mac.to_string().parse::<Mac>().unwrap(), mac);
    }
}
