//! What a libvirtd that dies while it starts a network leaves on the host: the bridge, and perhaps its dnsmasq.
//!
//! libvirt knows nothing of them afterwards, and refuses to start the network as long as its bridge is there.

use super::dhcp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::{Duration, Instant};

const LINKS: &str = "/sys/class/net";
/// dnsmasq ends within milliseconds of being asked to.
const END_WAIT: Duration = Duration::from_secs(2);

/// Whether the host has a bridge of this name and hardware address with nobody plugged in. Both come from the network's
/// UUID, so that no bridge of somebody else's is taken for ours.
pub fn is_abandoned_bridge(name: &str, mac: &str) -> io::Result<bool> {
    is_abandoned(&Path::new(LINKS).join(name), name, mac)
}

fn is_abandoned(link: &Path, name: &str, mac: &str) -> io::Result<bool> {
    // Only bridges have the folder.
    let plugged = match fs::read_dir(link.join("brif")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    // Older libvirt holds the bridge's hardware address fast with a device of its own.
    let dummy = format!("{name}-nic");
    for entry in plugged {
        if entry?.file_name() != *dummy {
            return Ok(false);
        }
    }
    Ok(fs::read_to_string(link.join("address"))?.trim().eq_ignore_ascii_case(mac))
}

/// Ends the dnsmasq of a network that does not run: it would answer guests beside the next one. Says whether there was
/// one.
pub fn end_dnsmasq(network: &str) -> io::Result<bool> {
    let Some(pid) = dhcp::process(network) else { return Ok(false) };
    kill(pid, Signal::SIGTERM).map_err(io::Error::from)?;
    wait_for_end(network, pid)?;
    Ok(true)
}

fn wait_for_end(network: &str, pid: Pid) -> io::Result<()> {
    let deadline = Instant::now() + END_WAIT;
    while dhcp::process(network) == Some(pid) {
        if Instant::now() >= deadline {
            return Err(io::Error::new(ErrorKind::TimedOut, format!("process {pid} does not end")));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: &str = "52:54:00:01:02:03";

    #[test]
    fn only_an_empty_bridge_with_our_address_is_abandoned() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("dn-1");
        let abandoned = || is_abandoned(&link, "dn-1", MAC).unwrap();
        assert!(!abandoned(), "there is none");
        fs::create_dir(&link).unwrap();
        fs::write(link.join("address"), format!("{MAC}\n")).unwrap();
        assert!(!abandoned(), "it is no bridge");
        fs::create_dir(link.join("brif")).unwrap();
        assert!(abandoned());
        fs::write(link.join("brif/dn-1-nic"), "").unwrap();
        assert!(abandoned());
        fs::write(link.join("brif/tap1"), "").unwrap();
        assert!(!abandoned(), "a guest is plugged in");
        fs::remove_file(link.join("brif/tap1")).unwrap();
        fs::write(link.join("address"), "52:54:00:01:02:04\n").unwrap();
        assert!(!abandoned(), "it is somebody else's");
    }
}
