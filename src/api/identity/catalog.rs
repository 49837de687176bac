//! `/regions`, `/services` and `/endpoints`.

use super::body::Fields;
use super::views::{self, flag, nothing, one, page, paged, text};
use crate::api::call::{Call, Outcome};
use crate::core::Result;
use crate::core::identity::change::{EndpointInput, RegionInput, ServiceInput};
use crate::core::identity::query::{WantedEndpoints, WantedServices};
use crate::core::identity::{CatalogService, Endpoint, Extra, Region};
use actix_web::http::StatusCode;
use serde_json::Value;

fn region_input(mut fields: Fields) -> Result<RegionInput> {
    let id = fields.text("id")?;
    let mut fields = fields.without_ours();
    Ok(RegionInput {
        id,
        description: fields.text("description")?,
        parent_region_id: fields.nullable("parent_region_id")?,
        extra: fields.rest(),
    })
}

fn region_id(call: &Call) -> String {
    call.params.get("region_id").to_owned()
}

fn region_answer(call: &Call, status: StatusCode, region: &Region) -> Outcome {
    one(status, "region", views::region(region, &call.base))
}

pub(super) async fn list_regions(call: Call) -> Outcome {
    let page = page(&call)?;
    let parent = text(&call, "parent_region_id");
    let found = call.state.services.identity.regions(parent, page.clone()).await?;
    let items: Vec<_> = found.iter().map(|region| views::region(region, &call.base)).collect();
    paged(&call, "regions", &items, &page, found.last().map(|region| region.id.as_str()))
}

pub(super) async fn show_region(call: Call) -> Outcome {
    let found = call.state.services.identity.region(region_id(&call)).await?;
    region_answer(&call, StatusCode::OK, &found)
}

pub(super) async fn create_region(mut call: Call) -> Outcome {
    let input = region_input(Fields::read(&mut call, "region").await?)?;
    let made = call.state.services.identity.create_region(input).await?;
    region_answer(&call, StatusCode::CREATED, &made)
}

/// `PUT /regions/{id}`: makes a region of this id.
pub(super) async fn put_region(mut call: Call) -> Outcome {
    let mut input = region_input(Fields::read(&mut call, "region").await?)?;
    input.id = Some(region_id(&call));
    let made = call.state.services.identity.create_region(input).await?;
    region_answer(&call, StatusCode::CREATED, &made)
}

pub(super) async fn update_region(mut call: Call) -> Outcome {
    let id = region_id(&call);
    let input = region_input(Fields::changes(&mut call, "region", &id).await?)?;
    let changed = call.state.services.identity.update_region(id, input).await?;
    region_answer(&call, StatusCode::OK, &changed)
}

pub(super) async fn delete_region(call: Call) -> Outcome {
    call.state.services.identity.delete_region(region_id(&call)).await?;
    Ok(nothing())
}

fn service_input(fields: Fields) -> Result<ServiceInput> {
    let mut fields = fields.without_ours();
    let (kind, name, enabled) =
        (fields.short_text("type")?, fields.short_text("name")?, fields.flag("enabled")?);
    let mut extra = fields.rest();
    extra.extend(name.map(|name| ("name".to_owned(), Value::from(name))));
    Ok(ServiceInput { kind, enabled, extra })
}

fn service_id(call: &Call) -> String {
    call.params.get("service_id").to_owned()
}

fn service_answer(call: &Call, status: StatusCode, service: &CatalogService) -> Outcome {
    one(status, "service", views::service(service, &call.base))
}

pub(super) async fn list_services(call: Call) -> Outcome {
    let wanted = WantedServices { kind: text(&call, "type"), name: text(&call, "name"), page: page(&call)? };
    let found = call.state.services.identity.catalog_services(wanted.clone()).await?;
    let items: Vec<_> = found.iter().map(|service| views::service(service, &call.base)).collect();
    paged(&call, "services", &items, &wanted.page, found.last().map(|service| service.id.as_str()))
}

pub(super) async fn show_service(call: Call) -> Outcome {
    let found = call.state.services.identity.catalog_service(service_id(&call)).await?;
    service_answer(&call, StatusCode::OK, &found)
}

pub(super) async fn create_service(mut call: Call) -> Outcome {
    let mut input = service_input(Fields::read(&mut call, "service").await?)?;
    let defaults = Extra::from_iter([("name".to_owned(), Value::from(""))]);
    input.extra = defaults.into_iter().chain(input.extra).collect();
    let made = call.state.services.identity.create_catalog_service(input).await?;
    service_answer(&call, StatusCode::CREATED, &made)
}

pub(super) async fn update_service(mut call: Call) -> Outcome {
    let id = service_id(&call);
    let input = service_input(Fields::changes(&mut call, "service", &id).await?)?;
    let changed = call.state.services.identity.update_catalog_service(id, input).await?;
    service_answer(&call, StatusCode::OK, &changed)
}

pub(super) async fn delete_service(call: Call) -> Outcome {
    call.state.services.identity.delete_catalog_service(service_id(&call)).await?;
    Ok(nothing())
}

fn endpoint_input(fields: Fields) -> Result<EndpointInput> {
    let mut fields = fields.without_ours();
    Ok(EndpointInput {
        service_id: fields.text("service_id")?,
        interface: fields.text("interface")?,
        region_id: fields.nullable("region_id")?,
        region: fields.text("region")?,
        url: fields.text("url")?,
        enabled: fields.flag("enabled")?,
        extra: fields.rest(),
    })
}

fn endpoint_id(call: &Call) -> String {
    call.params.get("endpoint_id").to_owned()
}

fn endpoint_answer(call: &Call, status: StatusCode, endpoint: &Endpoint) -> Outcome {
    one(status, "endpoint", views::endpoint(endpoint, &call.base))
}

pub(super) async fn list_endpoints(call: Call) -> Outcome {
    let wanted = WantedEndpoints {
        service_id: text(&call, "service_id"),
        interface: text(&call, "interface"),
        region_id: text(&call, "region_id").or_else(|| text(&call, "region")),
        enabled: flag(&call, "enabled"),
        page: page(&call)?,
    };
    let found = call.state.services.identity.endpoints(wanted.clone()).await?;
    let items: Vec<_> = found.iter().map(|endpoint| views::endpoint(endpoint, &call.base)).collect();
    paged(&call, "endpoints", &items, &wanted.page, found.last().map(|endpoint| endpoint.id.as_str()))
}

pub(super) async fn show_endpoint(call: Call) -> Outcome {
    let found = call.state.services.identity.endpoint(endpoint_id(&call)).await?;
    endpoint_answer(&call, StatusCode::OK, &found)
}

pub(super) async fn create_endpoint(mut call: Call) -> Outcome {
    let input = endpoint_input(Fields::read(&mut call, "endpoint").await?)?;
    let made = call.state.services.identity.create_endpoint(input).await?;
    endpoint_answer(&call, StatusCode::CREATED, &made)
}

pub(super) async fn update_endpoint(mut call: Call) -> Outcome {
    let id = endpoint_id(&call);
    let input = endpoint_input(Fields::changes(&mut call, "endpoint", &id).await?)?;
    let changed = call.state.services.identity.update_endpoint(id, input).await?;
    endpoint_answer(&call, StatusCode::OK, &changed)
}

pub(super) async fn delete_endpoint(call: Call) -> Outcome {
    call.state.services.identity.delete_endpoint(endpoint_id(&call)).await?;
    Ok(nothing())
}
