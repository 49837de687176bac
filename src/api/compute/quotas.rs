//! `/os-quota-sets` and `/os-quota-class-sets`: how much projects and single users of them may have, and what holds for those
//! without limits of their own.

use super::changes::{Input, Resource as Answer, shape};
use super::request;
use super::schema::query::{NONE, Parameters, parameter};
use super::schema::types::{BOOLEAN, STRING};
use super::schema::{Object, Rule, Schema, Type, property, wire};
use crate::api::call::{Call, Outcome, Reply};
use crate::api::error::Fault;
use crate::api::version::shape::{Shape, Writer};
use crate::core::ids::{ProjectId, UserId};
use crate::core::quota::{Limits, Resource, Usage};
use crate::core::{Error, Result};
use actix_web::http::StatusCode;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

const LIMIT: Schema = Schema(&[
    Rule::Types(&[Type::Integer, Type::Text]),
    Rule::Pattern("^-?[0-9]+$"),
    Rule::Minimum(-1),
    Rule::Maximum(0x7FFF_FFFF),
]);

macro_rules! update_table {
    ($key:literal, $input:expr, $($more:expr),*) => {
        Schema(&[
            Rule::Types(&[Type::Object]),
            Rule::Object(&Object {
                input: None,
                properties: &[property($key, &[&Schema(&[
                    Rule::Types(&[Type::Object]),
                    Rule::Object(&Object {
                        input: Some($input),
                        properties: &[
                            property("instances", &[&LIMIT]),
                            property("cores", &[&LIMIT]),
                            property("ram", &[&LIMIT]),
                            property("floating_ips", &[&LIMIT]),
                            property("fixed_ips", &[&LIMIT]),
                            property("metadata_items", &[&LIMIT]),
                            property("key_pairs", &[&LIMIT]),
                            property("security_groups", &[&LIMIT]),
                            property("security_group_rules", &[&LIMIT]),
                            property("injected_files", &[&LIMIT]),
                            property("injected_file_content_bytes", &[&LIMIT]),
                            property("injected_file_path_bytes", &[&LIMIT]),
                            property("server_groups", &[&LIMIT]),
                            property("server_group_members", &[&LIMIT]),
                            $($more),*
                        ],
                        required: &[],
                        open: false,
                    }),
                ])])],
                required: &[$key],
                open: false,
            }),
        ])
    };
}

static UPDATE: Schema = update_table!("quota_set", Input::QuotaSetUpdate, property("force", &[&BOOLEAN]));
static UPDATE_CLASS: Schema = update_table!("quota_class_set", Input::QuotaClassSetUpdate,);

static QUERY: Parameters =
    Parameters { input: Input::QuotaSetQuery, known: &[parameter("user_id", &[&STRING])], kept_prefix: None };

/// The limits of a project or of a class.
pub(super) struct QuotaView<'a> {
    /// Not told in the answer to a change.
    pub id: Option<&'a str>,
    pub limits: &'a Limits,
    /// With it, each limit is shown beside what is in use.
    pub usage: Option<Usage>,
    pub shape: &'static Shape,
}

#[derive(serde::Serialize)]
struct Detail {
    limit: i64,
    in_use: i64,
    reserved: i64,
}

impl Serialize for QuotaView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = Writer::new(serializer.serialize_map(None)?, self.shape);
        out.optional("id", self.id.as_ref())?;
        for resource in Resource::ALL {
            let in_use = self.usage.map(|usage| usage.of(resource));
            one(&mut out, resource.name(), self.limits.of(resource), in_use)?;
        }
        out.end()
    }
}

fn one<M: SerializeMap>(
    out: &mut Writer<'_, M>,
    name: &'static str,
    limit: i64,
    in_use: Option<i64>,
) -> Result<(), M::Error> {
    match in_use {
        Some(in_use) => out.field(name, &Detail { limit, in_use, reserved: 0 }),
        None => out.field(name, &limit),
    }
}

#[derive(serde::Serialize)]
struct Set<'a> {
    quota_set: QuotaView<'a>,
}

#[derive(serde::Serialize)]
struct ClassSet<'a> {
    quota_class_set: QuotaView<'a>,
}

/// The project in the path; only administrators may name another than their own.
fn project(call: &Call, own_only: bool) -> Result<ProjectId, Fault> {
    request::authorize(call)?;
    let project = ProjectId::from(call.params.get("project"));
    let actor = call.actor()?;
    if own_only && !actor.is_admin() && !actor.owns(&project) {
        let name = call.rule.name();
        return Err(Error::forbidden(format!("Policy doesn't allow {name} to be performed.")).into());
    }
    Ok(project)
}

fn answer(call: &Call, id: Option<&str>, limits: &Limits, usage: Option<Usage>) -> Outcome {
    let shape = shape(Answer::QuotaSet, call.minor);
    Ok(Reply::json(StatusCode::OK, &Set { quota_set: QuotaView { id, limits, usage, shape } })?)
}

pub async fn show(mut call: Call) -> Outcome {
    request::query(&mut call, &QUERY)?;
    let project = project(&call, true)?;
    let (limits, _) = call.state.services.quotas.of_existing(project.clone(), user(&call)).await?;
    answer(&call, Some(project.as_str()), &limits, None)
}

pub async fn detail(mut call: Call) -> Outcome {
    request::query(&mut call, &QUERY)?;
    let project = project(&call, true)?;
    let (limits, usage) = call.state.services.quotas.of_existing(project.clone(), user(&call)).await?;
    answer(&call, Some(project.as_str()), &limits, Some(usage))
}

pub async fn defaults(mut call: Call) -> Outcome {
    request::query(&mut call, &NONE)?;
    let project = project(&call, false)?;
    let limits = call.state.services.quotas.defaults().await?;
    answer(&call, Some(project.as_str()), &limits, None)
}

/// The limits that a body sets.
fn changes(set: &Value) -> Result<Vec<(Resource, i64)>> {
    let mut changes = Vec::new();
    for (name, value) in set.as_object().into_iter().flatten() {
        let Some(resource) = Resource::from_name(name) else { continue };
        let limit = match value {
            Value::String(digits) => digits.parse().ok(),
            other => other.as_i64(),
        };
        let limit = limit.ok_or_else(|| Error::invalid(format!("{name} is no limit.")))?;
        changes.push((resource, limit));
    }
    Ok(changes)
}

fn is_true(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::String(word)) => wire::truth(word).unwrap_or(false),
        _ => false,
    }
}

/// The user whose limits within the project are meant.
fn user(call: &Call) -> Option<UserId> {
    call.query.get("user_id").filter(|id| !id.is_empty()).map(UserId::from)
}

pub async fn update(mut call: Call) -> Outcome {
    let body: Value = request::body(&mut call, &UPDATE).await?;
    request::query(&mut call, &QUERY)?;
    let project = project(&call, true)?;
    let set = &body["quota_set"];
    let force = is_true(set.get("force"));
    let limits = call.state.services.quotas.change(project, user(&call), changes(set)?, force).await?;
    answer(&call, None, &limits, None)
}

pub async fn delete(mut call: Call) -> Outcome {
    request::query(&mut call, &QUERY)?;
    let project = project(&call, true)?;
    call.state.services.quotas.reset(project, user(&call)).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

fn class_answer(call: &Call, id: Option<&str>, limits: &Limits) -> Outcome {
    let shape = shape(Answer::QuotaClassSet, call.minor);
    let view = QuotaView { id, limits, usage: None, shape };
    Ok(Reply::json(StatusCode::OK, &ClassSet { quota_class_set: view })?)
}

pub async fn show_class(mut call: Call) -> Outcome {
    request::query(&mut call, &NONE)?;
    request::authorize(&call)?;
    let class = call.params.get("class").to_owned();
    let limits = call.state.services.quotas.class(class.clone()).await?;
    class_answer(&call, Some(&class), &limits)
}

pub async fn update_class(mut call: Call) -> Outcome {
    let body: Value = request::body(&mut call, &UPDATE_CLASS).await?;
    request::authorize(&call)?;
    let class = call.params.get("class").to_owned();
    let changes = changes(&body["quota_class_set"])?;
    let limits = call.state.services.quotas.change_class(class, changes).await?;
    class_answer(&call, None, &limits)
}
