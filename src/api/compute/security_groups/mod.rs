//! `/os-security-groups`: the groups of the network API as compute showed them. Ends at 2.36.

pub mod rules;
pub mod view;

use super::request;
use super::schema::query::{LIMIT, Parameters, parameter};
use super::schema::types;
use crate::api::call::{Call, Outcome, Reply};
use crate::api::compute::changes::Input;
use crate::core::ids::SecurityGroupId;
use crate::core::listing::Listing;
use crate::core::security_group::{GroupChanges, NewGroup};
use crate::core::service::networks::GroupWithRules;
use crate::core::{Error, Kind, Result};
use actix_web::http::StatusCode;
use serde_json::{Map, Value, json};
use std::str::FromStr;

static LISTED: Parameters = Parameters {
    input: Input::OtherQuery,
    known: &[LIMIT, parameter("offset", &[&types::LIMIT]), parameter("all_tenants", &[&types::STRING])],
    kept_prefix: None,
};

/// The longest name and description, in characters.
const LONGEST: usize = 255;

pub async fn list(mut call: Call) -> Outcome {
    request::query(&mut call, &LISTED)?;
    request::authorize(&call)?;
    let (limit, _) = request::page(&call)?;
    let offset = call.query.get("offset").and_then(|text| text.parse().ok()).unwrap_or(0);
    let actor = call.actor()?;
    let mut listing = Listing::default();
    if !(actor.is_admin() && call.query.get("all_tenants").is_some()) {
        listing.filters.push(("project_id".into(), vec![request::project(&call)?.to_string()]));
    }
    let networks = &call.state.services.networks;
    let all = networks.list_groups(actor, listing).await?;
    let mut page: Vec<GroupWithRules> = all.into_iter().skip(offset).take(limit).collect();
    page.sort_by(|(a, _), (b, _)| (&a.project_id, &a.name).cmp(&(&b.project_id, &b.name)));
    let remotes = networks.remotes(actor, page.iter().flat_map(|(_, rules)| rules)).await?;
    let views: Vec<_> = page.iter().map(|(group, rules)| view::group(group, rules, &remotes)).collect();
    Ok(Reply::json(StatusCode::OK, &json!({"security_groups": views}))?)
}

pub async fn show(call: Call) -> Outcome {
    request::authorize(&call)?;
    let id = id::<SecurityGroupId>(call.params.get("id"))?;
    let found = call.state.services.networks.show_group(call.actor()?, id).await?;
    answer(&call, &found).await
}

pub async fn create(mut call: Call) -> Outcome {
    request::authorize(&call)?;
    let given = given(&mut call, "security_group").await?;
    let group = NewGroup {
        project_id: None,
        name: text(&given, "name")?,
        description: text(&given, "description")?,
        stateful: true,
    };
    let made = call.state.services.networks.create_groups(call.actor()?, vec![group]).await;
    // Compute took every conflict for a group too many.
    let made = made.map_err(|error| as_kind(error, Kind::Forbidden))?;
    let first = made.first().ok_or_else(|| Error::internal("no group was made"))?;
    answer(&call, first).await
}

pub async fn update(mut call: Call) -> Outcome {
    request::authorize(&call)?;
    let id = id::<SecurityGroupId>(call.params.get("id"))?;
    call.state.services.networks.show_group(call.actor()?, id).await?;
    let given = given(&mut call, "security_group").await?;
    let changes = GroupChanges {
        name: Some(text(&given, "name")?),
        description: Some(text(&given, "description")?),
        stateful: None,
    };
    let changed = call.state.services.networks.update_group(call.actor()?, id, changes).await;
    answer(&call, &changed.map_err(|error| as_kind(error, Kind::Invalid))?).await
}

pub async fn delete(call: Call) -> Outcome {
    request::authorize(&call)?;
    let id = id::<SecurityGroupId>(call.params.get("id"))?;
    let deleted = call.state.services.networks.delete_group(call.actor()?, id).await;
    deleted.map_err(|error| as_kind(error, Kind::Invalid))?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

async fn answer(call: &Call, (group, rules): &GroupWithRules) -> Outcome {
    let remotes = call.state.services.networks.remotes(call.actor()?, rules).await?;
    let view = view::group(group, rules, &remotes);
    Ok(Reply::json(StatusCode::OK, &json!({"security_group": view}))?)
}

/// The id of a group or a rule.
fn id<T: FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| Error::invalid("Security group id should be uuid"))
}

/// What the body says under its one key.
async fn given(call: &mut Call, key: &str) -> Result<Map<String, Value>> {
    match request::json(call).await? {
        Value::Null => Err(Error::invalid("The request body can't be empty")),
        Value::Object(body) if body.is_empty() => Err(Error::invalid("The request body can't be empty")),
        mut body => match body.get_mut(key).map(Value::take) {
            Some(Value::Object(fields)) => Ok(fields),
            _ => Err(Error::invalid(format!("Missing parameter {key}"))),
        },
    }
}

fn text(given: &Map<String, Value>, name: &str) -> Result<String> {
    let Some(Value::String(text)) = given.get(name) else {
        return Err(Error::invalid(format!("{name} is not a string or unicode")));
    };
    let length = text.chars().count();
    if length > LONGEST {
        return Err(Error::invalid(format!("{name} has {length} characters, more than {LONGEST}.")));
    }
    Ok(text.clone())
}

/// The words of the network API with the code that compute gave for its conflicts.
fn as_kind(error: Error, kind: Kind) -> Error {
    match error.kind() {
        Kind::Conflict | Kind::Quota => Error::new(kind, error.message()),
        _ => error,
    }
}
