//! Bodies that are refused, and in which words.

use super::*;

async fn refused(cloud: &Cloud, method: Method, path: &str, body: Value) -> String {
    let answer = admin(cloud, 400, method, path, Some(body)).await;
    answer["error"]["message"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn changes_say_something_but_no_other_id() {
    let cloud = Cloud::new().await;
    let (project, user) = member(&cloud).await;
    let named = json!({"name": "other"});
    let group = make(&cloud, "/v3/groups", "group", named.clone()).await;
    let role = make(&cloud, "/v3/roles", "role", named.clone()).await;
    let domain = make(&cloud, "/v3/domains", "domain", named).await;
    let service = make(&cloud, "/v3/services", "service", json!({"type": "t"})).await;
    let place = json!({"service_id": service, "interface": "public", "url": "http://x"});
    let endpoint = make(&cloud, "/v3/endpoints", "endpoint", place).await;
    for (key, id) in [
        ("user", user.as_str()),
        ("project", &project),
        ("group", &group),
        ("role", &role),
        ("domain", &domain),
        ("service", &service),
        ("endpoint", &endpoint),
        ("region", "RegionOne"),
    ] {
        let path = format!("/v3/{key}s/{id}");
        let other = json!({key: {"id": "another", "description": "d"}});
        assert_eq!(refused(&cloud, Method::PATCH, &path, other).await, "Cannot change ID", "{key}");
        let empty = refused(&cloud, Method::PATCH, &path, json!({key: {}})).await;
        assert_eq!(empty, "{} does not have enough properties", "{key}");
        for same in [json!(id), Value::Null] {
            let body = json!({key: {"id": same, "description": "d"}});
            admin(&cloud, 200, Method::PATCH, &path, Some(body)).await;
        }
    }
    let credential = json!({"type": "t", "blob": "b", "user_id": user});
    let credential = make(&cloud, "/v3/credentials", "credential", credential).await;
    let path = format!("/v3/credentials/{credential}");
    let other = json!({"credential": {"id": "another", "blob": "b"}});
    assert_eq!(refused(&cloud, Method::PATCH, &path, other).await, "Cannot change ID");
    refused(&cloud, Method::PATCH, &path, json!({"credential": {}})).await;
}

#[actix_web::test]
async fn options_have_names_and_types() {
    let cloud = Cloud::new().await;
    let (project, user) = member(&cloud).await;
    let path = format!("/v3/users/{user}");
    for bad in [
        json!({"zz": 1}),
        json!({"immutable": true}),
        json!({"lock_password": "x"}),
        json!({"ignore_password_expiry": 1}),
        json!({"multi_factor_auth_rules": "password"}),
        json!({"multi_factor_auth_rules": ["password"]}),
        json!({"multi_factor_auth_rules": [[]]}),
        json!({"multi_factor_auth_rules": [["password", "password"]]}),
        json!({"multi_factor_auth_rules": [["password"], ["password"]]}),
        json!("x"),
        Value::Null,
    ] {
        let body = json!({"user": {"name": "new", "options": bad}});
        refused(&cloud, Method::POST, "/v3/users", body.clone()).await;
        refused(&cloud, Method::PATCH, &path, body).await;
    }
    let message = refused(&cloud, Method::PATCH, &path, json!({"user": {"options": {"zz": 1}}})).await;
    let words =
        "Invalid input for field 'options': Additional properties are not allowed ('zz' was unexpected)";
    assert_eq!(message, words);
    let good = json!({"user": {"options": {
        "ignore_change_password_upon_first_use": false,
        "ignore_lockout_failure_attempts": null,
        "multi_factor_auth_enabled": false,
        "multi_factor_auth_rules": [["password", "totp"], ["password"]],
    }}});
    let changed = admin(&cloud, 200, Method::PATCH, &path, Some(good.clone())).await;
    let mut kept = good["user"]["options"].clone();
    kept.as_object_mut().unwrap().remove("ignore_lockout_failure_attempts");
    assert_eq!(changed["user"]["options"], kept);
    let without = json!({"user": {"options": {"multi_factor_auth_rules": null, "lock_password": false}}});
    admin(&cloud, 200, Method::PATCH, &path, Some(without)).await;
    let shown = admin(&cloud, 200, Method::GET, &path, None).await;
    let left = json!({"ignore_change_password_upon_first_use": false, "multi_factor_auth_enabled": false,
        "lock_password": false});
    assert_eq!(shown["user"]["options"], left);
    assert_eq!(shown["user"]["email"], "a@b");
    let made = json!({"name": "another", "options": {"ignore_password_expiry": true, "lock_password": null}});
    let made = admin(&cloud, 201, Method::POST, "/v3/users", Some(json!({"user": made}))).await;
    assert_eq!(made["user"]["options"], json!({"ignore_password_expiry": true}));

    let role = make(&cloud, "/v3/roles", "role", json!({"name": "r", "options": {"immutable": false}})).await;
    let domain = make(&cloud, "/v3/domains", "domain", json!({"name": "d", "options": {}})).await;
    for (key, id) in [("project", &project), ("role", &role), ("domain", &domain)] {
        for bad in [json!({"zz": 1}), json!({"lock_password": true}), json!({"immutable": "yes"})] {
            let body = json!({key: {"name": "new", "options": bad}});
            refused(&cloud, Method::POST, &format!("/v3/{key}s"), body.clone()).await;
            refused(&cloud, Method::PATCH, &format!("/v3/{key}s/{id}"), body).await;
        }
    }
}

#[actix_web::test]
async fn options_of_users_hold() {
    let cloud = Cloud::new().await;
    let (_, user) = member(&cloud).await;
    let path = format!("/v3/users/{user}");
    let set = async |options: Value| {
        admin(&cloud, 200, Method::PATCH, &path, Some(json!({"user": {"options": options}}))).await;
    };
    let change = async |original: &str| {
        let body = json!({"user": {"original_password": original, "password": "other"}});
        let answer = ask(&cloud, None, Method::POST, &format!("{path}/password"), Some(body)).await;
        (answer.status, answer.body)
    };
    set(json!({"lock_password": true})).await;
    assert_eq!(change("wrong").await.0, 401);
    let (status, body) = change("pass").await;
    assert_eq!(status, 400);
    let words = "You cannot change your password at this time due to password policy disallowing password changes. \
                 Please contact your administrator to reset your password.";
    assert_eq!(body["error"]["message"], words);
    set(json!({"lock_password": null})).await;
    assert_eq!(change("pass").await.0, 204);

    let log_in = async || {
        let body = password(&demo(), "other", None);
        ask(&cloud, None, Method::POST, "/v3/auth/tokens", Some(body)).await.status
    };
    assert_eq!(log_in().await, 201);
    set(json!({"multi_factor_auth_rules": [["password", "application_credential"]]})).await;
    assert_eq!(log_in().await, 401);
    set(json!({"multi_factor_auth_enabled": false})).await;
    assert_eq!(log_in().await, 201);
}

#[actix_web::test]
async fn who_shows_no_password_is_nobody() {
    let cloud = Cloud::new().await;
    let status = async |identity: Value| {
        let body = json!({"auth": {"identity": identity}});
        ask(&cloud, None, Method::POST, "/v3/auth/tokens", Some(body)).await.status
    };
    let user = json!({"name": "admin", "domain": {"id": "default"}});
    assert_eq!(status(json!({"methods": ["password"], "password": {"user": user}})).await, 401);
    let silent = json!({"name": "admin", "domain": {"id": "default"}, "password": null});
    assert_eq!(status(json!({"methods": ["password"], "password": {"user": silent}})).await, 400);
    assert_eq!(status(json!({"methods": ["token"], "token": {}})).await, 400);
    let credential = json!({"id": "nothing"});
    let credential = json!({"methods": ["application_credential"], "application_credential": credential});
    assert_eq!(status(credential).await, 401);
}

#[actix_web::test]
async fn services_have_a_type_and_short_names() {
    let cloud = Cloud::new().await;
    let longest = "x".repeat(255);
    let service = make(&cloud, "/v3/services", "service", json!({"type": longest, "name": longest})).await;
    let path = format!("/v3/services/{service}");
    for field in ["type", "name"] {
        for (bad, words) in [(String::new(), "is too short"), ("x".repeat(256), "is too long")] {
            let mut body = json!({"type": "t", "name": "n"});
            body[field] = bad.into();
            let body = json!({ "service": body });
            for (method, path) in [(Method::POST, "/v3/services"), (Method::PATCH, path.as_str())] {
                let message = refused(&cloud, method, path, body.clone()).await;
                assert!(message.ends_with(words), "{message}");
            }
        }
    }
    let shown = admin(&cloud, 200, Method::GET, &path, None).await;
    assert_eq!(shown["service"]["name"], longest);
}

#[actix_web::test]
async fn log_ins_say_what_they_lack() {
    let cloud = Cloud::new().await;
    let words = async |auth: Value| {
        let answer = ask(&cloud, None, Method::POST, "/v3/auth/tokens", Some(auth)).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
        answer.body["error"]["message"].as_str().unwrap().to_owned()
    };
    let expecting = |what: &str, place: &str| {
        format!(
            "Expecting to find {what} in {place}. The server could not comply with the request since it is \
             either malformed or otherwise incorrect. The client is assumed to be in error."
        )
    };
    let user = json!({"name": "admin", "domain": {"id": "default"}});
    let scoped = |scope: Value| password(&user, ADMIN_PASSWORD, Some(scope));
    let project = json!({"name": "admin", "domain": {"id": "default"}});
    let scopes = expecting("system, project, domain, OS-TRUST:trust or unscoped", "scope");
    for scope in [
        json!({}),
        json!({"zz": {}}),
        json!("everything"),
        json!({"project": project, "domain": {"id": "default"}}),
        json!({"project": project, "system": {"all": true}}),
    ] {
        assert_eq!(words(scoped(scope)).await, scopes);
    }
    let without_domain = json!({"project": {"name": "admin"}});
    assert_eq!(words(scoped(without_domain)).await, expecting("domain", "project"));
    let short = "id or name must be present.";
    for (scope, field) in [
        (json!({"project": {}}), "scope/project"),
        (json!({"project": {"name": "admin", "domain": {}}}), "scope/project/domain"),
        (json!({"domain": {}}), "scope/domain"),
    ] {
        assert_eq!(words(scoped(scope)).await, format!("Invalid input for field {field}: {short}"));
    }
    let by_name = password(&json!({"name": "admin"}), ADMIN_PASSWORD, None);
    assert_eq!(words(by_name).await, expecting("domain", "user"));
    let nobody = words(password(&json!({}), ADMIN_PASSWORD, None)).await;
    assert_eq!(nobody, format!("Invalid input for field identity/password/user: {short}"));
    let nowhere = words(password(&json!({"name": "admin", "domain": {}}), ADMIN_PASSWORD, None)).await;
    assert_eq!(nowhere, format!("Invalid input for field identity/password/user/domain: {short}"));
    assert_eq!(words(json!({})).await, expecting("auth", "request body"));
    let auth = |identity: Value| json!({"auth": {"identity": identity}});
    for method in ["password", "token", "application_credential", "smoke"] {
        assert_eq!(words(auth(json!({"methods": [method]}))).await, expecting(method, "identity"));
    }
    let unnamed = json!({"methods": ["application_credential"], "application_credential": {"secret": "s"}});
    assert_eq!(words(auth(unnamed)).await, expecting("id or name", "application credential"));

    // Keys that name no scope beside the one that does change nothing; what is in no scope at all is trusts.
    let beside = scoped(json!({"project": project, "zz": 1}));
    assert_eq!(ask(&cloud, None, Method::POST, "/v3/auth/tokens", Some(beside)).await.status, 201);
    let trust = scoped(json!({"OS-TRUST:trust": {"id": "t"}}));
    assert_eq!(ask(&cloud, None, Method::POST, "/v3/auth/tokens", Some(trust)).await.status, 404);
}
