//! Counts requests and how long they took. A request costs two look-ups in small tables.

use actix_web::http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::time::Duration;

/// Upper bounds of the classes of durations, in seconds.
const BOUNDS: [f64; 12] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    service: &'static str,
    method: &'static str,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    service: &'static str,
    method: &'static str,
}

fn durations() -> Histogram {
    Histogram::new(BOUNDS)
}

/// All requests since the start.
pub struct RequestFigures {
    answered: Family<Answered, Counter>,
    took: Family<Asked, Histogram, fn() -> Histogram>,
}

impl Default for RequestFigures {
    fn default() -> Self {
        Self { answered: Family::default(), took: Family::new_with_constructor(durations) }
    }
}

impl RequestFigures {
    /// Counts a request that was answered after `took`; a body that is still being sent is not waited for.
    pub fn count(&self, service: &'static str, method: &Method, code: StatusCode, took: Duration) {
        let method = match method.as_str() {
            "GET" => "GET",
            "HEAD" => "HEAD",
            "POST" => "POST",
            "PUT" => "PUT",
            "PATCH" => "PATCH",
            "DELETE" => "DELETE",
            "OPTIONS" => "OPTIONS",
            // Callers may make up methods; the table must not grow with them.
            _ => "other",
        };
        self.answered.get_or_create(&Answered { service, method, code: code.as_u16() }).inc();
        self.took.get_or_create(&Asked { service, method }).observe(took.as_secs_f64());
    }

    /// Puts the figures among others, as they are and as they will be.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("api_requests", "Requests that were answered", self.answered.clone());
        registry.register("api_request_seconds", "How long answers took", self.took.clone());
    }
}
