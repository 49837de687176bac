//! The API from the outside, one request at a time.

mod bodies;

use super::*;
use crate::api::testing::{self, ADMIN_PASSWORD, Cloud};
use actix_web::FromRequest;
use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::{Value, json};

struct Answer {
    status: u16,
    token: Option<String>,
    body: Value,
}

async fn ask(cloud: &Cloud, token: Option<&str>, method: Method, path: &str, body: Option<Value>) -> Answer {
    ask_about(cloud, token, None, method, path, body).await
}

async fn ask_about(
    cloud: &Cloud,
    token: Option<&str>,
    subject: Option<&str>,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Answer {
    let mut request = TestRequest::default().method(method).uri(&format!("/identity{path}"));
    if let Some(token) = token {
        request = request.insert_header(("x-auth-token", token));
    }
    if let Some(subject) = subject {
        request = request.insert_header(("x-subject-token", subject));
    }
    if let Some(body) = body {
        request = request.set_json(body);
    }
    let (request, mut payload) = request.to_http_parts();
    let payload = Payload::from_request(&request, &mut payload).await.unwrap();
    let response = serve(cloud.state.clone(), request, payload).await;
    let token = response.headers().get("x-subject-token").map(|v| v.to_str().unwrap().to_owned());
    Answer { status: response.status().as_u16(), token, body: testing::body(response).await }
}

/// A request of the administrator that has to be answered so.
async fn admin(cloud: &Cloud, status: u16, method: Method, path: &str, body: Option<Value>) -> Value {
    let answer = ask(cloud, Some(&cloud.admin), method.clone(), path, body).await;
    assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
    answer.body
}

async fn make(cloud: &Cloud, path: &str, key: &str, body: Value) -> String {
    let made = admin(cloud, 201, Method::POST, path, Some(json!({ key: body }))).await;
    made[key]["id"].as_str().unwrap().to_owned()
}

async fn role(cloud: &Cloud, name: &str) -> String {
    let found = admin(cloud, 200, Method::GET, &format!("/v3/roles?name={name}"), None).await;
    found["roles"][0]["id"].as_str().unwrap().to_owned()
}

/// A project and a user who is a member of it.
async fn member(cloud: &Cloud) -> (String, String) {
    let project =
        make(cloud, "/v3/projects", "project", json!({"name": "demo", "domain_id": "default"})).await;
    let user =
        make(cloud, "/v3/users", "user", json!({"name": "demo", "password": "pass", "email": "a@b"})).await;
    let member = role(cloud, "member").await;
    let grant = format!("/v3/projects/{project}/users/{user}/roles/{member}");
    admin(cloud, 204, Method::PUT, &grant, None).await;
    (project, user)
}

fn password(user: &Value, password: &str, scope: Option<Value>) -> Value {
    let mut user = user.clone();
    user["password"] = password.into();
    let mut auth = json!({"identity": {"methods": ["password"], "password": {"user": user}}});
    if let Some(scope) = scope {
        auth["scope"] = scope;
    }
    json!({ "auth": auth })
}

fn demo() -> Value {
    json!({"name": "demo", "domain": {"name": "Default"}})
}

#[actix_web::test]
async fn discovery_needs_no_token() {
    let cloud = Cloud::new().await;
    for path in ["", "/"] {
        let answer = ask(&cloud, None, Method::GET, path, None).await;
        assert_eq!(answer.status, 300);
        assert_eq!(answer.body["versions"]["values"][0]["id"], "v3.14");
    }
    for path in ["/v3", "/v3/"] {
        let answer = ask(&cloud, None, Method::GET, path, None).await;
        assert_eq!(answer.status, 200);
        let link = answer.body["version"]["links"][0]["href"].as_str().unwrap();
        assert!(link.ends_with("/identity/v3/"), "{link}");
    }
}

#[actix_web::test]
async fn tokens_of_every_scope() {
    let cloud = Cloud::new().await;
    let admin_user = json!({"name": "admin", "domain": {"id": "default"}});
    let get = |scope| password(&admin_user, ADMIN_PASSWORD, scope);
    let project = json!({"project": {"name": "admin", "domain": {"id": "default"}}});
    let scoped = ask(&cloud, None, Method::POST, "/v3/auth/tokens", Some(get(Some(project)))).await;
    assert_eq!(scoped.status, 201);
    let token = &scoped.body["token"];
    assert_eq!(token["project"]["name"], "admin");
    assert_eq!(token["is_domain"], false);
    assert_eq!(token["methods"], json!(["password"]));
    assert_eq!(token["expires_at"], "2023-11-14T23:13:20.000000Z");
    let mut names: Vec<_> = token["roles"].as_array().unwrap().iter().map(|r| r["name"].clone()).collect();
    names.sort_by_key(ToString::to_string);
    assert_eq!(names, ["admin", "manager", "member", "reader"]);
    let types: Vec<_> = token["catalog"].as_array().unwrap().iter().map(|s| s["type"].clone()).collect();
    assert_eq!(types.len(), 5, "{types:?}");

    let plain = ask(&cloud, None, Method::POST, "/v3/auth/tokens", Some(get(None))).await;
    assert!(plain.body["token"].get("catalog").is_none() && plain.body["token"].get("roles").is_none());
    let system = json!({"system": {"all": true}});
    let system = ask(&cloud, None, Method::POST, "/v3/auth/tokens?nocatalog", Some(get(Some(system)))).await;
    assert_eq!(system.body["token"]["system"], json!({"all": true}));
    assert!(system.body["token"].get("catalog").is_none());
    let domain = json!({"domain": {"id": "default"}});
    let refused = ask(&cloud, None, Method::POST, "/v3/auth/tokens", Some(get(Some(domain)))).await;
    assert_eq!(refused.status, 401, "no role on the domain");
    for scope in [json!({}), json!("everything"), json!({"project": {"name": "admin"}})] {
        let answer = ask(&cloud, None, Method::POST, "/v3/auth/tokens", Some(get(Some(scope)))).await;
        assert_eq!(answer.status, 400);
    }

    // From one token to another: the end stays, the chain of audit ids grows.
    let by_token = json!({"auth": {
        "identity": {"methods": ["token"], "token": {"id": plain.token.unwrap()}},
        "scope": {"project": {"id": token["project"]["id"]}},
    }});
    cloud.clock.advance(60);
    let rescoped = ask(&cloud, None, Method::POST, "/v3/auth/tokens", Some(by_token)).await;
    assert_eq!(rescoped.status, 201);
    assert_eq!(rescoped.body["token"]["expires_at"], "2023-11-14T23:13:20.000000Z");
    assert_eq!(rescoped.body["token"]["methods"], json!(["token", "password"]));
    assert_eq!(rescoped.body["token"]["audit_ids"].as_array().unwrap().len(), 2);
}

#[actix_web::test]
async fn wrong_credentials_are_all_the_same() {
    let cloud = Cloud::new().await;
    member(&cloud).await;
    for (user, secret) in [
        (demo(), "wrong"),
        (json!({"name": "nobody", "domain": {"id": "default"}}), "pass"),
        (json!({"name": "demo", "domain": {"name": "Nowhere"}}), "pass"),
        (json!({"id": "nobody"}), "pass"),
    ] {
        let answer =
            ask(&cloud, None, Method::POST, "/v3/auth/tokens", Some(password(&user, secret, None))).await;
        assert_eq!(answer.status, 401);
        let message = "The request you have made requires authentication.";
        assert_eq!(answer.body, json!({"error": {"code": 401, "title": "Unauthorized", "message": message}}));
    }
    let scope = json!({"project": {"name": "admin", "domain": {"id": "default"}}});
    let body = password(&demo(), "pass", Some(scope));
    assert_eq!(ask(&cloud, None, Method::POST, "/v3/auth/tokens", Some(body)).await.status, 401);
    assert_eq!(ask(&cloud, None, Method::POST, "/v3/auth/tokens", Some(json!({}))).await.status, 400);
}

#[actix_web::test]
async fn tokens_are_seen_and_given_back() {
    let cloud = Cloud::new().await;
    member(&cloud).await;
    let token = cloud.log_in("demo", "pass", "demo").await;
    for method in [Method::GET, Method::HEAD] {
        let answer =
            ask_about(&cloud, Some(&cloud.admin), Some(&token), method, "/v3/auth/tokens", None).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.token.as_deref(), Some(token.as_str()));
    }
    let other =
        ask_about(&cloud, Some(&token), Some(&cloud.admin), Method::GET, "/v3/auth/tokens", None).await;
    assert_eq!(other.status, 403);
    for method in [Method::GET, Method::HEAD, Method::DELETE] {
        for subject in [None, Some("")] {
            let path = "/v3/auth/tokens";
            let missing = ask_about(&cloud, Some(&cloud.admin), subject, method.clone(), path, None).await;
            assert_eq!(missing.status, 404, "{method}");
            if method != Method::HEAD {
                assert_eq!(missing.body["error"]["message"], "No token in the request");
            }
            let denied = ask_about(&cloud, Some(&token), subject, method.clone(), path, None).await;
            assert_eq!(denied.status, 403, "it is nobody's own token: {method}");
        }
    }
    let gone = ask_about(&cloud, Some(&token), Some(&token), Method::DELETE, "/v3/auth/tokens", None).await;
    assert_eq!(gone.status, 204);
    let answer =
        ask_about(&cloud, Some(&cloud.admin), Some(&token), Method::GET, "/v3/auth/tokens", None).await;
    assert_eq!(answer.status, 404);
    assert_eq!(ask(&cloud, Some(&token), Method::GET, "/v3/auth/projects", None).await.status, 401);
}

#[actix_web::test]
async fn every_change_that_matters_ends_tokens() {
    let cloud = Cloud::new().await;
    let (project, user) = member(&cloud).await;
    let member_role = role(&cloud, "member").await;
    let grant = format!("/v3/projects/{project}/users/{user}/roles/{member_role}");
    let (user_path, project_path) = (format!("/v3/users/{user}"), format!("/v3/projects/{project}"));
    let works =
        async |token: &str| ask(&cloud, Some(token), Method::GET, "/v3/auth/projects", None).await.status;

    let token = cloud.log_in("demo", "pass", "demo").await;
    assert_eq!(works(&token).await, 200);
    admin(&cloud, 204, Method::DELETE, &grant, None).await;
    assert_eq!(works(&token).await, 401, "the role was taken back");
    admin(&cloud, 404, Method::DELETE, &grant, None).await;
    admin(&cloud, 204, Method::PUT, &grant, None).await;

    for (path, key) in [(&user_path, "user"), (&project_path, "project")] {
        let token = cloud.log_in("demo", "pass", "demo").await;
        admin(&cloud, 200, Method::PATCH, path, Some(json!({key: {"enabled": false}}))).await;
        assert_eq!(works(&token).await, 401, "{key} was disabled");
        admin(&cloud, 200, Method::PATCH, path, Some(json!({key: {"enabled": true}}))).await;
        assert_eq!(works(&token).await, 401, "{key} was enabled again");
    }
    let token = cloud.log_in("demo", "pass", "demo").await;
    let change = json!({"user": {"original_password": "pass", "password": "other"}});
    let wrong = json!({"user": {"original_password": "x", "password": "other"}});
    let path = format!("{user_path}/password");
    assert_eq!(ask(&cloud, Some(&token), Method::POST, &path, Some(wrong)).await.status, 401);
    assert_eq!(ask(&cloud, Some(&token), Method::POST, &path, Some(change)).await.status, 204);
    assert_eq!(works(&token).await, 401, "the password was changed");

    let token = cloud.log_in("demo", "other", "demo").await;
    admin(&cloud, 204, Method::DELETE, &project_path, None).await;
    assert_eq!(works(&token).await, 401, "the project was deleted");
    admin(&cloud, 204, Method::DELETE, &user_path, None).await;
    let gone = admin(&cloud, 404, Method::GET, &user_path, None).await;
    assert_eq!(gone["error"]["message"], format!("Could not find user: {user}."));
}

#[actix_web::test]
async fn ordinary_users_see_themselves() {
    let cloud = Cloud::new().await;
    let (project, user) = member(&cloud).await;
    let token = cloud.log_in("demo", "pass", "demo").await;
    let mine = async |path: &str| ask(&cloud, Some(&token), Method::GET, path, None).await;
    let refused = mine("/v3/users").await;
    assert_eq!(refused.status, 403);
    let message = "You are not authorized to perform the requested action: identity:list_users.";
    assert_eq!(refused.body["error"]["message"], message);
    let me = mine(&format!("/v3/users/{user}")).await;
    assert_eq!((me.status, me.body["user"]["email"].as_str()), (200, Some("a@b")));
    assert!(me.body["user"].get("password").is_none());
    assert_eq!(mine(&format!("/v3/projects/{project}")).await.status, 200);
    let projects = mine(&format!("/v3/users/{user}/projects")).await;
    assert_eq!(projects.body["projects"][0]["id"], project.as_str());
    assert_eq!(mine("/v3/users/somebody").await.status, 403);
    assert_eq!(mine("/v3/projects/somewhere").await.status, 403);
    assert_eq!(mine("/v3/regions").await.body["regions"][0]["id"], "RegionOne");
    assert_eq!(mine("/v3/auth/catalog").await.body["catalog"].as_array().unwrap().len(), 5);
    assert_eq!(mine("/v3/role_assignments").await.status, 403);
    let own = mine(&format!("/v3/role_assignments?user.id={user}&include_names")).await;
    assert_eq!(own.body["role_assignments"][0]["role"]["name"], "member");
}

#[actix_web::test]
async fn lists_filter_page_and_link() {
    let cloud = Cloud::new().await;
    for name in ["a", "b", "c"] {
        make(&cloud, "/v3/projects", "project", json!({"name": name, "tags": [name, "all"]})).await;
    }
    let named = admin(&cloud, 200, Method::GET, "/v3/projects?name=b", None).await;
    assert_eq!(named["projects"].as_array().unwrap().len(), 1);
    let link = named["links"]["self"].as_str().unwrap();
    assert!(link.ends_with("/identity/v3/projects?name=b"), "{link}");
    let self_link = named["projects"][0]["links"]["self"].as_str().unwrap();
    assert!(self_link.contains("/identity/v3/projects/"), "{self_link}");
    assert_eq!(named["projects"][0]["parent_id"], "default");
    let tagged = admin(&cloud, 200, Method::GET, "/v3/projects?tags=all,b", None).await;
    assert_eq!(tagged["projects"].as_array().unwrap().len(), 1);
    let any = admin(&cloud, 200, Method::GET, "/v3/projects?tags-any=a,b", None).await;
    assert_eq!(any["projects"].as_array().unwrap().len(), 2);
    let first = admin(&cloud, 200, Method::GET, "/v3/projects?limit=3", None).await;
    assert_eq!(first["projects"].as_array().unwrap().len(), 3);
    let next = first["links"]["next"].as_str().unwrap();
    let path = &next[next.find("/v3").unwrap()..];
    let second = admin(&cloud, 200, Method::GET, path, None).await;
    assert_eq!(second["projects"].as_array().unwrap().len(), 2, "five projects in all");
    assert_eq!(second["links"]["next"], Value::Null);
}

#[actix_web::test]
async fn conflicts_and_bad_bodies() {
    let cloud = Cloud::new().await;
    member(&cloud).await;
    for (path, key) in [("/v3/users", "user"), ("/v3/projects", "project")] {
        admin(&cloud, 409, Method::POST, path, Some(json!({key: {"name": "demo"}}))).await;
        admin(&cloud, 400, Method::POST, path, Some(json!({key: {"name": 5}}))).await;
        admin(&cloud, 400, Method::POST, path, Some(json!({key: {}}))).await;
        admin(&cloud, 400, Method::POST, path, Some(json!({"other": {}}))).await;
    }
    admin(&cloud, 409, Method::POST, "/v3/roles", Some(json!({"role": {"name": "member"}}))).await;
    admin(&cloud, 405, Method::PUT, "/v3/roles", None).await;
    admin(&cloud, 404, Method::GET, "/v3/nothing", None).await;
    admin(&cloud, 403, Method::DELETE, "/v3/domains/default", None).await;
    let orphan = json!({"project": {"name": "x", "domain_id": "nowhere"}});
    admin(&cloud, 404, Method::POST, "/v3/projects", Some(orphan)).await;
}

#[actix_web::test]
async fn domains_groups_and_inheritance() {
    let cloud = Cloud::new().await;
    let domain = make(&cloud, "/v3/domains", "domain", json!({"name": "other"})).await;
    let within = |name: &str| json!({"name": name, "domain_id": domain, "password": "p"});
    let project = make(&cloud, "/v3/projects", "project", json!({"name": "p", "domain_id": domain})).await;
    let user = make(&cloud, "/v3/users", "user", within("u")).await;
    let group = make(&cloud, "/v3/groups", "group", json!({"name": "g", "domain_id": domain})).await;
    let membership = format!("/v3/groups/{group}/users/{user}");
    admin(&cloud, 404, Method::HEAD, &membership, None).await;
    admin(&cloud, 204, Method::PUT, &membership, None).await;
    admin(&cloud, 204, Method::HEAD, &membership, None).await;
    let member = role(&cloud, "member").await;
    let grant =
        format!("/v3/OS-INHERIT/domains/{domain}/groups/{group}/roles/{member}/inherited_to_projects");
    admin(&cloud, 204, Method::PUT, &grant, None).await;
    admin(&cloud, 204, Method::HEAD, &grant, None).await;

    let body = password(&json!({"id": user}), "p", Some(json!({"project": {"id": project}})));
    let token = ask(&cloud, None, Method::POST, "/v3/auth/tokens", Some(body)).await;
    assert_eq!(token.status, 201, "{}", token.body);
    let path = format!("/v3/role_assignments?user.id={user}&effective&include_names=true");
    let effective = admin(&cloud, 200, Method::GET, &path, None).await;
    let lines = effective["role_assignments"].as_array().unwrap();
    assert_eq!(lines.len(), 2, "member and reader: {effective}");
    assert!(lines.iter().all(|line| line["scope"]["project"]["name"] == "p"));
    let written =
        admin(&cloud, 200, Method::GET, &format!("/v3/role_assignments?group.id={group}"), None).await;
    assert_eq!(written["role_assignments"][0]["scope"]["OS-INHERIT:inherited_to"], "projects");

    admin(&cloud, 403, Method::DELETE, &format!("/v3/domains/{domain}"), None).await;
    let off = Some(json!({"domain": {"enabled": false}}));
    admin(&cloud, 200, Method::PATCH, &format!("/v3/domains/{domain}"), off).await;
    let answer = ask(&cloud, token.token.as_deref(), Method::GET, "/v3/auth/projects", None).await;
    assert_eq!(answer.status, 401);
    admin(&cloud, 204, Method::DELETE, &format!("/v3/domains/{domain}"), None).await;
    admin(&cloud, 404, Method::GET, &format!("/v3/projects/{project}"), None).await;
}

#[actix_web::test]
async fn domains_are_projects_too() {
    let cloud = Cloud::new().await;
    let id = make(&cloud, "/v3/projects", "project", json!({"name": "d", "is_domain": true})).await;
    let path = format!("/v3/projects/{id}");
    let shown = admin(&cloud, 200, Method::GET, &path, None).await;
    assert_eq!(
        (&shown["project"]["is_domain"], &shown["project"]["parent_id"]),
        (&json!(true), &Value::Null)
    );
    let listed = admin(&cloud, 200, Method::GET, "/v3/projects?is_domain=true&name=d", None).await;
    assert_eq!(listed["projects"][0]["id"], id.as_str());
    admin(&cloud, 200, Method::GET, &format!("/v3/domains/{id}"), None).await;
    admin(&cloud, 403, Method::DELETE, &path, None).await;
    admin(&cloud, 200, Method::PATCH, &path, Some(json!({"project": {"enabled": false}}))).await;
    admin(&cloud, 204, Method::DELETE, &path, None).await;
    let gone = admin(&cloud, 404, Method::GET, &path, None).await;
    assert_eq!(gone["error"]["message"], format!("Could not find project: {id}."));
}

#[actix_web::test]
async fn roles_imply_roles() {
    let cloud = Cloud::new().await;
    let cook = make(&cloud, "/v3/roles", "role", json!({"name": "cook"})).await;
    let member = role(&cloud, "member").await;
    let path = format!("/v3/roles/{cook}/implies/{member}");
    admin(&cloud, 404, Method::HEAD, &path, None).await;
    let made = admin(&cloud, 201, Method::PUT, &path, None).await;
    assert_eq!(made["role_inference"]["implies"]["name"], "member");
    admin(&cloud, 204, Method::HEAD, &path, None).await;
    let list = admin(&cloud, 200, Method::GET, &format!("/v3/roles/{cook}/implies"), None).await;
    assert_eq!(list["role_inference"]["implies"][0]["name"], "member");
    let all = admin(&cloud, 200, Method::GET, "/v3/role_inferences", None).await;
    assert_eq!(all["role_inferences"].as_array().unwrap().len(), 4);
    admin(&cloud, 204, Method::DELETE, &path, None).await;
    admin(&cloud, 404, Method::DELETE, &path, None).await;
}

#[actix_web::test]
async fn the_catalog_can_be_managed() {
    let cloud = Cloud::new().await;
    let service = make(&cloud, "/v3/services", "service", json!({"type": "t", "name": "n"})).await;
    let endpoint = json!({"service_id": service, "interface": "public", "url": "http://x/$(project_id)s", "region": "Two"});
    let endpoint = make(&cloud, "/v3/endpoints", "endpoint", endpoint).await;
    let shown = admin(&cloud, 200, Method::GET, &format!("/v3/endpoints/{endpoint}"), None).await;
    assert_eq!(shown["endpoint"]["region_id"], "Two");
    admin(&cloud, 409, Method::DELETE, "/v3/regions/Two", None).await;
    let bad = json!({"endpoint": {"service_id": "none", "interface": "public", "url": "http://x"}});
    admin(&cloud, 400, Method::POST, "/v3/endpoints", Some(bad)).await;
    let catalog = admin(&cloud, 200, Method::GET, "/v3/auth/catalog", None).await;
    let entry = catalog["catalog"].as_array().unwrap().iter().find(|s| s["type"] == "t").unwrap();
    let url = entry["endpoints"][0]["url"].as_str().unwrap();
    assert!(url.len() > "http://x/".len() + 31, "the project is in {url}");
    let change = Some(json!({"service": {"description": "d"}}));
    let changed = admin(&cloud, 200, Method::PATCH, &format!("/v3/services/{service}"), change).await;
    assert_eq!(
        (changed["service"]["name"].as_str(), changed["service"]["description"].as_str()),
        (Some("n"), Some("d"))
    );
    admin(&cloud, 204, Method::DELETE, &format!("/v3/services/{service}"), None).await;
    admin(&cloud, 404, Method::GET, &format!("/v3/endpoints/{endpoint}"), None).await;
    admin(&cloud, 204, Method::DELETE, "/v3/regions/Two", None).await;
    assert_eq!(admin(&cloud, 200, Method::GET, "/v3/limits", None).await["limits"], json!([]));
}

#[actix_web::test]
async fn application_credentials_act_for_their_maker() {
    let cloud = Cloud::new().await;
    let (project, user) = member(&cloud).await;
    let token = cloud.log_in("demo", "pass", "demo").await;
    let place = format!("/v3/users/{user}/application_credentials");
    let input = json!({"application_credential": {
        "name": "robot", "roles": [{"name": "reader"}],
        "access_rules": [{"service": "identity", "method": "GET", "path": "/v3/auth/projects"}],
    }});
    let made = ask(&cloud, Some(&token), Method::POST, &place, Some(input)).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let credential = &made.body["application_credential"];
    assert_eq!(credential["project_id"], project.as_str());
    let log_in = json!({"auth": {"identity": {"methods": ["application_credential"],
        "application_credential": {"id": credential["id"], "secret": credential["secret"]}}}});
    let robot = ask(&cloud, None, Method::POST, "/v3/auth/tokens", Some(log_in.clone())).await;
    assert_eq!(robot.status, 201, "{}", robot.body);
    let names: Vec<_> = robot.body["token"]["roles"].as_array().unwrap().iter().map(|r| &r["name"]).collect();
    assert_eq!(names, ["reader"]);
    assert_eq!(robot.body["token"]["application_credential"]["restricted"], true);
    let robot = robot.token.unwrap();
    assert_eq!(ask(&cloud, Some(&robot), Method::GET, "/v3/auth/projects", None).await.status, 200);
    let outside = ask(&cloud, Some(&robot), Method::GET, &format!("/v3/users/{user}"), None).await;
    assert_eq!(outside.status, 401, "not among the access rules");
    let shown = ask(&cloud, Some(&token), Method::GET, &place, None).await;
    assert!(shown.body["application_credentials"][0].get("secret").is_none());

    let path = format!("{place}/{}", credential["id"].as_str().unwrap());
    assert_eq!(ask(&cloud, Some(&token), Method::DELETE, &path, None).await.status, 204);
    assert_eq!(ask(&cloud, Some(&robot), Method::GET, "/v3/auth/projects", None).await.status, 401);
    assert_eq!(ask(&cloud, None, Method::POST, "/v3/auth/tokens", Some(log_in)).await.status, 401);
}

#[actix_web::test]
async fn tags_and_credentials() {
    let cloud = Cloud::new().await;
    let (project, user) = member(&cloud).await;
    let tags = format!("/v3/projects/{project}/tags");
    admin(&cloud, 200, Method::PUT, &tags, Some(json!({"tags": ["x", "y"]}))).await;
    admin(&cloud, 201, Method::PUT, &format!("{tags}/z"), None).await;
    admin(&cloud, 204, Method::DELETE, &format!("{tags}/x"), None).await;
    assert_eq!(admin(&cloud, 200, Method::GET, &tags, None).await["tags"], json!(["y", "z"]));
    admin(&cloud, 404, Method::GET, &format!("{tags}/x"), None).await;
    admin(&cloud, 204, Method::GET, &format!("{tags}/y"), None).await;

    let token = cloud.log_in("demo", "pass", "demo").await;
    let place = format!("/v3/users/{user}/credentials/OS-EC2");
    let made = ask(&cloud, Some(&token), Method::POST, &place, Some(json!({"tenant_id": project}))).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let access = made.body["credential"]["access"].as_str().unwrap();
    let shown = ask(&cloud, Some(&token), Method::GET, &format!("{place}/{access}"), None).await;
    assert_eq!(shown.body["credential"]["secret"], made.body["credential"]["secret"]);
    let listed = ask(&cloud, Some(&token), Method::GET, "/v3/credentials", None).await;
    assert_eq!(listed.body["credentials"].as_array().unwrap().len(), 1);
    assert_eq!(
        ask(&cloud, Some(&token), Method::DELETE, &format!("{place}/{access}"), None).await.status,
        204
    );
}
