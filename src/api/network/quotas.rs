//! `/v2.0/quotas`.

use super::super::call::{Call, Outcome, Reply};
use super::attributes::bad;
use crate::core::Result;
use crate::core::ids::ProjectId;
use crate::core::network::QUOTA_DEFAULTS;
use crate::core::service::networks::QuotaUse;
use actix_web::http::StatusCode;
use serde_json::{Map, Value, json};

fn project(call: &Call) -> ProjectId {
    ProjectId::from(call.params.get("project"))
}

fn limits(quota: &[QuotaUse]) -> Map<String, Value> {
    quota.iter().map(|entry| (entry.resource.to_owned(), entry.limit.into())).collect()
}

async fn current(call: &Call) -> Outcome {
    let quota = call.state.services.networks.quota(call.actor()?, project(call)).await?;
    Ok(Reply::json(StatusCode::OK, &json!({ "quota": limits(&quota) }))?)
}

/// The projects whose limits are not the default ones.
pub(super) async fn list(call: Call) -> Outcome {
    let service = &call.state.services.networks;
    let mut quotas = Vec::new();
    for project in service.projects_with_quota().await? {
        let mut entry = limits(&service.quota(call.actor()?, project.clone()).await?);
        entry.insert("project_id".into(), project.as_str().into());
        entry.insert("tenant_id".into(), project.as_str().into());
        quotas.push(entry);
    }
    Ok(Reply::json(StatusCode::OK, &json!({ "quotas": quotas }))?)
}

pub(super) async fn show(call: Call) -> Outcome {
    current(&call).await
}

pub(super) async fn defaults(_call: Call) -> Outcome {
    let limits: Map<String, Value> =
        QUOTA_DEFAULTS.iter().map(|(resource, limit)| ((*resource).to_owned(), (*limit).into())).collect();
    Ok(Reply::json(StatusCode::OK, &json!({ "quota": limits }))?)
}

pub(super) async fn details(call: Call) -> Outcome {
    let quota = call.state.services.networks.quota(call.actor()?, project(&call)).await?;
    let details: Map<String, Value> = quota
        .iter()
        .map(|entry| {
            let detail = json!({"limit": entry.limit, "used": entry.used, "reserved": 0});
            (entry.resource.to_owned(), detail)
        })
        .collect();
    Ok(Reply::json(StatusCode::OK, &json!({ "quota": details }))?)
}

pub(super) async fn update(mut call: Call) -> Outcome {
    let body = call.json().await?;
    let wanted = wanted(&body)?;
    call.state.services.networks.set_quota(project(&call), wanted).await?;
    current(&call).await
}

pub(super) async fn reset(call: Call) -> Outcome {
    call.state.services.networks.reset_quota(project(&call)).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

fn wanted(body: &Value) -> Result<Vec<(&'static str, i64)>> {
    let quota = body
        .get("quota")
        .and_then(Value::as_object)
        .ok_or_else(|| bad("Unable to find 'quota' in request body"))?;
    let mut wanted = Vec::with_capacity(quota.len());
    for (name, value) in quota {
        let Some((resource, _)) = QUOTA_DEFAULTS.iter().find(|(resource, _)| resource == name) else {
            return Err(bad(format!("Unrecognized attribute(s) '{name}'")));
        };
        let number = value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
        match number {
            Some(limit) if (-1..=i64::from(i32::MAX)).contains(&limit) => wanted.push((*resource, limit)),
            _ => {
                return Err(bad(format!(
                    "Invalid input for {name}. Reason: quota limit {value} must be an integer from -1 to {}.",
                    i32::MAX
                )));
            }
        }
    }
    Ok(wanted)
}
