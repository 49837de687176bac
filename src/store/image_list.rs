//! Lists of images: filters, order and pages as SQL.

use super::StoreError;
use super::images::{COLUMNS, from_row};
use crate::core::image::Image;
use crate::core::image::query::{
    Comparison, Condition, Direction, ImageQuery, NumberField, Scope, SortKey, TextField, Viewer,
};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::cmp::Ordering;

/// The images that `viewer` sees and that satisfy the query, in its order.
pub fn list(connection: &Connection, viewer: &Viewer, query: &ImageQuery) -> Result<Vec<Image>, StoreError> {
    let mut clauses = Clauses::default();
    clauses.push("deleted_at IS NULL AND status <> 'killed'", []);
    clauses.push("hidden = ?", [Value::from(query.hidden)]);
    clauses.visible(viewer, query);
    clauses.scope(viewer, query.scope);
    for condition in &query.conditions {
        clauses.condition(condition);
    }
    let order = order(query);
    if let Some(last) = &query.after {
        clauses.after(&order, last);
    }
    let order_by: Vec<String> =
        order.iter().map(|(key, direction)| format!("{} {}", column(*key), sql(*direction))).collect();
    let text = format!(
        "SELECT {COLUMNS} FROM image WHERE {} ORDER BY {} LIMIT ?",
        clauses.texts.join(" AND "),
        order_by.join(", "),
    );
    let mut values = clauses.values;
    values.push(Value::from(i64::try_from(query.limit).unwrap_or(i64::MAX)));
    let mut statement = connection.prepare_cached(&text)?;
    let images = statement.query_map(params_from_iter(values), from_row)?;
    Ok(images.collect::<Result<_, _>>()?)
}

/// The conditions of a WHERE, and the values for their question marks.
#[derive(Default)]
struct Clauses {
    texts: Vec<String>,
    values: Vec<Value>,
}

impl Clauses {
    fn push(&mut self, text: impl Into<String>, values: impl IntoIterator<Item = Value>) {
        self.texts.push(text.into());
        self.values.extend(values);
    }

    fn visible(&mut self, viewer: &Viewer, query: &ImageQuery) {
        if viewer.admin {
            return;
        }
        let Some(project) = &viewer.project else {
            return self.push("visibility IN ('public', 'community')", []);
        };
        let mut member = "SELECT 1 FROM image_member WHERE image_id = image.id AND project_id = ?".to_owned();
        let project = Value::from(project.to_string());
        let mut values = vec![project.clone(), project];
        if let Some(status) = query.member_status {
            member.push_str(" AND image_member.status = ?");
            values.push(Value::from(status.as_str().to_owned()));
        }
        self.push(
            format!(
                "(visibility IN ('public', 'community') OR owner = ? OR (visibility = 'shared' AND EXISTS ({member})))"
            ),
            values,
        );
    }

    fn scope(&mut self, viewer: &Viewer, scope: Scope) {
        match (scope, &viewer.project) {
            (Scope::Everything, _) => {}
            (Scope::Only(visibility), _) => {
                self.push("visibility = ?", [Value::from(visibility.as_str().to_owned())]);
            }
            (Scope::Usual, None) => self.push("visibility <> 'community'", []),
            (Scope::Usual, Some(project)) => {
                self.push("(visibility <> 'community' OR owner = ?)", [Value::from(project.to_string())]);
            }
        }
    }

    fn condition(&mut self, condition: &Condition) {
        match condition {
            Condition::OneOf(field, texts) => {
                let marks = vec!["?"; texts.len()].join(", ");
                self.push(
                    format!("{} IN ({marks})", text_column(*field)),
                    texts.iter().cloned().map(Value::from),
                );
            }
            Condition::Number(field, comparison, number) => {
                self.push(
                    format!("{} {} ?", number_column(*field), operator(*comparison)),
                    [Value::from(*number)],
                );
            }
            Condition::Protected(protected) => self.push("protected = ?", [Value::from(*protected)]),
            Condition::Property(name, value) => self.push(
                "EXISTS (SELECT 1 FROM json_each(properties) WHERE key = ? AND json_each.value = ?)",
                [Value::from(name.clone()), Value::from(value.clone())],
            ),
            Condition::Tag(tag) => self.push(
                "EXISTS (SELECT 1 FROM json_each(tags) WHERE json_each.value = ?)",
                [Value::from(tag.clone())],
            ),
            Condition::Never => self.push("0", []),
        }
    }

    /// What comes after `last` in this order: greater in the first key, or equal there and greater in the next, ...
    fn after(&mut self, order: &[(SortKey, Direction)], last: &Image) {
        let mut alternatives = Vec::new();
        let mut values = Vec::new();
        for (index, (key, direction)) in order.iter().enumerate() {
            let mut parts = Vec::new();
            for (equal, _) in &order[..index] {
                parts.push(format!("{} = ?", column(*equal)));
                values.push(value(*equal, last));
            }
            let sign = match direction {
                Direction::Ascending => ">",
                Direction::Descending => "<",
            };
            parts.push(format!("{} {sign} ?", column(*key)));
            values.push(value(*key, last));
            alternatives.push(format!("({})", parts.join(" AND ")));
        }
        self.push(format!("({})", alternatives.join(" OR ")), values);
    }
}

/// The keys asked for, and then those that make the order total.
fn order(query: &ImageQuery) -> Vec<(SortKey, Direction)> {
    let mut order = query.sort.clone();
    for key in [SortKey::CreatedAt, SortKey::Id] {
        if !order.iter().any(|(present, _)| *present == key) {
            order.push((key, query.tie_direction));
        }
    }
    order
}

/// What a key sorts by. What is missing sorts as if it were the smallest value, so that pages can go on after it.
fn column(key: SortKey) -> &'static str {
    match key {
        SortKey::Name => "ifnull(name, '')",
        SortKey::Status => "status",
        SortKey::ContainerFormat => "ifnull(container_format, '')",
        SortKey::DiskFormat => "ifnull(disk_format, '')",
        SortKey::Size => "ifnull(size_bytes, 0)",
        SortKey::Id => "id",
        SortKey::CreatedAt => "created_at",
        SortKey::UpdatedAt => "updated_at",
    }
}

/// The value of [`column`] for one image.
fn value(key: SortKey, image: &Image) -> Value {
    match key {
        SortKey::Name => image.name.clone().unwrap_or_default().into(),
        SortKey::Status => image.status.as_str().to_owned().into(),
        SortKey::ContainerFormat => image.container_format.map_or("", |f| f.as_str()).to_owned().into(),
        SortKey::DiskFormat => image.disk_format.map_or("", |f| f.as_str()).to_owned().into(),
        SortKey::Size => image.size.map_or(0, u64::cast_signed).into(),
        SortKey::Id => image.id.to_string().into(),
        SortKey::CreatedAt => image.created_at.as_microsecond().into(),
        SortKey::UpdatedAt => image.updated_at.as_microsecond().into(),
    }
}

fn sql(direction: Direction) -> &'static str {
    match direction {
        Direction::Ascending => "ASC",
        Direction::Descending => "DESC",
    }
}

fn text_column(field: TextField) -> &'static str {
    match field {
        TextField::Id => "id",
        TextField::Name => "name",
        TextField::Status => "status",
        TextField::ContainerFormat => "container_format",
        TextField::DiskFormat => "disk_format",
        TextField::Owner => "owner",
        TextField::Md5 => "md5",
        TextField::Sha512 => "sha512",
    }
}

fn number_column(field: NumberField) -> &'static str {
    match field {
        NumberField::Size => "size_bytes",
        NumberField::VirtualSize => "virtual_bytes",
        NumberField::MinDisk => "min_disk_gib",
        NumberField::MinRam => "min_ram_mib",
        // The API's times have whole seconds.
        NumberField::CreatedAt => "created_at / 1000000",
        NumberField::UpdatedAt => "updated_at / 1000000",
    }
}

fn operator(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Is(Ordering::Less) => "<",
        Comparison::Is(Ordering::Equal) => "=",
        Comparison::Is(Ordering::Greater) => ">",
        Comparison::IsNot(Ordering::Less) => ">=",
        Comparison::IsNot(Ordering::Equal) => "<>",
        Comparison::IsNot(Ordering::Greater) => "<=",
    }
}
