//! Gives a DHCP lease back in a guest's stead.
//!
//! dnsmasq keeps a lease after its reservation is gone and refuses the address to the next port that has it reserved.
//! It has no command to forget a lease, but it believes a release that comes from its own host.

use nix::sys::socket::{setsockopt, sockopt::BindToDevice};
use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};

const SERVER_PORT: u16 = 67;
const BOOT_REQUEST: u8 = 1;
const ETHERNET: u8 = 1;
const MAGIC_COOKIE: [u8; 4] = [99, 130, 83, 99];
const OPTION_MESSAGE_TYPE: u8 = 53;
const MESSAGE_RELEASE: u8 = 7;
const OPTION_SERVER: u8 = 54;
const OPTION_CLIENT_ID: u8 = 61;
const OPTION_END: u8 = 255;

/// One lease as libvirt lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub mac: [u8; 6],
    pub address: Ipv4Addr,
    /// What the client called itself, in place of its MAC.
    pub client_id: Option<Vec<u8>>,
}

/// Tells the DHCP server at `server`, which serves `bridge`, that the lease is no longer needed. Does not wait: there
/// is no answer to a release.
pub fn release(bridge: &str, server: Ipv4Addr, lease: &Lease) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    setsockopt(&socket, BindToDevice, &OsString::from(bridge))?;
    socket.send_to(&message(server, lease), (server, SERVER_PORT))?;
    Ok(())
}

fn message(server: Ipv4Addr, lease: &Lease) -> Vec<u8> {
    // The fixed part of RFC 2131: a hardware address of six bytes, everything else zero but the client's address.
    let mut message = vec![0; 236];
    message[0] = BOOT_REQUEST;
    message[1] = ETHERNET;
    message[2] = 6;
    message[12..16].copy_from_slice(&lease.address.octets());
    message[28..34].copy_from_slice(&lease.mac);
    message.extend(MAGIC_COOKIE);
    message.extend([OPTION_MESSAGE_TYPE, 1, MESSAGE_RELEASE]);
    message.extend([OPTION_SERVER, 4]);
    message.extend(server.octets());
    if let Some(id) = &lease.client_id
        && let Ok(length) = u8::try_from(id.len())
    {
        message.extend([OPTION_CLIENT_ID, length]);
        message.extend(id);
    }
    message.push(OPTION_END);
    message
}

/// Reads `fa:16:3e:00:00:01`, or any row of bytes in that form.
pub fn parse_bytes(text: &str) -> Option<Vec<u8>> {
    text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message() {
        let lease = Lease {
            mac: [0xfa, 0x16, 0x3e, 0, 0, 1],
            address: Ipv4Addr::new(10, 71, 71, 5),
            client_id: Some(vec![1, 2, 3]),
        };
        let message = message(Ipv4Addr::new(10, 71, 71, 1), &lease);
        assert_eq!(message[..4], [1, 1, 6, 0]);
        assert_eq!(message[12..16], [10, 71, 71, 5]);
        assert_eq!(message[28..36], [0xfa, 0x16, 0x3e, 0, 0, 1, 0, 0]);
        assert_eq!(message[236..], [99, 130, 83, 99, 53, 1, 7, 54, 4, 10, 71, 71, 1, 61, 3, 1, 2, 3, 255]);
    }

    #[test]
    fn rows_of_bytes() {
        assert_eq!(parse_bytes("fa:16:3e:00:00:01"), Some(vec![0xfa, 0x16, 0x3e, 0, 0, 1]));
        assert_eq!(parse_bytes("fa:16:3e:00:00:0g"), None);
        assert_eq!(parse_bytes(""), None);
    }
}
