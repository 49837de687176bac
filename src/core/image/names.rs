//! The names of attributes: which there are, and which of them clients may use.

use super::RESERVED_PREFIX;
use crate::core::{Error, Result};

/// Set by the service alone; a request to create an image must not even mention them.
pub const SERVICE_OWN: [&str; 5] = ["direct_url", "self", "file", "schema", "stores"];
/// Set by the service alone.
const READ_ONLY: [&str; 13] = [
    "id",
    "created_at",
    "updated_at",
    "status",
    "checksum",
    "size",
    "virtual_size",
    "os_hash_algo",
    "os_hash_value",
    "direct_url",
    "self",
    "file",
    "schema",
];
/// Names that mean something to the service and are no properties.
const RESERVED: [&str; 4] = ["location", "locations", "deleted", "deleted_at"];
/// What every image has and a client may set.
const SETTABLE: [&str; 10] = [
    "name",
    "visibility",
    "owner",
    "disk_format",
    "container_format",
    "min_disk",
    "min_ram",
    "protected",
    "os_hidden",
    "tags",
];
/// Longest name of a property, in characters.
const LIMIT: usize = 255;

/// Whether a client may name `key` at all.
///
/// # Errors
/// Forbidden for read-only and reserved names, Invalid for names that are too long.
pub fn check(key: &str) -> Result<()> {
    if READ_ONLY.contains(&key) {
        return Err(read_only(key));
    }
    if RESERVED.contains(&key) || key.starts_with(RESERVED_PREFIX) {
        return Err(Error::forbidden(format!("Attribute '{key}' is reserved.")));
    }
    if key.chars().count() > LIMIT {
        return Err(Error::invalid("Custom property should not be greater than 255 characters."));
    }
    Ok(())
}

/// Whether `key` names something that every image has and a client may set.
pub fn is_settable(key: &str) -> bool {
    SETTABLE.contains(&key)
}

/// The refusal for an attribute that only the service sets.
pub fn read_only(key: &str) -> Error {
    Error::forbidden(format!("Attribute '{key}' is read-only."))
}
