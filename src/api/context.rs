//! Who calls and whether he may: the same steps for every API.

use super::call::Call;
use super::error::{Dialect, Fault};
use crate::core::Error;
use crate::core::identity::{denied, path_fits, unauthenticated};
use crate::core::policy::Rule;
use actix_web::http::Method;

/// Finds out who calls, and whether he may call this; open routes ask nothing. `path` is the path without the mount.
pub async fn admit(call: &mut Call, rule: Rule, dialect: Dialect, path: &str) -> Result<(), Fault> {
    if !rule.needs_token() {
        return Ok(());
    }
    authenticate(call, dialect, path).await?;
    authorize(call, rule, dialect)
}

/// Fills `call.actor` from the token, or says 401. Whoever is known may be told that his query cannot be read.
pub async fn authenticate(call: &mut Call, dialect: Dialect, path: &str) -> Result<(), Error> {
    let token = call.header("x-auth-token").ok_or_else(unauthenticated)?;
    let session = call.state.services.identity.session(token).await?;
    if let Some(credential) = &session.credential
        && !credential.access_rules.is_empty()
    {
        // Looking at something by HEAD needs no more than looking at it by GET.
        let method = if call.method == Method::HEAD { "GET" } else { call.method.as_str() };
        let service = service_type(dialect);
        let allowed = credential
            .access_rules
            .iter()
            .any(|rule| rule.service == service && rule.method == method && path_fits(&rule.path, path));
        if !allowed {
            return Err(unauthenticated());
        }
    }
    call.actor = Some(session.actor(call.request_id.clone()));
    if call.query_is_text { Ok(()) } else { Err(Error::invalid("Query string is not UTF-8 encoded")) }
}

/// Whether the caller's roles satisfy the rule; the words of the 403 are those of the API.
pub fn authorize(call: &Call, rule: Rule, dialect: Dialect) -> Result<(), Fault> {
    let actor = call.actor()?;
    if rule.allows(actor) {
        return Ok(());
    }
    let name = rule.name();
    Err(Fault::Error(match dialect {
        Dialect::Identity => denied(name),
        Dialect::Compute => Error::forbidden(format!("Policy doesn't allow {name} to be performed.")),
        Dialect::Image => Error::forbidden(format!("You are not authorized to complete {name} action.")),
        Dialect::Network => Error::forbidden(format!("(rule:{name}) is disallowed by policy"))
            .with_class("PolicyNotAuthorized"),
    }))
}

/// What the catalog calls an API.
fn service_type(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Compute => "compute",
        Dialect::Identity => "identity",
        Dialect::Image => "image",
        Dialect::Network => "network",
    }
}
