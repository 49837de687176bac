//! The query of a list of servers: which parameters there are, who may use which, and what they mean.

use crate::api::call::{Call, Query};
use crate::api::compute::changes::Input;
use crate::api::compute::request;
use crate::api::compute::schema::query::{LIMIT, MARKER, Parameter, Parameters, parameter};
use crate::api::compute::schema::types::{DATE_TIME, REGEX, STRING};
use crate::api::compute::schema::{Literal, Rule, Schema, Type, iso8601, wire};
use crate::core::actor::Actor;
use crate::core::ids::ServerId;
use crate::core::policy;
use crate::core::server::query::{Column, Deleted, Direction, Filter, Scope, ServerQuery, SortKey};
use crate::core::server::status::{self, Status};
use crate::core::{Error, Result};

/// Columns that could be sorted by once and were passed over later, until naming one became an error.
macro_rules! sort_keys {
    (valid: [$($valid:literal),* $(,)?], ignored: [$($ignored:literal),* $(,)?]) => {
        const SORT_KEY_OLD: Schema = Schema(&[Rule::Types(&[Type::Text]), Rule::OneOfLiterals(&[
            $(Literal::Text($valid),)* Literal::Text("locked"), $(Literal::Text($ignored)),*
        ])]);
        const SORT_KEY: Schema = Schema(&[Rule::Types(&[Type::Text]), Rule::OneOfLiterals(&[
            Literal::Text("locked"), $(Literal::Text($valid)),*
        ])]);
    };
}

sort_keys! {
    valid: [
        "access_ip_v4", "access_ip_v6", "auto_disk_config", "availability_zone", "config_drive", "created_at",
        "display_description", "display_name", "host", "hostname", "image_ref", "instance_type_id", "kernel_id",
        "key_name", "launch_index", "launched_at", "locked_by", "node", "power_state", "progress", "project_id",
        "ramdisk_id", "root_device_name", "task_state", "terminated_at", "updated_at", "user_id", "uuid", "vm_state",
    ],
    ignored: [
        "architecture", "cell_name", "cleaned", "default_ephemeral_device", "default_swap_device", "deleted",
        "deleted_at", "disable_terminate", "ephemeral_gb", "ephemeral_key_uuid", "id", "key_data", "launched_on",
        "memory_mb", "os_type", "reservation_id", "root_gb", "shutdown_terminate", "user_data", "vcpus", "vm_mode",
    ]
}

const fn exact(name: &'static str) -> Parameter {
    parameter(name, &[&STRING])
}

const fn pattern(name: &'static str) -> Parameter {
    parameter(name, &[&REGEX])
}

/// Names that would reach into other tables: known, so that they can be refused.
const JOINED: [&str; 7] = [
    "block_device_mapping",
    "services",
    "metadata",
    "system_metadata",
    "info_cache",
    "security_groups",
    "pci_devices",
];

pub static LIST: Parameters = Parameters {
    input: Input::ServersQuery,
    known: &[
        exact("user_id"),
        exact("project_id"),
        exact("tenant_id"),
        exact("launch_index"),
        exact("image_ref"),
        exact("image"),
        pattern("kernel_id"),
        pattern("ramdisk_id"),
        pattern("hostname"),
        pattern("key_name"),
        pattern("power_state"),
        exact("vm_state"),
        exact("task_state"),
        exact("host"),
        pattern("node"),
        pattern("flavor"),
        pattern("reservation_id"),
        pattern("launched_at"),
        pattern("terminated_at"),
        pattern("availability_zone"),
        pattern("name"),
        pattern("display_name"),
        pattern("description"),
        pattern("display_description"),
        pattern("locked_by"),
        exact("uuid"),
        pattern("root_device_name"),
        pattern("config_drive"),
        pattern("access_ip_v4"),
        pattern("access_ip_v6"),
        pattern("auto_disk_config"),
        pattern("progress"),
        parameter("sort_key", &[&SORT_KEY_OLD, &SORT_KEY_OLD, &SORT_KEY]),
        exact("sort_dir"),
        exact("all_tenants"),
        exact("soft_deleted"),
        exact("deleted"),
        exact("status"),
        parameter("changes-since", &[&DATE_TIME]),
        parameter("changes-before", &[&DATE_TIME]),
        pattern("ip"),
        pattern("ip6"),
        pattern("created_at"),
        pattern("tags"),
        pattern("tags-any"),
        pattern("not-tags"),
        pattern("not-tags-any"),
        exact("locked"),
        exact(JOINED[0]),
        exact(JOINED[1]),
        exact(JOINED[2]),
        exact(JOINED[3]),
        exact(JOINED[4]),
        exact(JOINED[5]),
        exact(JOINED[6]),
        LIMIT,
        MARKER,
    ],
    kept_prefix: Some("_"),
};

/// Whether somebody who is no administrator may filter by the parameter; others of his are passed over in silence.
fn open_to_all(name: &str, minor: u16) -> bool {
    match name {
        "reservation_id" | "name" | "status" | "image" | "flavor" | "ip" | "changes-since"
        | "all_tenants" => true,
        "ip6" => minor >= 5,
        "tags" | "tags-any" | "not-tags" | "not-tags-any" => minor >= 26,
        "changes-before" => minor >= 66,
        "locked" => minor >= 73,
        "availability_zone" | "config_drive" | "key_name" | "created_at" | "launched_at"
        | "terminated_at" | "power_state" | "task_state" | "vm_state" | "progress" | "user_id" => minor >= 83,
        "hostname" => minor >= 90,
        _ => false,
    }
}

/// What a query asks for; `None` where it is known to find nothing.
pub fn read(call: &Call) -> Result<Option<ServerQuery>> {
    let actor = call.actor()?;
    let query = &call.query;
    refuse_joined(query)?;
    let minor = call.minor;
    let given = |name: &str| query.get(name).filter(|_| actor.is_admin() || open_to_all(name, minor));
    let Some(statuses) = statuses(query, minor)? else { return Ok(None) };
    if statuses.contains(&Status::Deleted) && !actor.is_admin() {
        return Err(Error::forbidden("Only administrators may list deleted instances"));
    }
    let scope = scope(actor, query, given("project_id").or_else(|| given("tenant_id")))?;
    let mut filters = Vec::new();
    if !statuses.is_empty() {
        filters.push(status::filter(&statuses));
    }
    let (since, before) = (time(given("changes-since"))?, time(given("changes-before"))?);
    if let (Some(since), Some(before)) = (since, before)
        && since > before
    {
        return Err(Error::invalid(
            "The value of changes-since must be less than or equal to changes-before.",
        ));
    }
    filters.extend(since.map(Filter::ChangesSince));
    filters.extend(before.map(Filter::ChangesBefore));
    filters.extend(given("ip").map(|text| Filter::Ip(text.to_owned())));
    filters.extend(given("ip6").map(|text| Filter::Ip6(text.to_owned())));
    for (name, make) in [
        ("tags", Filter::Tags as fn(Vec<String>) -> Filter),
        ("tags-any", Filter::TagsAny),
        ("not-tags", Filter::NotTags),
        ("not-tags-any", Filter::NotTagsAny),
    ] {
        filters.extend(given(name).map(|text| make(text.split(',').map(str::to_owned).collect())));
    }
    if let Some(word) = given("locked") {
        filters.push(Filter::Locked(truth(word, "locked")?));
    }
    if let Some(word) = given("config_drive") {
        filters.push(Filter::ConfigDrive(wire::truth(word).unwrap_or(!word.is_empty())));
    }
    columns(query, &mut filters, |name| given(name).is_some());
    let (limit, marker) = request::page(call)?;
    let marker = match marker {
        None => None,
        Some(text) => {
            Some(text.parse::<ServerId>().map_err(|_| Error::invalid(format!("marker [{text}] not found")))?)
        }
    };
    let deleted = deleted(actor, query, &statuses, since.is_some() || before.is_some())?;
    Ok(Some(ServerQuery { scope, deleted, filters, sort: sort(actor, query, minor)?, limit, marker }))
}

/// Filters on single columns. The project is part of the scope.
fn columns(query: &Query, filters: &mut Vec<Filter>, allowed: impl Fn(&str) -> bool) {
    let mut seen: Vec<Column> = Vec::new();
    for (name, _) in &query.0 {
        let Some(column) = Column::from_key(name) else { continue };
        if !allowed(name) || seen.contains(&column) || column == Column::ProjectId {
            continue;
        }
        seen.push(column);
        let values: Vec<String> = if column.is_exact() && column != Column::Flavor {
            query.all(name).map(str::to_owned).collect()
        } else {
            query.get(name).map(str::to_owned).into_iter().collect()
        };
        filters
            .push(Filter::Column(column, values.into_iter().map(|value| last_part(column, value)).collect()));
    }
}

/// Images may be named by their URL.
fn last_part(column: Column, value: String) -> String {
    match column {
        Column::Image => value.rsplit('/').next().unwrap_or_default().to_owned(),
        _ => value,
    }
}

fn refuse_joined(query: &Query) -> Result<()> {
    for (name, _) in &query.0 {
        if name.starts_with('_') || JOINED.contains(&name.as_str()) {
            return Err(Error::invalid(format!("Invalid filter field: {name}.")));
        }
    }
    Ok(())
}

/// The statuses asked for; `None` where one is unknown at a version that found nothing then.
fn statuses(query: &Query, minor: u16) -> Result<Option<Vec<Status>>> {
    let mut statuses = Vec::new();
    let mut unknown = false;
    for text in query.all("status") {
        match Status::from_caller(text) {
            Ok(status) => statuses.push(status),
            Err(_) => unknown = true,
        }
    }
    if statuses.is_empty() && unknown {
        if minor >= 38 {
            return Err(Error::invalid("Invalid status value"));
        }
        return Ok(None);
    }
    Ok(Some(statuses))
}

fn truth(word: &str, name: &str) -> Result<bool> {
    wire::truth(word).ok_or_else(|| Error::invalid(format!("Invalid {name} filter [{word}]")))
}

fn time(text: Option<&str>) -> Result<Option<jiff::Timestamp>> {
    text.map(|text| iso8601::parse(text).ok_or_else(|| Error::invalid("Invalid changes time value")))
        .transpose()
}

/// Everybody sees his project; administrators may ask for all of them.
fn scope(actor: &Actor, query: &Query, project: Option<&str>) -> Result<Scope> {
    let all = match query.get("all_tenants") {
        None => false,
        Some("") => true,
        Some(word) => wire::truth(word).ok_or_else(|| {
            Error::invalid(format!(
                "Unrecognized value '{word}', acceptable values are: '0', '1', 'f', 'false', \
                'n', 'no', 'off', 'on', 't', 'true', 'y', 'yes'"
            ))
        })?,
    };
    let own = || {
        actor.project_id.clone().ok_or_else(|| {
            Error::forbidden("Policy doesn't allow os_compute_api:servers:index to be performed.")
        })
    };
    if all {
        policy::check(policy::Rule::Admin("os_compute_api:servers:index:get_all_tenants"), actor)?;
        return Ok(match project {
            Some(project) => Scope::Project(project.into()),
            None => Scope::AllProjects,
        });
    }
    Ok(Scope::Project(own()?))
}

/// Whether deleted servers are wanted: asked for by status or flag, or seen among what changed.
fn deleted(actor: &Actor, query: &Query, statuses: &[Status], by_change: bool) -> Result<Deleted> {
    if statuses.contains(&Status::Deleted) {
        return Ok(Deleted::Only);
    }
    let flag = |name: &'static str| {
        query.get(name).filter(|_| actor.is_admin()).map(|word| truth(word, name)).transpose()
    };
    let restorable = flag("soft_deleted")?.unwrap_or_default();
    Ok(match flag("deleted")? {
        Some(true) => Deleted::Only,
        None if by_change => Deleted::Show,
        Some(false) | None if restorable => Deleted::HideFinal,
        Some(false) | None => Deleted::Hide,
    })
}

/// Keys and directions, paired; a key without a direction follows the last one given.
fn sort(actor: &Actor, query: &Query, minor: u16) -> Result<Vec<(SortKey, Direction)>> {
    let directions: Vec<Direction> = query
        .all("sort_dir")
        .map(|word| match word {
            "asc" => Ok(Direction::Ascending),
            "desc" => Ok(Direction::Descending),
            other => Err(Error::invalid(format!(
                "Unknown sort direction, must be one of: asc, desc, given: {other}"
            ))),
        })
        .collect::<Result<_>>()?;
    let mut sort = Vec::new();
    for (index, name) in query.all("sort_key").enumerate() {
        if matches!(name, "host" | "node") && !actor.is_admin() {
            return Err(Error::forbidden("Only administrators can sort servers by host or node"));
        }
        let direction =
            directions.get(index).or(directions.first()).copied().unwrap_or(Direction::Descending);
        // A key that is allowed and yet no column is one of those that are passed over.
        if let Some(key) = SortKey::from_key(name).filter(|key| *key != SortKey::Locked || minor >= 73) {
            sort.push((key, direction));
        }
    }
    if sort.is_empty()
        && let Some(direction) = directions.first()
    {
        sort.push((SortKey::CreatedAt, *direction));
    }
    Ok(sort)
}
