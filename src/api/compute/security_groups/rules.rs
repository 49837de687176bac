//! `/os-security-group-rules`: rules for what comes in, made and deleted one by one. Ends at 2.36.

use super::view::{self, ANYWHERE};
use super::{as_kind, given, id};
use crate::api::call::{Call, Outcome, Reply};
use crate::api::compute::request;
use crate::core::ids::{SecurityGroupId, SecurityGroupRuleId};
use crate::core::security_group::{Direction, Ethertype, NewRule, Remote, RuleSpec, normal_protocol};
use crate::core::{Error, Kind, Result};
use actix_web::http::StatusCode;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

pub async fn create(mut call: Call) -> Outcome {
    request::authorize(&call)?;
    let given = given(&mut call, "security_group_rule").await?;
    let networks = &call.state.services.networks;
    let actor = call.actor()?;
    let parent: SecurityGroupId =
        id(given.get("parent_group_id").and_then(Value::as_str).unwrap_or_default())?;
    let (_, rules) = networks.show_group(actor, parent).await?;
    let spec = spec(&given)?;
    if let Remote::Group(remote) = spec.remote {
        networks.show_group(actor, remote).await?;
    }
    if rules.iter().any(|rule| alike(&rule.spec, &spec)) {
        return Err(Error::invalid(format!("This rule already exists in group {parent}")).into());
    }
    let rule = NewRule { group_id: parent, description: String::new(), spec };
    let made = networks.create_rules(actor, vec![rule]).await;
    let made = made.map_err(|error| as_kind(error, Kind::Forbidden))?;
    let remotes = networks.remotes(actor, &made).await?;
    let view = made.first().and_then(|rule| view::rule(rule, &remotes));
    let view = view.ok_or_else(|| Error::internal("no rule was made that can be shown"))?;
    Ok(Reply::json(StatusCode::OK, &json!({"security_group_rule": view}))?)
}

pub async fn delete(call: Call) -> Outcome {
    request::authorize(&call)?;
    let id = id::<SecurityGroupRuleId>(call.params.get("id"))?;
    call.state.services.networks.delete_rule(call.actor()?, id).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// Whether two rules look the same here, where everyone and all of IPv4 are one.
fn alike(one: &RuleSpec, other: &RuleSpec) -> bool {
    fn remote(spec: &RuleSpec) -> (Option<SecurityGroupId>, Option<String>) {
        match &spec.remote {
            Remote::Group(group) => (Some(*group), None),
            Remote::Prefix(prefix) => (None, Some(prefix.to_string())),
            Remote::Anyone => (None, Some(ANYWHERE.into())),
        }
    }
    one.direction == other.direction
        && one.protocol == other.protocol
        && view::ports(one) == view::ports(other)
        && remote(one) == remote(other)
}

/// The rule that a body describes: from a group, or else from addresses, where nothing said means everyone.
fn spec(given: &Map<String, Value>) -> Result<RuleSpec> {
    let text = |name: &str| given.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let remote = match given.get("group_id") {
        None | Some(Value::Null) => Remote::Prefix(cidr(given.get("cidr"))?),
        Some(group) => Remote::Group(id(group.as_str().unwrap_or_default())?),
    };
    let ethertype = match remote {
        Remote::Prefix(IpNet::V6(_)) => Ethertype::V6,
        _ => Ethertype::V4,
    };
    let of_group = matches!(remote, Remote::Group(_));
    let mut spec = RuleSpec::all(Direction::Ingress, ethertype, remote);
    let stated = |name: &str| given.get(name).filter(|port| !port.is_null());
    match (text("ip_protocol"), stated("from_port"), stated("to_port")) {
        (Some(protocol), Some(from), Some(to)) => ranged(&mut spec, protocol, from, to)?,
        // All types, codes and ports of a protocol may be left out where a group is let in.
        (Some(protocol), None, None) if of_group => match protocol.to_ascii_lowercase().as_str() {
            "icmp" => ranged(&mut spec, protocol, &json!(-1), &json!(-1))?,
            "tcp" | "udp" => ranged(&mut spec, protocol, &json!(1), &json!(65535))?,
            _ => {}
        },
        _ if of_group => {}
        _ => return Err(Error::invalid("Not enough parameters to build a valid rule.")),
    }
    Ok(spec)
}

/// A range of addresses. Nothing said is all of IPv4.
fn cidr(given: Option<&Value>) -> Result<IpNet> {
    let text = match given {
        None | Some(Value::Null) => ANYWHERE,
        Some(Value::String(text)) if text.is_empty() => ANYWHERE,
        Some(Value::String(text)) => text,
        Some(other) => return Err(Error::invalid(format!("{other} is not a valid IP network."))),
    };
    let decoded = percent_decode_str(text).decode_utf8_lossy();
    let range: IpNet =
        decoded.parse().map_err(|_| Error::invalid(format!("{decoded} is not a valid IP network.")))?;
    if range.prefix_len() == 0 && !range.addr().is_unspecified() {
        return Err(Error::invalid(format!("Bad prefix for network in cidr {range}")));
    }
    Ok(range)
}

/// Narrows a rule to a protocol with its ports, or its type and code of which -1 means all.
fn ranged(spec: &mut RuleSpec, protocol: &str, from: &Value, to: &Value) -> Result<()> {
    let icmp = protocol.eq_ignore_ascii_case("icmp");
    let (Some(from), Some(to)) = (whole(from), whole(to)) else {
        let words = if icmp {
            "Type and Code must be integers for ICMP protocol type"
        } else {
            "To and From ports must be integers"
        };
        return Err(Error::invalid(format!("Invalid input received: {words}")));
    };
    if !icmp && !["tcp", "udp"].iter().any(|known| protocol.eq_ignore_ascii_case(known)) {
        return Err(Error::invalid(format!("Invalid IP protocol {protocol}.")));
    }
    let bad = |words: &str| Err(Error::invalid(format!("Invalid port range {from}:{to}. {words}")));
    if !icmp && from > to {
        return bad("Former value cannot be greater than the later");
    }
    if !icmp && (from < 1 || to > 65535) {
        return bad(&format!("Valid {} ports should be between 1-65535", protocol.to_uppercase()));
    }
    if icmp && (!(-1..=255).contains(&from) || !(-1..=255).contains(&to)) {
        return bad("For ICMP, the type:code must be valid");
    }
    spec.protocol = normal_protocol(protocol)?;
    // Only -1 has no counterpart.
    spec.port_min = u16::try_from(from).ok();
    spec.port_max = u16::try_from(to).ok();
    Ok(())
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(digits) => digits.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &Value) -> String {
        spec(body.as_object().unwrap()).unwrap_err().message().to_owned()
    }

    fn made(body: &Value) -> RuleSpec {
        spec(body.as_object().unwrap()).unwrap()
    }

    #[test]
    fn rules_are_read_as_compute_read_them() {
        let web =
            made(&json!({"ip_protocol": "TCP", "from_port": "80", "to_port": 443, "cidr": "10.2.3.124/24"}));
        assert_eq!((web.protocol.as_deref(), web.port_min, web.port_max), (Some("tcp"), Some(80), Some(443)));
        assert_eq!(web.remote, Remote::Prefix("10.2.3.124/24".parse().unwrap()));
        let six = made(
            &json!({"ip_protocol": "udp", "from_port": 1, "to_port": 2, "cidr": "2001%3Adb8%3A%3A%2F64"}),
        );
        assert_eq!(six.ethertype, Ethertype::V6);
        let echo = made(&json!({"ip_protocol": "icmp", "from_port": 8, "to_port": -1}));
        assert_eq!((echo.port_min, echo.port_max), (Some(8), None));
        assert_eq!(echo.remote, Remote::Prefix("0.0.0.0/0".parse().unwrap()));
        let group = SecurityGroupId::random().to_string();
        let all = made(&json!({"group_id": group}));
        assert_eq!((all.protocol.as_deref(), all.port_min), (None, None));
        let tcp = made(&json!({"group_id": group, "ip_protocol": "tcp", "from_port": null}));
        assert_eq!((tcp.port_min, tcp.port_max), (Some(1), Some(65535)));
    }

    #[test]
    fn refusals_have_the_words_of_compute() {
        let rule = |protocol: &str, from: Value, to: Value| {
            refusal(&json!({"ip_protocol": protocol, "from_port": from, "to_port": to}))
        };
        for (words, expected) in [
            (refusal(&json!({})), "Not enough parameters to build a valid rule."),
            (refusal(&json!({"group_id": "x"})), "Security group id should be uuid"),
            (refusal(&json!({"cidr": "10.0.0.0"})), "10.0.0.0 is not a valid IP network."),
            (refusal(&json!({"cidr": "10.0.0.0/0"})), "Bad prefix for network in cidr 10.0.0.0/0"),
            (rule("gre", json!(1), json!(2)), "Invalid IP protocol gre."),
            (rule("tcp", json!("x"), json!(2)), "Invalid input received: To and From ports must be integers"),
            (
                rule("tcp", json!(22), json!(21)),
                "Invalid port range 22:21. Former value cannot be greater than the later",
            ),
            (
                rule("udp", json!(0), json!(7)),
                "Invalid port range 0:7. Valid UDP ports should be between 1-65535",
            ),
            (
                rule("icmp", json!(8), json!(256)),
                "Invalid port range 8:256. For ICMP, the type:code must be valid",
            ),
        ] {
            assert_eq!(words, expected);
        }
    }

    #[test]
    fn everyone_and_all_of_ipv4_are_one() {
        let mut spec = made(&json!({"ip_protocol": "tcp", "from_port": 22, "to_port": 22}));
        let same = spec.clone();
        spec.remote = Remote::Anyone;
        assert!(alike(&spec, &same));
        spec.port_max = Some(23);
        assert!(!alike(&spec, &same));
    }
}
