//! The DHCP reservations of one network: a folder with a file for each, which dnsmasq watches.
//!
//! dnsmasq takes a new file up at once. What was removed or replaced it forgets when it is told to read anew.
//! libvirt's own way to change reservations takes half a second and tears the firewall rules of the network down and
//! up again, each time for all its guests.

use super::HostPortSpec;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where libvirt's dnsmasq may read.
const FOLDERS: &str = "/var/lib/libvirt/dnsmasq";
/// Where libvirt notes the process of each network's dnsmasq.
const PROCESSES: &str = "/run/libvirt/network";

/// One reservation as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Lower case.
    pub mac: String,
    pub address: Ipv4Addr,
    pub name: Option<String>,
}

impl From<&HostPortSpec> for Reservation {
    fn from(port: &HostPortSpec) -> Self {
        let name = port.hostname.clone().filter(|name| is_label(name));
        Self { mac: port.mac.to_lowercase(), address: port.address, name }
    }
}

impl Reservation {
    fn file_name(&self) -> String {
        self.mac.replace(':', "-")
    }

    fn line(&self) -> String {
        match &self.name {
            Some(name) => format!("{},{},{name}\n", self.mac, self.address),
            None => format!("{},{}\n", self.mac, self.address),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.trim_end().split(',');
        let reservation = Self {
            mac: fields.next()?.to_owned(),
            address: fields.next()?.parse().ok()?,
            name: fields.next().map(str::to_owned),
        };
        fields.next().is_none().then_some(reservation)
    }
}

/// A comma or a line end in a name would be a setting of dnsmasq's.
fn is_label(name: &str) -> bool {
    (1..=63).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The folder of the network with this name on the host.
pub fn folder(network: &str) -> PathBuf {
    Path::new(FOLDERS).join(format!("{network}.reservations"))
}

/// Ensures that the folder is there and that dnsmasq, which has no rights, may read it. Says whether it was missing:
/// a dnsmasq that runs watches the lost one then.
pub fn create(folder: &Path) -> io::Result<bool> {
    // libvirt makes its own folder with its first network.
    if let Some(parent) = folder.parent()
        && !parent.exists()
    {
        make_public(parent)?;
    }
    make_public(folder)
}

/// A folder that all may read, whatever the daemon's umask says. Says whether it is new.
fn make_public(folder: &Path) -> io::Result<bool> {
    let new = match fs::create_dir(folder) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
        Err(error) => return Err(error),
    };
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    Ok(new)
}

/// Ensures that the folder is gone.
pub fn delete(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Removes what `keep` refuses, adds what is missing of `wanted`. Says whether dnsmasq has something to forget.
pub fn reconcile(
    folder: &Path,
    wanted: &[Reservation],
    keep: impl Fn(&Reservation) -> bool,
) -> io::Result<bool> {
    let mut forget = false;
    let mut present = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let found = Reservation::parse(&fs::read_to_string(&path)?)
            .filter(|found| path.file_name() == Some(found.file_name().as_ref()));
        match found {
            Some(found) if keep(&found) => present.push(found),
            // What cannot be read as ours is a draft that a crash left, or somebody's mistake.
            Some(_) | None => {
                fs::remove_file(path)?;
                forget = true;
            }
        }
    }
    for new in wanted.iter().filter(|new| !present.contains(new)) {
        // dnsmasq passes over names that begin with a dot, so it sees the file only when it is whole.
        let draft = folder.join(format!(".{}", new.file_name()));
        fs::write(&draft, new.line())?;
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o644))?;
        fs::rename(draft, folder.join(new.file_name()))?;
    }
    Ok(forget)
}

/// The process of the network's dnsmasq, if it runs.
pub fn process(network: &str) -> Option<Pid> {
    let text = fs::read_to_string(Path::new(PROCESSES).join(format!("{network}.pid"))).ok()?;
    let number: i32 = text.trim().parse().ok()?;
    // The number of a dead dnsmasq may be another process's by now.
    let command = fs::read_to_string(format!("/proc/{number}/cmdline")).ok()?;
    command.contains(&format!("/{network}.conf")).then_some(Pid::from_raw(number))
}

/// Makes dnsmasq read its reservations anew. One that does not run will read them when it starts.
pub fn reload(network: &str) -> io::Result<()> {
    match process(network) {
        Some(pid) => kill(pid, Signal::SIGHUP).map_err(io::Error::from),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reservation(last: u8, name: Option<&str>) -> Reservation {
        Reservation {
            mac: format!("fa:16:3e:00:00:{last:02x}"),
            address: Ipv4Addr::new(10, 0, 0, last),
            name: name.map(str::to_owned),
        }
    }

    fn files(folder: &Path) -> Vec<String> {
        let mut all: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
            .collect();
        all.sort();
        all
    }

    #[test]
    fn files_follow_the_wish() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let (one, two) = (reservation(1, Some("web")), reservation(2, None));
        assert!(!reconcile(folder, &[one.clone(), two.clone()], |_| true).unwrap());
        assert_eq!(files(folder), ["fa:16:3e:00:00:01,10.0.0.1,web\n", "fa:16:3e:00:00:02,10.0.0.2\n"]);
        assert!(!reconcile(folder, &[one.clone(), two.clone()], |_| true).unwrap());

        fs::write(folder.join(".draft"), "fa:16").unwrap();
        fs::write(folder.join("stray"), two.line()).unwrap();
        assert!(reconcile(folder, &[], |old| *old == one).unwrap());
        assert_eq!(files(folder), ["fa:16:3e:00:00:01,10.0.0.1,web\n"]);

        let renamed = reservation(1, Some("db"));
        assert!(reconcile(folder, std::slice::from_ref(&renamed), |old| *old == renamed).unwrap());
        assert_eq!(files(folder), ["fa:16:3e:00:00:01,10.0.0.1,db\n"]);
    }

    #[test]
    fn names_that_dnsmasq_would_misread_are_left_out() {
        let port = |hostname: &str| HostPortSpec {
            id: crate::core::ids::PortId::random(),
            mac: "FA:16:3E:00:00:01".into(),
            address: Ipv4Addr::new(10, 0, 0, 1),
            hostname: Some(hostname.into()),
        };
        assert_eq!(Reservation::from(&port("web-1")).line(), "fa:16:3e:00:00:01,10.0.0.1,web-1\n");
        for bad in ["", "a,b", "a\nb", "a.b", "ä"] {
            assert_eq!(Reservation::from(&port(bad)).line(), "fa:16:3e:00:00:01,10.0.0.1\n");
        }
    }
}
