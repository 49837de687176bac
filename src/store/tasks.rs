//! The task table and its log: the durable list of work that was promised.

use super::{Connection, StoreError};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};

/// Whether a task still has something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskStatus {
    Pending,
    Running,
    Unwinding,
    Done,
    Unwound,
    Stuck,
}

impl TaskStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Unwinding => "unwinding",
            Self::Done => "done",
            Self::Unwound => "unwound",
            Self::Stuck => "stuck",
        }
    }

    /// Whether there is still something to do.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Running | Self::Unwinding)
    }

    fn parse(text: &str) -> Result<Self, StoreError> {
        Ok(match text {
            "pending" => Self::Pending,
            "running" => Self::Running,
            "unwinding" => Self::Unwinding,
            "done" => Self::Done,
            "unwound" => Self::Unwound,
            "stuck" => Self::Stuck,
            other => return Err(StoreError::Corrupt(format!("task status {other}"))),
        })
    }
}

/// One task as it is stored.
#[derive(Debug, Clone)]
pub struct TaskRow {
    pub id: i64,
    pub workflow: String,
    /// What the task is about; tasks of one subject run one after another.
    pub subject: String,
    pub status: TaskStatus,
    /// The workflow's state as JSON.
    pub state: String,
    pub request_id: String,
    pub preempted: bool,
    /// How often the current stage was tried and failed.
    pub attempts: u32,
    /// Not to be tried before this time, in microseconds since the epoch.
    pub not_before: i64,
    /// What made the task fail, as JSON.
    pub error: Option<String>,
}

/// A task to be added.
#[derive(Debug)]
pub struct NewTask<'a> {
    pub workflow: &'a str,
    pub subject: &'a str,
    pub state: &'a str,
    pub request_id: &'a str,
    /// Whether open tasks of the subject are told to stop at their next step boundary.
    pub preempt: bool,
    /// The step that counts as begun already.
    pub begun: Option<&'a str>,
}

/// What happened to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogEvent {
    Started,
    Succeeded,
    Failed,
    UndoStarted,
    UndoFinished,
    UndoFailed,
}

impl LogEvent {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::UndoStarted => "undo_started",
            Self::UndoFinished => "undo_finished",
            Self::UndoFailed => "undo_failed",
        }
    }

    fn parse(text: &str) -> Result<Self, StoreError> {
        Ok(match text {
            "started" => Self::Started,
            "succeeded" => Self::Succeeded,
            "failed" => Self::Failed,
            "undo_started" => Self::UndoStarted,
            "undo_finished" => Self::UndoFinished,
            "undo_failed" => Self::UndoFailed,
            other => return Err(StoreError::Corrupt(format!("task event {other}"))),
        })
    }
}

const COLUMNS: &str =
    "id, workflow, subject, status, state, request_id, preempted, attempts, not_before, error";

fn row(row: &Row<'_>) -> Result<TaskRow, StoreError> {
    Ok(TaskRow {
        id: row.get("id")?,
        workflow: row.get("workflow")?,
        subject: row.get("subject")?,
        status: TaskStatus::parse(row.get_ref("status")?.as_str().unwrap_or_default())?,
        state: row.get("state")?,
        request_id: row.get("request_id")?,
        preempted: row.get("preempted")?,
        attempts: row.get("attempts")?,
        not_before: row.get("not_before")?,
        error: row.get("error")?,
    })
}

/// Adds a task; its work begins once the surrounding transaction is committed and the engine was woken.
pub fn enqueue(c: &Connection, task: &NewTask<'_>, now: Timestamp) -> Result<i64, StoreError> {
    let at = now.as_microsecond();
    if task.preempt {
        preempt(c, task.subject, now)?;
    }
    let status = if task.begun.is_some() { TaskStatus::Running } else { TaskStatus::Pending };
    c.prepare_cached(
        "INSERT INTO task (workflow, subject, status, state, request_id, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
    )?
    .execute(params![task.workflow, task.subject, status.as_str(), task.state, task.request_id, at])?;
    let id = c.last_insert_rowid();
    if let Some(step) = task.begun {
        append(c, id, step, LogEvent::Started, None, now)?;
    }
    Ok(id)
}

/// Tells the open tasks of a subject to stop at their next step boundary.
pub fn preempt(c: &Connection, subject: &str, now: Timestamp) -> Result<(), StoreError> {
    c.prepare_cached(
        "UPDATE task SET preempted = 1, not_before = 0, updated_at = ?2
         WHERE subject = ?1 AND status IN ('pending', 'running', 'unwinding')",
    )?
    .execute(params![subject, now.as_microsecond()])?;
    Ok(())
}

/// Whether a task of this kind is open for the subject.
pub fn is_open(c: &Connection, subject: &str, workflow: &str) -> Result<bool, StoreError> {
    Ok(c.prepare_cached(
        "SELECT 1 FROM task WHERE subject = ?1 AND workflow = ?2
         AND status IN ('pending', 'running', 'unwinding') LIMIT 1",
    )?
    .query_row([subject, workflow], |_| Ok(()))
    .optional()?
    .is_some())
}

/// The first open task of every subject, oldest first: what may run.
pub fn runnable(c: &Connection) -> Result<Vec<TaskRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM task WHERE id IN (
             SELECT min(id) FROM task WHERE status IN ('pending', 'running', 'unwinding') GROUP BY subject)
         ORDER BY id"
    );
    c.prepare_cached(&sql)?.query_and_then([], row)?.collect()
}

pub fn get(c: &Connection, id: i64) -> Result<Option<TaskRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM task WHERE id = ?1");
    c.prepare_cached(&sql)?.query_and_then([id], row)?.next().transpose()
}

/// How many tasks of a workflow are in a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenTasks {
    pub workflow: String,
    pub status: String,
    pub count: u64,
}

/// The tasks that are not over, and those that are stuck, by workflow and status.
pub fn open(c: &Connection) -> Result<Vec<OpenTasks>, StoreError> {
    let sql = "SELECT workflow, status, count(*) FROM task \
         WHERE status IN ('pending', 'running', 'unwinding', 'stuck') GROUP BY workflow, status";
    let row =
        |row: &Row<'_>| Ok(OpenTasks { workflow: row.get(0)?, status: row.get(1)?, count: row.get(2)? });
    Ok(c.prepare_cached(sql)?.query_map([], row)?.collect::<Result<_, _>>()?)
}

/// All tasks that are open or stuck, oldest first.
pub fn unfinished(c: &Connection) -> Result<Vec<TaskRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM task WHERE status NOT IN ('done', 'unwound') ORDER BY id");
    c.prepare_cached(&sql)?.query_and_then([], row)?.collect()
}

/// Whether the subject has an open task.
pub fn is_busy(c: &Connection, subject: &str) -> Result<bool, StoreError> {
    Ok(c.prepare_cached(
        "SELECT 1 FROM task WHERE subject = ?1 AND status IN ('pending', 'running', 'unwinding') LIMIT 1",
    )?
    .query_row([subject], |_| Ok(()))
    .optional()?
    .is_some())
}

/// The log of a task, oldest first.
pub fn log(c: &Connection, id: i64) -> Result<Vec<(String, LogEvent)>, StoreError> {
    c.prepare_cached("SELECT step, event FROM task_log WHERE task_id = ?1 ORDER BY seq")?
        .query_and_then([id], |row| {
            Ok((row.get(0)?, LogEvent::parse(row.get_ref(1)?.as_str().unwrap_or_default())?))
        })?
        .collect()
}

/// Appends one event.
pub fn append(
    c: &Connection,
    id: i64,
    step: &str,
    event: LogEvent,
    detail: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    c.prepare_cached(
        "INSERT INTO task_log (task_id, seq, step, event, detail, at)
         VALUES (?1, (SELECT ifnull(max(seq), 0) + 1 FROM task_log WHERE task_id = ?1), ?2, ?3, ?4, ?5)",
    )?
    .execute(params![id, step, event.as_str(), detail, now.as_microsecond()])?;
    Ok(())
}

/// Saves the state between two steps.
pub fn save(
    c: &Connection,
    id: i64,
    status: TaskStatus,
    state: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    c.prepare_cached("UPDATE task SET status = ?2, state = ?3, updated_at = ?4 WHERE id = ?1")?
        .execute(params![id, status.as_str(), state, now.as_microsecond()])?;
    Ok(())
}

/// Notes why the task fails; what was noted first stays.
pub fn note_error(c: &Connection, id: i64, error: &str) -> Result<(), StoreError> {
    c.prepare_cached("UPDATE task SET error = ifnull(error, ?2) WHERE id = ?1")?
        .execute(params![id, error])?;
    Ok(())
}

/// Sets when the current stage is tried again; `attempts` is how often it failed so far.
pub fn postpone(
    c: &Connection,
    id: i64,
    attempts: u32,
    not_before: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    c.prepare_cached("UPDATE task SET attempts = ?2, not_before = ?3, updated_at = ?4 WHERE id = ?1")?
        .execute(params![id, attempts, not_before.as_microsecond(), now.as_microsecond()])?;
    Ok(())
}

/// Closes the task. Its state is emptied, since it may hold secrets, and the log of one that went well is not kept.
pub fn close(c: &Connection, id: i64, status: TaskStatus, now: Timestamp) -> Result<(), StoreError> {
    c.prepare_cached("UPDATE task SET status = ?2, state = '{}', updated_at = ?3 WHERE id = ?1")?
        .execute(params![id, status.as_str(), now.as_microsecond()])?;
    if status == TaskStatus::Done {
        c.prepare_cached("DELETE FROM task_log WHERE task_id = ?1")?.execute([id])?;
    }
    Ok(())
}

/// Whether [`purge`] would find something.
pub fn any_before(c: &Connection, before: Timestamp) -> Result<bool, StoreError> {
    Ok(c.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM task WHERE status IN ('done', 'unwound') AND updated_at < ?1)",
    )?
    .query_row([before.as_microsecond()], |row| row.get(0))?)
}

/// Forgets closed tasks that ended before `before`.
pub fn purge(c: &Connection, before: Timestamp) -> Result<usize, StoreError> {
    Ok(c.prepare_cached("DELETE FROM task WHERE status IN ('done', 'unwound') AND updated_at < ?1")?
        .execute([before.as_microsecond()])?)
}
