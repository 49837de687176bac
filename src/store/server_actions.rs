//! What was done to servers: action records with their events, and faults.

use super::rows::{maybe_time, time};
use super::{Connection, StoreError};
use crate::core::clock::from_micros;
use crate::core::ids::ServerId;
use crate::core::server::{ActionEvent, ActionRecord, Fault};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};

/// An action to be recorded.
#[derive(Debug, Clone, Copy)]
pub struct NewAction<'a> {
    pub server: ServerId,
    pub request_id: &'a str,
    pub action: &'a str,
    /// `None` for what the host did by itself.
    pub user_id: Option<&'a str>,
    pub project_id: Option<&'a str>,
}

/// Records an accepted request; gives its number.
pub fn record(c: &Connection, action: &NewAction<'_>, now: Timestamp) -> Result<i64, StoreError> {
    c.prepare_cached(
        "INSERT INTO server_action (server_id, request_id, action, user_id, project_id, started_at, updated_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
    )?
    .execute(params![
        action.server,
        action.request_id,
        action.action,
        action.user_id,
        action.project_id,
        now.as_microsecond()
    ])?;
    Ok(c.last_insert_rowid())
}

/// Begins an event of an action; one of this name that still runs, as after a restart, goes on.
pub fn begin_event(
    c: &Connection,
    action: i64,
    event: &str,
    host: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let at = now.as_microsecond();
    c.prepare_cached(
        "INSERT INTO server_action_event (action_number, event, host, started_at) SELECT ?1, ?2, ?3, ?4 \
         WHERE NOT EXISTS (SELECT 1 FROM server_action_event \
                           WHERE action_number = ?1 AND event = ?2 AND finished_at IS NULL)",
    )?
    .execute(params![action, event, host, at])?;
    touch(c, action, at)
}

/// Ends well what runs of an action, and begins its next event.
pub fn next_event(
    c: &Connection,
    action: i64,
    event: &str,
    host: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    c.prepare_cached(
        "UPDATE server_action_event SET finished_at = ?3, result = 'Success' \
         WHERE action_number = ?1 AND event <> ?2 AND finished_at IS NULL",
    )?
    .execute(params![action, event, now.as_microsecond()])?;
    begin_event(c, action, event, host, now)
}

fn touch(c: &Connection, action: i64, at: i64) -> Result<(), StoreError> {
    c.prepare_cached("UPDATE server_action SET updated_at = ?2 WHERE number = ?1")?
        .execute(params![action, at])?;
    Ok(())
}

/// What went wrong in an event.
#[derive(Debug, Clone, Copy)]
pub struct EventFailure<'a> {
    /// For the owner.
    pub message: &'a str,
    /// For admins.
    pub traceback: &'a str,
}

/// Ends all running events of an action, well or with a failure that the action then shows too.
pub fn finish_events(
    c: &Connection,
    action: i64,
    failure: Option<EventFailure<'_>>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let at = now.as_microsecond();
    let result = if failure.is_some() { "Error" } else { "Success" };
    c.prepare_cached(
        "UPDATE server_action_event SET finished_at = ?2, result = ?3, details = ?4, traceback = ?5 \
         WHERE action_number = ?1 AND finished_at IS NULL",
    )?
    .execute(params![
        action,
        at,
        result,
        failure.map(|failure| failure.message),
        failure.map(|failure| failure.traceback)
    ])?;
    if failure.is_some() {
        c.prepare_cached("UPDATE server_action SET message = 'Error' WHERE number = ?1")?
            .execute([action])?;
    }
    touch(c, action, at)
}

const COLUMNS: &str =
    "number, server_id, request_id, action, user_id, project_id, started_at, updated_at, message";

fn action(row: &Row<'_>) -> rusqlite::Result<ActionRecord> {
    Ok(ActionRecord {
        number: row.get("number")?,
        server_id: row.get("server_id")?,
        request_id: row.get("request_id")?,
        action: row.get("action")?,
        user_id: row.get("user_id")?,
        project_id: row.get("project_id")?,
        started_at: time(row, "started_at")?,
        updated_at: time(row, "updated_at")?,
        message: row.get("message")?,
    })
}

/// The action that a request made.
pub fn by_request(
    c: &Connection,
    server: ServerId,
    request_id: &str,
) -> Result<Option<ActionRecord>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM server_action WHERE server_id = ?1 AND request_id = ?2 LIMIT 1");
    Ok(c.prepare_cached(&sql)?.query_row(params![server, request_id], action).optional()?)
}

/// A page of a server's actions.
#[derive(Debug, Clone, Default)]
pub struct ActionPage {
    pub limit: usize,
    /// The number of the last action of the page before.
    pub before: Option<i64>,
    /// Changed at or after.
    pub changes_since: Option<Timestamp>,
    /// Changed at or before.
    pub changes_before: Option<Timestamp>,
}

/// A server's actions, newest first.
pub fn list(c: &Connection, server: ServerId, page: &ActionPage) -> Result<Vec<ActionRecord>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM server_action WHERE server_id = ?1 AND number < ifnull(?2, 9223372036854775807) \
         AND updated_at >= ifnull(?3, updated_at) AND updated_at <= ifnull(?4, updated_at) \
         ORDER BY number DESC LIMIT ?5"
    );
    Ok(c.prepare_cached(&sql)?
        .query_map(
            params![
                server,
                page.before,
                page.changes_since.map(Timestamp::as_microsecond),
                page.changes_before.map(Timestamp::as_microsecond),
                i64::try_from(page.limit).unwrap_or(i64::MAX)
            ],
            action,
        )?
        .collect::<Result<_, _>>()?)
}

/// The events of an action, newest first.
pub fn events(c: &Connection, action: i64) -> Result<Vec<ActionEvent>, StoreError> {
    Ok(c.prepare_cached(
        "SELECT event, host, started_at, finished_at, result, traceback, details FROM server_action_event \
         WHERE action_number = ?1 ORDER BY number DESC",
    )?
    .query_map([action], |row| {
        Ok(ActionEvent {
            event: row.get("event")?,
            host: row.get("host")?,
            started_at: time(row, "started_at")?,
            finished_at: maybe_time(row, "finished_at")?,
            result: row.get("result")?,
            traceback: row.get("traceback")?,
            details: row.get("details")?,
        })
    })?
    .collect::<Result<_, _>>()?)
}

/// Notes a fault in the place of the one before.
pub fn set_fault(c: &Connection, server: ServerId, fault: &Fault) -> Result<(), StoreError> {
    c.prepare_cached("INSERT OR REPLACE INTO server_fault VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
        server,
        fault.code,
        fault.message,
        fault.details,
        fault.created_at.as_microsecond()
    ])?;
    Ok(())
}

/// The last fault of a server.
pub fn fault(c: &Connection, server: ServerId) -> Result<Option<Fault>, StoreError> {
    Ok(c.prepare_cached("SELECT code, message, details, created_at FROM server_fault WHERE server_id = ?1")?
        .query_row([server], |row| fault_row(row, 0))
        .optional()?)
}

/// A fault whose columns begin at `first`.
pub(super) fn fault_row(row: &Row<'_>, first: usize) -> rusqlite::Result<Fault> {
    Ok(Fault {
        code: row.get(first)?,
        message: row.get(first + 1)?,
        details: row.get(first + 2)?,
        created_at: from_micros(row.get(first + 3)?),
    })
}
