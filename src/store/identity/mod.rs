//! The identity tables: who there is, who may act where, tokens, and the catalog. One file per kind of row.
//!
//! The functions run inside a closure given to [`Store::read`](super::Store::read) or
//! [`Store::write`](super::Store::write). They check nothing that the schema does not check: rules are the services'.

pub mod application_credentials;
pub mod catalog;
pub mod credentials;
mod filter;
pub mod grants;
pub mod groups;
pub mod projects;
pub mod roles;
pub mod tokens;
pub mod users;

use super::StoreError;
use crate::core::identity::Extra;
use rusqlite::Row;

type Result<T> = std::result::Result<T, StoreError>;

/// The column of attributes without a meaning.
fn extra(row: &Row<'_>) -> rusqlite::Result<Extra> {
    super::rows::json(row, "extra")
}
