//! Lists with filters, order and pages, in SQL: one description of the columns a table.
//!
//! Every value is a bound parameter; only the fixed texts of the column tables become SQL.

use super::StoreError;
use super::rows::to_json;
use crate::core::listing::Listing;
use crate::core::network::invalid_input;
use crate::core::{Error, Result};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};
use std::fmt::Write;

/// How the text of a filter becomes a value of a column.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    Text,
    Bool,
    Int,
    /// Comma-separated texts.
    Words,
}

/// One attribute that can be filtered or sorted by.
pub(super) struct Column {
    pub name: &'static str,
    /// The condition, with `{json}` for the table whose column `value` has the wanted values. The listed table is `t`.
    pub filter: &'static str,
    pub form: Form,
    /// What to order by; `None` cannot be sorted by.
    pub sort: Option<&'static str>,
}

/// A column of the table itself that can be filtered and sorted by: `column!("name", Text)`.
macro_rules! column {
    ($name:literal, $form:ident) => {
        column!($name, $name, $form)
    };
    ($name:literal, $column:literal, $form:ident) => {
        $crate::store::listing::Column {
            name: $name,
            filter: concat!("t.", $column, " IN (SELECT value FROM {json})"),
            form: $crate::store::listing::Form::$form,
            sort: Some(concat!("t.", $column)),
        }
    };
}
pub(super) use column;

/// The four filters by tags, for a table with a JSON column `tags`.
pub(super) const TAG_FILTERS: [Column; 4] = [
    tags(
        "tags",
        "NOT EXISTS (SELECT 1 FROM {json} w WHERE w.value NOT IN (SELECT value FROM json_each(t.tags)))",
    ),
    tags(
        "tags-any",
        "EXISTS (SELECT 1 FROM {json} w WHERE w.value IN (SELECT value FROM json_each(t.tags)))",
    ),
    tags(
        "not-tags",
        "EXISTS (SELECT 1 FROM {json} w WHERE w.value NOT IN (SELECT value FROM json_each(t.tags)))",
    ),
    tags(
        "not-tags-any",
        "NOT EXISTS (SELECT 1 FROM {json} w WHERE w.value IN (SELECT value FROM json_each(t.tags)))",
    ),
];

const fn tags(name: &'static str, filter: &'static str) -> Column {
    Column { name, filter, form: Form::Words, sort: None }
}

/// What can be listed.
pub(super) struct Source {
    /// `SELECT ... FROM table t`, without conditions.
    pub select: &'static str,
    pub table: &'static str,
    pub columns: &'static [Column],
    pub tagged: bool,
    /// What a project may see, with `?1` for its id.
    pub visible: &'static str,
    /// The error for a marker that is not there.
    pub unknown: fn(&str) -> Error,
}

impl Source {
    fn column(&self, name: &str) -> Option<&Column> {
        let tags = if self.tagged { TAG_FILTERS.as_slice() } else { &[] };
        self.columns.iter().chain(tags).find(|column| column.name == name)
    }

    /// The rows of one page. Filters by attributes that the table does not have are passed over, as the original does.
    pub fn list<T>(
        &self,
        connection: &Connection,
        listing: &Listing,
        map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let mut query = Query { sql: String::new(), values: Vec::new() };
        let viewer = listing.viewer.as_ref().map(|project| Value::from(project.to_string()));
        query.values.push(viewer.unwrap_or(Value::Null));
        let visible = if listing.viewer.is_some() { self.visible } else { "?1 IS NULL" };
        query.push(format_args!("{} WHERE ({visible})", self.select));
        for (name, values) in &listing.filters {
            if let Some(column) = self.column(name) {
                let json = query.bind(wanted(column, values)?.into());
                query.push(format_args!(
                    " AND ({})",
                    column.filter.replace("{json}", &format!("json_each(?{json})"))
                ));
            }
        }
        let order = self.order(listing)?;
        if let Some(marker) = &listing.marker {
            self.after_marker(connection, &mut query, &order, marker)?;
        }
        query.push(format_args!(" ORDER BY "));
        for (expression, descending) in &order {
            query.push(format_args!("{expression} {}, ", if *descending { "DESC" } else { "ASC" }));
        }
        query.sql.truncate(query.sql.len() - 2);
        if let Some(limit) = listing.limit {
            let limit = query.bind(Value::from(i64::from(limit)));
            query.push(format_args!(" LIMIT ?{limit}"));
        }
        let mut statement = connection.prepare_cached(&query.sql)?;
        let rows = statement.query_map(params_from_iter(query.values), map)?;
        let mut entries = rows.collect::<rusqlite::Result<Vec<T>>>()?;
        if listing.reverse {
            entries.reverse();
        }
        Ok(entries)
    }

    /// The keys to order by, ending with the id, which makes every order total.
    fn order(&self, listing: &Listing) -> Result<Vec<(&'static str, bool)>> {
        let mut order = Vec::with_capacity(listing.sort.len() + 1);
        for key in &listing.sort {
            let expression = self.column(&key.attribute).and_then(|column| column.sort).ok_or_else(|| {
                Error::invalid(format!("{} is invalid attribute for sort_key", key.attribute))
                    .with_class("HTTPBadRequest")
            })?;
            order.push((expression, key.descending != listing.reverse));
        }
        order.push(("t.id", listing.reverse));
        Ok(order)
    }

    /// Keeps what comes after the marker: a later first key, or an equal first and a later second one, and so on.
    fn after_marker(
        &self,
        connection: &Connection,
        query: &mut Query,
        order: &[(&'static str, bool)],
        marker: &str,
    ) -> Result<()> {
        let exists = format!("SELECT 1 FROM {} t WHERE t.id = ?1", self.table);
        if !connection.prepare_cached(&exists)?.exists([marker])? {
            return Err((self.unknown)(marker));
        }
        let marker = query.bind(Value::from(marker.to_owned()));
        let mut alternatives = Vec::with_capacity(order.len());
        let mut equal = String::new();
        for (expression, descending) in order {
            let own = format!("ifnull({expression}, '')");
            let of_marker = format!("(SELECT {own} FROM {} t WHERE t.id = ?{marker})", self.table);
            let comparison = if *descending { '<' } else { '>' };
            alternatives.push(format!("({equal}{own} {comparison} {of_marker})"));
            equal = format!("{equal}{own} = {of_marker} AND ");
        }
        query.push(format_args!(" AND ({})", alternatives.join(" OR ")));
        Ok(())
    }
}

struct Query {
    sql: String,
    values: Vec<Value>,
}

impl Query {
    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.sql.write_fmt(text);
    }

    /// Adds a parameter and gives its number.
    fn bind(&mut self, value: Value) -> usize {
        self.values.push(value);
        self.values.len()
    }
}

/// The wanted values as a JSON array of the column's kind.
fn wanted(column: &Column, values: &[String]) -> Result<String> {
    let text = match column.form {
        Form::Text => to_json(&values),
        Form::Words => to_json(&values.iter().flat_map(|value| value.split(',')).collect::<Vec<_>>()),
        Form::Int => {
            let numbers = values.iter().map(|value| {
                value.parse::<i64>().map_err(|_| invalid_input(format!("'{value}' is not an integer")))
            });
            to_json(&numbers.collect::<Result<Vec<_>>>()?)
        }
        Form::Bool => {
            let flags = values.iter().map(|value| {
                truth(value)
                    .map(i64::from)
                    .ok_or_else(|| invalid_input(format!("'{value}' cannot be converted to boolean")))
            });
            to_json(&flags.collect::<Result<Vec<_>>>()?)
        }
    };
    text.map_err(<Error as From<StoreError>>::from)
}

fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}
