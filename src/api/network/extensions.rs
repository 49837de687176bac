//! `/v2.0/extensions`: clients offer what they find here, so that only what works is listed.

use super::super::call::{Call, Outcome, Reply};
use crate::core::Error;
use actix_web::http::StatusCode;
use serde::Serialize;
use serde_json::json;

#[derive(Serialize, Clone, Copy)]
struct Extension {
    alias: &'static str,
    name: &'static str,
    description: &'static str,
    updated: &'static str,
    links: [&'static str; 0],
}

const fn extension(
    alias: &'static str,
    name: &'static str,
    description: &'static str,
    updated: &'static str,
) -> Extension {
    Extension { alias, name, description, updated, links: [] }
}

const EXTENSIONS: &[Extension] = &[
    extension(
        "allowed-address-pairs",
        "Allowed Address Pairs",
        "Ports may use addresses that are not their own.",
        "2013-07-23T10:00:00-00:00",
    ),
    extension(
        "availability_zone",
        "Availability Zone",
        "Tells which zones there are.",
        "2015-01-01T10:00:00-00:00",
    ),
    extension(
        "binding",
        "Port Binding",
        "Shows admins where a port is plugged in.",
        "2014-02-03T10:00:00-00:00",
    ),
    extension(
        "empty-string-filtering",
        "Empty String Filtering Extension",
        "Lists can be filtered by empty texts.",
        "2018-05-01T10:00:00-00:00",
    ),
    extension(
        "ip-substring-filtering",
        "IP address substring filtering",
        "Ports can be found by a part of an address.",
        "2017-11-28T09:00:00-00:00",
    ),
    extension("net-mtu", "Network MTU", "Networks show their MTU.", "2015-03-25T10:00:00-00:00"),
    extension(
        "net-mtu-writable",
        "Network MTU (writable)",
        "The MTU of networks can be chosen.",
        "2017-07-12T00:00:00-00:00",
    ),
    extension(
        "network_availability_zone",
        "Network Availability Zone",
        "Networks show their zones.",
        "2015-01-01T10:00:00-00:00",
    ),
    extension("pagination", "Pagination support", "Lists come in pages.", "2016-06-12T00:00:00-00:00"),
    extension(
        "port-security",
        "Port Security",
        "Ports can go without checks of what they send and receive.",
        "2012-07-23T10:00:00-00:00",
    ),
    extension(
        "project-id",
        "project_id field enabled",
        "Objects show their project by its new name too.",
        "2016-09-09T09:09:09-09:09",
    ),
    extension(
        "provider",
        "Provider Network",
        "Shows admins the kind of a network.",
        "2012-09-07T10:00:00-00:00",
    ),
    extension(
        "quota_details",
        "Quota details management support",
        "Shows what is used of limits.",
        "2017-02-10T10:00:00-00:00",
    ),
    extension("quotas", "Quota management support", "Projects have limits.", "2012-07-29T10:00:00-00:00"),
    extension("security-group", "security-group", "Groups of rules for ports.", "2012-10-05T10:00:00-00:00"),
    extension("sorting", "Sorting support", "Lists can be sorted.", "2016-06-12T00:00:00-00:00"),
    extension(
        "standard-attr-description",
        "standard-attr-description",
        "Objects can be described.",
        "2016-02-10T10:00:00-00:00",
    ),
    extension(
        "standard-attr-revisions",
        "Resource revision numbers",
        "Objects count their changes.",
        "2016-04-11T10:00:00-00:00",
    ),
    extension(
        "standard-attr-tag",
        "Tag support for resources",
        "Objects can be tagged.",
        "2017-01-01T00:00:00-00:00",
    ),
    extension(
        "standard-attr-timestamp",
        "Resource timestamps",
        "Objects show when they were made and changed.",
        "2016-09-12T10:00:00-00:00",
    ),
    extension(
        "stateful-security-group",
        "Stateful security group",
        "Groups tell whether they follow connections.",
        "2019-11-26T09:00:00-00:00",
    ),
];

pub(super) async fn list(_call: Call) -> Outcome {
    Ok(Reply::json(StatusCode::OK, &json!({ "extensions": EXTENSIONS }))?)
}

pub(super) async fn show(call: Call) -> Outcome {
    let alias = call.params.get("alias");
    match EXTENSIONS.iter().find(|extension| extension.alias == alias) {
        Some(extension) => Ok(Reply::json(StatusCode::OK, &json!({ "extension": extension }))?),
        None => Err(Error::not_found(format!("Extension with alias {alias} does not exist")).into()),
    }
}
