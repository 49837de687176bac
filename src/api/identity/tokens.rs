//! `/auth`: getting, seeing and giving back tokens, and what a token's owner can reach.

use super::body::Fields;
use super::views::{self, all, nothing, session};
use crate::api::call::{Call, Outcome};
use crate::core::clock::micros_z;
use crate::core::identity::{
    AccessRule, DomainRef, Scope, Session, Target, denied, missing, unauthenticated,
};
use crate::core::ids::{ApplicationCredentialId, DomainId, ProjectId, UserId};
use crate::core::service::identity::{
    CatalogEntry, CredentialSelector, DomainSelector, ProjectSelector, Proof, UserSelector, WantedScope,
};
use crate::core::{Error, Result};
use actix_web::http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;
use std::collections::HashSet;

#[derive(Serialize)]
struct DomainInToken<'a> {
    id: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
struct UserInToken<'a> {
    id: &'a str,
    name: &'a str,
    domain: DomainInToken<'a>,
    password_expires_at: Option<&'static str>,
}

#[derive(Serialize)]
struct ProjectInToken<'a> {
    id: &'a str,
    name: &'a str,
    domain: DomainInToken<'a>,
}

#[derive(Serialize)]
struct RoleInToken<'a> {
    id: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
struct WholeSystem {
    all: bool,
}

#[derive(Serialize)]
pub(super) struct AccessRuleView<'a> {
    id: &'a str,
    service: &'a str,
    method: &'a str,
    path: &'a str,
}

pub(super) fn access_rule(rule: &AccessRule) -> AccessRuleView<'_> {
    AccessRuleView { id: &rule.id, service: &rule.service, method: &rule.method, path: &rule.path }
}

#[derive(Serialize)]
struct CredentialInToken<'a> {
    id: &'a str,
    name: &'a str,
    restricted: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    access_rules: Vec<AccessRuleView<'a>>,
}

#[derive(Serialize)]
struct CatalogEndpoint<'a> {
    id: &'a str,
    interface: &'a str,
    region: Option<&'a str>,
    region_id: Option<&'a str>,
    url: &'a str,
}

#[derive(Serialize)]
struct CatalogService<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    name: &'a str,
    endpoints: Vec<CatalogEndpoint<'a>>,
}

#[derive(Serialize)]
struct TokenView<'a> {
    methods: &'a [String],
    user: UserInToken<'a>,
    audit_ids: &'a [String],
    issued_at: String,
    expires_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<ProjectInToken<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_domain: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<DomainInToken<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<WholeSystem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<Vec<RoleInToken<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    catalog: Option<Vec<CatalogService<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_credential: Option<CredentialInToken<'a>>,
}

fn domain_view(domain: &DomainRef) -> DomainInToken<'_> {
    DomainInToken { id: domain.id.as_str(), name: &domain.name }
}

fn catalog_view(entries: &[CatalogEntry]) -> Vec<CatalogService<'_>> {
    entries.iter().map(service_view).collect()
}

fn service_view(entry: &CatalogEntry) -> CatalogService<'_> {
    let endpoints = entry.endpoints.iter().map(|endpoint| CatalogEndpoint {
        id: &endpoint.id,
        interface: &endpoint.interface,
        region: endpoint.region_id.as_deref(),
        region_id: endpoint.region_id.as_deref(),
        url: &endpoint.url,
    });
    CatalogService {
        id: &entry.service.id,
        kind: &entry.service.kind,
        name: entry.service.name(),
        endpoints: endpoints.collect(),
    }
}

fn token_view<'a>(session: &'a Session, catalog: Option<&'a [CatalogEntry]>) -> TokenView<'a> {
    let scoped = session.scope != Scope::Unscoped;
    let (mut project, mut domain, mut system) = (None, None, None);
    match &session.scope {
        Scope::Unscoped => {}
        Scope::Project { id, name, domain } => {
            project = Some(ProjectInToken { id: id.as_str(), name, domain: domain_view(domain) });
        }
        Scope::Domain(scope) => domain = Some(domain_view(scope)),
        Scope::System => system = Some(WholeSystem { all: true }),
    }
    TokenView {
        methods: &session.methods,
        user: UserInToken {
            id: session.user_id.as_str(),
            name: &session.user_name,
            domain: domain_view(&session.user_domain),
            password_expires_at: None,
        },
        audit_ids: &session.audit_ids,
        issued_at: micros_z(session.issued_at),
        expires_at: micros_z(session.expires_at),
        is_domain: project.as_ref().map(|_| false),
        project,
        domain,
        system,
        roles: scoped.then(|| {
            session.roles.iter().map(|role| RoleInToken { id: role.id.as_str(), name: &role.name }).collect()
        }),
        catalog: catalog.map(catalog_view),
        application_credential: session.credential.as_ref().map(|credential| CredentialInToken {
            id: credential.id.as_str(),
            name: &credential.name,
            restricted: !credential.unrestricted,
            access_rules: credential.access_rules.iter().map(access_rule).collect(),
        }),
    }
}

/// The answer that describes a token.
async fn described(call: &Call, status: StatusCode, token: &str, session: &Session) -> Outcome {
    let wanted = session.scope != Scope::Unscoped && call.query.get("nocatalog").is_none();
    let catalog = if wanted {
        let project = session.scope.project_id().cloned();
        Some(call.state.services.identity.catalog(call.base.clone(), project).await?)
    } else {
        None
    };
    let reply = views::one(status, "token", token_view(session, catalog.as_deref()))?;
    Ok(reply.header("x-subject-token", token).header("vary", "X-Auth-Token"))
}

/// `POST /auth/tokens`
pub(super) async fn create(mut call: Call) -> Outcome {
    let auth = Fields::whole(&mut call).await?.object("auth")?;
    let mut auth = auth.ok_or_else(|| expecting("auth", "request body"))?;
    let proofs = proofs(&mut auth)?;
    let scope = scope(&mut auth)?;
    let issued = call.state.services.identity.log_in(proofs, scope).await?;
    described(&call, StatusCode::CREATED, issued.token.expose_secret(), &issued.session).await
}

/// `GET /auth/tokens`, and HEAD: what another token says.
pub(super) async fn show(call: Call) -> Outcome {
    let caller = session(&call).await?;
    let any = caller.is_admin() || caller.roles.iter().any(|role| role.name == "service");
    let subject = subject(&call, any, "identity:validate_token")?.to_owned();
    let found = call.state.services.identity.validate(&subject).await?;
    if !any && caller.user_id != found.user_id {
        return Err(denied("identity:validate_token").into());
    }
    described(&call, StatusCode::OK, &subject, &found).await
}

/// `DELETE /auth/tokens`
pub(super) async fn delete(call: Call) -> Outcome {
    let caller = session(&call).await?;
    let subject = subject(&call, caller.is_admin(), "identity:revoke_token")?;
    call.state.services.identity.revoke(&caller, subject).await?;
    Ok(nothing())
}

/// The token that is asked about. Where there is none it is not the caller's own either, so that only those who may ask
/// about `any` learn that it is missing.
fn subject<'c>(call: &'c Call, any: bool, rule: &str) -> Result<&'c str> {
    match call.header("x-subject-token").filter(|token| !token.is_empty()) {
        Some(token) => Ok(token),
        None if any => Err(Error::not_found("No token in the request")),
        None => Err(denied(rule)),
    }
}

/// `GET /auth/catalog`
pub(super) async fn catalog(call: Call) -> Outcome {
    let session = session(&call).await?;
    if session.scope == Scope::Unscoped {
        return Err(denied("identity:get_auth_catalog").into());
    }
    let project = session.scope.project_id().cloned();
    let entries = call.state.services.identity.catalog(call.base.clone(), project).await?;
    all(&call, "catalog", &catalog_view(&entries))
}

/// `GET /auth/projects`: those that the caller could have a token for.
pub(super) async fn projects(call: Call) -> Outcome {
    let user = call.actor()?.user_id.clone();
    let found = call.state.services.identity.projects_of(user).await?;
    let items: Vec<_> = found.iter().map(|project| views::project(project, &call.base)).collect();
    all(&call, "projects", &items)
}

/// `GET /auth/domains`
pub(super) async fn domains(call: Call) -> Outcome {
    let user = call.actor()?.user_id.clone();
    let found = call.state.services.identity.domains_of(user).await?;
    let items: Vec<_> = found.iter().map(|domain| views::domain(domain, &call.base)).collect();
    all(&call, "domains", &items)
}

/// `GET /auth/system`
pub(super) async fn system(call: Call) -> Outcome {
    let user = call.actor()?.user_id.clone();
    let allowed = call.state.services.identity.has_role_on(user, Target::System).await?;
    let items = if allowed { vec![WholeSystem { all: true }] } else { Vec::new() };
    all(&call, "system", &items)
}

/// The words for a body in which something is missing.
fn expecting(what: &str, place: &str) -> Error {
    Error::invalid(format!(
        "Expecting to find {what} in {place}. The server could not comply with the request since it is either \
         malformed or otherwise incorrect. The client is assumed to be in error."
    ))
}

/// The words for something, at this place of the body, of which nobody knows which it is.
fn unnamed(path: &str) -> Error {
    Error::invalid(format!("Invalid input for field {path}: id or name must be present."))
}

fn proofs(auth: &mut Fields) -> Result<Vec<Proof>> {
    let mut identity = required(auth, "identity")?;
    let mut methods =
        identity.texts("methods")?.ok_or_else(|| Error::invalid("'methods' is a required property"))?;
    let mut seen = HashSet::new();
    methods.retain(|method| seen.insert(method.clone()));
    if methods.is_empty() {
        return Err(unauthenticated());
    }
    if let Some(method) = methods.iter().find(|method| !identity.has(method)) {
        return Err(expecting(method, "identity"));
    }
    methods
        .iter()
        .map(|method| match method.as_str() {
            "password" => {
                let user = required(&mut identity, "password")?.object("user")?;
                let mut user = user.ok_or_else(|| expecting("user", "password"))?;
                let selector = user_selector(&mut user, "identity/password/user")?;
                Ok(Proof::Password(selector, proof(&mut user, "password")?))
            }
            "token" => {
                let token = required(&mut identity, "token")?.secret("id")?.flatten();
                let token = token.ok_or_else(|| Error::invalid("'id' is a required property"))?;
                Ok(Proof::Token(token))
            }
            "application_credential" => {
                let mut credential = required(&mut identity, "application_credential")?;
                let secret = proof(&mut credential, "secret");
                let selector = if let Some(id) = credential.text("id")? {
                    CredentialSelector::Id(ApplicationCredentialId(id))
                } else {
                    let name = credential.text("name")?;
                    let name = name.ok_or_else(|| expecting("id or name", "application credential"))?;
                    let user = credential.object("user")?;
                    let mut user = user.ok_or_else(|| expecting("user", "application_credential"))?;
                    let path = "identity/application_credential/user";
                    CredentialSelector::Name(name, user_selector(&mut user, path)?)
                };
                Ok(Proof::ApplicationCredential(selector, secret?))
            }
            // A method that is not offered proves nothing.
            _ => Err(unauthenticated()),
        })
        .collect()
}

fn required(fields: &mut Fields, name: &str) -> Result<Fields> {
    fields.object(name)?.ok_or_else(|| Error::invalid(format!("'{name}' is a required property")))
}

/// What only the right one knows. Who leaves it out has not shown that he does, which is no fault of the body.
fn proof(fields: &mut Fields, name: &str) -> Result<SecretString> {
    match fields.secret(name)? {
        None => Err(unauthenticated()),
        Some(Some(secret)) => Ok(secret),
        Some(None) => {
            Err(Error::invalid(format!("Invalid input for field '{name}': None is not of type 'string'")))
        }
    }
}

fn user_selector(user: &mut Fields, path: &str) -> Result<UserSelector> {
    if let Some(id) = user.text("id")? {
        return Ok(UserSelector::Id(UserId(id)));
    }
    let name = user.text("name")?.ok_or_else(|| unnamed(path))?;
    Ok(UserSelector::Name(name, domain_of(user, "user", path)?))
}

/// The domain in which something has its name.
fn domain_of(fields: &mut Fields, what: &str, path: &str) -> Result<DomainSelector> {
    let mut domain = fields.object("domain")?.ok_or_else(|| expecting("domain", what))?;
    domain_selector(&mut domain, &format!("{path}/domain"))
}

fn domain_selector(domain: &mut Fields, path: &str) -> Result<DomainSelector> {
    if let Some(id) = domain.text("id")? {
        return Ok(DomainSelector::Id(DomainId(id)));
    }
    domain.text("name")?.map(DomainSelector::Name).ok_or_else(|| unnamed(path))
}

const SCOPES: [&str; 5] = ["system", "project", "domain", "unscoped", "OS-TRUST:trust"];

fn scope(auth: &mut Fields) -> Result<WantedScope> {
    let not_one = || expecting("system, project, domain, OS-TRUST:trust or unscoped", "scope");
    let mut scope = match auth.raw("scope") {
        None | Some(Value::Null) => return Ok(WantedScope::Default),
        Some(Value::String(word)) if word == "unscoped" => return Ok(WantedScope::Unscoped),
        Some(Value::String(_)) => return Err(not_one()),
        Some(Value::Object(map)) => Fields::from(map),
        Some(_) => return Err(Error::invalid("Invalid input for field 'scope': it is not of type 'object'")),
    };
    let given: Vec<&str> = SCOPES.into_iter().filter(|name| scope.has(name)).collect();
    let [kind] = given.as_slice() else { return Err(not_one()) };
    match *kind {
        "unscoped" => Ok(WantedScope::Unscoped),
        "system" => match required(&mut scope, "system")?.flag("all")? {
            Some(true) => Ok(WantedScope::System),
            Some(false) | None => Err(Error::invalid("'all' is a required property")),
        },
        "domain" => {
            let mut domain = required(&mut scope, "domain")?;
            Ok(WantedScope::Domain(domain_selector(&mut domain, "scope/domain")?))
        }
        "project" => {
            let mut project = required(&mut scope, "project")?;
            if let Some(id) = project.text("id")? {
                return Ok(WantedScope::Project(ProjectSelector::Id(ProjectId(id))));
            }
            let name = project.text("name")?.ok_or_else(|| unnamed("scope/project"))?;
            let domain = domain_of(&mut project, "project", "scope/project")?;
            Ok(WantedScope::Project(ProjectSelector::Name(name, domain)))
        }
        // Nobody can make a trust here, so that none is found.
        other => {
            let id = required(&mut scope, other)?.text("id")?;
            Err(missing("trust", id.ok_or_else(|| expecting("trust_id", "trust"))?))
        }
    }
}
