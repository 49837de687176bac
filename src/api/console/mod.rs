//! Consoles in a browser: noVNC's page, a terminal's page, and the websocket that both speak.
//!
//! All of it is on the API's own port, under the paths that Nova's proxies have: `/vnc_auto.html` for people, and a websocket at
//! `/?token=...` (or `/websockify`) for pages and programs. No path clashes with an API's. Who has a token needs no other
//! credentials; nothing here writes a token to the log.

mod files;
mod origin;
mod socket;

use super::State;
use super::call::Query;
use crate::core::console::ConsoleKind;
use actix_web::http::Method;
use actix_web::http::header::UPGRADE;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What is escaped in a value of a query.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The URL that opens a console, in the form that Nova's has.
///
/// What is behind a folder at a proxy is found there: noVNC takes the folder as part of its path.
pub fn url(base: &str, kind: ConsoleKind, token: &str) -> String {
    match kind {
        ConsoleKind::NoVnc => {
            let place = base.split_once("://").map_or(base, |(_, place)| place);
            let folder = place.split_once('/').map(|(_, folder)| format!("{folder}/")).unwrap_or_default();
            let path = format!("{folder}?token={token}");
            format!("{base}/vnc_auto.html?path={}", utf8_percent_encode(&path, VALUE))
        }
        ConsoleKind::Serial => {
            let place = base.strip_prefix("http").unwrap_or(base);
            format!("ws{place}/?token={token}")
        }
    }
}

/// Whether a request is for a console rather than for an API.
pub fn is_wanted(request: &HttpRequest) -> bool {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return false;
    }
    match request.path() {
        "/" => is_socket(request) || Query::parse(request.query_string()).get("token").is_some(),
        "/websockify" => true,
        path => files::find(path).is_some(),
    }
}

fn is_socket(request: &HttpRequest) -> bool {
    let upgrade = request.headers().get(UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

/// Answers a request that [`is_wanted`].
pub async fn serve(state: &State, request: &HttpRequest, payload: Payload) -> HttpResponse {
    if is_socket(request) {
        return socket::serve(state, request, payload);
    }
    // The URL of a serial console, opened in a browser: the page that can do something with it.
    let path = if request.path() == "/" { files::SERIAL_PAGE } else { request.path() };
    match files::find(path) {
        Some(file) => file.response(),
        None => HttpResponse::UpgradeRequired().insert_header((UPGRADE, "websocket")).finish(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn urls_have_novas_form() {
        assert_eq!(
            url("http://127.0.0.1:8774", ConsoleKind::NoVnc, "a-b"),
            "http://127.0.0.1:8774/vnc_auto.html?path=%3Ftoken%3Da-b"
        );
        assert_eq!(
            url("https://cloud.example/nova", ConsoleKind::NoVnc, "t"),
            "https://cloud.example/nova/vnc_auto.html?path=nova%2F%3Ftoken%3Dt"
        );
        assert_eq!(url("http://h:1", ConsoleKind::Serial, "t"), "ws://h:1/?token=t");
        assert_eq!(url("https://h", ConsoleKind::Serial, "t"), "wss://h/?token=t");
    }

    #[test]
    fn the_apis_keep_their_paths() {
        let wanted = |uri: &str| is_wanted(&TestRequest::get().uri(uri).to_http_request());
        for uri in ["/", "/v2.1", "/v2/", "/versions", "/v2.1/servers?token=x", "/nothing.html"] {
            assert!(!wanted(uri), "{uri}");
        }
        for uri in ["/?token=x", "/vnc_auto.html?path=x", "/core/rfb.js", "/serial.html", "/websockify"] {
            assert!(wanted(uri), "{uri}");
        }
        assert!(is_wanted(&TestRequest::get().insert_header((UPGRADE, "WebSocket")).to_http_request()));
        assert!(!is_wanted(&TestRequest::post().uri("/?token=x").to_http_request()));
    }
}
