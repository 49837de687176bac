//! `/limits`: how much the project may have, and how much of it is taken.

use super::changes::{Input, Resource, shape};
use super::request;
use super::schema::query::{Parameters, parameter};
use super::schema::types::STRING;
use crate::api::call::{Call, Outcome, Reply};
use crate::api::version::shape::{Shape, Writer};
use crate::core::ids::ProjectId;
use crate::core::policy::{Rule, check};
use crate::core::quota::{Limits, Resource as Counted, Usage};
use actix_web::http::StatusCode;
use serde::ser::{Serialize, Serializer};

static QUERY: Parameters =
    Parameters { input: Input::LimitsQuery, known: &[parameter("tenant_id", &[&STRING])], kept_prefix: None };

pub(super) struct Absolute<'a> {
    pub limits: &'a Limits,
    pub usage: Usage,
    pub shape: &'static Shape,
}

impl Serialize for Absolute<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = Writer::new(serializer.serialize_map(None)?, self.shape);
        for (key, counted) in [
            ("maxImageMeta", Counted::MetadataItems),
            ("maxPersonality", Counted::InjectedFiles),
            ("maxPersonalitySize", Counted::InjectedFileContentBytes),
            ("maxServerMeta", Counted::MetadataItems),
            ("maxTotalCores", Counted::Cores),
            ("maxTotalInstances", Counted::Instances),
            ("maxTotalKeypairs", Counted::KeyPairs),
            ("maxTotalRAMSize", Counted::Ram),
            ("maxServerGroups", Counted::ServerGroups),
            ("maxServerGroupMembers", Counted::ServerGroupMembers),
            ("maxSecurityGroupRules", Counted::SecurityGroupRules),
            ("maxSecurityGroups", Counted::SecurityGroups),
            ("maxTotalFloatingIps", Counted::FloatingIps),
        ] {
            out.field(key, &self.limits.of(counted))?;
        }
        // Counted by the network service alone.
        for key in ["totalFloatingIpsUsed", "totalSecurityGroupsUsed"] {
            out.field(key, &0)?;
        }
        out.field("totalCoresUsed", &self.usage.cores)?;
        out.field("totalInstancesUsed", &self.usage.instances)?;
        out.field("totalRAMUsed", &self.usage.ram_mib)?;
        out.field("totalServerGroupsUsed", &self.usage.server_groups)?;
        out.end()
    }
}

#[derive(serde::Serialize)]
struct Body<'a> {
    limits: Inner<'a>,
}

#[derive(serde::Serialize)]
struct Inner<'a> {
    /// Rates are not limited.
    rate: [(); 0],
    absolute: Absolute<'a>,
}

pub async fn show(mut call: Call) -> Outcome {
    request::query(&mut call, &QUERY)?;
    request::authorize(&call)?;
    let project = match call.query.get("tenant_id") {
        Some(other) => {
            check(Rule::Admin("os_compute_api:limits:other_project"), call.actor()?)?;
            ProjectId::from(other)
        }
        None => request::project(&call)?,
    };
    let (limits, usage) = call.state.services.quotas.of(project).await?;
    let absolute = Absolute { limits: &limits, usage, shape: shape(Resource::Limits, call.minor) };
    Ok(Reply::json(StatusCode::OK, &Body { limits: Inner { rate: [], absolute } })?)
}
