//! Regions, services and endpoints, and the catalog that tokens carry.

use super::IdentityService;
use super::bootstrap::simple_id;
use super::users::merge;
use crate::core::identity::change::{EndpointInput, RegionInput, ServiceInput, required};
use crate::core::identity::query::{Page, WantedEndpoints, WantedServices};
use crate::core::identity::{CatalogService, Endpoint, Extra, Region, endpoint_url, missing};
use crate::core::ids::ProjectId;
use crate::core::{Error, Result};
use crate::store::identity::catalog;
use rusqlite::Connection;

/// A service with its addresses, as a client sees them.
#[derive(Debug)]
pub struct CatalogEntry {
    pub service: CatalogService,
    pub endpoints: Vec<Endpoint>,
}

impl IdentityService {
    /// What is served where: addresses as seen from `base`, those that need a project left out when there is none.
    pub async fn catalog(&self, base: String, project: Option<ProjectId>) -> Result<Vec<CatalogEntry>> {
        self.read(move |c| {
            let services = catalog::services(c, &WantedServices::default())?;
            let endpoints = catalog::endpoints(
                c,
                &WantedEndpoints { enabled: Some(true), ..WantedEndpoints::default() },
            )?;
            let mut entries = Vec::new();
            for service in services.into_iter().filter(|service| service.enabled) {
                let of_service = endpoints.iter().filter(|endpoint| endpoint.service_id == service.id);
                let endpoints: Vec<Endpoint> = of_service
                    .filter_map(|endpoint| {
                        let url = endpoint_url(&endpoint.url, &base, project.as_ref())?;
                        Some(Endpoint { url, ..endpoint.clone() })
                    })
                    .collect();
                entries.push(CatalogEntry { service, endpoints });
            }
            Ok(entries)
        })
        .await
    }

    pub async fn regions(&self, parent: Option<String>, page: Page) -> Result<Vec<Region>> {
        self.read(move |c| Ok(catalog::regions(c, parent.as_deref(), &page)?)).await
    }

    pub async fn region(&self, id: String) -> Result<Region> {
        self.read(move |c| find_region(c, &id)).await
    }

    pub async fn create_region(&self, input: RegionInput) -> Result<Region> {
        let region = Region {
            id: input.id.filter(|id| !id.is_empty()).unwrap_or_else(simple_id),
            description: input.description.unwrap_or_default(),
            parent_region_id: input.parent_region_id.flatten(),
            extra: input.extra,
        };
        self.change(move |c| {
            if catalog::region(c, &region.id)?.is_some() {
                return Err(Error::conflict(format!(
                    "Conflict occurred attempting to store region - Duplicate ID, {}.",
                    region.id
                )));
            }
            check_parent(c, &region)?;
            catalog::insert_region(c, &region)?;
            Ok(region)
        })
        .await
    }

    pub async fn update_region(&self, id: String, input: RegionInput) -> Result<Region> {
        self.change(move |c| {
            let mut region = find_region(c, &id)?;
            if let Some(description) = input.description {
                region.description = description;
            }
            if let Some(parent) = input.parent_region_id {
                region.parent_region_id = parent;
            }
            merge(&mut region.extra, input.extra);
            check_parent(c, &region)?;
            catalog::update_region(c, &region)?;
            Ok(region)
        })
        .await
    }

    pub async fn delete_region(&self, id: String) -> Result<()> {
        self.change(move |c| {
            find_region(c, &id)?;
            let wanted = WantedEndpoints { region_id: Some(id.clone()), ..WantedEndpoints::default() };
            let used = !catalog::endpoints(c, &wanted)?.is_empty()
                || !catalog::regions(c, Some(&id), &Page::default())?.is_empty();
            if used {
                return Err(Error::conflict(format!(
                    "Unable to delete region {id} because it or its child regions have associated endpoints."
                )));
            }
            Ok(catalog::delete_region(c, &id)?)
        })
        .await
    }

    pub async fn catalog_services(&self, wanted: WantedServices) -> Result<Vec<CatalogService>> {
        self.read(move |c| Ok(catalog::services(c, &wanted)?)).await
    }

    pub async fn catalog_service(&self, id: String) -> Result<CatalogService> {
        self.read(move |c| find_service(c, &id)).await
    }

    pub async fn create_catalog_service(&self, input: ServiceInput) -> Result<CatalogService> {
        let service = CatalogService {
            id: simple_id(),
            kind: required(input.kind, "type")?,
            enabled: input.enabled.unwrap_or(true),
            extra: input.extra,
        };
        self.change(move |c| {
            catalog::insert_service(c, &service)?;
            Ok(service)
        })
        .await
    }

    pub async fn update_catalog_service(&self, id: String, input: ServiceInput) -> Result<CatalogService> {
        self.change(move |c| {
            let mut service = find_service(c, &id)?;
            if let Some(kind) = input.kind {
                service.kind = kind;
            }
            if let Some(enabled) = input.enabled {
                service.enabled = enabled;
            }
            merge(&mut service.extra, input.extra);
            catalog::update_service(c, &service)?;
            Ok(service)
        })
        .await
    }

    /// Deletes a service with its endpoints.
    pub async fn delete_catalog_service(&self, id: String) -> Result<()> {
        self.change(move |c| {
            find_service(c, &id)?;
            Ok(catalog::delete_service(c, &id)?)
        })
        .await
    }

    pub async fn endpoints(&self, wanted: WantedEndpoints) -> Result<Vec<Endpoint>> {
        self.read(move |c| Ok(catalog::endpoints(c, &wanted)?)).await
    }

    pub async fn endpoint(&self, id: String) -> Result<Endpoint> {
        self.read(move |c| find_endpoint(c, &id)).await
    }

    pub async fn create_endpoint(&self, input: EndpointInput) -> Result<Endpoint> {
        let (region, region_id) = (input.region, input.region_id.flatten());
        let mut endpoint = Endpoint {
            id: simple_id(),
            service_id: required(input.service_id, "service_id")?,
            interface: required(input.interface, "interface")?,
            region_id,
            url: required(input.url, "url")?,
            enabled: input.enabled.unwrap_or(true),
            extra: input.extra,
        };
        self.change(move |c| {
            if endpoint.region_id.is_none() {
                endpoint.region_id = ensure_region(c, region)?;
            }
            check_endpoint(c, &endpoint)?;
            catalog::insert_endpoint(c, &endpoint)?;
            Ok(endpoint)
        })
        .await
    }

    pub async fn update_endpoint(&self, id: String, input: EndpointInput) -> Result<Endpoint> {
        self.change(move |c| {
            let mut endpoint = find_endpoint(c, &id)?;
            if let Some(service) = input.service_id {
                endpoint.service_id = service;
            }
            if let Some(interface) = input.interface {
                endpoint.interface = interface;
            }
            if let Some(region) = input.region_id {
                endpoint.region_id = region;
            } else if input.region.is_some() {
                endpoint.region_id = ensure_region(c, input.region)?;
            }
            if let Some(url) = input.url {
                endpoint.url = url;
            }
            if let Some(enabled) = input.enabled {
                endpoint.enabled = enabled;
            }
            merge(&mut endpoint.extra, input.extra);
            check_endpoint(c, &endpoint)?;
            catalog::update_endpoint(c, &endpoint)?;
            Ok(endpoint)
        })
        .await
    }

    pub async fn delete_endpoint(&self, id: String) -> Result<()> {
        self.change(move |c| {
            find_endpoint(c, &id)?;
            Ok(catalog::delete_endpoint(c, &id)?)
        })
        .await
    }
}

fn ensure_region(c: &Connection, id: Option<String>) -> Result<Option<String>> {
    if let Some(id) = &id
        && catalog::region(c, id)?.is_none()
    {
        let region = Region {
            id: id.clone(),
            description: String::new(),
            parent_region_id: None,
            extra: Extra::new(),
        };
        catalog::insert_region(c, &region)?;
    }
    Ok(id)
}

/// A parent must exist, and a region is not above itself.
fn check_parent(c: &Connection, region: &Region) -> Result<()> {
    let mut next = region.parent_region_id.clone();
    while let Some(id) = next {
        if id == region.id {
            return Err(Error::invalid(format!("Region {id} would be its own parent.")));
        }
        next = find_region(c, &id)?.parent_region_id;
    }
    Ok(())
}

fn check_endpoint(c: &Connection, endpoint: &Endpoint) -> Result<()> {
    if !["public", "internal", "admin"].contains(&endpoint.interface.as_str()) {
        return Err(Error::invalid(format!(
            "Invalid input for field 'interface': '{}' is not one of ['admin', 'internal', 'public']",
            endpoint.interface
        )));
    }
    // What does not exist makes the body wrong: the path named none of it.
    let wrong = |what: &str, id: &str| Error::invalid(format!("Could not find {what}: {id}."));
    if catalog::service(c, &endpoint.service_id)?.is_none() {
        return Err(wrong("service", &endpoint.service_id));
    }
    if let Some(region) = &endpoint.region_id
        && catalog::region(c, region)?.is_none()
    {
        return Err(wrong("region", region));
    }
    let known = endpoint_url(&endpoint.url, "", Some(&ProjectId(String::new()))).unwrap_or_default();
    if known.contains("$(") || known.contains("%(") {
        return Err(Error::invalid(format!("The URL {} names something that is not known.", endpoint.url)));
    }
    Ok(())
}

fn find_region(c: &Connection, id: &str) -> Result<Region> {
    catalog::region(c, id)?.ok_or_else(|| missing("region", id))
}

fn find_service(c: &Connection, id: &str) -> Result<CatalogService> {
    catalog::service(c, id)?.ok_or_else(|| missing("service", id))
}

fn find_endpoint(c: &Connection, id: &str) -> Result<Endpoint> {
    catalog::endpoint(c, id)?.ok_or_else(|| missing("endpoint", id))
}
