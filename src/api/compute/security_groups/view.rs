//! Security groups in the shape in which Nova once kept them: rules for what comes in, with ports always told.

use crate::core::ids::{SecurityGroupId, SecurityGroupRuleId};
use crate::core::security_group::{Direction, Remote, RuleSpec, SecurityGroup, SecurityGroupRule};
use serde::Serialize;
use std::collections::HashMap;

/// The groups whose members rules let in, as far as the caller may see them.
pub type Remotes = HashMap<SecurityGroupId, SecurityGroup>;

#[derive(Serialize)]
pub struct GroupView<'a> {
    id: SecurityGroupId,
    name: &'a str,
    description: &'a str,
    tenant_id: &'a str,
    rules: Vec<RuleView<'a>>,
}

/// A rule for what comes in.
#[derive(Serialize)]
pub struct RuleView<'a> {
    id: SecurityGroupRuleId,
    parent_group_id: SecurityGroupId,
    ip_protocol: Option<&'a str>,
    from_port: Option<i32>,
    to_port: Option<i32>,
    group: RemoteView<'a>,
    ip_range: RangeView,
}

/// Empty for rules that name addresses.
#[derive(Serialize, Default)]
struct RemoteView<'a> {
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

/// What stands for everyone's addresses.
pub const ANYWHERE: &str = "0.0.0.0/0";

pub fn group<'a>(
    group: &'a SecurityGroup,
    rules: &'a [SecurityGroupRule],
    remotes: &'a Remotes,
) -> GroupView<'a> {
    GroupView {
        id: group.id,
        name: &group.name,
        description: &group.description,
        tenant_id: group.project_id.as_str(),
        rules: rules.iter().filter_map(|one| rule(one, remotes)).collect(),
    }
}

/// `None` for rules that this shape cannot tell: of what goes out, or about a group that the caller may not see.
pub fn rule<'a>(rule: &'a SecurityGroupRule, remotes: &'a Remotes) -> Option<RuleView<'a>> {
    let spec = &rule.spec;
    if spec.direction != Direction::Ingress {
        return None;
    }
    let (group, ip_range) = match &spec.remote {
        Remote::Group(remote) => {
            let remote = remotes.get(remote)?;
            let (name, tenant_id) = (Some(remote.name.as_str()), Some(remote.project_id.as_str()));
            (RemoteView { name, tenant_id }, RangeView::default())
        }
        Remote::Prefix(prefix) => (RemoteView::default(), RangeView { cidr: Some(prefix.to_string()) }),
        Remote::Anyone => (RemoteView::default(), RangeView { cidr: Some(ANYWHERE.into()) }),
    };
    let (from_port, to_port) = ports(spec);
    Some(RuleView {
        id: rule.id,
        parent_group_id: rule.group_id,
        ip_protocol: spec.protocol.as_deref(),
        from_port,
        to_port,
        group,
        ip_range,
    })
}

/// The ports of a rule; -1 stands for all types and codes.
pub fn ports(spec: &RuleSpec) -> (Option<i32>, Option<i32>) {
    match (spec.protocol.as_deref(), spec.port_min, spec.port_max) {
        (Some("tcp" | "udp"), None, None) => (Some(1), Some(65535)),
        (Some(_), None, None) => (Some(-1), Some(-1)),
        (_, min, max) => (min.map(i32::from), max.map(i32::from)),
    }
}
