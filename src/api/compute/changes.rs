//! THE ledger: what each microversion of the compute API changed on the wire, in order.
//!
//! Views and request tables know the newest form and everything that older ones had; this list alone says what of it
//! counts at which version. Versions that change nothing that we serve have no entry. The core never sees a version:
//! what reaches it becomes an explicit option at the handler.

use crate::api::version::ledger::Change::{
    Accepted, Behaviour, Closed, Hidden, Operations, Refused, Required, Reshaped, Restricted, Shown,
};
use crate::api::version::ledger::{Change, Entry, holds};
use crate::api::version::shape::Shape;
use crate::api::version::{Microversion, Range};
use std::sync::OnceLock;

/// The newest minor version whose changes are complete for every operation that exists. The version documents and
/// the negotiation follow it.
pub const NEWEST: u16 = 104;

/// What the compute API negotiates.
pub const RANGE: Range = Range {
    service: "compute",
    own_header: "x-openstack-nova-api-version",
    min: Microversion::new(2, 1),
    max: Microversion::new(2, NEWEST),
};

/// An answer whose form depends on the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// One server.
    ServerShow,
    /// A server in the detailed list.
    ServerDetail,
    /// The answer to a changed server.
    ServerUpdate,
    /// The answer to a rebuilt server.
    ServerRebuild,
    /// A flavor in the short list.
    FlavorSummary,
    Flavor,
    ServerGroup,
    Keypair,
    /// The list around the keypairs.
    KeypairList,
    Limits,
    QuotaSet,
    QuotaClassSet,
    Aggregate,
    Service,
    Hypervisor,
    /// A hypervisor in the short list.
    HypervisorSummary,
    /// The list around the hypervisors.
    HypervisorList,
    /// An entry of the list of a server's actions.
    ActionSummary,
    /// The list around a server's actions.
    ActionList,
    Action,
    ActionEvent,
    /// A port of a server.
    Interface,
    Migration,
    /// The list around the migrations.
    MigrationList,
}

impl Resource {
    /// All, in the order of their discriminants.
    pub const ALL: [Self; 24] = [
        Self::ServerShow,
        Self::ServerDetail,
        Self::ServerUpdate,
        Self::ServerRebuild,
        Self::FlavorSummary,
        Self::Flavor,
        Self::ServerGroup,
        Self::Keypair,
        Self::KeypairList,
        Self::Limits,
        Self::QuotaSet,
        Self::QuotaClassSet,
        Self::Aggregate,
        Self::Service,
        Self::Hypervisor,
        Self::HypervisorSummary,
        Self::HypervisorList,
        Self::ActionSummary,
        Self::ActionList,
        Self::Action,
        Self::ActionEvent,
        Self::Interface,
        Self::Migration,
        Self::MigrationList,
    ];
}

/// A body, a part of one, or a query whose keys depend on the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    ServerCreate,
    /// An item of a new server's networks.
    ServerNetwork,
    /// An item of a new server's block devices.
    ServerBlockDevice,
    ServerUpdate,
    ServerRebuild,
    /// What becomes an interface of a server.
    InterfaceAttach,
    /// The value of an action's key.
    ServerAction,
    RemoteConsole,
    ConsoleTokenQuery,
    FlavorCreate,
    KeypairCreate,
    ServerGroupCreate,
    ServersQuery,
    FlavorsQuery,
    KeypairsQuery,
    KeypairQuery,
    ServerGroupsQuery,
    LimitsQuery,
    QuotaSetQuery,
    QuotaSetUpdate,
    QuotaClassSetUpdate,
    UsageQuery,
    /// What is done to a service, before services had paths of their own.
    ServiceAction,
    ServicesQuery,
    HypervisorsQuery,
    HypervisorQuery,
    ActionsQuery,
    MigrationsQuery,
    /// What is asked of a move of a running server.
    LiveMigration,
    /// What is asked of an evacuation.
    Evacuation,
    ExternalEvent,
    /// The queries that knew unknown parameters longest.
    OtherQuery,
}

const SERVER: &[Resource] =
    &[Resource::ServerShow, Resource::ServerDetail, Resource::ServerUpdate, Resource::ServerRebuild];
/// The answers that always had everything.
const SERVER_READ: &[Resource] = &[Resource::ServerShow, Resource::ServerDetail];
/// The answers that were shorter before 2.75.
const SERVER_WRITTEN: &[Resource] = &[Resource::ServerUpdate, Resource::ServerRebuild];

/// What the network service counts, and compute counted once.
const NETWORK_QUOTAS: &[&str] = &["fixed_ips", "floating_ips", "security_groups", "security_group_rules"];
const FILE_QUOTAS: &[&str] = &["injected_files", "injected_file_content_bytes", "injected_file_path_bytes"];

pub static LEDGER: &[Entry<Resource, Input>] = &[
    Entry {
        minor: 2,
        what: "Keypairs have a type; making and deleting one is answered with 201 and 204.",
        changes: &[
            Shown(&[Resource::Keypair], &["type"]),
            Accepted(&[Input::KeypairCreate], &["type"]),
            Operations,
        ],
    },
    Entry {
        minor: 3,
        what: "Servers tell administrators more of their making, and everybody which volumes go with them.",
        changes: &[Shown(
            SERVER_READ,
            &[
                "OS-EXT-SRV-ATTR:hostname",
                "OS-EXT-SRV-ATTR:kernel_id",
                "OS-EXT-SRV-ATTR:launch_index",
                "OS-EXT-SRV-ATTR:ramdisk_id",
                "OS-EXT-SRV-ATTR:reservation_id",
                "OS-EXT-SRV-ATTR:root_device_name",
                "OS-EXT-SRV-ATTR:user_data",
                "delete_on_termination",
            ],
        )],
    },
    Entry { minor: 5, what: "Everybody may filter servers by ip6.", changes: &[Behaviour] },
    Entry {
        minor: 6,
        what: "Consoles are asked for by a resource of their own instead of actions.",
        changes: &[Operations],
    },
    Entry { minor: 7, what: "Access to a public flavor cannot be granted.", changes: &[Behaviour] },
    Entry {
        minor: 8,
        what: "Consoles of the MKS protocol may be asked for.",
        changes: &[Restricted(&[Input::RemoteConsole], &["protocol", "type"])],
    },
    Entry { minor: 9, what: "Servers say whether they are locked.", changes: &[Shown(SERVER, &["locked"])] },
    Entry {
        minor: 10,
        what: "Administrators may handle the keypairs of other users.",
        changes: &[Accepted(
            &[Input::KeypairCreate, Input::KeypairsQuery, Input::KeypairQuery],
            &["user_id"],
        )],
    },
    Entry {
        minor: 11,
        what: "Services can be forced down, and tell it.",
        changes: &[
            Shown(&[Resource::Service], &["forced_down"]),
            Accepted(&[Input::ServiceAction], &["forced_down"]),
        ],
    },
    Entry {
        minor: 13,
        what: "Server groups tell whose they are.",
        changes: &[Shown(&[Resource::ServerGroup], &["project_id", "user_id"])],
    },
    Entry {
        minor: 14,
        what: "An evacuation is no longer told where the disks are, and answers with nothing.",
        changes: &[Restricted(&[Input::ServerAction], &["evacuate"])],
    },
    Entry {
        minor: 15,
        what: "The policy of a server group may be a soft one.",
        changes: &[Restricted(&[Input::ServerGroupCreate], &["policies"])],
    },
    Entry {
        minor: 16,
        what: "Servers tell administrators how their host is.",
        changes: &[Shown(SERVER_READ, &["host_status"])],
    },
    Entry {
        minor: 17,
        what: "A server's guest can be interrupted so that it writes a crash dump.",
        changes: &[Behaviour],
    },
    Entry {
        minor: 19,
        what: "Servers have a description of their own.",
        changes: &[
            Shown(SERVER, &["description"]),
            Accepted(&[Input::ServerCreate, Input::ServerUpdate, Input::ServerRebuild], &["description"]),
        ],
    },
    Entry { minor: 21, what: "The actions of deleted servers can be read.", changes: &[Behaviour] },
    Entry {
        minor: 22,
        what: "A move of a running server can be told to come to its end.",
        changes: &[Operations],
    },
    Entry {
        minor: 23,
        what: "Moves of running servers are shown while they go on; migrations tell their kind.",
        changes: &[Shown(&[Resource::Migration], &["migration_type"]), Operations],
    },
    Entry { minor: 24, what: "A move of a running server can be given up.", changes: &[Operations] },
    Entry {
        minor: 25,
        what: "A move of a running server finds out how disks are moved, and asks no more about their size.",
        changes: &[Restricted(&[Input::ServerAction], &["os-migrateLive"])],
    },
    Entry {
        minor: 26,
        what: "Servers have tags.",
        changes: &[
            Shown(SERVER, &["tags"]),
            Accepted(&[Input::ServersQuery], &["tags", "tags-any", "not-tags", "not-tags-any"]),
            Operations,
        ],
    },
    Entry {
        minor: 28,
        what: "A hypervisor's CPU is an object instead of its text.",
        changes: &[Reshaped(&[Resource::Hypervisor], &["cpu_info"])],
    },
    Entry {
        minor: 29,
        what: "An evacuation may force its host.",
        changes: &[Accepted(&[Input::Evacuation], &["force"])],
    },
    Entry {
        minor: 30,
        what: "A move of a running server may force its host.",
        changes: &[Accepted(&[Input::LiveMigration], &["force"])],
    },
    Entry {
        minor: 31,
        what: "Administrators may ask what any console's token opens.",
        changes: &[Operations],
    },
    Entry {
        minor: 32,
        what: "Networks and block devices of a new server may be tagged.",
        changes: &[Accepted(&[Input::ServerNetwork, Input::ServerBlockDevice], &["tag"])],
    },
    Entry {
        minor: 33,
        what: "Hypervisors are listed in pages; block devices of a new server lose their tags by accident.",
        changes: &[
            Refused(&[Input::ServerBlockDevice], &["tag"]),
            Shown(&[Resource::HypervisorList], &["hypervisors_links"]),
            Accepted(&[Input::HypervisorsQuery], &["limit", "marker"]),
        ],
    },
    Entry {
        minor: 34,
        what: "Who moves a running server no longer waits for what becomes of it.",
        changes: &[Behaviour],
    },
    Entry {
        minor: 35,
        what: "Keypairs are listed in pages.",
        changes: &[
            Accepted(&[Input::KeypairsQuery], &["limit", "marker"]),
            Shown(&[Resource::KeypairList], &["keypairs_links"]),
        ],
    },
    Entry {
        minor: 36,
        what: "The proxies of the other services end, and with them their limits.",
        changes: &[
            Hidden(
                &[Resource::Limits],
                &[
                    "maxSecurityGroupRules",
                    "maxSecurityGroups",
                    "maxTotalFloatingIps",
                    "totalFloatingIpsUsed",
                    "totalSecurityGroupsUsed",
                ],
            ),
            Hidden(&[Resource::QuotaSet], NETWORK_QUOTAS),
            Refused(&[Input::QuotaSetUpdate], NETWORK_QUOTAS),
            Operations,
        ],
    },
    Entry {
        minor: 37,
        what: "A new server has to say which networks it wants, and may say auto or none.",
        changes: &[
            Required(&[Input::ServerCreate], &["networks"]),
            Restricted(&[Input::ServerCreate], &["networks"]),
            Restricted(&[Input::ServerNetwork], &["uuid"]),
            Refused(&[Input::ServerNetwork], &["tag"]),
        ],
    },
    Entry { minor: 38, what: "An unknown status to filter by is an error.", changes: &[Behaviour] },
    Entry {
        minor: 39,
        what: "The proxy of image properties ends, and with it its limit.",
        changes: &[Hidden(&[Resource::Limits], &["maxImageMeta"]), Operations],
    },
    Entry {
        minor: 40,
        what: "What projects had is told in pages of servers.",
        changes: &[Accepted(&[Input::UsageQuery], &["limit", "marker"])],
    },
    Entry {
        minor: 41,
        what: "Aggregates have a UUID.",
        changes: &[Shown(&[Resource::Aggregate], &["uuid"])],
    },
    Entry {
        minor: 42,
        what: "Networks and block devices of a new server may be tagged again.",
        changes: &[Accepted(&[Input::ServerNetwork, Input::ServerBlockDevice], &["tag"])],
    },
    Entry { minor: 43, what: "Hosts are no longer shown by themselves.", changes: &[Operations] },
    Entry {
        minor: 45,
        what: "The image of a server is named in the body instead of by its location.",
        changes: &[Behaviour],
    },
    Entry {
        minor: 47,
        what: "Servers carry their flavor instead of a link to it.",
        changes: &[Reshaped(SERVER, &["flavor"])],
    },
    Entry {
        minor: 48,
        what: "The diagnostics of a server have the same keys whatever its devices are.",
        changes: &[Operations],
    },
    Entry {
        minor: 49,
        what: "An interface that a server gets may have a tag.",
        changes: &[Accepted(&[Input::InterfaceAttach], &["tag"])],
    },
    Entry {
        minor: 50,
        what: "The default quotas lose what the network service counts and tell of server groups.",
        changes: &[
            Shown(&[Resource::QuotaClassSet], &["server_groups", "server_group_members"]),
            Hidden(&[Resource::QuotaClassSet], NETWORK_QUOTAS),
            Accepted(&[Input::QuotaClassSetUpdate], &["server_groups", "server_group_members"]),
            Refused(&[Input::QuotaClassSetUpdate], NETWORK_QUOTAS),
        ],
    },
    Entry {
        minor: 51,
        what: "The events of a server's action are shown to everybody; the volume service tells of grown volumes.",
        changes: &[
            Reshaped(&[Resource::Action], &["events"]),
            Restricted(&[Input::ExternalEvent], &["name"]),
        ],
    },
    Entry {
        minor: 52,
        what: "A server may be made with tags.",
        changes: &[Accepted(&[Input::ServerCreate], &["tags"])],
    },
    Entry {
        minor: 53,
        what: "Services and hypervisors are known by UUIDs; hypervisors are found by query instead of by path.",
        changes: &[
            Reshaped(&[Resource::Service, Resource::Hypervisor, Resource::HypervisorSummary], &["id"]),
            Accepted(&[Input::HypervisorsQuery], &["hypervisor_hostname_pattern", "with_servers"]),
            Accepted(&[Input::HypervisorQuery], &["with_servers"]),
            Closed(&[Input::HypervisorsQuery, Input::HypervisorQuery]),
            Operations,
        ],
    },
    Entry {
        minor: 54,
        what: "A rebuild can give the server another key, and tells it.",
        changes: &[
            Shown(&[Resource::ServerRebuild], &["key_name"]),
            Accepted(&[Input::ServerRebuild], &["key_name"]),
        ],
    },
    Entry {
        minor: 55,
        what: "Flavors have a description, which can be changed.",
        changes: &[
            Shown(&[Resource::Flavor, Resource::FlavorSummary], &["description"]),
            Accepted(&[Input::FlavorCreate], &["description"]),
            Operations,
        ],
    },
    Entry {
        minor: 56,
        what: "A cold migration may name its host.",
        changes: &[Restricted(&[Input::ServerAction], &["migrate"])],
    },
    Entry {
        minor: 57,
        what: "Files are no longer put into a new server; a rebuild can give it other user data, and tells them.",
        changes: &[
            Refused(&[Input::ServerCreate, Input::ServerRebuild], &["personality"]),
            Accepted(&[Input::ServerRebuild], &["user_data"]),
            Hidden(&[Resource::Limits], &["maxPersonality", "maxPersonalitySize"]),
            Hidden(&[Resource::QuotaSet, Resource::QuotaClassSet], FILE_QUOTAS),
            Refused(&[Input::QuotaSetUpdate, Input::QuotaClassSetUpdate], FILE_QUOTAS),
            Shown(&[Resource::ServerRebuild], &["user_data"]),
        ],
    },
    Entry {
        minor: 58,
        what: "A server's actions tell when they changed, and are listed in pages and by time.",
        changes: &[
            Shown(&[Resource::ActionSummary, Resource::Action], &["updated_at"]),
            Shown(&[Resource::ActionList], &["links"]),
            Accepted(&[Input::ActionsQuery], &["limit", "marker", "changes-since"]),
            Closed(&[Input::ActionsQuery]),
        ],
    },
    Entry {
        minor: 59,
        what: "Migrations have a UUID, and are listed in pages and by time.",
        changes: &[
            Shown(&[Resource::Migration], &["uuid"]),
            Shown(&[Resource::MigrationList], &["migrations_links"]),
            Accepted(&[Input::MigrationsQuery], &["limit", "marker", "changes-since"]),
            Closed(&[Input::MigrationsQuery]),
        ],
    },
    Entry {
        minor: 61,
        what: "Flavors carry their extra specs.",
        changes: &[Shown(&[Resource::Flavor], &["extra_specs"])],
    },
    Entry {
        minor: 62,
        what: "The events of a server's action tell where they happened.",
        changes: &[Shown(&[Resource::ActionEvent], &["host", "hostId"])],
    },
    Entry {
        minor: 63,
        what: "Servers may name the certificates that their image is trusted by.",
        changes: &[
            Shown(SERVER, &["trusted_image_certificates"]),
            Accepted(&[Input::ServerCreate, Input::ServerRebuild], &["trusted_image_certificates"]),
        ],
    },
    Entry {
        minor: 64,
        what: "A server group has one policy and rules to it, instead of a list of policies.",
        changes: &[
            Shown(&[Resource::ServerGroup], &["policy", "rules"]),
            Hidden(&[Resource::ServerGroup], &["policies", "metadata"]),
            Operations,
        ],
    },
    Entry {
        minor: 66,
        what: "Servers, their actions and migrations can be asked for by a latest time of change.",
        changes: &[Accepted(
            &[Input::ServersQuery, Input::ActionsQuery, Input::MigrationsQuery],
            &["changes-before"],
        )],
    },
    Entry {
        minor: 67,
        what: "A block device of a new server may name the type of its volume.",
        changes: &[Accepted(&[Input::ServerBlockDevice], &["volume_type"])],
    },
    Entry {
        minor: 68,
        what: "No host is forced any more.",
        changes: &[Refused(&[Input::Evacuation, Input::LiveMigration], &["force"])],
    },
    Entry {
        minor: 70,
        what: "The interfaces of a server tell their tags.",
        changes: &[Shown(&[Resource::Interface], &["tag"])],
    },
    Entry {
        minor: 71,
        what: "Single servers tell their server groups.",
        changes: &[Shown(
            &[Resource::ServerShow, Resource::ServerUpdate, Resource::ServerRebuild],
            &["server_groups"],
        )],
    },
    Entry {
        minor: 73,
        what: "Servers tell why they are locked, and can be filtered and sorted by it.",
        changes: &[
            Shown(SERVER, &["locked_reason"]),
            Accepted(&[Input::ServersQuery], &["locked"]),
            Restricted(&[Input::ServersQuery], &["sort_key"]),
            Restricted(&[Input::ServerAction], &["lock"]),
        ],
    },
    Entry {
        minor: 74,
        what: "Administrators may choose the host of a new server.",
        changes: &[Accepted(&[Input::ServerCreate], &["host", "hypervisor_hostname"])],
    },
    Entry {
        minor: 75,
        what: "Changed servers are shown whole, no swap is 0, unknown parameters are refused.",
        changes: &[
            Shown(
                SERVER_WRITTEN,
                &[
                    "OS-EXT-AZ:availability_zone",
                    "OS-EXT-IPS-MAC:mac_addr",
                    "OS-EXT-IPS:type",
                    "OS-EXT-SRV-ATTR:host",
                    "OS-EXT-SRV-ATTR:hostname",
                    "OS-EXT-SRV-ATTR:hypervisor_hostname",
                    "OS-EXT-SRV-ATTR:instance_name",
                    "OS-EXT-SRV-ATTR:kernel_id",
                    "OS-EXT-SRV-ATTR:launch_index",
                    "OS-EXT-SRV-ATTR:ramdisk_id",
                    "OS-EXT-SRV-ATTR:reservation_id",
                    "OS-EXT-SRV-ATTR:root_device_name",
                    "OS-EXT-STS:power_state",
                    "OS-EXT-STS:task_state",
                    "OS-EXT-STS:vm_state",
                    "OS-SRV-USG:launched_at",
                    "OS-SRV-USG:terminated_at",
                    "config_drive",
                    "host_status",
                    "os-extended-volumes:volumes_attached",
                    "security_groups",
                ],
            ),
            Shown(&[Resource::ServerUpdate], &["OS-EXT-SRV-ATTR:user_data", "key_name"]),
            Reshaped(&[Resource::Flavor], &["swap"]),
            Reshaped(&[Resource::Hypervisor, Resource::HypervisorSummary], &["servers"]),
            Restricted(&[Input::ServersQuery], &["sort_key"]),
            Closed(&[
                Input::ServersQuery,
                Input::FlavorsQuery,
                Input::KeypairsQuery,
                Input::KeypairQuery,
                Input::ServerGroupsQuery,
                Input::LimitsQuery,
                Input::QuotaSetQuery,
                Input::ServicesQuery,
                Input::UsageQuery,
            ]),
        ],
    },
    Entry {
        minor: 76,
        what: "The bare metal service tells of power that was switched.",
        changes: &[Restricted(&[Input::ExternalEvent], &["name"])],
    },
    Entry {
        minor: 77,
        what: "An unshelved server may be sent to a zone.",
        changes: &[Restricted(&[Input::ServerAction], &["unshelve"])],
    },
    Entry { minor: 78, what: "A server's NUMA nodes are shown.", changes: &[Operations] },
    Entry {
        minor: 80,
        what: "Migrations tell who asked for them.",
        changes: &[
            Shown(&[Resource::Migration], &["user_id", "project_id"]),
            Accepted(&[Input::MigrationsQuery], &["user_id", "project_id"]),
        ],
    },
    Entry {
        minor: 81,
        what: "Images can be made ready on the hosts of an aggregate.",
        changes: &[Operations],
    },
    Entry {
        minor: 82,
        what: "The accelerator service tells of accelerators that are bound.",
        changes: &[Restricted(&[Input::ExternalEvent], &["name"])],
    },
    Entry { minor: 83, what: "Everybody may filter servers by more of their fields.", changes: &[Behaviour] },
    Entry {
        minor: 84,
        what: "The events of a server's action tell what went wrong.",
        changes: &[Shown(&[Resource::ActionEvent], &["details"])],
    },
    Entry { minor: 86, what: "Known extra specs of flavors are validated.", changes: &[Behaviour] },
    Entry {
        minor: 88,
        what: "Hypervisors lose what the placement of servers counts, and tell how long they have been up.",
        changes: &[
            Hidden(
                &[Resource::Hypervisor],
                &[
                    "cpu_info",
                    "current_workload",
                    "disk_available_least",
                    "free_disk_gb",
                    "free_ram_mb",
                    "local_gb",
                    "local_gb_used",
                    "memory_mb",
                    "memory_mb_used",
                    "running_vms",
                    "vcpus",
                    "vcpus_used",
                ],
            ),
            Shown(&[Resource::Hypervisor], &["uptime"]),
            Operations,
        ],
    },
    Entry {
        minor: 90,
        what: "A server's host name can be chosen and is shown to everybody.",
        changes: &[
            Accepted(&[Input::ServerCreate, Input::ServerUpdate, Input::ServerRebuild], &["hostname"]),
            Reshaped(SERVER, &["OS-EXT-SRV-ATTR:hostname"]),
        ],
    },
    Entry {
        minor: 91,
        what: "An unshelved server may be sent to a host, and freed of its zone.",
        changes: &[Restricted(&[Input::ServerAction], &["unshelve"])],
    },
    Entry {
        minor: 92,
        what: "Keypairs are only imported, and their names may hold @ and a dot.",
        changes: &[
            Required(&[Input::KeypairCreate], &["public_key"]),
            Restricted(&[Input::KeypairCreate], &["name"]),
        ],
    },
    Entry {
        minor: 93,
        what: "The volume service tells of volumes with a new image.",
        changes: &[Restricted(&[Input::ExternalEvent], &["name"])],
    },
    Entry {
        minor: 94,
        what: "A server's host name may be fully qualified.",
        changes: &[Restricted(
            &[Input::ServerCreate, Input::ServerUpdate, Input::ServerRebuild],
            &["hostname"],
        )],
    },
    Entry {
        minor: 96,
        what: "Servers tell the zone that they are pinned to.",
        changes: &[Shown(SERVER, &["pinned_availability_zone"])],
    },
    Entry { minor: 97, what: "Servers tell of the shares that they have mounted.", changes: &[Operations] },
    Entry {
        minor: 98,
        what: "A server's image carries its properties.",
        changes: &[Shown(SERVER, &["properties"])],
    },
    Entry {
        minor: 99,
        what: "Consoles of the SPICE protocol may be asked for as a host and a port.",
        changes: &[Restricted(&[Input::RemoteConsole], &["type"]), Closed(&[Input::ConsoleTokenQuery])],
    },
    Entry {
        minor: 100,
        what: "Servers tell the hints that they were made with.",
        changes: &[Shown(SERVER, &["scheduler_hints"])],
    },
    Entry {
        minor: 102,
        what: "Flavors lose two fields that meant nothing and can be found by name; no query is lenient.",
        changes: &[
            Hidden(&[Resource::Flavor], &["OS-FLV-DISABLED:disabled", "rxtx_factor"]),
            Refused(&[Input::FlavorCreate], &["rxtx_factor"]),
            Accepted(&[Input::FlavorsQuery], &["name"]),
            Restricted(&[Input::FlavorsQuery], &["sort_key"]),
            Closed(&[Input::OtherQuery]),
        ],
    },
    Entry {
        minor: 104,
        what: "A server can be pinned to its zone and freed.",
        changes: &[Accepted(&[Input::ServerUpdate], &["pinned_availability_zone"])],
    },
];

/// The form of an answer at a version.
pub fn shape(resource: Resource, minor: u16) -> &'static Shape {
    static SHAPES: OnceLock<Vec<Vec<Shape>>> = OnceLock::new();
    let all = SHAPES.get_or_init(|| {
        Resource::ALL
            .iter()
            .map(|resource| (0..=NEWEST).map(|minor| Shape::compile(LEDGER, resource, minor)).collect())
            .collect()
    });
    &all[resource as usize][usize::from(minor.min(NEWEST))]
}

/// The request changes of one input, each with its version.
fn touching(input: Input) -> impl Iterator<Item = (u16, &'static Change<Resource, Input>)> {
    LEDGER.iter().flat_map(move |entry| {
        entry.changes.iter().filter_map(move |change| match change {
            Accepted(inputs, _)
            | Refused(inputs, _)
            | Required(inputs, _)
            | Restricted(inputs, _)
            | Closed(inputs)
                if inputs.contains(&input) =>
            {
                Some((entry.minor, change))
            }
            _ => None,
        })
    })
}

/// Whether a request may carry the key at a version.
pub fn accepts(input: Input, key: &str, minor: u16) -> bool {
    let switches = touching(input).filter_map(|(at, change)| match change {
        Accepted(_, keys) if keys.contains(&key) => Some((at, true)),
        Refused(_, keys) if keys.contains(&key) => Some((at, false)),
        _ => None,
    });
    holds(switches, minor)
}

/// The keys that became mandatory by a version.
pub fn required(input: Input, minor: u16) -> impl Iterator<Item = &'static str> {
    touching(input)
        .filter_map(move |(at, change)| match change {
            Required(_, keys) if at <= minor => Some(*keys),
            _ => None,
        })
        .flat_map(|keys| keys.iter().copied())
}

/// Which form of the key's value counts at a version: 0 for the oldest.
pub fn form(input: Input, key: &str, minor: u16) -> usize {
    touching(input)
        .filter(|(at, change)| *at <= minor && matches!(change, Restricted(_, keys) if keys.contains(&key)))
        .count()
}

/// Whether unknown keys of a query are refused at a version.
pub fn closed(input: Input, minor: u16) -> bool {
    touching(input).any(|(at, change)| at <= minor && matches!(change, Closed(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_in_order_and_within_the_range() {
        assert!(LEDGER.windows(2).all(|pair| pair[0].minor < pair[1].minor));
        assert!(LEDGER.iter().all(|entry| (2..=NEWEST).contains(&entry.minor)));
        assert!(LEDGER.iter().all(|entry| entry.what.ends_with('.') && !entry.changes.is_empty()));
    }

    #[test]
    fn resources_are_listed_in_their_order() {
        for (index, resource) in Resource::ALL.iter().enumerate() {
            assert_eq!(*resource as usize, index);
        }
    }

    #[test]
    fn windows_of_a_network_tag() {
        let at = |minor| accepts(Input::ServerNetwork, "tag", minor);
        assert_eq!([31, 32, 36, 37, 41, 42, 104].map(at), [false, true, true, false, false, true, true]);
        let device = |minor| accepts(Input::ServerBlockDevice, "tag", minor);
        assert_eq!([31, 32, 33, 41, 42].map(device), [false, true, false, false, true]);
    }

    #[test]
    fn every_response_change_changes_a_shape() {
        for entry in LEDGER {
            for change in entry.changes {
                if let Shown(resources, _) | Hidden(resources, _) | Reshaped(resources, _) = change {
                    for resource in *resources {
                        assert_ne!(
                            shape(*resource, entry.minor),
                            shape(*resource, entry.minor - 1),
                            "2.{} says it changes {resource:?}",
                            entry.minor
                        );
                    }
                }
            }
        }
    }
}
