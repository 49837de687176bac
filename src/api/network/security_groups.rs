//! `/v2.0/security-groups` and `/v2.0/security-group-rules`.

use super::super::call::{Call, Outcome, Reply};
use super::super::router::{ALWAYS, Route};
use super::attributes::{self, Attributes, Shape, bad};
use super::id;
use super::lists::{self, View};
use crate::core::clock::seconds_z;
use crate::core::ids::SecurityGroupId;
use crate::core::policy::Rule;
use crate::core::security_group::{
    Direction, Ethertype, GroupChanges, NewGroup, NewRule, Remote, RuleSpec, SecurityGroup,
    SecurityGroupRule, group_not_found, normal_protocol, rule_not_found,
};
use crate::core::{Error, Result};
use crate::route;
use actix_web::http::StatusCode;
use ipnet::IpNet;
use serde::Serialize;
use serde_json::Value;
use std::net::IpAddr;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(GET "/v2.0/security-groups", ALWAYS, Rule::Reader("get_security_group"), list),
        route!(POST "/v2.0/security-groups", ALWAYS, Rule::Member("create_security_group"), create),
        route!(GET "/v2.0/security-groups/{id}", ALWAYS, Rule::Reader("get_security_group"), show),
        route!(PUT "/v2.0/security-groups/{id}", ALWAYS, Rule::Member("update_security_group"), update),
        route!(DELETE "/v2.0/security-groups/{id}", ALWAYS, Rule::Member("delete_security_group"), delete),
        route!(GET "/v2.0/security-group-rules", ALWAYS, Rule::Reader("get_security_group_rule"), list_rules),
        route!(POST "/v2.0/security-group-rules", ALWAYS, Rule::Member("create_security_group_rule"), create_rules),
        route!(GET "/v2.0/security-group-rules/{id}", ALWAYS, Rule::Reader("get_security_group_rule"), show_rule),
        route!(DELETE "/v2.0/security-group-rules/{id}", ALWAYS, Rule::Member("delete_security_group_rule"), delete_rule),
    ]
}

const GROUP: Shape = Shape {
    singular: "security_group",
    plural: "security_groups",
    on_create: &["name", "description", "stateful", "tenant_id", "project_id"],
    on_update: &["name", "description", "stateful"],
    read_only: &[
        "id",
        "security_group_rules",
        "shared",
        "tags",
        "created_at",
        "updated_at",
        "revision_number",
    ],
};

const RULE: Shape = Shape {
    singular: "security_group_rule",
    plural: "security_group_rules",
    on_create: &[
        "security_group_id",
        "direction",
        "ethertype",
        "protocol",
        "port_range_min",
        "port_range_max",
        "remote_ip_prefix",
        "remote_group_id",
        "description",
        "tenant_id",
        "project_id",
    ],
    on_update: &[],
    read_only: &["id", "tags", "created_at", "updated_at", "revision_number"],
};

#[derive(Serialize)]
struct GroupView {
    id: String,
    name: String,
    stateful: bool,
    tenant_id: String,
    project_id: String,
    description: String,
    shared: bool,
    security_group_rules: Vec<RuleView>,
    tags: Vec<String>,
    created_at: String,
    updated_at: String,
    revision_number: i64,
}

#[derive(Serialize)]
struct RuleView {
    id: String,
    tenant_id: String,
    project_id: String,
    security_group_id: String,
    ethertype: &'static str,
    direction: &'static str,
    protocol: Option<String>,
    port_range_min: Option<u16>,
    port_range_max: Option<u16>,
    remote_ip_prefix: Option<IpNet>,
    remote_group_id: Option<SecurityGroupId>,
    remote_address_group_id: (),
    normalized_cidr: Option<IpNet>,
    description: String,
    tags: [&'static str; 0],
    created_at: String,
    updated_at: String,
    revision_number: i64,
}

impl View for GroupView {
    fn id(&self) -> String {
        self.id.clone()
    }
}

impl View for RuleView {
    fn id(&self) -> String {
        self.id.clone()
    }
}

fn view((group, rules): (SecurityGroup, Vec<SecurityGroupRule>)) -> GroupView {
    GroupView {
        id: group.id.to_string(),
        name: group.name,
        stateful: group.stateful,
        tenant_id: group.project_id.to_string(),
        project_id: group.project_id.to_string(),
        description: group.description,
        shared: false,
        security_group_rules: rules.into_iter().map(rule_view).collect(),
        tags: group.tags,
        created_at: seconds_z(group.created_at),
        updated_at: seconds_z(group.updated_at),
        revision_number: group.revision,
    }
}

fn rule_view(rule: SecurityGroupRule) -> RuleView {
    let (prefix, group) = match rule.spec.remote {
        Remote::Anyone => (None, None),
        Remote::Prefix(prefix) => (Some(prefix), None),
        Remote::Group(group) => (None, Some(group)),
    };
    RuleView {
        id: rule.id.to_string(),
        tenant_id: rule.project_id.to_string(),
        project_id: rule.project_id.to_string(),
        security_group_id: rule.group_id.to_string(),
        ethertype: rule.spec.ethertype.as_str(),
        direction: rule.spec.direction.as_str(),
        protocol: rule.spec.protocol,
        port_range_min: rule.spec.port_min,
        port_range_max: rule.spec.port_max,
        remote_ip_prefix: prefix,
        remote_group_id: group,
        remote_address_group_id: (),
        normalized_cidr: prefix.map(|prefix| prefix.trunc()),
        description: rule.description,
        tags: [],
        created_at: seconds_z(rule.created_at),
        updated_at: seconds_z(rule.updated_at),
        revision_number: rule.revision,
    }
}

async fn list(call: Call) -> Outcome {
    let listing = lists::listing(&call.query)?;
    let found = call.state.services.networks.list_groups(call.actor()?, listing.clone()).await?;
    let views: Vec<GroupView> = found.into_iter().map(view).collect();
    lists::reply(&call, "security_groups", &listing, &views)
}

async fn show(call: Call) -> Outcome {
    let id = id(&call, |text| group_not_found(text))?;
    let found = call.state.services.networks.show_group(call.actor()?, id).await?;
    lists::reply_one(&call, StatusCode::OK, "security_group", &view(found))
}

async fn create(mut call: Call) -> Outcome {
    let (objects, bulk) = attributes::new_objects(&mut call, &GROUP).await?;
    let wanted = objects.into_iter().map(|mut given| {
        Ok(NewGroup {
            project_id: given.project()?,
            name: given.text("name")?.unwrap_or_default(),
            description: given.text("description")?.unwrap_or_default(),
            stateful: given.flag("stateful")?.unwrap_or(true),
        })
    });
    let wanted = wanted.collect::<Result<_>>()?;
    let made = call.state.services.networks.create_groups(call.actor()?, wanted).await?;
    let views: Vec<GroupView> = made.into_iter().map(view).collect();
    lists::reply_created(&call, ("security_group", "security_groups"), bulk, &views)
}

async fn update(mut call: Call) -> Outcome {
    let id = id(&call, |text| group_not_found(text))?;
    let mut given = attributes::changes(&mut call, &GROUP).await?;
    let changes = GroupChanges {
        name: given.text("name")?,
        description: given.text("description")?,
        stateful: given.flag("stateful")?,
    };
    let group = call.state.services.networks.update_group(call.actor()?, id, changes).await?;
    lists::reply_one(&call, StatusCode::OK, "security_group", &view(group))
}

async fn delete(call: Call) -> Outcome {
    let id = id(&call, |text| group_not_found(text))?;
    call.state.services.networks.delete_group(call.actor()?, id).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

async fn list_rules(call: Call) -> Outcome {
    let listing = lists::listing(&call.query)?;
    let found = call.state.services.networks.list_rules(call.actor()?, listing.clone()).await?;
    let views: Vec<RuleView> = found.into_iter().map(rule_view).collect();
    lists::reply(&call, "security_group_rules", &listing, &views)
}

async fn show_rule(call: Call) -> Outcome {
    let id = id(&call, |text| rule_not_found(text))?;
    let rule = call.state.services.networks.show_rule(call.actor()?, id).await?;
    lists::reply_one(&call, StatusCode::OK, "security_group_rule", &rule_view(rule))
}

async fn create_rules(mut call: Call) -> Outcome {
    let (objects, bulk) = attributes::new_objects(&mut call, &RULE).await?;
    let wanted = objects.into_iter().map(new_rule).collect::<Result<Vec<_>>>()?;
    if let Some(first) = wanted.first()
        && wanted.iter().any(|rule| rule.group_id != first.group_id)
    {
        return Err(Error::invalid("Only allowed to update rules for one security profile at a time")
            .with_class("SecurityGroupNotSingleGroupRules")
            .into());
    }
    let made = call.state.services.networks.create_rules(call.actor()?, wanted).await?;
    let views: Vec<RuleView> = made.into_iter().map(rule_view).collect();
    lists::reply_created(&call, ("security_group_rule", "security_group_rules"), bulk, &views)
}

async fn delete_rule(call: Call) -> Outcome {
    let id = id(&call, |text| rule_not_found(text))?;
    call.state.services.networks.delete_rule(call.actor()?, id).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

fn new_rule(mut given: Attributes) -> Result<NewRule> {
    // A rule belongs to the project of its group, whatever is said here.
    given.project()?;
    let group_id = group(&mut given, "security_group_id")?;
    let direction = Attributes::required("direction", given.text("direction")?)?;
    let direction = Direction::parse(&direction).ok_or_else(|| {
        bad(format!("Invalid input for direction. Reason: '{direction}' is not in ['ingress', 'egress']."))
    })?;
    let ethertype = match given.parsed::<String>("ethertype", "string")? {
        None => Ethertype::V4,
        Some(text) => Ethertype::parse(&text).ok_or_else(|| {
            bad(format!("Invalid input for ethertype. Reason: '{text}' is not in ['IPv4', 'IPv6']."))
        })?,
    };
    let protocol = match given.take("protocol") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => normal_protocol(&text)?,
        Some(other) => normal_protocol(&other.to_string())?,
    };
    let remote_prefix = prefix(&mut given)?;
    let remote_group = group(&mut given, "remote_group_id")?;
    let remote = match (remote_prefix, remote_group) {
        (None, None) => Remote::Anyone,
        (Some(prefix), None) => Remote::Prefix(prefix),
        (None, Some(group)) => Remote::Group(group),
        (Some(_), Some(_)) => {
            return Err(Error::invalid(
                "Only remote_ip_prefix or remote_group_id or remote_address_group_id may be provided.",
            )
            .with_class("SecurityGroupMultipleRemoteEntites"));
        }
    };
    Ok(NewRule {
        group_id: Attributes::required("security_group_id", group_id)?,
        description: given.text("description")?.unwrap_or_default(),
        spec: RuleSpec {
            direction,
            ethertype,
            protocol,
            port_min: port(&mut given, "port_range_min")?,
            port_max: port(&mut given, "port_range_max")?,
            remote,
        },
    })
}

/// A group by its id. What cannot be an id is no group: Neutron looks it up unread.
fn group(given: &mut Attributes, name: &str) -> Result<Option<SecurityGroupId>> {
    let Some(text) = given.parsed::<String>(name, "string")? else { return Ok(None) };
    text.parse().map(Some).map_err(|_| group_not_found(&text))
}

fn port(given: &mut Attributes, name: &str) -> Result<Option<u16>> {
    let Some(number) = given.integer(name)? else { return Ok(None) };
    u16::try_from(number).map(Some).map_err(|_| {
        Error::invalid(format!("Invalid value for port {number}")).with_class("SecurityGroupInvalidPortValue")
    })
}

/// A range, or one address without the length.
fn prefix(given: &mut Attributes) -> Result<Option<IpNet>> {
    let Some(text) = given.parsed::<String>("remote_ip_prefix", "string")? else { return Ok(None) };
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    match parsed {
        Some(prefix) => Ok(Some(prefix)),
        None => {
            Err(Error::invalid(format!("Invalid CIDR {text} given as IP prefix.")).with_class("InvalidCIDR"))
        }
    }
}
