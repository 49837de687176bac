//! What earlier releases had and every version since answers with 410.

use crate::api::call::{Call, Outcome};
use crate::api::router::{ALWAYS, Route};
use crate::core::policy::Rule;
use crate::core::{Error, Kind};
use crate::route;

async fn gone(_call: Call) -> Outcome {
    Err(Error::new(Kind::Gone, "This resource is no longer available.  No forwarding address is given.")
        .into())
}

macro_rules! gone_routes {
    ($($method:ident $path:literal,)*) => {
        vec![$(route!($method $path, ALWAYS, Rule::Token, gone),)*]
    };
}

pub fn routes() -> Vec<Route> {
    gone_routes![
        GET "/os-agents",
        POST "/os-agents",
        PUT "/os-agents/{id}",
        DELETE "/os-agents/{id}",
        GET "/os-cells",
        POST "/os-cells",
        GET "/os-cells/detail",
        GET "/os-cells/info",
        GET "/os-cells/capacities",
        POST "/os-cells/sync_instances",
        GET "/os-cells/{id}",
        PUT "/os-cells/{id}",
        DELETE "/os-cells/{id}",
        GET "/os-cells/{id}/capacities",
        POST "/os-certificates",
        GET "/os-certificates/{id}",
        GET "/os-cloudpipe",
        POST "/os-cloudpipe",
        PUT "/os-cloudpipe/{id}",
        GET "/servers/{id}/consoles",
        POST "/servers/{id}/consoles",
        GET "/servers/{id}/consoles/{console}",
        DELETE "/servers/{id}/consoles/{console}",
        GET "/servers/{id}/os-virtual-interfaces",
        GET "/os-fixed-ips/{ip}",
        POST "/os-fixed-ips/{ip}/action",
        GET "/os-floating-ip-dns",
        PUT "/os-floating-ip-dns/{domain}",
        DELETE "/os-floating-ip-dns/{domain}",
        GET "/os-floating-ip-dns/{domain}/entries/{name}",
        PUT "/os-floating-ip-dns/{domain}/entries/{name}",
        DELETE "/os-floating-ip-dns/{domain}/entries/{name}",
        GET "/os-floating-ips-bulk",
        POST "/os-floating-ips-bulk",
        GET "/os-floating-ips-bulk/{id}",
        PUT "/os-floating-ips-bulk/{id}",
        GET "/os-fping",
        GET "/os-fping/{id}",
        POST "/os-networks",
        POST "/os-networks/add",
        DELETE "/os-networks/{id}",
        POST "/os-networks/{id}/action",
        POST "/os-tenant-networks",
        DELETE "/os-tenant-networks/{id}",
        GET "/os-security-group-default-rules",
        POST "/os-security-group-default-rules",
        GET "/os-security-group-default-rules/{id}",
        DELETE "/os-security-group-default-rules/{id}",
    ]
}
