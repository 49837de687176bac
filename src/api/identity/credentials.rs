//! Application credentials, access rules, EC2 keys and `/credentials`.

use super::body::Fields;
use super::tokens::{AccessRuleView, access_rule};
use super::users::own_or_any;
use super::views::{Links, all, nothing, one, session, text};
use crate::api::call::{Call, Outcome};
use crate::core::clock::micros_naive;
use crate::core::identity::change::{CredentialInput, NewApplicationCredential, RoleSelector};
use crate::core::identity::{AccessRule, ApplicationCredential, Credential, Extra, denied};
use crate::core::ids::{ApplicationCredentialId, RoleId, UserId};
use crate::core::service::identity::new_access_rule;
use crate::core::{Error, Result};
use actix_web::http::StatusCode;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;

#[derive(Serialize)]
struct RoleInCredential<'a> {
    id: &'a str,
    name: &'a str,
    domain_id: Option<&'a str>,
}

#[derive(Serialize)]
struct ApplicationCredentialView<'a> {
    id: &'a str,
    name: &'a str,
    description: Option<&'a str>,
    project_id: &'a str,
    unrestricted: bool,
    expires_at: Option<String>,
    roles: Vec<RoleInCredential<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    access_rules: Vec<AccessRuleView<'a>>,
    /// Shown once, to who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    links: Links,
}

fn view<'a>(
    credential: &'a ApplicationCredential,
    secret: Option<&'a str>,
    base: &str,
) -> ApplicationCredentialView<'a> {
    let place = format!("users/{}/application_credentials", credential.user_id);
    ApplicationCredentialView {
        id: credential.id.as_str(),
        name: &credential.name,
        description: credential.description.as_deref(),
        project_id: credential.project_id.as_str(),
        unrestricted: credential.unrestricted,
        expires_at: credential.expires_at.map(micros_naive),
        roles: credential
            .roles
            .iter()
            .map(|role| RoleInCredential {
                id: role.id.as_str(),
                name: &role.name,
                domain_id: role.domain_id.as_ref().map(crate::core::ids::DomainId::as_str),
            })
            .collect(),
        access_rules: credential.access_rules.iter().map(access_rule).collect(),
        secret,
        links: Links::to(base, &place, credential.id.as_str()),
    }
}

/// The user in the path, who has to be the caller.
fn own(call: &Call, rule: &str) -> Result<UserId> {
    let user = UserId::from(call.params.get("user_id"));
    if call.actor()?.user_id == user { Ok(user) } else { Err(denied(rule)) }
}

fn credential_id(call: &Call) -> ApplicationCredentialId {
    call.params.get("credential_id").into()
}

pub(super) async fn list_application(call: Call) -> Outcome {
    let user = own_or_any(&call, "identity:list_application_credentials")?;
    let found = call.state.services.identity.application_credentials(user, text(&call, "name")).await?;
    let items: Vec<_> = found.iter().map(|credential| view(credential, None, &call.base)).collect();
    all(&call, "application_credentials", &items)
}

pub(super) async fn show_application(call: Call) -> Outcome {
    let user = own_or_any(&call, "identity:get_application_credential")?;
    let found = call.state.services.identity.application_credential(user, credential_id(&call)).await?;
    one(StatusCode::OK, "application_credential", view(&found, None, &call.base))
}

pub(super) async fn create_application(mut call: Call) -> Outcome {
    own(&call, "identity:create_application_credential")?;
    let mut fields = Fields::read(&mut call, "application_credential").await?;
    let roles = match fields.objects("roles")? {
        Some(roles) if !roles.is_empty() => {
            Some(roles.into_iter().map(role_selector).collect::<Result<Vec<_>>>()?)
        }
        Some(_) | None => None,
    };
    let access_rules = fields.objects("access_rules")?.unwrap_or_default();
    let input = NewApplicationCredential {
        name: fields.required_text("name")?,
        description: fields.text("description")?,
        secret: fields.secret("secret")?.flatten(),
        expires_at: fields.text("expires_at")?.map(|text| expiry(&text)).transpose()?,
        roles,
        unrestricted: fields.flag("unrestricted")?.unwrap_or(false),
        access_rules: access_rules.into_iter().map(rule_input).collect::<Result<_>>()?,
    };
    let session = session(&call).await?;
    let (made, secret) = call.state.services.identity.create_application_credential(&session, input).await?;
    let view = view(&made, Some(secret.expose_secret()), &call.base);
    one(StatusCode::CREATED, "application_credential", view)
}

fn role_selector(mut role: Fields) -> Result<RoleSelector> {
    if let Some(id) = role.text("id")? {
        return Ok(RoleSelector::Id(RoleId(id)));
    }
    Ok(RoleSelector::Name(role.required_text("name")?))
}

fn rule_input(mut rule: Fields) -> Result<AccessRule> {
    let method = rule.required_text("method")?;
    if !["POST", "GET", "HEAD", "PATCH", "PUT", "DELETE"].contains(&method.as_str()) {
        return Err(Error::invalid(format!("Invalid input for field 'method': '{method}' is not a method")));
    }
    Ok(new_access_rule(rule.required_text("service")?, method, rule.required_text("path")?))
}

/// An ISO time, in UTC when it does not say.
fn expiry(text: &str) -> Result<Timestamp> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let naive = text.parse::<DateTime>().and_then(|at| TimeZone::UTC.to_timestamp(at));
    naive
        .map_err(|e| Error::invalid(format!("Invalid input for field 'expires_at': '{text}'")).with_source(e))
}

pub(super) async fn delete_application(call: Call) -> Outcome {
    let user = own_or_any(&call, "identity:delete_application_credential")?;
    if session(&call).await?.is_restricted() {
        return Err(denied("identity:delete_application_credential").into());
    }
    call.state.services.identity.delete_application_credential(user, credential_id(&call)).await?;
    Ok(nothing())
}

#[derive(Serialize)]
struct LinkedRule<'a> {
    #[serde(flatten)]
    rule: AccessRuleView<'a>,
    links: Links,
}

fn linked<'a>(rule: &'a AccessRule, user: &UserId, base: &str) -> LinkedRule<'a> {
    let links = Links::to(base, &format!("users/{user}/access_rules"), &rule.id);
    LinkedRule { rule: access_rule(rule), links }
}

pub(super) async fn list_access_rules(call: Call) -> Outcome {
    let user = own_or_any(&call, "identity:list_access_rules")?;
    let found = call.state.services.identity.access_rules(user.clone()).await?;
    let items: Vec<_> = found.iter().map(|rule| linked(rule, &user, &call.base)).collect();
    all(&call, "access_rules", &items)
}

pub(super) async fn show_access_rule(call: Call) -> Outcome {
    let user = own_or_any(&call, "identity:get_access_rule")?;
    let id = call.params.get("rule_id").to_owned();
    let found = call.state.services.identity.access_rule(user.clone(), id).await?;
    one(StatusCode::OK, "access_rule", linked(&found, &user, &call.base))
}

pub(super) async fn delete_access_rule(call: Call) -> Outcome {
    let user = own_or_any(&call, "identity:delete_access_rule")?;
    let id = call.params.get("rule_id").to_owned();
    call.state.services.identity.delete_access_rule(user, id).await?;
    Ok(nothing())
}

#[derive(Serialize)]
struct Ec2View {
    access: String,
    secret: String,
    trust_id: Option<String>,
    user_id: String,
    tenant_id: Option<String>,
    links: Links,
}

fn ec2_view(credential: &Credential, base: &str) -> Result<Ec2View> {
    let blob: Value = serde_json::from_str(&credential.blob).map_err(Error::internal)?;
    let part = |name: &str| blob.get(name).and_then(Value::as_str).map(str::to_owned);
    let access = part("access").unwrap_or_default();
    Ok(Ec2View {
        links: Links::to(base, &format!("users/{}/credentials/OS-EC2", credential.user_id), &access),
        access,
        secret: part("secret").unwrap_or_default(),
        trust_id: part("trust_id"),
        user_id: credential.user_id.0.clone(),
        tenant_id: credential.project_id.clone(),
    })
}

pub(super) async fn list_ec2(call: Call) -> Outcome {
    let user = own_or_any(&call, "identity:ec2_list_credentials")?;
    let caller = session(&call).await?;
    let found = call.state.services.identity.credentials(&caller, Some(user.0), Some("ec2".into())).await?;
    let items =
        found.iter().map(|credential| ec2_view(credential, &call.base)).collect::<Result<Vec<_>>>()?;
    all(&call, "credentials", &items)
}

pub(super) async fn create_ec2(mut call: Call) -> Outcome {
    let user = own_or_any(&call, "identity:ec2_create_credential")?;
    if session(&call).await?.credential.is_some() {
        return Err(denied("identity:ec2_create_credential").into());
    }
    let project = Fields::whole(&mut call).await?.required_text("tenant_id")?;
    let made = call.state.services.identity.create_ec2_credential(user, project).await?;
    one(StatusCode::CREATED, "credential", ec2_view(&made, &call.base)?)
}

pub(super) async fn show_ec2(call: Call) -> Outcome {
    let user = own_or_any(&call, "identity:ec2_get_credential")?;
    let found = call.state.services.identity.ec2_credential(user, call.params.get("access")).await?;
    one(StatusCode::OK, "credential", ec2_view(&found, &call.base)?)
}

pub(super) async fn delete_ec2(call: Call) -> Outcome {
    let user = own_or_any(&call, "identity:ec2_delete_credential")?;
    let identity = &call.state.services.identity;
    let found = identity.ec2_credential(user, call.params.get("access")).await?;
    let caller = session(&call).await?;
    identity.delete_credential(&caller, found.id).await?;
    Ok(nothing())
}

#[derive(Serialize)]
struct CredentialView<'a> {
    #[serde(flatten)]
    extra: &'a Extra,
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    blob: &'a str,
    user_id: &'a str,
    project_id: Option<&'a str>,
    links: Links,
}

fn credential_view<'a>(credential: &'a Credential, base: &str) -> CredentialView<'a> {
    CredentialView {
        extra: &credential.extra,
        id: &credential.id,
        kind: &credential.kind,
        blob: &credential.blob,
        user_id: credential.user_id.as_str(),
        project_id: credential.project_id.as_deref(),
        links: Links::to(base, "credentials", &credential.id),
    }
}

fn credential_input(fields: Fields) -> Result<CredentialInput> {
    let mut fields = fields.without_ours();
    let blob: Option<SecretString> = match fields.raw("blob") {
        None => None,
        Some(Value::String(text)) => Some(text.into()),
        // Some clients send the object itself.
        Some(object) => Some(object.to_string().into()),
    };
    Ok(CredentialInput {
        user_id: fields.text("user_id")?,
        project_id: fields.nullable("project_id")?,
        kind: fields.text("type")?,
        blob,
        extra: fields.rest(),
    })
}

pub(super) async fn list(call: Call) -> Outcome {
    let caller = session(&call).await?;
    let (user, kind) = (text(&call, "user_id"), text(&call, "type"));
    let found = call.state.services.identity.credentials(&caller, user, kind).await?;
    let items: Vec<_> = found.iter().map(|credential| credential_view(credential, &call.base)).collect();
    all(&call, "credentials", &items)
}

pub(super) async fn show(call: Call) -> Outcome {
    let caller = session(&call).await?;
    let id = call.params.get("credential_id").to_owned();
    let found = call.state.services.identity.credential(&caller, id).await?;
    one(StatusCode::OK, "credential", credential_view(&found, &call.base))
}

pub(super) async fn create(mut call: Call) -> Outcome {
    let input = credential_input(Fields::read(&mut call, "credential").await?)?;
    let caller = session(&call).await?;
    if caller.credential.is_some() {
        return Err(denied("identity:create_credential").into());
    }
    let made = call.state.services.identity.create_credential(&caller, input).await?;
    one(StatusCode::CREATED, "credential", credential_view(&made, &call.base))
}

pub(super) async fn update(mut call: Call) -> Outcome {
    let id = call.params.get("credential_id").to_owned();
    let input = credential_input(Fields::changes(&mut call, "credential", &id).await?)?;
    let caller = session(&call).await?;
    let changed = call.state.services.identity.update_credential(&caller, id, input).await?;
    one(StatusCode::OK, "credential", credential_view(&changed, &call.base))
}

pub(super) async fn delete(call: Call) -> Outcome {
    let caller = session(&call).await?;
    let id = call.params.get("credential_id").to_owned();
    call.state.services.identity.delete_credential(&caller, id).await?;
    Ok(nothing())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_with_and_without_a_zone() {
        let at = expiry("2018-02-27T18:30:59Z").unwrap();
        assert_eq!(expiry("2018-02-27T18:30:59.000000").unwrap(), at);
        assert_eq!(expiry("2018-02-27T18:30:59").unwrap(), at);
        assert!(expiry("tomorrow").is_err());
    }
}
