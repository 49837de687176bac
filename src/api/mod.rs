//! HTTP only: routes, tokens, microversions, JSON shapes, faults, links, paging.
//!
//! A request becomes a typed command or query for `core::service`, the answer becomes a view. No SQL, no libvirt, no
//! files in here, and no API knows another: what they share lies in this folder's own files.
//!
//! | path | API |
//! |---|---|
//! | `/`, `/v2`, `/v2.1` | compute |
//! | `/vnc_auto.html`, `/serial.html`, `/?token=...`, ... | consoles: pages and websockets |
//! | `/identity` | identity v3 |
//! | `/image` | image v2 |
//! | `/network` | network v2.0 |
//! | `/metrics` | figures of the daemon |

pub mod call;
pub mod compute;
pub mod console;
pub mod context;
pub mod error;
pub mod fault;
pub mod identity;
pub mod image;
pub mod metadata;
pub mod metrics;
pub mod network;
pub mod page;
pub mod pipeline;
pub mod router;
pub mod server;
#[cfg(test)]
pub mod testing;
pub mod tls;
pub mod version;

use crate::core::service::Services;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use futures_util::future::LocalBoxFuture;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Answers one request of the API's socket: the first part of the path names the API, all else is compute's.
pub fn answer(state: State, request: HttpRequest, payload: Payload) -> LocalBoxFuture<'static, HttpResponse> {
    Box::pin(async move {
        let service = match request.path().split('/').nth(1).unwrap_or_default() {
            "identity" => "identity",
            "image" => "image",
            "network" => "network",
            _ if request.path() == metrics::PATH => "metrics",
            _ if console::is_wanted(&request) => "console",
            _ => "compute",
        };
        let (begun, method, counts) = (Instant::now(), request.method().clone(), state.clone());
        let response = match service {
            "identity" => identity::serve(state, request, payload).await,
            "image" => image::serve(state, request, payload).await,
            "network" => network::serve(state, request, payload).await,
            "console" => console::serve(&state, &request, payload).await,
            "metrics" => metrics::serve(state, request, payload).await,
            _ => compute::serve(state, request, payload).await,
        };
        counts.requests_answered.count(service, &method, response.status(), begun.elapsed());
        response
    })
}

/// What every handler can reach.
pub struct Shared {
    pub services: Services,
    /// The base URL that clients use when a proxy in front hides it; `None` takes it from each request.
    pub public_base: Option<String>,
    /// Whether the API's own socket speaks TLS.
    pub tls: bool,
    /// Who may read the figures.
    pub metrics_access: metrics::Access,
    pub requests_answered: metrics::RequestFigures,
    requests: TaskTracker,
}

pub type State = Arc<Shared>;

impl Shared {
    pub fn new(
        services: Services,
        public_base: Option<String>,
        tls: bool,
        metrics_access: metrics::Access,
    ) -> Self {
        Self {
            services,
            public_base,
            tls,
            metrics_access,
            requests_answered: metrics::RequestFigures::default(),
            requests: TaskTracker::new(),
        }
    }

    /// Counts a request as long as the token lives.
    pub fn busy(&self) -> TaskTrackerToken {
        self.requests.token()
    }

    /// Waits until no request is being answered, at most `patience`.
    pub async fn quiet(&self, patience: Duration) {
        self.requests.close();
        if tokio::time::timeout(patience, self.requests.wait()).await.is_err() {
            tracing::warn!("requests were cut off by the stop");
        }
    }
}
