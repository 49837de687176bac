//! Servers as rows: one row to one [`Server`], and the few changes that services and workflows make.
//!
//! Lists are in [`super::server_list`], actions, events and faults in [`super::server_actions`].

use super::rows::to_json;
use super::server_rows::{COLUMNS, from_row};
use super::{Connection, StoreError};
use crate::core::ids::ServerId;
use crate::core::server::state::{PowerState, TaskState, VmState};
use crate::core::server::{Rescue, Resize, Server, ServerFlavor, Shelved};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};

/// Adds a server and gives it its number; the one in `server` does not count.
pub fn insert(c: &Connection, server: &Server) -> Result<i64, StoreError> {
    let flavor = &server.flavor;
    let certificates = server.trusted_certificates.as_ref().map(to_json).transpose()?;
    c.prepare_cached(
        "INSERT INTO server (id, project_id, user_id, name, description, hostname, vm_state, task_state, power_state, \
             progress, host, image_id, image_format, image_properties, kernel_id, ramdisk_id, flavor_id, flavor_name, vcpus, ram_mib, \
             disk_gib, ephemeral_gib, swap_mib, rxtx_factor, extra_specs, key_name, key_type, key_public, pinned_zone, \
             metadata, tags, config_drive, user_data, personality, security_groups, access_ip_v4, access_ip_v6, \
             disk_config, reservation_id, launch_index, root_device_name, scheduler_hints, trusted_certificates, \
             created_at, updated_at, min_disk_gib, min_ram_mib, disks) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, \
             ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34, ?35, ?36, ?37, ?38, ?39, ?40, ?41, ?42, ?43, ?44, ?45, ?46, ?47, ?48)",
    )?
    .execute(params![
        server.id,
        server.project_id,
        server.user_id,
        server.name,
        server.description,
        server.hostname,
        server.vm_state,
        server.task_state,
        server.power_state,
        server.progress,
        server.host,
        server.image_id,
        server.image_format,
        to_json(&server.image_properties)?,
        server.kernel_id,
        server.ramdisk_id,
        flavor.id,
        flavor.name,
        flavor.vcpus,
        flavor.ram_mib,
        flavor.disk_gib,
        flavor.ephemeral_gib,
        flavor.swap_mib,
        flavor.rxtx_factor,
        to_json(&flavor.extra_specs)?,
        server.key.as_ref().map(|key| &key.name),
        server.key.as_ref().map(|key| &key.kind),
        server.key.as_ref().map(|key| &key.public),
        server.pinned_zone,
        to_json(&server.metadata)?,
        to_json(&server.tags)?,
        server.config_drive,
        server.user_data,
        to_json(&server.personality)?,
        to_json(&server.security_groups)?,
        server.access_ip_v4.map(|address| address.to_string()),
        server.access_ip_v6.map(|address| address.to_string()),
        server.disk_config.as_str(),
        server.reservation_id,
        server.launch_index,
        server.root_device_name,
        server.scheduler_hints,
        certificates,
        server.created_at.as_microsecond(),
        server.updated_at.as_microsecond(),
        server.min_disk_gib,
        server.min_ram_mib,
        to_json(&server.disks)?,
    ])?;
    Ok(c.last_insert_rowid())
}

/// The server, if it was not deleted.
pub fn get(c: &Connection, id: ServerId) -> Result<Option<Server>, StoreError> {
    Ok(get_any(c, id)?.filter(|server| server.deleted_at.is_none()))
}

/// The server, deleted or not.
pub fn get_any(c: &Connection, id: ServerId) -> Result<Option<Server>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM server WHERE id = ?1");
    Ok(c.prepare_cached(&sql)?.query_row([id], from_row).optional()?)
}

/// Writes the plain fields that callers may change: name, description, host name, addresses, disk configuration, zone,
/// metadata, tags, lock, guest password.
pub fn update(c: &Connection, server: &Server, now: Timestamp) -> Result<(), StoreError> {
    c.prepare_cached(
        "UPDATE server SET name = ?2, description = ?3, hostname = ?4, access_ip_v4 = ?5, access_ip_v6 = ?6, \
             disk_config = ?7, pinned_zone = ?8, metadata = ?9, tags = ?10, locked_by = ?11, locked_reason = ?12, \
             guest_password = ?13, updated_at = ?14 \
         WHERE id = ?1",
    )?
    .execute(params![
        server.id,
        server.name,
        server.description,
        server.hostname,
        server.access_ip_v4.map(|address| address.to_string()),
        server.access_ip_v6.map(|address| address.to_string()),
        server.disk_config.as_str(),
        server.pinned_zone,
        to_json(&server.metadata)?,
        to_json(&server.tags)?,
        server.lock.as_ref().map(|lock| lock.by.as_str()),
        server.lock.as_ref().and_then(|lock| lock.reason.as_deref()),
        server.guest_password,
        now.as_microsecond(),
    ])?;
    Ok(())
}

/// Sets the task state with which an accepted action begins.
pub fn begin(c: &Connection, id: ServerId, task: TaskState, now: Timestamp) -> Result<(), StoreError> {
    c.prepare_cached("UPDATE server SET task_state = ?2, updated_at = ?3 WHERE id = ?1")?
        .execute(params![id, task, now.as_microsecond()])?;
    Ok(())
}

/// Sets the task state of a task that has come further. One whose place a later task has taken changes nothing.
pub fn advance(
    c: &Connection,
    id: ServerId,
    task_id: i64,
    task: TaskState,
    now: Timestamp,
) -> Result<(), StoreError> {
    if has_successor(c, id, task_id)? {
        return Ok(());
    }
    begin(c, id, task, now)
}

/// Whether a later task of the server is open. The task state is that one's, then.
fn has_successor(c: &Connection, id: ServerId, task_id: i64) -> Result<bool, StoreError> {
    Ok(c.prepare_cached(
        "SELECT 1 FROM task WHERE subject = ?1 AND id > ?2 AND status IN ('pending', 'running', 'unwinding') LIMIT 1",
    )?
    .query_row(params![id.to_string(), task_id], |_| Ok(()))
    .optional()?
    .is_some())
}

/// How a task leaves its server. `None` leaves a value as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    pub vm_state: Option<VmState>,
    pub power_state: Option<PowerState>,
    /// Whether the guest was launched by the task.
    pub launched: bool,
    /// Whether nothing of the server is on the host any more.
    pub unplaced: bool,
}

/// Ends a task's hold on its server: writes the outcome and clears the task state, unless that belongs to a later task.
pub fn finish(
    c: &Connection,
    id: ServerId,
    task_id: i64,
    outcome: Outcome,
    now: Timestamp,
) -> Result<(), StoreError> {
    let at = now.as_microsecond();
    let clear = !has_successor(c, id, task_id)?;
    c.prepare_cached(
        "UPDATE server SET vm_state = ifnull(?2, vm_state), power_state = ifnull(?3, power_state), \
             launched_at = iif(?4, ?7, launched_at), host = iif(?5, NULL, host), \
             task_state = iif(?6, NULL, task_state), progress = 0, updated_at = ?7 \
         WHERE id = ?1 AND deleted_at IS NULL",
    )?
    .execute(params![
        id,
        outcome.vm_state,
        outcome.power_state,
        outcome.launched,
        outcome.unplaced,
        clear,
        at
    ])?;
    Ok(())
}

/// Puts a server on a node, where it counts from here on.
pub fn place(c: &Connection, id: ServerId, host: &str, now: Timestamp) -> Result<(), StoreError> {
    c.prepare_cached("UPDATE server SET host = ?2, updated_at = ?3 WHERE id = ?1")?.execute(params![
        id,
        host,
        now.as_microsecond()
    ])?;
    Ok(())
}

/// Marks a server whose every trace is gone from the host as deleted.
pub fn mark_deleted(c: &Connection, id: ServerId, now: Timestamp) -> Result<(), StoreError> {
    c.prepare_cached(
        "UPDATE server SET vm_state = 'deleted', task_state = NULL, power_state = 0, locked_by = NULL, \
             locked_reason = NULL, tags = '[]', deleted_at = ?2, terminated_at = ?2, updated_at = ?2 \
         WHERE id = ?1 AND deleted_at IS NULL",
    )?
    .execute(params![id, now.as_microsecond()])?;
    Ok(())
}

/// Writes what the guest was seen doing; a row that says so already is not touched.
pub fn set_power_state(
    c: &Connection,
    id: ServerId,
    power: PowerState,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let changed = c
        .prepare_cached(
            "UPDATE server SET power_state = ?2, updated_at = ?3 WHERE id = ?1 AND power_state <> ?2 \
             AND deleted_at IS NULL",
        )?
        .execute(params![id, power, now.as_microsecond()])?;
    Ok(changed == 1)
}

/// Forces the states, as an admin may.
pub fn reset(
    c: &Connection,
    id: ServerId,
    vm: VmState,
    keep_task: bool,
    now: Timestamp,
) -> Result<(), StoreError> {
    c.prepare_cached(
        "UPDATE server SET vm_state = ?2, task_state = iif(?3, task_state, NULL), rescue = NULL, updated_at = ?4 \
         WHERE id = ?1",
    )?
    .execute(params![id, vm, keep_task, now.as_microsecond()])?;
    Ok(())
}

/// Writes what the server remembers of its resize.
pub fn set_resize(c: &Connection, id: ServerId, resize: Option<&Resize>) -> Result<(), StoreError> {
    let json = resize.map(to_json).transpose()?;
    c.prepare_cached("UPDATE server SET resize = ?2 WHERE id = ?1")?.execute(params![id, json])?;
    Ok(())
}

/// Writes what the server is rescued with.
pub fn set_rescue(c: &Connection, id: ServerId, rescue: Option<&Rescue>) -> Result<(), StoreError> {
    let json = rescue.map(to_json).transpose()?;
    c.prepare_cached("UPDATE server SET rescue = ?2 WHERE id = ?1")?.execute(params![id, json])?;
    Ok(())
}

/// Writes what the server comes back from.
pub fn set_shelved(c: &Connection, id: ServerId, shelved: Option<&Shelved>) -> Result<(), StoreError> {
    let json = shelved.map(to_json).transpose()?;
    c.prepare_cached("UPDATE server SET shelved = ?2 WHERE id = ?1")?.execute(params![id, json])?;
    Ok(())
}

/// Writes since when the server waits to be reclaimed.
pub fn set_soft_deleted(c: &Connection, id: ServerId, since: Option<Timestamp>) -> Result<(), StoreError> {
    c.prepare_cached("UPDATE server SET soft_deleted_at = ?2 WHERE id = ?1")?
        .execute(params![id, since.map(Timestamp::as_microsecond)])?;
    Ok(())
}

/// Gives the server another flavor; what it takes up is counted anew.
pub fn set_flavor(
    c: &Connection,
    id: ServerId,
    flavor: &ServerFlavor,
    now: Timestamp,
) -> Result<(), StoreError> {
    c.prepare_cached(
        "UPDATE server SET flavor_id = ?2, flavor_name = ?3, vcpus = ?4, ram_mib = ?5, disk_gib = ?6, \
             ephemeral_gib = ?7, swap_mib = ?8, rxtx_factor = ?9, extra_specs = ?10, updated_at = ?11 \
         WHERE id = ?1",
    )?
    .execute(params![
        id,
        flavor.id,
        flavor.name,
        flavor.vcpus,
        flavor.ram_mib,
        flavor.disk_gib,
        flavor.ephemeral_gib,
        flavor.swap_mib,
        flavor.rxtx_factor,
        to_json(&flavor.extra_specs)?,
        now.as_microsecond(),
    ])?;
    Ok(())
}

/// The states of one server: what the reconciler compares with the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct States {
    pub id: ServerId,
    pub vm_state: VmState,
    pub task_state: Option<TaskState>,
    pub power_state: PowerState,
}

const STATES: &str = "SELECT id, vm_state, task_state, power_state FROM server \
     WHERE deleted_at IS NULL AND host IS NOT NULL";

fn states_row(row: &Row<'_>) -> rusqlite::Result<States> {
    Ok(States { id: row.get(0)?, vm_state: row.get(1)?, task_state: row.get(2)?, power_state: row.get(3)? })
}

/// The states of all living servers that stand on a node.
pub fn states(c: &Connection) -> Result<Vec<States>, StoreError> {
    Ok(c.prepare_cached(STATES)?.query_map([], states_row)?.collect::<Result<_, _>>()?)
}

/// As [`states`], for some servers.
pub fn states_of(c: &Connection, ids: &[ServerId]) -> Result<Vec<States>, StoreError> {
    let sql = format!("{STATES} AND id IN (SELECT value FROM json_each(?1))");
    Ok(c.prepare_cached(&sql)?.query_map([to_json(&ids)?], states_row)?.collect::<Result<_, _>>()?)
}

/// Whether one of these servers stands on a host.
pub fn any_on_host(c: &Connection, ids: &[ServerId], host: &str) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM server WHERE id IN (SELECT value FROM json_each(?1)) AND host = ?2 \
         AND deleted_at IS NULL LIMIT 1";
    Ok(!ids.is_empty()
        && c.prepare_cached(sql)?.query_row(params![to_json(&ids)?, host], |_| Ok(())).optional()?.is_some())
}

/// Something on the host that belongs to no living server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orphan {
    pub id: ServerId,
    /// Whether there was such a server.
    pub was_deleted: bool,
}

/// Of these ids, those that belong to no living server.
pub fn without_living_row(c: &Connection, ids: &[ServerId]) -> Result<Vec<Orphan>, StoreError> {
    Ok(c.prepare_cached(
        "SELECT value, server.id IS NOT NULL FROM json_each(?1) LEFT JOIN server ON server.id = value \
         WHERE server.id IS NULL OR server.deleted_at IS NOT NULL",
    )?
    .query_map([to_json(&ids)?], |row| Ok(Orphan { id: row.get(0)?, was_deleted: row.get(1)? }))?
    .collect::<Result<_, _>>()?)
}

/// Puts servers into ERROR whose task state belongs to no open task; gives their ids.
pub fn rescue_stranded(c: &Connection, now: Timestamp) -> Result<Vec<ServerId>, StoreError> {
    let at = now.as_microsecond();
    let ids: Vec<ServerId> = c
        .prepare_cached(
            "UPDATE server SET vm_state = 'error', task_state = NULL, updated_at = ?1 \
             WHERE deleted_at IS NULL AND task_state IS NOT NULL AND NOT EXISTS \
                 (SELECT 1 FROM task WHERE subject = server.id AND status IN ('pending', 'running', 'unwinding')) \
             RETURNING id",
        )?
        .query_map([at], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for id in &ids {
        c.prepare_cached(
            "INSERT OR REPLACE INTO server_fault VALUES (?1, 500, \
                 'What was being done to the server was lost. Delete it, or ask the administrator to reset its state.', \
                 '', ?2)",
        )?
        .execute(params![id, at])?;
    }
    Ok(ids)
}
