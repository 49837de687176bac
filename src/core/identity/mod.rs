//! Who there is and who may act where: domains, projects, users, groups, roles, and the catalog.
//!
//! Data, and the rules that need nothing but data. No hashing, no SQL.

pub mod change;
pub mod query;

use super::actor::{Actor, Roles};
use super::ids::{ApplicationCredentialId, DomainId, GroupId, ProjectId, RequestId, RoleId, UserId};
use super::{Error, Kind};
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Attributes that the API keeps without giving them a meaning.
pub type Extra = Map<String, Value>;

/// The id of the domain that exists from the first start.
pub const DEFAULT_DOMAIN: &str = "default";

#[derive(Debug, Clone, PartialEq)]
pub struct Domain {
    pub id: DomainId,
    pub name: String,
    pub description: String,
    pub enabled: bool,
    pub extra: Extra,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    pub id: ProjectId,
    pub domain_id: DomainId,
    /// The project above, or the domain's id at the top.
    pub parent_id: String,
    pub name: String,
    pub description: String,
    pub enabled: bool,
    pub tags: Vec<String>,
    pub extra: Extra,
}

#[derive(Debug, Clone, PartialEq)]
pub struct User {
    pub id: UserId,
    pub domain_id: DomainId,
    pub name: String,
    pub default_project_id: Option<ProjectId>,
    pub description: Option<String>,
    pub enabled: bool,
    /// By name, none null. Passwords never expire here, nobody is locked out and nobody has to change his first password, so
    /// that the options that spare a user these are shown and nothing else.
    pub options: Extra,
    pub extra: Extra,
}

/// The methods by which somebody can log in.
const METHODS: [&str; 3] = ["password", "token", "application_credential"];

impl User {
    /// Whether the user may not change his password himself.
    pub fn has_locked_password(&self) -> bool {
        self.options.get("lock_password") == Some(&Value::Bool(true))
    }

    /// Whether it is enough that the user showed himself by these methods: where he has rules that are not switched off,
    /// all methods of one of them are wanted. A method that is not offered here is wanted of nobody, since it would shut
    /// the user out.
    pub fn may_log_in_by(&self, methods: &[String]) -> bool {
        let rules = match self.options.get("multi_factor_auth_rules") {
            Some(Value::Array(rules)) if !rules.is_empty() => rules,
            _ => return true,
        };
        let used = |method: &str| !METHODS.contains(&method) || methods.iter().any(|used| used == method);
        self.options.get("multi_factor_auth_enabled") == Some(&Value::Bool(false))
            || rules
                .iter()
                .filter_map(Value::as_array)
                .any(|rule| rule.iter().filter_map(Value::as_str).all(used))
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub id: GroupId,
    pub domain_id: DomainId,
    pub name: String,
    pub description: String,
    pub extra: Extra,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Role {
    pub id: RoleId,
    pub name: String,
    /// Roles of a domain mean something by what they imply alone.
    pub domain_id: Option<DomainId>,
    pub description: Option<String>,
    pub extra: Extra,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    pub id: String,
    pub description: String,
    pub parent_region_id: Option<String>,
    pub extra: Extra,
}

/// An entry of the catalog. The name and description are in `extra`, since the API shows just those that were given.
#[derive(Debug, Clone, PartialEq)]
pub struct CatalogService {
    pub id: String,
    pub kind: String,
    pub enabled: bool,
    pub extra: Extra,
}

impl CatalogService {
    pub fn name(&self) -> &str {
        self.extra.get("name").and_then(Value::as_str).unwrap_or_default()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    pub id: String,
    pub service_id: String,
    /// `public`, `internal` or `admin`.
    pub interface: String,
    pub region_id: Option<String>,
    /// A template, see [`endpoint_url`].
    pub url: String,
    pub enabled: bool,
    pub extra: Extra,
}

/// The address behind an endpoint's template: `$(public_base)s` is how the client reached us, `$(project_id)s` (with its
/// older forms) the project of the token. `None` when the template needs a project and there is none.
pub fn endpoint_url(template: &str, base: &str, project: Option<&ProjectId>) -> Option<String> {
    let mut url = template.replace("$(public_base)s", base);
    for name in ["$(project_id)s", "%(project_id)s", "$(tenant_id)s", "%(tenant_id)s"] {
        if url.contains(name) {
            url = url.replace(name, project?.as_str());
        }
    }
    Some(url)
}

/// Whom a role is given to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grantee {
    User(UserId),
    Group(GroupId),
}

/// What a role is given on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Project(ProjectId),
    Domain(DomainId),
    System,
}

impl Target {
    /// The id as messages show it.
    pub fn id(&self) -> &str {
        match self {
            Self::Project(id) => id.as_str(),
            Self::Domain(id) => id.as_str(),
            Self::System => "system",
        }
    }
}

impl Grantee {
    pub fn id(&self) -> &str {
        match self {
            Self::User(id) => id.as_str(),
            Self::Group(id) => id.as_str(),
        }
    }
}

/// One role given to somebody on something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    pub grantee: Grantee,
    pub target: Target,
    pub role: RoleId,
    /// Holds below the target, not on it.
    pub inherited: bool,
}

/// A role as tokens show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleRef {
    pub id: RoleId,
    pub name: String,
}

/// A domain as tokens show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainRef {
    pub id: DomainId,
    pub name: String,
}

/// What a token is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    Unscoped,
    Project { id: ProjectId, name: String, domain: DomainRef },
    Domain(DomainRef),
    System,
}

impl Scope {
    pub fn project_id(&self) -> Option<&ProjectId> {
        match self {
            Self::Project { id, .. } => Some(id),
            Self::Unscoped | Self::Domain(_) | Self::System => None,
        }
    }
}

/// A request that an application credential may be used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRule {
    pub id: String,
    /// The service type, as in the catalog.
    pub service: String,
    pub method: String,
    /// A path in which `*` stands for one segment, `**` for any number, and `{name}` for one.
    pub path: String,
}

/// The application credential behind a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialRef {
    pub id: ApplicationCredentialId,
    pub name: String,
    pub unrestricted: bool,
    /// When it ends before the token does.
    pub expires_at: Option<Timestamp>,
    /// Empty means that everything is allowed.
    pub access_rules: Vec<AccessRule>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ApplicationCredential {
    pub id: ApplicationCredentialId,
    pub user_id: UserId,
    pub project_id: ProjectId,
    pub name: String,
    pub description: Option<String>,
    pub unrestricted: bool,
    pub expires_at: Option<Timestamp>,
    pub roles: Vec<Role>,
    pub access_rules: Vec<AccessRule>,
}

/// A blob that a user keeps in the identity service.
#[derive(Clone, PartialEq)]
pub struct Credential {
    pub id: String,
    pub user_id: UserId,
    pub project_id: Option<String>,
    pub kind: String,
    pub blob: String,
    pub extra: Extra,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("id", &self.id).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Everything that a valid token says.
#[derive(Debug, Clone)]
pub struct Session {
    pub user_id: UserId,
    pub user_name: String,
    pub user_domain: DomainRef,
    pub scope: Scope,
    /// The roles on the scope, implied ones included, by name.
    pub roles: Vec<RoleRef>,
    pub credential: Option<CredentialRef>,
    pub methods: Vec<String>,
    pub audit_ids: Vec<String>,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}

impl Session {
    /// The session's user as the caller of a request.
    pub fn actor(&self, request_id: RequestId) -> Actor {
        Actor {
            user_id: self.user_id.clone(),
            user_name: self.user_name.clone(),
            user_domain: self.user_domain.id.clone(),
            project_id: self.scope.project_id().cloned(),
            roles: Roles::from_names(self.roles.iter().map(|role| role.name.as_str())),
            request_id,
        }
    }

    pub fn is_admin(&self) -> bool {
        self.roles.iter().any(|role| role.name == "admin")
    }

    /// Whether the session came by an application credential that may not make others.
    pub fn is_restricted(&self) -> bool {
        self.credential.as_ref().is_some_and(|credential| !credential.unrestricted)
    }
}

/// The roles of `given` and all that they imply, at any depth.
pub fn with_implied(
    given: impl IntoIterator<Item = RoleId>,
    implications: &BTreeMap<RoleId, Vec<RoleId>>,
) -> BTreeSet<RoleId> {
    let mut all = BTreeSet::new();
    let mut open: Vec<RoleId> = given.into_iter().collect();
    while let Some(role) = open.pop() {
        if let Some(implied) = implications.get(&role) {
            open.extend(implied.iter().filter(|role| !all.contains(*role)).cloned());
        }
        all.insert(role);
    }
    all
}

/// The one answer to whatever is wrong with credentials: it tells nobody what exists.
pub fn unauthenticated() -> Error {
    Error::new(Kind::Unauthenticated, "The request you have made requires authentication.")
}

/// The 403 of this API, with the name of the rule that was not satisfied.
pub fn denied(rule: &str) -> Error {
    Error::forbidden(format!("You are not authorized to perform the requested action: {rule}."))
}

/// `Could not find user: x.`
pub fn missing(what: &str, id: impl fmt::Display) -> Error {
    Error::not_found(format!("Could not find {what}: {id}."))
}

/// Whether the path of a request fits the pattern of an access rule.
pub fn path_fits(pattern: &str, path: &str) -> bool {
    fn fits(pattern: &[&str], path: &[&str]) -> bool {
        match (pattern.split_first(), path.split_first()) {
            (None, None) => true,
            (Some((&"**", rest)), _) => (0..=path.len()).any(|skip| fits(rest, &path[skip..])),
            (Some((segment, rest)), Some((have, others))) => {
                let any = *segment == "*" || (segment.starts_with('{') && segment.ends_with('}'));
                (any || segment == have) && fits(rest, others)
            }
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
    let pattern: Vec<&str> = pattern.trim_matches('/').split('/').collect();
    let path: Vec<&str> = path.trim_matches('/').split('/').collect();
    fits(&pattern, &path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn implied_roles_are_followed_to_the_end_and_cycles_end() {
        let role = |name: &str| RoleId::from(name);
        let implications = BTreeMap::from([
            (role("a"), vec![role("b")]),
            (role("b"), vec![role("c")]),
            (role("c"), vec![role("a")]),
        ]);
        let all = with_implied([role("a")], &implications);
        assert_eq!(all.into_iter().collect::<Vec<_>>(), [role("a"), role("b"), role("c")]);
    }

    #[test]
    fn users_with_rules_need_the_methods_of_one() {
        let admits = |options: Value, methods: &[&str]| {
            let user = User {
                id: UserId::from("u"),
                domain_id: DomainId::from(DEFAULT_DOMAIN),
                name: "u".into(),
                default_project_id: None,
                description: None,
                enabled: true,
                options: options.as_object().cloned().unwrap(),
                extra: Extra::new(),
            };
            user.may_log_in_by(&methods.iter().map(|method| (*method).to_owned()).collect::<Vec<_>>())
        };
        let rules = json!([["password", "token"], ["application_credential"]]);
        assert!(admits(json!({}), &["password"]));
        assert!(admits(json!({"multi_factor_auth_rules": []}), &["password"]));
        assert!(!admits(json!({"multi_factor_auth_rules": rules}), &["password"]));
        assert!(!admits(
            json!({"multi_factor_auth_rules": rules, "multi_factor_auth_enabled": true}),
            &["token"]
        ));
        assert!(admits(
            json!({"multi_factor_auth_rules": rules, "multi_factor_auth_enabled": false}),
            &["token"]
        ));
        assert!(admits(json!({"multi_factor_auth_rules": rules}), &["token", "password"]));
        assert!(admits(json!({"multi_factor_auth_rules": rules}), &["application_credential"]));
        assert!(admits(json!({"multi_factor_auth_rules": [["password", "totp"]]}), &["password"]));
    }

    #[test]
    fn endpoint_templates_need_their_project() {
        let project = ProjectId::from("p1");
        let template = "$(public_base)s/v2/$(project_id)s";
        assert_eq!(endpoint_url(template, "http://h:1", Some(&project)).unwrap(), "http://h:1/v2/p1");
        assert_eq!(endpoint_url(template, "http://h:1", None), None);
        assert_eq!(endpoint_url("http://x/", "http://h:1", None).unwrap(), "http://x/");
    }

    #[test]
    fn access_rule_paths() {
        assert!(path_fits("/v2.1/servers/{server_id}", "/v2.1/servers/1"));
        assert!(path_fits("/v2.1/servers/*/ips", "/v2.1/servers/1/ips"));
        assert!(!path_fits("/v2.1/servers/*", "/v2.1/servers/1/ips"));
        assert!(path_fits("/v2.1/**", "/v2.1/servers/1/ips"));
        assert!(!path_fits("/v2.1/servers", "/v2.1/flavors"));
    }
}
