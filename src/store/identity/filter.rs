//! A `SELECT` whose conditions depend on what was asked for. Values are always bound, never written into the text.

use super::Result;
use crate::core::identity::query::Page;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};
use std::fmt::Write;

pub(super) struct Filter {
    sql: String,
    values: Vec<Value>,
}

impl Filter {
    /// `select` ends with a complete `WHERE` clause, `WHERE 1` at the least.
    pub(super) fn new(select: &str) -> Self {
        Self { sql: select.to_owned(), values: Vec::new() }
    }

    /// Adds a condition with one `?` in it.
    pub(super) fn condition(mut self, sql: &str, value: impl Into<Value>) -> Self {
        self.sql.push_str(" AND ");
        self.sql.push_str(sql);
        self.values.push(value.into());
        self
    }

    /// `column = value`, when there is a value.
    pub(super) fn equal(self, column: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.condition(&format!("{column} = ?"), value.to_owned()),
            None => self,
        }
    }

    pub(super) fn flag(self, column: &str, value: Option<bool>) -> Self {
        match value {
            Some(value) => self.condition(&format!("{column} = ?"), i64::from(value)),
            None => self,
        }
    }

    /// Orders by the id, and starts and ends where the page does.
    pub(super) fn page(mut self, id: &str, page: &Page) -> Self {
        if let Some(marker) = &page.marker {
            self = self.condition(&format!("{id} > ?"), marker.clone());
        }
        // Writing into a String cannot fail.
        let _ = write!(self.sql, " ORDER BY {id}");
        if let Some(limit) = page.limit {
            self.sql.push_str(" LIMIT ?");
            self.values.push(Value::Integer(i64::from(limit)));
        }
        self
    }

    pub(super) fn rows<T>(
        self,
        connection: &Connection,
        map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = connection.prepare_cached(&self.sql)?;
        let rows = statement.query_map(params_from_iter(self.values), map)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
