//! The kinds of values that requests share: names, ids, counts, flags.

use super::Format;
use super::Literal::{Flag, Text};
use super::Rule::{
    AnyOf, Entries, Format as Is, Items, MaxItems, MaxLength, Maximum, MinItems, MinLength, Minimum,
    OneOfLiterals, Pattern, Types, Unique,
};
use super::Schema;
use super::Type;

/// The largest number that a 32-bit column holds.
const MAX_INTEGER: i64 = 0x7FFF_FFFF;

pub const ANYTHING: Schema = Schema(&[]);
pub const STRING: Schema = Schema(&[Types(&[Type::Text])]);
pub const NULL: Schema = Schema(&[Types(&[Type::Null])]);
pub const NAME: Schema = Schema(&[Types(&[Type::Text]), MinLength(1), MaxLength(255), Is(Format::Name)]);
pub const PADDED_NAME: Schema =
    Schema(&[Types(&[Type::Text]), MinLength(1), MaxLength(255), Is(Format::PaddedName)]);
pub const NAME_OR_NULL: Schema = Schema(&[AnyOf(&[
    Schema(&[Types(&[Type::Null])]),
    Schema(&[Types(&[Type::Text]), MinLength(1), MaxLength(255), Is(Format::Name)]),
])]);
pub const DESCRIPTION: Schema =
    Schema(&[Types(&[Type::Text, Type::Null]), MinLength(0), MaxLength(255), Pattern(DESCRIPTION_PATTERN)]);

/// Everything but control characters, line breaks included.
const DESCRIPTION_PATTERN: &str = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$";

pub const UUID: Schema = Schema(&[Types(&[Type::Text]), Is(Format::Uuid)]);
pub const UUID_OR_EMPTY: Schema = Schema(&[Types(&[Type::Text]), Is(Format::UuidOrEmpty)]);
/// At `/v2` an image may be named by its URL.
pub const IMAGE_REFERENCE: Schema = Schema(&[Types(&[Type::Text]), Is(Format::ImageReference)]);
pub const UUID_OR_NULL: Schema =
    Schema(&[AnyOf(&[Schema(&[Types(&[Type::Text]), Is(Format::Uuid)]), Schema(&[Types(&[Type::Null])])])]);
pub const BOOLEAN: Schema = Schema(&[
    Types(&[Type::Boolean, Type::Text]),
    OneOfLiterals(&[
        Flag(true),
        Text("True"),
        Text("TRUE"),
        Text("true"),
        Text("1"),
        Text("ON"),
        Text("On"),
        Text("on"),
        Text("YES"),
        Text("Yes"),
        Text("yes"),
        Flag(false),
        Text("False"),
        Text("FALSE"),
        Text("false"),
        Text("0"),
        Text("OFF"),
        Text("Off"),
        Text("off"),
        Text("NO"),
        Text("No"),
        Text("no"),
    ]),
]);
pub const POSITIVE: Schema =
    Schema(&[Types(&[Type::Integer, Type::Text]), Pattern("^[0-9]*$"), Minimum(1), MinLength(1)]);
pub const NON_NEGATIVE: Schema =
    Schema(&[Types(&[Type::Integer, Type::Text]), Pattern("^[0-9]*$"), Minimum(0), MinLength(1)]);
pub const POSITIVE_COLUMN: Schema = Schema(&[
    Types(&[Type::Integer, Type::Text]),
    Pattern("^[0-9]*$"),
    Minimum(1),
    MinLength(1),
    Maximum(MAX_INTEGER),
]);
pub const NON_NEGATIVE_COLUMN: Schema = Schema(&[
    Types(&[Type::Integer, Type::Text]),
    Pattern("^[0-9]*$"),
    Minimum(0),
    MinLength(1),
    Maximum(MAX_INTEGER),
]);
pub const VOLUME_SIZE: Schema = Schema(&[
    Types(&[Type::Integer, Type::Text]),
    Pattern("^[0-9]+$"),
    Minimum(1),
    MinLength(1),
    Maximum(MAX_INTEGER),
]);
pub const FLAVOR_REF: Schema = Schema(&[Types(&[Type::Text, Type::Integer]), MinLength(1)]);
pub const PROJECT_ID: Schema =
    Schema(&[Types(&[Type::Text]), MinLength(1), MaxLength(255), Pattern("^[a-zA-Z0-9-]*$")]);
pub const DISK_CONFIG: Schema =
    Schema(&[Types(&[Type::Text]), OneOfLiterals(&[Text("AUTO"), Text("MANUAL")])]);
pub const ACCESS_IPV4: Schema = Schema(&[Types(&[Type::Text]), Is(Format::Ipv4)]);
pub const ACCESS_IPV6: Schema = Schema(&[Types(&[Type::Text]), Is(Format::Ipv6)]);
pub const IP_ADDRESS: Schema =
    Schema(&[Types(&[Type::Text]), AnyOf(&[Schema(&[Is(Format::Ipv4)]), Schema(&[Is(Format::Ipv6)])])]);
pub const BASE64: Schema = Schema(&[Types(&[Type::Text]), Is(Format::Base64)]);
pub const USER_DATA: Schema = Schema(&[Types(&[Type::Text]), Is(Format::Base64), MaxLength(65535)]);
pub const USER_DATA_OR_NULL: Schema = Schema(&[AnyOf(&[
    Schema(&[Types(&[Type::Text]), Is(Format::Base64), MaxLength(65535)]),
    Schema(&[Types(&[Type::Null])]),
])]);
pub const TAG: Schema = Schema(&[Types(&[Type::Text]), MinLength(1), MaxLength(60), Pattern("^[^,/]*$")]);
pub const TAGS: Schema = Schema(&[Types(&[Type::List]), Items(&TAG), MaxItems(50)]);
pub const HOST_NAME: Schema =
    Schema(&[Types(&[Type::Text]), MinLength(2), MaxLength(63), Pattern(HOST_PATTERN)]);
const HOST_PATTERN: &str = "^[a-zA-Z0-9]+[a-zA-Z0-9-]*[a-zA-Z0-9]+$";
pub const FQDN: Schema =
    Schema(&[Types(&[Type::Text]), MinLength(1), MaxLength(255), Pattern("^[a-zA-Z0-9-._]*$")]);
pub const TRUSTED_CERTIFICATES: Schema = Schema(&[
    Types(&[Type::List, Type::Null]),
    MinItems(1),
    MaxItems(50),
    Unique,
    Items(&Schema(&[Types(&[Type::Text]), MinLength(1)])),
]);
pub const METADATA: Schema = Schema(&[Types(&[Type::Object]), Entries(METADATA_KEY, &METADATA_VALUE)]);
pub const METADATA_VALUE: Schema = Schema(&[Types(&[Type::Text]), MaxLength(255)]);
pub const METADATA_KEY: &str = "^[a-zA-Z0-9-_:. ]{1,255}$";
pub const DATE_TIME: Schema = Schema(&[Types(&[Type::Text]), Is(Format::DateTime)]);
pub const REGEX: Schema = Schema(&[Types(&[Type::Text]), Is(Format::Regex)]);
pub const LIMIT: Schema =
    Schema(&[Types(&[Type::Integer, Type::Text]), Pattern("^[0-9]*$"), Minimum(0), MinLength(1)]);
