//! What a caller wants to see of the list of servers: filters, order and page, typed.

use super::state::{TaskState, VmState};
use crate::core::ids::{ProjectId, ServerId};
use jiff::Timestamp;

/// One page of a list of servers.
#[derive(Debug, Clone)]
pub struct ServerQuery {
    pub scope: Scope,
    pub deleted: Deleted,
    /// All must hold.
    pub filters: Vec<Filter>,
    /// Empty: newest first.
    pub sort: Vec<(SortKey, Direction)>,
    pub limit: usize,
    /// The last server of the page before.
    pub marker: Option<ServerId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    Project(ProjectId),
    AllProjects,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// Neither those that are deleted nor those that could still be restored.
    Hide,
    /// Those that could still be restored, too.
    HideFinal,
    Only,
    /// Both, as with `changes-since`.
    Show,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Ascending,
    Descending,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// The column is one of the values (exact columns) or matches one of the patterns (others); see [`Column::is_exact`].
    Column(Column, Vec<String>),
    /// One of the vm states and, if there are task states, one of them: what statuses mean. See `status::filter`.
    States {
        vm: Vec<VmState>,
        tasks: Vec<TaskState>,
    },
    /// A pattern on any IPv4 address of the server.
    Ip(String),
    /// A pattern on any IPv6 address of the server.
    Ip6(String),
    Locked(bool),
    ConfigDrive(bool),
    /// Has all of them.
    Tags(Vec<String>),
    /// Has one of them.
    TagsAny(Vec<String>),
    /// Lacks one of them.
    NotTags(Vec<String>),
    /// Has none of them.
    NotTagsAny(Vec<String>),
    /// Changed at or after.
    ChangesSince(Timestamp),
    /// Changed at or before.
    ChangesBefore(Timestamp),
}

macro_rules! columns {
    ($($(#[$doc:meta])* $case:ident = [$($key:literal),+] $exact:literal,)*) => {
        /// A property of servers that lists can be filtered by.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Column {
            $($(#[$doc])* $case,)*
        }

        impl Column {
            pub const ALL: &'static [Self] = &[$(Self::$case),*];

            /// The column that a query parameter names.
            pub fn from_key(key: &str) -> Option<Self> {
                match key {
                    $($($key)|+ => Some(Self::$case),)*
                    _ => None,
                }
            }

            /// Whether values are compared whole; else they are unanchored regular expressions.
            pub const fn is_exact(self) -> bool {
                match self {
                    $(Self::$case => $exact,)*
                }
            }
        }
    };
}

columns! {
    Uuid = ["uuid"] true,
    Name = ["name", "display_name"] false,
    Description = ["description", "display_description"] false,
    Hostname = ["hostname"] false,
    ProjectId = ["project_id", "tenant_id"] true,
    UserId = ["user_id"] true,
    Image = ["image", "image_ref"] true,
    /// The flavor's public id.
    Flavor = ["flavor"] true,
    VmState = ["vm_state"] true,
    TaskState = ["task_state"] true,
    /// The number of the power state.
    PowerState = ["power_state"] false,
    Progress = ["progress"] false,
    Host = ["host"] true,
    Node = ["node"] false,
    ReservationId = ["reservation_id"] false,
    KeyName = ["key_name"] false,
    AvailabilityZone = ["availability_zone"] false,
    CreatedAt = ["created_at"] false,
    LaunchedAt = ["launched_at"] false,
    TerminatedAt = ["terminated_at"] false,
    LaunchIndex = ["launch_index"] false,
    KernelId = ["kernel_id"] false,
    RamdiskId = ["ramdisk_id"] false,
    RootDeviceName = ["root_device_name"] false,
    AccessIpV4 = ["access_ip_v4"] false,
    AccessIpV6 = ["access_ip_v6"] false,
    LockedBy = ["locked_by"] false,
    UserData = ["user_data"] false,
}

macro_rules! sort_keys {
    ($($case:ident = $key:literal,)*) => {
        /// A property of servers that lists can be ordered by.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum SortKey {
            $($case,)*
        }

        impl SortKey {
            pub const ALL: &'static [Self] = &[$(Self::$case),*];

            /// The key that a `sort_key` parameter names. Who may use it, and from which version, is the caller's to know.
            pub fn from_key(key: &str) -> Option<Self> {
                match key {
                    $($key => Some(Self::$case),)*
                    _ => None,
                }
            }
        }
    };
}

sort_keys! {
    AccessIpV4 = "access_ip_v4",
    AccessIpV6 = "access_ip_v6",
    AutoDiskConfig = "auto_disk_config",
    AvailabilityZone = "availability_zone",
    ConfigDrive = "config_drive",
    CreatedAt = "created_at",
    Description = "display_description",
    Name = "display_name",
    Host = "host",
    Hostname = "hostname",
    ImageRef = "image_ref",
    Flavor = "instance_type_id",
    KernelId = "kernel_id",
    KeyName = "key_name",
    LaunchIndex = "launch_index",
    LaunchedAt = "launched_at",
    Locked = "locked",
    LockedBy = "locked_by",
    Node = "node",
    PowerState = "power_state",
    Progress = "progress",
    ProjectId = "project_id",
    RamdiskId = "ramdisk_id",
    RootDeviceName = "root_device_name",
    TaskState = "task_state",
    TerminatedAt = "terminated_at",
    UpdatedAt = "updated_at",
    UserId = "user_id",
    Uuid = "uuid",
    VmState = "vm_state",
}
