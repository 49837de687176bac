//! Identity v3, as Keystone speaks it: versions, tokens, and the management of who there is and who may act where.

mod body;
mod catalog;
mod credentials;
mod discovery;
mod grants;
mod limits;
mod options;
mod projects;
mod roles;
mod tokens;
mod users;
mod views;

use super::State;
use super::error::Dialect;
use super::pipeline::{self, Api};
use super::router::{ALWAYS, Route, Router};
use crate::core::policy::Rule;
use crate::route;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use std::sync::LazyLock;

static API: LazyLock<Api> = LazyLock::new(|| Api {
    dialect: Dialect::Identity,
    mount: "/identity",
    router: Router::new(
        [access(), people(), places(), roles_and_grants(), catalog_and_rest()]
            .into_iter()
            .flatten()
            .collect(),
    ),
});

/// Answers one request for a path below `/identity`.
pub async fn serve(state: State, request: HttpRequest, payload: Payload) -> HttpResponse {
    pipeline::serve(&API, state, request, payload).await
}

const fn admin(rule: &'static str) -> Rule {
    Rule::Admin(rule)
}

fn access() -> Vec<Route> {
    vec![
        route!(GET "/", ALWAYS, Rule::Open, discovery::versions),
        route!(GET "/v3", ALWAYS, Rule::Open, discovery::version_3),
        route!(POST "/v3/auth/tokens", ALWAYS, Rule::Open, tokens::create),
        route!(GET "/v3/auth/tokens", ALWAYS, Rule::Token, tokens::show),
        route!(DELETE "/v3/auth/tokens", ALWAYS, Rule::Token, tokens::delete),
        route!(GET "/v3/auth/catalog", ALWAYS, Rule::Token, tokens::catalog),
        route!(GET "/v3/auth/projects", ALWAYS, Rule::Token, tokens::projects),
        route!(GET "/v3/auth/domains", ALWAYS, Rule::Token, tokens::domains),
        route!(GET "/v3/auth/system", ALWAYS, Rule::Token, tokens::system),
    ]
}

fn people() -> Vec<Route> {
    vec![
        route!(GET "/v3/users", ALWAYS, admin("identity:list_users"), users::list),
        route!(POST "/v3/users", ALWAYS, admin("identity:create_user"), users::create),
        route!(GET "/v3/users/{user_id}", ALWAYS, Rule::Token, users::show),
        route!(PATCH "/v3/users/{user_id}", ALWAYS, admin("identity:update_user"), users::update),
        route!(DELETE "/v3/users/{user_id}", ALWAYS, admin("identity:delete_user"), users::delete),
        route!(POST "/v3/users/{user_id}/password", ALWAYS, Rule::Open, users::change_password),
        route!(GET "/v3/users/{user_id}/projects", ALWAYS, Rule::Token, users::projects),
        route!(GET "/v3/users/{user_id}/groups", ALWAYS, Rule::Token, users::groups),
        route!(GET "/v3/users/{user_id}/application_credentials", ALWAYS, Rule::Token, credentials::list_application),
        route!(POST "/v3/users/{user_id}/application_credentials", ALWAYS, Rule::Token, credentials::create_application),
        route!(GET "/v3/users/{user_id}/application_credentials/{credential_id}", ALWAYS, Rule::Token, credentials::show_application),
        route!(DELETE "/v3/users/{user_id}/application_credentials/{credential_id}", ALWAYS, Rule::Token, credentials::delete_application),
        route!(GET "/v3/users/{user_id}/access_rules", ALWAYS, Rule::Token, credentials::list_access_rules),
        route!(GET "/v3/users/{user_id}/access_rules/{rule_id}", ALWAYS, Rule::Token, credentials::show_access_rule),
        route!(DELETE "/v3/users/{user_id}/access_rules/{rule_id}", ALWAYS, Rule::Token, credentials::delete_access_rule),
        route!(GET "/v3/users/{user_id}/credentials/OS-EC2", ALWAYS, Rule::Token, credentials::list_ec2),
        route!(POST "/v3/users/{user_id}/credentials/OS-EC2", ALWAYS, Rule::Token, credentials::create_ec2),
        route!(GET "/v3/users/{user_id}/credentials/OS-EC2/{access}", ALWAYS, Rule::Token, credentials::show_ec2),
        route!(DELETE "/v3/users/{user_id}/credentials/OS-EC2/{access}", ALWAYS, Rule::Token, credentials::delete_ec2),
        route!(GET "/v3/credentials", ALWAYS, Rule::Token, credentials::list),
        route!(POST "/v3/credentials", ALWAYS, Rule::Token, credentials::create),
        route!(GET "/v3/credentials/{credential_id}", ALWAYS, Rule::Token, credentials::show),
        route!(PATCH "/v3/credentials/{credential_id}", ALWAYS, Rule::Token, credentials::update),
        route!(DELETE "/v3/credentials/{credential_id}", ALWAYS, Rule::Token, credentials::delete),
        route!(GET "/v3/groups", ALWAYS, admin("identity:list_groups"), users::list_groups),
        route!(POST "/v3/groups", ALWAYS, admin("identity:create_group"), users::create_group),
        route!(GET "/v3/groups/{group_id}", ALWAYS, admin("identity:get_group"), users::show_group),
        route!(PATCH "/v3/groups/{group_id}", ALWAYS, admin("identity:update_group"), users::update_group),
        route!(DELETE "/v3/groups/{group_id}", ALWAYS, admin("identity:delete_group"), users::delete_group),
        route!(GET "/v3/groups/{group_id}/users", ALWAYS, admin("identity:list_users_in_group"), users::members),
        route!(PUT "/v3/groups/{group_id}/users/{user_id}", ALWAYS, admin("identity:add_user_to_group"), users::add_member),
        route!(HEAD "/v3/groups/{group_id}/users/{user_id}", ALWAYS, admin("identity:check_user_in_group"), users::check_member),
        route!(GET "/v3/groups/{group_id}/users/{user_id}", ALWAYS, admin("identity:check_user_in_group"), users::check_member),
        route!(DELETE "/v3/groups/{group_id}/users/{user_id}", ALWAYS, admin("identity:remove_user_from_group"), users::remove_member),
    ]
}

fn places() -> Vec<Route> {
    vec![
        route!(GET "/v3/domains", ALWAYS, admin("identity:list_domains"), projects::list_domains),
        route!(POST "/v3/domains", ALWAYS, admin("identity:create_domain"), projects::create_domain),
        route!(GET "/v3/domains/{domain_id}", ALWAYS, Rule::Token, projects::show_domain),
        route!(PATCH "/v3/domains/{domain_id}", ALWAYS, admin("identity:update_domain"), projects::update_domain),
        route!(DELETE "/v3/domains/{domain_id}", ALWAYS, admin("identity:delete_domain"), projects::delete_domain),
        route!(GET "/v3/projects", ALWAYS, admin("identity:list_projects"), projects::list),
        route!(POST "/v3/projects", ALWAYS, admin("identity:create_project"), projects::create),
        route!(GET "/v3/projects/{project_id}", ALWAYS, Rule::Token, projects::show),
        route!(PATCH "/v3/projects/{project_id}", ALWAYS, admin("identity:update_project"), projects::update),
        route!(DELETE "/v3/projects/{project_id}", ALWAYS, admin("identity:delete_project"), projects::delete),
        route!(GET "/v3/projects/{project_id}/tags", ALWAYS, Rule::Token, projects::tags),
        route!(PUT "/v3/projects/{project_id}/tags", ALWAYS, admin("identity:update_project_tags"), projects::set_tags),
        route!(DELETE "/v3/projects/{project_id}/tags", ALWAYS, admin("identity:delete_project_tags"), projects::clear_tags),
        route!(GET "/v3/projects/{project_id}/tags/{tag}", ALWAYS, Rule::Token, projects::check_tag),
        route!(PUT "/v3/projects/{project_id}/tags/{tag}", ALWAYS, admin("identity:create_project_tag"), projects::add_tag),
        route!(DELETE "/v3/projects/{project_id}/tags/{tag}", ALWAYS, admin("identity:delete_project_tag"), projects::remove_tag),
    ]
}

/// The operations on the roles of one grantee on one target.
macro_rules! grants {
    ($($list:literal, $one:literal;)*) => {
        vec![$(
            route!(GET $list, ALWAYS, admin("identity:list_grants"), grants::roles),
            route!(PUT $one, ALWAYS, admin("identity:create_grant"), grants::give),
            route!(HEAD $one, ALWAYS, admin("identity:check_grant"), grants::check),
            route!(GET $one, ALWAYS, admin("identity:check_grant"), grants::check),
            route!(DELETE $one, ALWAYS, admin("identity:revoke_grant"), grants::take_back),
        )*]
    };
}

fn roles_and_grants() -> Vec<Route> {
    let mut routes = vec![
        route!(GET "/v3/roles", ALWAYS, admin("identity:list_roles"), roles::list),
        route!(POST "/v3/roles", ALWAYS, admin("identity:create_role"), roles::create),
        route!(GET "/v3/roles/{role_id}", ALWAYS, admin("identity:get_role"), roles::show),
        route!(PATCH "/v3/roles/{role_id}", ALWAYS, admin("identity:update_role"), roles::update),
        route!(DELETE "/v3/roles/{role_id}", ALWAYS, admin("identity:delete_role"), roles::delete),
        route!(GET "/v3/roles/{role_id}/implies", ALWAYS, admin("identity:list_implied_roles"), roles::implied),
        route!(GET "/v3/roles/{role_id}/implies/{implied_id}", ALWAYS, admin("identity:get_implied_role"), roles::show_implication),
        route!(HEAD "/v3/roles/{role_id}/implies/{implied_id}", ALWAYS, admin("identity:check_implied_role"), roles::check_implication),
        route!(PUT "/v3/roles/{role_id}/implies/{implied_id}", ALWAYS, admin("identity:create_implied_role"), roles::imply),
        route!(DELETE "/v3/roles/{role_id}/implies/{implied_id}", ALWAYS, admin("identity:delete_implied_role"), roles::stop_implying),
        route!(GET "/v3/role_inferences", ALWAYS, admin("identity:list_role_inference_rules"), roles::inferences),
        route!(GET "/v3/role_assignments", ALWAYS, Rule::Token, grants::assignments),
    ];
    routes.extend(grants![
        "/v3/projects/{project_id}/users/{user_id}/roles", "/v3/projects/{project_id}/users/{user_id}/roles/{role_id}";
        "/v3/projects/{project_id}/groups/{group_id}/roles", "/v3/projects/{project_id}/groups/{group_id}/roles/{role_id}";
        "/v3/domains/{domain_id}/users/{user_id}/roles", "/v3/domains/{domain_id}/users/{user_id}/roles/{role_id}";
        "/v3/domains/{domain_id}/groups/{group_id}/roles", "/v3/domains/{domain_id}/groups/{group_id}/roles/{role_id}";
        "/v3/system/users/{user_id}/roles", "/v3/system/users/{user_id}/roles/{role_id}";
        "/v3/system/groups/{group_id}/roles", "/v3/system/groups/{group_id}/roles/{role_id}";
        "/v3/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/inherited_to_projects", "/v3/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/{role_id}/inherited_to_projects";
        "/v3/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/inherited_to_projects", "/v3/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects";
        "/v3/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/inherited_to_projects", "/v3/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/{role_id}/inherited_to_projects";
        "/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/inherited_to_projects", "/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects";
    ]);
    routes
}

fn catalog_and_rest() -> Vec<Route> {
    vec![
        route!(GET "/v3/regions", ALWAYS, Rule::Token, catalog::list_regions),
        route!(POST "/v3/regions", ALWAYS, admin("identity:create_region"), catalog::create_region),
        route!(GET "/v3/regions/{region_id}", ALWAYS, Rule::Token, catalog::show_region),
        route!(PUT "/v3/regions/{region_id}", ALWAYS, admin("identity:create_region"), catalog::put_region),
        route!(PATCH "/v3/regions/{region_id}", ALWAYS, admin("identity:update_region"), catalog::update_region),
        route!(DELETE "/v3/regions/{region_id}", ALWAYS, admin("identity:delete_region"), catalog::delete_region),
        route!(GET "/v3/services", ALWAYS, admin("identity:list_services"), catalog::list_services),
        route!(POST "/v3/services", ALWAYS, admin("identity:create_service"), catalog::create_service),
        route!(GET "/v3/services/{service_id}", ALWAYS, admin("identity:get_service"), catalog::show_service),
        route!(PATCH "/v3/services/{service_id}", ALWAYS, admin("identity:update_service"), catalog::update_service),
        route!(DELETE "/v3/services/{service_id}", ALWAYS, admin("identity:delete_service"), catalog::delete_service),
        route!(GET "/v3/endpoints", ALWAYS, admin("identity:list_endpoints"), catalog::list_endpoints),
        route!(POST "/v3/endpoints", ALWAYS, admin("identity:create_endpoint"), catalog::create_endpoint),
        route!(GET "/v3/endpoints/{endpoint_id}", ALWAYS, admin("identity:get_endpoint"), catalog::show_endpoint),
        route!(PATCH "/v3/endpoints/{endpoint_id}", ALWAYS, admin("identity:update_endpoint"), catalog::update_endpoint),
        route!(DELETE "/v3/endpoints/{endpoint_id}", ALWAYS, admin("identity:delete_endpoint"), catalog::delete_endpoint),
        route!(GET "/v3/limits", ALWAYS, Rule::Token, limits::limits),
        route!(GET "/v3/limits/model", ALWAYS, Rule::Token, limits::model),
        route!(GET "/v3/registered_limits", ALWAYS, Rule::Token, limits::registered_limits),
    ]
}

#[cfg(test)]
mod tests;
