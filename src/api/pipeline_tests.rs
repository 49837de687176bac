use super::*;
use crate::api::router::ALWAYS;
use crate::api::testing::{self, Cloud};
use crate::route;
use actix_web::FromRequest;
use actix_web::test::TestRequest;
use serde_json::json;

fn api(dialect: Dialect) -> Api {
    async fn who(call: Call) -> Outcome {
        let name = call.actor()?.user_name.clone();
        Ok(Reply::json(StatusCode::OK, &json!({ "who": name }))?)
    }
    async fn open(_call: Call) -> Outcome {
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    }
    let router = Router::new(vec![
        route!(GET "/", ALWAYS, Rule::Open, open),
        route!(GET "/things/{id}", ALWAYS, Rule::Reader("get_thing"), who),
        route!(POST "/things", ALWAYS, Rule::Admin("add_thing"), who),
    ]);
    Api { dialect, mount: "/image", router }
}

async fn ask(cloud: &Cloud, dialect: Dialect, request: TestRequest) -> HttpResponse {
    let request = request.to_http_request();
    let payload = Payload::extract(&request).await.unwrap();
    serve(&api(dialect), cloud.state.clone(), request, payload).await
}

#[actix_web::test]
async fn tokens_open_doors_and_their_lack_closes_them() {
    let cloud = Cloud::new().await;
    let token = ("x-auth-token", cloud.admin.clone());
    let answer = ask(&cloud, Dialect::Image, TestRequest::get().uri("/image/")).await;
    assert_eq!(answer.status(), 204);
    let answer = ask(&cloud, Dialect::Image, TestRequest::get().uri("/image/things/1")).await;
    assert_eq!(answer.status(), 401);
    assert!(answer.headers().get("www-authenticate").unwrap().to_str().unwrap().ends_with("/identity\""));
    assert_eq!(testing::body(answer).await["error"]["code"], 401);
    let request = TestRequest::get().uri("/image/things/1").insert_header(token.clone());
    let answer = ask(&cloud, Dialect::Image, request).await;
    assert!(answer.headers().get("x-openstack-request-id").unwrap().to_str().unwrap().starts_with("req-"));
    assert_eq!(testing::body(answer).await["who"], "admin");

    cloud.clock.advance(3601);
    let request = TestRequest::get().uri("/image/things/1").insert_header(token);
    assert_eq!(ask(&cloud, Dialect::Image, request).await.status(), 401, "the token has expired");
}

#[actix_web::test]
async fn unknown_paths_and_methods() {
    let cloud = Cloud::new().await;
    let token = ("x-auth-token", cloud.admin.clone());
    assert_eq!(ask(&cloud, Dialect::Network, TestRequest::get().uri("/image/nothing")).await.status(), 401);
    assert_eq!(ask(&cloud, Dialect::Identity, TestRequest::get().uri("/image/nothing")).await.status(), 404);
    let request = TestRequest::get().uri("/image/nothing").insert_header(token.clone());
    let answer = ask(&cloud, Dialect::Network, request).await;
    assert_eq!(testing::body(answer).await["NeutronError"]["type"], "HTTPNotFound");
    let request = TestRequest::delete().uri("/image/things").insert_header(token.clone());
    let answer = ask(&cloud, Dialect::Image, request).await;
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.headers().get("allow").unwrap(), "POST");
    let request = TestRequest::put().uri("/image/things/1").insert_header(token.clone());
    let answer = ask(&cloud, Dialect::Image, request).await;
    assert_eq!(answer.headers().get("allow").unwrap(), "GET, HEAD");
    let request = TestRequest::default().method(Method::HEAD).uri("/image/things/1").insert_header(token);
    assert_eq!(ask(&cloud, Dialect::Image, request).await.status(), 200);
}
