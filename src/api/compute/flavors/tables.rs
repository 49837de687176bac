//! What requests about flavors may look like.

use crate::api::compute::changes::Input;
use crate::api::compute::schema::query::{LIMIT, MARKER, Parameters, parameter};
use crate::api::compute::schema::types::{
    BOOLEAN, METADATA_KEY, NAME, NON_NEGATIVE_COLUMN, PADDED_NAME, POSITIVE_COLUMN, PROJECT_ID, REGEX, STRING,
};
use crate::api::compute::schema::{Literal, Object, Rule, Schema, Type, property, property_with_legacy};

const FLAVOR_ID: Schema = Schema(&[
    Rule::Types(&[Type::Text, Type::Number, Type::Null]),
    Rule::MinLength(0),
    Rule::MaxLength(255),
    Rule::PatternLike(
        "^(?! )[a-zA-Z0-9. _-]*(?<! )$",
        "^([a-zA-Z0-9._-]([a-zA-Z0-9. _-]*[a-zA-Z0-9._-])?)?$",
    ),
]);

const RXTX_FACTOR: Schema = Schema(&[
    Rule::Types(&[Type::Number, Type::Text]),
    Rule::Pattern(r"^[0-9]+(\.[0-9]+)?$"),
    Rule::MoreThan(0),
    Rule::AtMost(LARGEST_FACTOR),
]);

/// What a column of single precision holds.
const LARGEST_FACTOR: f64 = 3.402_82e38;

const DESCRIPTION: Schema =
    Schema(&[Rule::Types(&[Type::Text, Type::Null]), Rule::MinLength(0), Rule::MaxLength(65535)]);

pub static CREATE: Schema = Schema(&[
    Rule::Types(&[Type::Object]),
    Rule::Object(&Object {
        input: None,
        properties: &[property(
            "flavor",
            &[&Schema(&[
                Rule::Types(&[Type::Object]),
                Rule::Object(&Object {
                    input: Some(Input::FlavorCreate),
                    properties: &[
                        property_with_legacy("name", &[&NAME], &PADDED_NAME),
                        property("id", &[&FLAVOR_ID]),
                        property("ram", &[&POSITIVE_COLUMN]),
                        property("vcpus", &[&POSITIVE_COLUMN]),
                        property("disk", &[&NON_NEGATIVE_COLUMN]),
                        property("OS-FLV-EXT-DATA:ephemeral", &[&NON_NEGATIVE_COLUMN]),
                        property("swap", &[&NON_NEGATIVE_COLUMN]),
                        property("rxtx_factor", &[&RXTX_FACTOR]),
                        property("os-flavor-access:is_public", &[&BOOLEAN]),
                        property("description", &[&DESCRIPTION]),
                    ],
                    required: &["name", "ram", "vcpus", "disk"],
                    open: false,
                }),
            ])],
        )],
        required: &["flavor"],
        open: false,
    }),
]);

pub static UPDATE: Schema = Schema(&[
    Rule::Types(&[Type::Object]),
    Rule::Object(&Object {
        input: None,
        properties: &[property(
            "flavor",
            &[&Schema(&[
                Rule::Types(&[Type::Object]),
                Rule::Object(&Object {
                    input: None,
                    properties: &[property("description", &[&DESCRIPTION])],
                    required: &["description"],
                    open: false,
                }),
            ])],
        )],
        required: &["flavor"],
        open: false,
    }),
]);

const TENANT: Schema = Schema(&[
    Rule::Types(&[Type::Object]),
    Rule::Object(&Object {
        input: None,
        properties: &[property("tenant", &[&PROJECT_ID])],
        required: &["tenant"],
        open: false,
    }),
]);

pub static ADD_ACCESS: Schema = Schema(&[
    Rule::Types(&[Type::Object]),
    Rule::Object(&Object {
        input: None,
        properties: &[property("addTenantAccess", &[&TENANT])],
        required: &["addTenantAccess"],
        open: false,
    }),
]);

pub static REMOVE_ACCESS: Schema = Schema(&[
    Rule::Types(&[Type::Object]),
    Rule::Object(&Object {
        input: None,
        properties: &[property("removeTenantAccess", &[&TENANT])],
        required: &["removeTenantAccess"],
        open: false,
    }),
]);

const SPEC_VALUE: Schema = Schema(&[Rule::Types(&[Type::Text, Type::Number]), Rule::MaxLength(255)]);

pub static CREATE_SPECS: Schema = Schema(&[
    Rule::Types(&[Type::Object]),
    Rule::Object(&Object {
        input: None,
        properties: &[property(
            "extra_specs",
            &[&Schema(&[Rule::Types(&[Type::Object]), Rule::Entries(METADATA_KEY, &SPEC_VALUE)])],
        )],
        required: &["extra_specs"],
        open: false,
    }),
]);

pub static UPDATE_SPEC: Schema = Schema(&[
    Rule::Types(&[Type::Object]),
    Rule::Entries(METADATA_KEY, &SPEC_VALUE),
    Rule::MinProperties(1),
    Rule::MaxProperties(1),
]);

macro_rules! sort_keys {
    ($($name:literal),*; $last:literal) => {
        (
            Schema(&[Rule::Types(&[Type::Text]), Rule::OneOfLiterals(&[$(Literal::Text($name),)* Literal::Text($last)])]),
            Schema(&[Rule::Types(&[Type::Text]), Rule::OneOfLiterals(&[$(Literal::Text($name)),*])]),
        )
    };
}

const SORT_KEYS: (Schema, Schema) = sort_keys!(
    "created_at", "description", "disabled", "ephemeral_gb", "flavorid", "id", "is_public", "memory_mb", "name",
    "root_gb", "swap", "updated_at", "vcpu_weight", "vcpus"; "rxtx_factor"
);
const SORT_DIRECTION: Schema = Schema(&[
    Rule::Types(&[Type::Text]),
    Rule::OneOfLiterals(&[Literal::Text("asc"), Literal::Text("desc")]),
]);

pub static LIST: Parameters = Parameters {
    input: Input::FlavorsQuery,
    known: &[
        LIMIT,
        MARKER,
        parameter("is_public", &[&STRING]),
        parameter("minRam", &[&STRING]),
        parameter("minDisk", &[&STRING]),
        parameter("sort_key", &[&SORT_KEYS.0, &SORT_KEYS.1]),
        parameter("sort_dir", &[&SORT_DIRECTION]),
        parameter("name", &[&REGEX]),
    ],
    kept_prefix: None,
};
