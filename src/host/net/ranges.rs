//! Which private ranges this host uses already.

use ipnet::Ipv4Net;
use nix::ifaddrs::getifaddrs;
use std::io;
use std::net::Ipv4Addr;

/// The first private /24 that overlaps with none of `used`.
///
/// Looks first where home routers, container engines and clouds seldom are.
pub fn first_free(used: &[Ipv4Net]) -> Option<Ipv4Net> {
    let in_ten = (71..=254).chain(1..=70).map(|third| Ipv4Addr::new(10, 71, third, 0));
    let elsewhere = (16..=254).map(|second| Ipv4Addr::new(10, second, 71, 0));
    let in_192 = (100..=254).map(|third| Ipv4Addr::new(192, 168, third, 0));
    let candidates = in_ten.chain(elsewhere).chain(in_192);
    candidates.filter_map(|base| Ipv4Net::new(base, 24).ok()).find(|range| is_free(*range, used))
}

/// Whether the range overlaps with none of `used`.
pub fn is_free(range: Ipv4Net, used: &[Ipv4Net]) -> bool {
    !used.iter().any(|other| other.contains(&range.network()) || range.contains(&other.network()))
}

/// The ranges of all addresses and routes of this host. The default route is not one.
pub fn of_this_host() -> io::Result<Vec<Ipv4Net>> {
    let mut used = Vec::new();
    for interface in getifaddrs()? {
        let (Some(address), Some(mask)) = (interface.address, interface.netmask) else { continue };
        if let (Some(address), Some(mask)) = (address.as_sockaddr_in(), mask.as_sockaddr_in())
            && let Ok(range) = Ipv4Net::with_netmask(address.ip(), mask.ip())
        {
            used.push(range.trunc());
        }
    }
    used.extend(read_routes(&std::fs::read_to_string("/proc/net/route")?));
    Ok(used)
}

/// Whether an interface of this host has the address.
pub fn has_address(wanted: Ipv4Addr) -> io::Result<bool> {
    Ok(getifaddrs()?
        .filter_map(|interface| interface.address)
        .any(|address| address.as_sockaddr_in().is_some_and(|address| address.ip() == wanted)))
}

/// Reads the kernel's table: the second and the eighth column are destination and mask, as the processor holds them.
fn read_routes(table: &str) -> Vec<Ipv4Net> {
    let address =
        |text: &str| u32::from_str_radix(text, 16).ok().map(|number| Ipv4Addr::from(number.to_ne_bytes()));
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let destination = address(columns.get(1)?)?;
            let mask = address(columns.get(7)?)?;
            Ipv4Net::with_netmask(destination, mask).ok().filter(|range| range.prefix_len() > 0)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_in_use_are_passed_over() {
        let first = first_free(&[]).unwrap();
        assert_eq!(first.to_string(), "10.71.71.0/24");
        assert_eq!(first_free(&[first]).unwrap().to_string(), "10.71.72.0/24");
        let inside: Ipv4Net = "10.71.71.128/25".parse().unwrap();
        assert_eq!(first_free(&[inside]).unwrap().to_string(), "10.71.72.0/24");
        let around: Ipv4Net = "10.0.0.0/8".parse().unwrap();
        assert_eq!(first_free(&[around]).unwrap().to_string(), "192.168.100.0/24");
        let all: Ipv4Net = "0.0.0.0/0".parse().unwrap();
        assert_eq!(first_free(&[all]), None);
    }

    #[test]
    fn routes_are_read_and_the_default_route_is_left_out() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                     rubbish\n";
        let expected: Ipv4Net = "10.0.2.0/24".parse().unwrap();
        assert_eq!(read_routes(table), [expected]);
    }

    #[test]
    fn the_loopback_range_is_in_use_here() {
        let used = of_this_host().unwrap();
        assert!(used.iter().any(|range| range.contains(&Ipv4Addr::LOCALHOST)), "{used:?}");
        assert!(has_address(Ipv4Addr::LOCALHOST).unwrap());
        assert!(!has_address(Ipv4Addr::new(192, 0, 2, 77)).unwrap());
    }
}
