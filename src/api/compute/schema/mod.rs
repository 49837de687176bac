//! What requests may look like: static tables, checked before anything else reads a body or a query.
//!
//! A table describes the newest request and all that older ones could hold; the ledger in `changes` decides which keys
//! count at a version. The words of a refusal are those that clients know from Nova, which speaks with the voice of
//! Python's jsonschema. No table knows a handler, no handler reads a body that was not checked.

mod check;
mod format;
pub mod iso8601;
pub mod python;
pub mod query;
pub mod types;
pub mod wire;

pub use check::{Context, body, single_key};
pub use format::Format;

use super::changes::Input;

/// A JSON type as jsonschema names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Text,
    Integer,
    Number,
    Boolean,
    Null,
    List,
    Object,
}

/// A value that an enumeration allows.
#[derive(Debug, Clone, Copy)]
pub enum Literal {
    Text(&'static str),
    Flag(bool),
}

/// One condition. They are tried in order; the first that fails answers.
pub enum Rule {
    Types(&'static [Type]),
    MinLength(usize),
    MaxLength(usize),
    /// A Python pattern that Rust's engine reads alike, searched for (not anchored unless it says so).
    Pattern(&'static str),
    /// As [`Rule::Pattern`], for a pattern that Rust's engine lacks: the first is shown, the second is searched for.
    PatternLike(&'static str, &'static str),
    Format(Format),
    /// Numbers and decimal strings alike.
    Minimum(i64),
    Maximum(i64),
    /// A maximum that is no whole number.
    AtMost(f64),
    /// An exclusive minimum.
    MoreThan(i64),
    OneOfLiterals(&'static [Literal]),
    Items(&'static Schema),
    MinItems(usize),
    MaxItems(usize),
    Unique,
    Object(&'static Object),
    /// Keys by pattern, one schema for every value, other keys refused.
    Entries(&'static str, &'static Schema),
    MinProperties(usize),
    MaxProperties(usize),
    AnyOf(&'static [Schema]),
}

/// What a value has to be.
pub struct Schema(pub &'static [Rule]);

/// The keys of an object.
pub struct Object {
    /// The name under which the ledger knows this object; `None` for one that is the same at all versions.
    pub input: Option<Input>,
    pub properties: &'static [Property],
    pub required: &'static [&'static str],
    /// Whether keys beyond the properties are allowed.
    pub open: bool,
}

/// One key: what its value has to be, oldest form first where the ledger changed it.
pub struct Property {
    pub name: &'static str,
    pub forms: &'static [&'static Schema],
    /// What the legacy mount `/v2` accepts instead.
    pub legacy: Option<&'static Schema>,
}

/// A key with one form.
pub const fn property(name: &'static str, forms: &'static [&'static Schema]) -> Property {
    Property { name, forms, legacy: None }
}

/// A key with a milder form at the legacy mount.
pub const fn property_with_legacy(
    name: &'static str,
    forms: &'static [&'static Schema],
    legacy: &'static Schema,
) -> Property {
    Property { name, forms, legacy: Some(legacy) }
}
