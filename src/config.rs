//! Typed configuration: TOML, unknown keys refused by name, checked once, then immutable.

use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// Everything that can be set. The defaults make a working daemon on the loopback address.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port of the API.
    pub listen: SocketAddr,
    /// Allows an address beyond loopback without TLS.
    pub insecure_listen: bool,
    /// The base URL that clients use, when a proxy stands in front; otherwise each request tells.
    pub public_url: Option<String>,
    pub tls: Option<Tls>,
    /// Who may read `/metrics`.
    pub metrics: Metrics,
    pub hypervisor: HypervisorConfig,
    pub compute: ComputeConfig,
    pub console: ConsoleConfig,
    pub identity: IdentityConfig,
    pub image: ImageConfig,
    pub network: NetworkConfig,
    pub log: LogConfig,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metrics {
    /// Whoever asks from this machine without a proxy between, and administrators.
    Loopback,
    /// Administrators, with a token.
    Admin,
    Off,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the certificate chain.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HypervisorConfig {
    /// A libvirt URI, or `auto`: `qemu:///system` for root, `qemu:///session` for others.
    pub uri: String,
    /// `kvm`, `qemu`, or `auto`: KVM after a probe guest really ran under it.
    pub virt_type: VirtType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VirtType {
    Auto,
    Kvm,
    Qemu,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ComputeConfig {
    /// How many virtual CPUs may be promised for each CPU of the host.
    pub cpu_allocation_ratio: f64,
    /// How much guest memory may be promised for the memory of the host.
    pub ram_allocation_ratio: f64,
    /// How much disk may be promised for the disk of the host; disks are thin.
    pub disk_allocation_ratio: f64,
    /// Memory that is kept for the host, in MiB.
    pub reserved_memory_mib: u64,
    /// How long a guest may take to shut down before its power is cut, in seconds.
    pub shutdown_timeout_seconds: u64,
    /// Gives every server a config drive.
    pub force_config_drive: bool,
    /// After how many seconds a shelved server gives up what it takes of the host: 0 at once, -1 never.
    pub shelved_offload_seconds: i64,
    /// For how many seconds a deleted server can be restored; 0 deletes at once.
    pub reclaim_instance_interval_seconds: u32,
    /// How many tasks (creates, deletes, ...) run at once.
    pub parallel_tasks: usize,
    /// Whether servers that ran before the host was rebooted are started again.
    pub autostart: bool,
    /// How many of them are started at once.
    pub autostart_parallel: usize,
    /// After how many seconds a resize that nobody confirmed or took back confirms itself; 0 for never.
    pub resize_confirm_window_seconds: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsoleConfig {
    /// How long the URL of a console opens it, in seconds.
    pub token_lifetime_seconds: u32,
    /// Host names whose pages may open consoles, beside the daemon's own.
    pub allowed_origins: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityConfig {
    /// How long a token lives, in seconds.
    pub token_lifetime_seconds: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageConfig {
    /// The largest image that can be uploaded, in GiB.
    pub max_size_gib: u64,
    /// The largest virtual size of an image, in GiB.
    pub max_virtual_size_gib: u64,
    /// Disk that is kept free, in MiB: uploads and servers that would take it are refused.
    pub disk_reserve_mib: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// Name servers for guests; empty means the host's own, through the network's gateway.
    pub dns_servers: Vec<IpAddr>,
    /// Bytes.
    pub mtu: u32,
    /// Where guests find the metadata service; `false` leaves it to config drives.
    pub metadata: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    pub format: LogFormat,
    /// As in `RUST_LOG`, for example `info,dwarfnova::task=debug`.
    pub filter: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8774)),
            insecure_listen: false,
            public_url: None,
            tls: None,
            metrics: Metrics::Loopback,
            hypervisor: HypervisorConfig::default(),
            compute: ComputeConfig::default(),
            console: ConsoleConfig::default(),
            identity: IdentityConfig::default(),
            image: ImageConfig::default(),
            network: NetworkConfig::default(),
            log: LogConfig::default(),
        }
    }
}

impl Default for HypervisorConfig {
    fn default() -> Self {
        Self { uri: "auto".into(), virt_type: VirtType::Auto }
    }
}

impl Default for ConsoleConfig {
    fn default() -> Self {
        Self { token_lifetime_seconds: 600, allowed_origins: Vec::new() }
    }
}

impl Default for ComputeConfig {
    fn default() -> Self {
        Self {
            cpu_allocation_ratio: 16.0,
            ram_allocation_ratio: 1.5,
            disk_allocation_ratio: 1.0,
            reserved_memory_mib: 512,
            shutdown_timeout_seconds: 60,
            force_config_drive: false,
            shelved_offload_seconds: 0,
            reclaim_instance_interval_seconds: 0,
            parallel_tasks: 20,
            autostart: true,
            autostart_parallel: 4,
            resize_confirm_window_seconds: 0,
        }
    }
}

impl Default for IdentityConfig {
    fn default() -> Self {
        Self { token_lifetime_seconds: 3600 }
    }
}

impl Default for ImageConfig {
    fn default() -> Self {
        Self { max_size_gib: 1024, max_virtual_size_gib: 16 * 1024, disk_reserve_mib: 1024 }
    }
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self { dns_servers: Vec::new(), mtu: 1500, metadata: true }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".into() }
    }
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{path}: {source}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path}: {detail}")]
    Parse { path: PathBuf, detail: String },
    #[error("{key}: {reason}")]
    Value { key: &'static str, reason: String },
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let config: Self = toml::from_str(&text)
            .map_err(|error| ConfigError::Parse { path: path.to_owned(), detail: error.to_string() })?;
        Ok(config)
    }

    /// Checks what the types cannot. Called once, after the command line had its say.
    pub fn check(self) -> Result<Self, ConfigError> {
        let value = |key, reason: &str| Err(ConfigError::Value { key, reason: reason.to_owned() });
        if !self.listen.ip().is_loopback() && self.tls.is_none() && !self.insecure_listen {
            return value(
                "listen",
                "an address beyond loopback needs [tls], or insecure_listen = true if passwords may cross the network in clear",
            );
        }
        let ratios = [
            ("compute.cpu_allocation_ratio", self.compute.cpu_allocation_ratio),
            ("compute.ram_allocation_ratio", self.compute.ram_allocation_ratio),
            ("compute.disk_allocation_ratio", self.compute.disk_allocation_ratio),
        ];
        for (key, ratio) in ratios {
            if !(ratio.is_finite() && ratio > 0.0) {
                return value(key, "must be a number above 0");
            }
        }
        if !(-1..=i64::from(u32::MAX)).contains(&self.compute.shelved_offload_seconds) {
            return value("compute.shelved_offload_seconds", "must be -1 or a number of seconds");
        }
        if self.compute.parallel_tasks == 0 {
            return value("compute.parallel_tasks", "must be at least 1");
        }
        if self.console.token_lifetime_seconds == 0 {
            return value("console.token_lifetime_seconds", "must be at least 1");
        }
        if self.compute.autostart_parallel == 0 {
            return value("compute.autostart_parallel", "must be at least 1");
        }
        if self.identity.token_lifetime_seconds == 0 {
            return value("identity.token_lifetime_seconds", "must be at least 1");
        }
        if !(576..=9216).contains(&self.network.mtu) {
            return value("network.mtu", "must be between 576 and 9216 bytes");
        }
        if self.public_url.as_deref().is_some_and(|url| !url.starts_with("http") || url.ends_with('/')) {
            return value("public_url", "must begin with http:// or https:// and have no slash at its end");
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_named() {
        let error = toml::from_str::<Config>("[compute]\nshutdown_timeout = 3\n").unwrap_err();
        assert!(error.to_string().contains("shutdown_timeout"), "{error}");
    }

    #[test]
    fn the_defaults_are_sound() {
        Config::default().check().unwrap();
    }

    #[test]
    fn passwords_do_not_cross_a_network_in_clear_by_accident() {
        let config = Config { listen: "0.0.0.0:8774".parse().unwrap(), ..Config::default() };
        assert!(config.clone().check().unwrap_err().to_string().starts_with("listen:"));
        assert!(Config { insecure_listen: true, ..config }.check().is_ok());
    }
}
