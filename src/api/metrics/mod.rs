//! `GET /metrics`: figures of the daemon and of its servers, in the OpenMetrics text form that Prometheus reads.
//!
//! No token is asked of whoever calls from this machine itself, unless the configuration wants an administrator's. A
//! request that a proxy passed on is not from this machine.

mod render;
mod requests;

use super::State;
use super::call::Call;
use super::error::{Dialect, Fault};
use super::{context, fault};
use crate::core::ids::RequestId;
use crate::core::policy::Rule;
use crate::core::{Error, Kind};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
pub use requests::RequestFigures;

pub const PATH: &str = "/metrics";
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// What proxies add to requests that they pass on.
const PROXY_HEADERS: [&str; 3] = ["forwarded", "x-forwarded-for", "via"];

/// Who may read the figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Whoever asks from this machine, and administrators.
    #[default]
    Loopback,
    Admin,
    Nobody,
}

/// Answers one request for the figures.
pub async fn serve(state: State, request: HttpRequest, payload: Payload) -> HttpResponse {
    let call = Call::new(state, &request, RequestId::fresh(), payload);
    let (accept, base) = (call.header("accept").map(str::to_owned), call.base.clone());
    match answer(call, &request).await {
        Ok(text) => HttpResponse::Ok().content_type(TEXT).body(text),
        Err(refused) => {
            super::error::log(&refused);
            fault::render(&refused, Dialect::Compute, accept.as_deref(), &base)
        }
    }
}

async fn answer(mut call: Call, request: &HttpRequest) -> Result<String, Fault> {
    if call.method != Method::GET {
        return Err(Fault::Status(StatusCode::METHOD_NOT_ALLOWED, "The figures can only be read.".into()));
    }
    let open = match call.state.metrics_access {
        Access::Nobody => return Err(Error::new(Kind::NotFound, "The resource could not be found.").into()),
        Access::Admin => false,
        Access::Loopback => is_local(request),
    };
    if !open {
        context::admit(&mut call, Rule::Admin("dwarfnova:metrics"), Dialect::Compute, PATH).await?;
    }
    let figures = call.state.services.figures.gather().await?;
    render::text(&call.state.requests_answered, &figures).map_err(|error| Error::internal(error).into())
}

fn is_local(request: &HttpRequest) -> bool {
    let from_here = request.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    from_here && !PROXY_HEADERS.iter().any(|name| request.headers().contains_key(*name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::answer;
    use crate::api::testing::Cloud;
    use actix_web::FromRequest;
    use actix_web::test::TestRequest;

    async fn ask(cloud: &Cloud, request: TestRequest) -> (StatusCode, String) {
        let (request, mut payload) = request.to_http_parts();
        let body = Payload::from_request(&request, &mut payload).await.unwrap();
        let response = answer(cloud.state.clone(), request, body).await;
        let status = response.status();
        let bytes = actix_web::body::to_bytes(response.into_body()).await.unwrap_or_default();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[actix_web::test]
    async fn figures_are_for_this_machine_and_for_administrators() {
        let cloud = Cloud::new().await;
        let from = |peer: &str| TestRequest::get().uri(PATH).peer_addr(peer.parse().unwrap());
        let version = TestRequest::get().uri("/v2.1/").insert_header(("host", "cloud:8774"));
        assert_eq!(ask(&cloud, version).await.0, StatusCode::OK);
        let (status, text) = ask(&cloud, from("127.0.0.1:1")).await;
        assert_eq!(status, StatusCode::OK);
        let counted = r#"dwarfnova_api_requests_total{service="compute",method="GET",code="200"} 1"#;
        assert!(text.contains(counted), "{text}");
        assert!(text.contains("dwarfnova_hypervisor_up 1") && text.ends_with("# EOF\n"), "{text}");
        let far = from("192.0.2.1:1");
        assert_eq!(ask(&cloud, far).await.0, StatusCode::UNAUTHORIZED);
        let proxied = from("127.0.0.1:1").insert_header(("x-forwarded-for", "192.0.2.1"));
        assert_eq!(ask(&cloud, proxied).await.0, StatusCode::UNAUTHORIZED);
        let admin = from("192.0.2.1:1").insert_header(("x-auth-token", cloud.admin.clone()));
        assert_eq!(ask(&cloud, admin).await.0, StatusCode::OK);
    }
}
