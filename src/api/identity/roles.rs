//! `/roles` and what they imply.

use super::body::Fields;
use super::options;
use super::views::{self, Links, ROOT, RoleView, nothing, one, page, paged, text};
use crate::api::call::{Call, Outcome, Reply};
use crate::core::Result;
use crate::core::identity::Role;
use crate::core::identity::change::RoleInput;
use crate::core::identity::query::WantedRoles;
use crate::core::ids::{DomainId, RoleId};
use crate::core::service::identity::Inference;
use actix_web::http::StatusCode;
use serde::Serialize;

fn input(mut fields: Fields) -> Result<RoleInput> {
    options::read(&mut fields, options::OF_OTHERS)?;
    let mut fields = fields.without_ours();
    Ok(RoleInput {
        name: fields.text("name")?,
        domain_id: fields.text("domain_id")?.map(DomainId),
        description: fields.nullable("description")?,
        extra: fields.rest(),
    })
}

fn role_id(call: &Call) -> RoleId {
    RoleId::from(call.params.get("role_id"))
}

fn answer(call: &Call, status: StatusCode, role: &Role) -> Outcome {
    one(status, "role", views::role(role, &call.base))
}

pub(super) async fn list(call: Call) -> Outcome {
    let wanted =
        WantedRoles { name: text(&call, "name"), domain_id: text(&call, "domain_id"), page: page(&call)? };
    let found = call.state.services.identity.roles(wanted.clone()).await?;
    let items: Vec<_> = found.iter().map(|role| views::role(role, &call.base)).collect();
    paged(&call, "roles", &items, &wanted.page, found.last().map(|role| role.id.as_str()))
}

pub(super) async fn show(call: Call) -> Outcome {
    let found = call.state.services.identity.role(role_id(&call)).await?;
    answer(&call, StatusCode::OK, &found)
}

pub(super) async fn create(mut call: Call) -> Outcome {
    let input = input(Fields::read(&mut call, "role").await?)?;
    let made = call.state.services.identity.create_role(input).await?;
    answer(&call, StatusCode::CREATED, &made)
}

pub(super) async fn update(mut call: Call) -> Outcome {
    let id = role_id(&call);
    let input = input(Fields::changes(&mut call, "role", id.as_str()).await?)?;
    let changed = call.state.services.identity.update_role(id, input).await?;
    answer(&call, StatusCode::OK, &changed)
}

pub(super) async fn delete(call: Call) -> Outcome {
    call.state.services.identity.delete_role(role_id(&call)).await?;
    Ok(nothing())
}

#[derive(Serialize)]
struct SingleInference<'a> {
    prior_role: RoleView<'a>,
    implies: RoleView<'a>,
}

#[derive(Serialize)]
struct InferenceView<'a> {
    prior_role: RoleView<'a>,
    implies: Vec<RoleView<'a>>,
}

#[derive(Serialize)]
struct WithLinks<T> {
    role_inference: T,
    links: Links,
}

#[derive(Serialize)]
struct AllInferences<'a> {
    role_inferences: Vec<InferenceView<'a>>,
    links: Links,
}

fn inference_view<'a>(inference: &'a Inference, base: &str) -> InferenceView<'a> {
    InferenceView {
        prior_role: views::role(&inference.prior, base),
        implies: inference.implied.iter().map(|role| views::role(role, base)).collect(),
    }
}

fn single(call: &Call, status: StatusCode, inference: &Inference) -> Outcome {
    let Some(implied) = inference.implied.first() else { return Ok(nothing()) };
    let body = WithLinks {
        role_inference: SingleInference {
            prior_role: views::role(&inference.prior, &call.base),
            implies: views::role(implied, &call.base),
        },
        links: Links::to(&call.base, "roles", &format!("{}/implies/{}", inference.prior.id, implied.id)),
    };
    Ok(Reply::json(status, &body)?)
}

pub(super) async fn implied(call: Call) -> Outcome {
    let found = call.state.services.identity.inference(role_id(&call)).await?;
    let body = WithLinks {
        role_inference: inference_view(&found, &call.base),
        links: Links::to(&call.base, "roles", &format!("{}/implies", found.prior.id)),
    };
    Ok(Reply::json(StatusCode::OK, &body)?)
}

fn implied_id(call: &Call) -> RoleId {
    RoleId::from(call.params.get("implied_id"))
}

pub(super) async fn show_implication(call: Call) -> Outcome {
    let found = call.state.services.identity.implication(role_id(&call), implied_id(&call)).await?;
    single(&call, StatusCode::OK, &found)
}

pub(super) async fn check_implication(call: Call) -> Outcome {
    call.state.services.identity.implication(role_id(&call), implied_id(&call)).await?;
    Ok(nothing())
}

pub(super) async fn imply(call: Call) -> Outcome {
    let made = call.state.services.identity.imply(role_id(&call), implied_id(&call)).await?;
    single(&call, StatusCode::CREATED, &made)
}

pub(super) async fn stop_implying(call: Call) -> Outcome {
    call.state.services.identity.stop_implying(role_id(&call), implied_id(&call)).await?;
    Ok(nothing())
}

pub(super) async fn inferences(call: Call) -> Outcome {
    let found = call.state.services.identity.inferences().await?;
    let body = AllInferences {
        role_inferences: found.iter().map(|inference| inference_view(inference, &call.base)).collect(),
        links: Links::of(format!("{}{ROOT}/role_inferences", call.base)),
    };
    Ok(Reply::json(StatusCode::OK, &body)?)
}
