//! `/os-simple-tenant-usage`: what projects had over a time.

use super::changes::Input;
use super::links::{self, NextLink};
use super::request;
use super::schema::query::{LIMIT, MARKER, Parameters, parameter};
use super::schema::types::STRING;
use crate::api::call::{Call, Outcome, Reply};
use crate::api::error::Fault;
use crate::core::clock::micros_naive;
use crate::core::ids::{ProjectId, ServerId};
use crate::core::server::usage::{Period, ProjectUsage, UsageQuery, UsedServer};
use crate::core::{Error, Result, policy};
use actix_web::http::StatusCode;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};

static LIST: Parameters = Parameters {
    input: Input::UsageQuery,
    known: &[
        parameter("start", &[&STRING]),
        parameter("end", &[&STRING]),
        parameter("detailed", &[&STRING]),
        LIMIT,
        MARKER,
    ],
    kept_prefix: None,
};

static SHOW: Parameters = Parameters {
    input: Input::UsageQuery,
    known: &[parameter("start", &[&STRING]), parameter("end", &[&STRING]), LIMIT, MARKER],
    kept_prefix: None,
};

/// The first version with pages.
const PAGES: u16 = 40;

#[derive(Serialize)]
struct List<'a> {
    tenant_usages: Vec<ProjectView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_usages_links: Option<[NextLink; 1]>,
}

#[derive(Serialize)]
struct One<'a> {
    tenant_usage: ProjectView<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_usage_links: Option<[NextLink; 1]>,
}

/// Without anything in it where a project had nothing.
#[derive(Serialize)]
struct Nothing {
    tenant_usage: Map<String, Value>,
}

#[derive(Serialize)]
struct ProjectView<'a> {
    tenant_id: &'a ProjectId,
    start: String,
    stop: String,
    total_hours: f64,
    total_vcpus_usage: f64,
    total_memory_mb_usage: f64,
    total_local_gb_usage: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_usages: Option<Vec<ServerView<'a>>>,
}

#[derive(Serialize)]
struct ServerView<'a> {
    instance_id: ServerId,
    name: &'a str,
    tenant_id: &'a ProjectId,
    flavor: &'a str,
    vcpus: u32,
    memory_mb: u64,
    local_gb: u64,
    state: &'static str,
    started_at: String,
    ended_at: Option<String>,
    hours: f64,
    uptime: i64,
}

fn server_view(server: &UsedServer, period: Period, now: Timestamp) -> ServerView<'_> {
    ServerView {
        instance_id: server.id,
        name: &server.name,
        tenant_id: &server.project_id,
        flavor: &server.flavor_name,
        vcpus: server.vcpus,
        memory_mb: server.memory_mib,
        local_gb: server.disk_gib,
        state: if server.terminated_at.is_some() { "terminated" } else { server.vm_state.as_str() },
        started_at: micros_naive(server.launched_at),
        ended_at: server.terminated_at.map(micros_naive),
        hours: server.hours(period),
        uptime: server.uptime(now),
    }
}

fn project_view(usage: &ProjectUsage, period: Period, details: Option<Timestamp>) -> ProjectView<'_> {
    ProjectView {
        tenant_id: &usage.project_id,
        start: micros_naive(period.from),
        stop: micros_naive(period.to),
        total_hours: usage.hours(period),
        total_vcpus_usage: usage.vcpu_hours(period),
        total_memory_mb_usage: usage.mib_hours(period),
        total_local_gb_usage: usage.gib_hours(period),
        server_usages: details
            .map(|now| usage.servers.iter().map(|server| server_view(server, period, now)).collect()),
    }
}

/// The forms of a time that Nova reads: with or without a fraction, which a space instead of the T demands.
fn time(text: &str) -> Result<Timestamp> {
    let forms = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S.%f"];
    forms
        .iter()
        .find_map(|form| DateTime::strptime(form, text).ok())
        .and_then(|at| Offset::UTC.to_timestamp(at).ok())
        .ok_or_else(|| Error::invalid("Invalid datetime string: Datetime is in invalid format"))
}

/// What is asked for; a time that is not named is now, and one that is to come is now too.
fn wanted(call: &Call, project: Option<ProjectId>, now: Timestamp) -> Result<UsageQuery> {
    let named = |name: &str| call.query.get(name).filter(|text| !text.is_empty()).map(time).transpose();
    let just_before = now.checked_sub(SignedDuration::from_micros(1)).map_err(Error::internal)?;
    let (from, to) = (named("start")?.unwrap_or(just_before), named("end")?.unwrap_or(now));
    if from >= to {
        return Err(Error::invalid("Invalid start time. The start time cannot occur after the end time."));
    }
    let (limit, marker) = if call.minor >= PAGES { request::page(call)? } else { (usize::MAX, None) };
    let marker = marker
        .map(|text| text.parse().map_err(|_| Error::invalid(format!("Marker {text} could not be found."))))
        .transpose()?;
    Ok(UsageQuery { period: Period { from, to: to.min(now) }, project, limit, marker })
}

/// The link to the next page of servers, whose projects are told here.
fn next(call: &Call, limit: usize, found: &[UsedServer]) -> Option<[NextLink; 1]> {
    links::next(call, found.len(), limit, found.last().map(|server| server.id.to_string()).as_deref())
}

pub async fn list(mut call: Call) -> Outcome {
    if call.path.ends_with('/') {
        // A project is asked for, and its name is empty.
        return Err(Fault::NoRoute);
    }
    request::query(&mut call, &LIST)?;
    request::authorize(&call)?;
    let now = call.state.services.deps.clock.now();
    let query = wanted(&call, None, now)?;
    let details = (call.query.get("detailed") == Some("1")).then_some(now);
    let (period, limit) = (query.period, query.limit);
    let found = call.state.services.servers.usage(query).await?;
    let tenant_usages_links = next(&call, limit, &found);
    let projects = ProjectUsage::of(found);
    let tenant_usages = projects.iter().map(|project| project_view(project, period, details)).collect();
    Ok(Reply::json(StatusCode::OK, &List { tenant_usages, tenant_usages_links })?)
}

/// One project: the caller's own, or any for administrators.
pub async fn show(mut call: Call) -> Outcome {
    request::query(&mut call, &SHOW)?;
    let project = ProjectId::from(call.params.get("project"));
    let actor = call.actor()?;
    policy::check(call.rule, actor)?;
    if !actor.is_admin() && !actor.owns(&project) {
        let name = call.rule.name();
        return Err(Error::forbidden(format!("Policy doesn't allow {name} to be performed.")).into());
    }
    let now = call.state.services.deps.clock.now();
    let query = wanted(&call, Some(project), now)?;
    let (period, limit) = (query.period, query.limit);
    let found = call.state.services.servers.usage(query).await?;
    let tenant_usage_links = next(&call, limit, &found);
    let projects = ProjectUsage::of(found);
    match projects.first() {
        None => Ok(Reply::json(StatusCode::OK, &Nothing { tenant_usage: Map::new() })?),
        Some(project) => {
            let tenant_usage = project_view(project, period, Some(now));
            Ok(Reply::json(StatusCode::OK, &One { tenant_usage, tenant_usage_links })?)
        }
    }
}
