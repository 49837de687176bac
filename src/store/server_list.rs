//! Lists of servers: filters, order and page as one statement each, whatever the number of servers.
//!
//! The text of a statement depends on which filters there are, never on their values or their number: lists of values
//! go in as one JSON array. So statements stay prepared.

use super::rows::to_json;
use super::server_actions::fault_row;
use super::server_rows::{self, COLUMNS};
use super::{Connection, StoreError};
use crate::core::ids::ServerId;
use crate::core::server::query::{Column, Deleted, Direction, Filter, Scope, ServerQuery, SortKey};
use crate::core::server::{Fault, Server, ServerListItem};
use rusqlite::types::Value;
use rusqlite::{OptionalExtension, params_from_iter};
use std::collections::HashMap;

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    #[error("marker [{0}] not found")]
    UnknownMarker(ServerId),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for ListError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// The servers of a page, each with its id and name alone.
pub fn items(c: &Connection, query: &ServerQuery) -> Result<Vec<ServerListItem>, ListError> {
    let (sql, values) = statement(c, "server.id, server.name", query)?;
    let mut statement = c.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(values), |row| {
        Ok(ServerListItem { id: row.get(0)?, name: row.get(1)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The servers of a page.
pub fn servers(c: &Connection, query: &ServerQuery) -> Result<Vec<Server>, ListError> {
    let (sql, values) = statement(c, COLUMNS, query)?;
    let mut statement = c.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(values), server_rows::from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The last faults of these servers, in one query.
pub fn faults(c: &Connection, ids: &[ServerId]) -> Result<HashMap<ServerId, Fault>, StoreError> {
    let mut statement = c.prepare_cached(
        "SELECT server_id, code, message, details, created_at \
         FROM json_each(?1) wanted CROSS JOIN server_fault ON server_id = wanted.value",
    )?;
    let rows = statement.query_map([to_json(&ids)?], |row| Ok((row.get(0)?, fault_row(row, 1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A statement in the making.
#[derive(Default)]
struct Builder {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Builder {
    /// Binds a value and gives its place.
    fn bind(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }

    fn bind_list<T: serde::Serialize>(&mut self, list: &[T]) -> Result<String, StoreError> {
        Ok(self.bind(to_json(&list)?))
    }

    fn filter(&mut self, filter: &Filter) -> Result<(), StoreError> {
        let condition = match filter {
            Filter::Column(column, values) if column.is_exact() => {
                let place = self.bind_list(values)?;
                format!("{} IN (SELECT value FROM json_each({place}))", text(*column))
            }
            Filter::Column(column, values) => {
                let place = self.bind_list(values)?;
                let text = text(*column);
                format!("EXISTS (SELECT 1 FROM json_each({place}) WHERE {text} REGEXP value)")
            }
            Filter::States { vm, tasks } => {
                let mut condition =
                    format!("server.vm_state IN (SELECT value FROM json_each({}))", self.bind_list(vm)?);
                if !tasks.is_empty() {
                    let place = self.bind_list(tasks)?;
                    condition += &format!(" AND server.task_state IN (SELECT value FROM json_each({place}))");
                }
                condition
            }
            Filter::Ip(pattern) => self.address(pattern, "NOT LIKE"),
            Filter::Ip6(pattern) => self.address(pattern, "LIKE"),
            Filter::Locked(locked) => {
                format!("server.locked_by IS {} NULL", if *locked { "NOT" } else { "" })
            }
            Filter::ConfigDrive(wanted) => format!("server.config_drive = {}", i32::from(*wanted)),
            Filter::Tags(tags) => {
                format!("NOT EXISTS ({})", self.missing_tags(tags)?)
            }
            Filter::NotTags(tags) => format!("EXISTS ({})", self.missing_tags(tags)?),
            Filter::TagsAny(tags) => format!("EXISTS ({})", self.shared_tags(tags)?),
            Filter::NotTagsAny(tags) => format!("NOT EXISTS ({})", self.shared_tags(tags)?),
            Filter::ChangesSince(at) => format!("server.updated_at >= {}", self.bind(at.as_microsecond())),
            Filter::ChangesBefore(at) => format!("server.updated_at <= {}", self.bind(at.as_microsecond())),
        };
        self.conditions.push(condition);
        Ok(())
    }

    fn address(&mut self, pattern: &str, like: &str) -> String {
        let place = self.bind(pattern.to_owned());
        format!(
            "EXISTS (SELECT 1 FROM port JOIN port_address a ON a.port_id = port.id \
             WHERE port.device_id = server.id AND a.ip_address {like} '%:%' AND a.ip_address REGEXP {place})"
        )
    }

    fn missing_tags(&mut self, tags: &[String]) -> Result<String, StoreError> {
        let place = self.bind_list(tags)?;
        Ok(format!("SELECT value FROM json_each({place}) EXCEPT SELECT value FROM json_each(server.tags)"))
    }

    fn shared_tags(&mut self, tags: &[String]) -> Result<String, StoreError> {
        let place = self.bind_list(tags)?;
        Ok(format!("SELECT value FROM json_each({place}) INTERSECT SELECT value FROM json_each(server.tags)"))
    }

    /// Only what comes after the marker in this order.
    fn after(&mut self, order: &[(&'static str, Direction)], marker: Vec<Value>) {
        let places: Vec<String> = marker.into_iter().map(|value| self.bind(value)).collect();
        let mut alternatives = Vec::new();
        for (index, (expression, direction)) in order.iter().enumerate() {
            let equal = order[..index].iter().zip(&places).map(|((e, _), place)| format!("{e} = {place}"));
            let beyond = match direction {
                Direction::Ascending => ">",
                Direction::Descending => "<",
            };
            let last = format!("{expression} {beyond} {}", places[index]);
            alternatives.push(equal.chain([last]).collect::<Vec<_>>().join(" AND "));
        }
        // The first key alone bounds the scan of an index.
        let (first, direction) = order[0];
        let bound = match direction {
            Direction::Ascending => ">=",
            Direction::Descending => "<=",
        };
        self.conditions.push(format!("{first} {bound} {}", places[0]));
        self.conditions.push(format!("({})", alternatives.join(" OR ")));
    }
}

fn statement(c: &Connection, columns: &str, query: &ServerQuery) -> Result<(String, Vec<Value>), ListError> {
    let mut builder = Builder::default();
    match query.deleted {
        Deleted::Hide => {
            builder.conditions.push("server.deleted_at IS NULL AND server.vm_state <> 'soft-delete'".into());
        }
        Deleted::HideFinal => builder.conditions.push("server.deleted_at IS NULL".into()),
        Deleted::Only => {
            builder
                .conditions
                .push("(server.deleted_at IS NOT NULL OR server.vm_state = 'soft-delete')".into());
        }
        Deleted::Show => {}
    }
    if let Scope::Project(project) = &query.scope {
        let place = builder.bind(project.0.clone());
        builder.conditions.push(format!("server.project_id = {place}"));
    }
    for filter in &query.filters {
        builder.filter(filter)?;
    }
    let order = order(&query.sort);
    if let Some(marker) = query.marker {
        let values = marker_values(c, query, marker, &order)?;
        builder.after(&order, values);
    }
    let limit = builder.bind(i64::try_from(query.limit).unwrap_or(i64::MAX));
    let conditions =
        if builder.conditions.is_empty() { "1".into() } else { builder.conditions.join(" AND ") };
    let order: Vec<String> = order
        .iter()
        .map(|(expression, direction)| match direction {
            Direction::Ascending => format!("{expression} ASC"),
            Direction::Descending => format!("{expression} DESC"),
        })
        .collect();
    let sql = format!(
        "SELECT {columns} FROM server WHERE {conditions} ORDER BY {} LIMIT {limit}",
        order.join(", ")
    );
    Ok((sql, builder.values))
}

/// The marker's values of the keys of the order, if it is a server that the caller may see.
fn marker_values(
    c: &Connection,
    query: &ServerQuery,
    marker: ServerId,
    order: &[(&'static str, Direction)],
) -> Result<Vec<Value>, ListError> {
    let expressions: Vec<&str> = order.iter().map(|(expression, _)| *expression).collect();
    let project = match &query.scope {
        Scope::Project(project) => Some(project.as_str()),
        Scope::AllProjects => None,
    };
    let sql = format!(
        "SELECT {} FROM server WHERE id = ?1 AND project_id = ifnull(?2, project_id)",
        expressions.join(", ")
    );
    c.prepare_cached(&sql)?
        .query_row(rusqlite::params![marker, project], |row| {
            (0..expressions.len()).map(|index| row.get(index)).collect()
        })
        .optional()?
        .ok_or(ListError::UnknownMarker(marker))
}

/// The order asked for, made total: by creation and then by number, in the direction of the first key.
fn order(sort: &[(SortKey, Direction)]) -> Vec<(&'static str, Direction)> {
    let mut order: Vec<(&'static str, Direction)> =
        sort.iter().map(|(key, direction)| (sort_expression(*key), *direction)).collect();
    let direction = order.first().map_or(Direction::Descending, |(_, direction)| *direction);
    for last in ["server.created_at", "server.number"] {
        if !order.iter().any(|(expression, _)| *expression == last) {
            order.push((last, direction));
        }
    }
    order
}

/// Never NULL, so that a page can begin after any value.
fn sort_expression(key: SortKey) -> &'static str {
    match key {
        SortKey::AccessIpV4 => "ifnull(server.access_ip_v4, '')",
        SortKey::AccessIpV6 => "ifnull(server.access_ip_v6, '')",
        SortKey::AutoDiskConfig => "server.disk_config",
        SortKey::AvailabilityZone => "ifnull(server.pinned_zone, '')",
        SortKey::ConfigDrive => "server.config_drive",
        SortKey::CreatedAt => "server.created_at",
        SortKey::Description => "ifnull(server.description, '')",
        SortKey::Name => "server.name",
        SortKey::Host | SortKey::Node => "ifnull(server.host, '')",
        SortKey::Hostname => "server.hostname",
        SortKey::ImageRef => "ifnull(server.image_id, '')",
        SortKey::Flavor => "server.flavor_id",
        SortKey::KernelId => "server.kernel_id",
        SortKey::KeyName => "ifnull(server.key_name, '')",
        SortKey::LaunchIndex => "server.launch_index",
        SortKey::LaunchedAt => "ifnull(server.launched_at, -1)",
        SortKey::Locked => "(server.locked_by IS NOT NULL)",
        SortKey::LockedBy => "ifnull(server.locked_by, '')",
        SortKey::PowerState => "server.power_state",
        SortKey::Progress => "server.progress",
        SortKey::ProjectId => "server.project_id",
        SortKey::RamdiskId => "server.ramdisk_id",
        SortKey::RootDeviceName => "ifnull(server.root_device_name, '')",
        SortKey::TaskState => "ifnull(server.task_state, '')",
        SortKey::TerminatedAt => "ifnull(server.terminated_at, -1)",
        SortKey::UpdatedAt => "server.updated_at",
        SortKey::UserId => "server.user_id",
        SortKey::Uuid => "server.id",
        SortKey::VmState => "server.vm_state",
    }
}

/// The column of a filter, as text.
fn text(column: Column) -> &'static str {
    match column {
        Column::Uuid => "server.id",
        Column::Name => "server.name",
        Column::Description => "server.description",
        Column::Hostname => "server.hostname",
        Column::ProjectId => "server.project_id",
        Column::UserId => "server.user_id",
        Column::Image => "server.image_id",
        Column::Flavor => "server.flavor_id",
        Column::VmState => "server.vm_state",
        Column::TaskState => "server.task_state",
        Column::PowerState => "CAST(server.power_state AS TEXT)",
        Column::Progress => "CAST(server.progress AS TEXT)",
        Column::Host | Column::Node => "server.host",
        Column::ReservationId => "server.reservation_id",
        Column::KeyName => "server.key_name",
        Column::AvailabilityZone => {
            "ifnull(server.pinned_zone, iif(server.host IS NULL, NULL, ifnull( \
                (SELECT json_extract(a.metadata, '$.availability_zone') FROM aggregate a, json_each(a.hosts) h \
                 WHERE h.value = server.host AND json_extract(a.metadata, '$.availability_zone') IS NOT NULL LIMIT 1), \
                'nova')))"
        }
        Column::CreatedAt => "strftime('%Y-%m-%d %H:%M:%S', server.created_at / 1000000, 'unixepoch')",
        Column::LaunchedAt => "strftime('%Y-%m-%d %H:%M:%S', server.launched_at / 1000000, 'unixepoch')",
        Column::TerminatedAt => "strftime('%Y-%m-%d %H:%M:%S', server.terminated_at / 1000000, 'unixepoch')",
        Column::LaunchIndex => "CAST(server.launch_index AS TEXT)",
        Column::KernelId => "server.kernel_id",
        Column::RamdiskId => "server.ramdisk_id",
        Column::RootDeviceName => "server.root_device_name",
        Column::AccessIpV4 => "server.access_ip_v4",
        Column::AccessIpV6 => "server.access_ip_v6",
        Column::LockedBy => "server.locked_by",
        Column::UserData => "server.user_data",
    }
}
