//! What handlers do with a request before they call a use case, in the order in which Nova does it: read and check the
//! body, check the query, ask the policy.

use super::schema::{self, Context, Schema, query, wire};
use crate::api::call::{Call, JSON_LIMIT};
use crate::api::context;
use crate::api::error::{Dialect, Fault};
use crate::core::{Error, Kind};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The largest page, and the size of one when the caller names none.
pub const MAX_PAGE: usize = 1000;

pub fn context(call: &Call) -> Context {
    Context { minor: call.minor, relaxed: call.legacy }
}

/// The body as JSON, null when there is none.
pub async fn json(call: &mut Call) -> Result<Value, Error> {
    let bytes = call.bytes(JSON_LIMIT).await?;
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&bytes).map_err(|e| Error::invalid("Malformed request body").with_source(e))
}

/// The body, checked and typed.
pub async fn body<T: DeserializeOwned>(call: &mut Call, schema: &Schema) -> Result<T, Error> {
    let mut value = json(call).await?;
    schema::body(schema, &mut value, context(call))?;
    wire::read(value)
}

/// Checks the query and leaves in it what counts.
pub fn query(call: &mut Call, parameters: &query::Parameters) -> Result<(), Error> {
    let context = context(call);
    query::check(parameters, &mut call.query, context)
}

/// Whether the caller's roles satisfy the rule of the route.
pub fn authorize(call: &Call) -> Result<(), Fault> {
    context::authorize(call, call.rule, Dialect::Compute)
}

/// The page that the caller wants: how many, and after which.
///
/// # Errors
/// Invalid for a limit that is no count; the query's table has refused it before, where it has one.
pub fn page(call: &Call) -> Result<(usize, Option<String>), Error> {
    let limit = match call.query.get("limit") {
        None | Some("") => MAX_PAGE,
        Some(text) => {
            text.parse::<usize>().map_err(|_| Error::invalid("limit param must be an integer"))?.min(MAX_PAGE)
        }
    };
    let marker = call.query.get("marker").filter(|marker| !marker.is_empty());
    Ok((limit, marker.map(str::to_owned)))
}

/// The project that the caller acts in.
pub fn project(call: &Call) -> Result<crate::core::ids::ProjectId, Error> {
    call.actor()?
        .project_id
        .clone()
        .ok_or_else(|| Error::new(Kind::Forbidden, "Policy doesn't allow this operation without a project."))
}

/// The id in the path where ids are numbers.
///
/// # Errors
/// Invalid for any other text.
pub fn integer_id(call: &Call) -> Result<i64, Error> {
    let invalid = |_| Error::invalid("Invalid input received: id must be an integer");
    call.params.get("id").parse().map_err(invalid)
}
