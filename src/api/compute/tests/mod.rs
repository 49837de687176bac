//! The API as a client sees it, on a cloud without a host.

mod administration;
mod aggregates;
mod connectivity;
mod external_events;
mod golden;
mod network_proxies;
mod power;
mod rebuild;
mod resize;
mod server_groups;
mod server_images;
mod servers;
mod shares;
mod shelve;
mod usage;

use super::serve;
use crate::api::testing::{self, Cloud};
use actix_web::FromRequest;
use actix_web::http::Method;
use actix_web::test::TestRequest;
use actix_web::web::Payload;
use serde_json::{Value, json};

/// A client of one cloud, with a token and a version.
pub struct Client {
    pub cloud: Cloud,
    pub version: Option<&'static str>,
}

/// Status, body, and the headers that tests look at.
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub headers: actix_web::http::header::HeaderMap,
}

impl Client {
    pub async fn new() -> Self {
        let cloud = Cloud::new().await;
        cloud.state.services.flavors.bootstrap().await.unwrap();
        Self { cloud, version: None }
    }

    pub async fn ask(&self, request: TestRequest) -> Answer {
        let (request, payload) = request.to_http_parts();
        let mut payload = payload;
        let body = Payload::from_request(&request, &mut payload).await.unwrap();
        let response = serve(self.cloud.state.clone(), request, body).await;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        Answer { status, body: testing::body(response).await, headers }
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = TestRequest::default()
            .method(method)
            .uri(path)
            .insert_header(("host", "cloud:8774"))
            .insert_header(("x-auth-token", self.cloud.admin.clone()));
        if let Some(version) = self.version {
            request = request.insert_header(("openstack-api-version", format!("compute {version}")));
        }
        if let Some(body) = body {
            request = request.set_json(body);
        }
        self.ask(request).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    pub fn at(&mut self, version: &'static str) -> &Self {
        self.version = Some(version);
        self
    }
}

fn message(answer: &Answer) -> &str {
    answer.body.as_object().unwrap().values().next().unwrap()["message"].as_str().unwrap()
}

#[actix_web::test]
async fn versions_are_read_without_a_token() {
    let client = Client::new().await;
    let bare = |path: &str| TestRequest::get().uri(path).insert_header(("host", "cloud:8774"));
    let root = client.ask(bare("/")).await;
    assert_eq!(root.status, 200);
    assert_eq!(root.body["versions"][1]["version"], "2.104");
    assert_eq!(root.body["versions"][0]["links"][0]["href"], "http://cloud:8774/v2/");
    let one = client.ask(bare("/v2.1/")).await;
    assert_eq!(one.status, 200);
    assert_eq!(one.body["version"]["min_version"], "2.1");
    let old = client.ask(bare("/v2")).await;
    assert_eq!(old.body["version"]["version"], "");
    let other = client.ask(bare("/servers/x")).await;
    assert_eq!(other.status, 300);
    assert_eq!(other.body["choices"][1]["links"][0]["href"], "http://cloud:8774/v2.1/servers/x");
    assert_eq!(client.ask(bare("/v2.1/flavors")).await.status, 401);
    assert_eq!(client.ask(bare("/v2.1/nothing")).await.status, 401);
}

#[actix_web::test]
async fn headers_media_types_and_projects() {
    let mut client = Client::new().await;
    let answer = client.get("/v2.1/flavors").await;
    assert_eq!(answer.headers.get("openstack-api-version").unwrap(), "compute 2.1");
    assert_eq!(answer.headers.get("x-openstack-nova-api-version").unwrap(), "2.1");
    assert_eq!(
        answer.headers.get("x-compute-request-id").unwrap(),
        answer.headers.get("x-openstack-request-id").unwrap()
    );
    assert!(answer.headers.get("vary").unwrap().to_str().unwrap().contains("OpenStack-API-Version"));
    let legacy = client.get("/v2/flavors").await;
    assert_eq!(legacy.status, 200);
    assert!(legacy.headers.get("openstack-api-version").is_none());
    assert_eq!(legacy.body["flavors"][0]["links"][0]["href"], "http://cloud:8774/v2/flavors/1");

    let garbled = client.get("/v2.1/servers?name=%ff").await;
    assert_eq!((garbled.status, message(&garbled)), (400, "Query string is not UTF-8 encoded"));
    assert_eq!(client.get("/v2.1/servers?name=%c3%bc").await.status, 200);
    let foreign = client.get("/v2.1/abcdef/flavors").await;
    assert_eq!(foreign.status, 400);
    assert!(message(&foreign).starts_with("Malformed request URL: URL's project_id 'abcdef' doesn't match"));
    assert_eq!(client.get("/v2.1/nothing").await.status, 404);
    assert_eq!(client.send(Method::PATCH, "/v2.1/flavors", None).await.status, 404);
    assert_eq!(client.get("/v2.1/os-agents").await.status, 410);
    let gone = client.get("/v2.1/os-cells").await;
    assert_eq!(gone.body["computeFault"]["code"], 410);

    let form = TestRequest::post()
        .uri("/v2.1/flavors")
        .insert_header(("x-auth-token", client.cloud.admin.clone()))
        .insert_header(("content-type", "application/x-www-form-urlencoded"));
    assert_eq!(client.ask(form).await.status, 415);

    client.at("2.999");
    let out = client.get("/v2.1/flavors").await;
    assert_eq!(out.status, 406);
    assert_eq!(
        message(&out),
        "Version 2.999 is not supported by the API. Minimum is 2.1 and maximum is 2.104."
    );
    client.at("two");
    assert_eq!(client.get("/v2.1/flavors").await.status, 400);
}

#[actix_web::test]
async fn flavors_change_with_the_version() {
    let mut client = Client::new().await;
    let old = client.get("/v2.1/flavors/1").await.body;
    assert_eq!(old["flavor"]["swap"], "");
    assert_eq!(old["flavor"]["rxtx_factor"], 1.0);
    assert!(old["flavor"].get("description").is_none());
    let new = client.at("latest").get("/v2.1/flavors/1").await.body;
    assert_eq!(
        new["flavor"],
        json!({
            "id": "1", "name": "m1.tiny", "ram": 512, "disk": 1, "vcpus": 1, "swap": 0,
            "OS-FLV-EXT-DATA:ephemeral": 0, "os-flavor-access:is_public": true, "description": null,
            "extra_specs": {},
            "links": [
                {"rel": "self", "href": "http://cloud:8774/v2.1/flavors/1"},
                {"rel": "bookmark", "href": "http://cloud:8774/flavors/1"},
            ],
        })
    );
}

#[actix_web::test]
async fn flavors_are_listed_in_pages() {
    let mut client = Client::new().await;
    let first = client.get("/v2.1/flavors?limit=3&minRam=256").await.body;
    let ids = |body: &Value| -> Vec<String> {
        body["flavors"].as_array().unwrap().iter().map(|f| f["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&first), ["1", "2", "3"]);
    assert_eq!(
        first["flavors_links"][0]["href"],
        "http://cloud:8774/v2.1/flavors?limit=3&marker=3&minRam=256"
    );
    let rest = client.get("/v2.1/flavors?limit=4&minRam=256&marker=3").await.body;
    assert_eq!(ids(&rest), ["4", "5", "84"]);
    assert!(rest.get("flavors_links").is_none());
    let sorted = client.get("/v2.1/flavors?sort_key=memory_mb&sort_dir=desc&limit=2").await.body;
    assert_eq!(ids(&sorted), ["5", "4"]);
    assert_eq!(client.get("/v2.1/flavors?limit=0").await.body["flavors"], json!([]));
    let unknown = client.get("/v2.1/flavors?marker=nix").await;
    assert_eq!((unknown.status, message(&unknown)), (400, "marker [nix] not found"));
    let bad = client.get("/v2.1/flavors?limit=-1").await;
    assert_eq!(
        message(&bad),
        "Invalid input for query parameters limit. Value: -1. '-1' does not match '^[0-9]*$'"
    );
    assert_eq!(client.get("/v2.1/flavors?other=1").await.status, 200);
    let closed = client.at("2.75").get("/v2.1/flavors?other=1").await;
    assert_eq!(message(&closed), "Additional properties are not allowed ('other' was unexpected)");
    assert_eq!(client.get("/v2.1/flavors?sort_key=rxtx_factor").await.status, 200);
    assert_eq!(client.at("2.102").get("/v2.1/flavors?sort_key=rxtx_factor").await.status, 400);
    assert_eq!(ids(&client.get("/v2.1/flavors?name=m1.(nano|tiny)").await.body), ["1", "42"]);
}

#[actix_web::test]
async fn making_and_changing_flavors() {
    let mut client = Client::new().await;
    let wanted = json!({"flavor": {"name": "f", "ram": "64", "vcpus": 1, "disk": 0, "id": "f1", "swap": 5,
        "os-flavor-access:is_public": "False"}});
    let made = client.post("/v2.1/flavors", wanted.clone()).await;
    assert_eq!(made.status, 200);
    assert_eq!(made.body["flavor"]["ram"], 64);
    assert_eq!(made.body["flavor"]["os-flavor-access:is_public"], false);
    let again = client.post("/v2.1/flavors", wanted.clone()).await;
    assert_eq!((again.status, message(&again)), (409, "Flavor with ID f1 already exists."));

    for (body, text) in [
        (
            json!({"flavor": {"name": "", "ram": 1, "vcpus": 1, "disk": 0}}),
            "Invalid input for field/attribute name. Value: . '' is too short",
        ),
        (
            json!({"flavor": {"name": "g", "ram": 0, "vcpus": 1, "disk": 0}}),
            "Invalid input for field/attribute ram. Value: 0. 0 is less than the minimum of 1",
        ),
        (
            json!({"flavor": {"name": "g", "ram": 1.5, "vcpus": 1, "disk": 0}}),
            "Invalid input for field/attribute ram. Value: 1.5. 1.5 is not of type 'integer', 'string'",
        ),
        (
            json!({"flavor": {"name": "g", "ram": 1, "vcpus": 1, "disk": 0, "rxtx_factor": 3.5e38}}),
            "Invalid input for field/attribute rxtx_factor. Value: 3.5e+38. \
             350000000000000000000000000000000000000 is greater than the maximum of 3.40282e+38",
        ),
        (
            json!({"flavor": {"name": " g", "ram": 1, "vcpus": 1, "disk": 0}}),
            "An invalid 'name' value was provided. The name must be: printable characters. Can not start or end \
             with whitespace.",
        ),
        (
            json!({"flavor": {"ram": 1, "vcpus": 1, "disk": 0}}),
            "Invalid input for field/attribute flavor. Value: {'disk': 0, 'ram': 1, 'vcpus': 1}. 'name' is a \
             required property",
        ),
        (json!({"flavour": {}}), "'flavor' is a required property"),
        (
            json!({"flavor": {"name": "g", "ram": 1, "vcpus": 1, "disk": 0, "id": "a "}}),
            "Invalid input for field/attribute id. Value: a . 'a ' does not match '^(?! )[a-zA-Z0-9. _-]*(?<! )$'",
        ),
    ] {
        let refused = client.post("/v2.1/flavors", body).await;
        assert_eq!((refused.status, message(&refused)), (400, text));
    }
    let extra = json!({"flavor": {"name": "g", "ram": 1, "vcpus": 1, "disk": 0, "x": 1}});
    let refused = client.post("/v2.1/flavors", extra.clone()).await;
    assert!(message(&refused).ends_with("Additional properties are not allowed ('x' was unexpected)"));
    assert_eq!(client.post("/v2/flavors", extra).await.status, 200);

    let path = "/v2.1/flavors/f1";
    assert_eq!(
        client.send(Method::PUT, path, Some(json!({"flavor": {"description": "d"}}))).await.status,
        404
    );
    client.at("2.55");
    let put = client.send(Method::PUT, path, Some(json!({"flavor": {"description": "d"}}))).await;
    assert_eq!(put.body["flavor"]["description"], "d");

    let project = client.get("/v2.1/limits").await;
    assert_eq!(project.status, 200);
    let access = client.get("/v2.1/flavors/f1/os-flavor-access").await;
    assert_eq!(access.body, json!({"flavor_access": []}));
    let unknown =
        client.post("/v2.1/flavors/f1/action", json!({"addTenantAccess": {"tenant": "nobody"}})).await;
    assert_eq!((unknown.status, message(&unknown)), (400, "Project ID nobody is not a valid project."));
    assert_eq!(client.get("/v2.1/flavors/1/os-flavor-access").await.status, 404);

    let specs = json!({"extra_specs": {"hw:cpu_policy": "shared", "n": 3}});
    assert_eq!(client.post("/v2.1/flavors/f1/os-extra_specs", specs.clone()).await.body, specs);
    assert_eq!(client.get("/v2.1/flavors/f1/os-extra_specs").await.body["extra_specs"]["n"], "3");
    client.at("2.86");
    let wrong = json!({"extra_specs": {"hw:cpu_policy": "sharrred"}});
    assert_eq!(client.post("/v2.1/flavors/f1/os-extra_specs", wrong).await.status, 400);
    let mismatch =
        client.send(Method::PUT, "/v2.1/flavors/f1/os-extra_specs/a", Some(json!({"b": "1"}))).await;
    assert_eq!((mismatch.status, message(&mismatch)), (400, "Request body and URI mismatch"));
    assert_eq!(client.send(Method::DELETE, "/v2.1/flavors/f1/os-extra_specs/n", None).await.status, 200);
    assert_eq!(client.get("/v2.1/flavors/f1/os-extra_specs/n").await.status, 404);
    assert_eq!(client.send(Method::DELETE, path, None).await.status, 202);
    let gone = client.get(path).await;
    assert_eq!((gone.status, message(&gone)), (404, "Flavor f1 could not be found."));
}

#[actix_web::test]
async fn keypairs_by_version() {
    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS me";
    let mut client = Client::new().await;
    let made = client.post("/v2.1/os-keypairs", json!({"keypair": {"name": "k1", "public_key": KEY}})).await;
    assert_eq!(made.status, 200);
    assert!(made.body["keypair"].get("type").is_none());
    assert!(made.body["keypair"].get("private_key").is_none());
    client.at("2.2");
    let generated = client.post("/v2.1/os-keypairs", json!({"keypair": {"name": "k2"}})).await;
    assert_eq!(generated.status, 201);
    assert_eq!(generated.body["keypair"]["type"], "ssh");
    assert!(generated.body["keypair"]["private_key"].as_str().unwrap().starts_with("-----BEGIN RSA"));
    let again = client.post("/v2.1/os-keypairs", json!({"keypair": {"name": "k2"}})).await;
    assert_eq!((again.status, message(&again)), (409, "Key pair 'k2' already exists."));
    let bad = client.post("/v2.1/os-keypairs", json!({"keypair": {"name": "k3", "public_key": "x"}})).await;
    assert_eq!(message(&bad), "Keypair data is invalid: failed to generate fingerprint");
    let name = client.post("/v2.1/os-keypairs", json!({"keypair": {"name": "a@b", "public_key": KEY}})).await;
    assert!(message(&name).starts_with("An invalid 'name' value was provided."));
    client.at("2.35");
    let page = client.get("/v2.1/os-keypairs?limit=1").await.body;
    assert_eq!(page["keypairs"][0]["keypair"]["name"], "k1");
    assert_eq!(page["keypairs_links"][0]["href"], "http://cloud:8774/v2.1/os-keypairs?limit=1&marker=k1");
    client.at("2.92");
    let none = client.post("/v2.1/os-keypairs", json!({"keypair": {"name": "k4"}})).await;
    assert!(message(&none).ends_with("'public_key' is a required property"));
    let wide =
        client.post("/v2.1/os-keypairs", json!({"keypair": {"name": "a@b.c", "public_key": KEY}})).await;
    assert_eq!(wide.status, 201);
    let shown = client.get("/v2.1/os-keypairs/k1").await.body;
    assert_eq!(shown["keypair"]["deleted"], false);
    assert_eq!(shown["keypair"]["created_at"], "2023-11-14T22:13:20.000000");
    assert_eq!(client.send(Method::DELETE, "/v2.1/os-keypairs/k1", None).await.status, 204);
    assert_eq!(client.get("/v2.1/os-keypairs/k1").await.status, 404);
}

#[actix_web::test]
async fn limits_and_zones() {
    let mut client = Client::new().await;
    let old = client.get("/v2.1/limits").await.body;
    assert_eq!(old["limits"]["rate"], json!([]));
    assert_eq!(old["limits"]["absolute"].as_object().unwrap().len(), 19);
    let new = client.at("latest").get("/v2.1/limits").await.body;
    assert_eq!(new["limits"]["absolute"].as_object().unwrap().len(), 11);
    assert_eq!(new["limits"]["absolute"]["maxTotalCores"], 20);
    let zones = client.get("/v2.1/os-availability-zone").await.body;
    assert_eq!(
        zones,
        json!({"availabilityZoneInfo": [{"zoneName": "nova", "zoneState": {"available": true}, "hosts": null}]})
    );
    assert_eq!(client.get("/v2.1/os-availability-zone?x=1").await.status, 400);
    let one = client.get("/v2/os-availability-zone/nova").await;
    assert_eq!((one.status, one.body), (200, zones));
    assert_eq!(client.get("/v2/os-availability-zone/mars").await.status, 404);
    assert_eq!(client.get("/v2.1/os-availability-zone/nova").await.status, 404);
    assert_eq!(client.get("/v2.1/extensions").await.body["extensions"].as_array().unwrap().len(), 99);
    assert_eq!(client.get("/v2/extensions").await.body["extensions"].as_array().unwrap().len(), 100);
}

#[actix_web::test]
async fn users_have_limits_of_their_own_within_those_of_their_project() {
    let mut client = Client::new().await;
    let member = client.cloud.user("member", "member").await;
    let path = "/v2.1/os-quota-sets/project-member";
    let (own, other) = (format!("{path}?user_id=user-member"), format!("{path}?user_id=user-other"));
    let cores = |limit: i64| json!({"quota_set": {"cores": limit}});
    for (path, limit, answer) in [
        (own.as_str(), 21, Err("Quota limit 21 for cores must be less than or equal to 20.")),
        (&own, -1, Err("Quota limit -1 for cores must be less than or equal to 20.")),
        (&own, 8, Ok(())),
        (&other, 13, Err("Quota limit 13 for cores must be less than or equal to 12.")),
        (&other, 12, Ok(())),
        (&own, 9, Err("Quota limit 9 for cores must be less than or equal to 8.")),
        (&own, 7, Ok(())),
        (
            path,
            18,
            Err("Quota limit 18 for cores must be greater than or equal to already used and reserved 19."),
        ),
        (path, 19, Ok(())),
    ] {
        let set = client.send(Method::PUT, path, Some(cores(limit))).await;
        match answer {
            Ok(()) => assert_eq!((set.status, &set.body["quota_set"]["cores"]), (200, &json!(limit))),
            Err(words) => assert_eq!((set.status, message(&set)), (400, words)),
        }
    }
    let force = json!({"quota_set": {"cores": 40, "force": "True"}});
    assert_eq!(client.send(Method::PUT, &own, Some(force)).await.body["quota_set"]["cores"], 40);
    let shown = client.get(&own).await.body;
    assert_eq!(
        (&shown["quota_set"]["id"], &shown["quota_set"]["cores"]),
        (&json!("project-member"), &json!(40))
    );
    assert_eq!(shown["quota_set"]["instances"], 10, "what is not the user's own is the project's");
    assert_eq!(client.get(path).await.body["quota_set"]["cores"], 19);
    let detail = client.get(&format!("{path}/detail?user_id=user-other")).await.body;
    assert_eq!(detail["quota_set"]["cores"], json!({"limit": 12, "in_use": 0, "reserved": 0}));

    // Key pairs and server groups are counted by user.
    let few = json!({"quota_set": {"key_pairs": 0, "server_groups": 0}});
    assert_eq!(client.send(Method::PUT, &own, Some(few)).await.status, 200);
    let admin = std::mem::replace(&mut client.cloud.admin, member);
    let key = client.post("/v2.1/os-keypairs", json!({"keypair": {"name": "k"}})).await;
    assert_eq!((key.status, message(&key)), (403, "Quota exceeded, too many key pairs."));
    let group = json!({"server_group": {"name": "g", "policies": ["affinity"]}});
    let group = client.post("/v2.1/os-server-groups", group).await;
    assert_eq!((group.status, message(&group)), (403, "Quota exceeded, too many server groups."));
    assert_eq!(client.send(Method::PUT, &own, Some(cores(1))).await.status, 403);
    client.cloud.admin = admin;

    assert_eq!(client.send(Method::DELETE, &own, None).await.status, 202);
    assert_eq!(client.get(&own).await.body["quota_set"]["cores"], 19);
    assert_eq!(client.get(&other).await.body["quota_set"]["cores"], 12);
    assert_eq!(client.send(Method::DELETE, path, None).await.status, 202);
    assert_eq!(client.get(&other).await.body["quota_set"]["cores"], 20);
}

#[actix_web::test]
async fn quotas_are_shown_set_and_reset() {
    let mut client = Client::new().await;
    let actor = client.cloud.actor(&client.cloud.admin.clone()).await;
    let project = actor.project_id.unwrap();
    let path = format!("/v2.1/os-quota-sets/{project}");
    let old = client.get(&path).await.body;
    assert_eq!(old["quota_set"].as_object().unwrap().len(), 15);
    let changed =
        client.send(Method::PUT, &path, Some(json!({"quota_set": {"cores": "45", "force": true}}))).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(changed.body["quota_set"]["cores"], 45);
    assert!(changed.body["quota_set"].get("id").is_none());
    assert_eq!(client.get("/v2.1/limits").await.body["limits"]["absolute"]["maxTotalCores"], 45);
    let defaults = client.get(&format!("{path}/defaults")).await.body;
    assert_eq!(defaults["quota_set"]["cores"], 20);
    let unknown = client.get("/v2.1/os-quota-sets/nobody").await;
    assert_eq!((unknown.status, message(&unknown)), (400, "Project ID nobody is not a valid project."));
    let groups = json!({"quota_set": {"security_groups": 7}});
    let groups = client.send(Method::PUT, &path, Some(groups)).await.body;
    assert_eq!(
        (&groups["quota_set"]["security_groups"], &groups["quota_set"]["fixed_ips"]),
        (&json!(7), &json!(-1))
    );
    assert_eq!(client.get("/v2.1/limits").await.body["limits"]["absolute"]["maxSecurityGroups"], 7);
    let low = client.send(Method::PUT, &path, Some(json!({"quota_set": {"cores": -2}}))).await;
    assert!(message(&low).ends_with("-2 is less than the minimum of -1"));
    client.at("2.57");
    let detail = client.get(&format!("{path}/detail")).await.body;
    assert_eq!(detail["quota_set"]["instances"], json!({"limit": 10, "in_use": 0, "reserved": 0}));
    assert_eq!(detail["quota_set"].as_object().unwrap().len(), 8);
    let files = client.send(Method::PUT, &path, Some(json!({"quota_set": {"injected_files": 1}}))).await;
    assert_eq!(files.status, 400);
    let networks = &client.cloud.state.services.networks;
    networks.set_quota(project.clone(), vec![("port", 3)]).await.unwrap();
    assert_eq!(client.send(Method::DELETE, &path, None).await.status, 202);
    assert_eq!(client.get(&path).await.body["quota_set"]["cores"], 20);
    let others = networks.projects_with_quota().await.unwrap();
    assert_eq!(others, [project], "the limits of the network API were reset too");
    let class = "/v2.1/os-quota-class-sets/default";
    let put = client.send(Method::PUT, class, Some(json!({"quota_class_set": {"instances": 50}}))).await;
    assert_eq!(put.body["quota_class_set"]["instances"], 50);
    assert_eq!(client.get(class).await.body["quota_class_set"]["id"], "default");
    assert_eq!(client.get(&path).await.body["quota_set"]["instances"], 50);
}

/// Handlers ask the policy themselves, after they checked the request: none may forget to.
#[actix_web::test]
async fn no_operation_forgets_its_rule() {
    use crate::api::compute::routes;
    use crate::core::policy::Rule;
    let mut client = Client::new().await;
    let tokens = [
        ("nothing", client.cloud.user("nothing", "service").await),
        ("reader", client.cloud.user("reader", "reader").await),
        ("member", client.cloud.user("member", "member").await),
    ];
    for (role, token) in tokens {
        client.cloud.admin = token;
        let actor = client.cloud.actor(&client.cloud.admin.clone()).await;
        for route in routes::table().routes() {
            let asks =
                matches!(route.rule, Rule::Reader(_) | Rule::Member(_) | Rule::Manager(_) | Rule::Admin(_));
            if !asks || route.rule.allows(&actor) {
                continue;
            }
            client.version = Some(if route.window.1 < 104 { "2.1" } else { "2.104" });
            let path = route.path.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
            let path = format!("/v2.1{}", path.collect::<Vec<_>>().join("/"));
            let body = matches!(route.method, Method::POST | Method::PUT).then(|| json!({}));
            let answer = client.send(route.method.clone(), &path, body).await;
            assert!(
                [400, 403, 404].contains(&answer.status),
                "{role} may {} {}: {}",
                route.method,
                route.path,
                answer.status
            );
        }
    }
}

#[actix_web::test]
async fn the_node_and_its_services() {
    let mut client = Client::new().await;
    let listed = client.get("/v2.1/os-hypervisors").await.body;
    assert_eq!(
        listed,
        json!({"hypervisors": [{"id": 1, "hypervisor_hostname": "node", "state": "up", "status": "enabled"}]})
    );
    let shown = client.get("/v2.1/os-hypervisors/1").await.body;
    assert!(shown["hypervisor"]["cpu_info"].is_string());
    assert_eq!(client.get("/v2.1/os-hypervisors/2").await.status, 404);
    assert_eq!(client.get("/v2.1/os-hypervisors/statistics").await.body["hypervisor_statistics"]["count"], 1);
    assert!(client.get("/v2.1/os-hypervisors/1/uptime").await.body["hypervisor"]["uptime"].is_string());
    assert_eq!(client.get("/v2.1/os-hypervisors/od/search").await.status, 200);
    let none = client.get("/v2.1/os-hypervisors/else/servers").await;
    assert_eq!((none.status, message(&none)), (404, "No hypervisor matching 'else' could be found."));
    let services = client.get("/v2.1/os-services?binary=nova-compute").await.body;
    assert_eq!(services["services"].as_array().unwrap().len(), 1);
    assert_eq!(services["services"][0]["id"], 3);
    client.at("2.53");
    let detail = client.get("/v2.1/os-hypervisors/detail?with_servers=true").await.body;
    let id = detail["hypervisors"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(client.get(&format!("/v2.1/os-hypervisors/{id}")).await.status, 200);
    assert_eq!(client.get("/v2.1/os-hypervisors/1").await.status, 400);
    assert_eq!(client.get("/v2.1/os-hypervisors/od/search").await.status, 404);
    assert_eq!(client.get("/v2.1/os-hypervisors?hypervisor_hostname_pattern=x").await.status, 404);
    assert_eq!(client.get("/v2.1/os-hypervisors?hypervisor_hostname_pattern=n&limit=1").await.status, 400);
    let page = client.get("/v2.1/os-hypervisors?limit=1").await.body;
    assert!(page["hypervisors_links"][0]["href"].as_str().unwrap().ends_with(&format!("marker={id}")));
    let rest = client.get(&format!("/v2.1/os-hypervisors?marker={id}")).await.body;
    assert_eq!(rest, json!({"hypervisors": []}));
    client.at("2.88");
    assert_eq!(client.get(&format!("/v2.1/os-hypervisors/{id}/uptime")).await.status, 404);
    let newest = client.get(&format!("/v2.1/os-hypervisors/{id}")).await.body;
    assert!(newest["hypervisor"].get("vcpus").is_none());
    assert!(newest["hypervisor"]["uptime"].is_string());
}
