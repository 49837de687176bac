//! How much a project may have of what compute counts.

/// Something that is counted, by the name that clients use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    Instances,
    Cores,
    /// In MiB.
    Ram,
    MetadataItems,
    InjectedFiles,
    InjectedFileContentBytes,
    InjectedFilePathBytes,
    KeyPairs,
    ServerGroups,
    ServerGroupMembers,
    // Kept and shown; the network service, which counts these, has limits of its own.
    FixedIps,
    FloatingIps,
    SecurityGroups,
    SecurityGroupRules,
}

/// No limit.
pub const UNLIMITED: i64 = -1;

impl Resource {
    pub const ALL: [Self; 14] = [
        Self::Instances,
        Self::Cores,
        Self::Ram,
        Self::MetadataItems,
        Self::InjectedFiles,
        Self::InjectedFileContentBytes,
        Self::InjectedFilePathBytes,
        Self::KeyPairs,
        Self::ServerGroups,
        Self::ServerGroupMembers,
        Self::FixedIps,
        Self::FloatingIps,
        Self::SecurityGroups,
        Self::SecurityGroupRules,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Instances => "instances",
            Self::Cores => "cores",
            Self::Ram => "ram",
            Self::MetadataItems => "metadata_items",
            Self::InjectedFiles => "injected_files",
            Self::InjectedFileContentBytes => "injected_file_content_bytes",
            Self::InjectedFilePathBytes => "injected_file_path_bytes",
            Self::KeyPairs => "key_pairs",
            Self::ServerGroups => "server_groups",
            Self::ServerGroupMembers => "server_group_members",
            Self::FixedIps => "fixed_ips",
            Self::FloatingIps => "floating_ips",
            Self::SecurityGroups => "security_groups",
            Self::SecurityGroupRules => "security_group_rules",
        }
    }

    /// The resource with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.name() == name)
    }

    /// The limit of a project for which no other was set.
    pub const fn default_limit(self) -> i64 {
        match self {
            Self::Instances | Self::ServerGroups | Self::ServerGroupMembers => 10,
            Self::Cores => 20,
            Self::Ram => 51_200,
            Self::MetadataItems => 128,
            Self::InjectedFiles => 5,
            Self::InjectedFileContentBytes => 10_240,
            Self::InjectedFilePathBytes => 255,
            Self::KeyPairs => 100,
            Self::FixedIps | Self::FloatingIps | Self::SecurityGroups | Self::SecurityGroupRules => UNLIMITED,
        }
    }
}

/// The limits of one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits([i64; 14]);

impl Default for Limits {
    fn default() -> Self {
        Self(Resource::ALL.map(Resource::default_limit))
    }
}

impl Limits {
    /// -1 for no limit.
    pub fn of(&self, resource: Resource) -> i64 {
        self.0[resource as usize]
    }

    pub fn set(&mut self, resource: Resource, limit: i64) {
        self.0[resource as usize] = limit;
    }

    /// Whether `wanted` more may be had on top of what is in use.
    pub fn allows(&self, resource: Resource, in_use: i64, wanted: i64) -> bool {
        let limit = self.of(resource);
        limit < 0 || in_use.saturating_add(wanted) <= limit
    }
}

/// What a project has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub instances: i64,
    pub cores: i64,
    pub ram_mib: i64,
    pub server_groups: i64,
}

impl Usage {
    /// How much of a resource is in use, as far as it is counted by project.
    pub fn of(&self, resource: Resource) -> i64 {
        match resource {
            Resource::Instances => self.instances,
            Resource::Cores => self.cores,
            Resource::Ram => self.ram_mib,
            Resource::ServerGroups => self.server_groups,
            Resource::MetadataItems
            | Resource::InjectedFiles
            | Resource::InjectedFileContentBytes
            | Resource::InjectedFilePathBytes
            | Resource::KeyPairs
            | Resource::ServerGroupMembers
            | Resource::FixedIps
            | Resource::FloatingIps
            | Resource::SecurityGroups
            | Resource::SecurityGroupRules => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_in_the_order_of_their_resources() {
        let limits = Limits::default();
        for resource in Resource::ALL {
            assert_eq!(limits.of(resource), resource.default_limit());
        }
    }

    #[test]
    fn a_negative_limit_allows_everything() {
        let mut limits = Limits::default();
        assert!(limits.allows(Resource::Instances, 9, 1));
        assert!(!limits.allows(Resource::Instances, 9, 2));
        limits.set(Resource::Instances, UNLIMITED);
        assert!(limits.allows(Resource::Instances, 9, 1_000));
    }
}
