//! Networks, their subnets, and the limits of projects.

use super::StoreError;
use super::listing::{Column, Form, Source, column};
use super::rows::{json, maybe_parsed, parsed, time, to_json};
use crate::core::Result;
use crate::core::ids::{NetworkId, ProjectId, SubnetId};
use crate::core::listing::Listing;
use crate::core::network::{self, Network, Subnet};
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use std::collections::HashMap;

const NETWORKS: Source = Source {
    select: "SELECT t.* FROM network t",
    table: "network",
    columns: &[
        column!("id", Text),
        column!("name", Text),
        column!("description", Text),
        column!("project_id", Text),
        column!("tenant_id", "project_id", Text),
        column!("admin_state_up", Bool),
        column!("shared", Bool),
        column!("router:external", "external", Bool),
        column!("is_default", Bool),
        column!("port_security_enabled", Bool),
        column!("mtu", Int),
        column!("revision_number", "revision", Int),
        Column {
            name: "status",
            filter: "'ACTIVE' IN (SELECT value FROM {json})",
            form: Form::Text,
            sort: None,
        },
        Column {
            name: "subnets",
            filter: "EXISTS (SELECT 1 FROM subnet s JOIN {json} w ON s.id = w.value WHERE s.network_id = t.id)",
            form: Form::Text,
            sort: None,
        },
    ],
    tagged: true,
    visible: "t.project_id = ?1 OR t.shared OR t.external",
    unknown: |marker| network::network_not_found(marker),
};

const SUBNETS: Source = Source {
    select: "SELECT t.* FROM subnet t",
    table: "subnet",
    columns: &[
        column!("id", Text),
        column!("name", Text),
        column!("description", Text),
        column!("network_id", Text),
        column!("project_id", Text),
        column!("tenant_id", "project_id", Text),
        column!("ip_version", Int),
        column!("cidr", Text),
        column!("gateway_ip", Text),
        column!("enable_dhcp", Bool),
        column!("revision_number", "revision", Int),
        Column {
            name: "shared",
            filter: "(SELECT n.shared FROM network n WHERE n.id = t.network_id) IN (SELECT value FROM {json})",
            form: Form::Bool,
            sort: None,
        },
        Column {
            name: "router:external",
            filter: "(SELECT n.external FROM network n WHERE n.id = t.network_id) IN (SELECT value FROM {json})",
            form: Form::Bool,
            sort: None,
        },
    ],
    tagged: true,
    visible: "t.project_id = ?1 OR t.network_id IN \
              (SELECT n.id FROM network n WHERE n.project_id = ?1 OR n.shared OR n.external)",
    unknown: |marker| network::subnet_not_found(marker),
};

fn network_row(row: &Row<'_>) -> rusqlite::Result<Network> {
    Ok(Network {
        id: row.get("id")?,
        project_id: row.get("project_id")?,
        name: row.get("name")?,
        description: row.get("description")?,
        admin_state_up: row.get("admin_state_up")?,
        shared: row.get("shared")?,
        external: row.get("external")?,
        is_default: row.get("is_default")?,
        port_security_enabled: row.get("port_security_enabled")?,
        mtu: row.get("mtu")?,
        tags: json(row, "tags")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        revision: row.get("revision")?,
    })
}

fn subnet_row(row: &Row<'_>) -> rusqlite::Result<Subnet> {
    Ok(Subnet {
        id: row.get("id")?,
        network_id: row.get("network_id")?,
        project_id: row.get("project_id")?,
        name: row.get("name")?,
        description: row.get("description")?,
        cidr: parsed(row, "cidr")?,
        gateway_ip: maybe_parsed(row, "gateway_ip")?,
        enable_dhcp: row.get("enable_dhcp")?,
        allocation_pools: json(row, "allocation_pools")?,
        dns_nameservers: json(row, "dns_nameservers")?,
        host_routes: json(row, "host_routes")?,
        tags: json(row, "tags")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        revision: row.get("revision")?,
    })
}

pub fn list(connection: &Connection, listing: &Listing) -> Result<Vec<Network>> {
    NETWORKS.list(connection, listing, network_row)
}

/// The networks that the project owns and those that all may use, in the order of their age.
pub fn available(connection: &Connection, project: &ProjectId) -> Result<Vec<Network>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT * FROM network WHERE project_id = ?1 OR shared ORDER BY project_id <> ?1, created_at, id",
    )?;
    Ok(statement.query_map([project], network_row)?.collect::<rusqlite::Result<_>>()?)
}

pub fn get(connection: &Connection, id: NetworkId) -> Result<Option<Network>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT * FROM network WHERE id = ?1")?;
    Ok(statement.query_row([id], network_row).optional()?)
}

pub fn get_subnet(connection: &Connection, id: SubnetId) -> Result<Option<Subnet>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT * FROM subnet WHERE id = ?1")?;
    Ok(statement.query_row([id], subnet_row).optional()?)
}

pub fn list_subnets(connection: &Connection, listing: &Listing) -> Result<Vec<Subnet>> {
    SUBNETS.list(connection, listing, subnet_row)
}

/// The subnets of one network, oldest first.
pub fn subnets_of(connection: &Connection, id: NetworkId) -> Result<Vec<Subnet>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT * FROM subnet WHERE network_id = ?1 ORDER BY created_at, id")?;
    Ok(statement.query_map([id], subnet_row)?.collect::<rusqlite::Result<_>>()?)
}

/// Every subnet, oldest first.
pub fn all_subnets(connection: &Connection) -> Result<Vec<Subnet>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT * FROM subnet ORDER BY created_at, id")?;
    Ok(statement.query_map([], subnet_row)?.collect::<rusqlite::Result<_>>()?)
}

/// The ids of the subnets of several networks, in one query.
pub fn subnet_ids(
    connection: &Connection,
    networks: &[NetworkId],
) -> Result<HashMap<NetworkId, Vec<SubnetId>>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT network_id, id FROM subnet WHERE network_id IN (SELECT value FROM json_each(?1))
         ORDER BY created_at, id",
    )?;
    let mut ids: HashMap<_, Vec<_>> = HashMap::new();
    for row in statement.query_map([to_json(&networks)?], |row| Ok((row.get(0)?, row.get(1)?)))? {
        let (network, subnet) = row?;
        ids.entry(network).or_default().push(subnet);
    }
    Ok(ids)
}

/// Writes a network, new or changed.
pub fn put(connection: &Connection, network: &Network) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO network (id, project_id, name, description, admin_state_up, shared, external, is_default,
                 port_security_enabled, mtu, tags, created_at, updated_at, revision)
             VALUES (:id, :project_id, :name, :description, :admin_state_up, :shared, :external, :is_default,
                 :port_security_enabled, :mtu, :tags, :created_at, :updated_at, :revision)
             ON CONFLICT (id) DO UPDATE SET name = :name, description = :description,
                 admin_state_up = :admin_state_up, shared = :shared, external = :external,
                 is_default = :is_default, port_security_enabled = :port_security_enabled, mtu = :mtu,
                 tags = :tags, updated_at = :updated_at, revision = :revision",
        )?
        .execute(named_params! {
            ":id": network.id,
            ":project_id": network.project_id,
            ":name": network.name,
            ":description": network.description,
            ":admin_state_up": network.admin_state_up,
            ":shared": network.shared,
            ":external": network.external,
            ":is_default": network.is_default,
            ":port_security_enabled": network.port_security_enabled,
            ":mtu": network.mtu,
            ":tags": to_json(&network.tags)?,
            ":created_at": network.created_at.as_microsecond(),
            ":updated_at": network.updated_at.as_microsecond(),
            ":revision": network.revision,
        })?;
    Ok(())
}

/// Writes a subnet, new or changed.
pub fn put_subnet(connection: &Connection, subnet: &Subnet) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO subnet (id, network_id, project_id, name, description, ip_version, cidr, gateway_ip,
                 enable_dhcp, allocation_pools, dns_nameservers, host_routes, tags, created_at, updated_at, revision)
             VALUES (:id, :network_id, :project_id, :name, :description, 4, :cidr, :gateway_ip,
                 :enable_dhcp, :pools, :dns, :routes, :tags, :created_at, :updated_at, :revision)
             ON CONFLICT (id) DO UPDATE SET name = :name, description = :description, gateway_ip = :gateway_ip,
                 enable_dhcp = :enable_dhcp, allocation_pools = :pools, dns_nameservers = :dns,
                 host_routes = :routes, tags = :tags, updated_at = :updated_at, revision = :revision",
        )?
        .execute(named_params! {
            ":id": subnet.id,
            ":network_id": subnet.network_id,
            ":project_id": subnet.project_id,
            ":name": subnet.name,
            ":description": subnet.description,
            ":cidr": subnet.cidr.to_string(),
            ":gateway_ip": subnet.gateway_ip.map(|address| address.to_string()),
            ":enable_dhcp": subnet.enable_dhcp,
            ":pools": to_json(&subnet.allocation_pools)?,
            ":dns": to_json(&subnet.dns_nameservers)?,
            ":routes": to_json(&subnet.host_routes)?,
            ":tags": to_json(&subnet.tags)?,
            ":created_at": subnet.created_at.as_microsecond(),
            ":updated_at": subnet.updated_at.as_microsecond(),
            ":revision": subnet.revision,
        })?;
    Ok(())
}

/// Removes a network with its subnets. It must have no ports.
pub fn delete(connection: &Connection, id: NetworkId) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM network WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// Removes a subnet. No port may have an address on it.
pub fn delete_subnet(connection: &Connection, id: SubnetId) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM subnet WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// Whether any network is in the store yet.
pub fn any(connection: &Connection) -> Result<bool, StoreError> {
    Ok(connection.prepare_cached("SELECT 1 FROM network")?.exists([])?)
}

/// What a project may have of a resource of the network API. -1 is without limit.
pub fn quota_limit(connection: &Connection, project: &ProjectId, resource: &str) -> Result<i64, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT hard_limit FROM quota WHERE project_id = ?1 AND resource = ?2")?;
    let own = statement.query_row(params![project, resource], |row| row.get(0)).optional()?;
    let default = network::QUOTA_DEFAULTS.iter().find(|(name, _)| *name == resource).map(|(_, limit)| *limit);
    Ok(own.or(default).unwrap_or(-1))
}

/// How many of a resource of the network API a project has. Zero for what this cloud does not have.
pub fn quota_used(connection: &Connection, project: &ProjectId, resource: &str) -> Result<i64, StoreError> {
    let sql = match resource {
        "network" => "SELECT count(*) FROM network WHERE project_id = ?1",
        "subnet" => "SELECT count(*) FROM subnet WHERE project_id = ?1",
        "port" => "SELECT count(*) FROM port WHERE project_id = ?1",
        "security_group" => "SELECT count(*) FROM security_group WHERE project_id = ?1",
        "security_group_rule" => "SELECT count(*) FROM security_group_rule WHERE project_id = ?1",
        _ => return Ok(0),
    };
    Ok(connection.prepare_cached(sql)?.query_row([project], |row| row.get(0))?)
}

/// Refuses when the project would have more of the resource than it may.
pub fn check_quota(connection: &Connection, project: &ProjectId, resource: &str, more: i64) -> Result<()> {
    let limit = quota_limit(connection, project, resource)?;
    if limit < 0 {
        return Ok(());
    }
    network::check_quota(resource, limit, quota_used(connection, project, resource)?, more)
}

/// Gives a project a limit of its own.
pub fn set_quota_limit(
    connection: &Connection,
    project: &ProjectId,
    resource: &str,
    limit: i64,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO quota (project_id, resource, hard_limit) VALUES (?1, ?2, ?3)",
        )?
        .execute(params![project, resource, limit])?;
    Ok(())
}

/// Removes the limits of the network API that a project has of its own.
pub fn reset_quota_limits(connection: &Connection, project: &ProjectId) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "DELETE FROM quota WHERE project_id = ?1 AND resource IN (SELECT value FROM json_each(?2))",
        )?
        .execute(params![project, quota_names()?])?;
    Ok(())
}

/// The projects that have limits of the network API of their own.
pub fn projects_with_quota(connection: &Connection) -> Result<Vec<ProjectId>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT project_id FROM quota WHERE resource IN (SELECT value FROM json_each(?1)) ORDER BY 1",
    )?;
    Ok(statement.query_map([quota_names()?], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}

fn quota_names() -> Result<String, StoreError> {
    to_json(&network::QUOTA_DEFAULTS.map(|(name, _)| name))
}
