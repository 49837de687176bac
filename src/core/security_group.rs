//! Security groups and their rules: what they are and which ones are well formed.

use super::error::{Error, Result};
use super::ids::{ProjectId, SecurityGroupId, SecurityGroupRuleId};
use ipnet::IpNet;
use jiff::Timestamp;
use std::fmt;

/// The name of the group that every project has.
pub const DEFAULT_GROUP: &str = "default";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityGroup {
    pub id: SecurityGroupId,
    pub project_id: ProjectId,
    pub name: String,
    pub description: String,
    pub stateful: bool,
    pub tags: Vec<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub revision: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityGroupRule {
    pub id: SecurityGroupRuleId,
    pub group_id: SecurityGroupId,
    pub project_id: ProjectId,
    pub description: String,
    pub spec: RuleSpec,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub revision: i64,
}

/// A group that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGroup {
    /// Another project's than the caller's, for admins.
    pub project_id: Option<ProjectId>,
    pub name: String,
    pub description: String,
    pub stateful: bool,
}

/// What somebody wants to change about a group; `None` leaves it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupChanges {
    pub name: Option<String>,
    pub description: Option<String>,
    pub stateful: Option<bool>,
}

/// A rule that somebody wants. It belongs to the project of its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRule {
    pub group_id: SecurityGroupId,
    pub description: String,
    pub spec: RuleSpec,
}

/// What a rule lets through. Two rules of one group may not be equal in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSpec {
    pub direction: Direction,
    pub ethertype: Ethertype,
    /// A name in lower case or a number from 0 to 255 as text; `None` for every protocol.
    pub protocol: Option<String>,
    /// First port, or the ICMP type.
    pub port_min: Option<u16>,
    /// Last port, or the ICMP code.
    pub port_max: Option<u16>,
    pub remote: Remote,
}

/// Who the other end may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    Anyone,
    Prefix(IpNet),
    Group(SecurityGroupId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Ingress, Self::Egress].into_iter().find(|direction| direction.as_str() == text)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ethertype {
    V4,
    V6,
}

impl Ethertype {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::V4, Self::V6].into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(text))
    }
}

/// The protocols that have a name here, with their numbers.
const PROTOCOLS: [(&str, u8); 25] = [
    ("ah", 51),
    ("dccp", 33),
    ("egp", 8),
    ("esp", 50),
    ("gre", 47),
    ("hopopt", 0),
    ("icmp", 1),
    ("icmpv6", 58),
    ("igmp", 2),
    ("ip", 0),
    ("ipip", 4),
    ("ipv6-encap", 41),
    ("ipv6-frag", 44),
    ("ipv6-icmp", 58),
    ("ipv6-nonxt", 59),
    ("ipv6-opts", 60),
    ("ipv6-route", 43),
    ("ospf", 89),
    ("pgm", 113),
    ("rsvp", 46),
    ("sctp", 132),
    ("tcp", 6),
    ("udp", 17),
    ("udplite", 136),
    ("vrrp", 112),
];

/// A protocol in the form in which it is kept; `any` means every one.
pub fn normal_protocol(text: &str) -> Result<Option<String>> {
    let lower = text.to_ascii_lowercase();
    if lower == "any" {
        return Ok(None);
    }
    let known = PROTOCOLS.iter().any(|(name, _)| *name == lower);
    if known || lower.parse::<u8>().is_ok() {
        return Ok(Some(lower));
    }
    let names: Vec<String> = PROTOCOLS.iter().map(|(name, _)| format!("'{name}'")).collect();
    Err(bad_rule(
        format!(
            "Security group rule protocol {text} not supported. Only protocol values [{}] and integer \
             representations [0 to 255] are supported.",
            names.join(", ")
        ),
        "SecurityGroupRuleInvalidProtocol",
    ))
}

impl RuleSpec {
    /// A rule for everything in one direction.
    pub fn all(direction: Direction, ethertype: Ethertype, remote: Remote) -> Self {
        Self { direction, ethertype, protocol: None, port_min: None, port_max: None, remote }
    }

    /// The group whose members it lets in, if it names one.
    pub fn remote_group(&self) -> Option<SecurityGroupId> {
        if let Remote::Group(group) = self.remote { Some(group) } else { None }
    }

    /// The protocol's number, if there is one.
    pub fn protocol_number(&self) -> Option<u8> {
        let text = self.protocol.as_deref()?;
        let named = PROTOCOLS.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
        named.or_else(|| text.parse().ok())
    }

    /// Whether ports fit the protocol and the prefix fits the ethertype.
    pub fn check(&self) -> Result<()> {
        self.check_ports()?;
        if let Remote::Prefix(prefix) = &self.remote {
            let same = matches!(
                (self.ethertype, prefix),
                (Ethertype::V4, IpNet::V4(_)) | (Ethertype::V6, IpNet::V6(_))
            );
            if !same {
                return Err(bad_rule(
                    format!("Conflicting value ethertype {} for CIDR {prefix}", self.ethertype.as_str()),
                    "SecurityGroupRuleParameterConflict",
                ));
            }
        }
        if self.ethertype == Ethertype::V4 && self.protocol_number() == Some(58) {
            return Err(bad_rule(
                format!(
                    "Invalid ethertype IPv4 for protocol {}.",
                    self.protocol.as_deref().unwrap_or_default()
                ),
                "SecurityGroupEthertypeConflictWithProtocol",
            ));
        }
        Ok(())
    }

    fn check_ports(&self) -> Result<()> {
        let (min, max) = (self.port_min, self.port_max);
        if min.is_none() && max.is_none() {
            return Ok(());
        }
        let Some(protocol) = self.protocol.as_deref() else {
            return Err(bad_rule(
                "Must also specify protocol if port range is given.",
                "SecurityGroupProtocolRequiredWithPorts",
            ));
        };
        match self.protocol_number() {
            Some(6 | 17 | 33 | 132 | 136) => match (min, max) {
                (Some(0), _) | (_, Some(0)) => {
                    Err(bad_rule("Invalid value for port 0", "SecurityGroupInvalidPortValue"))
                }
                (Some(min), Some(max)) if min <= max => Ok(()),
                _ => Err(bad_rule(
                    "For TCP/UDP protocols, port_range_min must be <= port_range_max",
                    "SecurityGroupInvalidPortRange",
                )),
            },
            Some(1 | 58) => {
                let Some(kind) = min else {
                    return Err(bad_rule(
                        format!(
                            "ICMP code (port-range-max) {} is provided but ICMP type (port-range-min) is missing",
                            max.map(|code| code.to_string()).unwrap_or_default()
                        ),
                        "SecurityGroupMissingIcmpType",
                    ));
                };
                for (field, attribute, value) in
                    [("type", "port_range_min", Some(kind)), ("code", "port_range_max", max)]
                {
                    if let Some(value) = value.filter(|value| *value > 255) {
                        return Err(bad_rule(
                            format!(
                                "Invalid value for ICMP {field} ({attribute}) {value}. It must be 0 to 255."
                            ),
                            "SecurityGroupInvalidIcmpValue",
                        ));
                    }
                }
                Ok(())
            }
            _ => Err(bad_rule(
                format!(
                    "Invalid protocol {protocol} for port range, only supported for TCP, UDP, UDPLITE, SCTP and DCCP."
                ),
                "SecurityGroupInvalidProtocolForPort",
            )),
        }
    }
}

/// The rules that a new group starts with: everything out; in the default group also everything between its members.
pub fn first_rules(group: SecurityGroupId, is_default: bool) -> Vec<RuleSpec> {
    let mut rules = Vec::with_capacity(4);
    for ethertype in [Ethertype::V4, Ethertype::V6] {
        rules.push(RuleSpec::all(Direction::Egress, ethertype, Remote::Anyone));
        if is_default {
            rules.push(RuleSpec::all(Direction::Ingress, ethertype, Remote::Group(group)));
        }
    }
    rules
}

fn bad_rule(detail: impl Into<String>, class: &'static str) -> Error {
    Error::invalid(detail).with_class(class)
}

pub fn group_not_found(id: impl fmt::Display) -> Error {
    Error::not_found(format!("Security group {id} does not exist")).with_class("SecurityGroupNotFound")
}

pub fn rule_not_found(id: impl fmt::Display) -> Error {
    Error::not_found(format!("Security group rule {id} does not exist"))
        .with_class("SecurityGroupRuleNotFound")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(protocol: Option<&str>, min: Option<u16>, max: Option<u16>) -> Result<(), &'static str> {
        let mut spec = RuleSpec::all(Direction::Ingress, Ethertype::V4, Remote::Anyone);
        spec.protocol = protocol.map(Into::into);
        spec.port_min = min;
        spec.port_max = max;
        spec.check().map_err(|e| e.class().unwrap())
    }

    #[test]
    fn ports_fit_their_protocol() {
        assert_eq!(rule(None, None, None), Ok(()));
        assert_eq!(rule(Some("tcp"), Some(22), Some(22)), Ok(()));
        assert_eq!(rule(Some("6"), Some(22), Some(80)), Ok(()));
        assert_eq!(rule(Some("icmp"), Some(8), None), Ok(()));
        assert_eq!(rule(Some("icmp"), Some(8), Some(0)), Ok(()));
        assert_eq!(rule(None, Some(1), Some(2)), Err("SecurityGroupProtocolRequiredWithPorts"));
        assert_eq!(rule(Some("tcp"), Some(80), Some(22)), Err("SecurityGroupInvalidPortRange"));
        assert_eq!(rule(Some("udp"), None, Some(22)), Err("SecurityGroupInvalidPortRange"));
        assert_eq!(rule(Some("tcp"), Some(0), Some(22)), Err("SecurityGroupInvalidPortValue"));
        assert_eq!(rule(Some("icmp"), None, Some(0)), Err("SecurityGroupMissingIcmpType"));
        assert_eq!(rule(Some("icmp"), Some(256), None), Err("SecurityGroupInvalidIcmpValue"));
        assert_eq!(rule(Some("gre"), Some(1), Some(2)), Err("SecurityGroupInvalidProtocolForPort"));
        assert_eq!(rule(Some("ipv6-icmp"), None, None), Err("SecurityGroupEthertypeConflictWithProtocol"));
    }

    #[test]
    fn prefixes_fit_their_ethertype() {
        let mut spec =
            RuleSpec::all(Direction::Ingress, Ethertype::V6, Remote::Prefix("10.0.0.0/8".parse().unwrap()));
        assert_eq!(spec.check().unwrap_err().class(), Some("SecurityGroupRuleParameterConflict"));
        spec.ethertype = Ethertype::V4;
        assert!(spec.check().is_ok());
    }

    #[test]
    fn protocols_have_one_form() {
        assert_eq!(normal_protocol("TCP").unwrap().as_deref(), Some("tcp"));
        assert_eq!(normal_protocol("any").unwrap(), None);
        assert_eq!(normal_protocol("255").unwrap().as_deref(), Some("255"));
        assert!(normal_protocol("256").is_err());
        assert!(normal_protocol("bogus").is_err());
    }

    #[test]
    fn only_the_default_group_lets_its_members_in() {
        let group = SecurityGroupId::random();
        assert_eq!(first_rules(group, false).len(), 2);
        let rules = first_rules(group, true);
        assert_eq!(rules.len(), 4);
        assert_eq!(rules.iter().filter(|r| r.remote == Remote::Group(group)).count(), 2);
    }
}
