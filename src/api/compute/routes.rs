//! The table of operations: where, since when and until when, and for whom.

use super::{
    aggregates, audit_log, baremetal, console_auth_tokens, extensions, external_events, flavors, gone, hosts,
    hypervisors, image_metadata, images, keypairs, limits, migrations, networks, quotas, security_groups,
    server_groups, servers, services, usage, versions, zones,
};
use crate::api::router::{ALWAYS, Route, Router, Window};
use crate::core::policy::Rule;
use crate::route;
use std::sync::LazyLock;

/// From a version on, without end.
const fn from(minor: u16) -> Window {
    Window(minor, u16::MAX)
}

/// Up to a version, it included.
const fn until(minor: u16) -> Window {
    Window(0, minor)
}

/// All operations.
pub fn table() -> &'static Router {
    static TABLE: LazyLock<Router> = LazyLock::new(|| {
        let mut routes = general();
        routes.extend(flavor_routes());
        routes.extend(keypair_routes());
        routes.extend(server_group_routes());
        routes.extend(quota_routes());
        routes.extend(node_routes());
        routes.extend(old_node_routes());
        routes.extend(aggregate_routes());
        routes.extend(image_routes());
        routes.extend(network_routes());
        routes.extend(server_routes());
        routes.extend(gone::routes());
        Router::new(routes)
    });
    &TABLE
}

fn general() -> Vec<Route> {
    vec![
        route!(GET "/versions/{id}", ALWAYS, Rule::Token, versions::show),
        route!(GET "/extensions", ALWAYS, Rule::Any("os_compute_api:extensions"), extensions::list),
        route!(GET "/extensions/{alias}", ALWAYS, Rule::Any("os_compute_api:extensions"), extensions::show),
        route!(GET "/limits", ALWAYS, Rule::Any("os_compute_api:limits"), limits::show),
        route!(GET "/os-availability-zone", ALWAYS, Rule::Any("os_compute_api:os-availability-zone:list"),
            zones::list),
        route!(GET "/os-availability-zone/detail", ALWAYS,
            Rule::Admin("os_compute_api:os-availability-zone:detail"), zones::detail),
        route!(GET "/os-availability-zone/{zone}", ALWAYS, Rule::Any("os_compute_api:os-availability-zone:list"),
            zones::show),
    ]
}

fn flavor_routes() -> Vec<Route> {
    const CREATE: Rule = Rule::Admin("os_compute_api:os-flavor-manage:create");
    const ANY: Rule = Rule::Any("os_compute_api:flavors");
    vec![
        route!(GET "/flavors", ALWAYS, ANY, flavors::list),
        route!(GET "/flavors/detail", ALWAYS, ANY, flavors::detail),
        route!(POST "/flavors", ALWAYS, CREATE, flavors::create),
        route!(GET "/flavors/{id}", ALWAYS, ANY, flavors::show),
        route!(PUT "/flavors/{id}", from(55), Rule::Admin("os_compute_api:os-flavor-manage:update"),
            flavors::update),
        route!(DELETE "/flavors/{id}", ALWAYS, Rule::Admin("os_compute_api:os-flavor-manage:delete"),
            flavors::delete),
        route!(POST "/flavors/{id}/action", ALWAYS, Rule::Admin("os_compute_api:os-flavor-access:add_tenant_access"),
            flavors::access::action),
        route!(GET "/flavors/{id}/os-flavor-access", ALWAYS, Rule::Admin("os_compute_api:os-flavor-access"),
            flavors::access::list),
        route!(GET "/flavors/{id}/os-extra_specs", ALWAYS,
            Rule::Reader("os_compute_api:os-flavor-extra-specs:index"), flavors::specs::list),
        route!(POST "/flavors/{id}/os-extra_specs", ALWAYS,
            Rule::Admin("os_compute_api:os-flavor-extra-specs:create"), flavors::specs::create),
        route!(GET "/flavors/{id}/os-extra_specs/{key}", ALWAYS,
            Rule::Reader("os_compute_api:os-flavor-extra-specs:show"), flavors::specs::show),
        route!(PUT "/flavors/{id}/os-extra_specs/{key}", ALWAYS,
            Rule::Admin("os_compute_api:os-flavor-extra-specs:update"), flavors::specs::update),
        route!(DELETE "/flavors/{id}/os-extra_specs/{key}", ALWAYS,
            Rule::Admin("os_compute_api:os-flavor-extra-specs:delete"), flavors::specs::delete),
    ]
}

fn keypair_routes() -> Vec<Route> {
    const CREATE: Rule = Rule::Any("os_compute_api:os-keypairs:create");
    const DELETE: Rule = Rule::Any("os_compute_api:os-keypairs:delete");
    vec![
        route!(GET "/os-keypairs", ALWAYS, Rule::Any("os_compute_api:os-keypairs:index"), keypairs::list),
        route!(POST "/os-keypairs", until(1), CREATE, keypairs::create_with_200),
        route!(POST "/os-keypairs", from(2), CREATE, keypairs::create_with_201),
        route!(GET "/os-keypairs/{name}", ALWAYS, Rule::Any("os_compute_api:os-keypairs:show"),
            keypairs::show),
        route!(DELETE "/os-keypairs/{name}", until(1), DELETE, keypairs::delete_with_202),
        route!(DELETE "/os-keypairs/{name}", from(2), DELETE, keypairs::delete_with_204),
    ]
}

fn server_group_routes() -> Vec<Route> {
    const CREATE: Rule = Rule::Member("os_compute_api:os-server-groups:create");
    vec![
        route!(GET "/os-server-groups", ALWAYS, Rule::Reader("os_compute_api:os-server-groups:index"),
            server_groups::list),
        route!(POST "/os-server-groups", until(63), CREATE, server_groups::create_with_policies),
        route!(POST "/os-server-groups", from(64), CREATE, server_groups::create),
        route!(GET "/os-server-groups/{id}", ALWAYS, Rule::Reader("os_compute_api:os-server-groups:show"),
            server_groups::show),
        route!(DELETE "/os-server-groups/{id}", ALWAYS, Rule::Member("os_compute_api:os-server-groups:delete"),
            server_groups::delete),
    ]
}

fn quota_routes() -> Vec<Route> {
    vec![
        route!(GET "/os-quota-sets/{project}", ALWAYS, Rule::Reader("os_compute_api:os-quota-sets:show"),
            quotas::show),
        route!(GET "/os-quota-sets/{project}/detail", ALWAYS, Rule::Reader("os_compute_api:os-quota-sets:detail"),
            quotas::detail),
        route!(GET "/os-quota-sets/{project}/defaults", ALWAYS, Rule::Any("os_compute_api:os-quota-sets:defaults"),
            quotas::defaults),
        route!(PUT "/os-quota-sets/{project}", ALWAYS, Rule::Admin("os_compute_api:os-quota-sets:update"),
            quotas::update),
        route!(DELETE "/os-quota-sets/{project}", ALWAYS, Rule::Admin("os_compute_api:os-quota-sets:delete"),
            quotas::delete),
        route!(GET "/os-simple-tenant-usage", ALWAYS, Rule::Admin("os_compute_api:os-simple-tenant-usage:list"),
            usage::list),
        route!(GET "/os-simple-tenant-usage/{project}", ALWAYS,
            Rule::Reader("os_compute_api:os-simple-tenant-usage:show"), usage::show),
        route!(GET "/os-quota-class-sets/{class}", ALWAYS,
            Rule::Admin("os_compute_api:os-quota-class-sets:show"), quotas::show_class),
        route!(PUT "/os-quota-class-sets/{class}", ALWAYS,
            Rule::Admin("os_compute_api:os-quota-class-sets:update"), quotas::update_class),
    ]
}

fn node_routes() -> Vec<Route> {
    const UPDATE_SERVICE: Rule = Rule::Admin("os_compute_api:os-services:update");
    const CONSOLE_TOKEN: Rule = Rule::Admin("os_compute_api:os-console-auth-tokens");
    vec![
        route!(GET "/os-console-auth-tokens/{token}", until(30), CONSOLE_TOKEN, console_auth_tokens::refuse),
        route!(GET "/os-console-auth-tokens/{token}", from(31), CONSOLE_TOKEN, console_auth_tokens::show),
        route!(POST "/os-server-external-events", ALWAYS,
            Rule::Service("os_compute_api:os-server-external-events:create"), external_events::create),
        route!(GET "/os-services", ALWAYS, Rule::Admin("os_compute_api:os-services:list"), services::list),
        route!(PUT "/os-services/{id}", until(52), UPDATE_SERVICE, services::act),
        route!(PUT "/os-services/{id}", from(53), UPDATE_SERVICE, services::update),
        route!(DELETE "/os-services/{id}", ALWAYS, Rule::Admin("os_compute_api:os-services:delete"),
            services::delete),
        route!(GET "/os-migrations", ALWAYS, Rule::Manager("os_compute_api:os-migrations:index"),
            migrations::list),
        route!(GET "/os-hypervisors", ALWAYS, Rule::Admin("os_compute_api:os-hypervisors:list"),
            hypervisors::list),
        route!(GET "/os-hypervisors/detail", ALWAYS, Rule::Admin("os_compute_api:os-hypervisors:list-detail"),
            hypervisors::detail),
        route!(GET "/os-hypervisors/statistics", until(87),
            Rule::Admin("os_compute_api:os-hypervisors:statistics"), hypervisors::statistics),
        route!(GET "/os-hypervisors/{id}", ALWAYS, Rule::Admin("os_compute_api:os-hypervisors:show"),
            hypervisors::show),
        route!(GET "/os-hypervisors/{id}/uptime", until(87), Rule::Admin("os_compute_api:os-hypervisors:uptime"),
            hypervisors::uptime),
        route!(GET "/os-hypervisors/{id}/search", until(52), Rule::Admin("os_compute_api:os-hypervisors:search"),
            hypervisors::search),
        route!(GET "/os-hypervisors/{id}/servers", until(52),
            Rule::Admin("os_compute_api:os-hypervisors:servers"), hypervisors::servers),
    ]
}

fn aggregate_routes() -> Vec<Route> {
    vec![
        route!(GET "/os-aggregates", ALWAYS, Rule::Admin("os_compute_api:os-aggregates:index"), aggregates::list),
        route!(POST "/os-aggregates", ALWAYS, Rule::Admin("os_compute_api:os-aggregates:create"),
            aggregates::create),
        route!(GET "/os-aggregates/{id}", ALWAYS, Rule::Admin("os_compute_api:os-aggregates:show"),
            aggregates::show),
        route!(PUT "/os-aggregates/{id}", ALWAYS, Rule::Admin("os_compute_api:os-aggregates:update"),
            aggregates::update),
        route!(DELETE "/os-aggregates/{id}", ALWAYS, Rule::Admin("os_compute_api:os-aggregates:delete"),
            aggregates::delete),
        route!(POST "/os-aggregates/{id}/action", ALWAYS, Rule::Admin("os_compute_api:os-aggregates:add_host"),
            aggregates::act),
        route!(POST "/os-aggregates/{id}/images", from(81), Rule::Admin("compute:aggregates:images"),
            aggregates::images),
    ]
}

/// The node as clients of earlier versions look at it.
fn old_node_routes() -> Vec<Route> {
    const AUDIT: Rule = Rule::Admin("os_compute_api:os-instance-usage-audit-log:list");
    vec![
        route!(GET "/os-hosts", until(42), Rule::Admin("os_compute_api:os-hosts:list"), hosts::list),
        route!(GET "/os-hosts/{host}", until(42), Rule::Admin("os_compute_api:os-hosts:show"), hosts::show),
        route!(PUT "/os-hosts/{host}", until(42), Rule::Admin("os_compute_api:os-hosts:update"), hosts::update),
        route!(GET "/os-hosts/{host}/startup", until(42), Rule::Admin("os_compute_api:os-hosts:start"),
            hosts::switch_power),
        route!(GET "/os-hosts/{host}/shutdown", until(42), Rule::Admin("os_compute_api:os-hosts:shutdown"),
            hosts::switch_power),
        route!(GET "/os-hosts/{host}/reboot", until(42), Rule::Admin("os_compute_api:os-hosts:reboot"),
            hosts::switch_power),
        route!(GET "/os-instance_usage_audit_log", ALWAYS, AUDIT, audit_log::list),
        route!(GET "/os-instance_usage_audit_log/{before}", ALWAYS,
            Rule::Admin("os_compute_api:os-instance-usage-audit-log:show"), audit_log::show),
        route!(GET "/os-baremetal-nodes", until(35), Rule::Admin("os_compute_api:os-baremetal-nodes:list"),
            baremetal::list),
        route!(POST "/os-baremetal-nodes", until(35), Rule::Token, baremetal::create),
        route!(GET "/os-baremetal-nodes/{id}", until(35), Rule::Admin("os_compute_api:os-baremetal-nodes:show"),
            baremetal::show),
        route!(DELETE "/os-baremetal-nodes/{id}", until(35), Rule::Token, baremetal::delete),
        route!(POST "/os-baremetal-nodes/{id}/action", until(35), Rule::Token, baremetal::act),
    ]
}

fn image_routes() -> Vec<Route> {
    const ANY: Rule = Rule::Any("os_compute_api:images");
    vec![
        route!(GET "/images", until(35), ANY, images::list),
        route!(GET "/images/detail", until(35), ANY, images::detail),
        route!(GET "/images/{id}", until(35), ANY, images::show),
        route!(DELETE "/images/{id}", until(35), ANY, images::delete),
        route!(GET "/images/{id}/metadata", until(38), ANY, image_metadata::list),
        route!(POST "/images/{id}/metadata", until(38), ANY, image_metadata::merge),
        route!(PUT "/images/{id}/metadata", until(38), ANY, image_metadata::replace),
        route!(GET "/images/{id}/metadata/{key}", until(38), ANY, image_metadata::show),
        route!(PUT "/images/{id}/metadata/{key}", until(38), ANY, image_metadata::set),
        route!(DELETE "/images/{id}/metadata/{key}", until(38), ANY, image_metadata::delete),
    ]
}

fn network_routes() -> Vec<Route> {
    const LIST: Rule = Rule::Reader("os_compute_api:os-networks:list");
    const SHOW: Rule = Rule::Reader("os_compute_api:os-networks:show");
    vec![
        route!(GET "/os-networks", until(35), LIST, networks::list),
        route!(GET "/os-networks/{id}", until(35), SHOW, networks::show),
        route!(GET "/os-tenant-networks", until(35), Rule::Reader("os_compute_api:os-tenant-networks:list"),
            networks::list_of_project),
        route!(GET "/os-tenant-networks/{id}", until(35), Rule::Reader("os_compute_api:os-tenant-networks:show"),
            networks::show_of_project),
        route!(GET "/os-security-groups", until(35), Rule::Reader("os_compute_api:os-security-groups:get"),
            security_groups::list),
        route!(POST "/os-security-groups", until(35), Rule::Member("os_compute_api:os-security-groups:create"),
            security_groups::create),
        route!(GET "/os-security-groups/{id}", until(35), Rule::Reader("os_compute_api:os-security-groups:show"),
            security_groups::show),
        route!(PUT "/os-security-groups/{id}", until(35), Rule::Member("os_compute_api:os-security-groups:update"),
            security_groups::update),
        route!(DELETE "/os-security-groups/{id}", until(35),
            Rule::Member("os_compute_api:os-security-groups:delete"), security_groups::delete),
        route!(POST "/os-security-group-rules", until(35),
            Rule::Member("os_compute_api:os-security-groups:rule:create"), security_groups::rules::create),
        route!(DELETE "/os-security-group-rules/{id}", until(35),
            Rule::Member("os_compute_api:os-security-groups:rule:delete"), security_groups::rules::delete),
    ]
}

fn server_routes() -> Vec<Route> {
    vec![
        route!(GET "/servers", ALWAYS, Rule::Reader("os_compute_api:servers:index"), servers::list),
        route!(GET "/servers/detail", ALWAYS, Rule::Reader("os_compute_api:servers:detail"), servers::detail),
        route!(POST "/servers", ALWAYS, Rule::Member("os_compute_api:servers:create"), servers::create),
        route!(GET "/servers/{id}", ALWAYS, Rule::Reader("os_compute_api:servers:show"), servers::show),
        route!(PUT "/servers/{id}", ALWAYS, Rule::Member("os_compute_api:servers:update"), servers::update),
        route!(DELETE "/servers/{id}", ALWAYS, Rule::Member("os_compute_api:servers:delete"), servers::delete),
        route!(POST "/servers/{id}/action", ALWAYS, Rule::Token, servers::actions::act),
        route!(POST "/servers/{id}/remote-consoles", from(6), servers::consoles::RULE, servers::consoles::create),
        route!(GET "/servers/{id}/ips", ALWAYS, Rule::Reader("os_compute_api:ips:index"), servers::ips::list),
        route!(GET "/servers/{id}/ips/{label}", ALWAYS, Rule::Reader("os_compute_api:ips:show"),
            servers::ips::show),
        route!(GET "/servers/{id}/metadata", ALWAYS, Rule::Reader("os_compute_api:server-metadata:index"),
            servers::metadata::list),
        route!(POST "/servers/{id}/metadata", ALWAYS, Rule::Member("os_compute_api:server-metadata:create"),
            servers::metadata::merge),
        route!(PUT "/servers/{id}/metadata", ALWAYS, Rule::Member("os_compute_api:server-metadata:update_all"),
            servers::metadata::replace),
        route!(GET "/servers/{id}/metadata/{key}", ALWAYS, Rule::Reader("os_compute_api:server-metadata:show"),
            servers::metadata::show),
        route!(PUT "/servers/{id}/metadata/{key}", ALWAYS, Rule::Member("os_compute_api:server-metadata:update"),
            servers::metadata::set),
        route!(DELETE "/servers/{id}/metadata/{key}", ALWAYS,
            Rule::Member("os_compute_api:server-metadata:delete"), servers::metadata::delete),
        route!(GET "/servers/{id}/tags", from(26), Rule::Reader("os_compute_api:os-server-tags:index"),
            servers::tags::list),
        route!(PUT "/servers/{id}/tags", from(26), Rule::Member("os_compute_api:os-server-tags:update_all"),
            servers::tags::replace),
        route!(DELETE "/servers/{id}/tags", from(26), Rule::Member("os_compute_api:os-server-tags:delete_all"),
            servers::tags::clear),
        route!(GET "/servers/{id}/tags/{tag}", from(26), Rule::Reader("os_compute_api:os-server-tags:show"),
            servers::tags::show),
        route!(PUT "/servers/{id}/tags/{tag}", from(26), Rule::Member("os_compute_api:os-server-tags:update"),
            servers::tags::add),
        route!(DELETE "/servers/{id}/tags/{tag}", from(26), Rule::Member("os_compute_api:os-server-tags:delete"),
            servers::tags::remove),
        route!(GET "/servers/{id}/os-interface", ALWAYS,
            Rule::Reader("os_compute_api:os-attach-interfaces:list"), servers::interfaces::list),
        route!(POST "/servers/{id}/os-interface", ALWAYS,
            Rule::Member("os_compute_api:os-attach-interfaces:create"), servers::interfaces::attach),
        route!(GET "/servers/{id}/os-interface/{port}", ALWAYS,
            Rule::Reader("os_compute_api:os-attach-interfaces:show"), servers::interfaces::show),
        route!(DELETE "/servers/{id}/os-interface/{port}", ALWAYS,
            Rule::Member("os_compute_api:os-attach-interfaces:delete"), servers::interfaces::detach),
        route!(GET "/servers/{id}/os-instance-actions", ALWAYS,
            Rule::Reader("os_compute_api:os-instance-actions:list"), servers::history::list),
        route!(GET "/servers/{id}/os-instance-actions/{request}", ALWAYS,
            Rule::Reader("os_compute_api:os-instance-actions:show"), servers::history::show),
        route!(GET "/servers/{id}/os-security-groups", ALWAYS,
            Rule::Reader("os_compute_api:os-security-groups:list"), servers::groups::list),
        route!(GET "/servers/{id}/diagnostics", until(47), Rule::Admin("os_compute_api:os-server-diagnostics"),
            servers::diagnostics::show_free),
        route!(GET "/servers/{id}/diagnostics", from(48), Rule::Admin("os_compute_api:os-server-diagnostics"),
            servers::diagnostics::show),
        route!(GET "/servers/{id}/shares", from(97), Rule::Reader("os_compute_api:os-server-shares:index"),
            servers::shares::list),
        route!(POST "/servers/{id}/shares", from(97), Rule::Member("os_compute_api:os-server-shares:create"),
            servers::shares::create),
        route!(GET "/servers/{id}/shares/{share}", from(97),
            Rule::Reader("os_compute_api:os-server-shares:show"), servers::shares::show),
        route!(DELETE "/servers/{id}/shares/{share}", from(97),
            Rule::Member("os_compute_api:os-server-shares:delete"), servers::shares::delete),
        route!(GET "/servers/{id}/topology", from(78), Rule::Reader("os_compute_api:compute:server:topology:index"),
            servers::topology::show),
        route!(GET "/servers/{id}/migrations", from(23),
            Rule::Manager("os_compute_api:servers:migrations:index"), servers::moves::list),
        route!(GET "/servers/{id}/migrations/{migration}", from(23),
            Rule::Admin("os_compute_api:servers:migrations:show"), servers::moves::show),
        route!(POST "/servers/{id}/migrations/{migration}/action", from(22),
            Rule::Manager("os_compute_api:servers:migrations:force_complete"), servers::moves::force_complete),
        route!(DELETE "/servers/{id}/migrations/{migration}", from(24),
            Rule::Manager("os_compute_api:servers:migrations:delete"), servers::moves::abort),
        route!(GET "/servers/{id}/os-server-password", ALWAYS,
            Rule::Reader("os_compute_api:os-server-password:show"), servers::password::show),
        route!(DELETE "/servers/{id}/os-server-password", ALWAYS,
            Rule::Member("os_compute_api:os-server-password:clear"), servers::password::clear),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_builds_and_windows_of_one_operation_do_not_overlap() {
        let routes = table().routes();
        for (index, one) in routes.iter().enumerate() {
            for other in &routes[..index] {
                if one.path == other.path && one.method == other.method {
                    assert!(
                        one.window.0 > other.window.1 || other.window.0 > one.window.1,
                        "{} {} twice at one version",
                        one.method,
                        one.path
                    );
                }
            }
        }
    }

    #[test]
    fn every_ledger_entry_on_operations_has_an_edge_in_the_table() {
        use crate::api::compute::changes::LEDGER;
        use crate::api::version::ledger::Change;
        for entry in LEDGER {
            if entry.changes.iter().any(|change| matches!(change, Change::Operations)) {
                let edge = |window: Window| window.0 == entry.minor || window.1 == entry.minor - 1;
                assert!(
                    table().routes().iter().any(|route| edge(route.window)),
                    "no operation begins or ends at 2.{}",
                    entry.minor
                );
            }
        }
    }
}
