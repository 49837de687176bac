//! A server's security groups: the list of them in the shape that Nova once kept them in, and the actions.

use super::actions::accepted;
use super::{authorize, id};
use crate::api::call::{Call, Outcome, Reply};
use crate::api::compute::request;
use crate::api::compute::schema::query::NONE;
use crate::core::ids::{SecurityGroupId, SecurityGroupRuleId, ServerId};
use crate::core::security_group::{Direction, Remote, SecurityGroup, SecurityGroupRule};
use crate::core::service::servers::ServerGroups;
use crate::core::{Error, Result};
use actix_web::http::StatusCode;
use serde::Serialize;
use serde_json::Value;

#[derive(Serialize)]
struct Body<'a> {
    security_groups: Vec<View<'a>>,
}

#[derive(Serialize)]
struct View<'a> {
    id: SecurityGroupId,
    name: &'a str,
    description: &'a str,
    tenant_id: &'a str,
    rules: Vec<RuleView<'a>>,
}

/// A rule for what comes in.
#[derive(Serialize)]
struct RuleView<'a> {
    id: SecurityGroupRuleId,
    parent_group_id: SecurityGroupId,
    ip_protocol: Option<&'a str>,
    from_port: Option<i32>,
    to_port: Option<i32>,
    group: GroupView<'a>,
    ip_range: RangeView,
}

/// Empty for rules that name addresses.
#[derive(Serialize, Default)]
struct GroupView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<&'a str>,
}

/// Empty for rules that name a group.
#[derive(Serialize, Default)]
struct RangeView {
    #[serde(skip_serializing_if = "Option::is_none")]
    cidr: Option<String>,
}

pub async fn list(mut call: Call) -> Outcome {
    request::query(&mut call, &NONE)?;
    let id = id(&call)?;
    authorize(&call, id).await?;
    let mut found = call.state.services.servers.security_groups(call.actor()?, id).await?;
    found.groups.sort_by(|a, b| (&a.project_id, &a.name).cmp(&(&b.project_id, &b.name)));
    let security_groups = found.groups.iter().map(|group| view(group, &found)).collect();
    Ok(Reply::json(StatusCode::OK, &Body { security_groups })?)
}

fn view<'a>(group: &'a SecurityGroup, found: &'a ServerGroups) -> View<'a> {
    let rules = found.rules.get(&group.id).map(Vec::as_slice).unwrap_or_default();
    View {
        id: group.id,
        name: &group.name,
        description: &group.description,
        tenant_id: group.project_id.as_str(),
        rules: rules.iter().filter_map(|rule| rule_view(rule, found)).collect(),
    }
}

/// `None` for rules that this shape cannot tell: of what goes out, or about a group that the caller may not see.
fn rule_view<'a>(rule: &'a SecurityGroupRule, found: &'a ServerGroups) -> Option<RuleView<'a>> {
    let spec = &rule.spec;
    if spec.direction != Direction::Ingress {
        return None;
    }
    let (group, ip_range) = match &spec.remote {
        Remote::Group(remote) => {
            let remote = found.remotes.get(remote)?;
            let (name, tenant_id) = (Some(remote.name.as_str()), Some(remote.project_id.as_str()));
            (GroupView { name, tenant_id }, RangeView::default())
        }
        Remote::Prefix(prefix) => (GroupView::default(), RangeView { cidr: Some(prefix.to_string()) }),
        Remote::Anyone => (GroupView::default(), RangeView { cidr: Some("0.0.0.0/0".into()) }),
    };
    let protocol = spec.protocol.as_deref();
    let (from_port, to_port) = match (protocol, spec.port_min, spec.port_max) {
        (Some("tcp" | "udp"), None, None) => (Some(1), Some(65535)),
        (Some(_), None, None) => (Some(-1), Some(-1)),
        (_, min, max) => (min.map(i32::from), max.map(i32::from)),
    };
    Some(RuleView {
        id: rule.id,
        parent_group_id: rule.group_id,
        ip_protocol: protocol,
        from_port,
        to_port,
        group,
        ip_range,
    })
}

pub async fn add(call: Call, id: ServerId, value: Value) -> Outcome {
    call.state.services.servers.add_security_group(call.actor()?, id, name_in(&value)?).await?;
    Ok(accepted())
}

pub async fn remove(call: Call, id: ServerId, value: Value) -> Outcome {
    call.state.services.servers.remove_security_group(call.actor()?, id, name_in(&value)?).await?;
    Ok(accepted())
}

fn name_in(value: &Value) -> Result<String> {
    let Some(fields) = value.as_object() else { return Err(Error::invalid("Missing parameter dict")) };
    match fields.get("name") {
        None => Err(Error::invalid("Security group not specified")),
        Some(Value::String(name)) if !name.trim().is_empty() => Ok(name.clone()),
        Some(_) => Err(Error::invalid("Security group name cannot be empty")),
    }
}
