//! `/os-instance_usage_audit_log`: how far Nova's monthly accounts of instances are. None are kept here, so that the log of
//! every period is empty and the host has not run.

use super::request;
use super::schema::query;
use crate::api::call::{Call, Outcome, Reply};
use crate::core::{Error, Result};
use actix_web::http::StatusCode;
use jiff::ToSpan;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use serde::Serialize;
use serde_json::{Map, Value};

/// The last month that was over at a time, by its beginning and its end.
fn last_month(before: DateTime) -> Result<(DateTime, DateTime)> {
    let first = before.date().first_of_month().at(0, 0, 0, 0);
    let earlier = |at: DateTime| at.checked_sub(1.month()).map_err(|_| invalid(&stamp(before)));
    let end = if first < before { first } else { earlier(first)? };
    Ok((earlier(end)?, end))
}

/// A time as Python writes one.
fn stamp(at: DateTime) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn invalid(text: &str) -> Error {
    Error::invalid(format!("Invalid timestamp for date {text}"))
}

/// The time in the path, with or without a fraction.
fn time(text: &str) -> Result<DateTime> {
    let form = if text.contains('.') { "%Y-%m-%d %H:%M:%S.%f" } else { "%Y-%m-%d %H:%M:%S" };
    DateTime::strptime(form, text).map_err(|_| invalid(text))
}

#[derive(Serialize)]
struct Log {
    period_beginning: String,
    period_ending: String,
    num_hosts: usize,
    num_hosts_done: usize,
    num_hosts_running: usize,
    num_hosts_not_run: usize,
    hosts_not_run: Vec<String>,
    total_instances: usize,
    total_errors: usize,
    overall_status: String,
    log: Map<String, Value>,
}

async fn log(call: &Call, before: DateTime) -> Result<Log> {
    let (begin, end) = last_month(before)?;
    let node = &call.state.services.node;
    let runs_guests = !node.standing().await?.compute.removed;
    let hosts: Vec<String> = runs_guests.then(|| node.name().to_owned()).into_iter().collect();
    let done = if hosts.is_empty() { "ALL".to_owned() } else { format!("0 of {}", hosts.len()) };
    Ok(Log {
        period_beginning: stamp(begin),
        period_ending: stamp(end),
        num_hosts: hosts.len(),
        num_hosts_done: 0,
        num_hosts_running: 0,
        num_hosts_not_run: hosts.len(),
        hosts_not_run: hosts,
        total_instances: 0,
        total_errors: 0,
        overall_status: format!("{done} hosts done. 0 errors."),
        log: Map::new(),
    })
}

#[derive(Serialize)]
struct Latest {
    instance_usage_audit_logs: Log,
}

#[derive(Serialize)]
struct Earlier {
    instance_usage_audit_log: Log,
}

/// Of the last period that is over.
pub async fn list(mut call: Call) -> Outcome {
    request::query(&mut call, &query::NONE)?;
    request::authorize(&call)?;
    let now = Offset::UTC.to_datetime(call.state.services.deps.clock.now());
    Ok(Reply::json(StatusCode::OK, &Latest { instance_usage_audit_logs: log(&call, now).await? })?)
}

/// Of the last period that was over before a time.
pub async fn show(mut call: Call) -> Outcome {
    request::query(&mut call, &query::NONE)?;
    request::authorize(&call)?;
    let before = time(call.params.get("before"))?;
    Ok(Reply::json(StatusCode::OK, &Earlier { instance_usage_audit_log: log(&call, before).await? })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_month_that_is_over() {
        let of = |text: &str| {
            let (begin, end) = last_month(time(text).unwrap()).unwrap();
            format!("{} {}", begin.date(), end.date())
        };
        assert_eq!(of("2012-07-05 10:00:00"), "2012-06-01 2012-07-01");
        assert_eq!(of("2012-07-01 00:00:00"), "2012-05-01 2012-06-01");
        assert_eq!(of("2012-07-01 00:00:00.5"), "2012-06-01 2012-07-01");
        assert_eq!(of("2012-01-20 00:00:00"), "2011-12-01 2012-01-01");
        assert_eq!(of("2012-01-01 00:00:00"), "2011-11-01 2011-12-01");
        assert!(time("yesterday").is_err());
    }
}
