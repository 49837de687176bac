//! What requests about servers may look like.

use crate::api::compute::changes::Input;
use crate::api::compute::schema::Rule::{
    AnyOf, Format as Is, Items, MaxLength, MinLength, Object as Keys, OneOfLiterals, Pattern, Types,
};
use crate::api::compute::schema::types::{
    ACCESS_IPV4, ACCESS_IPV6, ANYTHING, BASE64, BOOLEAN, DESCRIPTION, DISK_CONFIG, FLAVOR_REF, FQDN,
    HOST_NAME, IMAGE_REFERENCE, IP_ADDRESS, METADATA, METADATA_KEY, METADATA_VALUE, NAME, NAME_OR_NULL,
    PADDED_NAME, POSITIVE, STRING, TAG, TAGS, TRUSTED_CERTIFICATES, USER_DATA, USER_DATA_OR_NULL, UUID,
    UUID_OR_EMPTY, UUID_OR_NULL, VOLUME_SIZE,
};
use crate::api::compute::schema::{
    Format, Literal, Object, Property, Rule, Schema, Type, property, property_with_legacy,
};

/// An object without unknown keys that is the same at every version.
macro_rules! object {
    ([$($property:expr),* $(,)?], required: $required:expr) => {
        Schema(&[
            Types(&[Type::Object]),
            Keys(&Object { input: None, properties: &[$($property),*], required: $required, open: false }),
        ])
    };
}

const NETWORK: Schema = Schema(&[
    Types(&[Type::Object]),
    Keys(&Object {
        input: Some(Input::ServerNetwork),
        properties: &[
            property("fixed_ip", &[&IP_ADDRESS]),
            property("port", &[&UUID_OR_NULL]),
            property("uuid", &[&STRING, &UUID]),
            property("tag", &[&TAG]),
        ],
        required: &[],
        open: false,
    }),
]);
const NETWORKS: Schema = Schema(&[Types(&[Type::List]), Items(&NETWORK)]);
const NETWORKS_OR_WORD: Schema = Schema(&[AnyOf(&[
    Schema(&[Types(&[Type::List]), Items(&NETWORK)]),
    Schema(&[Types(&[Type::Text]), OneOfLiterals(&[Literal::Text("none"), Literal::Text("auto")])]),
])]);

const PERSONALITY: Schema = Schema(&[
    Types(&[Type::List]),
    Items(&object!([property("path", &[&STRING]), property("contents", &[&BASE64])], required: &[])),
]);

const SECURITY_GROUPS: Schema = Schema(&[
    Types(&[Type::List]),
    Items(&object!([property_with_legacy("name", &[&NAME], &PADDED_NAME)], required: &[])),
]);

const SHORT_TEXT: Schema = Schema(&[Types(&[Type::Text]), MaxLength(255)]);
const DEVICE_NAME: Schema =
    Schema(&[Types(&[Type::Text]), MinLength(1), MaxLength(255), Pattern("^[a-zA-Z0-9._-r/]*$")]);

macro_rules! device_properties {
    ($($more:expr),*) => {
        &[
            property("virtual_name", &[&SHORT_TEXT]),
            property("volume_id", &[&UUID]),
            property("snapshot_id", &[&UUID]),
            property("volume_size", &[&VOLUME_SIZE]),
            property("device_name", &[&DEVICE_NAME]),
            property("delete_on_termination", &[&BOOLEAN]),
            property("no_device", &[&ANYTHING]),
            property("connection_info", &[&Schema(&[Types(&[Type::Text]), MaxLength(16_777_215)])]),
            $($more),*
        ]
    };
}

const LEGACY_DEVICE: Schema = Schema(&[
    Types(&[Type::Object]),
    Keys(&Object { input: None, properties: device_properties!(), required: &[], open: false }),
]);
const DEVICE: Schema = Schema(&[
    Types(&[Type::Object]),
    Keys(&Object {
        input: Some(Input::ServerBlockDevice),
        properties: device_properties!(
            property(
                "source_type",
                &[&Schema(&[
                    Types(&[Type::Text]),
                    OneOfLiterals(&[
                        Literal::Text("volume"),
                        Literal::Text("image"),
                        Literal::Text("snapshot"),
                        Literal::Text("blank"),
                    ]),
                ])]
            ),
            property(
                "uuid",
                &[&Schema(&[
                    Types(&[Type::Text]),
                    MinLength(1),
                    MaxLength(255),
                    Pattern("^[a-zA-Z0-9._-]*$"),
                ])]
            ),
            property("image_id", &[&UUID]),
            property(
                "destination_type",
                &[&Schema(&[
                    Types(&[Type::Text]),
                    OneOfLiterals(&[Literal::Text("local"), Literal::Text("volume")]),
                ])]
            ),
            property("guest_format", &[&SHORT_TEXT]),
            property("device_type", &[&SHORT_TEXT]),
            property("disk_bus", &[&SHORT_TEXT]),
            property(
                "boot_index",
                &[&Schema(&[Types(&[Type::Integer, Type::Text, Type::Null]), Pattern("^-?[0-9]+$"),])]
            ),
            property("tag", &[&TAG]),
            property(
                "volume_type",
                &[&Schema(&[Types(&[Type::Text, Type::Null]), MinLength(0), MaxLength(255),])]
            )
        ),
        required: &[],
        open: false,
    }),
]);

const UUIDS: Schema = Schema(&[Types(&[Type::List]), Items(&UUID)]);
const HINTS: Schema = Schema(&[
    Types(&[Type::Object]),
    Keys(&Object {
        input: None,
        properties: &[
            property("group", &[&UUID]),
            property(
                "different_host",
                &[&Schema(&[AnyOf(&[Schema(&[Types(&[Type::Text]), Is(Format::Uuid)]), UUIDS])])],
            ),
            property(
                "same_host",
                &[&Schema(&[AnyOf(&[Schema(&[Types(&[Type::Text]), Is(Format::Uuid)]), UUIDS])])],
            ),
            property("query", &[&Schema(&[Types(&[Type::Text, Type::Object])])]),
            property("target_cell", &[&NAME]),
            property("different_cell", &[&Schema(&[Types(&[Type::Text, Type::List]), Items(&STRING)])]),
            property("build_near_host_ip", &[&IP_ADDRESS]),
            property("cidr", &[&Schema(&[Types(&[Type::Text]), Pattern("^/[0-9a-f.:]+$")])]),
        ],
        required: &[],
        open: true,
    }),
]);

const SERVER: Schema = Schema(&[
    Types(&[Type::Object]),
    Keys(&Object {
        input: Some(Input::ServerCreate),
        properties: &[
            property_with_legacy("name", &[&NAME], &PADDED_NAME),
            property_with_legacy("imageRef", &[&UUID_OR_EMPTY], &IMAGE_REFERENCE),
            property("flavorRef", &[&FLAVOR_REF]),
            property("adminPass", &[&STRING]),
            property("metadata", &[&METADATA]),
            property("networks", &[&NETWORKS, &NETWORKS_OR_WORD]),
            property("OS-DCF:diskConfig", &[&DISK_CONFIG]),
            property("accessIPv4", &[&ACCESS_IPV4]),
            property("accessIPv6", &[&ACCESS_IPV6]),
            property("personality", &[&PERSONALITY]),
            property_with_legacy("availability_zone", &[&NAME], &PADDED_NAME),
            property("block_device_mapping", &[&Schema(&[Types(&[Type::List]), Items(&LEGACY_DEVICE)])]),
            property("block_device_mapping_v2", &[&Schema(&[Types(&[Type::List]), Items(&DEVICE)])]),
            property("config_drive", &[&BOOLEAN]),
            property_with_legacy("key_name", &[&NAME], &PADDED_NAME),
            property("min_count", &[&POSITIVE]),
            property("max_count", &[&POSITIVE]),
            property("return_reservation_id", &[&BOOLEAN]),
            property("security_groups", &[&SECURITY_GROUPS]),
            property_with_legacy("user_data", &[&USER_DATA], &USER_DATA_OR_NULL),
            property("description", &[&DESCRIPTION]),
            property("tags", &[&TAGS]),
            property("trusted_image_certificates", &[&TRUSTED_CERTIFICATES]),
            property("host", &[&FQDN]),
            property("hypervisor_hostname", &[&FQDN]),
            property("hostname", &[&HOST_NAME, &FQDN]),
        ],
        required: &["name", "flavorRef"],
        open: false,
    }),
]);

pub static CREATE: Schema = object!(
    [
        property("server", &[&SERVER]),
        property("os:scheduler_hints", &[&HINTS]),
        property("OS-SCH-HNT:scheduler_hints", &[&HINTS]),
    ],
    required: &["server"]
);

pub static UPDATE: Schema = object!(
    [property("server", &[&Schema(&[
        Types(&[Type::Object]),
        Keys(&Object {
            input: Some(Input::ServerUpdate),
            properties: &[
                property_with_legacy("name", &[&NAME], &PADDED_NAME),
                property("OS-DCF:diskConfig", &[&DISK_CONFIG]),
                property("accessIPv4", &[&ACCESS_IPV4]),
                property("accessIPv6", &[&ACCESS_IPV6]),
                property("description", &[&DESCRIPTION]),
                property("hostname", &[&HOST_NAME, &FQDN]),
                property("pinned_availability_zone", &[&NAME_OR_NULL]),
            ],
            required: &[],
            open: false,
        }),
    ])])],
    required: &["server"]
);

pub static REBUILD: Schema = object!(
    [property("rebuild", &[&Schema(&[
        Types(&[Type::Object]),
        Keys(&Object {
            input: Some(Input::ServerRebuild),
            properties: &[
                property_with_legacy("name", &[&NAME], &PADDED_NAME),
                property_with_legacy("imageRef", &[&UUID], &IMAGE_REFERENCE),
                property("adminPass", &[&STRING]),
                property("metadata", &[&METADATA]),
                property("preserve_ephemeral", &[&BOOLEAN]),
                property("OS-DCF:diskConfig", &[&DISK_CONFIG]),
                property("accessIPv4", &[&ACCESS_IPV4]),
                property("accessIPv6", &[&ACCESS_IPV6]),
                property("personality", &[&PERSONALITY]),
                property("description", &[&DESCRIPTION]),
                property("key_name", &[&NAME_OR_NULL]),
                property("user_data", &[&USER_DATA_OR_NULL]),
                property("trusted_image_certificates", &[&TRUSTED_CERTIFICATES]),
                property("hostname", &[&HOST_NAME, &FQDN]),
            ],
            required: &["imageRef"],
            open: false,
        }),
    ])])],
    required: &["rebuild"]
);

pub static RESCUE: Schema = object!(
    [property("rescue", &[&Schema(&[
        Types(&[Type::Object, Type::Null]),
        Keys(&Object {
            input: None,
            properties: &[property("adminPass", &[&STRING]), property("rescue_image_ref", &[&UUID])],
            required: &[],
            open: false,
        }),
    ])])],
    required: &["rescue"]
);

pub static CHANGE_PASSWORD: Schema = object!(
    [property("changePassword", &[&object!(
        [property("adminPass", &[&STRING])],
        required: &["adminPass"]
    )])],
    required: &["changePassword"]
);

/// `metadata` for a merge and for a replacement.
pub static METADATA_BODY: Schema = object!([property("metadata", &[&METADATA])], required: &["metadata"]);

/// `meta` with one pair.
pub static META_BODY: Schema = object!(
    [property("meta", &[&Schema(&[
        Types(&[Type::Object]),
        Rule::Entries(METADATA_KEY, &METADATA_VALUE),
        Rule::MinProperties(1),
        Rule::MaxProperties(1),
    ])])],
    required: &["meta"]
);

pub static TAGS_BODY: Schema = object!([property("tags", &[&TAGS])], required: &["tags"]);

/// A body that says nothing.
pub static NO_BODY: Schema = Schema(&[Types(&[Type::Null])]);

const REBOOT_TYPE: Property = Property {
    name: "type",
    forms: &[&Schema(&[
        Types(&[Type::Text]),
        OneOfLiterals(&[
            Literal::Text("HARD"),
            Literal::Text("Hard"),
            Literal::Text("hard"),
            Literal::Text("SOFT"),
            Literal::Text("Soft"),
            Literal::Text("soft"),
        ]),
    ])],
    legacy: None,
};

pub static REBOOT: Schema = object!(
    [property("reboot", &[&object!([REBOOT_TYPE], required: &["type"])])],
    required: &["reboot"]
);

pub static CONSOLE_OUTPUT: Schema = object!(
    [property("os-getConsoleOutput", &[&object!(
        [property("length", &[&Schema(&[
            Types(&[Type::Integer, Type::Text, Type::Null]),
            Pattern("^-?[0-9]+$"),
            Rule::Minimum(-1),
        ])])],
        required: &[]
    )])],
    required: &["os-getConsoleOutput"]
);

/// One of some words.
macro_rules! one_of {
    ($($word:literal),*) => {
        Schema(&[Types(&[Type::Text]), OneOfLiterals(&[$(Literal::Text($word)),*])])
    };
}

/// The body of an action that asks for a console of some types.
macro_rules! console_action {
    ($action:literal, $($kind:literal),*) => {
        object!(
            [property($action, &[&object!([property("type", &[&one_of!($($kind),*)])], required: &["type"])])],
            required: &[$action]
        )
    };
}

pub static VNC_CONSOLE: Schema = console_action!("os-getVNCConsole", "novnc", "xvpvnc");
pub static SPICE_CONSOLE: Schema = console_action!("os-getSPICEConsole", "spice-html5");
pub static SERIAL_CONSOLE: Schema = console_action!("os-getSerialConsole", "serial");
pub static RDP_CONSOLE: Schema = console_action!("os-getRDPConsole", "rdp-html5");

const REMOTE_CONSOLE_OBJECT: Schema = Schema(&[
    Types(&[Type::Object]),
    Keys(&Object {
        input: Some(Input::RemoteConsole),
        properties: &[
            property(
                "protocol",
                &[
                    &one_of!("vnc", "spice", "serial", "rdp"),
                    &one_of!("vnc", "spice", "serial", "rdp", "mks"),
                ],
            ),
            property(
                "type",
                &[
                    &one_of!("novnc", "xvpvnc", "spice-html5", "serial", "rdp-html5"),
                    &one_of!("novnc", "xvpvnc", "spice-html5", "serial", "rdp-html5", "webmks"),
                    &one_of!(
                        "novnc",
                        "xvpvnc",
                        "spice-html5",
                        "serial",
                        "rdp-html5",
                        "webmks",
                        "spice-direct"
                    ),
                ],
            ),
        ],
        required: &["protocol", "type"],
        open: false,
    }),
]);
pub static REMOTE_CONSOLE: Schema =
    object!([property("remote_console", &[&REMOTE_CONSOLE_OBJECT])], required: &["remote_console"]);

/// An action whose value is not looked at.
pub static ANY_ACTION: Schema = Schema(&[Types(&[Type::Object])]);

pub static TRIGGER_CRASH_DUMP: Schema = object!(
    [property("trigger_crash_dump", &[&Schema(&[Types(&[Type::Null])])])],
    required: &["trigger_crash_dump"]
);

pub static LOCK: Schema = Schema(&[
    Types(&[Type::Object]),
    Keys(&Object {
        input: Some(Input::ServerAction),
        properties: &[property("lock", &[&ANYTHING, &LOCK_REASON])],
        required: &["lock"],
        open: false,
    }),
]);
const LOCK_REASON: Schema = Schema(&[
    Types(&[Type::Object, Type::Null]),
    Keys(&Object {
        input: None,
        properties: &[property(
            "locked_reason",
            &[&Schema(&[Types(&[Type::Text]), MinLength(1), MaxLength(255)])],
        )],
        required: &["locked_reason"],
        open: false,
    }),
]);

pub static RESET_STATE: Schema = object!(
    [property("os-resetState", &[&object!(
        [property("state", &[&Schema(&[
            Types(&[Type::Text]),
            OneOfLiterals(&[Literal::Text("active"), Literal::Text("error")]),
        ])])],
        required: &["state"]
    )])],
    required: &["os-resetState"]
);
