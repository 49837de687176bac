//! Regions, services and endpoints.

use super::filter::Filter;
use super::{Result, extra};
use crate::core::identity::query::{Page, WantedEndpoints, WantedServices};
use crate::core::identity::{CatalogService, Endpoint, Region};
use crate::store::rows;
use rusqlite::{Connection, OptionalExtension, Row, params};

fn region_row(row: &Row<'_>) -> rusqlite::Result<Region> {
    Ok(Region {
        id: row.get("id")?,
        description: row.get("description")?,
        parent_region_id: row.get("parent_region_id")?,
        extra: extra(row)?,
    })
}

fn service_row(row: &Row<'_>) -> rusqlite::Result<CatalogService> {
    Ok(CatalogService {
        id: row.get("id")?,
        kind: row.get("type")?,
        enabled: row.get("enabled")?,
        extra: extra(row)?,
    })
}

fn endpoint_row(row: &Row<'_>) -> rusqlite::Result<Endpoint> {
    Ok(Endpoint {
        id: row.get("id")?,
        service_id: row.get("service_id")?,
        interface: row.get("interface")?,
        region_id: row.get("region_id")?,
        url: row.get("url")?,
        enabled: row.get("enabled")?,
        extra: extra(row)?,
    })
}

pub fn region(c: &Connection, id: &str) -> Result<Option<Region>> {
    Ok(c.prepare_cached("SELECT * FROM region WHERE id = ?1")?.query_row([id], region_row).optional()?)
}

pub fn regions(c: &Connection, parent: Option<&str>, page: &Page) -> Result<Vec<Region>> {
    Filter::new("SELECT * FROM region WHERE 1")
        .equal("parent_region_id", parent)
        .page("id", page)
        .rows(c, region_row)
}

pub fn insert_region(c: &Connection, region: &Region) -> Result<()> {
    c.prepare_cached("INSERT INTO region VALUES (?1, ?2, ?3, ?4)")?.execute(params![
        region.id,
        region.description,
        region.parent_region_id,
        rows::to_json(&region.extra)?
    ])?;
    Ok(())
}

pub fn update_region(c: &Connection, region: &Region) -> Result<()> {
    c.prepare_cached("UPDATE region SET description = ?2, parent_region_id = ?3, extra = ?4 WHERE id = ?1")?
        .execute(params![
            region.id,
            region.description,
            region.parent_region_id,
            rows::to_json(&region.extra)?
        ])?;
    Ok(())
}

pub fn delete_region(c: &Connection, id: &str) -> Result<()> {
    c.prepare_cached("DELETE FROM region WHERE id = ?1")?.execute([id])?;
    Ok(())
}

pub fn service(c: &Connection, id: &str) -> Result<Option<CatalogService>> {
    Ok(c.prepare_cached("SELECT * FROM service WHERE id = ?1")?.query_row([id], service_row).optional()?)
}

pub fn services(c: &Connection, wanted: &WantedServices) -> Result<Vec<CatalogService>> {
    Filter::new("SELECT * FROM service WHERE 1")
        .equal("type", wanted.kind.as_deref())
        .equal("json_extract(extra, '$.name')", wanted.name.as_deref())
        .page("id", &wanted.page)
        .rows(c, service_row)
}

pub fn insert_service(c: &Connection, service: &CatalogService) -> Result<()> {
    c.prepare_cached("INSERT INTO service VALUES (?1, ?2, ?3, ?4)")?.execute(params![
        service.id,
        service.kind,
        service.enabled,
        rows::to_json(&service.extra)?
    ])?;
    Ok(())
}

pub fn update_service(c: &Connection, service: &CatalogService) -> Result<()> {
    c.prepare_cached("UPDATE service SET type = ?2, enabled = ?3, extra = ?4 WHERE id = ?1")?
        .execute(params![service.id, service.kind, service.enabled, rows::to_json(&service.extra)?])?;
    Ok(())
}

pub fn delete_service(c: &Connection, id: &str) -> Result<()> {
    c.prepare_cached("DELETE FROM service WHERE id = ?1")?.execute([id])?;
    Ok(())
}

pub fn endpoint(c: &Connection, id: &str) -> Result<Option<Endpoint>> {
    Ok(c.prepare_cached("SELECT * FROM endpoint WHERE id = ?1")?.query_row([id], endpoint_row).optional()?)
}

pub fn endpoints(c: &Connection, wanted: &WantedEndpoints) -> Result<Vec<Endpoint>> {
    Filter::new("SELECT * FROM endpoint WHERE 1")
        .equal("service_id", wanted.service_id.as_deref())
        .equal("interface", wanted.interface.as_deref())
        .equal("region_id", wanted.region_id.as_deref())
        .flag("enabled", wanted.enabled)
        .page("id", &wanted.page)
        .rows(c, endpoint_row)
}

pub fn insert_endpoint(c: &Connection, endpoint: &Endpoint) -> Result<()> {
    c.prepare_cached("INSERT INTO endpoint VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(params![
        endpoint.id,
        endpoint.service_id,
        endpoint.interface,
        endpoint.region_id,
        endpoint.url,
        endpoint.enabled,
        rows::to_json(&endpoint.extra)?
    ])?;
    Ok(())
}

pub fn update_endpoint(c: &Connection, endpoint: &Endpoint) -> Result<()> {
    c.prepare_cached(
        "UPDATE endpoint SET service_id = ?2, interface = ?3, region_id = ?4, url = ?5, enabled = ?6, extra = ?7
         WHERE id = ?1",
    )?
    .execute(params![
        endpoint.id,
        endpoint.service_id,
        endpoint.interface,
        endpoint.region_id,
        endpoint.url,
        endpoint.enabled,
        rows::to_json(&endpoint.extra)?
    ])?;
    Ok(())
}

pub fn delete_endpoint(c: &Connection, id: &str) -> Result<()> {
    c.prepare_cached("DELETE FROM endpoint WHERE id = ?1")?.execute([id])?;
    Ok(())
}
