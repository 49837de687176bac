//! From a server and its NICs to what its guest is told about itself: for config drives and for the metadata service.

use crate::core::port::{NicAddress, ServerNic};
use crate::core::server::Server;
use crate::host::guest::{
    Ec2Facts, GuestDevice, GuestDeviceKind, GuestDocuments, GuestKey, GuestNic, GuestRoute, GuestSubnet,
};
use crate::host::hypervisor::DeviceAddresses;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use secrecy::SecretString;
use std::collections::BTreeMap;

/// The domain of guests' host names; Nova's default.
const DOMAIN: &str = "novalocal";

/// What the documents need beyond the server and its NICs.
#[derive(Debug, Default)]
pub struct Extras {
    pub zone: String,
    /// Only for config drives.
    pub admin_password: Option<SecretString>,
    pub random_seed: Vec<u8>,
    /// Where devices are, as far as it is known.
    pub addresses: DeviceAddresses,
    /// Whether guests are told to ask for every address by DHCP, as with user-mode networking.
    pub dhcp_only: bool,
}

/// What the guest of `server` is told.
pub fn documents(server: &Server, nics: &[ServerNic], extras: Extras) -> GuestDocuments {
    let hostname = if server.hostname.contains('.') {
        server.hostname.clone()
    } else {
        format!("{}.{DOMAIN}", server.hostname)
    };
    GuestDocuments {
        id: server.id,
        name: server.name.clone(),
        hostname,
        project_id: server.project_id.to_string(),
        availability_zone: Some(extras.zone),
        launch_index: server.launch_index,
        key: server.key.as_ref().map(|key| GuestKey {
            name: key.name.clone(),
            kind: key.kind.clone(),
            public_key: key.public.clone(),
        }),
        meta: server.metadata.clone(),
        admin_password: extras.admin_password,
        user_data: server.user_data.as_deref().map(decoded),
        random_seed: extras.random_seed,
        files: server.personality.iter().map(|file| (file.path.clone(), decoded(&file.contents))).collect(),
        nics: nics.iter().map(|nic| guest_nic(nic, extras.dhcp_only)).collect(),
        devices: devices(server, nics, &extras.addresses),
        ec2: ec2(server, nics),
    }
}

/// What was accepted as base64 is; anything else would have been refused when the server was made.
fn decoded(text: &str) -> Vec<u8> {
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(text).unwrap_or_default()
}

fn guest_nic(nic: &ServerNic, dhcp_only: bool) -> GuestNic {
    GuestNic {
        port: nic.port_id,
        mac: nic.mac.to_string(),
        mtu: Some(nic.mtu),
        network: nic.network_id,
        subnets: nic.addresses.iter().map(|address| guest_subnet(address, dhcp_only)).collect(),
    }
}

fn guest_subnet(address: &NicAddress, dhcp_only: bool) -> GuestSubnet {
    GuestSubnet {
        cidr: IpNet::V4(address.cidr),
        dhcp: dhcp_only || address.dhcp,
        gateway: address.gateway.map(Into::into),
        addresses: vec![address.address.into()],
        dns_servers: address.dns_nameservers.iter().map(|server| (*server).into()).collect(),
        routes: address
            .host_routes
            .iter()
            .map(|route| GuestRoute {
                destination: IpNet::V4(route.destination),
                gateway: route.nexthop.into(),
            })
            .collect(),
    }
}

/// Whether the guest is told of any device.
pub fn has_tags(server: &Server, nics: &[ServerNic]) -> bool {
    nics.iter().any(|nic| nic.tag.is_some()) || server.disks.tags().next().is_some()
}

/// The devices with tags. A disk that the guest does not have, or of which nothing is known, is not among them.
fn devices(server: &Server, nics: &[ServerNic], addresses: &DeviceAddresses) -> Vec<GuestDevice> {
    let nics = nics.iter().filter_map(|nic| {
        let tags = vec![nic.tag.clone()?];
        let mac = nic.mac.to_string();
        let bus = addresses.nics.get(&mac).map(|address| ("pci".to_owned(), address.clone()));
        Some(GuestDevice { kind: GuestDeviceKind::Nic { mac }, bus, tags })
    });
    let disks = server.disks.tags().filter_map(|(name, tag)| {
        let place = addresses.disks.get(&name)?.as_ref();
        Some(GuestDevice {
            // The serial number is that of a volume, and only the guest knows how it calls a disk.
            kind: GuestDeviceKind::Disk { serial: None, path: None },
            bus: place.map(|place| (place.bus.to_owned(), place.address.clone())),
            tags: vec![tag.to_owned()],
        })
    });
    disks.chain(nics).collect()
}

fn ec2(server: &Server, nics: &[ServerNic]) -> Ec2Facts {
    let root = server.root_device_name.clone().unwrap_or_else(|| "/dev/vda".into());
    let mut mapping = BTreeMap::from([("root".to_owned(), root.clone())]);
    mapping.insert("ami".to_owned(), root.trim_start_matches("/dev/").to_owned());
    let mut groups: Vec<String> = nics.iter().flat_map(|nic| nic.security_groups.iter().cloned()).collect();
    groups.sort_unstable();
    groups.dedup();
    Ec2Facts {
        instance_id: format!("i-{:08x}", server.number),
        ami_id: server.image_id.map(|_| format!("ami-{:08x}", server.number)).unwrap_or_default(),
        kernel_id: None,
        ramdisk_id: None,
        instance_type: server.flavor.name.clone(),
        reservation_id: server.reservation_id.clone(),
        security_groups: groups,
        block_device_mapping: mapping,
        local_ipv4: nics.iter().flat_map(|nic| &nic.addresses).map(|address| address.address).next(),
        public_ipv4: None,
    }
}
