//! How domain values lie in columns: conversions shared by all aggregates.

use super::StoreError;
use crate::core::clock;
use crate::core::ids;
use jiff::Timestamp;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, RowIndex};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::str::FromStr;
use std::sync::Arc;

macro_rules! uuid_columns {
    ($($name:ident),*) => {$(
        impl ToSql for ids::$name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::from(self.to_string()))
            }
        }

        impl FromSql for ids::$name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                value.as_str()?.parse().map_err(|e| FromSqlError::Other(Box::new(e)))
            }
        }
    )*};
}

macro_rules! text_columns {
    ($($name:ident),*) => {$(
        impl ToSql for ids::$name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                self.0.to_sql()
            }
        }

        impl FromSql for ids::$name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                String::column_result(value).map(Self)
            }
        }
    )*};
}

uuid_columns!(
    ServerId,
    ServerGroupId,
    ImageId,
    ImportId,
    NetworkId,
    SubnetId,
    PortId,
    SecurityGroupId,
    SecurityGroupRuleId
);
text_columns!(ProjectId, UserId, DomainId, RoleId, GroupId, ApplicationCredentialId, RequestId);

/// A time column.
pub fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<Timestamp> {
    row.get(column).map(clock::from_micros)
}

/// A time column that may be NULL.
pub fn maybe_time(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(clock::from_micros))
}

/// A text column in the form that the type's `FromStr` reads.
pub fn parsed<T>(row: &Row<'_>, column: impl RowIndex) -> rusqlite::Result<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    row.get_ref(column)?.as_str()?.parse().map_err(|e| FromSqlError::Other(Box::new(e)).into())
}

/// A text column as [`parsed`] reads it, or NULL.
pub fn maybe_parsed<T>(row: &Row<'_>, column: impl RowIndex) -> rusqlite::Result<Option<T>>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    if row.get_ref(column)? == ValueRef::Null { Ok(None) } else { parsed(row, column).map(Some) }
}

/// A JSON column as a typed value.
pub fn json<T: DeserializeOwned>(row: &Row<'_>, column: impl RowIndex) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|e| FromSqlError::Other(Box::new(e)).into())
}

/// A typed value as the text of a JSON column.
pub fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Corrupt(e.to_string()))
}

/// Adds what SQL lacks: `REGEXP`, as Nova's name filters use it. A pattern that does not compile matches nothing.
pub(super) fn add_functions(connection: &Connection) -> rusqlite::Result<()> {
    connection.create_scalar_function(
        "regexp",
        2,
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC,
        |context| {
            let pattern: Arc<Option<regex::Regex>> = context
                .get_or_create_aux(0, |value| -> Result<_, FromSqlError> {
                    Ok(regex::Regex::new(value.as_str()?).ok())
                })?;
            let text = context.get_raw(1);
            Ok(match (pattern.as_ref(), text) {
                (Some(regex), ValueRef::Text(text)) => regex.is_match(&String::from_utf8_lossy(text)),
                _ => false,
            })
        },
    )
}
