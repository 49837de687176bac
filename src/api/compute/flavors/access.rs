//! Which projects may use a private flavor.

use super::tables;
use crate::api::call::{Call, Outcome, Reply};
use crate::api::compute::request;
use crate::api::compute::schema::{self, query, wire};
use crate::core::Error;
use crate::core::ids::ProjectId;
use crate::core::policy::Rule;
use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
struct Entry<'a> {
    flavor_id: &'a str,
    tenant_id: &'a str,
}

#[derive(Serialize)]
struct List<'a> {
    flavor_access: Vec<Entry<'a>>,
}

fn answer(flavor: &str, projects: &[ProjectId]) -> Outcome {
    let flavor_access =
        projects.iter().map(|project| Entry { flavor_id: flavor, tenant_id: project.as_str() }).collect();
    Ok(Reply::json(StatusCode::OK, &List { flavor_access })?)
}

pub async fn list(mut call: Call) -> Outcome {
    request::query(&mut call, &query::NONE)?;
    request::authorize(&call)?;
    let id = call.params.get("id").to_owned();
    let projects = call.state.services.flavors.access(id.clone()).await?;
    answer(&id, &projects)
}

#[derive(Deserialize)]
struct Body {
    #[serde(alias = "removeTenantAccess", rename = "addTenantAccess")]
    access: Tenant,
}

#[derive(Deserialize)]
struct Tenant {
    tenant: String,
}

/// `addTenantAccess` and `removeTenantAccess`.
pub async fn action(mut call: Call) -> Outcome {
    let mut value = request::json(&mut call).await?;
    let name = schema::single_key(&value)?.to_owned();
    let (table, rule) = match name.as_str() {
        "addTenantAccess" => {
            (&tables::ADD_ACCESS, Rule::Admin("os_compute_api:os-flavor-access:add_tenant_access"))
        }
        "removeTenantAccess" => {
            (&tables::REMOVE_ACCESS, Rule::Admin("os_compute_api:os-flavor-access:remove_tenant_access"))
        }
        _ => return Err(Error::invalid(format!("There is no such action: {name}")).into()),
    };
    schema::body(table, &mut value, request::context(&call))?;
    call.rule = rule;
    request::authorize(&call)?;
    let body: Body = wire::read(value)?;
    let id = call.params.get("id").to_owned();
    let project = ProjectId::from(body.access.tenant);
    let services = &call.state.services;
    let projects = if name == "addTenantAccess" {
        if !services.flavors.is_project(project.clone()).await? {
            return Err(Error::invalid(format!("Project ID {project} is not a valid project.")).into());
        }
        services.flavors.grant(id.clone(), project, call.minor < 7).await?
    } else {
        services.flavors.revoke(id.clone(), project).await?
    };
    answer(&id, &projects)
}
