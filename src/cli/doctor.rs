//! `doctor`: what this host lacks, one line each, and the command that mends it.

use crate::config::Config;
use crate::credentials;
use crate::host::command::{Command, find_program};
use crate::host::hypervisor::Hypervisor;
use crate::host::hypervisor::libvirt::{LibvirtConfig, LibvirtHost, VirtType, VirtTypeSetting};
use crate::host::net::libvirt as host_net;
use anyhow::Context;
use nix::sys::statvfs::statvfs;
use nix::unistd::{Group, geteuid};
use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

#[derive(Debug, clap::Args)]
pub struct DoctorArguments {
    /// Configuration file (TOML).
    #[arg(long)]
    config: Option<PathBuf>,
    /// Where everything is kept; its file system is looked at.
    #[arg(long, default_value = "/var/lib/dwarfnova")]
    state_dir: PathBuf,
}

/// One finding.
struct Check {
    what: &'static str,
    finding: Finding,
}

enum Finding {
    Good(String),
    /// Works, but not as well as it could.
    Poor {
        detail: String,
        mend: String,
    },
    Bad {
        detail: String,
        mend: String,
    },
}

use Finding::{Bad, Good, Poor};

/// Looks at everything and prints a line each.
///
/// # Errors
/// When something that a cloud needs is missing.
pub fn doctor(arguments: &DoctorArguments) -> anyhow::Result<()> {
    let config = match &arguments.config {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    let config = config.check()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("the async runtime could not be started")?;
    let checks = runtime.block_on(examine(&config, &arguments.state_dir));
    let mut missing = 0;
    for Check { what, finding } in checks {
        match finding {
            Good(detail) => println!("ok    {what}: {detail}"),
            Poor { detail, mend } => println!("warn  {what}: {detail}; mend with: {mend}"),
            Bad { detail, mend } => {
                missing += 1;
                println!("FAIL  {what}: {detail}; mend with: {mend}");
            }
        }
    }
    anyhow::ensure!(missing == 0, "{missing} checks failed");
    Ok(())
}

async fn examine(config: &Config, state_dir: &Path) -> Vec<Check> {
    let mut checks = vec![Check { what: "qemu-img", finding: qemu_img().await }];
    let setting = match config.hypervisor.virt_type {
        crate::config::VirtType::Auto | crate::config::VirtType::Kvm => VirtTypeSetting::Auto,
        crate::config::VirtType::Qemu => VirtTypeSetting::Qemu,
    };
    let probe_cache = std::env::temp_dir().join(format!("dwarfnova-doctor-{}", std::process::id()));
    let host = LibvirtHost::connect(LibvirtConfig {
        uri: config.hypervisor.uri.clone(),
        virt_type: setting,
        installation: Uuid::new_v4(),
        probe_cache: probe_cache.clone(),
    });
    checks.push(Check { what: "libvirt", finding: libvirt(&host).await });
    checks.push(Check { what: "KVM", finding: kvm(&host).await });
    if geteuid().is_root() {
        checks.push(Check { what: "/dev/kvm", finding: kvm_device(Path::new("/dev/kvm")) });
    }
    // The probe's note is of use only to a daemon with a state folder.
    let _ = std::fs::remove_file(probe_cache);
    if geteuid().is_root() {
        checks.push(Check { what: "DHCP and DNS for guests", finding: program("dnsmasq", "dnsmasq-base") });
        checks.push(Check { what: "NAT", finding: nat() });
        checks.push(Check { what: "packet filter", finding: guard().await });
        checks.push(Check { what: "metadata address", finding: program("ip", "iproute2") });
    } else {
        checks.push(Check {
            what: "networking",
            finding: Good("user mode: no bridge, no metadata address, config drives instead".into()),
        });
    }
    checks.push(Check { what: "console logs", finding: console_logs(Path::new("/etc/libvirt/qemu.conf")) });
    checks.push(Check { what: "UEFI firmware", finding: uefi() });
    checks.push(Check { what: "disk space", finding: disk_space(state_dir, config.image.disk_reserve_mib) });
    checks.push(Check { what: "API port", finding: port(config, state_dir) });
    checks
}

/// Whether virtlogd writes what guests say, and so keeps it small: a guest can say as much as it likes.
fn console_logs(path: &Path) -> Finding {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let unbounded = text.lines().any(|line| {
        line.split_once('=')
            .is_some_and(|(key, value)| key.trim() == "stdio_handler" && value.contains("file"))
    });
    if unbounded {
        return Poor {
            detail: format!("{} has QEMU write them itself; a guest can fill the disk", path.display()),
            mend: format!("sed -i '/^ *stdio_handler/d' {} && systemctl restart libvirtd", path.display()),
        };
    }
    Good("written by virtlogd, which keeps them small".into())
}

async fn qemu_img() -> Finding {
    let mend = "apt-get install qemu-utils".to_owned();
    match Command::new("qemu-img").arg("--version").run().await {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            Good(text.lines().next().unwrap_or_default().to_owned())
        }
        Err(error) => Bad { detail: error.to_string(), mend },
    }
}

async fn libvirt(host: &Arc<LibvirtHost>) -> Finding {
    match host.facts().await {
        Ok(facts) => Good(format!(
            "{} answers; libvirt {}, QEMU {}, {} CPUs, {} MiB",
            host.connection().uri(),
            version(facts.libvirt_version),
            version(facts.hypervisor_version),
            facts.cpus,
            facts.memory_mib
        )),
        Err(error) => {
            let mend = if find_program("libvirtd").is_err() {
                "apt-get install libvirt-daemon-system qemu-system-x86 qemu-utils"
            } else if Path::new("/run/systemd/system").exists() {
                "systemctl start virtlogd.socket libvirtd"
            } else {
                "virtlogd -d; libvirtd -d"
            };
            Bad { detail: error.to_string(), mend: mend.into() }
        }
    }
}

async fn kvm(host: &Arc<LibvirtHost>) -> Finding {
    match host.virt_type().await {
        Ok(VirtType::Kvm) => Good("a probe guest ran under it".into()),
        Ok(VirtType::Qemu) if !Path::new("/dev/kvm").exists() => Poor {
            detail: "there is no /dev/kvm; guests run under software emulation, slowly".into(),
            mend: "modprobe kvm_intel || modprobe kvm_amd (and switch virtualization on in the firmware)".into(),
        },
        Ok(VirtType::Qemu) => Poor {
            detail: "/dev/kvm is there, but a probe guest did not run under it; guests run under software emulation"
                .into(),
            mend: "dmesg | grep -i kvm (in a virtual machine: let its host pass nested virtualization through)".into(),
        },
        Err(error) => Bad { detail: error.to_string(), mend: "see the line on libvirt".into() },
    }
}

/// Whether QEMU's user, who is in the group kvm, may open the device.
fn kvm_device(path: &Path) -> Finding {
    let Ok(facts) = path.metadata() else { return Good("not there, and not in the way".into()) };
    let mode = facts.mode();
    let kvm = Group::from_name("kvm").ok().flatten().map(|group| group.gid.as_raw());
    if mode & 0o006 == 0o006 || (mode & 0o060 == 0o060 && kvm == Some(facts.gid())) {
        return Good("QEMU's user may open it".into());
    }
    Poor {
        detail:
            "QEMU's user may not open it, so libvirt asks QEMU anew before each call: 20 s to define a guest"
                .into(),
        mend: format!("chgrp kvm {0} && chmod 0660 {0}", path.display()),
    }
}

async fn guard() -> Finding {
    match host_net::check_guard().await {
        Ok(()) => Good("nftables filters bridges".into()),
        Err(error) => {
            Bad { detail: error.to_string(), mend: "apt-get install nftables && modprobe nf_tables".into() }
        }
    }
}

fn program(name: &'static str, package: &str) -> Finding {
    match find_program(name) {
        Ok(path) => Good(path.display().to_string()),
        Err(error) => Bad { detail: error.to_string(), mend: format!("apt-get install {package}") },
    }
}

fn nat() -> Finding {
    if find_program("iptables").is_err() && find_program("nft").is_err() {
        return Bad {
            detail: "neither iptables nor nft is installed".into(),
            mend: "apt-get install iptables nftables".into(),
        };
    }
    match std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward") {
        Ok(text) if text.trim() == "1" => Good("packets are forwarded".into()),
        Ok(_) => Good("packets will be forwarded once a network starts".into()),
        Err(error) => Bad { detail: error.to_string(), mend: "mount -t proc proc /proc".into() },
    }
}

fn uefi() -> Finding {
    if Path::new("/usr/share/OVMF").exists() {
        return Good("/usr/share/OVMF".into());
    }
    Poor {
        detail: "not installed; images with hw_firmware_type=uefi cannot boot".into(),
        mend: "apt-get install ovmf".into(),
    }
}

fn disk_space(state_dir: &Path, reserve_mib: u64) -> Finding {
    let existing = state_dir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    match statvfs(existing) {
        Ok(facts) => {
            let free = facts.blocks_available() * facts.fragment_size() / (1 << 20);
            let detail = format!("{free} MiB free at {}", existing.display());
            if free > reserve_mib {
                Good(detail)
            } else {
                let mend = format!("free space there, or lower image.disk_reserve_mib ({reserve_mib})");
                Bad { detail, mend }
            }
        }
        Err(error) => {
            Bad { detail: format!("{}: {error}", existing.display()), mend: "use another --state-dir".into() }
        }
    }
}

fn port(config: &Config, state_dir: &Path) -> Finding {
    match TcpListener::bind(config.listen) {
        Ok(_) => Good(format!("{} is free", config.listen)),
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_served(state_dir, config.listen) => {
            Good(format!("the daemon of {} listens on {}", state_dir.display(), config.listen))
        }
        Err(error) => Bad {
            detail: format!("{}: {error}", config.listen),
            mend: "stop what listens there (ss -ltnp), or set another --listen".into(),
        },
    }
}

/// Whether a daemon runs on the state folder and listens there.
fn is_served(state_dir: &Path, address: SocketAddr) -> bool {
    let locked = File::open(state_dir.join("lock"))
        .is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)));
    let told = credentials::read(state_dir).ok().flatten();
    locked && told.is_some_and(|told| told.auth_url.contains(&format!("://{address}/")))
}

/// libvirt's numbers as people write them.
fn version(number: u64) -> String {
    format!("{}.{}.{}", number / 1_000_000, number / 1_000 % 1_000, number % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_daemon_of_its_own_is_no_fault() {
        let folder = tempfile::tempdir().unwrap();
        let address = "127.0.0.1:8774".parse().unwrap();
        assert!(!is_served(folder.path(), address));
        let lock = File::create(folder.path().join("lock")).unwrap();
        let told = credentials::Credentials {
            auth_url: "http://127.0.0.1:8774/identity/v3".into(),
            username: "admin".into(),
            password: String::new().into(),
            project: "admin".into(),
            region: "RegionOne".into(),
        };
        credentials::write(folder.path(), &told).unwrap();
        assert!(!is_served(folder.path(), address));
        lock.lock().unwrap();
        assert!(is_served(folder.path(), address));
        assert!(!is_served(folder.path(), "127.0.0.1:8775".parse().unwrap()));
    }

    #[test]
    fn a_closed_device_is_found() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let set =
            |mode| std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        set(0o600);
        assert!(matches!(kvm_device(file.path()), Poor { .. }));
        set(0o666);
        assert!(matches!(kvm_device(file.path()), Good(_)));
        assert!(matches!(kvm_device(Path::new("/no/such/device")), Good(_)));
    }
}
