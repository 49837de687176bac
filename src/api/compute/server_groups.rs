//! `/os-server-groups`: servers that are to be near each other, or apart.

use super::changes::{Input, Resource, shape};
use super::request;
use super::schema::query::{LIMIT, NONE, Parameters, parameter};
use super::schema::types::{NAME, POSITIVE, STRING};
use super::schema::{Literal, Object, Rule, Schema, Type, property, types, wire};
use crate::api::call::{Call, Outcome, Reply};
use crate::api::version::shape::{Shape, Writer};
use crate::core::server_group::{Policy, ServerGroup};
use crate::core::service::server_groups::NewServerGroup;
use crate::core::{Error, Result};
use actix_web::http::StatusCode;
use serde::Deserialize;
use serde::ser::{Serialize, SerializeMap, Serializer};

/// The object in a body that makes a group.
macro_rules! create_table {
    ($input:expr, [$($property:expr),*], required: $required:expr) => {
        Schema(&[
            Rule::Types(&[Type::Object]),
            Rule::Object(&Object {
                input: None,
                properties: &[property("server_group", &[&Schema(&[
                    Rule::Types(&[Type::Object]),
                    Rule::Object(&Object {
                        input: $input,
                        properties: &[$($property),*],
                        required: $required,
                        open: false,
                    }),
                ])])],
                required: &["server_group"],
                open: false,
            }),
        ])
    };
}

/// A list of exactly one policy.
macro_rules! policies {
    ($($name:literal),*) => {
        Schema(&[
            Rule::Types(&[Type::List]),
            Rule::Items(&Schema(&[
                Rule::Types(&[Type::Text]),
                Rule::OneOfLiterals(&[$(Literal::Text($name)),*]),
            ])),
            Rule::Unique,
            Rule::MinItems(1),
            Rule::MaxItems(1),
        ])
    };
}

const HARD_POLICIES: Schema = policies!("anti-affinity", "affinity");
const POLICIES: Schema = policies!("anti-affinity", "affinity", "soft-anti-affinity", "soft-affinity");

static CREATE_WITH_POLICIES: Schema = create_table!(
    Some(Input::ServerGroupCreate),
    [property("name", &[&NAME]), property("policies", &[&HARD_POLICIES, &POLICIES])],
    required: &["name", "policies"]
);

const POLICY: Schema = Schema(&[
    Rule::Types(&[Type::Text]),
    Rule::OneOfLiterals(&[
        Literal::Text("anti-affinity"),
        Literal::Text("affinity"),
        Literal::Text("soft-anti-affinity"),
        Literal::Text("soft-affinity"),
    ]),
]);
const RULES: Schema = Schema(&[
    Rule::Types(&[Type::Object]),
    Rule::Object(&Object {
        input: None,
        properties: &[property("max_server_per_host", &[&POSITIVE])],
        required: &[],
        open: false,
    }),
]);

static CREATE: Schema = create_table!(
    None,
    [property("name", &[&NAME]), property("policy", &[&POLICY]), property("rules", &[&RULES])],
    required: &["name", "policy"]
);

static LIST: Parameters = Parameters {
    input: Input::ServerGroupsQuery,
    known: &[parameter("all_projects", &[&STRING]), LIMIT, parameter("offset", &[&types::LIMIT])],
    kept_prefix: None,
};

pub(super) struct ServerGroupView<'a> {
    pub group: &'a ServerGroup,
    pub shape: &'static Shape,
}

impl Serialize for ServerGroupView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let group = self.group;
        let policy = group.policy.as_str();
        let mut out = Writer::new(serializer.serialize_map(None)?, self.shape);
        out.field("id", &group.id)?;
        out.field("name", &group.name)?;
        out.field("policies", &[policy])?;
        out.field("policy", policy)?;
        out.field("rules", &Rules(group.max_server_per_host))?;
        out.field("members", &group.members)?;
        // There never was any.
        out.field("metadata", &Rules(None))?;
        out.field("project_id", &group.project_id)?;
        out.field("user_id", &group.user_id)?;
        out.end()
    }
}

/// The rules of a group: an object without keys where there are none.
struct Rules(Option<i64>);

impl Serialize for Rules {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(most) = self.0 {
            map.serialize_entry("max_server_per_host", &most)?;
        }
        map.end()
    }
}

#[derive(serde::Serialize)]
struct One<'a> {
    server_group: ServerGroupView<'a>,
}

#[derive(serde::Serialize)]
struct Page<'a> {
    server_groups: Vec<ServerGroupView<'a>>,
}

fn answer(call: &Call, group: &ServerGroup) -> Outcome {
    let server_group = ServerGroupView { group, shape: shape(Resource::ServerGroup, call.minor) };
    Ok(Reply::json(StatusCode::OK, &One { server_group })?)
}

pub async fn list(mut call: Call) -> Outcome {
    request::query(&mut call, &LIST)?;
    request::authorize(&call)?;
    // No limit at all is what 0 means here, unlike elsewhere.
    let limit = match request::page(&call)? {
        (0, _) => request::MAX_PAGE,
        (limit, _) => limit,
    };
    let offset = match call.query.get("offset") {
        None => 0,
        Some(text) => text.parse().map_err(|_| Error::invalid("offset param must be an integer"))?,
    };
    let all_projects = call.query.get("all_projects").is_some();
    let groups = call.state.services.server_groups.list(call.actor()?, all_projects, limit, offset).await?;
    let shape = shape(Resource::ServerGroup, call.minor);
    let server_groups = groups.iter().map(|group| ServerGroupView { group, shape }).collect();
    Ok(Reply::json(StatusCode::OK, &Page { server_groups })?)
}

pub async fn show(mut call: Call) -> Outcome {
    request::query(&mut call, &NONE)?;
    request::authorize(&call)?;
    let group = call.state.services.server_groups.get(call.actor()?, call.params.get("id")).await?;
    answer(&call, &group)
}

pub async fn delete(call: Call) -> Outcome {
    request::authorize(&call)?;
    call.state.services.server_groups.delete(call.actor()?, call.params.get("id")).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

#[derive(Deserialize)]
struct Body<T> {
    server_group: T,
}

#[derive(Deserialize)]
struct WithPolicies {
    name: String,
    policies: [Policy; 1],
}

/// As groups were made before they had rules.
pub async fn create_with_policies(mut call: Call) -> Outcome {
    let body: Body<WithPolicies> = request::body(&mut call, &CREATE_WITH_POLICIES).await?;
    let WithPolicies { name, policies: [policy] } = body.server_group;
    make(&call, NewServerGroup { name, policy, max_server_per_host: None }).await
}

#[derive(Deserialize)]
struct New {
    name: String,
    policy: Policy,
    #[serde(default)]
    rules: NewRules,
}

#[derive(Deserialize, Default)]
struct NewRules {
    #[serde(default, deserialize_with = "wire::maybe_number")]
    max_server_per_host: Option<i64>,
}

pub async fn create(mut call: Call) -> Outcome {
    let body: Body<New> = request::body(&mut call, &CREATE).await?;
    let New { name, policy, rules: NewRules { max_server_per_host } } = body.server_group;
    make(&call, NewServerGroup { name, policy, max_server_per_host }).await
}

async fn make(call: &Call, new: NewServerGroup) -> Outcome {
    request::authorize(call)?;
    if new.max_server_per_host.is_some() && new.policy != Policy::AntiAffinity {
        return Err(Error::invalid("Only anti-affinity policy supports rules.").into());
    }
    let group = call.state.services.server_groups.create(call.actor()?, new).await?;
    answer(call, &group)
}
